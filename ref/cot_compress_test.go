package ref_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"pgregory.net/rapid"
)

// A trace of three steps, each ended by token 0. Of what is said only once the
// earliest is kept, and first of all what the query asks for.
func ExampleNewCotCompress() {
	config := spec.DefaultCotCompressConfig()
	config.CompressRatio, config.MinTokens = 0.8, 1
	config.Separators = []int64{0}
	cot, err := ref.NewCotCompress(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	trace := []int64{7, 21, 22, 0, 7, 23, 21, 0, 7, 24, 25, 0}
	var kept []int64
	if err := cot.Compress(&kept, trace, nil); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("kept", kept)
	if err := cot.Compress(&kept, trace, []int64{25}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("kept for the query 25", kept)
	fmt.Printf("%+v\n", cot.Stats())
	// Output:
	// kept [22 23 24]
	// kept for the query 25 [22 23 25]
	// {Calls:2 TokensIn:24 TokensOut:6 Ratio:0.75}
}

func TestCotCompressKeepsASubsequenceOfTheRightLength(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config, trace, query := drawCot(t)
		kept := compressCot(t, config, trace, query)
		next := 0
		for _, token := range trace {
			if next < len(kept) && kept[next] == token {
				next++
			}
		}
		if next < len(kept) {
			t.Fatalf("%v is no subsequence of %v", kept, trace)
		}
		if want := config.Kept(len(trace)); len(kept) != want {
			t.Fatalf("%d kept of %d, want %d", len(kept), len(trace), want)
		}
	})
}

func TestCotCompressKeepsAllWhereNothingIsToBeDropped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config, trace, query := drawCot(t)
		if rapid.Bool().Draw(t, "ratio 0") {
			config.CompressRatio = 0
		} else {
			config.MinTokens = len(trace) + rapid.IntRange(0, 5).Draw(t, "spare")
		}
		if kept := compressCot(t, config, trace, query); !slices.Equal(kept, trace) {
			t.Fatalf("kept %v of %v", kept, trace)
		}
	})
}

func TestCotCompressRenamesWithTheVocabulary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config, trace, query := drawCot(t)
		rename := func(ids []int64) []int64 { // one to one, order reversed
			renamed := make([]int64, len(ids))
			for i, id := range ids {
				renamed[i] = 1000 - 7*id
			}
			return renamed
		}
		want := rename(compressCot(t, config, trace, query))
		config.Separators = rename(config.Separators)
		if got := compressCot(t, config, rename(trace), rename(query)); !slices.Equal(got, want) {
			t.Fatalf("renamed trace keeps %v, want %v", got, want)
		}
	})
}

func TestCotCompressBreaksTiesByPosition(t *testing.T) {
	distinct := make([]int64, 64)
	for i := range distinct {
		distinct[i] = int64(i * 37 % 64)
	}
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		config := spec.DefaultCotCompressConfig()
		config.Variant, config.CompressRatio = variant, 0.5
		if kept := compressCot(t, config, distinct, nil); !slices.Equal(kept, distinct[:32]) {
			t.Errorf("variant %q: of equals, %v are kept", variant, kept)
		}
	}
}

func TestCotCompressQueryNeverHarmsItsTokens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config, trace, query := drawCot(t)
		config.Variant = spec.Documented
		// Distinct tokens, so that kept tokens are kept positions.
		slices.Sort(trace)
		trace = slices.Compact(trace)
		asked := rapid.SampledFrom(trace).Draw(t, "asked")
		before := compressCot(t, config, trace, query)
		query = append(query, asked)
		after := compressCot(t, config, trace, query)
		if !slices.Contains(before, asked) || slices.Contains(after, asked) {
			return
		}
		for _, token := range after {
			if !slices.Contains(before, token) && !slices.Contains(query, token) {
				t.Fatalf("asking for %d dropped it in favour of %d", asked, token)
			}
		}
	})
}

func TestCotCompressQueryDoublesBeforeScaling(t *testing.T) {
	// Nothing else tells these tokens apart.
	config := spec.DefaultCotCompressConfig()
	config.CompressRatio, config.MinTokens = 0.75, 1
	if kept := compressCot(t, config, []int64{1, 2, 3, 4}, []int64{3}); !slices.Equal(kept, []int64{3}) {
		t.Errorf("kept %v, want what the query asks for", kept)
	}
	// All weights doubled are all weights.
	if kept := compressCot(t, config, []int64{1, 2, 3, 4}, []int64{4, 3, 2, 1}); !slices.Equal(kept, []int64{1}) {
		t.Errorf("kept %v, want the earliest", kept)
	}
}

