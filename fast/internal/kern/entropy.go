package kern

import (
	"math"
	"unsafe"
)

// NegEntropies writes Σ p·log(p + eps) of every row of x, and its total Σ p, and
// returns the least element of all, 0 where none is below. x has as many rows of
// one length as entropies and totals have elements. eps is a normal number, above 0
// and below 2¹⁰⁰.
//
// An entropy of elements that are not negative is off by 10⁻⁷ times the total, and
// by roundings: a term, and therefore a logarithm, need not be nearer to the truth
// than their sum will be. A table of 16 or 8 entries and three to four multiply-adds
// give that, where a logarithm good for every argument takes thrice as long. A NaN
// makes its row's total NaN, whatever the least is then.
func NegEntropies(entropies, totals, x []float32, eps float32) (least float32) {
	if len(totals) == 0 {
		return 0
	}
	rows, cols := len(totals), len(x)/len(totals)
	entropies = entropies[:rows]
	eachRows(rows, cols, func(lo, hi int) {
		entropies, totals, x := entropies[lo:hi], totals[lo:hi], x[lo*cols:hi*cols]
		switch {
		case useAVX512:
			least = min(least, negEntropiesAVX512(unsafe.SliceData(entropies), unsafe.SliceData(totals), unsafe.SliceData(x), hi-lo, cols, eps))
		case useAVX2:
			least = min(least, negEntropiesAVX2(unsafe.SliceData(entropies), unsafe.SliceData(totals), unsafe.SliceData(x), hi-lo, cols, eps))
		default:
			least = min(least, negEntropiesGo(entropies, totals, x, cols, eps))
		}
	})
	return least
}

func negEntropiesGo(entropies, totals, x []float32, cols int, eps float32) (least float32) {
	for r := range totals {
		total, entropy := 0.0, 0.0
		for _, v := range x[r*cols:][:cols] {
			p := float64(v)
			total += p
			least = min(least, v)
			if p > 0 {
				entropy += p * math.Log(p+float64(eps))
			}
		}
		entropies[r], totals[r] = float32(entropy), float32(total)
	}
	return least
}
