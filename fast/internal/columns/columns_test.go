package columns

import (
	"math"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

// Small integers have exact sums, whatever the order.
func TestDotsOfEveryWidth(t *testing.T) {
	for rows := range 6 {
		for cols := range 11 {
			var m spec.Matrix
			m.Resize(rows, cols)
			for i := range m.Data {
				m.Data[i] = float32(i*i%17 - 8)
			}
			x := make([]float32, rows)
			want := make([]float64, cols)
			for r := range x {
				x[r] = float32(3 - r)
				for c, w := range m.Row(r) {
					want[c] += float64(x[r]) * float64(w)
				}
			}
			c := Of(m)
			clear(m.Data) // the columns are copies
			got := make([]float64, cols+1)
			got[cols] = 42
			c.Dots(got[:cols], x)
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("(%d, %d), column %d: got %v, want %v", rows, cols, i, got[i], want[i])
				}
			}
			if got[cols] != 42 {
				t.Errorf("(%d, %d): writes past its last column", rows, cols)
			}
		}
	}
}

func TestANumberThatIsNotFiniteShowsInEveryColumn(t *testing.T) {
	c := Of(spec.Matrix{Rows: 2, Cols: 5, Data: []float32{0, 1, -1, 0, 3, 0, 2, 0, -4, 5}})
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		out := make([]float64, 5)
		c.Dots(out, []float32{1, float32(bad)})
		for i, x := range out {
			if x-x == 0 {
				t.Errorf("%v, column %d: got %v", bad, i, x)
			}
		}
	}
}
