package audit

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-12*math.Abs(b) }

// Documents 3 and 1 are found at ranks 2 and 4, document −1 never: precisions of 1/2
// and 2/4, and of three gains the best order is 2, 1, 1.
func TestMeasures(t *testing.T) {
	judged := []judgement{{1, 2}, {0, 0}, {-1, 1}, {3, 1}}
	found := gains([]int{2, 3, 0, 1}, judged)
	if !slices.Equal(found, []int{0, 1, 0, 2}) || relevant(judged) != 3 {
		t.Fatalf("%v", found)
	}
	if got := averagePrecision(found, judged); !near(got, 1.0/3) {
		t.Errorf("precision %v", got)
	}
	if got, want := normalisedGain(found, judged), (1/math.Log2(3)+2/math.Log2(5))/(2+1/math.Log2(3)+1/math.Log2(4)); !near(got, want) {
		t.Errorf("gain %v, want %v", got, want)
	}
	if got := recalled(found, judged); !near(got, 2.0/3) {
		t.Errorf("recall %v", got)
	}
	// Nothing counts below rank 10, or 100.
	deep := make([]int, 101)
	deep[10], deep[100] = 1, 1
	two := []judgement{{0, 1}, {1, 1}}
	if normalisedGain(deep, two) != 0 || recalled(deep, two) != 0.5 {
		t.Errorf("%v, %v", normalisedGain(deep, two), recalled(deep, two))
	}
}

// The expectation is the mean over all orders.
func TestRandomPrecision(t *testing.T) {
	judged := []judgement{{0, 1}, {2, 1}}
	sum, orders := 0.0, 0.0
	var order []int
	var each func()
	each = func() {
		if len(order) == 4 {
			sum += averagePrecision(gains(order, judged), judged)
			orders++
			return
		}
		for d := range 4 {
			if !slices.Contains(order, d) {
				order = append(order, d)
				each()
				order = order[:len(order)-1]
			}
		}
	}
	each()
	if got := randomPrecision(4, 2); orders != 24 || !near(got, sum/orders) || randomPrecision(1, 1) != 1 {
		t.Errorf("%v, want %v of %v orders", got, sum/orders, orders)
	}
}

// threeDocs are of 4, 2 and 6 words. The weights of words in them were computed apart.
var threeDocs = corpus{
	docs:    [][]int64{{1, 2, 2, 9}, {1, 9}, {1, 8, 8, 8, 8, 9}},
	queries: [][]int64{{1}, {2}, {2, 1, 2}, {7}},
}

func TestBruteForce(t *testing.T) {
	w := countWords(&threeDocs)
	for q, want := range [][]float64{
		{0.13353139262452257, 0.16786803644225695, 0.11085625048073573},
		{1.3486402228911236, 0, 0},
		{0.13353139262452257 + 2*1.3486402228911236, 0.16786803644225695, 0.11085625048073573},
		{0, 0, 0},
	} {
		if got := w.okapi(threeDocs.queries[q], moduleK1, moduleB); !slices.EqualFunc(got, want, near) {
			t.Errorf("query %d: %v, want %v", q, got, want)
		}
	}
	if got := w.overlap([]int64{2, 1, 2}); !slices.Equal(got, []float64{5, 1, 1}) || !slices.Equal(descending(got), []int{0, 1, 2}) {
		t.Errorf("overlap %v", got)
	}
	if got := descending([]float64{1, 3, 2, 3}); !slices.Equal(got, []int{1, 3, 2, 0}) {
		t.Errorf("order %v", got)
	}
}

