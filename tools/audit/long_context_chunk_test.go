package audit

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/llama/tiny"
	"github.com/squishspec/squishspec/spec"
)

func TestCutsAreMatched(t *testing.T) {
	for _, c := range []struct {
		cuts, boundaries []int
		within           int
		want             found
	}{
		{[]int{10, 20}, []int{10, 20}, 0, found{2, 2, 2}},
		{[]int{9, 21}, []int{10, 20}, 0, found{0, 2, 2}},
		{[]int{9, 21}, []int{10, 20}, 1, found{2, 2, 2}},
		{[]int{9, 10, 11}, []int{10}, 1, found{1, 3, 1}}, // a boundary has one cut
		{[]int{10}, []int{9, 11}, 1, found{1, 1, 2}},     // and a cut one boundary
		{[]int{12, 14}, []int{10, 13}, 2, found{2, 2, 2}},
		{nil, []int{10}, 1, found{0, 0, 1}}, {[]int{5}, nil, 9, found{0, 1, 0}},
	} {
		if got := match(c.cuts, c.boundaries, c.within); got != c.want {
			t.Errorf("%v of %v within %d: %v, want %v", c.cuts, c.boundaries, c.within, got, c.want)
		}
	}
	f := found{2, 8, 4}
	if f.recall() != 50 || f.precision() != 25 || math.Abs(f.f1()-100/3.) > 1e-12 {
		t.Errorf("%v: %v, %v, %v", f, f.recall(), f.precision(), f.f1())
	}
	if none := (found{}); none.recall() != 0 || none.precision() != 0 || none.f1() != 0 {
		t.Error("of none")
	}
	if got := summed([]found{{1, 2, 3}, {4, 5, 6}}, []int{2, 1}); got != (found{6, 9, 12}) {
		t.Errorf("%v", got)
	}
}

func TestBaselineCuts(t *testing.T) {
	if got := fixedCuts(4, 12); !slices.Equal(got, []int{4, 8}) {
		t.Errorf("%v", got)
	}
	if got := fixedCuts(4, 13); !slices.Equal(got, []int{4, 8, 12}) {
		t.Errorf("%v", got)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		if got := drawnCuts(4, 20, 4, r); !slices.Equal(got, []int{4, 8, 12, 16}) {
			t.Errorf("%v", got)
		}
	}
	if got := drawnCuts(2, 21, 4, r); len(got) != 2 || got[0] >= got[1] || got[0]%4 != 0 {
		t.Errorf("%v", got)
	}
	for n, want := range [][]int{nil, {8}, {4, 12}, {4, 8, 12}} { // 16 are 4 windows; thirds are 5.3 and 10.7
		if got := evenCuts(n, 16, 4); !slices.Equal(got, want) {
			t.Errorf("%d even cuts: %v, want %v", n, got, want)
		}
	}
	if got := forced([]int{4, 7, 11, 20}, 4); got != 2 {
		t.Errorf("%v forced, want 2", got)
	}
}

// Of two texts, one is cut rightly and one is not: the other finds none of either.
func TestOverIsTheDifferenceOfF1(t *testing.T) {
	k := &chunking{module: []found{{1, 1, 1}, {0, 1, 1}}}
	by, i := k.over([]found{{0, 1, 1}, {0, 1, 1}}, 1)
	if by != 50 || i.Low != 0 || i.High != 100 {
		t.Errorf("%v, %v", by, i)
	}
	if by, i := k.over(k.module, 1); by != 0 || i.Low != 0 || i.High != 0 {
		t.Errorf("over itself: %v, %v", by, i)
	}
}

