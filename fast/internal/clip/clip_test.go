package clip

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestNearestRoundsHalfToEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := float64(rapid.IntRange(0, 4000).Draw(t, "halves")) / 2
		x = rapid.SampledFrom([]float64{x, math.Nextafter(x, 0), math.Nextafter(x, math.Inf(1)), x + 0.3}).Draw(t, "x")
		if got, want := nearest(x), math.RoundToEven(x); got != want {
			t.Fatalf("nearest(%v) = %v, want %v", x, got, want)
		}
	})
}

// TestLeastErrorIsReached tries all bounds to their end.
func TestLeastErrorIsReached(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		magnitudes := rapid.SliceOfN(rapid.Float32Range(0, 10), 1, 100).Draw(t, "magnitudes")
		largest := float64(slices.Max(magnitudes))
		if largest == 0 {
			return
		}
		s := Search{Bounds: 100, BoundCode: rapid.SampledFrom([]float64{7, 7.5, 127, 127.5}).Draw(t, "code of the bound")}
		plain := func(bound float64) float64 {
			sum := 0.0
			for _, m := range magnitudes {
				code := math.RoundToEven(min(float64(m)/bound, 1) * s.BoundCode)
				off := float64(m) - code*bound/s.BoundCode
				sum += off * off
			}
			return sum
		}
		got := plain(s.LeastError(magnitudes, largest))
		for i := range s.Bounds {
			bound := largest * (0.1 + 0.9*float64(i)/99)
			if want := plain(bound); got > want*(1+1e-9)+1e-12*largest*largest {
				t.Fatalf("error %v, and %v at bound %v", got, want, bound)
			}
		}
	})
}

func TestLeastErrorKeepsWhatFits(t *testing.T) {
	s := Search{Bounds: 100, BoundCode: 7}
	if got := s.LeastError([]float32{1, 2, 3, 7}, 7); got != 7 {
		t.Errorf("bound %v, want 7, at which all are codes", got)
	}
}

func TestEqualErrorsGoToTheNarrowestBound(t *testing.T) {
	// What is clipped at half a code has code 0, so that every bound errs by all.
	if got := (Search{Bounds: 5, BoundCode: 0.5}).LeastError([]float32{10, 0}, 10); got != 1 {
		t.Errorf("bound %v, want the narrowest, 1", got)
	}
}
