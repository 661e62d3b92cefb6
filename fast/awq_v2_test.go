package fast

import (
	"math/rand/v2"
	"testing"

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
