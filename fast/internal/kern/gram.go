package kern

// GramDouble adds α·MᵀM·x to y, in float64, M given by its rows, len(x) elements each.
// With an orthonormal basis for M and −1 for α this is also the removal of components;
// y may be x, each block of rows then works on what the ones before it have left.
//
// M is read once: a block of rows at a time, first their products with x, and, while
// they are in the first-level cache, their multiples to y.
func GramDouble(y []float64, α float64, m, x []float64) {
	kernel := gramDoubleAVX512
	switch {
	case useAVX512:
	case useAVX2:
		kernel = gramDoubleAVX2
	default:
		kernel = nil
	}
	m = gramBlocks(kernel, y, α, m, x)
	for n := len(x); len(m) > 0; m = m[n:] {
		AddDouble(y, α*DotDouble(m[:n], x), m[:n])
	}
}

// Gram is GramDouble in float32.
func Gram(y []float32, α float32, m, x []float32) {
	kernel := gramAVX512
	switch {
	case useAVX512:
	case useAVX2:
		kernel = gramAVX2
	default:
		kernel = nil
	}
	m = gramBlocks(kernel, y, α, m, x)
	for n := len(x); len(m) > 0; m = m[n:] {
		dot := α * Dot(m[:n], x)
		for i, v := range m[:n] {
			y[i] += dot * v
		}
	}
}

// gramBlocks does as many rows of m as whole blocks have, and returns the rest.
func gramBlocks[T float32 | float64](kernel func(y, m, x *T, n, blocks int, α T), y []T, α T, m, x []T) (rest []T) {
	n := len(x)
	if n == 0 {
		return nil
	}
	y = y[:n]
	for blocks := len(m) / (gramRows * n); blocks > 0; {
		some := min(blocks, 1+gramCall/(gramRows*n))
		if kernel == nil {
			gramGo(y, m, x, some, α)
		} else {
			kernel(&y[0], &m[0], &x[0], n, some, α)
		}
		m = m[some*gramRows*n:]
		blocks -= some
	}
	return m
}

// gramCall is how many elements of M a call goes through, so that it does not last.
const gramCall = 1 << 17

// gramRows is the number of rows in a block. They share each load of x, or load and
// store of y. Six of them and their products fit sixteen registers, of the plain body
// too; 256 × 256 takes 6.3 µs with them, and 6.5 with four or eight.
const gramRows = 6

func gramGo[T float32 | float64](y, m, x []T, blocks int, α T) {
	n := len(x)
	for range blocks {
		c := dotRows(m, x)
		for i := range c {
			c[i] *= α
		}
		addRows(y, m, &c)
		m = m[gramRows*n:]
	}
}

// dotRows returns the products of the first rows of m with x.
func dotRows[T float32 | float64](m, x []T) (c [gramRows]T) {
	n := len(x)
	r0, r1, r2, r3 := m[:n], m[n:][:n], m[2*n:][:n], m[3*n:][:n]
	r4, r5 := m[4*n:][:n], m[5*n:][:n]
	var c0, c1, c2, c3, c4, c5 T
	for i, v := range x {
		c0 += r0[i] * v
		c1 += r1[i] * v
		c2 += r2[i] * v
		c3 += r3[i] * v
		c4 += r4[i] * v
		c5 += r5[i] * v
	}
	return [gramRows]T{c0, c1, c2, c3, c4, c5}
}

// addRows adds the multiples c of the first rows of m to y.
func addRows[T float32 | float64](y, m []T, c *[gramRows]T) {
	n := len(y)
	r0, r1, r2, r3 := m[:n], m[n:][:n], m[2*n:][:n], m[3*n:][:n]
	r4, r5 := m[4*n:][:n], m[5*n:][:n]
	c0, c1, c2, c3, c4, c5 := c[0], c[1], c[2], c[3], c[4], c[5]
	for i := range y {
		y[i] += (c0*r0[i] + c1*r1[i] + c2*r2[i]) + (c3*r3[i] + c4*r4[i] + c5*r5[i])
	}
}
