package topk

import (
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// A Ranker puts the k largest scores in order. It keeps its memory: 16 bytes a score.
//
// The idea: classes of equal width, two to a score, are filled by a counting sort,
// without a branch on a score; what is then out of order is within a class, and an
// insertion sort of the first k moves it a place or two. Scores that crowd in a few
// classes are selected, and the selected sorted by comparisons. 64 of 256 take half the
// time of that: 1.1 µs.
type Ranker struct {
	ends    []int32 // of the classes, as they are filled
	places  []int32
	scratch []float64 // for crowds
	rest    []int
}

// crowd is the number of scores from which on a class is not sorted by insertion.
const crowd = 16

// Rank appends the places of the k largest scores to best, the greatest first and of
// equal ones the earliest. Scores have no NaN; 0 ≤ k ≤ len(scores).
func (r *Ranker) Rank(best []int, scores []float64, k int) []int {
	from := len(best)
	if !r.fill(scores, k) {
		r.scratch = spec.Resize(r.scratch, len(scores))
		best, r.rest = Split(best, r.rest[:0], scores, r.scratch, k)
		slices.SortFunc(best[from:], func(a, b int) int {
			switch x, y := scores[a], scores[b]; {
			case x > y:
				return -1
			case x < y:
				return 1
			}
			return a - b
		})
		return best
	}
	for _, p := range r.places[:k] {
		best = append(best, int(p))
	}
	return best
}

// fill sets the first k places, and reports whether classes are good for that.
func (r *Ranker) fill(scores []float64, k int) bool {
	most, factor := classing(scores, 2*len(scores))
	if k == 0 || factor == 0 || len(scores) > math.MaxInt32/2 {
		return false
	}
	r.ends = spec.Resize(r.ends, 2*len(scores)+1)
	clear(r.ends)
	for _, s := range scores {
		r.ends[int((most-s)*factor)]++
	}
	last, filled := 0, int32(0)
	for ; int(filled) < k; last++ {
		n := r.ends[last]
		if n > crowd {
			return false
		}
		r.ends[last] = filled
		filled += n
	}
	r.ends[last] = filled // everything from here on is one class, in no order
	r.places = spec.Resize(r.places, len(scores))
	for i, s := range scores {
		end := &r.ends[min(int((most-s)*factor), last)]
		r.places[*end] = int32(i)
		*end++
	}
	places := r.places[:filled]
	for i, p := range places {
		for ; i > 0 && scores[places[i-1]] < scores[p]; i-- {
			places[i] = places[i-1]
		}
		places[i] = p
	}
	return true
}
