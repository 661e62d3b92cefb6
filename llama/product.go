package llama

import "github.com/squishspec/squishspec/internal/ordered"

// A Float is a type to compute in.
type Float interface{ float32 | float64 }

// The conversions F(a*b) in this package round each product, which keeps the
// compiler from fusing it into a sum: results are the same on every architecture.

// product computes dst = x·Wᵀ for n rows of x.
func (s *Session[F]) product(dst, x []F, n int, w *Matrix) {
	if narrow, ok := any(dst).([]float32); ok {
		s.vectors.product(narrow, any(x).([]float32), n, w)
		return
	}
	product(dst, x, n, w, s.row)
}

// product is the reference of the products: sums in index order. A row of w serves four rows of x at
// a time: four chains of additions overlap, each in index order, so that no
// element depends on n.
func product[F Float](dst, x []F, n int, w *Matrix, buffer []F) {
	rows, cols := w.Rows, w.Cols
	buffer = buffer[:cols]
	for r := range rows {
		v := row(w, r, buffer)
		i := 0
		for ; i+4 <= n; i += 4 {
			x0, x1, x2, x3 := x[i*cols:][:len(v)], x[(i+1)*cols:][:len(v)], x[(i+2)*cols:][:len(v)], x[(i+3)*cols:][:len(v)]
			var s0, s1, s2, s3 F
			for k, a := range v {
				s0 += F(a * x0[k])
				s1 += F(a * x1[k])
				s2 += F(a * x2[k])
				s3 += F(a * x3[k])
			}
			dst[i*rows+r], dst[(i+1)*rows+r], dst[(i+2)*rows+r], dst[(i+3)*rows+r] = s0, s1, s2, s3
		}
		for ; i < n; i++ {
			dst[i*rows+r] = ordered.Dot(v, x[i*cols:][:cols])
		}
	}
}

func add[F Float](dst, x []F) {
	for i, v := range x {
		dst[i] += v
	}
}
