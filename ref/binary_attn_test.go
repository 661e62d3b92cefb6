package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// The query agrees with the first key in all four signs, and with the second in two:
// dot products of 4 and 0, and at this scale logits that differ by 2·ln 3. The first
// value weighs nine times as much as the second.
func ExampleNewBinaryAttn() {
	attn, err := ref.NewBinaryAttn(spec.BinaryAttnConfig{NHeads: 1, HeadDim: 4, SoftmaxScale: 0.5493061443340549})
	if err != nil {
		fmt.Println(err)
		return
	}
	tensor := func(tokens int, data ...float32) spec.Heads {
		return spec.Heads{Heads: 1, Tokens: tokens, Dim: 4, Stride: 4 * tokens, Data: data}
	}
	q := tensor(1, 0.5, -3, 0, 7)
	k := tensor(2, 1, -1, 2, 0.1, -2, -1, -0.1, 9)
	v := tensor(2, 10, 0, 1, 0, 20, 0, 2, 10)
	var out spec.Heads
	err = attn.Forward(&out, q, k, v)
	fmt.Println(out.Data, err)

	packer := attn.(spec.BinaryAttnPacked)
	var packedQ, packedK []uint8
	if err := packer.Pack(&packedQ, q); err != nil {
		fmt.Println(err)
		return
	}
	err = packer.Pack(&packedK, k)
	fmt.Printf("%04b %04b %v\n", packedQ, packedK, err)
	err = packer.ForwardPacked(&out, packedQ, packedK, v)
	fmt.Println(out.Data, err)
	// Output:
	// [11 0 1.1 1] <nil>
	// [1101] [1101 1000] <nil>
	// [11 0 1.1 1] <nil>
}
