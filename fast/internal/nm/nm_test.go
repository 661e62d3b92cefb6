package nm

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/fast/internal/kern"
)

// A number is kept where fewer than n beat it: greater ones, and equal ones before
// it.
func kept(group []float32, n int) []bool {
	keep := make([]bool, len(group))
	for i, w := range group {
		beaten := 0
		for j, v := range group {
			if a, b := math.Abs(float64(v)), math.Abs(float64(w)); a > b || a == b && j < i {
				beaten++
			}
		}
		keep[i] = beaten < n
	}
	return keep
}

func TestMaskKeepsTheLargestOfEveryGroup(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.OneOf(rapid.Just(4), rapid.IntRange(2, 2*kern.LongestGroup)).Draw(t, "m")
		n := rapid.IntRange(1, m-1).Draw(t, "n")
		some := rapid.SampledFrom([]float32{0, float32(math.Copysign(0, -1)), 1, -1, 2, 0x1p-149, -0x1p-149, math.MaxFloat32, -math.MaxFloat32})
		weights := rapid.SliceOfN(rapid.OneOf(some, rapid.Float32Range(-4, 4)), 3*m, 3*m).Draw(t, "weights")
		keep, pruned := make([]bool, len(weights)), make([]float32, len(weights))
		if !New(n, m).Prune(pruned, keep, weights) {
			t.Fatalf("%v is taken for not finite", weights)
		}
		for g := 0; g < len(weights); g += m {
			if want := kept(weights[g:g+m], n); !slices.Equal(keep[g:g+m], want) {
				t.Fatalf("%d of %v: got %v, want %v", n, weights[g:g+m], keep[g:g+m], want)
			}
		}
		for i, w := range weights {
			want := uint32(0)
			if keep[i] {
				want = math.Float32bits(w)
			}
			if got := math.Float32bits(pruned[i]); got != want {
				t.Fatalf("weight %v, kept %v: got bits %x", w, keep[i], got)
			}
		}
	})
}

// Whatever a group has that is not finite, it is found, and nothing panics.
func TestPruneSeesWhatIsNotFinite(t *testing.T) {
	for _, m := range []int{2, 4, 7, kern.LongestGroup, kern.LongestGroup + 1} {
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			for at := range 2 * m {
				weights := make([]float32, 2*m)
				weights[at] = float32(bad)
				if New(1, m).Prune(make([]float32, 2*m), make([]bool, 2*m), weights) {
					t.Errorf("%v at %d of groups of %d is taken for finite", bad, at, m)
				}
			}
		}
	}
}
