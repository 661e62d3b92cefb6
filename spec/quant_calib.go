package spec

import (
	"fmt"
	"math"
	"reflect"
)

// QuantCalib chooses the scales of symmetric quantisation from sample activations,
// one a channel or one in all: x becomes the code round(x/scale).
//
// Page row: quant-calib/calibrate-minmax.
type QuantCalib interface {
	// Calibrate writes the scales for activations x (…, channels), the leading axes
	// folded into rows. A channel's scale is bound/c: its clip bound falls on the
	// code ±c,
	//
	//	documented  c = 2^(b−1) − 1, the largest code of b bits
	//	squish6     c = (2^b − 1)/2, half a code above it
	//
	// The bound is, by method,
	//
	//	minmax      max |x|
	//	percentile  that percentile of |x|, linear between the samples at either side
	//	            of position p/100·(n−1); max |x| where it is 0
	//	mse         of the hundred (11+i)/110·max |x|, evenly spaced in [0.1, 1]·max |x|,
	//	            the first of least mean squared error, where x is clipped to ±bound
	//	            and quantised; as squish6 a clipped x has the code round(±c),
	//	            one beyond the largest
	//
	// A channel of zeros has the scale 1, and so has one whose scale is 0 as float32.
	// With one scale in all that is
	//
	//	documented  the largest of the channels' scales; channels of scale 1 because
	//	            they have no other have no say, and the scale is 1 where all are such
	//	squish6     the mean of the channels' scales
	//
	// No rows, no channels and non-finite elements are Invalid.
	Calibrate(dst *QuantCalibration, activations Matrix) error
	Stats() QuantCalibStats
}

// A CalibrationMethod says how a channel's clip bound is chosen.
type CalibrationMethod string

const (
	CalibrateMinMax     CalibrationMethod = "minmax"
	CalibratePercentile CalibrationMethod = "percentile"
	CalibrateMSE        CalibrationMethod = "mse"
)

// CalibrationBounds is how many clip bounds the method mse tries.
const CalibrationBounds = 100

// QuantCalibration is the result of a calibration.
type QuantCalibration struct {
	// Scales are one a channel, or a single one.
	Scales []float32 `wire:"scales"`
	// Method and NBits are the config's.
	Method CalibrationMethod `wire:"method"`
	NBits  int               `wire:"n_bits"`
}

// QuantCalibConfig configures QuantCalib.
type QuantCalibConfig struct {
	Variant Variant           `wire:"variant"` // Documented or Squish6
	Method  CalibrationMethod `wire:"method"`  // default mse
	// Percentile is the percentile method's, in (50, 100). Default 99.9.
	Percentile float64 `wire:"percentile"`
	NBits      int     `wire:"n_bits"`      // 4 or 8, default 8
	PerChannel bool    `wire:"per_channel"` // default true
}

// DefaultQuantCalibConfig returns the defaults.
func DefaultQuantCalibConfig() QuantCalibConfig {
	return QuantCalibConfig{Method: CalibrateMSE, Percentile: 99.9, NBits: 8, PerChannel: true}
}

// Validate returns an Invalid error that names the field out of range.
func (c QuantCalibConfig) Validate() error {
	const m = "quant-calib"
	if c.Method != CalibrateMinMax && c.Method != CalibratePercentile && c.Method != CalibrateMSE {
		return Reject(Invalid, m, "method", "minmax, percentile or mse", fmt.Sprintf("%q", string(c.Method)))
	}
	return firstError(
		checkVariant(m, c.Variant, Squish6),
		inRange(m, "percentile", "a number in (50, 100)", c.Percentile, c.Percentile > 50 && c.Percentile < 100),
		inRange(m, "n_bits", "4 or 8", float64(c.NBits), c.NBits == 4 || c.NBits == 8),
	)
}

// MaxCode returns the largest code, 2^(b−1) − 1.
func (c QuantCalibConfig) MaxCode() float64 { return math.Ldexp(1, c.NBits-1) - 1 }

// BoundCode returns the number that a clip bound is quantised to before rounding:
// MaxCode, or as squish6 half a code more.
func (c QuantCalibConfig) BoundCode() float64 {
	if c.Variant == Squish6 {
		return c.MaxCode() + 0.5
	}
	return c.MaxCode()
}

