// Package clip finds the clip bound at which quantisation errs least.
//
// The idea: try the widest bound first, and give a bound up as soon as its error
// exceeds the least so far. A bound far too narrow clips so much that it is given up
// within a few dozen elements, so that of a hundred bounds hardly more than a few
// are tried to their end.
package clip

import "math"

// A Search describes the bounds to try: Bounds of them, at least 2, evenly spaced
// in [0.1, 1]·largest. A bound is quantised to BoundCode before rounding.
type Search struct {
	Bounds    int
	BoundCode float64
}

// chunk is how many elements are summed before the sum is looked at.
const chunk = 32

// LeastError returns the bound of least squared error on the magnitudes, the
// narrowest one of equals. largest is the largest of them, above 0.
func (s Search) LeastError(magnitudes []float32, largest float64) float64 {
	best, least := largest, math.Inf(1)
	for i := s.Bounds - 1; i >= 0; i-- {
		share := float64(s.Bounds-1+9*i) / float64(10*(s.Bounds-1))
		bound := largest * share
		if e := s.squaredError(magnitudes, bound, least); e <= least {
			best, least = bound, e
		}
	}
	return best
}

// squaredError returns Σ(x − code·scale)², or any sum above limit once that is
// exceeded.
func (s Search) squaredError(magnitudes []float32, bound, limit float64) float64 {
	perScale := s.BoundCode / bound
	scale := bound / s.BoundCode
	clipped := nearest(s.BoundCode) * scale
	sum := 0.0
	for len(magnitudes) > 0 && sum <= limit {
		head := magnitudes[:min(chunk, len(magnitudes))]
		magnitudes = magnitudes[len(head):]
		for _, m := range head {
			x := float64(m)
			value := clipped
			if x < bound {
				value = float64(nearest(float64(x*perScale)) * scale)
			}
			off := x - value
			sum += float64(off * off)
		}
	}
	return sum
}

// nearest rounds half to even. A number below 2⁵¹ loses its fraction when it is
// added to one whose last bit is worth 1.
func nearest(x float64) float64 {
	const big = 0x1.8p52
	return float64(x+big) - big
}
