package fast

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/fast/internal/affine"
	"github.com/squishspec/squishspec/fast/internal/outlier"
	"github.com/squishspec/squishspec/fast/internal/svd"
	"github.com/squishspec/squishspec/spec"
)

// NewAWQv2 returns an optimised spec.AWQv2, or an error of kind spec.Invalid for a
// config out of range. It also packs codes: spec.AWQInt4.
//
// The search costs n_search_steps × out × in × min(samples, in): with more samples
// than inputs the error is taken from their Gram matrix. It adds up row by row, and
// a candidate is dropped once it is above the best.
func NewAWQv2(config spec.AWQv2Config) (spec.AWQv2, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &awqV2{config: config}, nil
}

type awqV2 struct {
	config spec.AWQv2Config
	stats  spec.AWQv2Stats

	means       []float64 // mean |x| of every channel, then its logarithm
	scales      []float64 // of the candidate, as float32 holds them
	inverses    []float64 // 1/scales
	mostInverse float64   // the largest of inverses
	lost        []float64 // a row of weights less what comes back of it
	errors      []float64 // of the outputs of that row
	wide        []float64 // activations, a sample a row
	across      []float64 // activations, a channel a row
	gram        []float64 // their products, channel by channel
	column      []float64 // a column of weights
}

func (q *awqV2) Calibrate(dst *spec.AWQScales, weights, activations spec.Matrix) error {
	if err := q.checkWeights(weights); err != nil {
		return err
	}
	if err := q.config.CheckActivations(activations, weights.Cols); err != nil {
		return err
	}
	q.measure(activations)
	if q.config.Variant == spec.Squish6 {
		q.calibrateSteps(dst, weights)
	} else {
		q.calibrateScales(dst, weights, activations)
	}
	q.stats.Calibrations++
	q.stats.Channels += weights.Cols
	return nil
}

func (q *awqV2) checkWeights(weights spec.Matrix) error {
	if err := q.config.CheckWeights(weights); err != nil {
		return err
	}
	if outlier.Largest(weights.Data) >= outlier.Infinite {
		return spec.CheckFinite("awq-v2", "weights", weights.Data)
	}
	return nil
}

// measure sets means.
func (q *awqV2) measure(activations spec.Matrix) {
	q.means = spec.Resize(q.means, activations.Cols)
	clear(q.means)
	for n := range activations.Rows {
		for c, x := range activations.Row(n) {
			q.means[c] += math.Abs(float64(x))
		}
	}
	for c := range q.means {
		q.means[c] /= float64(activations.Rows)
	}
}

func (q *awqV2) calibrateScales(dst *spec.AWQScales, weights, activations spec.Matrix) {
	for c, a := range q.means {
		q.means[c] = math.Log(a)
	}
	q.widen(activations)
	q.lost = spec.Resize(q.lost, weights.Cols)
	dst.Scales = spec.Resize(dst.Scales, weights.Cols)
	dst.Shifts = dst.Shifts[:0]
	best, least := 0, math.Inf(1)
	for k := range q.config.NSearchSteps {
		q.candidate(k)
		if e := q.outputError(weights, least); e < least {
			best, least = k, e
		}
	}
	q.candidate(best)
	for c, s := range q.scales {
		dst.Scales[c] = float32(s)
	}
}

// widen sets across and, where there are more samples than channels, gram.
func (q *awqV2) widen(activations spec.Matrix) {
	samples, cols := activations.Rows, activations.Cols
	q.across = spec.Resize(q.across, len(activations.Data))
	for n := range samples {
		for c, x := range activations.Row(n) {
			q.across[c*samples+n] = float64(x)
		}
	}
	q.errors = spec.Resize(q.errors, min(samples, cols))
	if samples <= cols {
		q.gram = q.gram[:0]
		return
	}
	q.wide = spec.Resize(q.wide, len(activations.Data))
	for i, x := range activations.Data {
		q.wide[i] = float64(x)
	}
	q.gram = spec.Resize(q.gram, cols*cols)
	for c := range cols {
		svd.Combine(q.gram[c*cols:(c+1)*cols], q.wide, q.across[c*samples:(c+1)*samples])
	}
}

// candidate sets scales and inverses to those of exponent k/n_search_steps.
func (q *awqV2) candidate(k int) {
	α := float64(k) / float64(q.config.NSearchSteps)
	q.scales = spec.Resize(q.scales, len(q.means))
	least, most := math.Inf(1), 0.0
	for c, log := range q.means {
		s := 1.0
		if k > 0 { // else 0·log would be NaN where the mean is 0
			s = max(math.Exp(α*log), 1e-4)
		}
		q.scales[c] = s
		least, most = min(least, s), max(most, s)
	}
	norm := math.Sqrt(least * most)
	for c, s := range q.scales {
		q.scales[c] = float64(float32(s / norm))
	}
	q.invert()
}

