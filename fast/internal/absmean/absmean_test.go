package absmean

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// Small integers add up exactly, in whatever order.
func TestSumIsTheSumOfMagnitudes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		integers := rapid.SliceOfN(rapid.IntRange(-1<<20, 1<<20), 0, 40).Draw(t, "integers")
		x, want := make([]float32, len(integers)), 0
		for i, n := range integers {
			x[i] = float32(n)
			want += max(n, -n)
		}
		if got := Sum(x); got != float64(want) {
			t.Fatalf("%v, want %d", got, want)
		}
	})
}

func TestSumIsFiniteWhereEveryElementIs(t *testing.T) {
	x := make([]float32, 19)
	for i := range x {
		x[i] = -math.MaxFloat32
	}
	if got, want := Sum(x), 19*math.MaxFloat32; got != want {
		t.Errorf("19 times the largest: %v, want %v", got, want)
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for i := range x {
			old := x[i]
			x[i] = float32(bad)
			if got := Sum(x); !math.IsNaN(got) && !math.IsInf(got, 1) {
				t.Errorf("%v at %d: %v", bad, i, got)
			}
			x[i] = old
		}
	}
}

func TestSumOfMinusZerosIsPlusZero(t *testing.T) {
	minusZero := float32(math.Copysign(0, -1))
	if got := Sum([]float32{minusZero, minusZero}); math.Float64bits(got) != 0 {
		t.Errorf("%v", got)
	}
}
