package fast

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func newGPTQLayer(t *testing.T, change func(*spec.GPTQLayerConfig)) spec.GPTQLayer {
	t.Helper()
	c := spec.DefaultGPTQLayerConfig()
	change(&c)
	g, err := NewGPTQLayer(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func gaussianLayer(rows, cols, samples int) (w, x spec.Matrix) {
	r := rand.New(rand.NewPCG(5, 6))
	w.Resize(rows, cols)
	x.Resize(samples, cols)
	for _, data := range [][]float32{w.Data, x.Data} {
		for i := range data {
			data[i] = float32(r.NormFloat64())
		}
	}
	return w, x
}

func TestGPTQLayerAllocatesNothingInTheSteadyState(t *testing.T) {
	w, x := gaussianLayer(12, 12, 9)
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		g := newGPTQLayer(t, func(c *spec.GPTQLayerConfig) { c.Variant, c.ActOrder, c.GroupSize = variant, true, 5 })
		var q spec.QuantizedLayer
		if n := testing.AllocsPerRun(20, func() {
			if err := g.Calibrate(&q, w, x); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations a call", variant, n)
		}
	}
}

// TestGPTQLayerLossesAreThoseOfItsWeights takes several blocks and a last tile that is
// not full: losses come from T, and the form from weights and activations.
func TestGPTQLayerLossesAreThoseOfItsWeights(t *testing.T) {
	const rows, cols, samples = 7, 70, 90
	w, x := gaussianLayer(rows, cols, samples)
	for _, group := range []int{0, 16} {
		var codes []int16
		for _, block := range []int{128, 7} {
			g := newGPTQLayer(t, func(c *spec.GPTQLayerConfig) { c.BlockSize, c.GroupSize, c.ActOrder = block, group, true })
			var q spec.QuantizedLayer
			if err := g.Calibrate(&q, w, x); err != nil {
				t.Fatal(err)
			}
			trace := 0.0
			for _, v := range x.Data {
				trace += 2 * float64(v) * float64(v) / samples
			}
			for r := range rows {
				want := 0.0
				for s := range samples {
					out := 0.0
					for i, v := range x.Row(s) {
						out += float64(v) * (float64(w.Row(r)[i]) - float64(q.Weights.Row(r)[i]))
					}
					want += 2 * out * out / samples
				}
				for i := range cols {
					d := float64(w.Row(r)[i]) - float64(q.Weights.Row(r)[i])
					want += 0.01 * trace / cols * d * d
				}
				if math.Abs(q.Losses[r]-want) > 1e-9*want {
					t.Errorf("groups of %d, blocks of %d: losses[%d] = %v, want %v", group, block, r, q.Losses[r], want)
				}
			}
			if codes == nil {
				codes = slices.Clone(q.Codes)
			}
			if !slices.Equal(q.Codes, codes) {
				t.Errorf("groups of %d: blocks of %d have other codes", group, block)
			}
		}
	}
}

func TestGPTQLayerRefusesWhatNoDampingMakesRegular(t *testing.T) {
	g := newGPTQLayer(t, func(c *spec.GPTQLayerConfig) { c.DampPercent = 1e-30 })
	ones := spec.Matrix{Rows: 1, Cols: 3, Data: []float32{1, 1, 1}}
	var q spec.QuantizedLayer
	if err := g.Calibrate(&q, ones, ones); spec.KindOf(err) != spec.Invalid || g.Stats() != (spec.GPTQLayerStats{}) {
		t.Errorf("got %v, and stats %v", err, g.Stats())
	}
}

// TestGPTQLayerRefusesNonFiniteResults: an absurd damping has losses beyond float64.
func TestGPTQLayerRefusesNonFiniteResults(t *testing.T) {
	g := newGPTQLayer(t, func(c *spec.GPTQLayerConfig) { c.DampPercent = 1e300 })
	w, x := spec.Matrix{Rows: 1, Cols: 2, Data: []float32{1e10, 1e9}}, spec.Matrix{Rows: 1, Cols: 2, Data: []float32{1, 1}}
	var q spec.QuantizedLayer
	if err := g.Calibrate(&q, w, x); spec.KindOf(err) != spec.Invalid || g.Stats() != (spec.GPTQLayerStats{}) {
		t.Errorf("got %v, and stats %v", err, g.Stats())
	}
}
