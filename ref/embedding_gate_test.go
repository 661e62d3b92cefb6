package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// The gate looks along the first axis. The first row points that way, and stays;
// the second points elsewhere, and is masked.
func ExampleNewEmbeddingGate() {
	gate, err := ref.NewEmbeddingGate(spec.EmbeddingGateConfig{EmbedDim: 2, Threshold: 0.5, NRoutes: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := gate.(spec.EmbeddingGateWeights).SetWeights([]float32{1, 0}); err != nil {
		fmt.Println(err)
		return
	}
	var out spec.GatedEmbeddings
	err = gate.Gate(&out, spec.Matrix{Rows: 2, Cols: 2, Data: []float32{3, 1, 1, 3}})
	fmt.Println(out.Route, out.Masked.Data, err)
	fmt.Println(gate.Stats().VisionFraction)
	// Output:
	// [1 0] [3 1 0 0] <nil>
	// 0.5
}
