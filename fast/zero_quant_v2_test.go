package fast

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestZeroQuantV2AllocatesNothingInTheSteadyState(t *testing.T) {
	q, err := NewZeroQuantV2(spec.ZeroQuantV2Config{NBits: 4, GroupSize: 9, OutlierThreshold: 0.9, LorcRank: 2})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	weights := spec.Matrix{Rows: 5, Cols: 27, Data: make([]float32, 5*27)}
	for i := range weights.Data {
		weights.Data[i] = float32(r.NormFloat64())
	}
	storage := q.(spec.ZeroQuantStorage)
	var w spec.ZeroQuantWeights
	var back spec.Matrix
	var stored spec.ZeroQuantStored
	var restored spec.ZeroQuantRestored
	if n := testing.AllocsPerRun(20, func() {
		for _, err := range [...]error{
			q.Quantize(&w, weights),
			q.Dequantize(&back, w.Codes, w.Scales, w.Residual, w.LorcU, w.LorcV),
			storage.Store(&stored, w.Codes, w.Residual),
			storage.Restore(&restored, stored.Codes, stored.Indices, stored.Values, 5, 27),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
}

// A NaN is found when groups before it are already quantised; none may count.
func TestZeroQuantV2RefusesALateNaN(t *testing.T) {
	q, err := NewZeroQuantV2(spec.ZeroQuantV2Config{NBits: 8, GroupSize: 8, OutlierThreshold: 0.9})
	if err != nil {
		t.Fatal(err)
	}
	weights := spec.Matrix{Rows: 2, Cols: 8, Data: make([]float32, 16)}
	weights.Data[15] = float32(math.NaN())
	var w spec.ZeroQuantWeights
	if err := q.Quantize(&w, weights); spec.KindOf(err) != spec.Invalid || q.Stats() != (spec.ZeroQuantV2Stats{}) {
		t.Errorf("got %v, and stats %v", err, q.Stats())
	}
}

// The inverse of such a group's step is beyond float32, and those beside it are not.
func TestZeroQuantV2QuantizesTinyGroups(t *testing.T) {
	config := spec.ZeroQuantV2Config{NBits: 8, GroupSize: 16, OutlierThreshold: 0.9}
	q, err := NewZeroQuantV2(config)
	if err != nil {
		t.Fatal(err)
	}
	weights := awqMatrix(rand.New(rand.NewPCG(1, 1)), 1, 64)
	for i := range 16 {
		weights.Data[16+i] *= 0x1p-125
		weights.Data[32+i] = 0
	}
	var w spec.ZeroQuantWeights
	if err := q.Quantize(&w, weights); err != nil {
		t.Fatal(err)
	}
	for i, x := range weights.Data {
		back := float64(w.Codes[i])*float64(w.Scales.Data[i/16]) + float64(w.Residual.Data[i])
		if off := math.Abs(back - float64(x)); off > 0.5001*float64(w.Scales.Data[i/16])+127*0x1p-150 {
			t.Errorf("weight %d, %v: code %d and residual %v, %v off", i, x, w.Codes[i], w.Residual.Data[i], off)
		}
	}
}

// Where code × scale overflows float32, the residual may bring it back.
func TestZeroQuantV2DequantizesBeyondFloat32(t *testing.T) {
	q, err := NewZeroQuantV2(spec.ZeroQuantV2Config{NBits: 8, GroupSize: 8, OutlierThreshold: 0.9})
	if err != nil {
		t.Fatal(err)
	}
	const huge = math.MaxFloat32
	residual := spec.Matrix{Rows: 1, Cols: 8, Data: []float32{0, -huge, huge, 1, 0, 0, 0, 0}}
	scales := spec.Matrix{Rows: 1, Cols: 1, Data: []float32{huge / 2}}
	var back spec.Matrix
	if err := q.Dequantize(&back, []int8{3, 3, 2, 0, -3, 0, 0, 0}, scales, residual, spec.Matrix{}, spec.Matrix{}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []float32{huge, huge / 2, huge, 1, -huge, 0, 0, 0} {
		if got := back.Data[i]; math.Abs(float64(got)-float64(want)) > 0x1p-23*math.Abs(float64(want)) {
			t.Errorf("weights[%d]: got %v, want %v", i, got, want)
		}
	}
}

func BenchmarkZeroQuantV2(b *testing.B) {
	for _, n := range [][2]int{{256, 256}, {4096, 4096}} {
		q, err := NewZeroQuantV2(spec.DefaultZeroQuantV2Config())
		if err != nil {
			b.Fatal(err)
		}
		weights := awqMatrix(rand.New(rand.NewPCG(1, 1)), n[0], n[1])
		var w spec.ZeroQuantWeights
		var back spec.Matrix
		b.Run(fmt.Sprintf("quantize/%d×%d", n[0], n[1]), func(b *testing.B) {
			for b.Loop() {
				if err := q.Quantize(&w, weights); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("dequantize/%d×%d", n[0], n[1]), func(b *testing.B) {
			for b.Loop() {
				if err := q.Dequantize(&back, w.Codes, w.Scales, w.Residual, w.LorcU, w.LorcV); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
