package conformance

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
	"github.com/squishspec/squishspec/spec/wire"
)

var modelSurgeryMutants = []mutant{
	{"model-surgery/plan", "removes the first layer of its own accord", after("plan", func(c *proxy.Call) {
		c.Dst.(*spec.SurgeryPlan).LayersToRemove = spec.Indices{0}
	}), ""},
	{"model-surgery/plan", "takes one KV head where none are given", before("plan", func(c *proxy.Call) {
		if c.Args[3] == 0 {
			c.Args[3] = 1
		}
	}), ""},
	{"model-surgery/estimate", "does not count heads of removed layers", before("estimate_reduction", func(c *proxy.Call) {
		p := c.Args[0].(spec.SurgeryPlan)
		p.HeadsToPrune = slices.DeleteFunc(p.HeadsToPrune, func(h spec.LayerHeads) bool { return slices.Contains(p.LayersToRemove, h.Layer) })
		c.Args[0] = p
	}), ""},
	{"model-surgery/estimate", "multiplies layers and heads as integers", after("estimate_reduction", func(c *proxy.Call) {
		p := c.Args[0].(spec.SurgeryPlan)
		*c.Dst.(*float64) = float64(len(p.LayersToRemove))/float64(p.NLayers)/2 + float64(p.PrunedHeads())/float64(p.NLayers*p.NHeads)/2
	}), ""},
	{"model-surgery/empty-plan", "keeps tensors of layers only", onSurgery(func(_ *proxy.Call, result *spec.SurgeryResult) {
		result.NewWeights = slices.DeleteFunc(result.NewWeights, func(w spec.NamedTensor) bool { return !strings.Contains(w.Name, "layer_") })
	}), ""},
	{"model-surgery/empty-plan", "renumbers layers by their place", before("apply", func(c *proxy.Call) {
		weights := c.Args[1].([]spec.NamedTensor)
		for i := range weights {
			weights[i].Name = strings.Replace(weights[i].Name, "layer_00", "layer_0", 1)
		}
	}), ""},
	{"model-surgery/layers", "computes the new weights and hands out the old ones", onSurgery(func(c *proxy.Call, result *spec.SurgeryResult) {
		result.NewWeights = cloneAs(c.Args[1].([]spec.NamedTensor))
	}), ""},
	{"model-surgery/layers", "takes any name that contains a layer's for that layer", onSurgery(func(c *proxy.Call, result *spec.SurgeryResult) {
		for _, i := range c.Args[0].(spec.SurgeryPlan).LayersToRemove {
			result.NewWeights = slices.DeleteFunc(result.NewWeights, func(w spec.NamedTensor) bool {
				return strings.Contains(w.Name, fmt.Sprintf("layer_%d", i))
			})
		}
	}), ""},
	{"model-surgery/heads", "leaves the columns of the output projection", restored(func(components []string) bool {
		return slices.ContainsFunc([]string{"o", "o_proj", "out_proj", "c_proj", "wo"}, func(role string) bool { return slices.Contains(components, role) })
	}), ""},
	{"model-surgery/heads", "leaves biases", restored(func(components []string) bool { return slices.Contains(components, "bias") }), ""},
	{"model-surgery/heads", "leaves keys and values", restored(func(components []string) bool {
		return slices.ContainsFunc([]string{"k", "v", "k_proj", "v_proj", "wk", "wv"}, func(role string) bool { return slices.Contains(components, role) })
	}), ""},
	{"model-surgery/heads", "counts heads from the last", onHeads(func(p *spec.SurgeryPlan, h *spec.LayerHeads) {
		for i, head := range h.Heads {
			h.Heads[i] = p.NHeads - 1 - head
		}
	}), ""},
	{"model-surgery/untouched", "takes the output bias for rows of a head", onSurgery(func(c *proxy.Call, result *spec.SurgeryResult) {
		for i, w := range result.NewWeights {
			if len(w.Tensor.Shape) == 1 && slices.ContainsFunc([]string{"o", "o_proj", "out_proj", "c_proj", "wo"}, func(role string) bool {
				return slices.Contains(componentsOf(w.Name), role)
			}) && result.HeadsPruned > 0 {
				result.NewWeights[i].Tensor = spec.Tensor{Shape: []int{1}, Data: w.Tensor.Data[:1]}
			}
		}
	}), ""},
	{"model-surgery/untouched", "zeroes norms", onSurgery(func(_ *proxy.Call, result *spec.SurgeryResult) {
		for _, w := range result.NewWeights {
			if strings.Contains(w.Name, "norm") {
				clear(w.Tensor.Data)
			}
		}
	}), ""},
	{"model-surgery/untouched", "takes self_attn for attn", selfAttention, ""},
	{"model-surgery/forward", "prunes the next head", onHeads(func(p *spec.SurgeryPlan, h *spec.LayerHeads) {
		group := p.NHeads / p.KVHeads()
		for i, head := range h.Heads {
			h.Heads[i] = (head + group) % p.NHeads
		}
	}), ""},
	{"model-surgery/forward", "leaves the columns of the output projection", restored(func(components []string) bool {
		return slices.ContainsFunc([]string{"o", "o_proj", "out_proj", "c_proj", "wo"}, func(role string) bool { return slices.Contains(components, role) })
	}), ""},
	{"model-surgery/forward", "cuts the columns of the first heads", onSurgery(func(c *proxy.Call, result *spec.SurgeryResult) {
		for _, w := range result.NewWeights {
			if components := componentsOf(w.Name); len(w.Tensor.Shape) == 2 && slices.Contains(components, "attn") &&
				slices.ContainsFunc([]string{"o", "o_proj", "out_proj", "c_proj", "wo"}, func(role string) bool { return slices.Contains(components, role) }) {
				old := tensorNamed(c.Args[1].([]spec.NamedTensor), w.Name)
				for r := range w.Tensor.Shape[0] {
					cols := w.Tensor.Shape[1]
					copy(w.Tensor.Data[r*cols:(r+1)*cols], old.Data[(r+1)*old.Shape[1]-cols:])
				}
			}
		}
	}), ""},
	{"model-surgery/whole-groups", "prunes the whole group for a part of it", wholeGroups, ""},
	{"model-surgery/whole-groups", "looks for whole groups in apply only", before("estimate_reduction", func(c *proxy.Call) {
		p := c.Args[0].(spec.SurgeryPlan)
		p.NKVHeads = p.NHeads
		c.Args[0] = p
	}), ""},
	{"model-surgery/unknown-projection", "leaves what it does not understand as it is", func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			err := next(c)
			if err != nil && c.Op.Name == "apply" {
				lenient := *c
				p := c.Args[0].(spec.SurgeryPlan)
				p.HeadsToPrune = nil
				lenient.Args = []any{p, c.Args[1], c.Args[2]}
				return next(&lenient)
			}
			return err
		}
	}, ""},
	{"model-surgery/counts", "counts layers for tensors", onSurgery(func(c *proxy.Call, result *spec.SurgeryResult) {
		result.TensorsRemoved = len(c.Args[0].(spec.SurgeryPlan).LayersToRemove)
	}), ""},
	{"model-surgery/counts", "does not count heads of removed layers", onSurgery(func(c *proxy.Call, result *spec.SurgeryResult) {
		p := c.Args[0].(spec.SurgeryPlan)
		for _, h := range p.HeadsToPrune {
			if slices.Contains(p.LayersToRemove, h.Layer) {
				result.HeadsPruned -= len(h.Heads)
			}
		}
	}), ""},
	{"model-surgery/counts", "gives the true share for the estimate", onSurgery(func(_ *proxy.Call, result *spec.SurgeryResult) {
		result.EstimatedParamReduction = result.TrueParamReduction
	}), ""},
	{"model-surgery/share", "gives the estimate for the true share", onSurgery(func(_ *proxy.Call, result *spec.SurgeryResult) {
		result.TrueParamReduction = result.EstimatedParamReduction
	}), ""},
	{"model-surgery/share", "counts tensors, not elements", onSurgery(func(c *proxy.Call, result *spec.SurgeryResult) {
		result.TrueParamReduction = float64(result.TensorsRemoved) / float64(len(c.Args[1].([]spec.NamedTensor)))
	}), ""},
	{"model-surgery/renumber", "keeps names", before("apply", func(c *proxy.Call) { c.Args[2] = false }), ""},
	{"model-surgery/renumber", "renumbers without being asked to", before("apply", func(c *proxy.Call) { c.Args[2] = true }), ""},
	{"model-surgery/composition", "keeps names", before("apply", func(c *proxy.Call) { c.Args[2] = false }), ""},
	{"model-surgery/order", "removes only the layer that is listed first", before("apply", func(c *proxy.Call) {
		p := c.Args[0].(spec.SurgeryPlan)
		p.LayersToRemove = p.LayersToRemove[:min(1, len(p.LayersToRemove))]
		c.Args[0] = p
	}), ""},
	{"model-surgery/order", "forgets the last tensor", before("apply", func(c *proxy.Call) {
		weights := c.Args[1].([]spec.NamedTensor)
		c.Args[1] = weights[:max(1, len(weights)-1)]
	}), ""},
	{"model-surgery/stats", "counts estimates as plans", func(next proxy.Handler) proxy.Handler {
		n := 0
		counted := after("estimate_reduction", func(*proxy.Call) { n++ })(next)
		return after("stats", func(c *proxy.Call) { c.Dst.(*spec.ModelSurgeryStats).Plans += n })(counted)
	}, ""},
	{"model-surgery/equivalence", "cuts what it hands out to one tensor", onSurgery(func(_ *proxy.Call, result *spec.SurgeryResult) {
		result.NewWeights = result.NewWeights[:min(1, len(result.NewWeights))]
	}), ""},
}

