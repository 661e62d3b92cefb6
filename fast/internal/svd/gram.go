package svd

// addGram adds α·MᵀM·x to y in one pass over the rows of m, len(x) elements each:
// a few rows at a time, first their products with x, and, while they are in
// cache, their multiples to y. With a basis for m and −1 for α this is also the
// removal of components; y may be x, each block of rows then works on what the
// ones before it have left.
func addGram(y []float64, α float64, m, x []float64) {
	n := len(x)
	for ; len(m) >= block*n; m = m[block*n:] {
		c := dotBlock(m, x)
		for i := range c {
			c[i] *= α
		}
		addBlock(y, m, &c)
	}
	for ; len(m) > 0; m = m[n:] {
		add(y, α*dot(m[:n], x), m[:n])
	}
}

// multiply writes M·x to y.
func multiply(y, m, x []float64) {
	n := len(x)
	for ; len(m) >= block*n; m, y = m[block*n:], y[block:] {
		c := dotBlock(m, x)
		copy(y, c[:])
	}
	for ; len(m) > 0; m, y = m[n:], y[1:] {
		y[0] = dot(m[:n], x)
	}
}

// Combine writes Mᵀ·c to y, M given by its rows, len(y) elements each.
func Combine(y, m, c []float64) {
	n := len(y)
	clear(y)
	for ; len(c) >= block; m, c = m[block*n:], c[block:] {
		addBlock(y, m, (*[block]float64)(c))
	}
	for ; len(c) > 0; m, c = m[n:], c[1:] {
		add(y, c[0], m[:n])
	}
}

// block is the number of rows that share each load of x, or load and store of y.
// Their sums are independent, so additions overlap; six of them and their
// products fit the sixteen registers. With eight the compiler spills: 256 × 256
// then takes 50 µs rather than 30.
const block = 6

// dotBlock returns the products of the first rows of m with x.
func dotBlock(m, x []float64) (c [block]float64) {
	n := len(x)
	r0, r1, r2, r3 := m[:n], m[n:][:n], m[2*n:][:n], m[3*n:][:n]
	r4, r5 := m[4*n:][:n], m[5*n:][:n]
	var c0, c1, c2, c3, c4, c5 float64
	for i, v := range x {
		c0 += r0[i] * v
		c1 += r1[i] * v
		c2 += r2[i] * v
		c3 += r3[i] * v
		c4 += r4[i] * v
		c5 += r5[i] * v
	}
	return [block]float64{c0, c1, c2, c3, c4, c5}
}

// addBlock adds the multiples c of the first rows of m to y.
func addBlock(y, m []float64, c *[block]float64) {
	n := len(y)
	r0, r1, r2, r3 := m[:n], m[n:][:n], m[2*n:][:n], m[3*n:][:n]
	r4, r5 := m[4*n:][:n], m[5*n:][:n]
	c0, c1, c2, c3, c4, c5 := c[0], c[1], c[2], c[3], c[4], c[5]
	for i := range y {
		y[i] += (c0*r0[i] + c1*r1[i] + c2*r2[i]) + (c3*r3[i] + c4*r4[i] + c5*r5[i])
	}
}

// dot returns the product of two vectors of the same length.
func dot(x, y []float64) float64 {
	y = y[:len(x)]
	var even, odd float64
	i := 0
	for ; i+1 < len(x); i += 2 {
		even += x[i] * y[i]
		odd += x[i+1] * y[i+1]
	}
	if i < len(x) {
		even += x[i] * y[i]
	}
	return even + odd
}

// add adds α·x to y.
func add(y []float64, α float64, x []float64) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += α * v
	}
}