// CheckActivations rejects an argument of Calibrate.
func (c QuantCalibConfig) CheckActivations(activations Matrix) error {
	const m = "quant-calib"
	if err := CheckMatrix(m, "activations", activations, -1, -1); err != nil {
		return err
	}
	if activations.Rows == 0 || activations.Cols == 0 {
		return Reject(Invalid, m, "activations", "at least 1 row and 1 channel", fmt.Sprintf("(%d, %d)", activations.Rows, activations.Cols))
	}
	return CheckFinite(m, "activations", activations.Data)
}

// QuantCalibStats count what Calibrate did.
type QuantCalibStats struct {
	Calibrations int `wire:"total_calibrations"`
	// Channels counts those of the activations, however many scales they have.
	Channels int `wire:"total_channels"`
}

const (
	calibScaleTolerance = "2u·scale + u·2⁻¹²⁵; a scale that is no more than u·2⁻¹²⁵ may be 1"
	calibScaleWhy       = "one rounding of the quotient and one of the published number; u·2⁻¹²⁵ is the spacing of subnormals, below which a scale is 0"
	calibErrorTolerance = "in root mean square 8u·max|x| + 8c·u·2⁻¹²⁵"
	calibErrorWhy       = "a scale rounded to float32 moves every code's value by up to u·max|x|, and so does the rounding of a product and a difference, once for the bound that is chosen and once for the one that should be; u·2⁻¹²⁵ is the spacing of subnormal scales"
)

