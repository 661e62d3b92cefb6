package radix

import (
	"cmp"
	"math"
	"math/rand/v2"
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

// Where a sample is taken, and where it misleads: the sampled places have other
// numbers than the rest. Several goroutines find the same.
func TestSmallestOfMany(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s Selector
	for _, n := range []int{4*samples + 1, 20_000, 3_000_000} {
		for name, draw := range map[string]func(i int) float64{
			"Gaussian": func(int) float64 { return r.NormFloat64() },
			"few":      func(int) float64 { return float64(r.IntN(3)) },
			"equal":    func(int) float64 { return -1.5 },
			"misleading": func(i int) float64 {
				if (i*samples+n-1)/n*n/samples == i {
					return 1e-9 * float64(i)
				}
				return 1 + r.Float64()
			},
		} {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(draw(i))
			}
			for _, k := range []int{1, 2, n / 10, n / 2, n - n/3, n - 1, n} {
				if n > 1e6 && k != n/2 {
					continue
				}
				got, finite := s.Smallest(x, k)
				below, equal := 0, 0
				for _, v := range x {
					if m := Magnitude(v); m < got.Bits {
						below++
					} else if m == got.Bits {
						equal++
					}
				}
				if !finite || below != got.Below || equal != got.Equal || k <= below || k > below+equal {
					t.Errorf("%s, %d of %d: %+v, %v, but %d are below and %d equal", name, k, n, got, finite, below, equal)
				}
			}
			x[n-1] = float32(math.Inf(-1))
			if _, finite := s.Smallest(x, n/2); finite || s.Largest(x) != 0xff<<23 {
				t.Errorf("%s: infinity at the end of %d is not seen", name, n)
			}
		}
	}
}
