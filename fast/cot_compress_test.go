package fast_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
	"pgregory.net/rapid"
)

// The model counts anew for every position and sorts. Its arithmetic is the
// formula's, so that ties tie, and the kept tokens are the same, not nearly so.
func TestCotCompressKeepsWhatCountingAnewAndSortingKeeps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		token := rapid.Int64Range(-2, rapid.SampledFrom([]int64{0, 3, 40}).Draw(t, "largest id"))
		config := spec.CotCompressConfig{
			Variant:       rapid.SampledFrom([]spec.Variant{spec.Documented, spec.Squish6}).Draw(t, "variant"),
			CompressRatio: rapid.SampledFrom([]float64{0, 0.3, 0.5, 0.7, 0.99}).Draw(t, "ratio"),
			MinTokens:     rapid.IntRange(1, 6).Draw(t, "min tokens"),
			Separators:    rapid.SliceOfN(token, 0, 2).Draw(t, "separators"),
			StepTokens:    rapid.SampledFrom([]int{1, 2, 3, 8, math.MaxInt}).Draw(t, "step tokens"),
			Alpha:         rapid.SampledFrom([]float64{0, 0.3, 0.5, 1}).Draw(t, "alpha"),
			Smoothing:     rapid.SampledFrom([]float64{1e-9, 1e300}).Draw(t, "smoothing"),
		}
		cot, err := fast.NewCotCompress(config)
		if err != nil {
			t.Fatal(err)
		}
		var kept []int64
		for range rapid.IntRange(1, 3).Draw(t, "calls") { // scratch is used again
			trace := rapid.SliceOfN(token, 1, 60).Draw(t, "trace")
			query := rapid.SliceOfN(token, 0, 3).Draw(t, "query")
			if err := cot.Compress(&kept, trace, query); err != nil {
				t.Fatal(err)
			}
			if want := keptBySorting(config, trace, query); !slices.Equal(kept, want) {
				t.Fatalf("kept %v, want %v", kept, want)
			}
		}
	})
}

func TestCotCompressRefusesAnEmptyTraceAndChangesNothing(t *testing.T) {
	cot, err := fast.NewCotCompress(spec.DefaultCotCompressConfig())
	if err != nil {
		t.Fatal(err)
	}
	var kept []int64
	if err := cot.Compress(&kept, nil, []int64{1}); !errors.Is(err, spec.Invalid) {
		t.Errorf("no tokens: %v", err)
	}
	if got := cot.Stats(); got != (spec.CotCompressStats{}) {
		t.Errorf("stats after a refusal: %+v", got)
	}
	bad := spec.DefaultCotCompressConfig()
	bad.MinTokens = 0
	if cot, err := fast.NewCotCompress(bad); cot != nil || !errors.Is(err, spec.Invalid) {
		t.Errorf("min_tokens 0: %v, %v", cot, err)
	}
}

func TestCotCompressKeepsNoArgument(t *testing.T) {
	config := spec.DefaultCotCompressConfig()
	config.CompressRatio, config.MinTokens, config.Separators = 0.5, 1, []int64{0}
	trace := []int64{1, 2, 3, 4, 0, 5, 6, 7}
	want := keptBySorting(config, trace, nil)
	cot, err := fast.NewCotCompress(config)
	if err != nil {
		t.Fatal(err)
	}
	config.Separators[0] = 3
	var kept []int64
	if err := cot.Compress(&kept, trace, nil); err != nil || !slices.Equal(kept, want) {
		t.Errorf("with the config's separators overwritten: %v, %v, want %v", kept, err, want)
	}
}

func TestCotCompressAllocatesNothingInTheSteadyState(t *testing.T) {
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		config := spec.DefaultCotCompressConfig()
		config.Variant, config.Separators = variant, []int64{5, 50}
		cot, err := fast.NewCotCompress(config)
		if err != nil {
			t.Fatal(err)
		}
		trace := make([]int64, 500)
		for i := range trace {
			trace[i] = int64(i * i % 101)
		}
		query := []int64{3, 4, 999}
		var kept []int64
		compress := func() { err = cot.Compress(&kept, trace, query) }
		compress()
		if allocations := testing.AllocsPerRun(20, compress); allocations != 0 || err != nil {
			t.Errorf("variant %q: %v allocations, %v", variant, allocations, err)
		}
	}
}

func keptBySorting(config spec.CotCompressConfig, trace, query []int64) []int64 {
	saliency := make([]float64, len(trace))
	if config.Variant == spec.Squish6 {
		for i, token := range trace {
			saliency[i] = -float64(occurrences(trace, token))
		}
	} else {
		relevance, information := make([]float64, len(trace)), make([]float64, len(trace))
		var steps [][]int64
		start := 0
		for i, token := range trace {
			cut := len(config.Separators) == 0 && i-start+1 == config.StepTokens
			if cut || slices.Contains(config.Separators, token) || i == len(trace)-1 {
				steps = append(steps, trace[start:i+1])
				start = i + 1
			}
		}
		i := 0
		for _, step := range steps {
			for _, token := range step {
				df := 0.0
				for _, other := range steps {
					if slices.Contains(other, token) {
						df++
					}
				}
				n, tf := float64(len(steps)), float64(occurrences(step, token))
				length := 0.25 + float64(0.75*float64(len(step))/(float64(len(trace))/n))
				relevance[i] = math.Log1p((n-df+0.5)/(df+0.5)) * tf * 2.2 / (tf + float64(1.2*length))
				if slices.Contains(query, token) {
					relevance[i] *= 2
				}
				information[i] = -math.Log2(float64(occurrences(trace, token)) / float64(len(trace)))
				i++
			}
		}
		for i := range trace {
			saliency[i] = float64(config.Alpha*scaledAt(relevance, i)) + float64((1-config.Alpha)*scaledAt(information, i))
		}
	}
	var kept []int64
	for i := range trace {
		ahead := 0
		for j := range trace {
			if saliency[j] > saliency[i] || (saliency[j] == saliency[i] && j < i) {
				ahead++
			}
		}
		if ahead < config.Kept(len(trace)) {
			kept = append(kept, trace[i])
		}
	}
	return kept
}

func scaledAt(component []float64, i int) float64 {
	least, most := slices.Min(component), slices.Max(component)
	if most-least <= 1e-6*max(math.Abs(least), math.Abs(most)) {
		return 0
	}
	return (component[i] - least) / (most - least)
}

func occurrences(tokens []int64, token int64) int {
	n := 0
	for _, t := range tokens {
		if t == token {
			n++
		}
	}
	return n
}
