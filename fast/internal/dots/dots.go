// Package dots computes dot products and squared lengths of rows: what cosines and
// norms need.
package dots

// exactWithSquare is WithSquare in float64. Two sums of each keep four chains of
// additions going.
func exactWithSquare(x, w []float32) (dot, square float64) {
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