func TestDepartures(t *testing.T) {
	c := &corpus{docs: [][]int64{{5}, {1, 5}, {1, 6}, {1, 1}, {6, 6}, {1}}, queries: [][]int64{{1}}}
	w := countWords(c)
	scores := w.okapi(c.queries[0], moduleK1, moduleB) // 3 above 5 above 1 and 2, which are alike, above 0 and 4
	for _, o := range []struct {
		order   []int
		departs bool
	}{{[]int{3, 5, 1, 2, 0, 4}, false}, {[]int{3, 5, 2, 1, 0, 4}, true}, {[]int{3, 5, 1, 2, 4, 0}, true}, {[]int{3, 1, 5, 2, 0, 4}, true}, {[]int{0, 3, 5, 1, 2, 4}, true}} {
		if got := w.departs(c.queries[0], o.order, scores); got != o.departs {
			t.Errorf("%v by %v: %v", o.order, scores, got)
		}
	}
	// A rounding is no departure, where documents are not alike; half a percent is, and
	// roundings that add up.
	for _, o := range []struct {
		scores  []float64
		departs bool
	}{{[]float64{0, 1, 1, 2, 0, 2 + 1e-13}, false}, {[]float64{0, 1, 1, 2, 0, 2.01}, true}, {[]float64{0, 1 + 1.8e-12, 1, 1, 0, 1 + 0.9e-12}, true}} {
		if got := w.departs(c.queries[0], []int{3, 5, 1, 2, 0, 4}, o.scores); got != o.departs {
			t.Errorf("%v: %v", o.scores, got)
		}
	}
	for _, order := range [][]int{{0, 1}, {0, 1, 1}, {0, 1, 3}, {-1, 0, 1}, {0, 1, 2, 2}} {
		if complete(order, 3) == nil {
			t.Errorf("%v is complete", order)
		}
	}
	if complete([]int{2, 0, 1}, 3) != nil {
		t.Error("an order is refused")
	}
	if tells([]int{1, 0}, []float64{2, 1.001}, []float64{1, 2}) || tells([]int{0}, []float64{math.NaN()}, []float64{1}) || !tells([]int{1, 0}, []float64{2, 1}, []float64{1, 2}) || !tells([]int{1, 0}, nil, []float64{1, 2}) {
		t.Error("relevances")
	}
}

func TestRetrievalVerdicts(t *testing.T) {
	for _, c := range []struct {
		better, readings, departed int
		want                       Verdict
	}{{4, 4, 0, Supported}, {1, 4, 0, Conditional}, {0, 4, 0, Refuted}, {4, 4, 1, Refuted}} {
		if got := retrievalVerdict(c.better, c.readings, c.departed); got != c.want {
			t.Errorf("%v: %v", c, got)
		}
	}
}

func TestRetrievalOfADrawnCollection(t *testing.T) {
	sequential(t)
	var precisions []float64
	for _, judge := range []claimJudge{streamRetrieval, rerankRetrieval} {
		f := &Finding{}
		if err := judge(context.Background(), traceAudit(t, fast.Implementation()), f); err != nil {
			t.Fatal(err)
		}
		if f.Verdict != Supported || !f.Interval.Holds(*f.Figure) || len(f.Curve.Rows) != 4 || !strings.Contains(f.Note, "All 100 rankings") {
			t.Errorf("%+v", f)
		}
		for _, row := range f.Curve.Rows {
			if len(row) != len(f.Curve.Columns) || row[8] > row[7] || row[7] > row[3] {
				t.Errorf("%v", row)
			}
		}
		if row := f.Curve.Rows[0]; len(row) == 11 && (row[9] < 1.5*row[8] || row[9] == row[10]) || row[9] > row[3] {
			t.Errorf("the other rankers: %v", row)
		}
		precisions = append(precisions, *f.Figure)
		again := &Finding{}
		if err := judge(context.Background(), traceAudit(t, fast.Implementation()), again); err != nil || again.Note != f.Note || !slices.EqualFunc(again.Curve.Rows, f.Curve.Rows, slices.Equal) {
			t.Errorf("another time %+v, %v", again, err)
		}
	}
	if precisions[0] != precisions[1] {
		t.Errorf("the two differ: %v", precisions)
	}
}

// A ranker that is better than overlap for one topic alone is not better within the
// interval, nor is one that is worse than it.
func TestBetterThanOverlap(t *testing.T) {
	for name, of := range map[string]func(w *wordCount, q int) []int{
		"for one topic": func(w *wordCount, q int) []int {
			if q == 0 {
				return descending(w.okapi(w.queries[q], moduleK1, moduleB))
			}
			return descending(w.overlap(w.queries[q]))
		},
		"for none": func(w *wordCount, q int) []int {
			order := descending(w.overlap(w.queries[q]))
			slices.Reverse(order)
			return order
		},
	} {
		f := &Finding{}
		err := judgeRetrieval(context.Background(), traceAudit(t, fast.Implementation()), f, func(c *corpus) ([]ranker, error) {
			w := countWords(c)
			return []ranker{{"", func(q int) ([]int, []float64, error) { return of(w, q), nil, nil }}}, nil
		})
		if err != nil || f.Verdict != Refuted || !strings.Contains(f.Note, "in 0 of 4 readings") {
			t.Errorf("%s: %v, %v; %s", name, f.Verdict, err, f.Note)
		}
	}
}

