package fast

import (
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestVideoFramePruneAllocatesNothingInTheSteadyState(t *testing.T) {
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		c := spec.DefaultVideoFramePruneConfig()
		c.Variant, c.EmbedDim = variant, 2
		p, err := NewVideoFramePrune(c)
		if err != nil {
			t.Fatal(err)
		}
		x := spec.Matrix{Rows: 4, Cols: 2, Data: []float32{1, 2, 3, 4, 5, 6, -7, 8}}
		clip := spec.Heads{Heads: 2, Tokens: 2, Dim: 2, Stride: 4, Data: x.Data}
		var kept []int
		var out spec.PrunedClip
		if n := testing.AllocsPerRun(20, func() {
			for _, err := range []error{p.PruneTemporal(&kept, x), p.PruneSpatial(&kept, x), p.(spec.VideoClipPrune).PruneClip(&out, clip)} {
				if err != nil {
					t.Fatal(err)
				}
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations a round", variant, n)
		}
	}
}
