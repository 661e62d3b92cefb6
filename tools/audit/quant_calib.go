package audit

import (
	"context"
	"fmt"
	"math"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// calibrationMethods are the three ways to a clip bound, as W8A8: activations are
// rounded to 8 bits with a scale an input, calibrated on the calibration text, and
// weights with round-to-nearest of 8 bits a row.
func calibrationMethods() (list []Method) {
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		for _, method := range []spec.CalibrationMethod{spec.CalibrateMinMax, spec.CalibratePercentile, spec.CalibrateMSE} {
			config := spec.DefaultQuantCalibConfig()
			config.Variant, config.Method = variant, method
			list = append(list, Method{
				ID: named("quant-calib", variant, string(method)), Module: "quant-calib", Variant: variant,
				apply: func(ctx context.Context, j *job) (*Variation, error) { return roundedActivations(ctx, j, config) },
			})
		}
	}
	return list
}

// roundedActivations is W8A8. Its size is that of the weights and of a float32 scale
// an input.
func roundedActivations(ctx context.Context, j *job, config spec.QuantCalibConfig) (*Variation, error) {
	calib, err := j.impl.QuantCalib(config)
	if err != nil {
		return nil, err
	}
	weights := nearest{8, 0}.method()
	v, err := weights.apply(ctx, j)
	if err != nil {
		return nil, err
	}
	scales := make([][llama.Inputs][]float32, len(j.activations))
	for layer := range scales {
		for at, x := range j.activations[layer] {
			var c spec.QuantCalibration
			if err := calib.Calibrate(&c, x); err != nil {
				return nil, fmt.Errorf("layer %d: %w", layer, err)
			}
			r := &Record{}
			r.addFull("scales", c.Scales)
			if r, err = r.reread(); err != nil {
				return nil, err
			}
			scales[layer][at] = r.full("scales")
			v.Bytes += r.Bytes()
			v.Formula += 4 * x.Cols
		}
	}
	// Codes run over ±127. The recorded variant's scale puts the largest activation on
	// ±127.5; what it clips to is what an int8 can hold.
	top := float64(int(1)<<(config.NBits-1) - 1)
	v.Hooks = func() llama.Hooks[float32] {
		return llama.Hooks[float32]{Tap: func(layer int, at llama.Input, x []float32) {
			s := scales[layer][at]
			for i, value := range x {
				scale := float64(s[i%len(s)])
				x[i] = float32(min(max(math.RoundToEven(float64(value)/scale), -top), top) * scale)
			}
		}}
	}
	v.Note = "activations are rounded too: the size is that of weights and scales"
	return v, nil
}
