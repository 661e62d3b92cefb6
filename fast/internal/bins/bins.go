// Package bins ranks vectors by the entropy of their elements' histogram.
//
// The idea: the entropy of n elements with counts cᵢ is ln n − Σ cᵢ·ln cᵢ / n, so
// that of a fixed n the order needs no logarithm, only a table of c·ln c. Counts are
// sorted before they are looked up: vectors that fill bins alike, whichever bins,
// then tie to the last bit.
package bins

import "math"

// Count is the number of bins.
const Count = 16

// A Ranker ranks vectors of one length.
type Ranker struct{ table []float64 }

// tabled is how far the table reaches: beyond, logarithms are few to the element.
const tabled = 1 << 12

// New returns a ranker of vectors of n elements.
func New(n int) *Ranker {
	r := &Ranker{make([]float64, min(n+1, tabled))}
	for c := range r.table {
		r.table[c] = compute(c)
	}
	return r
}

// compute is c·ln c, 0 of 0.
func compute(c int) float64 {
	if c == 0 {
		return 0
	}
	return float64(c) * math.Log(float64(c))
}

func (r *Ranker) clogc(c int32) float64 {
	if int(c) < len(r.table) {
		return r.table[c]
	}
	return compute(int(c))
}

// Score grows with the entropy of a vector's elements in equal bins over [low,
// high], low < high, the maximum in the last.
func (r *Ranker) Score(elements []float32, low, high float64) float64 {
	var counts [Count + 1]int32 // the maximum, apart
	scale := high - low
	for _, v := range elements {
		counts[int((float64(v)-low)/scale*Count)]++
	}
	counts[Count-1] += counts[Count]
	for i := 1; i < Count; i++ {
		c, j := counts[i], i
		for ; j > 0 && counts[j-1] > c; j-- {
			counts[j] = counts[j-1]
		}
		counts[j] = c
	}
	sum := 0.0
	for _, c := range counts[:Count] {
		sum += r.clogc(c)
	}
	return -sum
}
