package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// Three tokens, one of which goes. All look at the third most, and at the first
// least; the recorded variant drops the third, which looks about the most evenly.
func ExampleNewImageTokenPrune() {
	attention := spec.Heads{Heads: 1, Tokens: 3, Dim: 3, Stride: 9, Data: []float32{
		0.1, 0.1, 0.8,
		0.1, 0.2, 0.7,
		0.3, 0.3, 0.4,
	}}
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		pruner, err := ref.NewImageTokenPrune(spec.ImageTokenPruneConfig{
			Variant: variant, NTokens: 3, PruneRatio: 0.34, NHeads: 1, Eps: 1e-9,
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		var out spec.PrunedTokens
		err = pruner.Prune(&out, attention)
		fmt.Println(out.Kept, out.Pruned, err)
	}
	// Output:
	// [1 2] [0] <nil>
	// [0 1] [2] <nil>
}
