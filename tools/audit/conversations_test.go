package audit

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
)

func TestPolicies(t *testing.T) {
	had := []int64{1, 2, 1, 3, 1, 2, 4} // 1 three times, 2 twice
	defaults := spec.DefaultRAGPrefetchConfig()
	defaults.TopK = 2
	once := defaults
	once.TopK, once.MinAccesses, once.RecencyDecay = 1, 1, 0.5
	for _, c := range []struct {
		name string
		policy
		turn []int64
		want float64
	}{
		{"frequency", mostOften(2), []int64{1, 2, 9}, 2}, {"frequency", mostOften(1), []int64{2}, 0}, {"frequency of equals", mostOften(3), []int64{4}, 1},
		{"frequency of equals", mostOften(3), []int64{3}, 0},
		{"recency", latest(2), []int64{4, 2}, 2}, {"recency", latest(2), []int64{1}, 0},
		{"random", random(1), []int64{1, 3, 9}, 0.5}, {"random", random(9), []int64{1, 3, 9}, 2},
		{"oracle", oracle(1), []int64{1, 3}, 1}, {"oracle", oracle(3), []int64{9, 3}, 1},
		{"candidates", candidatesOf(fast.Implementation(), defaults), []int64{1, 2, 4}, 2},
		{"the latest candidate", candidatesOf(fast.Implementation(), once), []int64{1, 2, 4}, 1},
	} {
		got, err := c.policy(had, c.turn)
		if err != nil || got != c.want {
			t.Errorf("%s, %v: %v, %v; want %v", c.name, c.turn, got, err, c.want)
		}
		if got, err := c.policy(nil, c.turn); err != nil || got != 0 {
			t.Errorf("%s before any turn: %v, %v", c.name, got, err)
		}
	}
}

func TestPrefetchHitsOfDrawnConversations(t *testing.T) {
	sequential(t)
	f := &Finding{}
	if err := prefetchHits(context.Background(), traceAudit(t, fast.Implementation()), f); err != nil {
		t.Fatal(err)
	}
	if f.Interval == nil || !f.Interval.Holds(*f.Figure) || len(f.Curve.Rows) != 5 {
		t.Errorf("%+v", f)
	}
	for i, row := range f.Curve.Rows {
		for n, v := range row[1:] {
			if oracle := row[6]; v > oracle || i > 0 && v < f.Curve.Rows[i-1][n+1] {
				t.Errorf("%v", row)
			}
		}
	}
}

// Whose candidates are the worst, their verdict follows.
func TestThePrefetchVerdictIsMeasured(t *testing.T) {
	sequential(t)
	honest := fast.Implementation().RAGPrefetch
	for _, c := range []struct {
		min  int // accesses that candidates need, whatever the config says
		want Verdict
	}{{1_000_000, Refuted}, {0, Conditional}} {
		impl := fast.Implementation()
		impl.RAGPrefetch = func(config spec.RAGPrefetchConfig) (spec.RAGPrefetch, error) {
			config.MinAccesses = max(config.MinAccesses, c.min)
			return honest(config)
		}
		f := &Finding{}
		if err := prefetchHits(context.Background(), traceAudit(t, impl), f); err != nil || f.Verdict != c.want {
			t.Errorf("%d accesses: %v, %v; want %v", c.min, f.Verdict, err, c.want)
		}
	}
}

// A passage that comes back in every turn, among many that do not, is a candidate
// of the defaults, and seldom drawn.
func TestThePrefetchVerdictOfAClearPattern(t *testing.T) {
	a := traceAudit(t, fast.Implementation())
	a.Data = t.TempDir()
	for _, domain := range dataDomains {
		var questions, relevant strings.Builder
		fmt.Fprint(&relevant, "query-id\tcorpus-id\tscore\n")
		for turn := 1; turn <= 8; turn++ {
			fmt.Fprintf(&questions, `{"_id": "a<::>%d", "text": "?"}`+"\n", turn)
			fmt.Fprintf(&relevant, "a<::>%d\tall\t1\n", turn)
			for n := range 20 {
				fmt.Fprintf(&relevant, "a<::>%d\t%d of turn %d\t1\n", turn, n, turn)
			}
		}
		spoil(t, a.Data, questionsFile(domain), questions.String())
		spoil(t, a.Data, relevantFile(domain), relevant.String())
	}
	f := &Finding{}
	if err := prefetchHits(context.Background(), a, f); err != nil || f.Verdict != Supported {
		t.Errorf("%v, %v; %s", f.Verdict, err, f.Note)
	}
}

