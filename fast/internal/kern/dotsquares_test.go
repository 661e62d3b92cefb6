package kern

import "testing"

func TestDotSquares(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		draw := m.oneOf(ordinary, finite, anything)
		x, y := floats(m, n, draw), floats(m, n+m.r.IntN(2), draw)
		terms := func(x, y []float32) []float64 {
			out := make([]float64, n)
			for i := range out {
				out[i] = float64(x[i]) * float64(y[i])
			}
			return out
		}
		xy, xx, yy := DotSquares(x, y)
		nearSum(t, "x·y", float64(xy), terms(x, y))
		nearSum(t, "x·x", float64(xx), terms(x, x))
		nearSum(t, "y·y", float64(yy), terms(y, y))
		if xx, sameX, sameY := DotSquares(x, x); xx == xx && (xx != sameX || xx != sameY) {
			t.Errorf("a slice with itself: %v, %v, %v", xx, sameX, sameY)
		}
	})
}