// onSurgery spoils what apply came to.
func onSurgery(spoil func(c *proxy.Call, result *spec.SurgeryResult)) proxy.Layer {
	return after("apply", func(c *proxy.Call) { spoil(c, c.Dst.(*spec.SurgeryResult)) })
}

// onHeads prunes other heads than those listed.
func onHeads(spoil func(p *spec.SurgeryPlan, h *spec.LayerHeads)) proxy.Layer {
	return before("apply", func(c *proxy.Call) {
		p := c.Args[0].(spec.SurgeryPlan)
		for i := range p.HeadsToPrune {
			spoil(&p, &p.HeadsToPrune[i])
		}
	})
}

// restored hands out tensors of attn as they were.
func restored(which func(components []string) bool) proxy.Layer {
	return onSurgery(func(c *proxy.Call, result *spec.SurgeryResult) {
		for i, w := range result.NewWeights {
			if components := componentsOf(w.Name); slices.Contains(components, "attn") && which(components) {
				result.NewWeights[i].Tensor = cloneAs(tensorNamed(c.Args[1].([]spec.NamedTensor), w.Name))
			}
		}
	})
}

// tensorNamed returns the tensor of that name, or of another one where names have
// changed.
func tensorNamed(weights []spec.NamedTensor, name string) spec.Tensor {
	return weights[max(0, slices.IndexFunc(weights, func(w spec.NamedTensor) bool { return w.Name == name }))].Tensor
}

