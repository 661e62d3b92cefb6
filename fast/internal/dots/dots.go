// Package dots computes dot products and squared lengths in float64, in one pass
// over a row: what cosines and norms need.
package dots

// WithSquare returns x·w and x·x, of slices of one length. Two sums of each keep
// four chains of additions going.
func WithSquare(x, w []float32) (dot, square float64) {
	w = w[:len(x)]
	var d0, d1, s0, s1 float64
	i := 0
	for ; i+2 <= len(x); i += 2 {
		a, b := float64(x[i]), float64(x[i+1])
		d0 += a * float64(w[i])
		s0 += a * a
		d1 += b * float64(w[i+1])
		s1 += b * b
	}
	if i < len(x) {
		a := float64(x[i])
		d0 += a * float64(w[i])
		s0 += a * a
	}
	return d0 + d1, s0 + s1
}

// Square returns x·x. Four sums keep four chains of additions going.
func Square(x []float32) float64 {
	var s0, s1, s2, s3 float64
	for ; len(x) >= 4; x = x[4:] {
		a, b, c, d := float64(x[0]), float64(x[1]), float64(x[2]), float64(x[3])
		s0 += a * a
		s1 += b * b
		s2 += c * c
		s3 += d * d
	}
	for _, v := range x {
		s0 += float64(v) * float64(v)
	}
	return (s0 + s1) + (s2 + s3)
}
