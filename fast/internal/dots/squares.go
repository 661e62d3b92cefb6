package dots

// WithSquares returns a·b, a·a and b·b, of slices of one length: a cosine whose both
// lengths are unknown, in one pass over both. Two sums of each keep six chains of
// additions going.
func WithSquares(a, b []float32) (dot, squareA, squareB float64) {
	b = b[:len(a)]
	var d0, d1, a0, a1, b0, b1 float64
	i := 0
	for ; i+2 <= len(a); i += 2 {
		x0, y0 := float64(a[i]), float64(b[i])
		x1, y1 := float64(a[i+1]), float64(b[i+1])
		d0 += x0 * y0
		a0 += x0 * x0
		b0 += y0 * y0
		d1 += x1 * y1
		a1 += x1 * x1
		b1 += y1 * y1
	}
	if i < len(a) {
		x, y := float64(a[i]), float64(b[i])
		d0 += x * y
		a0 += x * x
		b0 += y * y
	}
	return d0 + d1, a0 + a1, b0 + b1
}
