package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// Five steps from dense to half of the weights. The cubic prunes fast at first and
// gently at the end.
func ExampleNewIterPrune() {
	config := spec.DefaultIterPruneConfig(5)
	config.TargetSparsity = 0.5
	pruner, err := ref.NewIterPrune(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	weights := []float32{0.9, -0.1, 0.4, 0.4, -0.7, 0.2, 0.4, -1.2}
	for step := range config.NSteps {
		var out spec.IterPruned
		if err := pruner.PruneStep(&out, weights, step); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%.4f %v\n", pruner.CurrentSparsity(step), out.Pruned)
	}
	// Output:
	// 0.0000 [0.9 -0.1 0.4 0.4 -0.7 0.2 0.4 -1.2]
	// 0.2891 [0.9 0 0.4 0.4 -0.7 0 0.4 -1.2]
	// 0.4375 [0.9 0 0.4 0 -0.7 0 0 -1.2]
	// 0.4922 [0.9 0 0.4 0 -0.7 0 0 -1.2]
	// 0.5000 [0.9 0 0.4 0 -0.7 0 0 -1.2]
}

// Half of the pruned weights may come back. Two of the four that go at the last
// step have a high saliency: they stay, and the next smallest go in their place.
func ExampleNewIterPrune_regrow() {
	config := spec.DefaultIterPruneConfig(1)
	config.TargetSparsity, config.RegrowFraction = 0.5, 0.5
	pruner, err := ref.NewIterPrune(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	var out spec.IterPruned
	err = pruner.(spec.IterPruneRegrow).PruneRegrow(&out,
		[]float32{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8}, 0,
		[]float32{9, 0, 0, 8, 0, 0, 0, 7})
	fmt.Println(out.Pruned, out.Sparsity, err)
	// Output:
	// [0.1 0 0 0.4 0 0 0.7 0.8] 0.5 <nil>
}
