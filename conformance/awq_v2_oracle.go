package conformance

import (
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/squishspec/squishspec/spec"
)

// The error of a candidate is no continuous function of its scales: a weight at a
// tie, rounded the other way, moves it by what a whole step costs. So the error of a
// candidate is known here only up to what is uncertain of it, and a choice is right
// where it may have been the least.

// An awqError is the root of a squared error, and what is uncertain of it.
type awqError struct{ r, f float64 }

// mayBeLeast reports whether candidate k may have been the least of all.
func mayBeLeast(errors []awqError, k int) bool {
	least := math.Inf(1)
	for _, e := range errors {
		least = min(least, e.r+e.f)
	}
	return errors[k].r-errors[k].f <= least
}

// tieMargin is how near, relative to itself, a quotient may be to a tie for an
// implementation of unit roundoff u to decide it either way.
func tieMargin(u float64) float64 { return max(0x1p-20, 8*u) }

// atTie reports whether rounding x may go either way.
func atTie(x, margin float64) bool {
	return math.Abs(math.Abs(x-math.RoundToEven(x))-0.5) <= margin*math.Abs(x)
}

// awqMeans is mean |x_c|.
func awqMeans(activations spec.Matrix) []float64 {
	means := make([]float64, activations.Cols)
	for i, x := range activations.Data {
		means[i%activations.Cols] += math.Abs(float64(x)) / float64(activations.Rows)
	}
	return means
}

// awqAccuracy is how far, relative to themselves, an implementation's channel scales
// may be off.
func awqAccuracy(activations spec.Matrix, u float64) float64 {
	log := 0.0
	for _, a := range awqMeans(activations) {
		if a > 0 {
			log = max(log, math.Abs(math.Log(a)))
		}
	}
	return (2*float64(activations.Rows) + 4*log + 12) * u
}

// awqCandidate is the channel scales of exponent k/n.
func awqCandidate(means []float64, k, n int) []float32 {
	s := make([]float64, len(means))
	for c, a := range means {
		if s[c] = math.Exp2(float64(k) / float64(n) * math.Log2(a)); k == 0 {
			s[c] = 1
		}
		s[c] = max(s[c], 1e-4)
	}
	floats.Scale(1/math.Sqrt(floats.Max(s)*floats.Min(s)), s)
	scales := make([]float32, len(s))
	for c, x := range s {
		scales[c] = float32(x)
	}
	return scales
}

// An awqRange is what a group's codes are cut from.
type awqRange struct {
	low, high float64 // of w·s, with 0 between them
	step      float64
	scaled    []float64
}

// awqGroup is group g of row o, scaled.
func awqGroup(c spec.AWQv2Config, weights spec.Matrix, scales []float32, o, g int) awqRange {
	from := g * c.GroupSize
	var r awqRange
	for i := from; i < min(from+c.GroupSize, weights.Cols); i++ {
		v := float64(weights.Row(o)[i]) * float64(scales[i])
		r.low, r.high = math.Min(r.low, v), math.Max(r.high, v)
		r.scaled = append(r.scaled, v)
	}
	r.step = (r.high - r.low) / float64(c.QMax())
	return r
}

// isLost reports whether of the step nothing may be left in float32.
func (r *awqRange) isLost(u float64) bool { return r.step < 4*spacing(u) }

// An awqSearch is what a calibration searches on.
type awqSearch struct {
	config               spec.AWQv2Config
	weights, activations spec.Matrix
	u                    float64
	accuracy             float64 // of channel scales
}

func newAWQSearch(t *trial, c spec.AWQv2Config, weights, activations spec.Matrix) *awqSearch {
	return &awqSearch{c, weights, activations, t.u, awqAccuracy(activations, t.u)}
}

// errors are those of all candidates.
func (s *awqSearch) errors() []awqError {
	means := awqMeans(s.activations)
	var list []awqError
	for k := range s.config.NSearchSteps {
		list = append(list, s.error(awqCandidate(means, k, s.config.NSearchSteps)))
	}
	return list
}