var quantCalib = &Module{
	Name: "quant-calib", Wave: 24,
	Summary:   "scales of symmetric 4- and 8-bit quantisation from sample activations",
	Interface: reflect.TypeFor[QuantCalib](),
	Config:    DefaultQuantCalibConfig(),
	Defaults:  defaults(func(QuantCalibConfig) QuantCalibConfig { return DefaultQuantCalibConfig() }),
	Variants:  []Variant{Squish6},
	Operations: []Operation{
		op[QuantCalib]("calibrate", named("result"), Param{Name: "activations", AnyShape: true}),
		op[QuantCalib]("stats", Param{}),
	},
	Requirements: append([]Requirement{{
		ID: "quant-calib/minmax", Level: Must, Kind: Law,
		Text:      "With method minmax a channel's scale is max|x|/(2^(b−1)−1), and that of all channels max|x| of all elements over it.",
		Tolerance: calibScaleTolerance, Why: calibScaleWhy, Source: "page row quant-calib/calibrate-minmax; TensorRT's and ONNX Runtime's symmetric int8",
	}, {
		ID: "quant-calib/percentile", Level: Must, Kind: Law,
		Text:      "With method percentile a channel's scale is the linearly interpolated percentile of its |x|, or max|x| where that is 0, over 2^(b−1)−1.",
		Tolerance: calibScaleTolerance + ", and what the percentile changes by within 2u·n of its position", Why: calibScaleWhy + "; a position of n samples is off by as much",
		Source: "NVIDIA, arXiv 2004.09602, percentile calibration; magnitudes sorted",
	}, {
		ID: "quant-calib/mse", Level: Must, Kind: Law,
		Text:      "With method mse the mean squared error of a channel, its codes clipped to ±(2^(b−1)−1), is no more than the least that any of the hundred clip bounds reaches.",
		Tolerance: calibErrorTolerance, Why: calibErrorWhy,
		Source: "the error is the purpose: which of two equal bounds was picked is not asked; all bounds tried, element by element",
	}, {
		ID: "quant-calib/mse-no-worse", Level: Must, Kind: Law,
		Text:      "The mean squared error that method mse reaches is no more than that of method minmax.",
		Tolerance: calibErrorTolerance, Why: calibErrorWhy, Source: "max|x| is one of the bounds",
	}, {
		ID: "quant-calib/codes-in-range", Level: Must, Kind: Law,
		Text:      "With method minmax no |x|/scale is above 2^(b−1)−1, so that every code fits b bits.",
		Tolerance: "relative 4u, and a scale's u·2⁻¹²⁵", Why: calibScaleWhy, Source: "rules for all modules: symmetric codes of b bits run over ±(2^(b−1)−1)",
	}, {
		ID: "quant-calib/half-step", Level: Must, Kind: Law,
		Text:      "With method minmax every x is within half a scale of its code's value.",
		Tolerance: "4u·max|x| + (2^(b−1)−1)·u·2⁻¹²⁵", Why: calibScaleWhy, Source: "nothing is clipped, so that rounding is all there is",
	}, {
		ID: "quant-calib/power-of-two", Level: Must, Kind: Law,
		Text:      "Activations times 2ᵏ have the scales times 2ᵏ, but for channels of zeros.",
		Tolerance: exact, Why: "a multiplication by a power of two is exact while nothing under- or overflows", Source: "the formulas are homogeneous",
	}, {
		ID: "quant-calib/signs-and-order", Level: Must, Kind: Law,
		Text:      "Signs, and the order of the samples, do not matter.",
		Tolerance: "scales as minmax and percentile; with method mse the error reached, " + calibErrorTolerance, Why: "magnitudes are the same numbers; " + calibErrorWhy,
		Source: "symmetric codes, and a set of samples",
	}, {
		ID: "quant-calib/channels", Level: Must, Kind: Law,
		Text:      "A channel among others has the scale that it has alone.",
		Tolerance: "scales as minmax and percentile; with method mse the error reached, " + calibErrorTolerance, Why: calibScaleWhy,
		Source: "channels do not see each other",
	}, {
		ID: "quant-calib/one-scale", Level: Must, Kind: Law,
		Text:      "One scale for all channels is the largest of the scales that they have apart, channels of zeros left out.",
		Tolerance: "2u·scale", Why: "it is one of them, rounded once more", Source: "a scale below a channel's own clips it",
	}, {
		ID: "quant-calib/percentile-rises", Level: Must, Kind: Law,
		Text:      "A higher percentile never gives a smaller scale, where the lower one is not 0, and none gives a larger one than minmax.",
		Tolerance: "2u·scale + u·2⁻¹²⁵, and what a percentile changes by within 2u·n of its position", Why: calibScaleWhy, Source: "percentiles are ordered, and max|x| is the last",
	}, {
		ID: "quant-calib/union", Level: Must, Kind: Law,
		Text:      "With method minmax two batches joined have, a channel, the larger of their two scales, a batch in which the channel is zeros left out.",
		Tolerance: exact, Why: "a maximum is one of the elements", Source: "the maximum of a union",
	}, {
		ID: "quant-calib/zero-channels", Level: Must, Kind: Law,
		Text:      "A channel of zeros, −0 among them, has the scale 1, and so has a tensor of them.",
		Tolerance: exact, Why: "no arithmetic is involved", Source: "rules for all modules: all-zero groups; the recording's cases c0, c10 and c11",
	}, {
		ID: "quant-calib/stats", Level: Must, Kind: Law,
		Text:      "Stats count calibrations and the channels of their activations.",
		Tolerance: exact, Why: exactWhy, Source: "the recording's stats",
	}, {
		ID: "quant-calib/half-codes-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, methods minmax and percentile give a channel twice its bound over 2^b−1, so that the bound falls half a code beyond the largest.",
		Tolerance: "as minmax and percentile", Why: calibScaleWhy, Source: "the recording",
	}, {
		ID: "quant-calib/mse-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, with method mse the error of a channel, its elements clipped to the bound and its codes not clipped at all, is no more than the least that any of the hundred clip bounds reaches.",
		Tolerance: calibErrorTolerance + "; an element beyond the bound may have either code at ±c, half of one: the better one counts for the bound that was chosen, and the worse one for the others",
		Why:       calibErrorWhy + "; whether c comes out above or below a half is the luck of a quotient's last bit", Source: "the recording",
	}, {
		ID: "quant-calib/mean-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, one scale for all channels is the mean of the scales that they have apart, zeros with their 1 among them.",
		Tolerance: "(channels + 4)·u·mean", Why: "a sum of so many numbers, a quotient, and the rounding of each", Source: "the recording",
	}}, common("quant-calib", []Variant{Squish6},
		"scales as minmax and percentile; with method mse the error reached, and one scale for all between those of the least and of the greatest bounds that reach it: "+calibErrorTolerance,
		calibScaleWhy+"; "+calibErrorWhy, "magnitudes sorted, and all bounds tried, element by element")...),
}
