package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// An image token and two text tokens, of one head and one element. Attention goes
// over both views, as if they were one sequence.
func ExampleNewVisionKVFuse() {
	cache, err := ref.NewVisionKVFuse(spec.VisionKVFuseConfig{TextCapacity: 4, VisionCapacity: 4, NHeads: 1, HeadDim: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	token := func(x float32) spec.Matrix { return spec.Matrix{Rows: 1, Cols: 1, Data: []float32{x}} }
	cache.Append(spec.Text, token(0), token(10))
	cache.(spec.VisionKVFused).AppendFused(token(0), token(40), token(0), token(70))

	var fused spec.FusedKV
	cache.(spec.VisionKVFused).GetFused(&fused)
	attention, err := ref.NewCrossDocAttn(spec.CrossDocAttnConfig{NHeads: 1, HeadDim: 1, MaxDocs: 2, SoftmaxScale: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	var out spec.Heads
	query := spec.Heads{Heads: 1, Tokens: 1, Dim: 1, Stride: 1, Data: []float32{1}}
	err = attention.Forward(&out, query, []spec.Heads{fused.Text.Keys, fused.Vision.Keys}, []spec.Heads{fused.Text.Values, fused.Vision.Values})
	fmt.Println(cache.TextLen(), cache.VisionLen(), cache.MemoryRatio(), out.Data, err)
	// Output: 2 1 0.5 [40] <nil>
}
