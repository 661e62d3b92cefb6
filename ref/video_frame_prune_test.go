package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// Three frames of two patches of two elements. The second frame is as the first
// but for a flicker of a twentieth, the third is another; of each frame kept the
// patch stays whose elements differ.
func ExampleNewVideoFramePrune() {
	pruner, err := ref.NewVideoFramePrune(spec.VideoFramePruneConfig{
		NFrames: 3, TokensPerFrame: 2, SimilarityThreshold: 0.92, MotionThreshold: 0.1, SpatialPruneRatio: 0.5, EmbedDim: 2,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	clip := spec.Heads{Heads: 3, Tokens: 2, Dim: 2, Stride: 4, Data: []float32{
		0, 8, 6, 6,
		0, 8, 6, 7,
		1, 1, 0, 5,
	}}
	var out spec.PrunedClip
	err = pruner.(spec.VideoClipPrune).PruneClip(&out, clip)
	fmt.Printf("%v %v %.2f %v\n", out.Frames, out.Patches, out.Reduction, err)
	// Output: [0 2] [[0] [1]] 0.67 <nil>
}