// The shares are an independent program's.
func TestMTRAG(t *testing.T) {
	a := traceAudit(t, fast.Implementation())
	a.Data = dataDir(t)
	f := &Finding{}
	if err := prefetchHits(context.Background(), a, f); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"110 conversations", "777 turns", "2128 accesses", "11.1% (clapnq)", "13.2% (cloud)", "7.3% (fiqa)", "20.0% (govt)"} {
		if !strings.Contains(f.Note, want) {
			t.Errorf("no %q in %s", want, f.Note)
		}
	}
}

func TestConversationsAreChecked(t *testing.T) {
	a := traceAudit(t, fast.Implementation())
	a.Data = t.TempDir()
	f := &Finding{}
	if err := claimJudge(prefetchHits).run(context.Background(), a, f); err != nil || f.Verdict != Unmeasured {
		t.Errorf("no file: %v, %v", err, f.Verdict)
	}
	const (
		asked  = `{"_id": "a<::>1", "text": "?"}` + "\n" + `{"_id": "a<::>3", "text": "?"}` + "\n"
		header = "query-id\tcorpus-id\tscore\n"
		judged = header + "a<::>1\tp\t1\na<::>3\tp\t1\na<::>3\tq\t0\n"
	)
	good := func() {
		for _, domain := range dataDomains {
			spoil(t, a.Data, questionsFile(domain), asked)
			spoil(t, a.Data, relevantFile(domain), judged)
		}
	}
	good()
	f = &Finding{}
	if err := prefetchHits(context.Background(), a, f); err != nil || !strings.Contains(f.Note, "8 turns, 8 accesses") {
		t.Errorf("%v, %s", err, f.Note)
	}
	for _, c := range []struct{ file, text, where string }{
		{questionsFile("fiqa"), asked + "{", "line 3: audit: question"},
		{questionsFile("fiqa"), asked + `{"_id": "a<::>4"}`, "line 3: audit: question"},
		{questionsFile("fiqa"), asked + `{"_id": "a<::>3", "text": "?"}`, "line 3: audit: _id"},
		{questionsFile("fiqa"), asked + `{"_id": "a<::>-1", "text": "?"}`, "line 3: audit: _id"},
		{questionsFile("fiqa"), asked + `{"_id": "a", "text": "?"}`, "line 3: audit: _id"},
		{questionsFile("fiqa"), "", "want lines"},
		{relevantFile("govt"), judged + "a<::>1\tq", "line 5: audit: line"},
		{relevantFile("govt"), judged + "b<::>1\tq\t1", "line 5: audit: query-id"},
		{relevantFile("govt"), judged + "a<::>1\tq\t-1", "line 5: audit: score"},
		{relevantFile("govt"), judged + "a<::>1\tq\tyes", "line 5: audit: score"},
		{relevantFile("govt"), judged + "a<::>1\t\t1", "line 5: audit: corpus-id"},
		{relevantFile("govt"), judged + "a<::>1\tp\t1", "line 5: audit: corpus-id"},
		{relevantFile("govt"), "a<::>1\tp\t1\n", "line 1: audit: header"},
	} {
		good()
		spoil(t, a.Data, c.file, c.text)
		f := &Finding{}
		err := prefetchHits(context.Background(), a, f)
		refused(t, f, err, c.where)
		if err != nil && !strings.Contains(err.Error(), c.file) {
			t.Errorf("%v, want %s", err, c.file)
		}
	}
}
