package kern

import (
	"math"
	"testing"
)

func TestProducts(t *testing.T) {
	eachLength(t, func(t *testing.T, cols int, m *memory) {
		n := m.r.IntN(8)
		draw := oneOf(m, ordinary, finite, anything)
		x, w := floats(m, n*cols, draw), floats(m, cols, draw)
		dots, squares := take[float32](m, n), take[float32](m, n)
		RowDotsSquares(dots, squares, x, w)
		before := floats(m, n, ordinary)
		addedNorms, addedDots := take[float32](m, n), take[float32](m, n)
		copy(addedNorms, before)
		copy(addedDots, before)
		AddRowNorms(addedNorms, x)
		AddRowDots(addedDots, x, w)
		norms, sums := make([]float32, n), make([]float32, n)
		for r, b := range before {
			norms[r], sums[r] = b+float32(math.Sqrt(float64(squares[r]))), b+dots[r]
		}
		sameBits(t, "norms added", addedNorms, norms)
		sameBits(t, "dots added", addedDots, sums)
		for r := range n {
			product, square := make([]float64, cols), make([]float64, cols)
			for i, v := range x[r*cols:][:cols] {
				product[i], square[i] = float64(v)*float64(w[i]), float64(v)*float64(v)
			}
			nearSum(t, "square", float64(squares[r]), square)
			nearSum(t, "dot", float64(dots[r]), product)
		}
	})
}
