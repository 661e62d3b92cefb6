package ref

import "math"

// Okapi BM25's constants, with the values that Lucene takes by default: k1 says
// how soon a repeated term stops counting, b how much a long document pays.
const bm25K1, bm25B = 1.2, 0.75

// bm25 weighs the terms of a corpus (Robertson and Zaragoza, "The Probabilistic
// Relevance Framework: BM25 and Beyond", 2009), with the idf of Lucene, which is
// above 0 even for a term that every document has.
type bm25 struct {
	counts        []map[int64]int // of each document, how often it has a term
	lengths       []float64       // of each document, in terms
	meanLength    float64
	documentsWith map[int64]int
}

func newBM25(documents [][]int64) *bm25 {
	corpus := &bm25{documentsWith: map[int64]int{}}
	terms := 0
	for _, document := range documents {
		count := map[int64]int{}
		for _, term := range document {
			count[term]++
		}
		for term := range count {
			corpus.documentsWith[term]++
		}
		corpus.counts = append(corpus.counts, count)
		corpus.lengths = append(corpus.lengths, float64(len(document)))
		terms += len(document)
	}
	corpus.meanLength = float64(terms) / float64(len(documents))
	return corpus
}

// idf is ln(1 + (N−df+½)/(df+½)), of N documents df of which have the term.
func (c *bm25) idf(term int64) float64 {
	n, df := float64(len(c.counts)), float64(c.documentsWith[term])
	return math.Log1p((n - df + 0.5) / (df + 0.5))
}

// weight is what a term is worth in a document, 0 where the document lacks it:
//
//	idf·tf·(k1+1) / (tf + k1·(1−b+b·dl/avgdl))
func (c *bm25) weight(term int64, document int) float64 {
	tf := float64(c.counts[document][term])
	if tf == 0 {
		return 0
	}
	length := 1 - bm25B + float64(bm25B*c.lengths[document]/c.meanLength)
	return c.idf(term) * tf * (bm25K1 + 1) / (tf + float64(bm25K1*length))
}

// score is a document's relevance to a query: the sum of the weights of its
// terms, a repeated one counted each time.
func (c *bm25) score(query []int64, document int) float64 {
	sum := 0.0
	for _, term := range query {
		sum += c.weight(term, document)
	}
	return sum
}
