package fast

import (
	"math"
	"math/rand/v2"
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

// TestEmbeddingGateTellsRowsAtTheThreshold: rows whose score is within a few roundings
// of float32 of it go where float64 tells.
func TestEmbeddingGateTellsRowsAtTheThreshold(t *testing.T) {
	const dim = 301
	r := rand.New(rand.NewPCG(1, 2))
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		for range 200 {
			x, w := make([]float32, dim), make([]float32, dim)
			score, squareX, squareW := 0.0, 0.0, 0.0
			for i := range dim {
				w[i] = float32(r.NormFloat64())
				x[i] = w[i] + float32(r.NormFloat64())
				score += float64(x[i]) * float64(w[i])
				squareX += float64(x[i]) * float64(x[i])
				squareW += float64(w[i]) * float64(w[i])
			}
			if variant == spec.Documented {
				score /= math.Sqrt(squareX) * math.Sqrt(squareW)
			}
			off := 1e-8 * r.NormFloat64()
			g, err := NewEmbeddingGate(spec.EmbeddingGateConfig{Variant: variant, EmbedDim: dim, Threshold: score * (1 + off), NRoutes: 2})
			if err != nil {
				t.Fatal(err)
			}
			var out spec.GatedEmbeddings
			if err := g.(spec.EmbeddingGateWeights).SetWeights(w); err != nil {
				t.Fatal(err)
			}
			if err := g.Gate(&out, spec.Matrix{Rows: 1, Cols: dim, Data: x}); err != nil {
				t.Fatal(err)
			}
			if (out.Route[0] == 1) != (off <= 0) {
				t.Fatalf("%q, a threshold off by %v: route %d", variant, off, out.Route[0])
			}
		}
	}
}