func (q *awqV2) invert() {
	q.inverses = spec.Resize(q.inverses, len(q.scales))
	q.mostInverse = 0
	for c, s := range q.scales {
		q.inverses[c] = 1 / s
		q.mostInverse = max(q.mostInverse, q.inverses[c])
	}
}

// outputError is the squared error of the candidate's outputs, +Inf where it is
// above least or a group scale above float32.
func (q *awqV2) outputError(weights spec.Matrix, least float64) float64 {
	cols, size, qMax := weights.Cols, q.config.GroupSize, q.config.QMax()
	total := 0.0
	for o := range weights.Rows {
		row := weights.Row(o)
		for from := 0; from < cols; from += min(size, cols-from) {
			to := from + min(size, cols-from)
			low, high := affine.Range(row[from:to], q.scales[from:to])
			grid := affine.NewGrid(low, high, qMax)
			if math.IsInf(float64(grid.Scale), 0) {
				return math.Inf(1)
			}
			grid.Lost(q.lost[from:to], row[from:to], q.scales[from:to], q.inverses[from:to])
			if grid.Reach()*q.mostInverse > math.MaxFloat32 {
				affine.ClampLost(q.lost[from:to], row[from:to])
			}
		}
		if len(q.gram) == 0 {
			svd.Combine(q.errors, q.across, q.lost)
			for _, e := range q.errors {
				total += e * e
			}
		} else {
			svd.Combine(q.errors, q.gram, q.lost)
			for c, e := range q.errors {
				total += e * q.lost[c]
			}
		}
		if total > least {
			return math.Inf(1)
		}
	}
	return total
}

func (q *awqV2) Quantize(dst *spec.AWQWeights, weights spec.Matrix, scales, shifts []float32) error {
	if err := q.checkWeights(weights); err != nil {
		return err
	}
	if err := q.config.CheckScales(scales, shifts, weights.Cols); err != nil {
		return err
	}
	q.scales = spec.Resize(q.scales, len(scales))
	for c, s := range scales {
		q.scales[c] = float64(s)
	}
	if q.config.Variant == spec.Squish6 {
		q.quantizeSteps(dst, weights, shifts)
		return nil
	}
	cols, size, qMax, groups := weights.Cols, q.config.GroupSize, q.config.QMax(), q.config.Groups(weights.Cols)
	dst.Codes = spec.Resize(dst.Codes, len(weights.Data))
	dst.GroupScales.Resize(weights.Rows, groups)
	dst.ZeroPoints = spec.Resize(dst.ZeroPoints, weights.Rows*groups)
	for o := range weights.Rows {
		row, codes := weights.Row(o), dst.Codes[o*cols:(o+1)*cols]
		for g := range groups {
			from := g * size
			to := from + min(size, cols-from)
			low, high := affine.Range(row[from:to], q.scales[from:to])
			grid := affine.NewGrid(low, high, qMax)
			if math.IsInf(float64(grid.Scale), 0) {
				return spec.Reject(spec.Invalid, "awq-v2", "scales", "scales with which group scales are float32 numbers", fmt.Sprintf("larger ones in row %d", o))
			}
			grid.Quantize(codes[from:to], row[from:to], q.scales[from:to])
			dst.GroupScales.Data[o*groups+g] = grid.Scale
			dst.ZeroPoints[o*groups+g] = grid.ZeroPoint
		}
	}
	return nil
}

// calibrateSteps is squish6's calibration, given the means.
func (q *awqV2) calibrateSteps(dst *spec.AWQScales, weights spec.Matrix) {
	rows, cols, n := weights.Rows, weights.Cols, q.config.NSearchSteps
	qMax := float64(q.config.QMax())
	dst.Scales, dst.Shifts = spec.Resize(dst.Scales, cols), spec.Resize(dst.Shifts, cols)
	q.column = spec.Resize(q.column, rows)
	for c, a := range q.means {
		lowest := math.Inf(1)
		for o := range q.column {
			w := float64(weights.Data[o*cols+c])
			q.column[o] = w
			lowest = min(lowest, w)
		}
		low, high := max(0.1*a, 1e-8), max(2*a, 1e-7)
		least := math.Inf(1)
		for k := range n {
			step := low
			if k > 0 {
				step = low + float64(k)*((high-low)/float64(n-1))
			}
			if k > 0 && k == n-1 {
				step = high
			}
			published := float32(step)
			if math.IsInf(float64(published), 0) {
				break // those to come are larger
			}
			step = float64(published)
			shift := max(0, min(qMax, math.RoundToEven(-lowest/step)))
			if e := q.columnError(step, shift, qMax, least); e < least {
				dst.Scales[c], dst.Shifts[c], least = published, float32(shift), e
			}
		}
	}
}

