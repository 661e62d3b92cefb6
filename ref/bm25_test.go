package ref

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// The weights were computed apart from this package, from the formula.
func TestBM25WorkedExample(t *testing.T) {
	corpus := newBM25([][]int64{{1, 2, 2, 3}, {1, 4}, {5, 5, 5, 5, 5, 1}})
	for term, want := range map[int64][3]float64{
		1: {0.13353139262452257, 0.16786803644225695, 0.11085625048073573},
		2: {1.3486402228911236, 0, 0},
		3: {0.9808292530117263, 0, 0},
		4: {0, 1.233042489500456, 0},
		5: {0, 0, 1.6224243282900737},
		9: {0, 0, 0},
	} {
		for document, w := range want {
			if got := corpus.weight(term, document); math.Abs(got-w) > 1e-14 {
				t.Errorf("term %d in document %d weighs %v, want %v", term, document, got, w)
			}
		}
	}
}

func TestBM25WeightIsBoundedAndZeroWithoutTheTerm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		documents := drawCorpus(t)
		corpus := newBM25(documents)
		for d, document := range documents {
			for term := range int64(6) {
				weight, occurs := corpus.weight(term, d), false
				for _, own := range document {
					occurs = occurs || own == term
				}
				if bound := corpus.idf(term) * (bm25K1 + 1); occurs && !(0 < weight && weight < bound) {
					t.Fatalf("term %d in %v weighs %v, want it in (0, %v)", term, document, weight, bound)
				}
				if !occurs && weight != 0 {
					t.Fatalf("term %d, not in %v, weighs %v", term, document, weight)
				}
			}
		}
	})
}

func TestBM25WeightGrowsWithFrequencyAndFallsWithLength(t *testing.T) {
	corpus := newBM25([][]int64{{1, 8, 8, 8}, {1, 1, 8, 8}, {1, 1, 1, 8}, {1}, {1, 8}})
	weight := func(document int) float64 { return corpus.weight(1, document) }
	if !(weight(0) < weight(1) && weight(1) < weight(2)) {
		t.Errorf("1, 2 and 3 of 4 weigh %v, %v and %v", weight(0), weight(1), weight(2))
	}
	if !(weight(3) > weight(4) && weight(4) > weight(0)) {
		t.Errorf("one of 1, 2 and 4 weighs %v, %v and %v", weight(3), weight(4), weight(0))
	}
}

func TestBM25ScoreCountsARepeatedTermEachTime(t *testing.T) {
	corpus := newBM25([][]int64{{1, 2, 2, 3}, {1, 4}})
	if got, want := corpus.score([]int64{2, 9, 2, 1}, 0), 2*corpus.weight(2, 0)+corpus.weight(1, 0); math.Abs(got-want) > 1e-15 {
		t.Errorf("score %v, want %v", got, want)
	}
	if got := corpus.score(nil, 0); got != 0 {
		t.Errorf("an empty query scores %v", got)
	}
}

func TestUnitScaledSpansTheUnitInterval(t *testing.T) {
	for _, c := range []struct{ component, want []float64 }{
		{[]float64{-2, 6, 0, 2}, []float64{0, 1, 0.25, 0.5}},
		{[]float64{3}, []float64{0}},
		{[]float64{-7, -7, -7}, []float64{0, 0, 0}},
		{[]float64{1e6, 1e6 + 1}, []float64{0, 0}},      // a range of 1e-6·max is constant
		{[]float64{1e6, 1e6 + 2}, []float64{0, 1}},      // a wider one is not
		{[]float64{-1e6, -1e6 + 0.5}, []float64{0, 0}},  // max|component|, not max
		{[]float64{0, 0x1p-1074}, []float64{0, 1}},      // relative, not absolute
		{[]float64{0, 0}, []float64{0, 0}},              // 0 ≤ 0
		{[]float64{1, 0.5, 0.75}, []float64{1, 0, 0.5}}, // order is kept
		{[]float64{-1, 1, 0, 0.5}, []float64{0, 1, 0.5, 0.75}},
	} {
		got := unitScaled(c.component)
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%v scaled is %v, want %v", c.component, got, c.want)
				break
			}
		}
	}
}

func drawCorpus(t *rapid.T) [][]int64 {
	document := rapid.SliceOfN(rapid.Int64Range(0, 5), 0, 8)
	return rapid.SliceOfN(document, 1, 5).Draw(t, "documents")
}
