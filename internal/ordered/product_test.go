package ordered

import (
	"math/rand/v2"
	"testing"
)

// TestProductIsItsDefinition for sizes around the blocks.
func TestProductIsItsDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	some := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		return x
	}
	for n := range 6 {
		for rows := range 10 {
			for _, cols := range []int{0, 1, 2, 7} {
				x, w, before := some(n*cols), some(rows*cols), some(n*rows)
				for _, add := range []bool{false, true} {
					dst := append([]float32(nil), before...)
					Product(dst, x, w, n, rows, cols, add)
					for i := range n {
						for k := range rows {
							var want float32
							for j := range cols {
								want += float32(x[i*cols+j] * w[k*cols+j])
							}
							if add {
								want += before[i*rows+k]
							}
							if got := dst[i*rows+k]; got != want {
								t.Fatalf("(%d, %d)·(%d, %d)ᵀ, add %v: element %d, %d: got %v, want %v", n, cols, rows, cols, add, i, k, got, want)
							}
						}
					}
				}
			}
		}
	}
}
