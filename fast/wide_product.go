package fast

import (
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/spec"
)

// A wideProduct multiplies factors in float64: for those of which a product or a sum on
// the way might be beyond float32, though no result is.
type wideProduct struct{ right, row, sums []float64 }

// write writes from + u·diag(s)·v. No from stands for zeros, and no s for ones.
func (p *wideProduct) write(dst spec.Matrix, from, u, s, v []float32) {
	rows, cols := dst.Rows, dst.Cols
	k := len(u) / rows
	p.right, p.row, p.sums = spec.Resize(p.right, k*cols), spec.Resize(p.row, k), spec.Resize(p.sums, cols)
	kern.Widen(p.right, v)
	for r := range rows {
		kern.Widen(p.row, u[r*k:(r+1)*k])
		for i, x := range s {
			p.row[i] *= float64(x)
		}
		kern.GemmDouble(p.sums, cols, nil, 0, p.row, k, 1, p.right, cols, 1, cols, k)
		row := dst.Row(r)
		for c, x := range p.sums {
			if from != nil {
				x += float64(from[r*cols+c])
			}
			row[c] = float32(x)
		}
	}
}
