package audit

import (
	"context"
	"fmt"
	"math"
	"slices"

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
	layers, err := layersOf(j.Model)
	if err != nil {
		return nil, err
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

// layersOf are the weights of each layer, matrix after matrix.
func layersOf(m *llama.Model) ([][]float32, error) {
	weights, err := matrices(m)
	if err != nil {
		return nil, err
	}
	layers := make([][]float32, m.Config.Layers)
	for i, p := range m.Places() {
		layers[p.Layer] = append(layers[p.Layer], weights[i].Data...)
	}
	return layers, nil
}

// replaced returns a model with other matrices, in the order of its places.
func replaced(m *llama.Model, matrix func(llama.Place) spec.Matrix) (*llama.Model, error) {
	places, i := m.Places(), 0
	return m.Map(func(string, spec.Matrix) (spec.Matrix, error) {
		i++
		return matrix(places[i-1]), nil
	})
}

// fusionEnergy fuses each layer with the one after it, and a layer with itself and a
// tenth of noise, which the module must find alike.
func fusionEnergy(ctx context.Context, a *Audit, f *Finding) error {
	config := spec.DefaultLayerFusionConfig()
	fusion, err := a.Implementation.LayerFusion(config)
	if err != nil {
		return err
	}
	layers, err := layersOf(a.Subject.Model)
	if err != nil {
		return err
	}
	noisy := slices.Clone(layers[0])
	size := math.Sqrt(squares(noisy) / float64(len(noisy)))
	for i, v := range gaussian(1, len(noisy), a.Seed).Data {
		noisy[i] += float32(0.1 * size * float64(v))
	}
	f.Curve = &Curve{Columns: []string{"first layer", "second layer", "cosine", "energy missed in the first %", "energy missed in the second %", "FP16 bytes saved"}}
	fuse := func(first, second float64, one, two []float32) (float64, error) {
		var similarity float64
		if err := fusion.CosineSimilarity(&similarity, one, two); err != nil {
			return 0, err
		}
		var fused []float32
		if err := fusion.Fuse(&fused, one, two, spec.DefaultFusionWeight); err != nil {
			return 0, err
		}
		f.Curve.add(first, second, similarity, 100*missed(one, fused), 100*missed(two, fused), float64(2*len(one)))
		return similarity, nil
	}
	alike, most, control := 0, math.Inf(-1), 0.0
	for i := range len(layers) - 1 {
		if err := ctx.Err(); err != nil {
			return err
		}
		similarity, err := fuse(float64(i), float64(i+1), layers[i], layers[i+1])
		if err != nil {
			return err
		}
		most = max(most, similarity)
		if similarity >= config.SimilarityThreshold {
			alike++
		}
	}
	if len(layers) < 2 {
		f.Verdict, f.Note = Unmeasured, "the model has one layer"
		return nil
	}
	if control, err = fuse(0, 0, layers[0], noisy); err != nil {
		return err
	}
	if control < config.SimilarityThreshold {
		return fmt.Errorf("a layer and itself with a tenth of noise: cosine %v: the audit cannot be trusted", control)
	}
	f.counted(most, "cosine of the most similar neighbours")
	f.Verdict = Refuted
	switch {
	case alike == len(layers)-1:
		f.Verdict = Supported
	case alike > 0:
		f.Verdict = Conditional
	}
	f.Note = fmt.Sprintf("%d of %d pairs of neighbours reach the module's threshold, %v. Fusing saves a layer's bytes whatever the two are: unlike ones lose half of their energy each. The last line is the positive control, layer 0 and itself with a tenth of noise: cosine %.4f",
		alike, len(layers)-1, config.SimilarityThreshold, control)
	return nil
}
