package llama

import (
	"github.com/squishspec/squishspec/fast/matrix"
	"github.com/squishspec/squishspec/spec"
)

// A vectors computes what takes time in float32, with the vector instructions of
// package fast. An element's sum runs in an order that depends on its length alone,
// so that here too no token's result depends on what is computed together with it.
type vectors struct {
	multiplier matrix.Multiplier
	wide       []float32 // some rows of a matrix that is stored as halves
}

// widened is how many rows of halves are widened at once.
const widened = 64

// product computes dst = x·Wᵀ for n rows of x.
func (v *vectors) product(dst, x []float32, n int, w *Matrix) {
	rows, cols := w.Rows, w.Cols
	a := matrix.Rows(x, n, cols, cols)
	if w.full != nil {
		v.multiplier.Multiply(matrix.Rows(dst, n, rows, rows), a, matrix.Rows(w.full, rows, cols, cols).T())
		return
	}
	v.wide = spec.Resize(v.wide, widened*cols)
	for from := 0; from < rows; from += widened {
		count := min(widened, rows-from)
		for r := range count {
			row(w, from+r, v.wide[r*cols:][:cols])
		}
		v.multiplier.Multiply(matrix.Rows(dst[from:], n, count, rows), a, matrix.Rows(v.wide, count, cols, cols).T())
	}
}

func (v *vectors) scoreKeys(scores, queries, keys []float32, tokens, down, dim int) {
	group := len(queries) / dim
	v.multiplier.Multiply(matrix.Rows(scores, group, tokens, tokens), matrix.Rows(queries, group, dim, dim), matrix.Rows(keys, tokens, dim, down).T())
}

func (v *vectors) addValues(out, weights, values []float32, tokens, down, dim int) {
	group := len(out) / dim
	v.multiplier.Multiply(matrix.Rows(out, group, dim, dim), matrix.Rows(weights, group, tokens, tokens), matrix.Rows(values, tokens, dim, down))
}
