package motion

import (
	"math"
	"testing"
)

func TestBetweenAndSizeOfEveryLength(t *testing.T) {
	for n := range 12 {
		a, b := make([]float32, n), make([]float32, n)
		between, size := 0.0, 0.0
		for i := range n {
			a[i], b[i] = float32(i*i-9), float32(7-3*i)
			between += math.Abs(float64(i*i - 9 - 7 + 3*i))
			size += math.Abs(float64(i*i - 9))
		}
		if got := Between(a, b); got != between {
			t.Errorf("%d elements: between %v, want %v", n, got, between)
		}
		if got := Size(a); got != size {
			t.Errorf("%d elements: size %v, want %v", n, got, size)
		}
	}
}

func TestWhatIsNotFiniteShowsInTheSize(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for at := range 5 {
			a := make([]float32, 5)
			a[at] = float32(bad)
			if s := Size(a); !math.IsNaN(s) && !math.IsInf(s, 1) {
				t.Errorf("%v at %d: %v", bad, at, s)
			}
		}
	}
}