// error is ‖(w − ŵ)·xᵀ‖ with these scales.
func (s *awqSearch) error(scales []float32) awqError {
	lost := mat.NewDense(s.weights.Rows, s.weights.Cols, nil)
	unsure := mat.NewDense(s.weights.Rows, s.weights.Cols, nil)
	for o := range s.weights.Rows {
		for g := range s.config.Groups(s.weights.Cols) {
			r := awqGroup(s.config, s.weights, scales, o, g)
			switch margin := tieMargin(s.u) + 2*s.accuracy; {
			case r.step > math.MaxFloat32*(1+margin):
				return awqError{math.Inf(1), 0} // it does not count
			case r.step > math.MaxFloat32*(1-margin):
				return awqError{math.MaxFloat64, math.Inf(1)} // it may count or not
			}
			for i := range r.scaled {
				at := g*s.config.GroupSize + i
				e, δ := s.element(&r, i, float64(s.weights.Row(o)[at]), float64(scales[at]))
				lost.Set(o, at, e)
				unsure.Set(o, at, δ)
			}
		}
	}
	return s.outputs(lost, unsure)
}

// element is what is lost of a weight, and how uncertain that is.
func (s *awqSearch) element(r *awqRange, i int, w, scale float64) (lost, unsure float64) {
	step := float64(float32(r.step))
	if step == 0 {
		return w, math.Abs(w) + 4*(float64(s.config.QMax())+2)*spacing(s.u)/scale
	}
	q := float64(s.config.QMax())
	margin := max(tieMargin(s.u), 2*s.accuracy+8*s.u)
	z := max(0, min(q, math.RoundToEven(-r.low/r.step)))
	x := r.scaled[i] / r.step
	n := max(-z, min(q-z, math.RoundToEven(x)))
	back := max(-math.MaxFloat32, min(math.MaxFloat32, n*step/scale))
	unsure = (2*s.accuracy+4*s.u)*(math.Abs(w)+math.Abs(back)) + 4*(q+2)*spacing(s.u)/scale
	// A zero point that is one off moves the ends of the grid.
	if atEnd := x < 1-z || x > q-z-1; atTie(x, margin) || atEnd && atTie(r.low/r.step, margin) {
		unsure += step / scale
	}
	return w - back, unsure
}

// outputs is ‖lost·xᵀ‖, with lost that uncertain.
func (s *awqSearch) outputs(lost, unsure *mat.Dense) awqError {
	x := dense(s.activations)
	var magnitudes, lostMagnitudes, out, moved, rounded mat.Dense
	abs := func(_, _ int, v float64) float64 { return math.Abs(v) }
	magnitudes.Apply(abs, x)
	lostMagnitudes.Apply(abs, lost)
	out.Mul(lost, x.T())
	moved.Mul(unsure, magnitudes.T())
	rounded.Mul(&lostMagnitudes, magnitudes.T())
	rows, cols := lost.Dims()
	r := mat.Norm(&out, 2)
	samples := s.activations.Rows
	return awqError{r, mat.Norm(&moved, 2) + float64(cols+8)*s.u*mat.Norm(&rounded, 2) + float64(rows*samples)*s.u*r}
}

// match returns the candidate whose scales are the nearest, and how far these are
// off, over their tolerance.
func (s *awqSearch) match(scales []float32) (used float64, matches []int) {
	means := awqMeans(s.activations)
	used = math.Inf(1)
	for k := range s.config.NSearchSteps {
		off := 0.0
		for c, want := range awqCandidate(means, k, s.config.NSearchSteps) {
			off = max(off, math.Abs(float64(scales[c])-float64(want))/(s.accuracy*float64(want)+spacing(s.u)))
		}
		used = min(used, off)
		if off <= 1 {
			matches = append(matches, k)
		}
	}
	return used, matches
}