// A spoiledBuffer answers something else than it should.
type spoiledBuffer struct {
	spec.StreamRAG
	spoil func(docs []spec.RetrievedDoc) []spec.RetrievedDoc
}

func (s spoiledBuffer) Retrieve(dst *[]spec.RetrievedDoc, embedding []float32, ids []int64, topK int) error {
	err := s.StreamRAG.Retrieve(dst, embedding, ids, topK)
	*dst = s.spoil(*dst)
	return err
}

func TestTheStreamRetrievalVerdictIsMeasured(t *testing.T) {
	sequential(t)
	for name, c := range map[string]struct {
		want  Verdict // "" for an error
		spoil func(docs []spec.RetrievedDoc) []spec.RetrievedDoc
	}{
		"worst first": {Refuted, func(docs []spec.RetrievedDoc) []spec.RetrievedDoc { slices.Reverse(docs); return docs }},
		"two change places": {Refuted, func(docs []spec.RetrievedDoc) []spec.RetrievedDoc {
			docs[3], docs[4] = docs[4], docs[3]
			return docs
		}},
		"relevances": {Refuted, func(docs []spec.RetrievedDoc) []spec.RetrievedDoc { docs[0].Relevance *= 1.0001; return docs }},
		"one less":   {"", func(docs []spec.RetrievedDoc) []spec.RetrievedDoc { return docs[1:] }},
		"one twice":  {"", func(docs []spec.RetrievedDoc) []spec.RetrievedDoc { docs[1] = docs[0]; return docs }},
		"another":    {"", func(docs []spec.RetrievedDoc) []spec.RetrievedDoc { docs[1].DocID = "another"; return docs }},
	} {
		impl := fast.Implementation()
		honest := impl.StreamRAG
		impl.StreamRAG = func(config spec.StreamRAGConfig) (spec.StreamRAG, error) {
			s, err := honest(config)
			return spoiledBuffer{s, c.spoil}, err
		}
		f := &Finding{}
		err := streamRetrieval(context.Background(), traceAudit(t, impl), f)
		if c.want == "" && (err == nil || !strings.Contains(err.Error(), "cannot be trusted")) || c.want != "" && err != nil || f.Verdict != c.want {
			t.Errorf("%s: %v, %v; want %q", name, f.Verdict, err, c.want)
		}
	}
}

// A rerankedByPosition offers no documents; a recentReranker always counts recency.
type rerankedByPosition struct{ spec.ContextualRerank }

func TestTheRerankVerdictIsMeasured(t *testing.T) {
	honest := fast.Implementation().ContextualRerank
	for _, c := range []struct {
		want Verdict
		spec func(spec.ContextualRerankConfig) (spec.ContextualRerank, error)
	}{
		{Refuted, func(config spec.ContextualRerankConfig) (spec.ContextualRerank, error) {
			config.RecencyWeight = max(config.RecencyWeight, 0.001)
			return honest(config)
		}},
		{Unmeasured, func(config spec.ContextualRerankConfig) (spec.ContextualRerank, error) {
			r, err := honest(config)
			return rerankedByPosition{r}, err
		}},
		{"", func(config spec.ContextualRerankConfig) (spec.ContextualRerank, error) {
			config.TopK--
			return honest(config)
		}},
	} {
		impl := fast.Implementation()
		impl.ContextualRerank = c.spec
		f := &Finding{}
		err := rerankRetrieval(context.Background(), traceAudit(t, impl), f)
		if (err != nil) != (c.want == "") || f.Verdict != c.want {
			t.Errorf("%v, %v; want %q", f.Verdict, err, c.want)
		}
	}
}
