package conformance

import (
	"math"
	"slices"
)

// A ranking is what a selection goes by: every item's score, computed by the
// suite, and how far off an implementation may have it.
type ranking struct {
	scores, margins []float64
}

// precedes reports whether item a may rank before item b.
func (r ranking) precedes(a, b int) bool {
	return r.scores[a]+r.margins[a] >= r.scores[b]-r.margins[b]
}

// isTop asserts that no item left out certainly scores above one that is kept.
func (r ranking) isTop(t *trial, what string, kept []int) {
	t.Helper()
	isKept := make([]bool, len(r.scores))
	worst, best := -1, -1
	for _, i := range kept {
		t.holds(i >= 0 && i < len(r.scores) && !isKept[i], "%s: got %d, want indices below %d, each once: %d", what, i, len(r.scores), kept)
		isKept[i] = true
		if worst < 0 || r.scores[i]+r.margins[i] < r.scores[worst]+r.margins[worst] {
			worst = i
		}
	}
	for i := range r.scores {
		if !isKept[i] && (best < 0 || r.scores[i]-r.margins[i] > r.scores[best]-r.margins[best]) {
			best = i
		}
	}
	if worst >= 0 && best >= 0 {
		t.holds(r.precedes(worst, best), "%s: %d is in with %v and %d out with %v (margins %.3g and %.3g)",
			what, worst, r.scores[worst], best, r.scores[best], r.margins[worst], r.margins[best])
	}
}

// isRanked asserts besides that the list descends.
func (r ranking) isRanked(t *trial, what string, list []int) {
	t.Helper()
	r.isTop(t, what, list)
	for i := 1; i < len(list); i++ {
		t.holds(r.precedes(list[i-1], list[i]), "%s: %d comes with %v before %d with %v (margins %.3g and %.3g)",
			what, list[i-1], r.scores[list[i-1]], list[i], r.scores[list[i]], r.margins[list[i-1]], r.margins[list[i]])
	}
}

// sameTop compares two selections of one ranking: they are the same, but for items
// too close to tell.
func (r ranking) sameTop(t *trial, what string, got, want []int) {
	t.Helper()
	r.same(t, what, got, want, r.isTop)
}

// sameRanking compares two lists of one ranking likewise.
func (r ranking) sameRanking(t *trial, what string, got, want []int) {
	t.Helper()
	r.same(t, what, got, want, r.isRanked)
}

// same asks of what differs that it be right by itself.
func (r ranking) same(t *trial, what string, got, want []int, isRight func(*trial, string, []int)) {
	t.Helper()
	t.equal("number of "+what, len(got), len(want))
	if slices.Equal(got, want) {
		t.asserted++
		return
	}
	isRight(t, what, got)
}

// scaled scales scores to [0, 1], margins along; one of no range is 0 throughout.
// Where the range may or may not count as none, every item may be anything.
func (r ranking) scaled() ranking {
	const constant = 1e-6 // of the greatest magnitude: a range up to that is none
	low, high, largest, margin := math.Inf(1), math.Inf(-1), 0.0, 0.0
	for i, s := range r.scores {
		low, high = min(low, s), max(high, s)
		largest = max(largest, math.Abs(s))
		margin = max(margin, r.margins[i])
	}
	out := ranking{make([]float64, len(r.scores)), make([]float64, len(r.scores))}
	span := high - low
	unclear := math.Abs(span-constant*largest) <= 4*margin && margin > 0
	for i, s := range r.scores {
		switch {
		case unclear:
			out.margins[i] = 1
		case span > constant*largest:
			out.scores[i] = (s - low) / span
			// low and span are off as well, and a score is at most span above low.
			out.margins[i] = min(1, (r.margins[i]+3*margin)/span)
		}
	}
	return out
}

// blended is w·a + (1−w)·b.
func blended(w float64, a, b ranking, u float64) ranking {
	out := ranking{make([]float64, len(a.scores)), make([]float64, len(a.scores))}
	for i := range a.scores {
		out.scores[i] = w*a.scores[i] + (1-w)*b.scores[i]
		out.margins[i] = w*a.margins[i] + (1-w)*b.margins[i] + 4*u*math.Abs(out.scores[i])
	}
	return out
}
