package audit

import (
	"math/rand/v2"

	"github.com/squishspec/squishspec/spec"
)

// gaussian is a matrix of Gaussian numbers.
func gaussian(rows, cols int, seed uint64) spec.Matrix {
	r := rand.New(rand.NewPCG(seed, 0x9a055))
	w := spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	for i := range w.Data {
		w.Data[i] = float32(r.NormFloat64())
	}
	return w
}

// thin sets a share of the weights to 0, here and there.
func thin(w []float32, share float64, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0x7b14))
	for _, i := range r.Perm(len(w))[:int(share*float64(len(w)))] {
		w[i] = 0
	}
}
