package kern

import (
	"math"
	"unsafe"
)

// Magnitudes are ordered as their bits are, those of NaN above all.
const signless = math.MaxInt32

// Bracket writes the magnitudes of x between low and high, both included and given
// by their bits, into dst, which has room for Slack numbers more than x has and may
// begin where x does, or before it. It returns how many are below low and how many in the bracket, and the bits of the
// greatest of all.
//
// That is one step of a selection: what is sought is in the bracket, and the rest
// has only been read.
func Bracket(dst, x []float32, low, high uint32) (below, within int, largest uint32) {
	dst = dst[:len(x)+Slack]
	switch {
	case useAVX512:
		return bracketAVX512(unsafe.SliceData(dst), unsafe.SliceData(x), low, high-low, len(x))
	case useAVX2:
		return bracketAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), low, high-low, len(x))
	}
	return bracketGo(dst, x, low, high-low)
}

// bracketGo writes every magnitude, and moves on where it is in the bracket:
// nothing branches.
func bracketGo(dst, x []float32, low, span uint32) (below, within int, largest uint32) {
	for _, v := range x {
		m := math.Float32bits(v) & signless
		largest = max(largest, m)
		dst[within] = math.Float32frombits(m)
		above := m - low
		below += int(above >> 31)
		within += int(uint64(int64(above)-int64(span)-1) >> 63)
	}
	return below, within, largest
}

// CountBelow returns how many magnitudes of x are below a limit, given by its bits.
func CountBelow(x []float32, limit uint32) int {
	switch {
	case useAVX512:
		return countBelowAVX512(unsafe.SliceData(x), limit, len(x))
	case useAVX2:
		return countBelowAVX2(unsafe.SliceData(x), limit, len(x))
	}
	return countBelowGo(x, limit)
}

func countBelowGo(x []float32, limit uint32) (below int) {
	for _, v := range x {
		below += int((math.Float32bits(v)&signless - limit) >> 31)
	}
	return below
}

// Above writes the numbers whose magnitude is above a limit, given by its bits, bit
// for bit, and +0 for the others.
func Above(dst, x []float32, limit uint32) {
	dst = dst[:len(x)]
	switch {
	case useAVX512:
		aboveAVX512(unsafe.SliceData(dst), unsafe.SliceData(x), limit, len(x))
	case useAVX2:
		aboveAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), limit, len(x))
	default:
		aboveGo(dst, x, limit)
	}
}

func aboveGo(dst, x []float32, limit uint32) {
	for i, v := range x {
		bits := math.Float32bits(v)
		kept := int32(limit-bits&signless) >> 31 // all ones or 0
		dst[i] = math.Float32frombits(bits & uint32(kept))
	}
}
