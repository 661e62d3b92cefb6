package ternary

import "math"

// Bound returns the largest float32 ≤ t, for a threshold t ≥ 0, +Inf among them: a
// float32 exceeds one exactly where it exceeds the other, so that weights are
// compared as they are.
func Bound(t float64) float32 {
	b := float32(t)
	bits := math.Float32bits(b)
	if float64(b) > t { // a coin toss, and so without a branch
		bits--
	}
	return math.Float32frombits(bits)
}
