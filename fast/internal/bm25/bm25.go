// Package bm25 is Okapi BM25's formula cut into what depends on the term, on the
// document, and on both.
//
// The idea: most of a corpus shares a few document frequencies and a few lengths,
// so the logarithm and the length's share are computed once for each, and one
// quotient a term and document is left. Cut or whole, the arithmetic is the same
// to the last bit, so that terms that tie by the formula tie here.
package bm25

import "math"

// k1 says how soon a repeated term stops counting, b how much a long document
// pays: Lucene's defaults.
const k1, b = 1.2, 0.75

// IDF returns ln(1 + (N−df+½)/(df+½)) of a term that df of n documents have. It
// is above 0.
func IDF(n, df int) float64 {
	return math.Log1p((float64(n) - float64(df) + 0.5) / (float64(df) + 0.5))
}

// Norm returns k1·(1−b+b·dl/avgdl) of a document of length dl.
func Norm(dl int, avgdl float64) float64 {
	return k1 * (1 - b + float64(b*float64(dl)/avgdl))
}

// Weight returns idf·tf·(k1+1)/(tf + norm), for tf ≥ 1.
func Weight(idf, tf, norm float64) float64 {
	return idf * tf * (k1 + 1) / (tf + norm)
}
