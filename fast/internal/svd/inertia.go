package svd

import "math"

// Whether the round has missed an eigenvalue above a threshold t is a question of
// inertia. Split AᵀA by the round's basis and its complement:
//
//	⎛ T  B ⎞   with  B = β·e·rᵀ,
//	⎝ Bᵀ C ⎠
//
// T the tridiagonal matrix, e its last unit vector and β·r the residual of the
// last step. By Haynsworth's theorem as many eigenvalues of AᵀA are above t as of
// T and of C + γ·r·rᵀ together, γ = β²·eᵀ(t − T)⁻¹e. So nothing is hidden if the
// largest eigenvalue of C + γ·r·rᵀ is at most t. That is settled soon: all the
// round has seen is gone from C, which leaves a hidden copy standing out.

// hides reports whether an eigenvalue above t is hidden from locked vectors and
// round, or whether rough products leave that open. It leaves nothing in the basis but
// those.
func (d *Decomposer) hides(t float64) bool {
	n := d.cols
	known := (len(d.locked) + len(d.round.diagonal)) * n
	if β := d.round.residual(); β != 0 {
		d.gain = β * β / d.round.lastPivot(t)
		d.coupling = append(d.coupling[:0], d.basis[known:known+n]...)
	}
	d.basis = d.basis[:known]
	d.probe.reset()
	d.extend()
	hidden := false
	for check := 4; ; {
		exact := !d.step(&d.probe)
		j := len(d.probe.diagonal)
		if !exact && j < check {
			continue
		}
		check = j + 1 + j/8
		least, most := d.probe.extremes()
		hidden = most > t || exact && d.gram.rough
		if hidden || exact || d.unlikely(t, least, most) {
			break
		}
	}
	d.basis, d.gain = d.basis[:known], 0
	return hidden
}

// unlikely reports whether a hidden eigenvalue above t would have shown in the
// probe. Let the others fill the range [a, b], b ≤ t, of the probe's values. A
// polynomial of degree j−1 can be bounded by 1 there and reach the Chebyshev value
// cosh((j−1)·arcosh(1 + 2(t−b)/(b−a))) at t, and the Ritz values are at least as
// good as that polynomial. The random start has a component of 1/√n in the
// hidden direction, as a rule: 2¹⁰·√n leaves it a thousandth of that.
func (d *Decomposer) unlikely(t, a, b float64) bool {
	j := len(d.probe.diagonal)
	reach := float64(j-1) * math.Acosh(1+2*(t-b)/(b-a))
	return reach > math.Log(0x1p11*math.Sqrt(float64(d.cols)))
}
