package ref_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

func newGPTQLayer(t *testing.T, change func(*spec.GPTQLayerConfig)) spec.GPTQLayer {
	t.Helper()
	c := spec.DefaultGPTQLayerConfig()
	change(&c)
	g, err := ref.NewGPTQLayer(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func gaussianMatrix(r *rand.Rand, rows, cols int) spec.Matrix {
	m := spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	for i := range m.Data {
		m.Data[i] = float32(r.NormFloat64())
	}
	return m
}

// Updates reach a weight in the order of the inputs, lazily or not: not a bit
// depends on the block size.
func TestGPTQLayerIsTheSameForEveryBlockSize(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	w, x := gaussianMatrix(r, 3, 17), gaussianMatrix(r, 30, 17)
	for _, group := range []int{0, 1, 5, 6, 100} {
		var want spec.QuantizedLayer
		for i, block := range []int{17, 1, 2, 4, 5, 16, math.MaxInt} {
			g := newGPTQLayer(t, func(c *spec.GPTQLayerConfig) { c.BlockSize, c.GroupSize, c.ActOrder = block, group, true })
			var got spec.QuantizedLayer
			if err := g.Calibrate(&got, w, x); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				want = got
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("groups of %d, blocks of %d (-whole +got):\n%s", group, block, diff)
			}
		}
	}
}

// Of inputs that are always equal the damping alone says what each is worth.
func TestGPTQLayerEscalatesTheDamping(t *testing.T) {
	w := spec.Matrix{Rows: 1, Cols: 3, Data: []float32{1, -2, 3}}
	x := spec.Matrix{Rows: 2, Cols: 3, Data: []float32{1, 1, 0, 0, 0, 1}}
	for _, c := range []struct{ damping, low, high float64 }{
		{0.01, 0.01, 0.01}, {1e-9, 1e-9, 1e-9}, {1e-14, 1e-13, 1e-12}, {1e-18, 1e-13, 1e-12}, {1e-20, 0, 0}, {1e-300, 0, 0},
	} {
		g := newGPTQLayer(t, func(config *spec.GPTQLayerConfig) { config.DampPercent = c.damping })
		var q spec.QuantizedLayer
		err := g.Calibrate(&q, w, x)
		if c.high == 0 {
			if !errors.Is(err, spec.Invalid) || g.Stats() != (spec.GPTQLayerStats{}) {
				t.Errorf("damping %v: error %v, stats %v, want it refused and not counted", c.damping, err, g.Stats())
			}
			continue
		}
		if slack := 1e-10; err != nil || q.DampPercent < c.low*(1-slack) || q.DampPercent > c.high*(1+slack) {
			t.Errorf("damping %v: took %v, error %v, want %v to %v", c.damping, q.DampPercent, err, c.low, c.high)
		}
	}
}

func TestGPTQLayerAtTheEndsOfFloat32(t *testing.T) {
	huge, tiny := float32(3e38), float32(math.SmallestNonzeroFloat32)
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		g := newGPTQLayer(t, func(c *spec.GPTQLayerConfig) { c.Variant, c.Symmetric = variant, false })
		for _, m := range []float32{huge, tiny} {
			for _, a := range []float32{huge, tiny} {
				w := spec.Matrix{Rows: 2, Cols: 2, Data: []float32{m, -m, 0, m}}
				x := spec.Matrix{Rows: 1, Cols: 2, Data: []float32{a, 0}}
				var q spec.QuantizedLayer
				if err := g.Calibrate(&q, w, x); err != nil {
					t.Errorf("%q: weights %v, activations %v: %v", variant, m, a, err)
				}
			}
		}
	}
}

// The last two inputs always occur together: of their weights, 0.4
// each, rounding to nearest loses both. GPTQ rounds the first down, and the second up
// for it.
func ExampleNewGPTQLayer() {
	config := spec.DefaultGPTQLayerConfig()
	config.NBits = 2
	g, err := ref.NewGPTQLayer(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	weights := spec.Matrix{Rows: 1, Cols: 3, Data: []float32{1, 0.4, 0.4}}
	activations := spec.Matrix{Rows: 2, Cols: 3, Data: []float32{
		1, 0, 0,
		0, 1, 1,
	}}
	var q spec.QuantizedLayer
	if err := g.Calibrate(&q, weights, activations); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("codes", q.Codes, "scale", q.Scales.Data, "weights", q.Weights.Data)
	fmt.Printf("loss %.4f with a damping of %v\n", q.Losses, q.DampPercent)
	// Output:
	// codes [1 0 1] scale [1] weights [1 0 1]
	// loss [0.0452] with a damping of 0.01
}
