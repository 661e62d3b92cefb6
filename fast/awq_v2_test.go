package fast

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

func TestAWQv2AllocatesNothingInTheSteadyState(t *testing.T) {
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		for _, samples := range []int{3, 30} { // fewer and more than inputs
			q, err := NewAWQv2(spec.AWQv2Config{Variant: variant, NBits: 4, GroupSize: 8, NSearchSteps: 5})
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, 1))
			random := func(rows, cols int) spec.Matrix {
				m := spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
				for i := range m.Data {
					m.Data[i] = float32(r.NormFloat64())
				}
				return m
			}
			weights, activations := random(4, 19), random(samples, 19)
			int4 := q.(spec.AWQInt4)
			var s spec.AWQScales
			var w spec.AWQWeights
			var back spec.Matrix
			var packed, codes []uint8
			if n := testing.AllocsPerRun(20, func() {
				for _, err := range [...]error{
					q.Calibrate(&s, weights, activations),
					q.Quantize(&w, weights, s.Scales, s.Shifts),
					q.Dequantize(&back, w.Codes, s.Scales, s.Shifts, w.GroupScales, w.ZeroPoints),
					int4.PackInt4(&packed, w.Codes),
					int4.UnpackInt4(&codes, packed, len(w.Codes)),
				} {
					if err != nil {
						t.Fatal(err)
					}
				}
			}); n != 0 {
				t.Errorf("%s, %d samples: %v allocations a round", variant, samples, n)
			}
		}
	}
}

// What the search chooses must be as good as what the reference does, on weights of more
// rows, channels and samples than are worked on at a time, and with groups of whole
// vectors and not.
func TestAWQv2SearchesLargeWeights(t *testing.T) {
	for _, on := range []struct {
		config spec.AWQv2Config
		loud   float64 // the activations' factor
	}{
		{spec.AWQv2Config{NBits: 4, GroupSize: 128, NSearchSteps: 6}, 1},
		{spec.AWQv2Config{NBits: 4, GroupSize: 128, NSearchSteps: 3}, 1e30},
		{spec.AWQv2Config{NBits: 4, GroupSize: 128, NSearchSteps: 3}, 1e-30},
		{spec.AWQv2Config{NBits: 3, GroupSize: 100, NSearchSteps: 6}, 1},
		{spec.AWQv2Config{Variant: spec.Squish6, NBits: 4, GroupSize: 128, NSearchSteps: 20}, 1},
	} {
		config := on.config
		const rows, cols, samples = awqRows + 7, awqDeep + 21, awqWide + 9
		r := rand.New(rand.NewPCG(5, 6))
		weights, activations := awqMatrix(r, rows, cols), awqMatrix(r, samples, cols)
		for c := range cols {
			loud := float32(on.loud * math.Exp(1.5*r.NormFloat64()))
			for n := range samples {
				activations.Row(n)[c] *= loud
			}
		}
		own, err := NewAWQv2(config)
		if err != nil {
			t.Fatal(err)
		}
		reference, err := ref.NewAWQv2(config)
		if err != nil {
			t.Fatal(err)
		}
		var got, want spec.AWQScales
		if err := own.Calibrate(&got, weights, activations); err != nil {
			t.Fatal(err)
		}
		if err := reference.Calibrate(&want, weights, activations); err != nil {
			t.Fatal(err)
		}
		for c, s := range want.Scales {
			if math.Abs(float64(got.Scales[c]-s)) > 1e-5*float64(s) {
				t.Fatalf("%v: scales[%d] is %v, want %v", config, c, got.Scales[c], s)
			}
		}
		if !slices.Equal(got.Shifts, want.Shifts) {
			t.Errorf("%v: shifts differ", config)
		}
		var gotWeights, wantWeights spec.AWQWeights
		if err := own.Quantize(&gotWeights, weights, want.Scales, want.Shifts); err != nil {
			t.Fatal(err)
		}
		if err := reference.Quantize(&wantWeights, weights, want.Scales, want.Shifts); err != nil {
			t.Fatal(err)
		}
		differ := 0
		for i, code := range wantWeights.Codes {
			if gotWeights.Codes[i] != code {
				differ++
			}
		}
		if differ > 3 || !slices.Equal(gotWeights.ZeroPoints, wantWeights.ZeroPoints) {
			t.Errorf("%v: %d codes differ", config, differ)
		}
	}
}

func awqMatrix(r *rand.Rand, rows, cols int) spec.Matrix {
	m := spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	for i := range m.Data {
		m.Data[i] = float32(r.NormFloat64())
	}
	return m
}

func BenchmarkAWQv2(b *testing.B) {
	for _, n := range [][2]int{{128, 256}, {4096, 4096}} {
		for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
			config := spec.DefaultAWQv2Config()
			config.Variant = variant
			q, err := NewAWQv2(config)
			if err != nil {
				b.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, 1))
			weights, activations := awqMatrix(r, n[0], n[1]), awqMatrix(r, 128, n[1])
			var s spec.AWQScales
			var w spec.AWQWeights
			var back spec.Matrix
			name := fmt.Sprintf("%s/%d×%d", variant, n[0], n[1])
			for _, operation := range []struct {
				name string
				call func() error
			}{
				{"calibrate", func() error { return q.Calibrate(&s, weights, activations) }},
				{"quantize", func() error { return q.Quantize(&w, weights, s.Scales, s.Shifts) }},
				{"dequantize", func() error { return q.Dequantize(&back, w.Codes, s.Scales, s.Shifts, w.GroupScales, w.ZeroPoints) }},
			} {
				b.Run(operation.name+"/"+name, func(b *testing.B) {
					if err := q.Calibrate(&s, weights, activations); err != nil {
						b.Fatal(err)
					}
					if err := q.Quantize(&w, weights, s.Scales, s.Shifts); err != nil {
						b.Fatal(err)
					}
					for b.Loop() {
						if err := operation.call(); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// A row of tiny weights sends the candidates that scale them down to float64, and not
// the others.
func TestAWQv2ComparesErrorsOfBothPrecisions(t *testing.T) {
	config := spec.AWQv2Config{NBits: 4, GroupSize: 16, NSearchSteps: 8}
	own, err := NewAWQv2(config)
	if err != nil {
		t.Fatal(err)
	}
	reference, err := ref.NewAWQv2(config)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 8))
	for range 20 {
		weights, activations := awqMatrix(r, 6, 32), awqMatrix(r, 5, 32)
		for c := range 32 {
			weights.Row(0)[c] *= 0x1p-97
			loud := 1e6
			if c >= 16 { // a group that is scaled down
				loud = 1e2
			}
			for n := range 5 {
				activations.Row(n)[c] *= float32(loud)
			}
		}
		var got, want spec.AWQScales
		if err := own.Calibrate(&got, weights, activations); err != nil {
			t.Fatal(err)
		}
		if err := reference.Calibrate(&want, weights, activations); err != nil {
			t.Fatal(err)
		}
		for c, s := range want.Scales {
			if math.Abs(float64(got.Scales[c]-s)) > 1e-5*float64(s) {
				t.Fatalf("scales[%d] is %v, want %v", c, got.Scales[c], s)
			}
		}
	}
}
