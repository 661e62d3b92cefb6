// Package axpy adds multiples of many rows to one: the inner loop of products XᵀX
// and of triangular factorisations.
package axpy

// Rows adds Σ c[i]·m[i·stride : i·stride+len(y)] to y. Four rows share each load and
// store of y, and their sum is taken in pairs, so that additions overlap.
func Rows(y, c, m []float64, stride int) {
	n := len(y)
	for ; len(c) >= 4; c = c[4:] {
		c0, c1, c2, c3 := c[0], c[1], c[2], c[3]
		r0, r1, r2, r3 := m[:n], m[stride:][:n], m[2*stride:][:n], m[3*stride:][:n]
		for i := range y {
			y[i] += (c0*r0[i] + c1*r1[i]) + (c2*r2[i] + c3*r3[i])
		}
		m = m[min(4*stride, len(m)):] // the last row need not fill its stride
	}
	for i, x := range c {
		row := m[i*stride:][:n]
		for k := range y {
			y[k] += x * row[k]
		}
	}
}
