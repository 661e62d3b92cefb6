package attn

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// drawSmall draws integers whose sums of products are exact.
func drawSmall(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.IntN(17) - 8)
	}
	return x
}

func TestKernelsOfEveryLength(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for dim := range 9 {
		for keys := range 2*group + 2 {
			query, rows, weights, sums := drawSmall(r, dim), drawSmall(r, dim*keys), drawSmall(r, keys), drawSmall(r, dim)
			wantDots, wantSums := make([]float32, keys), slices.Clone(sums)
			for j := range keys {
				for i := range dim {
					wantDots[j] += query[i] * rows[j*dim+i]
					wantSums[i] += weights[j] * rows[j*dim+i]
				}
			}
			got := make([]float32, keys)
			dots(got, query, rows)
			if !slices.Equal(got, wantDots) {
				t.Fatalf("dots of dim %d, %d keys: got %v, want %v", dim, keys, got, wantDots)
			}
			addWeighted(sums, weights, rows)
			if !slices.Equal(sums, wantSums) {
				t.Fatalf("addWeighted of dim %d, %d keys: got %v, want %v", dim, keys, sums, wantSums)
			}
		}
	}
}

func TestExp2IsWithinItsBound(t *testing.T) {
	worst := 0.0
	for i := range 126 << 10 {
		x := -float64(i) / 1024
		worst = max(worst, math.Abs(exp2(x)/math.Exp2(x)-1))
	}
	if worst > 0x1p-27 || exp2(0) != 1 || exp2(-126) != 0x1p-126 {
		t.Errorf("off by %v at most, 2⁰ %v, 2⁻¹²⁶ %v", worst, exp2(0), exp2(-126))
	}
	for _, x := range []float64{math.Nextafter(-126, -127), -1e300, math.Inf(-1)} {
		if got := exp2(x); got != 0 {
			t.Errorf("exp2(%v): got %v, want 0", x, got)
		}
	}
	if got := exp2(math.NaN()); got == got {
		t.Errorf("exp2(NaN): got %v", got)
	}
}
