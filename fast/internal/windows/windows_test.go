package windows

import (
	"math"
	"testing"
)

func TestDistancesOfAWorkedExample(t *testing.T) {
	// Windows of two: means (1, 0), (1, 1), (0, −2); a fifth of one is not complete.
	data := []float32{2, 0, 0, 0, 0, 2, 2, 0, 0, -1, 0, -3, 9, 9}
	var b Buffer
	got, finite := b.Distances(nil, data, 2, 2)
	want := []float64{1 - math.Sqrt2/2, 1 + math.Sqrt2/2}
	if !finite || len(got) != len(want) {
		t.Fatalf("got %v, finite %v", got, finite)
	}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-9 {
			t.Errorf("distance %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

// TestSmoothingIsTheMeans: the norm of the mean is 10⁻¹⁰, as much as is added to
// it, so that the cosine of two equal windows is ¼.
func TestSmoothingIsTheMeans(t *testing.T) {
	var b Buffer
	got, _ := b.Distances(nil, []float32{1e-10, 1e-10, 1e-10, 1e-10, 1e-10, 1e-10}, 1, 3)
	if math.Abs(got[0]-0.75) > 1e-6 {
		t.Errorf("got %v, want ¾", got)
	}
}

func TestWhatIsNotFiniteShows(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for at := range 4 {
			data := []float32{1, 2, 3, math.MaxFloat32}
			data[at] = float32(bad)
			var b Buffer
			if _, finite := b.Distances(nil, data, 1, 2); finite {
				t.Errorf("%v at %d went unseen", bad, at)
			}
		}
	}
	var b Buffer
	if _, finite := b.Distances(nil, []float32{math.MaxFloat32, math.MaxFloat32, 1, 1}, 1, 2); !finite {
		t.Error("the greatest numbers count as infinite")
	}
}
