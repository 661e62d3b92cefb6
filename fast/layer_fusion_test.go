package fast

import (
	"math"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func newLayerFusion(t *testing.T, threshold float64) spec.LayerFusion {
	t.Helper()
	f, err := NewLayerFusion(spec.LayerFusionConfig{HiddenDim: 1, SimilarityThreshold: threshold})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestLayerFusionAllocatesNothingInTheSteadyState(t *testing.T) {
	f := newLayerFusion(t, 0.9)
	stack := [][]float32{{1, 2, 3}, {1, 2, 3.1}, {3, -2, 1}, {3, -2, 1}}
	var similarity float64
	var alike bool
	var fused []float32
	var plan spec.FusionPlan
	if n := testing.AllocsPerRun(20, func() {
		for _, err := range []error{
			f.CosineSimilarity(&similarity, stack[0], stack[1]),
			f.ShouldFuse(&alike, stack[0], stack[1]),
			f.Fuse(&fused, stack[0], stack[1], 0.25),
			f.(spec.LayerFusionPlanner).PlanFusions(&plan, stack),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

// A plan reads layers in pairs, and the last one alone after a pair: a NaN is found
// wherever it stands.
func TestLayerFusionPlanFindsEveryNaN(t *testing.T) {
	f := newLayerFusion(t, 0.9).(spec.LayerFusionPlanner)
	for layers := 1; layers <= 5; layers++ {
		for at := range layers {
			for _, apart := range []float32{0, 1} { // all fuse, or none
				stack := make([][]float32, layers)
				for i := range stack {
					stack[i] = []float32{1, apart * float32(i%2*2-1)}
				}
				stack[at][1] = float32(math.NaN())
				var plan spec.FusionPlan
				if err := f.PlanFusions(&plan, stack); spec.KindOf(err) != spec.Invalid {
					t.Errorf("a NaN in layer %d of %d, %v apart: got %v, error %v", at, layers, apart, plan, err)
				}
			}
		}
	}
}

// Fuse looks at what it wrote: a weight of 0 must not hide what it stands before.
func TestLayerFusionRefusesWhatIsNotFinite(t *testing.T) {
	for _, w := range []float64{0, 0.5, 1} {
		for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			for side := range 2 {
				f := newLayerFusion(t, 0.9)
				pair := [2][]float32{{1, 2}, {3, 4}}
				pair[side][1] = float32(x)
				var fused []float32
				if err := f.Fuse(&fused, pair[0], pair[1], w); spec.KindOf(err) != spec.Invalid || f.Stats() != (spec.LayerFusionStats{}) {
					t.Errorf("%v in layer %d at w = %v: got %v, error %v, stats %v", x, side, w, fused, err, f.Stats())
				}
			}
		}
	}
}
