package audit

import (
	"fmt"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// awqMethods are 4, 3 and 2 bits with groups of 128 and 32: packed codes, a float16
// scale and a zero point of as many bits a group, and a float16 scale an input.
// squish6, 4 bits, gives byte codes, packed here too, with a step and a shift an
// input.
func awqMethods() (list []Method) {
	for _, bits := range []int{4, 3, 2} {
		for _, group := range []int{128, 32} {
			config := spec.DefaultAWQv2Config()
			config.NBits, config.GroupSize = bits, group
			list = append(list, Method{
				ID: "awq-v2/" + bitsAndGroup(bits, group), Module: "awq-v2",
				apply: each(func(j *job) (codec, error) {
					q, err := j.impl.AWQv2(config)
					return awqCodec(q, config), err
				}),
			})
		}
	}
	config := spec.DefaultAWQv2Config()
	config.Variant = spec.Squish6
	return append(list, Method{
		ID: named("awq-v2", spec.Squish6, fmt.Sprintf("%d-bit", config.NBits)), Module: "awq-v2", Variant: spec.Squish6,
		apply: each(func(j *job) (codec, error) {
			q, err := j.impl.AWQv2(config)
			return awqSteps(q, config), err
		}),
	})
}

// awqCodec rounds the scales to float16 before the weights are quantised with them,
// so that what is stored is what was used.
func awqCodec(q spec.AWQv2, config spec.AWQv2Config) codec {
	groups := nearest{config.NBits, config.GroupSize}.groups
	return codec{
		bytes: func(rows, cols int) int {
			n := rows * groups(cols)
			return packedBytes(rows*cols, config.NBits) + 2*n + packedBytes(n, config.NBits) + 2*cols
		},
		compress: func(m matrix) (*Record, error) {
			var scales spec.AWQScales
			var w spec.AWQWeights
			if err := q.Calibrate(&scales, m.weights, m.activations); err != nil {
				return nil, err
			}
			r := &Record{}
			r.addHalf("scales", scales.Scales)
			if err := q.Quantize(&w, m.weights, r.half("scales"), nil); err != nil {
				return nil, err
			}
			r.addCodes("codes", w.Codes, config.NBits)
			r.addHalf("group_scales", w.GroupScales.Data)
			r.addCodes("zero_points", w.ZeroPoints, config.NBits)
			return r, nil
		},
		expand: func(r *Record, p llama.Place) (out spec.Matrix, err error) {
			n := groups(p.Cols)
			scales := spec.Matrix{Rows: p.Rows, Cols: n, Data: r.half("group_scales")}
			err = q.Dequantize(&out, r.codes("codes", p.Rows*p.Cols, config.NBits), r.half("scales"), nil,
				scales, r.codes("zero_points", p.Rows*n, config.NBits))
			return out, err
		},
	}
}

// awqSteps gives the recorded variant the mean magnitudes of the inputs as the one
// sample of activations, as the program behind the page does. Shifts are whole
// numbers from 0 to the largest code.
func awqSteps(q spec.AWQv2, config spec.AWQv2Config) codec {
	return codec{
		bytes: func(rows, cols int) int {
			return packedBytes(rows*cols, config.NBits) + 4*cols + packedBytes(cols, config.NBits)
		},
		compress: func(m matrix) (*Record, error) {
			var scales spec.AWQScales
			var w spec.AWQWeights
			if err := q.Calibrate(&scales, m.weights, m.activations); err != nil {
				return nil, err
			}
			if err := q.Quantize(&w, m.weights, scales.Scales, scales.Shifts); err != nil {
				return nil, err
			}
			shifts := make([]uint8, len(scales.Shifts))
			for i, s := range scales.Shifts {
				shifts[i] = uint8(s)
			}
			r := &Record{}
			r.addCodes("codes", w.Codes, config.NBits)
			r.addFull("scales", scales.Scales)
			r.addCodes("shifts", shifts, config.NBits)
			return r, nil
		},
		expand: func(r *Record, p llama.Place) (out spec.Matrix, err error) {
			var shifts []float32
			for _, s := range r.codes("shifts", p.Cols, config.NBits) {
				shifts = append(shifts, float32(s))
			}
			err = q.Dequantize(&out, r.codes("codes", p.Rows*p.Cols, config.NBits), r.full("scales"), shifts, spec.Matrix{}, nil)
			return out, err
		},
	}
}
