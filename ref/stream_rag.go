package ref

import (
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// NewStreamRAG returns the reference of spec.StreamRAG, or an error of kind
// spec.Invalid for a config out of range.
func NewStreamRAG(c spec.StreamRAGConfig) (spec.StreamRAG, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &streamRAG{config: c}, nil
}

type streamRAG struct {
	config spec.StreamRAGConfig
	docs   []spec.RetrievedDoc // the oldest first
	query  ragQuery            // the latest
	stats  spec.StreamRAGStats
}

type ragQuery struct {
	embedding []float32
	ids       []int64
}

func (s *streamRAG) Inject(docID string, tokenIDs []int64, embedding []float32) error {
	if err := s.config.CheckDoc(tokenIDs, embedding); err != nil {
		return err
	}
	doc := spec.RetrievedDoc{DocID: docID, TokenIDs: slices.Clone(tokenIDs), Embedding: slices.Clone(embedding)}
	if i := slices.IndexFunc(s.docs, func(d spec.RetrievedDoc) bool { return d.DocID == docID }); i >= 0 {
		s.docs[i] = doc
	} else {
		if len(s.docs) == s.config.MaxDocs {
			s.evict()
		}
		s.docs = append(s.docs, doc)
	}
	s.stats.Injections++
	if s.config.Variant == spec.Documented {
		s.score()
	}
	return nil
}

func (s *streamRAG) evict() {
	least := 0
	for i, d := range s.docs {
		if d.Relevance < s.docs[least].Relevance {
			least = i
		}
	}
	s.docs = slices.Delete(s.docs, least, least+1)
	s.stats.Evictions++
}

func (s *streamRAG) Retrieve(dst *[]spec.RetrievedDoc, queryEmbedding []float32, queryIDs []int64, topK int) error {
	if err := s.config.CheckQuery(queryEmbedding, queryIDs, topK); err != nil {
		return err
	}
	if topK == 0 {
		topK = s.config.TopKRetrieve
	}
	s.query = ragQuery{slices.Clone(queryEmbedding), slices.Clone(queryIDs)}
	s.score()
	s.stats.Retrievals++

	relevance := make([]float64, len(s.docs))
	for i, d := range s.docs {
		relevance[i] = d.Relevance
	}
	best := byScore(relevance)
	best = best[:min(topK, len(best))]
	*dst = spec.Resize(*dst, len(best))
	for to, from := range best {
		d, out := s.docs[from], &(*dst)[to]
		out.DocID, out.Relevance = d.DocID, d.Relevance
		out.TokenIDs = append(out.TokenIDs[:0], d.TokenIDs...)
		out.Embedding = append(out.Embedding[:0], d.Embedding...)
	}
	return nil
}

// score gives every document its relevance to the latest query.
func (s *streamRAG) score() {
	if len(s.docs) == 0 {
		return
	}
	var relevance []float64
	switch byTerms, byEmbedding := len(s.query.ids) > 0, len(s.query.embedding) > 0; {
	case byTerms && byEmbedding:
		terms, cosines := unitScaled(s.byTerms()), unitScaled(s.byEmbedding())
		for i := range s.docs {
			relevance = append(relevance, (terms[i]+cosines[i])/2)
		}
	case byTerms:
		relevance = s.byTerms()
	case byEmbedding:
		relevance = s.byEmbedding()
	default:
		relevance = make([]float64, len(s.docs))
	}
	for i := range s.docs {
		s.docs[i].Relevance = relevance[i]
	}
}

func (s *streamRAG) byTerms() (scores []float64) {
	var documents [][]int64
	for _, d := range s.docs {
		documents = append(documents, d.TokenIDs)
	}
	corpus := newBM25(documents)
	for i := range documents {
		scores = append(scores, corpus.score(s.query.ids, i))
	}
	return scores
}

func (s *streamRAG) byEmbedding() (scores []float64) {
	for _, d := range s.docs {
		score := 0.0
		if len(d.Embedding) > 0 {
			score = s.cosine(d.Embedding)
		}
		scores = append(scores, score)
	}
	return scores
}

func (s *streamRAG) cosine(x []float32) float64 {
	q := s.query.embedding
	if s.config.Variant == spec.Squish6 {
		return dotProduct(q, x) / float64((math.Sqrt(dotProduct(q, q))+1e-10)*(math.Sqrt(dotProduct(x, x))+1e-10))
	}
	return boundedCosine(q, x)
}

// boundedCosine is the cosine of two vectors, in [−1, 1], 0 where one is zero.
func boundedCosine(a, b []float32) float64 {
	lengths := math.Sqrt(dotProduct(a, a)) * math.Sqrt(dotProduct(b, b))
	if lengths == 0 {
		return 0
	}
	return max(-1, min(1, dotProduct(a, b)/lengths))
}

func (s *streamRAG) NDocs() int { return len(s.docs) }

func (s *streamRAG) Stats() spec.StreamRAGStats {
	stats := s.stats
	for _, d := range s.docs {
		stats.AverageRelevance += d.Relevance / float64(len(s.docs))
	}
	return stats
}
