package kern

import "testing"

func TestAverage(t *testing.T) {
	testBlend(t, Average, averageGo)
}

func TestBlend(t *testing.T) {
	var v float64
	testBlend(t, func(dst, x, y []float32) bool {
		return Blend(dst, x, y, v, 1-v)
	}, func(dst, x, y []float32) float32 {
		v = []float64{0, 0.3, 1}[len(x)%3]
		return blendGo(dst, x, y, v, 1-v)
	})
}

func testBlend(t *testing.T, kernel func(dst, x, y []float32) bool, plain func(dst, x, y []float32) float32) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		draw := m.oneOf(ordinary, finite, anything)
		x, y, dst, want := floats(m, n, draw), floats(m, n, draw), take[float32](m, n), make([]float32, n)
		plain(want, x, y)
		wantFinite := true
		for _, v := range want {
			wantFinite = wantFinite && v-v == 0
		}
		if finite := kernel(dst, x, y); finite != wantFinite {
			t.Errorf("finite: %v, want %v", finite, wantFinite)
		}
		sameBits(t, "dst", dst, want)
		kernel(x, x, y)
		sameBits(t, "in place", x, want)
	})
}