func TestCotCompressSquish6KeepsTheRarest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config, trace, query := drawCot(t)
		config.Variant = spec.Squish6
		config.Smoothing = rapid.SampledFrom([]float64{1e-9, 1, 1e300}).Draw(t, "smoothing")
		count := map[int64]int{}
		for _, token := range trace {
			count[token]++
		}
		kept := map[int64]int{}
		for _, token := range compressCot(t, config, trace, query) {
			kept[token]++
		}
		for dropped := range count {
			for token := range kept {
				if kept[dropped] < count[dropped] && count[token] > count[dropped] {
					t.Fatalf("%d, %d times there, was dropped for %d, %d times there", dropped, count[dropped], token, count[token])
				}
			}
		}
	})
}

func TestCotCompressStatsCountTokens(t *testing.T) {
	cot := newCot(t, spec.DefaultCotCompressConfig())
	if got := cot.Stats(); got != (spec.CotCompressStats{}) {
		t.Errorf("stats before any call: %+v", got)
	}
	var kept []int64
	for _, n := range []int{100, 20, 10} {
		if err := cot.Compress(&kept, make([]int64, n), nil); err != nil {
			t.Fatal(err)
		}
	}
	got := cot.Stats()
	want := spec.CotCompressStats{Calls: 3, TokensIn: 130, TokensOut: 60 + 16 + 10, Ratio: 44.0 / 130}
	if math.Abs(got.Ratio-want.Ratio) > 1e-15 {
		t.Errorf("ratio %v, want %v", got.Ratio, want.Ratio)
	}
	got.Ratio = want.Ratio
	if got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestCotCompressRefusesAnEmptyTraceAndChangesNothing(t *testing.T) {
	cot := newCot(t, spec.DefaultCotCompressConfig())
	var kept []int64
	if err := cot.Compress(&kept, nil, []int64{1}); !errors.Is(err, spec.Invalid) {
		t.Errorf("no tokens: %v", err)
	}
	if got := cot.Stats(); got != (spec.CotCompressStats{}) {
		t.Errorf("stats after a refusal: %+v", got)
	}
}

func TestCotCompressRefusesABadConfig(t *testing.T) {
	config := spec.DefaultCotCompressConfig()
	config.Alpha = math.NaN()
	if cot, err := ref.NewCotCompress(config); cot != nil || !errors.Is(err, spec.Invalid) {
		t.Errorf("got %v, %v", cot, err)
	}
}

func TestCotCompressKeepsNoArgument(t *testing.T) {
	config := spec.DefaultCotCompressConfig()
	config.CompressRatio, config.MinTokens, config.Separators = 0.5, 1, []int64{0}
	trace := []int64{1, 2, 3, 4, 0, 5, 6, 7}
	want := compressCot(t, config, trace, nil)
	cot := newCot(t, config)
	config.Separators[0] = 3
	var kept []int64
	if err := cot.Compress(&kept, trace, nil); err != nil || !slices.Equal(kept, want) {
		t.Errorf("with the config's separators overwritten: %v, %v, want %v", kept, err, want)
	}
}

func newCot(t rapid.TB, config spec.CotCompressConfig) spec.CotCompress {
	t.Helper()
	cot, err := ref.NewCotCompress(config)
	if err != nil {
		t.Fatal(err)
	}
	return cot
}

func compressCot(t rapid.TB, config spec.CotCompressConfig, trace, query []int64) []int64 {
	t.Helper()
	var kept []int64
	if err := newCot(t, config).Compress(&kept, trace, query); err != nil {
		t.Fatal(err)
	}
	return kept
}

func drawCot(t *rapid.T) (config spec.CotCompressConfig, trace, query []int64) {
	token := rapid.Int64Range(0, rapid.SampledFrom([]int64{0, 3, 40}).Draw(t, "largest id"))
	config = spec.CotCompressConfig{
		Variant:       rapid.SampledFrom([]spec.Variant{spec.Documented, spec.Squish6}).Draw(t, "variant"),
		CompressRatio: rapid.SampledFrom([]float64{0, 0.3, 0.5, 0.7, 0.99}).Draw(t, "ratio"),
		MinTokens:     rapid.IntRange(1, 6).Draw(t, "min tokens"),
		Separators:    rapid.SliceOfN(token, 0, 2).Draw(t, "separators"),
		StepTokens:    rapid.IntRange(1, 8).Draw(t, "step tokens"),
		Alpha:         rapid.SampledFrom([]float64{0, 0.3, 0.5, 1}).Draw(t, "alpha"),
		Smoothing:     1e-9,
	}
	trace = rapid.SliceOfN(token, 1, 40).Draw(t, "trace")
	query = rapid.SliceOfN(token, 0, 3).Draw(t, "query")
	return config, trace, query
}