func componentsOf(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune(".[]/", r) })
}

// selfAttention cuts self_attn as if it were attn, under its own name.
func selfAttention(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		if c.Op.Name != "apply" {
			return next(c)
		}
		own := *c
		own.Args = clone(c.Args).([]any)
		weights := own.Args[1].([]spec.NamedTensor)
		theirs := map[string]string{}
		for i, w := range weights {
			name := strings.Replace(w.Name, "self_attn", "attn", 1)
			if !slices.Contains(weightNames(weights), name) {
				weights[i].Name, theirs[name] = name, w.Name
			}
		}
		err := next(&own)
		for i, w := range c.Dst.(*spec.SurgeryResult).NewWeights {
			if name, isOther := theirs[w.Name]; isOther {
				c.Dst.(*spec.SurgeryResult).NewWeights[i].Name = name
			}
		}
		return err
	}
}

// wholeGroups completes the groups of a plan before it is seen.
func wholeGroups(next proxy.Handler) proxy.Handler {
	complete := func(c *proxy.Call) {
		p := c.Args[0].(spec.SurgeryPlan)
		if p.NKVHeads < 1 || p.NHeads < p.NKVHeads || p.NHeads > 100 {
			return
		}
		group := p.NHeads / p.NKVHeads
		for i := range p.HeadsToPrune {
			heads := &p.HeadsToPrune[i].Heads
			whole := spec.Indices{}
			for h := range p.NHeads {
				if slices.ContainsFunc(*heads, func(listed int) bool { return listed/group == h/group }) {
					whole = append(whole, h)
				}
			}
			*heads = whole
		}
	}
	return before("apply", complete)(before("estimate_reduction", complete)(next))
}

