package ref_test

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// Gate weights of logarithms make probabilities of whole numbers: expert e sees a
// token along axis i with e's share of row i. Every expert takes one token at most, so
// that the second token finds its first expert full.
func ExampleNewSparseMoE() {
	ln := func(x float64) float32 { return float32(math.Log(x)) }
	moe, err := ref.NewSparseMoE(spec.SparseMoEConfig{
		NExperts: 3, TopK: 2, HiddenDim: 2, LoadBalanceWeight: 0.01, CapacityFactor: 0.75,
		GateWeights: spec.Matrix{Rows: 2, Cols: 3, Data: []float32{
			ln(6), ln(3), ln(1),
			ln(8), ln(1), ln(2),
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var out spec.MoERouting
	tokens := spec.Matrix{Rows: 2, Cols: 2, Data: []float32{1, 0, 0, 1}}
	err = moe.Route(&out, tokens)
	fmt.Println(out.Indices, out.Weights.Data, err)
	fmt.Printf("at most %d each, %d dropped, loss %.4f\n", out.Capacity, out.Dropped, out.AuxLoss)

	var grouped spec.MoEDispatch
	err = moe.(spec.SparseMoEDispatch).Dispatch(&grouped, tokens, out.Indices)
	fmt.Println(grouped.Inputs.Data, grouped.Counts, err)
	fmt.Println(moe.Stats().ExpertLoad)
	// Output:
	// [0 1 -1 2] [0.6666667 0.33333334 0 0.2] <nil>
	// at most 1 each, 1 dropped, loss 0.0199
	// [1 0 1 0 0 1] [1 1 1] <nil>
	// [1 1 1]
}
