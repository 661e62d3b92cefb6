package kern

// Gemm writes c = F·from + a·b, where F is diagonal: row i of from counts factors[i]
// times, and once where factors is nil. Without from, which is the zero View, c is
// a·b. Right is 1 in all but a, whose transpose is as good. c may be from, and
// overlaps nothing else.
//
// Each element is a sum in an order that is the same for all: it depends on its row of
// a and of from and on its column of b only, not on what stands beside it, and a NaN
// reaches nothing else.
//
// It is for a b of a few columns or a small one: package gemm cuts large ones.
func Gemm(c, from View, factors []float32, a, b View) {
	m, n, k := c.Rows, c.Cols, a.Cols
	if m == 0 || n == 0 {
		return
	}
	c.Data = c.Data[:c.span()]
	if k > 0 {
		a.Data, b.Data = a.Data[:(m-1)*a.Down+(k-1)*a.Right+1], b.Data[:(k-1)*b.Down+n]
	}
	step := 0
	if from.Data != nil {
		from.Data = from.Data[:(m-1)*from.Down+n]
		if factors == nil {
			factors = once[:]
		} else {
			factors, step = factors[:m], 1
		}
	}
	kernel, panel := gemmAVX512, 64
	switch {
	case useAVX512:
		if n <= 8 {
			// AVX2's vector is enough, and takes half the time of AVX-512's where that is
			// executed by halves: 32 rows of 256 by 256 × 8 in 1.8 µs and not 2.4.
			kernel = gemmAVX2
		}
	case useAVX2:
		kernel, panel = gemmAVX2, 16
	case useNEON:
		gemmNEON(c, from, factors, step, a, b)
		return
	default:
		gemmGo(c, from, factors, step, a, b)
		return
	}
	rows := max(1<<21/((k+1)*panel)/6, 1) * 6 // some 50 µs a call
	for j := 0; j < n; j += panel {
		for i := 0; i < m; i += rows {
			kernel(c.at(i, j), c.Down, from.at(i, j), from.Down, View{Down: step, Data: factors}.at(i, 0), step,
				a.at(i, 0), a.Down, a.Right, b.at(0, j), b.Down, min(rows, m-i), min(panel, n-j), k)
		}
	}
}

var once = [1]float32{1}

// gemmNEON adds to what scaled leaves, 4 rows of 16 columns at a time, and what is
// left over by rows, each element in the same order.
func gemmNEON(c, from View, factors []float32, step int, a, b View) {
	m, n, k := c.Rows, c.Cols, a.Cols
	for i := range m {
		scaled(c, from, factors, step, i)
	}
	for i := 0; i < m; {
		j := 0
		if i+4 <= m {
			for ; j+16 <= n; j += 16 {
				gemmTileNEON(c.at(i, j), c.Down, a.at(i, 0), a.Down, a.Right, b.at(0, j), b.Down, k)
			}
		}
		for end := min(i+4, m); i < end; i++ {
			if j < n {
				gemmRowNEON(c.at(i, j), a.at(i, 0), a.Right, b.at(0, j), b.Down, n-j, k)
			}
		}
	}
}

// scaled writes row i of F·from, and returns it.
func scaled(c, from View, factors []float32, step, i int) []float32 {
	row := c.Data[i*c.Down:][:c.Cols]
	if from.Data == nil {
		clear(row)
		return row
	}
	f := factors[i*step]
	for j, v := range from.Data[i*from.Down:][:len(row)] {
		row[j] = f * v
	}
	return row
}

func gemmGo(c, from View, factors []float32, step int, a, b View) {
	var done int64
	for i := range c.Rows {
		row := scaled(c, from, factors, step, i)
		p := 0
		for ; p+4 <= a.Cols; p += 4 { // one load and store of the row serves four
			x := a.Data[i*a.Down+p*a.Right:]
			x0, x1, x2, x3 := x[0], x[a.Right], x[2*a.Right], x[3*a.Right]
			y := b.Data[p*b.Down:]
			y0, y1, y2, y3 := y[:len(row)], y[b.Down:][:len(row)], y[2*b.Down:][:len(row)], y[3*b.Down:][:len(row)]
			for j := range row {
				row[j] += (x0*y0[j] + x1*y1[j]) + (x2*y2[j] + x3*y3[j])
				if counting {
					done += 4
				}
			}
		}
		for ; p < a.Cols; p++ {
			x := a.Data[i*a.Down+p*a.Right]
			for j, y := range b.Data[p*b.Down:][:len(row)] {
				row[j] += x * y
				if counting {
					done++
				}
			}
		}
	}
	if counting {
		counts.mulAdds.Add(done)
	}
}
