package topk

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestCutIsTheSortedCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Float64Range(-1, 1)
		if rapid.Bool().Draw(t, "many ties") {
			value = rapid.SampledFrom([]float64{-1, 0, 0.25, 1})
		}
		checkCut(t, rapid.SliceOfN(value, 1, 64).Draw(t, "values"))
	})
}

// TestCutOfManyIsTheSortedCut of values that spread, crowd, tie, or lie further apart
// than the numbers reach.
func TestCutOfManyIsTheSortedCut(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, shape := range map[string]func() float64{
		"spread": r.NormFloat64,
		"ties":   func() float64 { return float64(r.IntN(9)) },
		"equal":  func() float64 { return 7 },
		"crowd":  func() float64 { return math.Exp(30 * r.NormFloat64()) },
		"huge":   func() float64 { return math.MaxFloat64 * (2*r.Float64() - 1) },
	} {
		values := make([]float64, 2*classes+r.IntN(100))
		for i := range values {
			values[i] = shape()
		}
		t.Run(name, func(t *testing.T) { checkCut(t, values) })
	}
}

func TestCutOfOrderedValues(t *testing.T) {
	const n = 2*classes + 1
	shapes := map[string]func(i int) int{
		"rising":     func(i int) int { return i },
		"falling":    func(i int) int { return -i },
		"equal":      func(int) int { return 7 },
		"organ pipe": func(i int) int { return min(i, n-i) },
		"valley":     func(i int) int { return max(i, n-i) },
		"sawtooth":   func(i int) int { return i % 17 },
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			values := make([]float64, n)
			for i := range values {
				values[i] = float64(shape(i))
			}
			checkCut(t, values)
		})
	}
}

func checkCut(t rapid.TB, values []float64) {
	t.Helper()
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	slices.Reverse(sorted)
	for k := 1; k <= len(values); k++ {
		want, ties := sorted[k-1], 0
		for _, v := range sorted[:k] {
			if v == want {
				ties++
			}
		}
		if cut, got := Cut(slices.Clone(values), k); cut != want || got != ties {
			t.Fatalf("Cut(%v, %d) = %v, %d, want %v, %d", values, k, cut, got, want, ties)
		}
		for partitions := range 3 {
			if cut, got := cutWithin(partitions, slices.Clone(values), k); cut != want || got != ties {
				t.Fatalf("cutWithin(%d, %v, %d) = %v, %d, want %v, %d", partitions, values, k, cut, got, want, ties)
			}
		}
	}
}

func TestSplitIsTheStableSortedPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores := rapid.SliceOfN(rapid.SampledFrom([]float64{-1, 0, 0.25, 1, 2, 3}), 1, 32).Draw(t, "scores")
		k := rapid.IntRange(0, len(scores)).Draw(t, "k")
		order := make([]int, len(scores))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return int(scores[b]*4) - int(scores[a]*4) })
		given := slices.Clone(scores)
		kept, dropped := Split(nil, nil, scores, make([]float64, len(scores)), k)
		if !slices.Equal(kept, slices.Sorted(slices.Values(order[:k]))) || !slices.Equal(dropped, slices.Sorted(slices.Values(order[k:]))) {
			t.Fatalf("Split(%v, %d) = %v, %v", scores, k, kept, dropped)
		}
		if !slices.Equal(scores, given) {
			t.Fatalf("Split changed the scores %v to %v", given, scores)
		}
	})
}
