package kern

// GemmDouble is Gemm for float64s, of plain slices: c = from + a·b for a of m × k and b
// of k × n elements, and c = a·b where from is nil. Rows of c, from and b begin ldc,
// ldf and ldb elements after each other; element (i, p) of a is a[i·rs + p·cs]. c may
// be from.
//
// Some columns of a and rows of b are taken at a time, so that a panel of b stays in
// the L2 cache while all rows of a pass by it.
func GemmDouble(c []float64, ldc int, from []float64, ldf int, a []float64, rs, cs int, b []float64, ldb int, m, n, k int) {
	if m == 0 || n == 0 {
		return
	}
	c = c[:(m-1)*ldc+n]
	if from != nil {
		from = from[:(m-1)*ldf+n]
	}
	if k > 0 {
		a, b = a[:(m-1)*rs+(k-1)*cs+1], b[:(k-1)*ldb+n]
	}
	const depth = 256
	for ; k > depth; k -= depth {
		gemmDouble(c, ldc, from, ldf, a, rs, cs, b, ldb, m, n, depth)
		from, ldf, a, b = c, ldc, a[depth*cs:], b[depth*ldb:]
	}
	gemmDouble(c, ldc, from, ldf, a, rs, cs, b, ldb, m, n, k)
}

func gemmDouble(c []float64, ldc int, from []float64, ldf int, a []float64, rs, cs int, b []float64, ldb int, m, n, k int) {
	kernel, panel := gemmDoubleAVX512, 32
	switch {
	case useAVX512:
	case useAVX2:
		kernel, panel = gemmDoubleAVX2, 8
	default:
		gemmDoubleGo(c, ldc, from, ldf, a, rs, cs, b, ldb, m, n, k)
		return
	}
	rows := max(1<<20/((k+1)*panel)/6, 1) * 6 // some 50 µs a call
	for j := 0; j < n; j += panel {
		for i := 0; i < m; i += rows {
			var add, x, y *float64
			if from != nil {
				add = &from[i*ldf+j]
			}
			if k > 0 {
				x, y = &a[i*rs], &b[j]
			}
			kernel(&c[i*ldc+j], ldc, add, ldf, &onceDouble, 0, x, rs, cs, y, ldb, min(rows, m-i), min(panel, n-j), k)
		}
	}
}

var onceDouble = 1.0

func gemmDoubleGo(c []float64, ldc int, from []float64, ldf int, a []float64, rs, cs int, b []float64, ldb int, m, n, k int) {
	for i := range m {
		row := c[i*ldc:][:n]
		if from != nil {
			copy(row, from[i*ldf:])
		} else {
			clear(row)
		}
		p := 0
		for ; p+4 <= k; p += 4 { // one load and store of the row serves four
			x := a[i*rs+p*cs:]
			x0, x1, x2, x3 := x[0], x[cs], x[2*cs], x[3*cs]
			y := b[p*ldb:]
			y0, y1, y2, y3 := y[:len(row)], y[ldb:][:len(row)], y[2*ldb:][:len(row)], y[3*ldb:][:len(row)]
			for j := range row {
				row[j] += (x0*y0[j] + x1*y1[j]) + (x2*y2[j] + x3*y3[j])
			}
		}
		for ; p < k; p++ {
			x := a[i*rs+p*cs]
			for j, y := range b[p*ldb:][:len(row)] {
				row[j] += x * y
			}
		}
	}
}
