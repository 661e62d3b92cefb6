package ordered

// A Float is a type to compute in.
type Float interface{ float32 | float64 }

// Product computes dst = x·wᵀ, or adds it, for x (n, cols), w (rows, cols) and dst
// (n, rows). Blocks of 2 by 4 elements of dst share their loads, and eight chains of
// additions overlap, or four in a last row alone, each in index order: no element
// depends on the blocks.
func Product[F Float](dst, x, w []F, n, rows, cols int, add bool) {
	if !add {
		clear(dst[:n*rows])
	}
	i := 0
	for ; i+2 <= n; i += 2 {
		x0, x1 := x[i*cols:][:cols], x[(i+1)*cols:][:cols]
		d0, d1 := dst[i*rows:][:rows], dst[(i+1)*rows:][:rows]
		r := 0
		for ; r+4 <= rows; r += 4 {
			w0, w1, w2, w3 := w[r*cols:][:cols], w[(r+1)*cols:][:cols], w[(r+2)*cols:][:cols], w[(r+3)*cols:][:cols]
			w0, w1, w2, w3, y1 := w0[:len(x0)], w1[:len(x0)], w2[:len(x0)], w3[:len(x0)], x1[:len(x0)]
			var a0, a1, a2, a3, b0, b1, b2, b3 F
			for k, a := range x0 {
				b := y1[k]
				v := w0[k]
				a0 += F(a * v)
				b0 += F(b * v)
				v = w1[k]
				a1 += F(a * v)
				b1 += F(b * v)
				v = w2[k]
				a2 += F(a * v)
				b2 += F(b * v)
				v = w3[k]
				a3 += F(a * v)
				b3 += F(b * v)
			}
			e0, e1 := d0[r:r+4:r+4], d1[r:r+4:r+4]
			e0[0] += a0
			e0[1] += a1
			e0[2] += a2
			e0[3] += a3
			e1[0] += b0
			e1[1] += b1
			e1[2] += b2
			e1[3] += b3
		}
		for ; r < rows; r++ {
			d0[r] += Dot(x0, w[r*cols:][:cols])
			d1[r] += Dot(x1, w[r*cols:][:cols])
		}
	}
	if i < n {
		x0, d0 := x[i*cols:][:cols], dst[i*rows:][:rows]
		r := 0
		for ; r+4 <= rows; r += 4 {
			w0, w1, w2, w3 := w[r*cols:][:cols], w[(r+1)*cols:][:cols], w[(r+2)*cols:][:cols], w[(r+3)*cols:][:cols]
			w0, w1, w2, w3 = w0[:len(x0)], w1[:len(x0)], w2[:len(x0)], w3[:len(x0)]
			var a0, a1, a2, a3 F
			for k, a := range x0 {
				a0 += F(a * w0[k])
				a1 += F(a * w1[k])
				a2 += F(a * w2[k])
				a3 += F(a * w3[k])
			}
			d0[r] += a0
			d0[r+1] += a1
			d0[r+2] += a2
			d0[r+3] += a3
		}
		for ; r < rows; r++ {
			d0[r] += Dot(x0, w[r*cols:][:cols])
		}
	}
}

// Dot is a·b.
func Dot[F Float](a, b []F) F {
	b = b[:len(a)]
	var s F
	for i, v := range a {
		s += F(v * b[i])
	}
	return s
}

// AddScaled adds a·x.
func AddScaled[F Float](dst []F, a F, x []F) {
	dst = dst[:len(x)]
	for i, v := range x {
		dst[i] += F(a * v)
	}
}

// Transpose writes x (rows, cols) as (cols, rows).
func Transpose[F Float](dst, x []F, rows, cols int) {
	for r := range rows {
		for c, v := range x[r*cols:][:cols] {
			dst[c*rows+r] = v
		}
	}
}

// Columns writes cols columns from at on of x (rows, width) as (rows, cols).
func Columns[F Float](dst, x []F, rows, width, at, cols int) {
	for r := range rows {
		copy(dst[r*cols:][:cols], x[r*width+at:])
	}
}

// SetColumns writes x (rows, cols) over cols columns from at on of dst (rows, width).
func SetColumns[F Float](dst, x []F, rows, width, at, cols int) {
	for r := range rows {
		copy(dst[r*width+at:], x[r*cols:][:cols])
	}
}
