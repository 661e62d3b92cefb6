// Package bins ranks vectors by the entropy of their elements' histogram.
//
// The idea: the entropy of n elements with counts cᵢ is ln n − Σ cᵢ·ln cᵢ / n, so
// that of a fixed n the order needs no logarithm, only a table of c·ln c. Its entries
// are multiples of 2⁻²⁴, whose sums are exact: vectors that fill bins alike,
// whichever bins, tie to the last bit.
package bins

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/spec"
)

// A Ranker ranks vectors of one length. It takes 32 KiB, and 16 KiB for counts.
type Ranker struct {
	table  [tabled]int64 // of c·ln c, in units
	counts [][kern.Bins]uint16
}

const (
	// unit is that of the table. Of vectors up to 2³⁰ elements sums fit 63 bits.
	unit = 0x1p-24
	// tabled is how far the table reaches: beyond, logarithms are few to the element.
	tabled = 1 << 12
	// together is the number of vectors that are counted before they are scored.
	together = 512
)

// New returns a ranker of vectors of n elements.
func New(n int) *Ranker {
	r := new(Ranker)
	for c := range min(n+1, tabled) {
		r.table[c] = compute(c)
	}
	return r
}

// compute is c·ln c in units, 0 of 0.
func compute(c int) int64 {
	if c == 0 {
		return 0
	}
	return int64(math.Round(float64(c) * math.Log(float64(c)) / unit))
}

// Scores writes for every row of x a number that grows with the entropy of its
// elements in equal bins over [low, high], the maximum in the last. low < high are
// finite, and no element is outside.
func (r *Ranker) Scores(scores []float64, x spec.Matrix, low, high float32) {
	span := high - low
	// Within these, neither the range nor what it is multiplied with is rounded to
	// much less than a float32 holds, and counts fit.
	if !(span >= 0x1p-100 && span <= 0x1p100) || x.Cols > math.MaxUint16 {
		for i := range scores {
			scores[i] = r.scoreExactly(x.Row(i), float64(low), float64(high))
		}
		return
	}
	r.counts = spec.Resize(r.counts, min(x.Rows, together))
	for from := 0; from < x.Rows; from += together {
		to := min(x.Rows, from+together)
		counts := r.counts[:to-from]
		kern.Histograms(counts, x.Data[from*x.Cols:to*x.Cols], low, kern.Bins/span)
		for i := range counts {
			scores[from+i] = r.score(&counts[i], x.Cols)
		}
	}
}

// score returns the score of a vector of n elements that fill bins so.
func (r *Ranker) score(counts *[kern.Bins]uint16, n int) float64 {
	sum := int64(0)
	if n < tabled {
		for _, c := range counts {
			sum += r.table[c%tabled] // checks no bounds
		}
	} else {
		for _, c := range counts {
			sum += r.clogc(int(c))
		}
	}
	return -float64(sum)
}

func (r *Ranker) clogc(c int) int64 {
	if c < tabled {
		return r.table[c]
	}
	return compute(c)
}

// scoreExactly is the score of one vector, with bins cut in float64.
func (r *Ranker) scoreExactly(elements []float32, low, high float64) float64 {
	var counts [kern.Bins + 1]int // the maximum, apart
	scale := high - low
	for _, v := range elements {
		counts[int((float64(v)-low)/scale*kern.Bins)]++
	}
	counts[kern.Bins-1] += counts[kern.Bins]
	sum := int64(0)
	for _, c := range counts[:kern.Bins] {
		sum += r.clogc(c)
	}
	return -float64(sum)
}
