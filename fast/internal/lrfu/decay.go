package lrfu

import "math"

// A decay raises a factor in (0, 1] to the power of a number of accesses. Most items
// come again soon, so that the first few powers are kept: an exponential less an
// access.
type decay struct {
	ln      float64
	factors [64]float64 // of 0, 1, … accesses
	losses  [64]float64 // factor − 1
}

func newDecay(factor float64) (d decay) {
	d.ln = math.Log(factor)
	for n := range d.factors {
		x := float64(n) * d.ln
		d.factors[n], d.losses[n] = math.Exp(x), math.Expm1(x)
	}
	return d
}

// factor returns what so many accesses leave of a score of 1.
func (d *decay) factor(accesses int64) float64 {
	if uint64(accesses) < uint64(len(d.factors)) {
		return d.factors[accesses]
	}
	return math.Exp(float64(accesses) * d.ln)
}

// loss returns factor − 1, to all digits where that is small.
func (d *decay) loss(accesses int64) float64 {
	if uint64(accesses) < uint64(len(d.losses)) {
		return d.losses[accesses]
	}
	return math.Expm1(float64(accesses) * d.ln)
}
