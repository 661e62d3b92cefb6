package kern

import "unsafe"

// The kernels of this file do nothing useful as fast as they can: a row's time is
// compared with theirs. Each tells what it did, so that a test can hold it to that.

// PeakMulAdds makes rounds of multiply-adds and returns their number, which it has
// counted in float32 by the multiply-adds themselves, 1·1 each: it is exact up to
// 2²⁴. They are as many side by side as keep both pipes busy until the first is done.
func PeakMulAdds(rounds int) float32 {
	switch {
	case useAVX512:
		return peakMulAddsAVX512(rounds)
	case useAVX2:
		return peakMulAddsAVX2(rounds)
	}
	return peakMulAddsGo(rounds, 1)
}

// peakMulAddsGo takes its factor from outside: the compiler knows nothing of it.
func peakMulAddsGo(rounds int, x float32) float32 {
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	for range rounds {
		s0 += x * x
		s1 += x * x
		s2 += x * x
		s3 += x * x
		s4 += x * x
		s5 += x * x
		s6 += x * x
		s7 += x * x
	}
	return s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7
}

// PeakAdds makes rounds of additions of 32 bits and returns their number, modulo 2³².
func PeakAdds(rounds int) uint32 {
	switch {
	case useAVX512:
		return peakAddsAVX512(rounds)
	case useAVX2:
		return peakAddsAVX2(rounds)
	}
	return peakAddsGo(rounds, 1)
}

func peakAddsGo(rounds int, one uint32) uint32 {
	var s0, s1, s2, s3, s4, s5, s6, s7 uint32
	for range rounds {
		s0 += one
		s1 += one
		s2 += one
		s3 += one
		s4 += one
		s5 += one
		s6 += one
		s7 += one
	}
	return s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7
}

// PeakRead reads x so many times, and returns its words, or-ed.
func PeakRead(x []uint32, rounds int) uint32 {
	switch {
	case useAVX512:
		return peakReadAVX512(unsafe.SliceData(x), len(x), rounds)
	case useAVX2:
		return peakReadAVX2(unsafe.SliceData(x), len(x), rounds)
	}
	words := uint32(0)
	for range rounds {
		words |= peakReadGo(x)
	}
	return words
}

func peakReadGo(x []uint32) uint32 {
	var a, b, c, d uint32
	for len(x) >= 4 {
		a |= x[0]
		b |= x[1]
		c |= x[2]
		d |= x[3]
		x = x[4:]
	}
	for _, v := range x {
		a |= v
	}
	return a | b | c | d
}

// PeakWrite fills x with v so many times.
func PeakWrite(x []uint32, rounds int, v uint32) {
	switch {
	case useAVX512:
		peakWriteAVX512(unsafe.SliceData(x), len(x), rounds, v)
	case useAVX2:
		peakWriteAVX2(unsafe.SliceData(x), len(x), rounds, v)
	default:
		for range rounds {
			for i := range x {
				x[i] = v
			}
		}
	}
}
