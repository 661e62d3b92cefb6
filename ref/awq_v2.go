package ref

import (
	"fmt"
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// NewAWQv2 returns the reference of spec.AWQv2, or an error of kind spec.Invalid for
// a config out of range. It also packs codes: spec.AWQInt4.
func NewAWQv2(config spec.AWQv2Config) (spec.AWQv2, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &awqV2{config: config}, nil
}

type awqV2 struct {
	config spec.AWQv2Config
	stats  spec.AWQv2Stats
}

func (q *awqV2) Calibrate(dst *spec.AWQScales, weights, activations spec.Matrix) error {
	if err := q.checkWeights(weights); err != nil {
		return err
	}
	if err := q.config.CheckActivations(activations, weights.Cols); err != nil {
		return err
	}
	means := meanMagnitudes(activations)
	if q.config.Variant == spec.Squish6 {
		q.calibrateSteps(dst, weights, means)
	} else {
		dst.Scales = append(dst.Scales[:0], q.searchScales(weights, activations, means)...)
		dst.Shifts = dst.Shifts[:0]
	}
	q.stats.Calibrations++
	q.stats.Channels += weights.Cols
	return nil
}

func (q *awqV2) checkWeights(weights spec.Matrix) error {
	if err := q.config.CheckWeights(weights); err != nil {
		return err
	}
	return spec.CheckFinite("awq-v2", "weights", weights.Data)
}

// meanMagnitudes is mean |x_c| of every channel.
func meanMagnitudes(activations spec.Matrix) []float64 {
	means := make([]float64, activations.Cols)
	for c := range means {
		for n := range activations.Rows {
			means[c] += math.Abs(float64(activations.Row(n)[c]))
		}
		means[c] /= float64(activations.Rows)
	}
	return means
}

// searchScales tries every exponent of the grid.
func (q *awqV2) searchScales(weights, activations spec.Matrix, means []float64) (best []float32) {
	least := math.Inf(1)
	for k := range q.config.NSearchSteps {
		scales := channelScales(means, float64(k)/float64(q.config.NSearchSteps))
		var w spec.AWQWeights
		if q.quantizeGroups(&w, weights, scales) != nil {
			continue
		}
		if e := q.outputError(weights, activations, scales, w); best == nil || e < least {
			best, least = scales, e
		}
	}
	return best // α = 0 always counts: its group scales are at most (2/q_max)·MaxFloat32
}

// channelScales is max(a^α, 1e-4)/√(max·min).
func channelScales(means []float64, α float64) []float32 {
	raw := make([]float64, len(means))
	for c, a := range means {
		raw[c] = max(math.Pow(a, α), 1e-4)
	}
	norm := math.Sqrt(slices.Max(raw) * slices.Min(raw))
	scales := make([]float32, len(means))
	for c, s := range raw {
		scales[c] = float32(s / norm)
	}
	return scales
}

// outputError is ‖(w − ŵ)·xᵀ‖².
func (q *awqV2) outputError(weights, activations spec.Matrix, scales []float32, w spec.AWQWeights) float64 {
	total := 0.0
	for o := range weights.Rows {
		for n := range activations.Rows {
			off := 0.0
			for c, x := range activations.Row(n) {
				lost := float64(weights.Row(o)[c]) - q.restored(w, scales, o, c)
				off += float64(lost * float64(x))
			}
			total += float64(off * off)
		}
	}
	return total
}

// restored is weight (o, c) as it comes back: (code − z)·Δ/s, but for its rounding.
func (q *awqV2) restored(w spec.AWQWeights, scales []float32, o, c int) float64 {
	cols := len(scales)
	group := o*q.config.Groups(cols) + c/q.config.GroupSize
	steps := int(w.Codes[o*cols+c]) - int(w.ZeroPoints[group])
	x := float64(steps) * float64(w.GroupScales.Data[group]) / float64(scales[c])
	return max(-math.MaxFloat32, min(math.MaxFloat32, x))
}

func (q *awqV2) Quantize(dst *spec.AWQWeights, weights spec.Matrix, scales, shifts []float32) error {
	if err := q.checkWeights(weights); err != nil {
		return err
	}
	if err := q.config.CheckScales(scales, shifts, weights.Cols); err != nil {
		return err
	}
	if q.config.Variant == spec.Squish6 {
		q.quantizeSteps(dst, weights, scales, shifts)
		return nil
	}
	return q.quantizeGroups(dst, weights, scales)
}

func (q *awqV2) quantizeGroups(dst *spec.AWQWeights, weights spec.Matrix, scales []float32) error {
	cols, groups := weights.Cols, q.config.Groups(weights.Cols)
	dst.Codes = spec.Resize(dst.Codes, len(weights.Data))
	dst.GroupScales.Resize(weights.Rows, groups)
	dst.ZeroPoints = spec.Resize(dst.ZeroPoints, weights.Rows*groups)
	for o := range weights.Rows {
		for g := range groups {
			from, to := g*q.config.GroupSize, min((g+1)*q.config.GroupSize, cols)
			scaled := make([]float64, to-from)
			for i := range scaled {
				scaled[i] = float64(weights.Row(o)[from+i]) * float64(scales[from+i])
			}
			scale, zeroPoint := q.quantizeGroup(dst.Codes[o*cols+from:o*cols+to], scaled)
			if math.IsInf(float64(scale), 0) {
				return spec.Reject(spec.Invalid, "awq-v2", "scales", "scales with which group scales are float32 numbers", fmt.Sprintf("larger ones in row %d", o))
			}
			dst.GroupScales.Row(o)[g] = scale
			dst.ZeroPoints[o*groups+g] = zeroPoint
		}
	}
	return nil
}

func (q *awqV2) quantizeGroup(codes []uint8, scaled []float64) (scale float32, zeroPoint uint8) {
	low, high := min(0, slices.Min(scaled)), max(0, slices.Max(scaled))
	qMax := float64(q.config.QMax())
	step := (high - low) / qMax
	if scale = float32(step); scale == 0 {
		clear(codes)
		return 1, 0
	}
	z := clip(math.RoundToEven(-low/step), qMax)
	for i, v := range scaled {
		codes[i] = uint8(clip(math.RoundToEven(v/step)+z, qMax))
	}
	return scale, uint8(z)
}

// clip moves x to the nearest code.
func clip(x, qMax float64) float64 { return max(0, min(qMax, x)) }

// calibrateSteps is squish6's calibration.
func (q *awqV2) calibrateSteps(dst *spec.AWQScales, weights spec.Matrix, means []float64) {
	dst.Scales = spec.Resize(dst.Scales, weights.Cols)
	dst.Shifts = spec.Resize(dst.Shifts, weights.Cols)
	for c, a := range means {
		column := make([]float64, weights.Rows)
		for o := range column {
			column[o] = float64(weights.Row(o)[c])
		}
		least := math.Inf(1)
		for k := range q.config.NSearchSteps {
			step := stepCandidate(a, k, q.config.NSearchSteps)
			shift, e := q.columnError(column, float64(step))
			if !math.IsInf(float64(step), 0) && (k == 0 || e < least) {
				dst.Scales[c], dst.Shifts[c], least = step, float32(shift), e
			}
		}
	}
}

// stepCandidate is number k of n, evenly spaced.
func stepCandidate(a float64, k, n int) float32 {
	low, high := max(0.1*a, 1e-8), max(2*a, 1e-7)
	if k == 0 {
		return float32(low)
	}
	if k == n-1 {
		return float32(high)
	}
	return float32(low + float64(float64(k)*((high-low)/float64(n-1))))
}

// columnError is the shift of a step, and the squared error of the column with it.
func (q *awqV2) columnError(column []float64, step float64) (shift, e float64) {
	qMax := float64(q.config.QMax())
	shift = clip(math.RoundToEven(-slices.Min(column)/step), qMax)
	for _, w := range column {
		lost := w - (clip(math.RoundToEven(w/step+shift), qMax)-shift)*step
		e += float64(lost * lost)
	}
	return shift, e
}

// quantizeSteps is squish6's quantisation.
func (q *awqV2) quantizeSteps(dst *spec.AWQWeights, weights spec.Matrix, scales, shifts []float32) {
	dst.Codes = spec.Resize(dst.Codes, len(weights.Data))
	dst.GroupScales.Resize(0, 0)
	dst.ZeroPoints = dst.ZeroPoints[:0]
	for i, w := range weights.Data {
		c := i % weights.Cols
		x := float64(w)/float64(scales[c]) + float64(shifts[c])
		dst.Codes[i] = uint8(clip(math.RoundToEven(x), float64(q.config.QMax())))
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
	cols := len(scales)
	dst.Resize(rows, cols)
	for i := range dst.Data {
		o, c := i/cols, i%cols
		if q.config.Variant == spec.Squish6 {
			dst.Data[i] = saturated((float64(codes[i]) - float64(shifts[c])) * float64(scales[c]))
		} else {
			dst.Data[i] = saturated(q.restored(spec.AWQWeights{Codes: codes, GroupScales: groupScales, ZeroPoints: zeroPoints}, scales, o, c))
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
	clear(*dst)
	for i, code := range codes {
		if code > 15 {
			return spec.Reject(spec.Invalid, "awq-v2", fmt.Sprintf("codes[%d]", i), "at most 15", code)
		}
		(*dst)[i/2] |= code << (4 * (i % 2))
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
	if last := packed[len(packed)-1]; n%2 == 1 && last > 15 {
		return spec.Reject(spec.Invalid, "awq-v2", fmt.Sprintf("packed[%d]", len(packed)-1), "a last byte filled up with 0", last)
	}
	*dst = spec.Resize(*dst, n)
	for i := range *dst {
		(*dst)[i] = packed[i/2] >> (4 * (i % 2)) & 15
	}
	return nil
}
