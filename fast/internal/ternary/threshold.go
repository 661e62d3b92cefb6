package ternary

import "math"

// Bound returns the largest float32 ≤ t, for a threshold t ≥ 0, +Inf among them: a
// float32 exceeds one exactly where it exceeds the other, so that weights are
// compared as they are.
func Bound(t float64) float32 {
	b := float32(t)
	if float64(b) > t {
		b = math.Nextafter32(b, 0)
	}
	return b
}

// Quantize writes the code of each weight, +1 above bound, −1 below −bound, else
// 0, and returns the number of zeros. The weights are finite, bound ≥ 0, and dst
// is as long as weights.
//
// Magnitudes of floats are ordered as their bits are, so the sign of a difference
// of bits is the comparison.
func Quantize(dst []int8, weights []float32, bound float32) (zeros int) {
	limit := int32(math.Float32bits(bound))
	nonZero := 0
	dst = dst[:len(weights)]
	for i, w := range weights {
		bits := int32(math.Float32bits(w))
		above := (limit - bits&math.MaxInt32) >> 31 // −1 above the bound, else 0
		sign := bits>>31 | 1
		dst[i] = int8(sign & above)
		nonZero -= int(above)
	}
	return len(weights) - nonZero
}
