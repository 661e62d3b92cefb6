package svd

import (
	"cmp"
	"math"
	"slices"

	"github.com/squishspec/squishspec/fast/internal/kern"
)

// A tridiagonal is a symmetric tridiagonal matrix T that grows, and its
// decomposition T = Z·Λ·Zᵀ by implicit QR steps with Wilkinson's shift.
//
// Z is never formed. The rotations that make it up are recorded. Applied to a
// single row of Z as they arise, they give the last components of all
// eigenvectors, which is what a test of convergence needs, in j² operations;
// played back onto a few unit vectors, they give just the eigenvectors wanted.
type tridiagonal struct {
	diagonal []float64
	beside   []float64 // beside[i] couples i and i+1; the last one is the residual
	norm     float64   // the largest sum of magnitudes in a row

	values    []float64 // eigenvalues, in no order
	last      []float64 // last component of the eigenvector of each
	order     []int     // their places, by descending eigenvalue
	rotations []rotation
	sweeps    []sweep
	rest      []float64 // what is left of beside

	leading          bool      // values, last and vectors are of the largest only, by solveLeading
	first            int       // rank of the first of values that bisect has found
	vectors          []float64 // one a row
	squares          []float64 // of the couplings, from row to row
	low, high        []float64 // bounds of values
	down, up, pivots []float64
	shifts           [kern.SturmShifts]float64
	below            [kern.SturmShifts]int64
}

// A rotation turns columns i and i+1 of Z: (c·zᵢ + s·zᵢ₊₁, c·zᵢ₊₁ − s·zᵢ).
type rotation struct{ c, s float64 }

// A sweep is a run of rotations, for i = first, first+1, …
type sweep struct{ first, count int }

func (t *tridiagonal) reset() {
	t.diagonal, t.beside, t.norm = t.diagonal[:0], t.beside[:0], 0
}

// append adds a row: its diagonal element and the norm of its residual.
func (t *tridiagonal) append(diagonal, residual float64) {
	t.norm = max(t.norm, math.Abs(diagonal)+t.residual()+residual)
	t.diagonal = append(t.diagonal, diagonal)
	t.beside = append(t.beside, residual)
}

// residual returns the norm of the last row's residual.
func (t *tridiagonal) residual() float64 {
	if len(t.beside) == 0 {
		return 0
	}
	return t.beside[len(t.beside)-1]
}

// value returns the i-th largest eigenvalue.
func (t *tridiagonal) value(i int) float64 { return t.values[t.order[i]] }

// error returns the norm of the residual of the i-th largest eigenvalue's vector.
func (t *tridiagonal) error(i int) float64 { return math.Abs(t.last[t.order[i]]) * t.residual() }

// lastPivot returns the last pivot of the elimination of x − T: the inverse of the
// last diagonal element of (x − T)⁻¹.
func (t *tridiagonal) lastPivot(x float64) float64 {
	pivot, coupling := 1.0, 0.0
	for i, diagonal := range t.diagonal {
		pivot = x - diagonal - coupling*coupling/pivot
		if pivot == 0 {
			pivot = noise * x
		}
		coupling = t.beside[i]
	}
	return pivot
}

// solve finds the eigenvalues, and the last components of the eigenvectors.
func (t *tridiagonal) solve() {
	n := len(t.diagonal)
	t.leading = false
	t.values = append(t.values[:0], t.diagonal...)
	t.rest = append(t.rest[:0], t.beside...)
	t.last = resize(t.last, n)
	clear(t.last)
	t.last[n-1] = 1
	t.rotations, t.sweeps = t.rotations[:0], t.sweeps[:0]

	// Rounding keeps a coupling from vanishing altogether; what is left after many
	// sweeps is taken for that, so that no input makes this loop endless.
	negligible := 0x1p-51 * t.norm
	for high, sweeps := n-1, 0; high > 0; {
		low := high
		for low > 0 && math.Abs(t.rest[low-1]) > negligible {
			low--
		}
		switch {
		case low == high:
			high--
			sweeps = 0
		case sweeps == 60:
			negligible *= 2
			sweeps = 0
		default:
			t.sweep(low, high)
			sweeps++
		}
	}

	t.order = t.order[:0]
	for i := range n {
		t.order = append(t.order, i)
	}
	slices.SortStableFunc(t.order, func(i, j int) int { return cmp.Compare(t.values[j], t.values[i]) })
}

// sweep makes one QR step on rows low to high: a rotation of the first two rows
// that the shifted matrix asks for, and then those that chase the element which
// that puts beside the band out at the other end.
func (t *tridiagonal) sweep(low, high int) {
	d, e := t.values, t.rest
	t.sweeps = append(t.sweeps, sweep{first: low, count: high - low})
	x, bulge := d[low]-wilkinson(d[high-1], e[high-1], d[high]), e[low]
	for i := low; i < high; i++ {
		r := math.Sqrt(x*x + bulge*bulge)
		c, s := 1.0, 0.0
		if r > 0 {
			c, s = x/r, bulge/r
		}
		if i > low {
			e[i-1] = r
		}
		p, q, b := d[i], d[i+1], e[i]
		d[i] = c*c*p + 2*c*s*b + s*s*q
		d[i+1] = s*s*p - 2*c*s*b + c*c*q
		e[i] = c*s*(q-p) + (c*c-s*s)*b
		if i+1 < high {
			x, bulge = e[i], s*e[i+1]
			e[i+1] *= c
		}
		t.last[i], t.last[i+1] = c*t.last[i]+s*t.last[i+1], c*t.last[i+1]-s*t.last[i]
		t.rotations = append(t.rotations, rotation{c, s})
	}
}

// wilkinson returns the eigenvalue of ⎛p b⎞ that is nearer to q.
//
//	⎝b q⎠
func wilkinson(p, b, q float64) float64 {
	half := (p - q) / 2
	if half == 0 && b == 0 {
		return q
	}
	return q - b*b/(half+math.Copysign(math.Sqrt(half*half+b*b), half))
}

// eigenvectors writes the eigenvectors of the k largest eigenvalues to the columns
// of z, a row-major matrix of k columns.
func (t *tridiagonal) eigenvectors(z []float64, k int) {
	if t.leading {
		transpose(z, t.vectors, k, len(t.diagonal))
		return
	}
	clear(z)
	for column, place := range t.order[:k] {
		z[place*k+column] = 1
	}
	end := len(t.rotations)
	for i := len(t.sweeps) - 1; i >= 0; i-- {
		first, count := t.sweeps[i].first, t.sweeps[i].count
		run := t.rotations[end-count : end]
		end -= count
		for at := count - 1; at >= 0; at-- {
			c, s := run[at].c, run[at].s
			upper := z[(first+at)*k:][:k]
			lower := z[(first+at+1)*k:][:k]
			for column, u := range upper {
				l := lower[column]
				upper[column] = c*u - s*l
				lower[column] = s*u + c*l
			}
		}
	}
}
