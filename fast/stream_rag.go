package fast

import (
	"math"
	"slices"

	"github.com/squishspec/squishspec/fast/internal/bm25"
	"github.com/squishspec/squishspec/fast/internal/dots"
	"github.com/squishspec/squishspec/fast/internal/tally"
	"github.com/squishspec/squishspec/fast/internal/topk"
	"github.com/squishspec/squishspec/spec"
)

// NewStreamRAG returns the optimised spec.StreamRAG, or an error of kind
// spec.Invalid for a config out of range.
//
// A document is read once, when it is injected: its terms are counted and its
// length is taken. A query then costs one look-up a term and document, and one dot
// product a document. Memory of documents that were dropped is used again.
func NewStreamRAG(c spec.StreamRAGConfig) (spec.StreamRAG, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &streamRAG{config: c}, nil
}

type streamRAG struct {
	config spec.StreamRAGConfig
	docs   []*ragDoc // the oldest first
	spare  []*ragDoc
	tokens int // in all documents

	// The latest query.
	embedding []float32
	square    float64 // of its length
	ids       []int64

	terms, cosines, scratch []float64 // of every document
	idfs                    []float64 // by the number of documents that have a term
	best                    []int
	ranker                  topk.Ranker
	stats                   spec.StreamRAGStats
}

type ragDoc struct {
	id        string
	tokens    []int64
	embedding []float32
	square    float64 // of the embedding's length
	counts    tally.Tally
	norm      float64 // its length's share in BM25
	relevance float64
}

func (s *streamRAG) Inject(docID string, tokenIDs []int64, embedding []float32) error {
	if err := s.config.CheckDocShape(tokenIDs, embedding); err != nil {
		return err
	}
	square := dots.Square(embedding)
	if !isFiniteSquare(square) {
		return s.config.CheckDoc(tokenIDs, embedding) // names the place
	}
	d := s.place(docID)
	d.id, d.square, d.relevance = docID, square, 0
	d.tokens = append(d.tokens[:0], tokenIDs...)
	d.embedding = append(d.embedding[:0], embedding...)
	if s.config.Variant == spec.Documented { // squish6 is never asked for terms
		d.counts.Reset(max(len(tokenIDs), 1))
		d.counts.AddAll(nil, tokenIDs)
	}
	s.tokens += len(tokenIDs)
	s.stats.Injections++
	if s.config.Variant == spec.Documented {
		s.score()
	}
	return nil
}

// place returns the document to overwrite: that of the id, or a new one, for which
// the least relevant makes room.
func (s *streamRAG) place(docID string) *ragDoc {
	for _, d := range s.docs {
		if d.id == docID {
			s.tokens -= len(d.tokens)
			return d
		}
	}
	if len(s.docs) == s.config.MaxDocs {
		least := 0
		for i, d := range s.docs {
			if d.relevance < s.docs[least].relevance {
				least = i
			}
		}
		s.tokens -= len(s.docs[least].tokens)
		s.spare = append(s.spare, s.docs[least])
		s.docs = slices.Delete(s.docs, least, least+1)
		s.stats.Evictions++
	}
	var d *ragDoc
	if n := len(s.spare); n > 0 {
		d, s.spare = s.spare[n-1], s.spare[:n-1]
	} else {
		d = new(ragDoc)
	}
	s.docs = append(s.docs, d)
	return d
}

func (s *streamRAG) Retrieve(dst *[]spec.RetrievedDoc, queryEmbedding []float32, queryIDs []int64, topK int) error {
	if err := s.config.CheckQueryShape(queryEmbedding, queryIDs, topK); err != nil {
		return err
	}
	square := dots.Square(queryEmbedding)
	if !isFiniteSquare(square) {
		return s.config.CheckQuery(queryEmbedding, queryIDs, topK) // names the place
	}
	if topK == 0 {
		topK = s.config.TopKRetrieve
	}
	s.embedding, s.square = append(s.embedding[:0], queryEmbedding...), square
	s.ids = append(s.ids[:0], queryIDs...)
	s.score()
	s.stats.Retrievals++

	best := s.rank(min(topK, len(s.docs)))
	*dst = spec.Resize(*dst, len(best))
	for to, from := range best {
		d, out := s.docs[from], &(*dst)[to]
		out.DocID, out.Relevance = d.id, d.relevance
		out.TokenIDs = append(out.TokenIDs[:0], d.tokens...)
		out.Embedding = append(out.Embedding[:0], d.embedding...)
	}
	return nil
}