// Two topics of two windows have three distances, 0, 1 and 0: z is (1 − ⅓)/√(2/9).
func TestPlantedZ(t *testing.T) {
	if got := plantedZ(2, 2); math.Abs(got-math.Sqrt2) > 1e-12 {
		t.Errorf("%v", got)
	}
	if got := plantedZ(1_000_000, 10); math.Abs(got-3) > 1e-5 {
		t.Errorf("%v", got)
	}
	// Of few topics, what is measured.
	c := spec.DefaultLongContextChunkConfig()
	j := plantedTopics(5, 4, c.MinChunkSize, 64, 1)
	c.MaxChunkSize = len(j.tokens) - 1
	if got, err := halfFound(fast.Implementation(), c, &j); err != nil || math.Abs(got-plantedZ(5, 4)) > 0.05 {
		t.Errorf("%v, %v; the formula says %v", got, err, plantedZ(5, 4))
	}
}

// chunkAudit has the embedded model and its tokens.
func chunkAudit(t *testing.T, impl spec.Implementation) *Audit {
	a := traceAudit(t, impl)
	vocabulary, err := tiny.Vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	a.Subject.Tokenizer = vocabulary
	return a
}

// Judged twice, which takes a second: one seed gives one finding.
func TestTopicBoundariesOfDrawnTexts(t *testing.T) {
	sequential(t)
	f, again := &Finding{}, &Finding{}
	for _, f := range []*Finding{f, again} {
		if err := topicBoundaries(context.Background(), chunkAudit(t, fast.Implementation()), f); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(f, again) {
		t.Error("two runs of one seed differ")
	}
	if f.Verdict != Conditional || f.Interval == nil || !f.Interval.Holds(*f.Figure) {
		t.Errorf("%+v", f)
	}
	best := f.Curve.Rows[len(f.Curve.Rows)-1]
	for i, row := range f.Curve.Rows {
		if row[0] == 0 && row[7] > best[7] {
			best = row
		}
		if len(row) != len(f.Curve.Columns) {
			t.Fatalf("%v", row)
		}
		if row[0] == 0 {
			if last := f.Curve.Rows[i-1]; last[0] == 0 && row[5] > last[5] {
				t.Errorf("a higher sensitivity finds more: %v after %v", row, last)
			}
			continue
		}
		if formula, measured := row[3], row[4]; math.Abs(measured-formula) > 0.02*formula {
			t.Errorf("%v windows: z %v, by the formula %v", row[0], measured, formula)
		}
		if free := row[1] > 512; free && row[0] == 5 && !strings.Contains(f.Note, fmt.Sprintf("of 5, of which %.0f%% are found", row[5])) {
			t.Errorf("%s, want %v", f.Note, row)
		}
		if free := row[1] > 512; free && (row[0] <= 4 && row[5] != 0 || row[0] >= 6 && row[7] != 100) {
			t.Errorf("%v", row)
		}
	}
	if want := fmt.Sprintf("of the curve is %v, F1 %.1f%%", best[2], best[7]); !strings.Contains(f.Note, want) {
		t.Errorf("%s, want %s", f.Note, want)
	}
}

// chunksOtherwise is a module whose answer is changed.
type chunksOtherwise struct {
	spec.LongContextChunk
	change func([]spec.Chunk) []spec.Chunk
}

func (c chunksOtherwise) Chunk(dst *[]spec.Chunk, x spec.Matrix) error {
	err := c.LongContextChunk.Chunk(dst, x)
	*dst = c.change(*dst)
	return err
}

func TestAWrongLongContextChunkIsNoticed(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func([]spec.Chunk) []spec.Chunk
		config func(*spec.LongContextChunkConfig)
		want   string
	}{
		{"no chunk", func([]spec.Chunk) []spec.Chunk { return nil }, nil, "end at 0"},
		{"not to the end", func(c []spec.Chunk) []spec.Chunk { return c[:len(c)-1] }, nil, "cannot be trusted"},
		{"not from 0", func(c []spec.Chunk) []spec.Chunk { return c[1:] }, nil, "where one from 0 was due"},
		{"too long a chunk", func(c []spec.Chunk) []spec.Chunk { return []spec.Chunk{{Start: 0, End: c[len(c)-1].End}} }, nil, "tokens, of 64 to"},
		{"too short a chunk", func(c []spec.Chunk) []spec.Chunk {
			return append([]spec.Chunk{{Start: 0, End: 1}, {Start: 1, End: c[0].End}}, c[1:]...)
		}, nil, "a chunk of 1 tokens, of 64 to"},
		{"an empty chunk", func(c []spec.Chunk) []spec.Chunk { return append([]spec.Chunk{{}}, c...) }, nil, "cannot be trusted"},
		{"too sensitive", nil, func(c *spec.LongContextChunkConfig) { c.BoundarySensitivity /= 2 }, "boundaries are found between topics of"},
	} {
		impl := fast.Implementation()
		honest := impl.LongContextChunk
		impl.LongContextChunk = func(config spec.LongContextChunkConfig) (spec.LongContextChunk, error) {
			if c.config != nil {
				c.config(&config)
			}
			m, err := honest(config)
			if err == nil && c.change != nil {
				m = chunksOtherwise{m, c.change}
			}
			return m, err
		}
		f := &Finding{}
		err := topicBoundaries(context.Background(), chunkAudit(t, impl), f)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "cannot be trusted") || f.Verdict != "" {
			t.Errorf("%s: %v, %v", c.name, err, f.Verdict)
		}
	}
}

