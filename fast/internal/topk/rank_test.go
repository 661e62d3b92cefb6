package topk

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRankIsTheStableSortedPrefix of scores that spread, tie, crowd, and lie further
// apart than the numbers reach.
func TestRankIsTheStableSortedPrefix(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	shapes := map[string]func() float64{
		"spread":   r.Float64,
		"ties":     func() float64 { return float64(r.IntN(20)) },
		"equal":    func() float64 { return 7 },
		"crowd":    func() float64 { return math.Exp(30 * r.NormFloat64()) },
		"clusters": func() float64 { return math.Floor(3*r.Float64()) + 1e-9*r.Float64() },
		"huge":     func() float64 { return math.MaxFloat64 * (2*r.Float64() - 1) },
		"tiny":     func() float64 { return float64(r.IntN(9)) * math.SmallestNonzeroFloat64 },
		"infinite": func() float64 { return 1 / float64(r.IntN(9)) },
		"zeros":    func() float64 { return math.Copysign(0, float64(r.IntN(2))-0.5) },
	}
	var ranker Ranker
	for name, shape := range shapes {
		for range 100 {
			scores := make([]float64, r.IntN(300))
			order := make([]int, len(scores))
			for i := range scores {
				scores[i], order[i] = shape(), i
			}
			slices.SortStableFunc(order, func(a, b int) int {
				switch {
				case scores[a] > scores[b]:
					return -1
				case scores[a] < scores[b]:
					return 1
				}
				return 0
			})
			given := slices.Clone(scores)
			for _, k := range []int{0, min(1, len(scores)), r.IntN(len(scores) + 1), len(scores)} {
				if best := ranker.Rank([]int{-1}, scores, k); !slices.Equal(best, append([]int{-1}, order[:k]...)) {
					t.Fatalf("%s: Rank(%v, %d) = %v, want %v", name, scores, k, best, order[:k])
				}
			}
			if !slices.Equal(scores, given) {
				t.Fatalf("%s: Rank changed the scores %v to %v", name, given, scores)
			}
		}
	}
}
