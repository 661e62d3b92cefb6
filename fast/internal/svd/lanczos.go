package svd

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/kern"
)

// Lanczos iteration: multiply the newest vector of an orthonormal basis by AᵀA
// and remove what lies in the basis; what remains is the next vector. Only the
// last two vectors have a share in the product, but for rounding, so AᵀA is
// tridiagonal in this basis, and the extreme eigenvalues of the tridiagonal
// matrix converge to those of AᵀA long before it is complete. The rounding is
// removed as well: without this full reorthogonalisation, eigenvalues once found
// would come back as copies.

// iterate runs a round: it builds a Krylov space in the complement of the locked
// vectors until the leading eigenvalues have converged. A round after the first
// is there because something is hidden, and goes on until that is found. An
// exhaustive round goes on until the basis spans everything. With rough products a
// space that looks invariant may not be, and the round fails.
func (d *Decomposer) iterate(exhaustive bool) (ok bool) {
	d.round.reset()
	d.extend()
	for check := d.k + 8; ; {
		invariant := !d.step(&d.round)
		if d.gram.rough && (invariant || d.spansAll()) {
			return false
		}
		if d.spansAll() {
			d.round.solve()
			d.merge()
			return true
		}
		if invariant {
			d.extend()
		}
		if j := len(d.round.diagonal); j >= check && !exhaustive {
			wait, ok := d.look()
			if ok {
				return true
			}
			check = j + wait
		}
	}
}

// look finds the leading eigenvalues, sets leading and origin, and reports whether
// they have converged; if not, it is not worth looking again for a few steps. In a
// first round the last of them tells most often.
func (d *Decomposer) look() (wait int, ok bool) {
	if len(d.locked) == 0 {
		θ, residual, ok := d.round.solveOne(d.k - 1)
		σσ1 := math.Sqrt(max(θ, smallest*smallest*d.round.norm) * d.round.norm)
		if excess := residual / (accuracy * σσ1); ok && excess > 1 {
			return d.wait(excess), false
		}
	}
	d.round.solveLeading(d.k)
	d.merge()
	excess := d.excess()
	return d.wait(excess), excess <= 1
}

// wait returns how many steps are likely to be needed for so much too large a residual:
// near the end each halves it at least.
func (d *Decomposer) wait(excess float64) int {
	return min(max(2, int(math.Log2(excess))), 4+len(d.round.diagonal))
}

// spansAll reports whether locked vectors and the round's add up to all.
func (d *Decomposer) spansAll() bool {
	return len(d.locked)+len(d.round.diagonal) == d.cols
}

// extend appends a random vector to the basis: where an iteration starts, or where
// its Krylov space is invariant and can grow no further.
func (d *Decomposer) extend() {
	d.direction(d.next, d.basis)
	d.basis = append(d.basis, d.next...)
}

// step makes the last vector of the basis a part of t, and appends the next one.
// It returns false where there is none.
func (d *Decomposer) step(t *tridiagonal) bool {
	d.steps++
	n, next := d.cols, d.next
	last := d.basis[len(d.basis)-n:]
	d.gram.multiply(next, last)
	if d.gain != 0 {
		kern.AddDouble(next, d.gain*kern.DotDouble(d.coupling, last), d.coupling)
	}
	diagonal := kern.DotDouble(last, next)
	kern.AddDouble(next, -diagonal, last)
	if b := t.residual(); b != 0 {
		kern.AddDouble(next, -b, d.basis[len(d.basis)-2*n:][:n])
	}
	norm := orthogonalise(next, d.basis)
	limit := noise
	if d.gram.rough {
		limit = roughNoise
	}
	if norm <= limit*max(t.norm, math.Abs(diagonal)) {
		t.append(diagonal, 0)
		return false
	}
	t.append(diagonal, norm)
	normalise(next)
	d.basis = append(d.basis, next...)
	return true
}

// merge sets leading and origin: the k largest of locked values and the round's.
func (d *Decomposer) merge() {
	d.leading, d.origin = d.leading[:0], d.origin[:0]
	ritz, locked := 0, 0
	for range d.k {
		if ritz < len(d.round.diagonal) && (locked == len(d.locked) || d.round.value(ritz) > d.locked[locked]) {
			// An eigenvalue of 0 may have come out negative.
			d.leading = append(d.leading, max(0, d.round.value(ritz)))
			d.origin = append(d.origin, ritz)
			ritz++
		} else {
			d.leading = append(d.leading, d.locked[locked])
			d.origin = append(d.origin, fromLocked)
			locked++
		}
	}
}

// fromLocked is the origin of an eigenvalue that is not of this round.
const fromLocked = -1

// excess returns the largest ratio of the residual of a leading eigenvalue of the
// round, of which there must be one, to the accuracy.
func (d *Decomposer) excess() float64 {
	found, excess := false, 0.0
	σ1 := math.Sqrt(d.leading[0])
	for i, ritz := range d.origin {
		if ritz == fromLocked {
			continue
		}
		found = true
		σ := max(math.Sqrt(d.leading[i]), smallest*σ1)
		if residual := d.round.error(ritz); residual > 0 {
			excess = max(excess, residual/(accuracy*σ*σ1))
		}
	}
	if !found {
		return math.MaxFloat64
	}
	return excess
}

// lock sets V to the leading vectors, and locks them.
func (d *Decomposer) lock() {
	n, j := d.cols, len(d.round.diagonal)
	fresh := 0
	for _, ritz := range d.origin {
		fresh = max(fresh, ritz+1)
	}
	d.coordinates = resize(d.coordinates, j*fresh)
	d.round.eigenvectors(d.coordinates, fresh)

	locked, krylov := d.basis[:len(d.locked)*n], d.basis[len(d.locked)*n:][:j*n]
	d.fresh = resize(d.fresh, fresh*n)
	kern.GemmDouble(d.fresh, n, nil, 0, d.coordinates, 1, fresh, krylov, n, fresh, n, j)
	vectors := d.fresh // in the order of their ranks
	d.V = resize(d.V, d.k*n)
	for i, ritz := range d.origin {
		from := &vectors
		if ritz == fromLocked {
			from = &locked
		}
		*from = (*from)[copy(d.V[i*n:(i+1)*n], *from):]
	}
	if d.round.leading { // each vector on its own: near ones are not quite orthogonal
		for i := range d.k {
			v := d.V[i*n : (i+1)*n]
			orthogonalise(v, d.V[:i*n])
			normalise(v)
		}
	}
	d.locked = append(d.locked[:0], d.leading...)
	d.basis = append(d.basis[:0], d.V...)
}
