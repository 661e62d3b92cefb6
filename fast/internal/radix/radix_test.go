package radix

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSmallestIsTheSortedCut(t *testing.T) {
	var s Selector
	rapid.Check(t, func(t *rapid.T) {
		weight := rapid.OneOf(
			rapid.Float32(), rapid.Float32Range(-2, 2),
			rapid.SampledFrom([]float32{0, float32(math.Copysign(0, -1)), 1, -1, 1.5, 0x1p-149, -0x1p-149, math.MaxFloat32, -math.MaxFloat32}),
		)
		x := rapid.SliceOfN(weight, 1, 80).Draw(t, "x")
		sorted := slices.SortedFunc(slices.Values(x), func(a, b float32) int {
			return cmp.Compare(math.Abs(float64(a)), math.Abs(float64(b)))
		})
		for k := 1; k <= len(x); k++ {
			want := Cut{Bits: math.Float32bits(float32(math.Abs(float64(sorted[k-1]))))}
			for _, v := range x {
				switch m := math.Abs(float64(v)); {
				case m < math.Abs(float64(sorted[k-1])):
					want.Below++
				case m == math.Abs(float64(sorted[k-1])):
					want.Equal++
				}
			}
			if got, finite := s.Smallest(x, k); got != want || !finite {
				t.Fatalf("Smallest(%v, %d) = %+v, %v, want %+v", x, k, got, finite, want)
			}
		}
	})
}

func TestSmallestOfNone(t *testing.T) {
	var s Selector
	if got, finite := s.Smallest([]float32{1, 2}, 0); got != (Cut{}) || !finite {
		t.Errorf("got %+v, %v", got, finite)
	}
}

func TestSmallestSeesWhatIsNotFinite(t *testing.T) {
	var s Selector
	signalling := math.Float32frombits(0x7f800001)
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), signalling, -signalling} {
		for k := range 4 {
			for at := range 3 {
				x := []float32{3, -1, 2}
				x[at] = bad
				if _, finite := s.Smallest(x, k); finite {
					t.Errorf("Smallest(%v, %d) takes it for finite", x, k)
				}
			}
		}
	}
}
