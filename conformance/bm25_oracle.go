package conformance

import (
	"math"
	"math/big"
)

// A termCount is what BM25 knows of a term in a document.
type termCount struct {
	tf, df int     // occurrences in the document, documents that have it
	dl     int     // length of the document, in terms
	docs   int     // number of documents
	mean   float64 // their mean length
}

// weight is the term's worth in the document, another arrangement of the formula:
// with N documents 1 + (N−df+½)/(df+½) is (N+1)/(df+½), and k1+1, k1·(1−b), k1·b
// are 2.2, 0.3, 0.9.
func (c termCount) weight() float64 {
	if c.tf == 0 {
		return 0
	}
	return c.idf() * 2.2 / (1 + (0.3+0.9*float64(c.dl)/c.mean)/float64(c.tf))
}

func (c termCount) idf() float64 { return math.Log((float64(c.docs) + 1) / (float64(c.df) + 0.5)) }

// bruteBM25 scores documents against a query, counting everything anew for every
// term of it.
func bruteBM25(documents [][]int64, query []int64) []float64 {
	total := 0
	for _, d := range documents {
		total += len(d)
	}
	scores := make([]float64, len(documents))
	for _, term := range query {
		for i, d := range documents {
			c := termCount{dl: len(d), docs: len(documents), mean: float64(total) / float64(len(documents)), tf: occurrences(d, term)}
			for _, other := range documents {
				if occurrences(other, term) > 0 {
					c.df++
				}
			}
			scores[i] += c.weight()
		}
	}
	return scores
}

func occurrences(document []int64, term int64) (n int) {
	for _, id := range document {
		if id == term {
			n++
		}
	}
	return n
}

// bm25Ranking is the documents' scores and how far off they may be.
func bm25Ranking(documents [][]int64, query []int64, u float64) ranking {
	r := ranking{bruteBM25(documents, query), make([]float64, len(documents))}
	for i, s := range r.scores {
		r.margins[i] = bm25Budget(s, len(query), u)
	}
	return r
}

// bm25Budget is how far off a score against so many terms may be.
func bm25Budget(score float64, terms int, u float64) float64 { return u * float64(terms+24) * score }

// cosineRanking is the cosines of vectors with one, in big floats, 0 where one is
// zero or missing, and how far off they may be. smoothing is added to norms.
func cosineRanking(vectors [][]float32, with []float32, smoothing, u float64) ranking {
	r := ranking{make([]float64, len(vectors)), make([]float64, len(vectors))}
	norm := bigNorm(with)
	for i, v := range vectors {
		other := bigNorm(v)
		if len(v) == 0 || norm.Sign() == 0 || other.Sign() == 0 {
			continue
		}
		dot := bigNumber(0)
		for j := range v {
			dot.Add(dot, bigNumber(0).Mul(bigNumber(float64(v[j])), bigNumber(float64(with[j]))))
		}
		lengths := bigNumber(0).Mul(bigNumber(0).Add(norm, bigNumber(smoothing)), other.Add(other, bigNumber(smoothing)))
		r.scores[i], _ = dot.Quo(dot, lengths).Float64()
		r.margins[i] = u * float64(2*len(with)+16)
	}
	return r
}

func bigNorm(v []float32) *big.Float {
	sum := bigNumber(0)
	for _, x := range v {
		sum.Add(sum, bigNumber(0).Mul(bigNumber(float64(x)), bigNumber(float64(x))))
	}
	return bigNumber(0).Sqrt(sum)
}
