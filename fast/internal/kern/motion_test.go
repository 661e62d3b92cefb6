package kern

import (
	"math"
	"slices"
	"testing"
)

func TestDistance(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		draw := oneOf(m, ordinary, finite, anything)
		a, b := floats(m, n, draw), floats(m, n+m.r.IntN(2), draw)
		apart, sizes := make([]float64, n), make([]float64, n)
		for i, v := range a {
			apart[i] = math.Abs(float64(v) - float64(b[i]))
			sizes[i] = math.Abs(float64(v))
		}
		distance, size := Distance(a, b)
		nearSum(t, "distance", float64(distance), apart)
		nearSum(t, "size", float64(size), sizes)
		if n > 0 {
			copy(b, a)
			i := m.r.IntN(n)
			b[i] = math.Nextafter32(a[i], 0)
			if d, _ := Distance(a, b); d == 0 && b[i] != a[i] {
				t.Errorf("%v and %v have no distance", a[i], b[i])
			}
		}
	})
}

func TestFinite(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		x := floats(m, n, finite)
		if !AllFinite(x) {
			t.Error("finite numbers are not all finite")
		}
		if n == 0 {
			return
		}
		if low, high, all := Extremes(x); low != slices.Min(x) || high != slices.Max(x) || !all {
			t.Errorf("extremes %v, %v, %v, want %v, %v", low, high, all, slices.Min(x), slices.Max(x))
		}
		x[m.r.IntN(n)] = []float32{float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}[m.r.IntN(3)]
		if AllFinite(x) {
			t.Error("what is not finite is")
		}
		if _, _, all := Extremes(x); all {
			t.Error("extremes: what is not finite is")
		}
	})
}
