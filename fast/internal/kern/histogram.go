package kern

import "unsafe"

// Bins is the number of bins of Histograms.
const Bins = 16

// Histograms counts the elements of every row of x into bins: an element v falls
// into the bin (v − low)·scale, rounded down, from 0 to the last, computed in
// float32. x has as many rows of one length, below 2¹⁶, as there are counts, and no
// element below low.
//
// No element has its own addition: the bins of 64 elements become four words, one
// for each of a bin's four bits, and the bits of the words that are set together are
// counted, for all sets of bits. Those counts, subtracted from each other, are those
// of the bins.
func Histograms(counts [][Bins]uint16, x []float32, low, scale float32) {
	if len(counts) == 0 {
		return
	}
	cols := len(x) / len(counts)
	eachRows(len(counts), cols, func(lo, hi int) {
		counts, x := counts[lo:hi], x[lo*cols:hi*cols]
		switch {
		case useAVX512:
			histogramsAVX512(&counts[0][0], unsafe.SliceData(x), len(counts), cols, low, scale)
		case useAVX2:
			histogramsAVX2(&counts[0][0], unsafe.SliceData(x), len(counts), cols, low, scale)
		default:
			histogramsGo(counts, x, cols, low, scale)
		}
	})
}

func histogramsGo(counts [][Bins]uint16, x []float32, cols int, low, scale float32) {
	for r := range counts {
		var row [Bins + 1]uint16 // the greatest element may be one bin beyond
		for _, v := range x[r*cols:][:cols] {
			row[int((v-low)*scale)]++
		}
		row[Bins-1] += row[Bins]
		copy(counts[r][:], row[:])
	}
}
