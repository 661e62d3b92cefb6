package fast

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/bm25"
	"github.com/squishspec/squishspec/fast/internal/dots"
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/tally"
	"github.com/squishspec/squishspec/fast/internal/topk"
	"github.com/squishspec/squishspec/spec"
)

// NewContextualRerank returns the optimised spec.ContextualRerank, or an error of
// kind spec.Invalid for a config out of range.
//
// Keys are read once, in their order in memory; of documents the query's terms
// alone are counted, in one pass over each. The best are selected, and only they
// are sorted.
func NewContextualRerank(c spec.ContextualRerankConfig) (spec.ContextualRerank, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &contextualRerank{config: c}, nil
}

type contextualRerank struct {
	config           spec.ContextualRerankConfig
	content, cosines []float64
	sums             []float32 // content, as it is added up over heads
	rows             dots.Rows
	query            tally.Tally // its ids, numbered
	counts           []int       // of each term in each document
	idf              []float64
	ranker           topk.Ranker
	stats            spec.ContextualRerankStats
}

func (r *contextualRerank) Rerank(dst *[]int, keys spec.Heads, query spec.Matrix) error {
	const m = "contextual-rerank"
	if err := spec.CheckHeads(m, "keys", keys, r.config.NHeads, -1, r.config.HeadDim); err != nil {
		return err
	}
	if keys.Tokens == 0 || !spec.IsNone(query) && spec.CheckMatrix(m, "query", query, r.config.NHeads, r.config.HeadDim) != nil {
		return r.config.CheckKeys(keys, query)
	}
	r.content = spec.Resize(r.content, keys.Tokens)
	r.setContent(keys, query)
	if least, most, finite := kern.Extremes(r.sums); !finite || float64(most)-float64(least) <= contentRange {
		if err := r.config.CheckKeys(keys, query); err != nil {
			return err
		}
		r.setExactContent(keys, query)
	}
	r.rank(dst, false)
	return nil
}

// contentRange is the range of content from which on squares that underflow, which
// leave less than 2⁻⁷⁰ of a length, do not show in a score.
const contentRange = 0x1p-40

// setContent adds up the lengths of keys, or their products with the query, in
// float32. A key or query that is not finite makes content that is not.
func (r *contextualRerank) setContent(keys spec.Heads, query spec.Matrix) {
	r.sums = spec.Resize(r.sums, keys.Tokens)
	clear(r.sums)
	for h := range keys.Heads {
		if spec.IsNone(query) {
			kern.AddRowNorms(r.sums, keys.Head(h).Data)
		} else {
			kern.AddRowDots(r.sums, keys.Head(h).Data, query.Row(h))
		}
	}
	for i, sum := range r.sums {
		r.content[i] = float64(sum)
	}
}

// setExactContent is setContent in float64, for finite numbers of any size.
func (r *contextualRerank) setExactContent(keys spec.Heads, query spec.Matrix) {
	clear(r.content)
	for h := range keys.Heads {
		head := keys.Head(h)
		for i := range r.content {
			if spec.IsNone(query) {
				r.content[i] += math.Sqrt(dots.Exact(head.Row(i), head.Row(i)))
			} else {
				r.content[i] += dots.Exact(head.Row(i), query.Row(h))
			}
		}
	}
}

func (r *contextualRerank) RerankDocs(dst *[]int, queryIDs []int64, docs [][]int64, queryEmbedding []float32, docEmbeddings spec.Matrix) error {
	const m = "contextual-rerank"
	check := func() error { return r.config.CheckDocs(queryIDs, docs, queryEmbedding, docEmbeddings) }
	embedded := len(docs) > 0 && len(queryEmbedding) > 0 && kern.AllFinite(queryEmbedding) &&
		spec.CheckMatrix(m, "doc_embeddings", docEmbeddings, len(docs), len(queryEmbedding)) == nil
	if !embedded { // whose embeddings are looked at when they are read
		if err := check(); err != nil {
			return err
		}
	}
	r.content = spec.Resize(r.content, len(docs))
	if embedded {
		r.cosines = spec.Resize(r.cosines, len(docs))
		square := dots.Square(queryEmbedding)
		r.rows.Set(docEmbeddings, queryEmbedding)
		for i := range docs {
			dot, other := r.rows.At(i)
			if other-other != 0 { // not finite
				r.rows.Forget()
				return check()
			}
			r.cosines[i] = cosineOf(dot, square, other)
		}
		r.rows.Forget()
	}
	if len(queryIDs) == 0 {
		copy(r.content, r.cosines)
		r.rank(dst, false)
		return nil
	}
	r.byTerms(queryIDs, docs)
	r.rank(dst, len(queryEmbedding) > 0)
	return nil
}

// byTerms makes BM25 scores of content: a pass over each document counts the terms
// that the query has.
func (r *contextualRerank) byTerms(queryIDs []int64, docs [][]int64) {
	r.query.Reset(len(queryIDs))
	for _, id := range queryIDs {
		r.query.Add(id)
	}
	asked := r.query.Counts() // how often the query has a term
	terms := len(asked)
	r.counts = spec.Resize(r.counts, terms*len(docs))
	clear(r.counts)
	r.idf = spec.Resize(r.idf, terms)
	clear(r.idf) // the number of documents that have a term, at first
	total := 0
	for d, doc := range docs {
		counts := r.counts[d*terms:][:terms]
		r.query.CountIn(counts, doc)
		for number, n := range counts {
			if n > 0 {
				r.idf[number]++
			}
		}
		total += len(doc)
	}
	for number, df := range r.idf {
		r.idf[number] = float64(asked[number]) * bm25.IDF(len(docs), int(df))
	}
	mean := float64(total) / float64(len(docs))
	for d, doc := range docs {
		score, norm := 0.0, bm25.Norm(len(doc), mean)
		for number, n := range r.counts[d*terms:][:terms] {
			if n > 0 {
				score += bm25.Weight(r.idf[number], float64(n), norm)
			}
		}
		r.content[d] = score
	}
}

// rank blends content, scaled and averaged with the cosines where hybrid says so,
// with recency, and writes the best. Scaling is one multiplication.
func (r *contextualRerank) rank(dst *[]int, hybrid bool) {
	n, w := len(r.content), r.config.RecencyWeight
	recency := w / float64(max(n-1, 1))
	share := 1 - w
	if hybrid {
		share /= 2
	}
	content := scaleOf(r.content)
	factor := share / content.span
	for i, c := range r.content {
		r.content[i] = (c-content.least)*factor + float64(i)*recency
	}
	if hybrid {
		cosine := scaleOf(r.cosines)
		factor := share / cosine.span
		for i, c := range r.cosines {
			r.content[i] += (c - cosine.least) * factor
		}
	}
	*dst = r.ranker.Rank((*dst)[:0], r.content, min(r.config.TopK, n))
	r.stats.Calls++
	r.stats.Positions += n
}

func (r *contextualRerank) Stats() spec.ContextualRerankStats { return r.stats }