// The figures that Squish 6.0.0 recorded for four plans: what a known deviation does
// not compare, since its weights are missing.
func TestSurgeryCountsAreThoseRecorded(t *testing.T) {
	surgery, err := ref.NewModelSurgery(spec.DefaultModelSurgeryConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		layers, heads, dim int
		remove             spec.Indices
		prune              []spec.LayerHeads
		removed, pruned    int
		estimate           float64
	}{
		{2, 3, 2, nil, []spec.LayerHeads{{Layer: 0}, {Layer: 1}}, 0, 0, 0},
		{12, 5, 1, spec.Indices{6}, []spec.LayerHeads{{Layer: 6, Heads: spec.Indices{1, 2, 3}}, {Layer: 4, Heads: spec.Indices{1, 4}}, {Layer: 7}, {Layer: 3, Heads: spec.Indices{2, 3}}}, 2, 7, 0.1},
		{4, 4, 3, spec.Indices{0, 3}, []spec.LayerHeads{{Layer: 3, Heads: spec.Indices{0, 1, 2}}}, 4, 3, 0.34375},
		{13, 2, 1, spec.Indices{1, 2, 4, 8, 9, 12}, []spec.LayerHeads{{Layer: 9, Heads: spec.Indices{0}}, {Layer: 6, Heads: spec.Indices{0}}, {Layer: 8, Heads: spec.Indices{1}}, {Layer: 12, Heads: spec.Indices{0}}}, 12, 4, 0.3076923076923077},
	} {
		plan := spec.SurgeryPlan{LayersToRemove: c.remove, HeadsToPrune: c.prune, NLayers: c.layers, NHeads: c.heads, HeadDim: c.dim}
		var weights []spec.NamedTensor
		for i := range c.layers {
			weights = append(weights,
				spec.NamedTensor{Name: fmt.Sprintf("layer_%d.attn.q", i), Tensor: spec.Tensor{Shape: []int{c.heads * c.dim, 3}, Data: make([]float32, c.heads*c.dim*3)}},
				spec.NamedTensor{Name: fmt.Sprintf("layer_%d.mlp", i), Tensor: spec.Tensor{Shape: []int{2, 2}, Data: make([]float32, 4)}})
		}
		var got spec.SurgeryResult
		err := surgery.Apply(&got, plan, weights, false)
		if off := got.EstimatedParamReduction - c.estimate; err != nil || got.TensorsRemoved != c.removed || got.HeadsPruned != c.pruned || off > 1e-15 || off < -1e-15 {
			t.Errorf("%v: got %d tensors removed, %d heads pruned, estimate %v (%v), want %d, %d, %v", plan,
				got.TensorsRemoved, got.HeadsPruned, got.EstimatedParamReduction, err, c.removed, c.pruned, c.estimate)
		}
	}
}

// A known deviation of the recording excuses the missing weights, and nothing else of
// its case.
func TestDeviationsExcuseOnlyWhatTheyName(t *testing.T) {
	const plan = `{"layers_to_remove":[],"heads_to_prune":{},"n_layers":2,"n_heads":3,"head_dim":2}`
	for recorded, want := range map[string]ReplayReport{
		`{"layers_removed":0,"heads_pruned":0,"estimated_param_reduction":0.0}`:                                    {Deviations: []string{"a0"}},
		`{"layers_removed":1,"heads_pruned":0,"estimated_param_reduction":0.0}`:                                    {Failed: 1},
		`{"layers_removed":0,"heads_pruned":0,"estimated_param_reduction":0.5}`:                                    {Failed: 1},
		`{"layers_removed":0,"heads_pruned":0,"estimated_param_reduction":0.0,"new_weights":{"x":{"tensor":"y"}}}`: {Failed: 1}, // what is listed passes
	} {
		dir := t.TempDir()
		text := `{"module":"model-surgery","tensors":"model-surgery.safetensors","cases":[{"name":"a0","config":{},"steps":[{"call":"apply","args":{"plan":` +
			plan + `,"weight_dict":{"x":{"tensor":"x"}}},"returns":{"result":` + recorded + `}}]}]}`
		var frame bytes.Buffer
		one := []byte{0, 0, 0x80, 0x3f}
		for _, err := range []error{
			wire.Write(&frame, &wire.Frame{Tensors: []wire.Tensor{{Name: "x", DType: wire.F32, Shape: []int{1}, Data: one}, {Name: "y", DType: wire.F32, Shape: []int{1}, Data: one}}}),
			os.WriteFile(filepath.Join(dir, "model-surgery.json"), []byte(text), 0o644),
			os.WriteFile(filepath.Join(dir, "model-surgery.safetensors"), frame.Bytes(), 0o644),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		got, err := Replay(ref.Implementation(), dir)
		if err != nil || got.Passed != 0 || got.Failed != want.Failed || len(got.Deviations) != len(want.Deviations) {
			t.Errorf("%s: got %s (%v), failures %q, want %s", recorded, got.Summary(), err, got.Failures, want.Summary())
		}
	}
}
