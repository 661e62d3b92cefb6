package ref

import (
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// NewQuantCalib returns the reference of spec.QuantCalib, or an error of kind
// spec.Invalid for a config out of range.
func NewQuantCalib(c spec.QuantCalibConfig) (spec.QuantCalib, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &quantCalib{config: c}, nil
}

type quantCalib struct {
	config spec.QuantCalibConfig
	stats  spec.QuantCalibStats
}

func (q *quantCalib) Calibrate(dst *spec.QuantCalibration, activations spec.Matrix) error {
	if err := q.config.CheckActivations(activations); err != nil {
		return err
	}
	scales := make([]float64, activations.Cols)
	for channel := range scales {
		scales[channel] = q.bound(calibMagnitudes(activations, channel)) / q.config.BoundCode()
	}
	if !q.config.PerChannel {
		scales = []float64{q.oneScale(scales)}
	}
	dst.Method, dst.NBits = q.config.Method, q.config.NBits
	dst.Scales = spec.Resize(dst.Scales, len(scales))
	for i, scale := range scales {
		dst.Scales[i] = float32(calibOrOne(scale))
	}
	q.stats.Calibrations++
	q.stats.Channels += activations.Cols
	return nil
}

func (q *quantCalib) Stats() spec.QuantCalibStats { return q.stats }

// calibOrOne returns the scale, or 1 where it would be published as 0.
func calibOrOne(scale float64) float64 {
	if float32(scale) == 0 {
		return 1
	}
	return scale
}

// calibMagnitudes returns the |x| of a channel.
func calibMagnitudes(x spec.Matrix, channel int) []float64 {
	magnitudes := make([]float64, x.Rows)
	for r := range magnitudes {
		magnitudes[r] = math.Abs(float64(x.Row(r)[channel]))
	}
	return magnitudes
}

// bound returns the clip bound of a channel.
func (q *quantCalib) bound(magnitudes []float64) float64 {
	largest := slices.Max(magnitudes)
	switch {
	case largest == 0:
		return 0
	case q.config.Method == spec.CalibratePercentile:
		if p := calibPercentile(magnitudes, q.config.Percentile); p > 0 {
			return p
		}
	case q.config.Method == spec.CalibrateMSE:
		return q.leastErrorBound(magnitudes, largest)
	}
	return largest
}

// calibPercentile interpolates linearly between the two samples next to the
// percentile's position.
func calibPercentile(values []float64, percentile float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	position := float64(percentile / 100 * float64(len(values)-1))
	below := int(position)
	if below == len(sorted)-1 {
		return sorted[below]
	}
	fraction := position - float64(below)
	return sorted[below] + float64(fraction*(sorted[below+1]-sorted[below]))
}

// leastErrorBound tries the clip bounds and returns the first of least error.
func (q *quantCalib) leastErrorBound(magnitudes []float64, largest float64) float64 {
	best, least := 0.0, math.Inf(1)
	for i := range spec.CalibrationBounds {
		bound := largest * float64(11+i) / 110
		if e := q.squaredError(magnitudes, bound); e < least {
			best, least = bound, e
		}
	}
	return best
}

// squaredError is Σ(x − code·scale)² over the elements, clipped to the bound. The
// bound is exactly BoundCode scales, so that as squish6 what is clipped lies midway
// between two codes and has the even one.
func (q *quantCalib) squaredError(magnitudes []float64, bound float64) float64 {
	boundCode := q.config.BoundCode()
	scale := bound / boundCode
	sum := 0.0
	for _, x := range magnitudes {
		code := math.RoundToEven(min(x/bound, 1) * boundCode)
		off := x - float64(code*scale)
		sum += float64(off * off)
	}
	return sum
}

// oneScale returns the scale of all channels from those of each.
func (q *quantCalib) oneScale(scales []float64) float64 {
	if q.config.Variant == spec.Documented {
		return slices.Max(scales) // a channel of zeros has 0 here, and no say
	}
	sum := 0.0
	for _, scale := range scales {
		sum += calibOrOne(scale)
	}
	return sum / float64(len(scales))
}
