// Package ulfactor factors a symmetric positive definite matrix from its last row
// upwards: H = TᵀT with T lower triangular.
//
// T is the inverse, transposed, of the Cholesky factor U of the inverse of H (H⁻¹ =
// UᵀU), and takes no inverse: d = E·U is d·Tᵀ = E, which gives E from d.
package ulfactor

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/axpy"
)

// Factor replaces the lower triangle of an n × n row-major matrix by T, and reports
// whether all pivots are above lost times their diagonal elements, and finite. It
// stops at the first that is not. The rest of t is left alone. column is scratch of n
// elements.
func Factor(t []float64, n int, lost float64, column []float64) bool {
	for k := n - 1; k >= 0; k-- {
		row := t[k*n:][:k+1]
		diagonal := row[k]
		below := column[:n-1-k]
		for i := range below {
			below[i] = -t[(k+1+i)*n+k]
		}
		axpy.Rows(row, below, t[(k+1)*n:], n)
		pivot := row[k]
		if !(pivot > lost*diagonal) || math.IsInf(pivot, 0) {
			return false
		}
		root := math.Sqrt(pivot)
		for i := range row[:k] {
			row[i] /= root
		}
		row[k] = root
	}
	return true
}
