package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// Two layers lie on either side of a base, by a matrix of rank 1: fitting finds the
// base, and with the deltas the layers are back.
func ExampleNewWeightSharing() {
	square := func(data ...float32) spec.Matrix { return spec.Matrix{Rows: 2, Cols: 2, Data: data} }
	config := spec.WeightSharingConfig{HiddenDim: 2, NSharedLayers: 2, Rank: 1}
	fitter, err := ref.NewWeightSharing(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	var fit spec.SharedWeights
	layers := []spec.Matrix{square(14, 2, 3, 4), square(6, 2, 3, 4)}
	if err := fitter.(spec.WeightSharingFit).Fit(&fit, layers, 1); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(fit.Base.Data)

	config.Base, config.U, config.V = fit.Base, fit.U, fit.V
	shared, err := ref.NewWeightSharing(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	var weight spec.Matrix
	for layer := range layers {
		err = shared.GetEffectiveWeight(&weight, layer)
		fmt.Println(weight.Data, err)
	}
	fmt.Println(shared.MemoryBytes(), "bytes for", shared.DenseMemoryBytes(), "is a ratio of", shared.MemoryRatio())
	fmt.Println(shared.GetEffectiveWeight(&weight, 2))
	// Output:
	// [10 2 3 4]
	// [14 2 3 4] <nil>
	// [6 2 3 4] <nil>
	// 48 bytes for 32 is a ratio of 1.5
	// weight-sharing: layer_idx: want a layer in 0 … 1, got 2
}
