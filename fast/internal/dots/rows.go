package dots

import (
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/spec"
)

// onlyRounded reports whether a sum in float32 is as good as float32 can be. Products
// that underflow leave less than 2⁻¹⁴⁹ each, nothing against 2⁻¹⁰⁰, and none has
// overflowed on the way to what is far below the limit. Other sums are taken again in
// float64, which holds every product of float32s.
func onlyRounded(sum float32) bool {
	const least, most = 0x1p-100, 0x1p100
	return sum >= least && sum <= most || -sum >= least && -sum <= most
}

// WithSquare returns x·w and x·x, of slices of one length, in float32 where that is
// as good. They are NaN or infinite where an element is.
func WithSquare(x, w []float32) (dot, square float64) {
	d, s := kern.Dot(x, w), kern.Dot(x, x)
	if onlyRounded(d) && onlyRounded(s) {
		return float64(d), float64(s)
	}
	return exactWithSquare(x, w)
}

// Rows are the products of many rows with one vector. An instance keeps its memory,
// two numbers a row.
type Rows struct {
	x             spec.Matrix
	w             []float32
	dots, squares []float32
}

// Set computes x·w and x·x for every row x of a matrix, in one pass. At may be called
// while neither it nor w changes.
func (r *Rows) Set(x spec.Matrix, w []float32) {
	r.x, r.w = x, w
	r.dots, r.squares = spec.Resize(r.dots, x.Rows), spec.Resize(r.squares, x.Rows)
	kern.RowDotsSquares(r.dots, r.squares, x.Data, w)
}

// At returns what WithSquare does of row i.
func (r *Rows) At(i int) (dot, square float64) {
	if d, s := r.dots[i], r.squares[i]; onlyRounded(d) && onlyRounded(s) {
		return float64(d), float64(s)
	}
	return exactWithSquare(r.x.Row(i), r.w)
}

// Forget lets go of the rows and the vector, which are a caller's.
func (r *Rows) Forget() { r.x, r.w = spec.Matrix{}, nil }
