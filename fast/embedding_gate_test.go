package fast

import (
	"math"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestEmbeddingGateAllocatesNothingInTheSteadyState(t *testing.T) {
	g, err := NewEmbeddingGate(spec.EmbeddingGateConfig{EmbedDim: 3, Threshold: 0.5, NRoutes: 2})
	if err != nil {
		t.Fatal(err)
	}
	x := spec.Matrix{Rows: 2, Cols: 3, Data: []float32{1, 2, 3, -1, 0, 1}}
	var out spec.GatedEmbeddings
	if n := testing.AllocsPerRun(20, func() {
		if err := g.Gate(&out, x); err != nil {
			t.Fatal(err)
		}
		if err := g.(spec.EmbeddingGateWeights).SetWeights(x.Row(0)); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

// TestEmbeddingGateRefusesALateNaN: rows before it are already routed when it is
// found, and none of them may count.
func TestEmbeddingGateRefusesALateNaN(t *testing.T) {
	g, err := NewEmbeddingGate(spec.EmbeddingGateConfig{EmbedDim: 1, Threshold: 0.5, NRoutes: 2})
	if err != nil {
		t.Fatal(err)
	}
	var out spec.GatedEmbeddings
	err = g.Gate(&out, spec.Matrix{Rows: 3, Cols: 1, Data: []float32{1, -1, float32(math.NaN())}})
	if spec.KindOf(err) != spec.Invalid || g.Stats() != (spec.EmbeddingGateStats{}) {
		t.Errorf("got %v, and stats %v", err, g.Stats())
	}
}
