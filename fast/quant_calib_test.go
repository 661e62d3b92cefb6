package fast

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

var calibrationMethods = []spec.CalibrationMethod{spec.CalibrateMinMax, spec.CalibratePercentile, spec.CalibrateMSE}

// calibSamples are activations of more channels than are read at a time, each
// louder than the one before, the last of them zeros.
func calibSamples(rows, cols int) spec.Matrix {
	x := spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	for r := range rows {
		for c := range cols - 1 {
			x.Row(r)[c] = float32(math.Sin(float64(r*r+c)) * float64(c+1))
		}
	}
	return x
}

func TestQuantCalibAllocatesNothingInTheSteadyState(t *testing.T) {
	for _, method := range calibrationMethods {
		for _, perChannel := range []bool{true, false} {
			config := spec.DefaultQuantCalibConfig()
			config.Method, config.PerChannel = method, perChannel
			q, err := NewQuantCalib(config)
			if err != nil {
				t.Fatal(err)
			}
			x := calibSamples(50, 20)
			var out spec.QuantCalibration
			if n := testing.AllocsPerRun(10, func() {
				if err := q.Calibrate(&out, x); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%s, one scale a channel %v: %v allocations a call", method, perChannel, n)
			}
		}
	}
}

// TestQuantCalibOfManyChannels reads the channels in several parts.
func TestQuantCalibOfManyChannels(t *testing.T) {
	for _, cols := range []int{kern.PanelColumns - 1, kern.PanelColumns, kern.PanelColumns + 1, 2*kern.PanelColumns + 3} {
		x := calibSamples(60, cols)
		for _, method := range calibrationMethods {
			config := spec.DefaultQuantCalibConfig()
			config.Method, config.Percentile = method, 90
			own, err := NewQuantCalib(config)
			if err != nil {
				t.Fatal(err)
			}
			reference, err := ref.NewQuantCalib(config)
			if err != nil {
				t.Fatal(err)
			}
			var got, want spec.QuantCalibration
			if err := own.Calibrate(&got, x); err != nil {
				t.Fatal(err)
			}
			if err := reference.Calibrate(&want, x); err != nil {
				t.Fatal(err)
			}
			for i, scale := range want.Scales {
				if math.Abs(float64(got.Scales[i]-scale)) > 1e-6*float64(scale) {
					t.Errorf("%s of %d channels: scales[%d] is %v, want %v", method, cols, i, got.Scales[i], scale)
				}
			}
		}
	}
}

func BenchmarkQuantCalib(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range [][2]int{{128, 256}, {4096, 4096}} {
		x := spec.Matrix{Rows: n[0], Cols: n[1], Data: make([]float32, n[0]*n[1])}
		for i := range x.Data {
			x.Data[i] = float32(r.NormFloat64())
		}
		for _, method := range calibrationMethods {
			config := spec.DefaultQuantCalibConfig()
			config.Method = method
			q, err := NewQuantCalib(config)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("%s/%d×%d", method, n[0], n[1]), func(b *testing.B) {
				var out spec.QuantCalibration
				for b.Loop() {
					if err := q.Calibrate(&out, x); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
