package windows

import (
	"math"
	"testing"
)

// A form is a way to compute distances; forms are all.
type form func(b *Buffer, dst []float64, data []float32, dim, size int) ([]float64, bool)

var forms = map[string]form{
	"float32": (*Buffer).Distances, "float64": (*Buffer).ExactDistances,
}

func TestDistancesOfAWorkedExample(t *testing.T) {
	for name, distances := range forms {
		t.Run(name, func(t *testing.T) { workedExample(t, distances) })
	}
}

func workedExample(t *testing.T, distances form) {
	// Windows of two: means (1, 0), (1, 1), (0, −2); a fifth of one is not complete.
	data := []float32{2, 0, 0, 0, 0, 2, 2, 0, 0, -1, 0, -3, 9, 9}
	got, finite := distances(new(Buffer), nil, data, 2, 2)
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
	for name, distances := range forms {
		got, _ := distances(new(Buffer), nil, []float32{1e-10, 1e-10, 1e-10, 1e-10, 1e-10, 1e-10}, 1, 3)
		if math.Abs(got[0]-0.75) > 1e-6 {
			t.Errorf("%s: got %v, want ¾", name, got)
		}
	}
}

func TestWhatIsNotFiniteShows(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for at := range 4 {
			data := []float32{1, 2, 3, math.MaxFloat32}
			data[at] = float32(bad)
			for name, distances := range forms {
				if _, finite := distances(new(Buffer), nil, data, 1, 2); finite {
					t.Errorf("%s: %v at %d went unseen", name, bad, at)
				}
			}
		}
	}
	greatest := []float32{math.MaxFloat32, math.MaxFloat32, 1, 1}
	if _, finite := new(Buffer).ExactDistances(nil, greatest, 1, 2); !finite {
		t.Error("the greatest numbers count as infinite")
	}
	if _, finite := new(Buffer).Distances(nil, greatest, 1, 2); finite {
		t.Error("a sum that overflows went unseen")
	}
}
