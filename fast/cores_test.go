package fast

import (
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

// Weights that are large enough to be shared by the cores come to the same on one core
// and on several.
func TestQuantisersDoNotDependOnTheCores(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	matrix := func(rows, cols int) spec.Matrix {
		m := spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
		for i := range m.Data {
			m.Data[i] = float32(r.Float64()+r.Float64()) - 1
		}
		return m
	}
	large, wide := matrix(2800, 1800), matrix(80, 2000)
	one, samples := matrix(1, 1800), matrix(30, 2000)
	results := func() (list []any) {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		ternary, err := NewTernaryQuant(spec.DefaultTernaryQuantConfig())
		must(err)
		var codes spec.TernaryWeights
		var weights []float32
		must(ternary.Quantize(&codes, large.Data))
		must(ternary.Dequantize(&weights, codes.Codes, codes.Scale))
		list = append(list, codes, weights, ternary.Stats())

		zero, err := NewZeroQuantV2(spec.ZeroQuantV2Config{NBits: 8, GroupSize: 120, OutlierThreshold: 0.9})
		must(err)
		var separated spec.ZeroQuantWeights
		var back spec.Matrix
		must(zero.Quantize(&separated, large))
		must(zero.Dequantize(&back, separated.Codes, separated.Scales, separated.Residual, separated.LorcU, separated.LorcV))
		list = append(list, separated, back, zero.Stats())

		for _, method := range calibrationMethods {
			config := spec.DefaultQuantCalibConfig()
			config.Method = method
			calib, err := NewQuantCalib(config)
			must(err)
			var c spec.QuantCalibration
			must(calib.Calibrate(&c, large))
			list = append(list, c)
		}

		for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
			awq, err := NewAWQv2(spec.AWQv2Config{Variant: variant, NBits: 4, GroupSize: 128, NSearchSteps: 3})
			must(err)
			var s spec.AWQScales
			var w spec.AWQWeights
			var back spec.Matrix
			must(awq.Calibrate(&s, wide, samples))
			must(awq.Quantize(&w, wide, s.Scales, s.Shifts))
			list = append(list, s, w)
			s, w = spec.AWQScales{}, spec.AWQWeights{}
			must(awq.Calibrate(&s, large, one))
			must(awq.Quantize(&w, large, s.Scales, s.Shifts))
			must(awq.Dequantize(&back, w.Codes, s.Scales, s.Shifts, w.GroupScales, w.ZeroPoints))
			list = append(list, s, w, back)
		}
		return list
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	want := results()
	runtime.GOMAXPROCS(3)
	for i, got := range results() {
		if !reflect.DeepEqual(got, want[i]) {
			t.Errorf("result %d, %T, is another on three cores", i, got)
		}
	}
}
