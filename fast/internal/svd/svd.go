// Package svd finds the largest singular triplets of a dense matrix A in
// float64, far cheaper than all of them.
//
// The right singular vectors are the eigenvectors of AᵀA, and Lanczos iteration
// finds the largest of those from products with AᵀA alone (lanczos.go, operator.go):
// those of a small tridiagonal matrix, counted (leading.go) or, where they are near
// each other, by QR steps (tridiagonal.go). A Krylov space holds one vector of each
// eigenvalue, so a
// repeated one hides its copies: once the iteration has converged, an inertia
// argument decides by a few more products whether anything is hidden
// (inertia.go). If so, the vectors found are locked and another round runs in
// their complement. Where rounds would cost more than everything, the iteration
// runs to the full dimension, which is a complete tridiagonalisation and misses
// nothing. The left vectors are A·v, made orthonormal (orthogonal.go).
//
// Products are in float32 as long as the spectrum turns out to be flat, which is where
// most of them are needed, and in float64 else; the basis, the left vectors and the
// values are in float64 always. A Gaussian 256 × 256 matrix and k = 16 take 0.8 ms on a
// Zen 4, where a complete decomposition by LAPACK takes 13.
//
// Squaring A costs no accuracy that a float32 result would show: vectors of
// singular values below some 2⁻²⁵·σ₁, whose squares drown in rounding, may be mixed
// among themselves; they are orthonormal all the same, and span what they should.
package svd

import (
	"math"
	"math/rand/v2"

	"github.com/squishspec/squishspec/fast/internal/kern"
)

// A Decomposer holds the result of its last decomposition, and the memory for the
// next one. The zero value is ready to use. Results are a function of the
// arguments alone: the random vectors come from a fixed seed.
type Decomposer struct {
	U []float64 // left singular vectors, one a row: k × rows
	S []float64 // singular values, descending, ≥ 0
	V []float64 // right singular vectors, one a row: k × cols

	a             []float64
	rows, cols, k int
	gram          operator

	basis  []float64   // orthonormal rows: the locked vectors, then the round's
	locked []float64   // eigenvalues of the locked vectors, descending
	round  tridiagonal // AᵀA in the round's part of the basis
	steps  int         // Lanczos steps so far, those of probes included

	leading []float64 // the k largest among the locked and the round's eigenvalues
	origin  []int     // of each of them: its rank in the round, or fromLocked

	probe    tridiagonal // the complement of the basis, on a Krylov space of its own
	coupling []float64   // unit vector that couples basis and complement
	gain     float64     // its weight in the Schur complement; 0 but in the probe

	next        []float64 // the vector that a step works on
	coordinates []float64 // eigenvectors of the round, one a column
	fresh       []float64 // the vectors that they stand for, one a row
	columns     []float64 // V, one vector a column
	products    []float64 // A times them
	random      rand.PCG
}

const (
	// accuracy bounds the residual ‖AᵀA·v − θ·v‖ of a vector, in units of σ·σ₁:
	// the vector is then off by accuracy·σ₁/gap at most.
	accuracy = 0x1p-26
	// smallest·σ₁ takes the place of σ in that bound where σ is below it.
	smallest = 0x1p-17
	// resolution·σ₁ is how far above the k-th singular value another one may lie
	// unnoticed.
	resolution = 0x1p-21
	// noise is the size, relative to what it is the difference of, of a vector
	// that is all rounding.
	noise = 0x1p-48
)

// Decompose finds the k largest singular triplets of the row-major rows × cols
// matrix a, rows ≥ cols ≥ k ≥ 1. Elements are differences of float32s, or 0: fourth
// powers of them neither over- nor underflow.
func (d *Decomposer) Decompose(a []float64, rows, cols, k int) {
	d.a, d.rows, d.cols, d.k = a, rows, cols, k
	d.gram.begin(a, rows, cols)
	if !d.rightVectorsRoughly() {
		d.rightVectors()
	}
	d.leftVectors()
	d.a, d.gram.a = nil, nil
}

// Products in float32 are off by some 2⁻²⁴·σ₁², which is nothing as long as the square
// of the last wanted singular value is of the order of σ₁², and no Krylov space is nearly
// invariant. That is so where most iterations are needed: with flat spectra. Where it
// turns out not to be so, or something is hidden, everything is done again in float64.
// The basis is in float64 in any case, and so are the left vectors and the values.
const (
	// roughLeast is the least number of columns that are worth it.
	roughLeast = 128
	// flat is the least ratio of the last wanted eigenvalue to the first.
	flat = 1. / 16
	// roughNoise is noise for products in float32.
	roughNoise = 0x1p-16
)

// rightVectorsRoughly sets V by products in float32, and reports whether they do.
func (d *Decomposer) rightVectorsRoughly() bool {
	if d.cols < roughLeast || 4*d.k > d.cols {
		return false
	}
	d.gram.roughen()
	if !d.gram.rough {
		return false
	}
	d.begin()
	if !d.iterate(false) || d.leading[d.k-1] < flat*d.leading[0] || d.hides(d.threshold()) {
		d.gram.rough = false
		return false
	}
	d.lock()
	return true
}

func (d *Decomposer) begin() {
	d.random.Seed(0, 0)
	d.next = resize(d.next, d.cols)
	d.basis, d.locked, d.steps = d.basis[:0], d.locked[:0], 0
}

// rightVectors sets V.
func (d *Decomposer) rightVectors() {
	d.begin()
	for exhaustive := 4*d.k > d.cols; ; {
		d.iterate(exhaustive)
		done := d.spansAll() || !d.hides(d.threshold())
		d.lock()
		if done {
			return
		}
		if d.steps > d.cols {
			exhaustive = true
			d.basis, d.locked = d.basis[:0], d.locked[:0]
		}
	}
}

// threshold returns the eigenvalue above which nothing may be hidden.
func (d *Decomposer) threshold() float64 {
	σ := math.Sqrt(d.leading[d.k-1]) + resolution*math.Sqrt(d.leading[0])
	return σ * σ
}

// leftVectors sets U and S by a QR decomposition of A·Vᵀ, whose triangle is
// diagonal but for noise, since V holds eigenvectors of AᵀA. A vector whose
// singular value is noise is determined by nothing, and is completed.
func (d *Decomposer) leftVectors() {
	d.U, d.S = resize(d.U, d.k*d.rows), resize(d.S, d.k)
	d.columns, d.products = resize(d.columns, d.cols*d.k), resize(d.products, d.rows*d.k)
	transpose(d.columns, d.V, d.k, d.cols)
	kern.GemmDouble(d.products, d.k, nil, 0, d.a, d.cols, 1, d.columns, d.k, d.rows, d.k, d.cols)
	transpose(d.U, d.products, d.rows, d.k)
	previous := math.Inf(1)
	for i := range d.k {
		before, u := d.U[:i*d.rows], d.U[i*d.rows:(i+1)*d.rows]
		d.S[i] = min(orthogonalise(u, before), previous)
		if d.S[i] > noise*d.S[0] {
			normalise(u)
		} else {
			d.S[i] = 0
			d.direction(u, before)
		}
		previous = d.S[i]
	}
}

// transpose writes the columns of a rows × cols matrix as rows.
func transpose(dst, m []float64, rows, cols int) {
	for r := range rows {
		for c, x := range m[r*cols : (r+1)*cols] {
			dst[c*rows+r] = x
		}
	}
}

// resize returns a slice of length n, s itself where its capacity is enough.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
