package audit

import (
	"fmt"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// gptqMethods are 4, 3 and 2 bits, a group a row or 32 inputs, symmetric: packed
// codes and a float16 scale a group. squish6 gives weights and neither codes nor
// scales: they take float16.
func gptqMethods() (list []Method) {
	for _, bits := range []int{4, 3, 2} {
		for _, group := range []int{0, 32} {
			config := spec.DefaultGPTQLayerConfig()
			config.NBits, config.GroupSize = bits, group
			list = append(list, Method{
				ID: "gptq-layer/" + bitsAndGroup(bits, group), Module: "gptq-layer",
				apply: each(func(j *job) (codec, error) {
					q, err := j.impl.GPTQLayer(config)
					return gptqCodec(q, config), err
				}),
			})
		}
	}
	for _, bits := range []int{4, 3, 2} {
		config := spec.DefaultGPTQLayerConfig()
		config.Variant, config.NBits = spec.Squish6, bits
		list = append(list, Method{
			ID: named("gptq-layer", spec.Squish6, fmt.Sprintf("%d-bit", bits)), Module: "gptq-layer", Variant: spec.Squish6,
			apply: each(func(j *job) (codec, error) {
				q, err := j.impl.GPTQLayer(config)
				return gptqDiagonal(q), err
			}),
		})
	}
	return list
}

func bitsAndGroup(bits, group int) string {
	if group == 0 {
		return fmt.Sprintf("%d-bit-row", bits)
	}
	return fmt.Sprintf("%d-bit-group-%d", bits, group)
}

func gptqCodec(q spec.GPTQLayer, config spec.GPTQLayerConfig) codec {
	top := 1<<(config.NBits-1) - 1
	format := nearest{config.NBits, config.GroupSize}
	return codec{
		bytes: format.bytes,
		compress: func(m matrix) (*Record, error) {
			var layer spec.QuantizedLayer
			if err := q.Calibrate(&layer, m.weights, m.activations); err != nil {
				return nil, err
			}
			codes := make([]uint8, len(layer.Codes))
			for i, c := range layer.Codes {
				codes[i] = uint8(int(c) + top)
			}
			r := &Record{}
			r.addHalf("scales", layer.Scales.Data)
			r.addCodes("codes", codes, config.NBits)
			return r, nil
		},
		expand: format.codec().expand, // the same format, filled otherwise
	}
}

// gptqDiagonal runs on wᵀ, whose rows are inputs, as the variant has them.
func gptqDiagonal(q spec.GPTQLayer) codec {
	return codec{
		bytes: func(rows, cols int) int { return 2 * rows * cols },
		compress: func(m matrix) (*Record, error) {
			var layer spec.QuantizedLayer
			if err := q.Calibrate(&layer, transposed(m.weights), m.activations); err != nil {
				return nil, err
			}
			r := &Record{}
			r.addHalf("weights", layer.Weights.Data)
			return r, nil
		},
		expand: func(r *Record, p llama.Place) (spec.Matrix, error) {
			return transposed(spec.Matrix{Rows: p.Cols, Cols: p.Rows, Data: r.half("weights")}), nil
		},
	}
}

func transposed(w spec.Matrix) spec.Matrix {
	t := spec.Matrix{Rows: w.Cols, Cols: w.Rows, Data: make([]float32, len(w.Data))}
	for r := range w.Rows {
		for c, v := range w.Row(r) {
			t.Data[c*w.Rows+r] = v
		}
	}
	return t
}
