package svd

import "math"

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
// exhaustive round goes on until the basis spans everything.
func (d *Decomposer) iterate(exhaustive bool) {
	d.round.reset()
	d.extend()
	for check := d.k + 8; ; {
		invariant := !d.step(&d.round)
		if d.spansAll() {
			d.round.solve()
			d.merge()
			return
		}
		if invariant {
			d.extend()
		}
		if j := len(d.round.diagonal); j >= check && !exhaustive {
			d.round.solve()
			d.merge()
			if d.converged() {
				return
			}
			check = j + 4 + j/8
		}
	}
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
	clear(next)
	addGram(next, 1, d.a, last)
	if d.gain != 0 {
		add(next, d.gain*dot(d.coupling, last), d.coupling)
	}
	diagonal := dot(last, next)
	add(next, -diagonal, last)
	if b := t.residual(); b != 0 {
		add(next, -b, d.basis[len(d.basis)-2*n:][:n])
	}
	norm := orthogonalise(next, d.basis)
	if norm <= noise*max(t.norm, math.Abs(diagonal)) {
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

// converged reports whether the leading eigenvalues of the round, of which there
// must be one, have residuals within the accuracy.
func (d *Decomposer) converged() bool {
	found := false
	σ1 := math.Sqrt(d.leading[0])
	for i, ritz := range d.origin {
		if ritz == fromLocked {
			continue
		}
		found = true
		if σ := max(math.Sqrt(d.leading[i]), smallest*σ1); d.round.error(ritz) > accuracy*σ*σ1 {
			return false
		}
	}
	return found
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
	d.coefficients = resize(d.coefficients, j)

	locked, krylov := d.basis[:len(d.locked)*n], d.basis[len(d.locked)*n:][:j*n]
	d.V = resize(d.V, d.k*n)
	for i, ritz := range d.origin {
		v := d.V[i*n : (i+1)*n]
		if ritz == fromLocked {
			locked = locked[copy(v, locked):]
			continue
		}
		for row := range d.coefficients {
			d.coefficients[row] = d.coordinates[row*fresh+ritz]
		}
		Combine(v, krylov, d.coefficients)
	}
	d.locked = append(d.locked[:0], d.leading...)
	d.basis = append(d.basis[:0], d.V...)
}
