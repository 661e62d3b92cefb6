// Package absmean sums magnitudes.
//
// The idea: eight float64 sums side by side, so that no addition waits for the one
// before it. The sum of finite float32s cannot overflow a float64, so a sum that
// is not finite says that an element is not: the check costs no pass of its own.
package absmean

import "math"

// Sum returns Σ|x|, +Inf or NaN where and only where an element is not finite.
func Sum(x []float32) float64 {
	var s0, s1, s2, s3, s4, s5, s6, s7 float64
	for len(x) >= 8 {
		s0 += abs(x[0])
		s1 += abs(x[1])
		s2 += abs(x[2])
		s3 += abs(x[3])
		s4 += abs(x[4])
		s5 += abs(x[5])
		s6 += abs(x[6])
		s7 += abs(x[7])
		x = x[8:]
	}
	for _, v := range x {
		s0 += abs(v)
	}
	return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
}

// abs clears the sign before the conversion: an integer operation, off the busy
// floating-point ports.
func abs(x float32) float64 {
	return float64(math.Float32frombits(math.Float32bits(x) &^ (1 << 31)))
}
