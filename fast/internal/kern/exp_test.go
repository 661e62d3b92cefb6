package kern

import (
	"math"
	"testing"
)

func TestExp(t *testing.T) { testFunction(t, Exp, math.Exp, -110, 95) }

func TestLog(t *testing.T) { testFunction(t, Log, math.Log, 0, 4) }

// testFunction compares a kernel with the function in float64, within 2 ULP, on
// any number and on those of the interesting range.
func testFunction(t *testing.T, kernel func(dst, x []float32), f func(float64) float64, low, high float64) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		x := floats(m, n, anything)
		for i := range x {
			if m.r.IntN(2) == 0 {
				x[i] = float32(low + (high-low)*m.r.Float64())
			}
		}
		want := make([]float32, n)
		for i, v := range x {
			want[i] = float32(f(float64(v)))
		}
		dst := take[float32](m, n)
		kernel(dst, x)
		withinULPs(t, "dst", dst, want, 2)
		kernel(x, x)
		sameBits(t, "in place", x, dst)
	})
}

func BenchmarkExp(b *testing.B) { benchmarkFunction(b, Exp) }

func BenchmarkLog(b *testing.B) { benchmarkFunction(b, Log) }

func benchmarkFunction(b *testing.B, kernel func(dst, x []float32)) {
	x, dst := make([]float32, 4096), make([]float32, 4096)
	for i := range x {
		x[i] = float32(i) / 100
	}
	for _, tier := range Tiers() {
		b.Run(string(tier), func(b *testing.B) {
			defer Force(tier)()
			for b.Loop() {
				kernel(dst, x)
			}
			b.ReportMetric(float64(len(x))*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "elements/ns")
		})
	}
}
