package kern

// Gemm writes c = from + a·b for a of m × k and b of k × n elements, and c = a·b
// where from is nil. Rows of c, from and b begin ldc, ldf and ldb elements after each
// other; element (i, p) of a is a[i·rs + p·cs], so that a transpose is as good.
// from may be c.
//
// Each element is Σ in the order of k, plus from: it depends on its row of a and its
// column of b only, neither on m and n nor on what stands beside it, and a NaN
// reaches nothing else. It is for a b of a few columns or a small one: package
// gemm cuts large ones.
func Gemm(c []float32, ldc int, from []float32, ldf int, a []float32, rs, cs int, b []float32, ldb int, m, n, k int) {
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
	var kernel func(c *float32, ldc int, from *float32, ldf int, a *float32, rs int, cs int, b *float32, ldb int, m int, n int, k int)
	var panel int
	switch {
	case useAVX512:
		kernel, panel = gemmAVX512, 64
	case useAVX2:
		kernel, panel = gemmAVX2, 16
	default:
		gemmGo(c, ldc, from, ldf, a, rs, cs, b, ldb, m, n, k)
		return
	}
	rows := max(1<<21/((k+1)*panel)/6, 1) * 6 // some 50 µs a call
	for j := 0; j < n; j += panel {
		for i := 0; i < m; i += rows {
			var add, x, y *float32
			if from != nil {
				add = &from[i*ldf+j]
			}
			if k > 0 {
				x, y = &a[i*rs], &b[j]
			}
			kernel(&c[i*ldc+j], ldc, add, ldf, x, rs, cs, y, ldb, min(rows, m-i), min(panel, n-j), k)
		}
	}
}

func gemmGo(c []float32, ldc int, from []float32, ldf int, a []float32, rs, cs int, b []float32, ldb int, m, n, k int) {
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
			b0, b1, b2, b3 := b[p*ldb:][:len(row)], b[(p+1)*ldb:][:len(row)], b[(p+2)*ldb:][:len(row)], b[(p+3)*ldb:][:len(row)]
			for j := range row {
				row[j] += (x0*b0[j] + x1*b1[j]) + (x2*b2[j] + x3*b3[j])
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
