package fast

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/clip"
	"github.com/squishspec/squishspec/fast/internal/radix"
	"github.com/squishspec/squishspec/spec"
)

// NewQuantCalib returns an optimised spec.QuantCalib, or an error of kind
// spec.Invalid for a config out of range.
//
// The largest magnitudes come from one pass in the order of memory, which shows
// besides whether all is finite. The other methods read the channels a few at a
// time, so that a line of memory is fetched once; a percentile is selected, not
// sorted for, and most clip bounds are given up early.
func NewQuantCalib(config spec.QuantCalibConfig) (spec.QuantCalib, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &quantCalib{config: config}, nil
}

type quantCalib struct {
	config spec.QuantCalibConfig
	stats  spec.QuantCalibStats

	// Scratch.
	largest  []uint32  // the bits of each channel's largest magnitude
	columns  []float32 // the magnitudes of a few channels, one after the other
	selector radix.Selector
}

func (q *quantCalib) Calibrate(dst *spec.QuantCalibration, activations spec.Matrix) error {
	if !q.measure(activations) {
		return q.config.CheckActivations(activations)
	}
	scales := 1
	if q.config.PerChannel {
		scales = activations.Cols
	}
	dst.Scales = spec.Resize(dst.Scales, scales)
	dst.Method, dst.NBits = q.config.Method, q.config.NBits

	sum, most := 0.0, 0.0 // of the scales
	for from := 0; from < activations.Cols; from += calibColumns {
		to := min(from+calibColumns, activations.Cols)
		q.gather(activations, from, to)
		for channel := from; channel < to; channel++ {
			scale := q.bound(channel, from, activations.Rows) / q.config.BoundCode()
			most = max(most, scale)
			sum += calibScale(scale)
			if q.config.PerChannel {
				dst.Scales[channel] = float32(calibScale(scale))
			}
		}
	}
	if !q.config.PerChannel {
		if q.config.Variant == spec.Squish6 {
			most = sum / float64(activations.Cols)
		}
		dst.Scales[0] = float32(calibScale(most))
	}
	q.stats.Calibrations++
	q.stats.Channels += activations.Cols
	return nil
}

func (q *quantCalib) Stats() spec.QuantCalibStats { return q.stats }

// calibScale returns the scale, or 1 where it would be published as 0.
func calibScale(scale float64) float64 {
	if float32(scale) == 0 {
		return 1
	}
	return scale
}

// measure finds every channel's largest magnitude. It reports false for a matrix
// that is empty, contradicts itself or is not finite: the bits of infinities and
// NaNs are above those of all numbers, so that they are the largest.
func (q *quantCalib) measure(x spec.Matrix) bool {
	if len(x.Data) == 0 || spec.CheckMatrix("quant-calib", "activations", x, -1, -1) != nil {
		return false
	}
	q.largest = spec.Resize(q.largest, x.Cols)
	clear(q.largest)
	for r := range x.Rows {
		row := x.Row(r)[:len(q.largest)]
		for c, v := range row {
			q.largest[c] = max(q.largest[c], radix.Magnitude(v))
		}
	}
	infinity := math.Float32bits(float32(math.Inf(1)))
	for _, bits := range q.largest {
		if bits >= infinity {
			return false
		}
	}
	return true
}

// calibColumns is how many channels are read at a time: a line of memory.
const calibColumns = 16

// gather copies the magnitudes of channels from…to−1, where a method needs more
// than the largest.
func (q *quantCalib) gather(x spec.Matrix, from, to int) {
	if q.config.Method == spec.CalibrateMinMax {
		return
	}
	q.columns = spec.Resize(q.columns, (to-from)*x.Rows)
	for r := range x.Rows {
		for i, v := range x.Row(r)[from:to] {
			q.columns[i*x.Rows+r] = math.Float32frombits(radix.Magnitude(v))
		}
	}
}

// bound returns the clip bound of a channel, the first of those gathered being from.
func (q *quantCalib) bound(channel, from, samples int) float64 {
	largest := float64(math.Float32frombits(q.largest[channel]))
	if largest == 0 || q.config.Method == spec.CalibrateMinMax {
		return largest
	}
	magnitudes := q.columns[(channel-from)*samples:][:samples]
	if q.config.Method == spec.CalibrateMSE {
		search := clip.Search{Bounds: spec.CalibrationBounds, BoundCode: q.config.BoundCode()}
		return search.LeastError(magnitudes, largest)
	}
	if p := q.percentile(magnitudes); p > 0 {
		return p
	}
	return largest
}

// percentile interpolates linearly between the two samples next to the percentile's
// position: the one selected, and the next.
func (q *quantCalib) percentile(magnitudes []float32) float64 {
	position := float64(q.config.Percentile / 100 * float64(len(magnitudes)-1))
	below := int(position)
	cut, _ := q.selector.Smallest(magnitudes, below+1)
	value := float64(math.Float32frombits(cut.Bits))
	fraction := position - float64(below)
	if fraction == 0 || below+1 < cut.Below+cut.Equal {
		return value
	}
	next := uint32(math.MaxUint32)
	for _, m := range magnitudes {
		if bits := math.Float32bits(m); bits > cut.Bits {
			next = min(next, bits)
		}
	}
	return value + float64(fraction*(float64(math.Float32frombits(next))-value))
}
