package audit

import (
	"fmt"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// iterativeMethods prune the smallest magnitudes to three sparsities. Nothing is
// trained between steps, so that the last step alone decides. What stays is stored
// in float16, with a bit a weight.
func iterativeMethods() (list []Method) {
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		for _, target := range []float64{0.3, 0.5, 0.7} {
			list = append(list, Method{
				ID: named("iter-prune", variant, fmt.Sprintf("%.0f%%", 100*target)), Module: "iter-prune", Variant: variant,
				apply: each(func(j *job) (codec, error) {
					config := spec.DefaultIterPruneConfig(10)
					config.Variant, config.TargetSparsity = variant, target
					p, err := j.impl.IterPrune(config)
					if err != nil {
						return codec{}, err
					}
					return bitmapCodec(p, config.EndStep), nil
				}),
			})
		}
	}
	return list
}

// named is a method's ID. The documented variant goes without saying.
func named(module string, variant spec.Variant, parameters string) string {
	if variant == spec.Squish6 {
		module += ":squish6"
	}
	return module + "/" + parameters
}

// bitmapCodec stores a bit a weight, and those that are not 0. Its size depends on
// the weights: the formula counts what the matrix that it made holds.
func bitmapCodec(prune spec.IterPrune, step int) codec {
	kept := 0 // of the last matrix
	return codec{
		bytes: func(rows, cols int) int { return packedBytes(rows*cols, 1) + 2*kept },
		compress: func(m matrix) (*Record, error) {
			var pruned spec.IterPruned
			if err := prune.PruneStep(&pruned, m.weights.Data, step); err != nil {
				return nil, err
			}
			kept = 0
			var values []float32
			stays := make([]uint8, len(pruned.Pruned))
			for i, v := range pruned.Pruned {
				if v != 0 {
					stays[i] = 1
					values = append(values, v)
					kept++
				}
			}
			r := &Record{}
			r.addCodes("stays", stays, 1)
			r.addHalf("values", values)
			return r, nil
		},
		expand: func(r *Record, p llama.Place) (spec.Matrix, error) {
			out := spec.Matrix{Rows: p.Rows, Cols: p.Cols, Data: make([]float32, p.Rows*p.Cols)}
			values := r.half("values")
			for i, stays := range r.codes("stays", len(out.Data), 1) {
				if stays == 1 {
					out.Data[i], values = values[0], values[1:]
				}
			}
			return out, nil
		},
	}
}