// rank returns the k most relevant documents, in order.
func (s *streamRAG) rank(k int) []int {
	s.terms = spec.Resize(s.terms, len(s.docs))
	for i, d := range s.docs {
		s.terms[i] = d.relevance
	}
	s.best = s.ranker.Rank(s.best[:0], s.terms, k)
	return s.best
}

// score gives every document its relevance to the latest query.
func (s *streamRAG) score() {
	n := len(s.docs)
	s.terms, s.cosines = spec.Resize(s.terms, n), spec.Resize(s.cosines, n)
	switch byTerms, byEmbedding := len(s.ids) > 0, len(s.embedding) > 0; {
	case byTerms && byEmbedding:
		s.byTerms()
		s.byEmbedding()
		term, cosine := scaleOf(s.terms), scaleOf(s.cosines)
		for i, d := range s.docs {
			d.relevance = (term.of(s.terms[i]) + cosine.of(s.cosines[i])) / 2
		}
	case byTerms:
		s.byTerms()
		for i, d := range s.docs {
			d.relevance = s.terms[i]
		}
	case byEmbedding:
		s.byEmbedding()
		for i, d := range s.docs {
			d.relevance = s.cosines[i]
		}
	}
}

// scaleOf is the scaling of a component, which has no NaN, to [0, 1].
func scaleOf(component []float64) unitScaling {
	least, most := math.Inf(1), math.Inf(-1)
	for _, c := range component { // the built-in min and max would take care of NaN
		if c < least {
			least = c
		}
		if c > most {
			most = c
		}
	}
	return unitScale(least, most)
}

// byTerms scores by BM25. scratch holds a term's count in each document.
func (s *streamRAG) byTerms() {
	n := len(s.docs)
	s.scratch = spec.Resize(s.scratch, n)
	clear(s.terms)
	mean := float64(s.tokens) / float64(n)
	for _, d := range s.docs {
		d.norm = bm25.Norm(len(d.tokens), mean)
	}
	for _, id := range s.ids {
		df := 0
		for i, d := range s.docs {
			s.scratch[i] = 0
			if number, ok := d.counts.Find(id); ok {
				s.scratch[i] = float64(d.counts.Counts()[number])
				df++
			}
		}
		if df == 0 {
			continue
		}
		idf := s.idf(df)
		for i, d := range s.docs {
			if tf := s.scratch[i]; tf > 0 {
				s.terms[i] += bm25.Weight(idf, tf, d.norm)
			}
		}
	}
}

// idf is that of a term that df documents have. There are few different ones while
// the number of documents stays.
func (s *streamRAG) idf(df int) float64 {
	n := len(s.docs)
	if len(s.idfs) != n+1 {
		memo(&s.idfs, n)
	}
	if s.idfs[df] == unknown {
		s.idfs[df] = bm25.IDF(n, df)
	}
	return s.idfs[df]
}

func (s *streamRAG) byEmbedding() {
	for i, d := range s.docs {
		s.cosines[i] = 0
		if len(d.embedding) == 0 {
			continue
		}
		dot := dots.Dot(s.embedding, d.embedding)
		if s.config.Variant == spec.Squish6 {
			s.cosines[i] = dot / ((math.Sqrt(s.square) + 1e-10) * (math.Sqrt(d.square) + 1e-10))
		} else {
			s.cosines[i] = cosineOf(dot, s.square, d.square)
		}
	}
}

// cosineOf is the cosine of two vectors of that dot product and those squared
// lengths, in [−1, 1], 0 where one is zero.
func cosineOf(dot, square, other float64) float64 {
	lengths := math.Sqrt(square) * math.Sqrt(other)
	if lengths == 0 {
		return 0
	}
	return max(-1, min(1, dot/lengths))
}

func (s *streamRAG) NDocs() int { return len(s.docs) }

func (s *streamRAG) Stats() spec.StreamRAGStats {
	stats := s.stats
	if len(s.docs) > 0 {
		sum := 0.0
		for _, d := range s.docs {
			sum += d.relevance
		}
		stats.AverageRelevance = sum / float64(len(s.docs))
	}
	return stats
}
