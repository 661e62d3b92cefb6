package ref

import (
	"math"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

// The saliencies were computed apart from this package, from the formulas. The
// query's token 14 weighs most and 10, everywhere, least.
func TestCotCompressSaliencyWorkedExample(t *testing.T) {
	config := spec.DefaultCotCompressConfig()
	config.Separators, config.Alpha = []int64{99, 98}, 0.25
	module, err := NewCotCompress(config)
	if err != nil {
		t.Fatal(err)
	}
	trace := []int64{10, 11, 12, 99, 10, 13, 99, 14, 14, 10}
	want := []float64{
		0, 0.8152354585193529, 0.8152354585193529, 0.2953506828128596,
		0.003123361559016588, 0.8267064853865331, 0.30084748487315216,
		0.5268026848214068, 0.5268026848214068, 0.003123361559016588,
	}
	got := module.(*cotCompress).saliency(trace, []int64{14, 10, 14, 77})
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-14 {
			t.Errorf("saliency[%d] = %v, want %v", i, got[i], want[i])
		}
	}
}

func TestCotCompressSteps(t *testing.T) {
	for _, c := range []struct {
		name       string
		separators []int64
		stepTokens int
		want       [][]int64
	}{
		{"a separator ends its step", []int64{0}, 2, [][]int64{{1, 2, 0}, {0}, {3, 4, 0}, {5}}},
		{"any separator does", []int64{0, 4}, 2, [][]int64{{1, 2, 0}, {0}, {3, 4}, {0}, {5}}},
		{"a separator at the end leaves no empty step", []int64{5}, 2, [][]int64{{1, 2, 0, 0, 3, 4, 0, 5}}},
		{"none that occurs: one step", []int64{9}, 2, [][]int64{{1, 2, 0, 0, 3, 4, 0, 5}}},
		{"none configured: step_tokens", nil, 3, [][]int64{{1, 2, 0}, {0, 3, 4}, {0, 5}}},
		{"step_tokens beyond the trace: one step", nil, math.MaxInt, [][]int64{{1, 2, 0, 0, 3, 4, 0, 5}}},
	} {
		config := spec.DefaultCotCompressConfig()
		config.Separators, config.StepTokens = c.separators, c.stepTokens
		module, err := NewCotCompress(config)
		if err != nil {
			t.Fatal(err)
		}
		got := module.(*cotCompress).steps([]int64{1, 2, 0, 0, 3, 4, 0, 5})
		if !slices.EqualFunc(got, c.want, slices.Equal) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
