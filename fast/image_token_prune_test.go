package fast

import (
	"math"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestImageTokenPruneAllocatesNothingInTheSteadyState(t *testing.T) {
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		p, err := NewImageTokenPrune(spec.ImageTokenPruneConfig{Variant: variant, NTokens: 2, PruneRatio: 0.5, NHeads: 2, Eps: 1e-9})
		if err != nil {
			t.Fatal(err)
		}
		x := spec.Heads{Heads: 2, Tokens: 2, Dim: 2, Stride: 4, Data: []float32{0, 1, 0.25, 0.75, 1, 0, 0.5, 0.5}}
		var out spec.PrunedTokens
		if n := testing.AllocsPerRun(20, func() {
			if err := p.Prune(&out, x); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations a call", variant, n)
		}
	}
}

// TestImageTokenPruneRefusesWhatIsNoAttention: in every place, although the sum of
// the row would be 1.
func TestImageTokenPruneRefusesWhatIsNoAttention(t *testing.T) {
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		p, err := NewImageTokenPrune(spec.ImageTokenPruneConfig{Variant: variant, NTokens: 3, PruneRatio: 0.5, NHeads: 1, Eps: 1e-9})
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -0.5, -0x1p-149, 0.6} {
			for at := range 9 {
				x := spec.Heads{Heads: 1, Tokens: 3, Dim: 3, Stride: 9, Data: []float32{1, 0, 0, 0, 1, 0, 0, 0, 1}}
				row := x.Head(0).Row(at / 3)
				row[(at+1)%3], row[(at+2)%3] = 0.5, 0.5
				row[at%3] = float32(bad)
				var out spec.PrunedTokens
				if err := p.Prune(&out, x); spec.KindOf(err) != spec.Invalid || p.Stats() != (spec.ImageTokenPruneStats{}) {
					t.Errorf("%q: %v at %d: got %v, stats %v", variant, bad, at, err, p.Stats())
				}
			}
		}
	}
}
