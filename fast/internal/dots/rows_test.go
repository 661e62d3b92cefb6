package dots

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

// TestRowsAtEveryMagnitude: every way to a product is near to float64's, whether
// float32 holds it or not, and is not finite where an element is not.
func TestRowsAtEveryMagnitude(t *testing.T) {
	const n, cols = 7, 37
	r := rand.New(rand.NewPCG(1, 2))
	var rows Rows
	for _, scale := range []float64{1, 0x1p-140, 0x1p-60, 0x1p-40, 0x1p40, 0x1p60, 0x1p120} {
		x, w := spec.Matrix{Rows: n, Cols: cols, Data: make([]float32, n*cols)}, make([]float32, cols)
		for _, data := range [][]float32{x.Data, w} {
			for i := range data {
				data[i] = float32(scale * r.NormFloat64())
			}
		}
		x.Row(3)[5] = float32(math.Inf(1))
		rows.Set(x, w)
		for i := range n {
			row := x.Row(i)
			dot, square := Exact(row, w), Exact(row, row)
			bound := cols * 0x1p-24 * math.Sqrt(square*Exact(w, w))
			ofRows, squareOfRows := rows.At(i)
			alone, squareAlone := WithSquare(row, w)
			for _, got := range []float64{ofRows, alone, Dot(row, w)} {
				if i == 3 && !math.IsInf(got, 0) || i != 3 && !(math.Abs(got-dot) <= bound) {
					t.Errorf("scale %v: row %d: product %v, want %v", scale, i, got, dot)
				}
			}
			for _, got := range []float64{squareOfRows, squareAlone} {
				if i == 3 && !math.IsInf(got, 1) || i != 3 && !(math.Abs(got-square) <= cols*0x1p-24*square) {
					t.Errorf("scale %v: row %d: square %v, want %v", scale, i, got, square)
				}
			}
		}
	}
}