// columnError is the squared error of the column with that step, or any number not
// below least.
func (q *awqV2) columnError(step, shift, qMax, least float64) float64 {
	inverse := 1 / step
	e := 0.0
	for _, w := range q.column {
		lost := w - (float64(affine.Code(w*inverse+shift, qMax))-shift)*step
		if e += lost * lost; e >= least {
			break
		}
	}
	return e
}

// quantizeSteps is squish6's quantisation, given the scales.
func (q *awqV2) quantizeSteps(dst *spec.AWQWeights, weights spec.Matrix, shifts []float32) {
	cols, qMax := weights.Cols, float64(q.config.QMax())
	q.invert()
	dst.Codes = spec.Resize(dst.Codes, len(weights.Data))
	dst.GroupScales.Resize(0, 0)
	dst.ZeroPoints = dst.ZeroPoints[:0]
	for o := range weights.Rows {
		codes := dst.Codes[o*cols : (o+1)*cols]
		for c, w := range weights.Row(o) {
			codes[c] = affine.Code(float64(w)*q.inverses[c]+float64(shifts[c]), qMax)
		}
	}
}

func (q *awqV2) Dequantize(dst *spec.Matrix, codes []uint8, scales, shifts []float32, groupScales spec.Matrix, zeroPoints []uint8) error {
	rows, err := q.config.CheckQuantized(codes, scales, shifts, groupScales, zeroPoints)
	if err != nil {
		return err
	}
	if err := spec.CheckFinite("awq-v2", "group_scales", groupScales.Data); err != nil {
		return err
	}
	cols, size := len(scales), q.config.GroupSize
	q.scales = spec.Resize(q.scales, cols)
	for c, s := range scales {
		q.scales[c] = float64(s)
	}
	q.invert()
	dst.Resize(rows, cols)
	for o := range rows {
		out, codes := dst.Row(o), codes[o*cols:(o+1)*cols]
		if q.config.Variant == spec.Squish6 {
			for c, code := range codes {
				out[c] = float32((float64(code) - float64(shifts[c])) * q.scales[c])
			}
			continue
		}
		for g := range groupScales.Cols {
			from := g * size
			step, z := float64(groupScales.Row(o)[g]), int(zeroPoints[o*groupScales.Cols+g])
			for c := from; c < from+min(size, cols-from); c++ {
				out[c] = float32(float64(int(codes[c])-z) * step * q.inverses[c])
			}
		}
	}
	if outlier.Largest(dst.Data) >= outlier.Infinite {
		for i, x := range dst.Data {
			dst.Data[i] = max(-math.MaxFloat32, min(math.MaxFloat32, x))
		}
	}
	return nil
}

func (q *awqV2) Stats() spec.AWQv2Stats { return q.stats }

func (q *awqV2) PackInt4(dst *[]uint8, codes []uint8) error {
	if len(codes) == 0 {
		return spec.Reject(spec.Invalid, "awq-v2", "codes", "at least 1 code", 0)
	}
	*dst = spec.Resize(*dst, (len(codes)-1)/2+1)
	var union uint8
	pairs := codes[:len(codes)&^1]
	for i := 0; i < len(pairs); i += 2 {
		union |= pairs[i] | pairs[i+1]
		(*dst)[i/2] = pairs[i] | pairs[i+1]<<4
	}
	if n := len(pairs); n < len(codes) {
		union |= codes[n]
		(*dst)[n/2] = codes[n]
	}
	if union <= 15 {
		return nil
	}
	for i, code := range codes {
		if code > 15 {
			return spec.Reject(spec.Invalid, "awq-v2", fmt.Sprintf("codes[%d]", i), "at most 15", code)
		}
	}
	return nil
}

func (q *awqV2) UnpackInt4(dst *[]uint8, packed []uint8, n int) error {
	if n < 1 {
		return spec.Reject(spec.Invalid, "awq-v2", "n", "at least 1", n)
	}
	if want := (n-1)/2 + 1; len(packed) != want {
		return spec.Reject(spec.Invalid, "awq-v2", "packed", fmt.Sprintf("%d bytes, for %d codes", want, n), len(packed))
	}
	*dst = spec.Resize(*dst, n)
	for i := range n / 2 {
		(*dst)[2*i], (*dst)[2*i+1] = packed[i]&15, packed[i]>>4
	}
	if n%2 == 1 {
		last := packed[n/2]
		if last > 15 {
			return spec.Reject(spec.Invalid, "awq-v2", fmt.Sprintf("packed[%d]", n/2), "a last byte filled up with 0", last)
		}
		(*dst)[n-1] = last
	}
	return nil
}
