package ref

import (
	"math"

	"github.com/squishspec/squishspec/spec"
)

// NewContextualRerank returns the reference of spec.ContextualRerank, or an error
// of kind spec.Invalid for a config out of range.
func NewContextualRerank(c spec.ContextualRerankConfig) (spec.ContextualRerank, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &contextualRerank{config: c}, nil
}

type contextualRerank struct {
	config spec.ContextualRerankConfig
	stats  spec.ContextualRerankStats
}

func (r *contextualRerank) Rerank(dst *[]int, keys spec.Heads, query spec.Matrix) error {
	if err := r.config.CheckKeys(keys, query); err != nil {
		return err
	}
	content := make([]float64, keys.Tokens)
	for i := range content {
		for h := range keys.Heads {
			key := keys.Head(h).Row(i)
			if spec.IsNone(query) {
				content[i] += math.Sqrt(dotProduct(key, key))
			} else {
				content[i] += dotProduct(key, query.Row(h))
			}
		}
		content[i] /= float64(keys.Heads)
	}
	r.rank(dst, unitScaled(content))
	return nil
}

func (r *contextualRerank) RerankDocs(dst *[]int, queryIDs []int64, docs [][]int64, queryEmbedding []float32, docEmbeddings spec.Matrix) error {
	if err := r.config.CheckDocs(queryIDs, docs, queryEmbedding, docEmbeddings); err != nil {
		return err
	}
	corpus := newBM25(docs)
	terms, cosines := make([]float64, len(docs)), make([]float64, len(docs))
	for i := range docs {
		terms[i] = corpus.score(queryIDs, i)
		if len(queryEmbedding) > 0 {
			cosines[i] = boundedCosine(queryEmbedding, docEmbeddings.Row(i))
		}
	}
	content := unitScaled(terms)
	switch {
	case len(queryIDs) == 0:
		content = unitScaled(cosines)
	case len(queryEmbedding) > 0:
		for i, c := range unitScaled(cosines) {
			content[i] = (content[i] + c) / 2
		}
	}
	r.rank(dst, content)
	return nil
}

// rank blends scaled content with recency and writes the best.
func (r *contextualRerank) rank(dst *[]int, content []float64) {
	n, w := len(content), r.config.RecencyWeight
	scores := make([]float64, n)
	for i, c := range content {
		recency := 0.0
		if n > 1 {
			recency = float64(i) / float64(n-1)
		}
		scores[i] = float64((1-w)*c) + float64(w*recency)
	}
	*dst = append((*dst)[:0], byScore(scores)[:min(r.config.TopK, n)]...)
	r.stats.Calls++
	r.stats.Positions += n
}

func (r *contextualRerank) Stats() spec.ContextualRerankStats { return r.stats }
