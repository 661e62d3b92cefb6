package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// One text token looks along the first axis, where the first of two vision tokens
// lies far out: it takes that token's value.
func ExampleNewCrossModalAttn() {
	config := spec.DefaultCrossModalAttnConfig(2)
	config.NTextHeads, config.NVisionHeads = 1, 1
	attn, err := ref.NewCrossModalAttn(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	tensor := func(tokens int, data ...float32) spec.Heads {
		return spec.Heads{Heads: 1, Tokens: tokens, Dim: 2, Stride: 2 * tokens, Data: data}
	}
	var out spec.Heads
	err = attn.Forward(&out, tensor(1, 100, 0), tensor(2, 10, 0, 0, 10), tensor(2, 3, 4, 5, 6))
	fmt.Println(out.Data, err)

	var cost spec.AttentionOperations
	err = attn.(spec.CrossModalCosts).Flops(&cost, 64, 64)
	fmt.Println(cost.MulAdds, "multiply-adds and", cost.Exps, "exponentials", err)
	// Output:
	// [3 4] <nil>
	// 16384 multiply-adds and 4096 exponentials <nil>
}
