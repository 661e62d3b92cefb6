package audit

import (
	"context"
	"fmt"
	"math"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// surgeryMethods remove a layer, the middle one, or of each layer the KV head, with
// the query heads that it serves, whose output columns have the least norm.
func surgeryMethods() []Method {
	return []Method{
		{ID: "model-surgery/middle-layer", Module: "model-surgery", apply: func(_ context.Context, j *job) (*Variation, error) {
			if j.Model.Config.Layers < 2 {
				return nil, errNotHere{"the model has one layer"}
			}
			return operated(j, func(p *spec.SurgeryPlan) error {
				p.LayersToRemove = append(p.LayersToRemove, p.NLayers/2)
				return nil
			})
		}},
		{ID: "model-surgery/weakest-heads", Module: "model-surgery", apply: func(_ context.Context, j *job) (*Variation, error) {
			if j.Model.Config.KVHeads < 2 {
				return nil, errNotHere{"the model has one KV head"}
			}
			return operated(j, func(p *spec.SurgeryPlan) error { return pruneWeakest(p, j.Model) })
		}},
	}
}

// pruneWeakest plans one group of heads less in each layer.
func pruneWeakest(p *spec.SurgeryPlan, m *llama.Model) error {
	c := m.Config
	group := c.Heads / c.KVHeads
	for layer := range m.Layers {
		w := m.Layers[layer].Output.Float32()
		weakest, least := 0, math.Inf(1)
		for g := range c.KVHeads {
			norm := 0.0
			for r := range w.Rows {
				for _, v := range w.Row(r)[g*group*c.HeadDim : (g+1)*group*c.HeadDim] {
					norm += float64(float64(v) * float64(v))
				}
			}
			if norm < least {
				weakest, least = g, norm
			}
		}
		heads := spec.LayerHeads{Layer: layer}
		for h := range group {
			heads.Heads = append(heads.Heads, weakest*group+h)
		}
		p.HeadsToPrune = append(p.HeadsToPrune, heads)
	}
	return nil
}

// surgical are the tensors of a layer, by names that the module knows.
func surgical(l *llama.Layer) map[string]*llama.Matrix {
	return map[string]*llama.Matrix{
		"attn.q_proj.weight": &l.Queries, "attn.k_proj.weight": &l.Keys, "attn.v_proj.weight": &l.Values, "attn.o_proj.weight": &l.Output,
		"attn.q_proj.bias": &l.QueryBias, "attn.k_proj.bias": &l.KeyBias, "attn.v_proj.bias": &l.ValueBias,
		"mlp.gate.weight": &l.Gate, "mlp.up.weight": &l.Up, "mlp.down.weight": &l.Down,
		"attention_norm": &l.AttentionNorm, "mlp_norm": &l.FeedForwardNorm,
	}
}

// operated applies a plan to the layers' tensors and builds a model of what is left.
// Sizes are in float16, of all tensors of layers.
func operated(j *job, plan func(*spec.SurgeryPlan) error) (*Variation, error) {
	s, err := j.impl.ModelSurgery(spec.DefaultModelSurgeryConfig())
	if err != nil {
		return nil, err
	}
	c := j.Model.Config
	var p spec.SurgeryPlan
	if err := s.Plan(&p, c.Layers, c.Heads, c.HeadDim, c.KVHeads); err != nil {
		return nil, err
	}
	if err := plan(&p); err != nil {
		return nil, err
	}
	var tensors []spec.NamedTensor
	v := &Variation{}
	for i := range j.Model.Layers {
		for name, m := range surgical(&j.Model.Layers[i]) {
			if m.Rows == 0 {
				continue
			}
			w := m.Float32()
			shape := []int{w.Rows, w.Cols}
			if w.Rows == 1 {
				shape = shape[1:]
			}
			tensors = append(tensors, spec.NamedTensor{Name: fmt.Sprintf("layer_%d.%s", i, name), Tensor: spec.Tensor{Shape: shape, Data: w.Data}})
			v.Weights += len(w.Data)
		}
	}
	var result spec.SurgeryResult
	if err := s.Apply(&result, p, tensors, true); err != nil {
		return nil, err
	}
	v.Formula = 2 * int(math.Round(float64(v.Weights)*(1-result.TrueParamReduction)))

	changed := *j.Model
	changed.Config.Layers -= len(p.LayersToRemove)
	if len(p.HeadsToPrune) > 0 {
		changed.Config.KVHeads--
		changed.Config.Heads -= c.Heads / c.KVHeads
	}
	changed.Layers = make([]llama.Layer, changed.Config.Layers)
	left := map[string]spec.Tensor{}
	for _, t := range result.NewWeights {
		left[t.Name] = t.Tensor
	}
	for i := range changed.Layers {
		for name, m := range surgical(&changed.Layers[i]) {
			t, ok := left[fmt.Sprintf("layer_%d.%s", i, name)]
			if !ok {
				continue
			}
			r := &Record{}
			r.addHalf("tensor", t.Data)
			if r, err = r.reread(); err != nil {
				return nil, err
			}
			v.Bytes += r.Bytes()
			w := spec.Matrix{Rows: 1, Cols: t.Shape[len(t.Shape)-1], Data: r.half("tensor")}
			if len(t.Shape) == 2 {
				w.Rows = t.Shape[0]
			}
			if *m, err = llama.NewMatrix(w); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	v.Model = &changed
	return v, nil
}
