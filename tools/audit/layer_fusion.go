package audit

import (
	"context"
	"fmt"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// fusionMethods average adjacent layers: those that the module's plan pairs at its
// own threshold, and the most similar pair whatever its similarity. A fused layer is
// stored once and runs in both places.
func fusionMethods() []Method {
	return []Method{
		{ID: "layer-fusion/plan", Module: "layer-fusion", apply: func(_ context.Context, j *job) (*Variation, error) {
			return fusedLayers(j, func(f spec.LayerFusion, layers [][]float32) ([]spec.LayerPair, error) {
				planner, ok := f.(spec.LayerFusionPlanner)
				if !ok {
					return nil, fmt.Errorf("plan_fusions: %w", spec.Unsupported)
				}
				var plan spec.FusionPlan
				err := planner.PlanFusions(&plan, layers)
				return plan.Pairs, err
			})
		}},
		{ID: "layer-fusion/most-similar-pair", Module: "layer-fusion", apply: func(_ context.Context, j *job) (*Variation, error) {
			return fusedLayers(j, func(f spec.LayerFusion, layers [][]float32) ([]spec.LayerPair, error) {
				var best []spec.LayerPair
				most := -2.0
				for i := range len(layers) - 1 {
					var similarity float64
					if err := f.CosineSimilarity(&similarity, layers[i], layers[i+1]); err != nil {
						return nil, err
					}
					if similarity > most {
						best, most = []spec.LayerPair{{First: i, Second: i + 1}}, similarity
					}
				}
				return best, nil
			})
		}},
	}
}

// fusedLayers fuses pairs of layers, each with half the weight. Sizes are in
// float16: a pair takes one layer.
func fusedLayers(j *job, choose func(spec.LayerFusion, [][]float32) ([]spec.LayerPair, error)) (*Variation, error) {
	f, err := j.impl.LayerFusion(spec.DefaultLayerFusionConfig())
	if err != nil {
		return nil, err
	}
	weights, err := matrices(j.Model)
	if err != nil {
		return nil, err
	}
	places := j.Model.Places()
	layers := make([][]float32, j.Model.Config.Layers)
	for i, p := range places {
		layers[p.Layer] = append(layers[p.Layer], weights[i].Data...)
	}
	pairs, err := choose(f, layers)
	if err != nil {
		return nil, err
	}
	v := &Variation{Weights: len(layers) * len(layers[0]), Formula: 2 * len(layers[0]) * (len(layers) - len(pairs))}
	twin := map[int]bool{} // layers that are stored with the one before them
	for _, p := range pairs {
		var fused []float32
		if err := f.Fuse(&fused, layers[p.First], layers[p.Second], spec.DefaultFusionWeight); err != nil {
			return nil, err
		}
		layers[p.First], layers[p.Second] = fused, fused
		twin[p.Second] = true
	}
	for i := range layers {
		if twin[i] {
			layers[i] = layers[i-1]
			continue
		}
		r := &Record{}
		r.addHalf("layer", layers[i])
		if r, err = r.reread(); err != nil {
			return nil, err
		}
		v.Bytes += r.Bytes()
		layers[i] = r.half("layer")
	}
	taken := make([]int, len(layers))
	v.Model, err = replaced(j.Model, func(p llama.Place) spec.Matrix {
		from := taken[p.Layer]
		taken[p.Layer] += p.Rows * p.Cols
		return spec.Matrix{Rows: p.Rows, Cols: p.Cols, Data: layers[p.Layer][from:taken[p.Layer]]}
	})
	v.Note = fmt.Sprintf("%d of %d layers fused with the one before; each saves a layer's %d weights", len(pairs), len(layers), len(layers[0]))
	return v, err
}

// replaced returns a model with other matrices, in the order of its places.
func replaced(m *llama.Model, matrix func(llama.Place) spec.Matrix) (*llama.Model, error) {
	places, i := m.Places(), 0
	return m.Map(func(string, spec.Matrix) (spec.Matrix, error) {
		i++
		return matrix(places[i-1]), nil
	})
}
