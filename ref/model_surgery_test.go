package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// A model of two layers with two heads of one element each. Layer 0 goes, and head 0
// of layer 1: a row of q and a column of o. The estimate knows no sizes; the true share
// is 7 elements of 11.
func ExampleNewModelSurgery() {
	surgery, err := ref.NewModelSurgery(spec.DefaultModelSurgeryConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	var plan spec.SurgeryPlan
	if err := surgery.Plan(&plan, 2, 2, 1, 0); err != nil {
		fmt.Println(err)
		return
	}
	plan.LayersToRemove = spec.Indices{0}
	plan.HeadsToPrune = []spec.LayerHeads{{Layer: 1, Heads: spec.Indices{0}}}

	weights := []spec.NamedTensor{
		{Name: "layer_0.mlp", Tensor: spec.Tensor{Shape: []int{4}, Data: []float32{1, 2, 3, 4}}},
		{Name: "layer_1.attn.q_proj.weight", Tensor: spec.Tensor{Shape: []int{2, 1}, Data: []float32{5, 6}}},
		{Name: "layer_1.attn.o_proj.weight", Tensor: spec.Tensor{Shape: []int{2, 2}, Data: []float32{7, 8, 9, 10}}},
		{Name: "embed", Tensor: spec.Tensor{Shape: []int{1}, Data: []float32{11}}},
	}
	var result spec.SurgeryResult
	err = surgery.Apply(&result, plan, weights, true)
	for _, w := range result.NewWeights {
		fmt.Println(w.Name, w.Tensor.Shape, w.Tensor.Data)
	}
	fmt.Printf("%d tensor removed, %d head pruned, estimated %.3f, true %.3f, %v\n",
		result.TensorsRemoved, result.HeadsPruned, result.EstimatedParamReduction, result.TrueParamReduction, err)
	// Output:
	// layer_0.attn.q_proj.weight [1 1] [6]
	// layer_0.attn.o_proj.weight [2 1] [8 10]
	// embed [1] [11]
	// 1 tensor removed, 1 head pruned, estimated 0.375, true 0.636, <nil>
}
