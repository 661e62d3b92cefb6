package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// The first two layers point the same way, at cos 0.96, and merge into their mean;
// the third points elsewhere.
func ExampleNewLayerFusion() {
	fusion, err := ref.NewLayerFusion(spec.LayerFusionConfig{HiddenDim: 2, SimilarityThreshold: 0.9})
	if err != nil {
		fmt.Println(err)
		return
	}
	stack := [][]float32{{3, 4}, {4, 3}, {-3, 4}}
	var similarity float64
	err = fusion.CosineSimilarity(&similarity, stack[0], stack[1])
	fmt.Println(similarity, err)

	var plan spec.FusionPlan
	err = fusion.(spec.LayerFusionPlanner).PlanFusions(&plan, stack)
	fmt.Println(plan.Pairs, plan.BytesBefore, "bytes before,", plan.BytesAfter, "after", err)

	var merged []float32
	err = fusion.Fuse(&merged, stack[0], stack[1], spec.DefaultFusionWeight)
	fmt.Println(merged, err)
	// Output:
	// 0.96 <nil>
	// [{0 1}] 24 bytes before, 16 after <nil>
	// [3.5 3.5] <nil>
}
