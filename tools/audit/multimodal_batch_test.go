package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
)

// handTrace is served in batches of two. The first request is served when it comes, in
// 0.02 s and 1000 tokens of 20 µs; the next two wait for that.
var handTrace = []arrival{{0, 1000, 0}, {0.01, 500, 0}, {0.02, 2000, 250}, {0.03, 500, 0}, {9, 5, 200}}

func TestTheServer(t *testing.T) {
	for _, c := range []struct {
		name           string
		queue          batcher
		waits          []float64
		rounds, beyond []int
		padded         int
	}{
		// Then 0.02 s and 2·(2000 + 250) tokens, until 0.15 s.
		{"one queue", &oneQueue{size: 2}, []float64{0, 0.03, 0.02, 0.12, 0}, []int{0, 0, 0, 1, 0}, []int{0, -1, -1, 0, 0}, 1000 + 4500 + 500 + 205},
		// Then 500 tokens, until 0.07 s, and 2250, until 0.135 s. Two of text are a batch of
		// backlog each, and one of vision is another.
		{"cut", &oneQueue{size: 2, cut: true}, []float64{0, 0.03, 0.05, 0.105, 0}, []int{0, 0, 1, 2, 0}, []int{0, -1, 0, 1, 0}, 1000 + 500 + 2250 + 500 + 205},
		// Then two of text, until 0.08 s.
		{"the module", handModule(t, 0), []float64{0, 0.03, 0.06, 0.01, 0}, []int{0, 0, 1, 0, 0}, []int{0, -1, 0, -1, 0}, 1000 + 1000 + 2250 + 205},
	} {
		s, err := serve(context.Background(), handTrace, 2, c.queue)
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range c.waits {
			if d := s.waits[i] - w; d < -1e-12 || d > 1e-12 {
				t.Errorf("%s: waits %v, want %v", c.name, s.waits, c.waits)
				break
			}
		}
		if !slices.Equal(s.rounds, c.rounds) || !slices.Equal(s.beyond, c.beyond) || s.padded != c.padded || s.useful != 1000+500+2250+500+205 {
			t.Errorf("%s: %+v, want %+v", c.name, s, c)
		}
	}
	s := &queueing{waits: []float64{1, 5, 4, 3, 2}, rounds: []int{0, 1, 9, 2, 3}, beyond: []int{0, 1, 7, 2, 3}, useful: 3, padded: 4}
	mean, tail, longest, rounds := s.of(1, handTrace)
	if fmt.Sprintf("%v %.2f %v %v", mean, tail, longest, rounds) != "3 3.98 4 9" || s.mean() != 3 || s.passedOver() != 7 || s.padding() != 0.25 {
		t.Errorf("%v %v %v %v", mean, tail, longest, rounds)
	}
	// In full batches of two: 1000 and 1000, 2250 and 2250, 205 tokens.
	if got := work(handTrace, 2); !near(got, 0.1941) {
		t.Errorf("work %v", got)
	}
}

func handModule(t *testing.T, rounds int) batcher {
	m, err := fast.Implementation().MultiModalBatch(spec.MultiModalBatchConfig{MaxBatchSize: 2, MaxTextLen: 2000, MaxVisionTokens: 250, MaxWaitRounds: rounds})
	if err != nil {
		t.Fatal(err)
	}
	return &moduleQueue{module: m, size: 2, trace: handTrace}
}

func TestWaitingOfDrawnRequests(t *testing.T) {
	f, again := &Finding{}, &Finding{}
	for _, f := range []*Finding{f, again} {
		if err := batchWaiting(context.Background(), traceAudit(t, fast.Implementation()), f); err != nil {
			t.Fatal(err)
		}
	}
	if f.Verdict != Supported || !f.Exact || *f.Figure > waitRounds || len(f.Curve.Rows) != 24 {
		t.Errorf("%+v", f)
	}
	if f.Note != again.Note || !slices.EqualFunc(f.Curve.Rows, again.Curve.Rows, slices.Equal) {
		t.Error("another time another finding")
	}
	for i, row := range f.Curve.Rows {
		if i%12 >= 4 && row[3] <= f.Curve.Rows[i-4][3] { // the same policy under a smaller load
			t.Errorf("a greater load, and less waiting: %v", row)
		}
		if row[2] == 1 && row[11] > 0 {
			t.Errorf("one queue passes over: %v", row)
		}
	}
}

// A spoiledQueue hands out something else than it should.
type spoiledQueue struct {
	spec.MultiModalBatch
	spoil func(batch *[]spec.BatchSlot)
	add   int // to what waits
}

func (q spoiledQueue) NextBatch(dst *[]spec.BatchSlot) error {
	err := q.MultiModalBatch.NextBatch(dst)
	q.spoil(dst)
	return err
}

func (q spoiledQueue) PendingVision() int { return q.MultiModalBatch.PendingVision() + q.add }

func TestTheWaitingVerdictIsMeasured(t *testing.T) {
	honest := fast.Implementation().MultiModalBatch
	rounds := func(of func(int) int) func(spec.MultiModalBatchConfig) (spec.MultiModalBatch, error) {
		return func(c spec.MultiModalBatchConfig) (spec.MultiModalBatch, error) {
			c.MaxWaitRounds = of(c.MaxWaitRounds)
			return honest(c)
		}
	}
	spoiled := func(add int, spoil func(batch *[]spec.BatchSlot)) func(spec.MultiModalBatchConfig) (spec.MultiModalBatch, error) {
		return func(c spec.MultiModalBatchConfig) (spec.MultiModalBatch, error) {
			m, err := honest(c)
			return spoiledQueue{m, spoil, add}, err
		}
	}
	for name, c := range map[string]struct {
		want Verdict // "" for an error
		make func(spec.MultiModalBatchConfig) (spec.MultiModalBatch, error)
	}{
		"no rule":       {Refuted, rounds(func(int) int { return 0 })},
		"a late rule":   {Refuted, rounds(func(n int) int { return 3 * n })},
		"always a rule": {Conditional, rounds(func(int) int { return waitRounds })},
		"short batches": {"", func(c spec.MultiModalBatchConfig) (spec.MultiModalBatch, error) {
			c.MaxBatchSize--
			return honest(c)
		}},
		"one is lost":    {"", spoiled(0, func(b *[]spec.BatchSlot) { *b = (*b)[1:] })},
		"none is left":   {"", spoiled(0, func(b *[]spec.BatchSlot) { *b = nil })},
		"one comes back": {"", spoiled(0, func(b *[]spec.BatchSlot) { (*b)[len(*b)-1].ID = 0 })},
		"out of order":   {"", spoiled(0, func(b *[]spec.BatchSlot) { slices.Reverse(*b) })},
		"a mixed batch":  {"", spoiled(0, func(b *[]spec.BatchSlot) { (*b)[len(*b)-1].Modality = spec.Vision })},
		"no modality":    {"", spoiled(0, func(b *[]spec.BatchSlot) { (*b)[0].Modality = "sound" })},
		"shorter":        {"", spoiled(0, func(b *[]spec.BatchSlot) { (*b)[0].TextLen-- })},
		"pending":        {"", spoiled(1, func(*[]spec.BatchSlot) {})},
	} {
		impl := fast.Implementation()
		impl.MultiModalBatch = c.make
		f := &Finding{}
		err := batchWaiting(context.Background(), traceAudit(t, impl), f)
		if c.want == "" && (err == nil || !strings.Contains(err.Error(), "cannot be trusted")) || c.want != "" && err != nil || f.Verdict != c.want {
			t.Errorf("%s: %v, %v; want %q", name, f.Verdict, err, c.want)
		}
	}
}
