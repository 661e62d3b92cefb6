package ulfactor

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

const tiny = 0x1p-44

// Blocks of rows, the last one not full, panels of columns, and several depths of them.
func TestFactorGivesTheMatrixBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var f Factorizer
	for _, n := range []int{1, 2, 3, 5, 6, 7, 8, 12, 13, 31, 70, 130, 270} {
		x := make([]float64, (n+3)*n)
		for i := range x {
			x[i] = r.NormFloat64()
		}
		stride := n + r.IntN(3)
		h := make([]float64, n*stride)
		for i := range n {
			for j := range n {
				for s := range n + 3 {
					h[i*stride+j] += x[s*n+i] * x[s*n+j]
				}
			}
		}
		factor := slices.Clone(h)
		if !f.Factor(factor, n, stride, tiny) {
			t.Fatalf("n = %d: no factor", n)
		}
		for i := range n {
			for j := range i + 1 {
				sum := 0.0
				for k := i; k < n; k++ {
					sum += factor[k*stride+i] * factor[k*stride+j]
				}
				if off := math.Abs(sum - h[i*stride+j]); off > 1e-13*math.Sqrt(h[i*stride+i]*h[j*stride+j]) {
					t.Fatalf("n = %d: TᵀT (%d, %d) is %v, want %v", n, i, j, sum, h[i*stride+j])
				}
			}
		}
	}
}

func TestFactorRefusesWhatIsNotPositiveDefinite(t *testing.T) {
	for name, h := range map[string][]float64{
		"zero":               {0},
		"negative":           {-1},
		"NaN":                {math.NaN()},
		"infinite":           {math.Inf(1)},
		"singular":           {1, 1, 1, 1},
		"indefinite":         {1, 2, 2, 1},
		"singular but for ε": {1 + 0x1p-50, 1, 1, 1 + 0x1p-50},
		"infinite elsewhere": {math.Inf(1), 0, 0, 1},
	} {
		n := int(math.Sqrt(float64(len(h))))
		if new(Factorizer).Factor(h, n, n, tiny) {
			t.Errorf("%s: has a factor", name)
		}
	}
}
