package ulfactor

import (
	"math"
	"math/rand/v2"
	"testing"
)

const tiny = 0x1p-44

func TestFactorGivesTheMatrixBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := 1; n <= 12; n++ {
		x := make([]float64, (n+3)*n)
		for i := range x {
			x[i] = r.NormFloat64()
		}
		h := make([]float64, n*n)
		for i := range n {
			for j := range n {
				for s := range n + 3 {
					h[i*n+j] += x[s*n+i] * x[s*n+j]
				}
			}
		}
		f := append([]float64{}, h...)
		if !Factor(f, n, tiny, make([]float64, n)) {
			t.Fatalf("n = %d: no factor", n)
		}
		for i := range n {
			for j := range i + 1 {
				sum := 0.0
				for k := i; k < n; k++ {
					sum += f[k*n+i] * f[k*n+j]
				}
				if off := math.Abs(sum - h[i*n+j]); off > 1e-14*math.Sqrt(h[i*n+i]*h[j*n+j]) {
					t.Errorf("n = %d: TᵀT (%d, %d) is %v, want %v", n, i, j, sum, h[i*n+j])
				}
				if i != j && f[j*n+i] != h[j*n+i] {
					t.Errorf("n = %d: (%d, %d) above the diagonal has changed", n, j, i)
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
		if Factor(h, n, tiny, make([]float64, n)) {
			t.Errorf("%s: has a factor", name)
		}
	}
}