// A module that looks for more than it is told finds no boundary between topics of six
// windows; one of smaller chunks cuts topics of eight, and one may miss a boundary by a
// token.
func TestTheBoundariesVerdictIsMeasured(t *testing.T) {
	sequential(t)
	as := func(c []spec.Chunk) []spec.Chunk { return c }
	for _, c := range []struct {
		name   string
		config func(*spec.LongContextChunkConfig)
		change func([]spec.Chunk) []spec.Chunk
	}{
		{"less sensitive", func(c *spec.LongContextChunkConfig) { c.BoundarySensitivity *= 1.25 }, as},
		{"smaller chunks", func(c *spec.LongContextChunkConfig) {
			if c.MaxChunkSize == 512 {
				c.MaxChunkSize = 448
			}
		}, as},
		{"a boundary missed by a token", func(*spec.LongContextChunkConfig) {}, func(c []spec.Chunk) []spec.Chunk {
			if c[0].End < 512 { // the longest may not be longer
				c[0].End++
				c[1].Start++
			}
			return c
		}},
	} {
		impl := fast.Implementation()
		honest := impl.LongContextChunk
		impl.LongContextChunk = func(config spec.LongContextChunkConfig) (spec.LongContextChunk, error) {
			c.config(&config)
			m, err := honest(config)
			return chunksOtherwise{m, c.change}, err
		}
		if exact, _, err := traceAudit(t, impl).planted(context.Background(), &Curve{}); err != nil || exact {
			t.Errorf("%s: exact %t, %v", c.name, exact, err)
		}
	}
	over, not := Interval{Low: 1, High: 2}, Interval{Low: -1, High: 2}
	for _, c := range []struct {
		exact              bool
		fixed, drawn, even Interval
		want               Verdict
	}{
		{true, over, over, over, Supported}, {true, not, over, over, Conditional}, {true, over, not, over, Conditional},
		{true, over, over, not, Conditional}, {false, over, over, over, Refuted},
	} {
		if got := boundariesVerdict(c.exact, c.fixed, c.drawn, c.even); got != c.want {
			t.Errorf("%v: %v", c, got)
		}
	}
}

func TestChunkedTextsAreChecked(t *testing.T) {
	sequential(t)
	a := chunkAudit(t, fast.Implementation())
	a.Data = t.TempDir()
	f := &Finding{}
	if err := claimJudge(topicBoundaries).run(context.Background(), a, f); err != nil || f.Verdict != Unmeasured || !strings.Contains(f.Note, dataBook) {
		t.Errorf("no file: %v, %v", err, f.Verdict)
	}
	spoil(t, a.Data, dataBook, "Short.")
	spoil(t, a.Data, dataText, "Short.")
	spoil(t, a.Data, dataTunedText, `{"question": "How many?", "answer": "2"}`)
	f = &Finding{}
	refused(t, f, topicBoundaries(context.Background(), a, f), dataBook)
}