// isRight asserts that channel scales are a candidate's that may have been the best.
func (s *awqSearch) isRight(t *trial, scales []float32) {
	t.Helper()
	t.equal("number of scales ", len(scales), s.weights.Cols)
	used, matches := s.match(scales)
	t.within("channel scales, in tolerances off those of the nearest exponent", used, 0, 1)
	errors := s.errors()
	for _, k := range matches {
		if mayBeLeast(errors, k) {
			t.asserted++
			return
		}
	}
	var list []float64
	for _, e := range errors {
		list = append(list, e.r)
	}
	t.fail(t.symptom, "scales %v are those of k = %v, whose error is not the least of all %.6g", scales, matches, list)
}

// awqSteps is squish6's search, a channel's.
type awqSteps struct {
	config spec.AWQv2Config
	column []float64
	mean   float64
	u      float64
}

// candidate is step k.
func (s *awqSteps) candidate(k int) float64 {
	low, high := math.Max(0.1*s.mean, 1e-8), math.Max(2*s.mean, 1e-7)
	if n := s.config.NSearchSteps; n > 1 {
		low += float64(k) / float64(n-1) * (high - low)
	}
	return float64(float32(low))
}

// shifts are those that a step may have.
func (s *awqSteps) shifts(step float64) []float64 {
	q := float64(s.config.QMax())
	x := -floats.Min(s.column) / step
	nearest := math.RoundToEven(x)
	list := []float64{max(0, min(q, nearest))}
	if atTie(x, tieMargin(s.u)+40*s.u) {
		list = append(list, max(0, min(q, nearest+math.Copysign(1, x-nearest))))
	}
	return list
}

// error is the root of the column's squared error with a step and a shift.
func (s *awqSteps) error(step, shift float64) awqError {
	q := float64(s.config.QMax())
	lost, unsure := make([]float64, len(s.column)), make([]float64, len(s.column))
	for i, w := range s.column {
		x := max(0, min(q, w/step+shift))
		back := (math.RoundToEven(x) - shift) * step
		lost[i] = w - back
		unsure[i] = 20*s.u*(math.Abs(w)+math.Abs(back)) + spacing(s.u)
		// A tie decided otherwise leaves the magnitude of what is lost, but for how far
		// from the tie it was.
		if margin := (tieMargin(s.u) + 40*s.u) * (math.Abs(w/step) + shift); math.Abs(math.Abs(x-math.RoundToEven(x))-0.5) <= margin {
			unsure[i] += 2 * min(margin, 1) * step
		}
	}
	r := floats.Norm(lost, 2)
	return awqError{r, floats.Norm(unsure, 2) + float64(len(lost))*s.u*r}
}

// isRight asserts that a step is a candidate, that the shift is its own, and that
// they may have been the best.
func (s *awqSteps) isRight(t *trial, accuracy float64, step, shift float32) {
	t.Helper()
	least, right := math.Inf(1), false
	var chosen []awqError
	for k := range s.config.NSearchSteps {
		candidate := s.candidate(k)
		if math.IsInf(candidate, 0) {
			continue
		}
		isStep := math.Abs(float64(step)-candidate) <= accuracy*candidate
		most := awqError{}
		for _, z := range s.shifts(candidate) {
			e := s.error(candidate, z)
			if e.r+e.f > most.r+most.f {
				most = e
			}
			if isStep && float64(shift) == z {
				chosen = append(chosen, e)
			}
		}
		least = min(least, most.r+most.f)
	}
	t.holds(len(chosen) > 0, "step %v with shift %v is no candidate for mean activation %v and weights from %v", step, shift, s.mean, floats.Min(s.column))
	for _, e := range chosen {
		right = right || e.r-e.f <= least
	}
	t.holds(right, "step %v with shift %v: error %v, where %v was reached", step, shift, chosen, least)
}
