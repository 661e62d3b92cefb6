// Package ulfactor factors a symmetric positive definite matrix from its last row
// upwards: H = TᵀT with T lower triangular.
//
// T is the inverse, transposed, of the Cholesky factor U of the inverse of H (H⁻¹ =
// UᵀU), and takes no inverse: d = E·U is d·Tᵀ = E, which gives E from d.
//
// Rows are done in blocks: what the rows below have to say about a block is one matrix
// product, n³/6 multiplications in all, which the cores share where it is large.
package ulfactor

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/parallel"
)

// A Factorizer factors matrices. It keeps a copy of a block of rows, on its side. The
// zero value is ready to use.
type Factorizer struct {
	t          []float64
	n, stride  int
	top, below int       // rows top … below−1 are the block
	strip      []float64 // −T in the block's columns: a row for each row of the matrix
}

const (
	// panel is the number of columns that the cores share the work by.
	panel = 64
	// multiplications take about a nanosecond.
	multiplications = 20
)

// BlockRows is the number of rows that are a block of an n × n matrix: enough to make
// matrix products of most of the work, and a multiple of a tile's rows.
func BlockRows(n int) int { return (n/64 + 6) / 6 * 6 }

// Factor replaces the lower triangle of an n × n row-major matrix by T, and reports
// whether all pivots are above lost times their diagonal elements, and finite. It
// stops at the first that is not. Rows begin stride elements after each other. What is
// above the diagonal is lost.
func (f *Factorizer) Factor(t []float64, n, stride int, lost float64) bool {
	f.t, f.n, f.stride = t, n, stride
	rows := BlockRows(n)
	if len(f.strip) < n*rows {
		f.strip = make([]float64, n*rows)
	}
	ok := true
	for f.below = n; ok && f.below > 0; f.below = f.top {
		f.top = max(0, f.below-rows)
		ok = f.block(rows, lost)
	}
	f.t = nil
	return ok
}

// block takes from the rows of the block what the rows below it have in common with
// them, and factors them, the last one first.
func (f *Factorizer) block(rows int, lost float64) bool {
	t := f.t
	diagonal := f.strip[f.top*rows:][:f.below-f.top] // as it was; row top needs no strip
	for k := range diagonal {
		diagonal[k] = t[(f.top+k)*f.stride+f.top+k]
	}
	for i := f.below; i < f.n; i++ {
		for k, x := range t[i*f.stride+f.top:][:len(diagonal)] {
			f.strip[i*rows+k] = -x
		}
	}
	parallel.Run(f, (f.below+panel-1)/panel, float64(rows*(f.n-f.below))*panel/multiplications)
	for k := f.below - 1; k >= f.top; k-- {
		row := t[k*f.stride:][:k+1]
		if later := f.below - 1 - k; later > 0 {
			kern.GemmDouble(row, 0, row, 0, f.strip[(k+1)*rows+k-f.top:], 0, rows, t[(k+1)*f.stride:], f.stride, 1, k+1, later)
		}
		pivot := row[k]
		if !(pivot > lost*diagonal[k-f.top]) || math.IsInf(pivot, 0) {
			return false
		}
		root := math.Sqrt(pivot)
		kern.ScaleDouble(row[:k], 1/root)
		row[k] = root
		for j, x := range row[f.top:k] {
			f.strip[k*rows+j] = -x
		}
	}
	return true
}

// Part does some panels of columns: it makes a Factorizer a parallel.Task.
func (f *Factorizer) Part(_, lo, hi int) {
	lo, hi = lo*panel, min(hi*panel, f.below)
	rows, m := BlockRows(f.n), f.below-f.top
	c := f.t[f.top*f.stride+lo:]
	if f.below < f.n {
		kern.GemmDouble(c, f.stride, c, f.stride, f.strip[f.below*rows:], 1, rows, f.t[f.below*f.stride+lo:], f.stride, m, hi-lo, f.n-f.below)
	}
}
