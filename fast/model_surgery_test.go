package fast

import (
	"fmt"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func newModelSurgery(t testing.TB) spec.ModelSurgery {
	t.Helper()
	s, err := NewModelSurgery(spec.DefaultModelSurgeryConfig())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func namedTensor(name string, shape ...int) spec.NamedTensor {
	n, _ := spec.Volume(shape...)
	data := make([]float32, n)
	for i := range data {
		data[i] = float32(i)
	}
	return spec.NamedTensor{Name: name, Tensor: spec.Tensor{Shape: shape, Data: data}}
}

// surgeryModel has 4 heads of 2 elements, each two sharing a KV head.
func surgeryModel(layers int) (weights []spec.NamedTensor) {
	for i := range layers {
		name := fmt.Sprintf("model.layer_%d.attn.", i)
		weights = append(weights, namedTensor(name+"q_proj.weight", 8, 3), namedTensor(name+"q_proj.bias", 8),
			namedTensor(name+"k_proj.weight", 4, 3), namedTensor(name+"v_proj.weight", 4, 3), namedTensor(name+"o_proj.weight", 3, 8),
			namedTensor(name+"norm", 3), namedTensor(fmt.Sprintf("model.layer_%d.mlp", i), 5, 3))
	}
	return append(weights, namedTensor("embed", 7, 3))
}

func surgeryPlan() spec.SurgeryPlan {
	return spec.SurgeryPlan{NLayers: 4, NHeads: 4, HeadDim: 2, NKVHeads: 2,
		LayersToRemove: spec.Indices{1}, HeadsToPrune: []spec.LayerHeads{{Layer: 3, Heads: spec.Indices{3, 2}}, {Layer: 0, Heads: spec.Indices{0, 1}}}}
}

func TestModelSurgeryAllocatesNothingInTheSteadyState(t *testing.T) {
	s := newModelSurgery(t)
	weights := surgeryModel(4)
	plan := surgeryPlan()
	for _, h := range plan.HeadsToPrune {
		slices.Sort(h.Heads) // a plan out of order is copied to be checked
	}
	slices.SortFunc(plan.HeadsToPrune, func(a, b spec.LayerHeads) int { return a.Layer - b.Layer })
	var empty spec.SurgeryPlan
	var reduction float64
	var result spec.SurgeryResult
	if n := testing.AllocsPerRun(20, func() {
		for _, err := range []error{
			s.Plan(&empty, 32, 32, 128, 8),
			s.EstimateReduction(&reduction, plan),
			s.Apply(&result, plan, weights, true),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

// A destination that held more tensors, and larger ones, shows none of them.
func TestModelSurgeryReusesItsDestination(t *testing.T) {
	s := newModelSurgery(t)
	var used, fresh spec.SurgeryResult
	small := []spec.NamedTensor{namedTensor("layer_2.attn.q", 8), namedTensor("layer_1.x", 2, 2, 2), namedTensor("layer_3.attn.o", 1, 8)}
	for _, err := range []error{
		s.Apply(&used, spec.SurgeryPlan{NLayers: 4, NHeads: 4, HeadDim: 2}, surgeryModel(9), false),
		s.Apply(&used, surgeryPlan(), small, true),
		newModelSurgery(t).Apply(&fresh, surgeryPlan(), small, true),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(used), fmt.Sprint(fresh); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(fresh.NewWeights), "[{layer_1.attn.q {[8] [0 1 2 3 4 5 6 7]}} {layer_2.attn.o {[1 4] [0 1 2 3]}}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestModelSurgeryReadsNames(t *testing.T) {
	for name, want := range map[string]int{
		"layer_0": 0, "layer_7": 7, "layer_12.x": 12, "a.layer_3/b": 3, "layer_3[0]": 3, "x[layer_3]": 3, "_layer_3_x": 3,
		"encoder_layer_3": 3, "layer_layer_3": 3, "layer_3.layer_3": 3, "layer_x.layer_3": 3, "-layer_3": 3, "\xfflayer_3": 3,
		"": noLayer, "layer_": noLayer, "layer_.x": noLayer, "layer_x": noLayer, "layer_03": noLayer, "layer_00": noLayer, "layer_3x": noLayer,
		"layer_3-": noLayer, "player_3": noLayer, "3layer_3": noLayer, "élayer_3": noLayer, "٣layer_3": noLayer, "layer3": noLayer, "Layer_3": noLayer,
		"layer_+3": noLayer, "layer_3é": noLayer, "layer_99999999999999999999": noLayer,
	} {
		if got, err := surgeryLayer(&spec.NamedTensor{Name: name}); err != nil || got != want {
			t.Errorf("%q: got layer %d (%v), want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"layer_1.layer_2", "layer_1_layer_2", "layer_1.layer_1.layer_2", "layer_1.layer_99999999999999999999"} {
		if got, err := surgeryLayer(&spec.NamedTensor{Name: name}); spec.KindOf(err) != spec.Invalid {
			t.Errorf("%q: got layer %d (%v), want it refused", name, got, err)
		}
	}
}
