// Package motion measures how far one vector is from another.
//
// The idea: the size of the vector compared with does not change while it is
// compared with, so that it is summed once; the difference takes one pass, with
// four chains of additions going.
package motion

import "math"

// Between returns Σ|aᵢ − bᵢ|, of slices of one length.
func Between(a, b []float32) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += math.Abs(float64(a[i]) - float64(b[i]))
		s1 += math.Abs(float64(a[i+1]) - float64(b[i+1]))
		s2 += math.Abs(float64(a[i+2]) - float64(b[i+2]))
		s3 += math.Abs(float64(a[i+3]) - float64(b[i+3]))
	}
	for ; i < len(a); i++ {
		s0 += math.Abs(float64(a[i]) - float64(b[i]))
	}
	return s0 + s1 + (s2 + s3)
}

// Size returns Σ|aᵢ|.
func Size(a []float32) float64 {
	var s0, s1 float64
	i := 0
	for ; i+2 <= len(a); i += 2 {
		s0 += math.Abs(float64(a[i]))
		s1 += math.Abs(float64(a[i+1]))
	}
	if i < len(a) {
		s0 += math.Abs(float64(a[i]))
	}
	return s0 + s1
}
