package kern

import "testing"

func TestDot(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		for _, draw := range []style{ordinary, finite, anything} {
			x, y := floats(m, n, draw), floats(m, n+m.r.IntN(2), draw)
			terms := make([]float64, n)
			for i, v := range x {
				terms[i] = float64(v) * float64(y[i])
			}
			nearSum(t, "Dot", float64(Dot(x, y)), terms)
		}
	})
}
