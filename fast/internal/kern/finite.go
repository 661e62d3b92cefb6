package kern

import "unsafe"

// AllFinite reports whether no element is an infinity or NaN. It is for data that
// nothing else is computed from: a product with 0 is 0 or NaN, and NaN stays in a
// sum, which makes the check one instruction a vector.
func AllFinite(x []float32) bool {
	for len(x) > elementsAtOnce {
		if !allFinite(x[:elementsAtOnce]) {
			return false
		}
		x = x[elementsAtOnce:]
	}
	return allFinite(x)
}

func allFinite(x []float32) bool {
	switch {
	case useAVX512:
		return allFiniteAVX512(unsafe.SliceData(x), len(x)) == 0
	case useAVX2:
		return allFiniteAVX2(unsafe.SliceData(x), len(x)) == 0
	}
	return allFiniteGo(x) == 0
}

func allFiniteGo(x []float32) (sum float32) {
	var s0, s1, s2, s3 float32
	for ; len(x) >= 4; x = x[4:] {
		s0 += x[0] * 0
		s1 += x[1] * 0
		s2 += x[2] * 0
		s3 += x[3] * 0
	}
	for _, v := range x {
		s0 += v * 0
	}
	return (s0 + s1) + (s2 + s3)
}

// Extremes returns the least and the greatest element of x, of which there is one at
// least, and whether all are finite. If not, the extremes are any numbers. Of zeros of both signs
// either may be the extreme.
func Extremes(x []float32) (low, high float32, finite bool) {
	low, high = x[0], x[0]
	for len(x) > 0 {
		n := min(len(x), elementsAtOnce)
		l, h, zero := extremes(x[:n])
		if zero != 0 {
			return low, high, false
		}
		low, high, x = min(low, l), max(high, h), x[n:]
	}
	return low, high, true
}

// extremes returns NaN for zero where an element is not finite.
func extremes(x []float32) (low, high, zero float32) {
	switch {
	case useAVX512:
		return extremesAVX512(unsafe.SliceData(x), len(x))
	case useAVX2:
		return extremesAVX2(unsafe.SliceData(x), len(x))
	}
	return extremesGo(x)
}

func extremesGo(x []float32) (low, high, zero float32) {
	low, high = x[0], x[0]
	for _, v := range x {
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
		zero += v * 0
	}
	return low, high, zero
}
