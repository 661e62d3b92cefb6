package audit

import (
	"fmt"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// ternaryMethods are BitNet's threshold and the one that the page ran: codes packed
// five to a byte, and a float32 scale a matrix.
func ternaryMethods() (list []Method) {
	for _, threshold := range []float64{0.5, 0.05} {
		list = append(list, Method{
			ID: fmt.Sprintf("ternary-quant/threshold-%v", threshold), Module: "ternary-quant",
			apply: each(func(j *job) (codec, error) {
				q, err := j.impl.TernaryQuant(spec.TernaryQuantConfig{ZeroThreshold: threshold})
				if err != nil {
					return codec{}, err
				}
				return ternaryCodec(q, q.(spec.TernaryBase3)), nil
			}),
		})
	}
	return list
}

func ternaryCodec(q spec.TernaryQuant, packing spec.TernaryBase3) codec {
	return codec{
		bytes: func(rows, cols int) int { return (rows*cols+4)/5 + 4 },
		compress: func(m matrix) (*Record, error) {
			var w spec.TernaryWeights
			var packed []uint8
			if err := q.Quantize(&w, m.weights.Data); err != nil {
				return nil, err
			}
			if err := packing.PackBase3(&packed, w.Codes); err != nil {
				return nil, err
			}
			r := &Record{}
			r.addBytes("codes", packed)
			r.addFull("scale", []float32{w.Scale})
			return r, nil
		},
		expand: func(r *Record, p llama.Place) (spec.Matrix, error) {
			out := spec.Matrix{Rows: p.Rows, Cols: p.Cols}
			var codes []int8
			if err := packing.UnpackBase3(&codes, r.data("codes"), p.Rows*p.Cols); err != nil {
				return out, err
			}
			return out, q.Dequantize(&out.Data, codes, r.full("scale")[0])
		},
	}
}
