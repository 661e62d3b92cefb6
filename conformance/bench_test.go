package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var kept64 []byte

func TestAllocationsAreTheCallsOwn(t *testing.T) {
	for _, c := range []struct {
		what          string
		timing        timing
		allocs, bytes float64
	}{
		{"none", timing{calls: 3, call: func(int) error { return nil }}, 0, 0},
		{"one", timing{calls: 3, call: func(int) error { kept64 = make([]byte, 64); return nil }}, 1, 64},
		{"every third", timing{calls: 3, call: func(i int) error {
			if i == 0 {
				kept64 = make([]byte, 48)
			}
			return nil
		}}, 1. / 3, 16},
		{"the refill's", timing{
			refill: func() error { kept64 = make([]byte, 64); return nil },
			calls:  3, call: func(int) error { return nil },
		}, 0, 0},
	} {
		allocs, bytes, err := c.timing.allocations(40)
		if err != nil || allocs != c.allocs || bytes != c.bytes {
			t.Errorf("%s: %v allocations and %v bytes a call, %v; want %v and %v", c.what, allocs, bytes, err, c.allocs, c.bytes)
		}
	}
}

func TestSamplesTimeEveryCallAndNoRefill(t *testing.T) {
	calls, refills := 0, 0
	count := timing{calls: 5, call: func(i int) error {
		if i != calls%5 {
			t.Errorf("call %d has number %d", calls, i)
		}
		calls++
		return nil
	}}
	if _, err := count.sample(7); err != nil || calls != 35 {
		t.Errorf("made %d calls, %v; want 35", calls, err)
	}
	count.refill = func() error { refills++; time.Sleep(2 * time.Millisecond); return nil }
	ns, err := count.sample(7)
	if err != nil || refills != 7 || calls != 70 {
		t.Errorf("made %d calls and %d refills, %v; want 70 and 7", calls, refills, err)
	}
	if ns > 2e6/5 {
		t.Errorf("a call takes %v ns: the refill was timed", ns)
	}
	broken := errors.New("broken")
	count.call = func(int) error { return broken }
	if _, err := count.sample(1); err != broken {
		t.Errorf("got %v, want the call's error", err)
	}
}

// ternaryRows runs the rows of ternary-quant, briefly.
func ternaryRows(t *testing.T, impl spec.Implementation, o BenchOptions) ([]RowResult, error) {
	t.Helper()
	o.Modules, o.Budget = []string{"ternary-quant"}, time.Millisecond
	var rows []RowResult
	err := Bench(context.Background(), impl, o, func(r RowResult) { rows = append(rows, r) })
	return rows, err
}

// miscoded is ref with another first code.
func miscoded() spec.Implementation {
	return proxy.Wrap(ref.Implementation(), func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			err := next(c)
			if out, ok := c.Dst.(*spec.TernaryWeights); ok {
				out.Codes[0] = -out.Codes[0]
			}
			return err
		}
	})
}

// peerOf is a peer in this process.
func peerOf(impl spec.Implementation) *Peer {
	impl.Name = "peer"
	return &Peer{impl, func(repeat int, calls func() error) (time.Duration, error) {
		began := time.Now()
		for range repeat {
			if err := calls(); err != nil {
				return 0, err
			}
		}
		return time.Since(began) / time.Duration(repeat), nil
	}}
}

func TestBenchEndsWhereAnOutputDiffers(t *testing.T) {
	rows, err := ternaryRows(t, miscoded(), BenchOptions{})
	if err == nil || len(rows) != 0 || !strings.Contains(err.Error(), "ternary-quant/quantize, page workload, on ref: differs: ") {
		t.Errorf("got %d rows and %v", len(rows), err)
	}
}

func TestBenchWithAPeerGivesRatios(t *testing.T) {
	limits := &spec.Limits{MulAdds: 1e3, Logic: 1e3, Memory: []spec.Bandwidth{{Level: "DRAM", Read: 100, Write: 100}}}
	rows, err := ternaryRows(t, fast.Implementation(), BenchOptions{Peer: peerOf(ref.Implementation()), Limits: limits})
	if err != nil || len(rows) != 4 {
		t.Fatalf("got %d rows, %v", len(rows), err)
	}
	for _, r := range rows {
		if r.PeerNote != "" || r.PeerNS == nil || r.PeerRatio == nil || r.PeerRatio.Min > r.PeerRatio.Q1 || r.PeerRatio.Q1 > r.PeerRatio.Median ||
			r.PeerRatio.Median > r.PeerRatio.Q3 || r.PeerRatio.Q3 > r.PeerRatio.Max || r.PeerRatio.Min <= 0 {
			t.Errorf("%s: no ratio: %+v", r.ID, r)
		}
		page, _ := spec.RowByID(r.ID)
		if want := limits.Time(page.Cost(r.Workload)); r.LimitNS != want || math.Abs(r.LimitShare-want/r.NS.Median) > 1e-12 {
			t.Errorf("%s: limit %v ns and a share of %v, want %v and that over the median", r.ID, r.LimitNS, r.LimitShare, want)
		}
		if r.Allocs != 0 || r.Bytes != 0 {
			t.Errorf("%s: %v allocations of %v bytes a call, want none", r.ID, r.Allocs, r.Bytes)
		}
	}
}

func TestBenchGivesNoShareOfALimitBelowACall(t *testing.T) {
	rows, err := ternaryRows(t, fast.Implementation(), BenchOptions{Limits: &spec.Limits{MulAdds: 1e5, Logic: 1e5}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.LimitNS <= 0 || r.LimitShare != 0 {
			t.Errorf("%s: limit %v ns, a share of %v", r.ID, r.LimitNS, r.LimitShare)
		}
	}
}

// A peer that is wrong, crashes or lacks a row costs that row its ratio and nothing
// else.
func TestBenchNotesWhatAPeerCannotDo(t *testing.T) {
	crashing := proxy.Wrap(ref.Implementation(), func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			if c.Op.Name == "quantize" {
				panic(&proxy.Breach{Symptom: spec.Crashed, Message: "gone\nfor good"})
			}
			return next(c)
		}
	})
	lacking := proxy.Wrap(ref.Implementation(), func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			if c.Op.Name == "quantize" {
				return spec.Reject(spec.Unsupported, "ternary-quant", "quantize", "something else", "this")
			}
			return next(c)
		}
	})
	other := ref.Implementation()
	other.Offers = []string{"zero-quant-v2"}
	for _, c := range []struct {
		what, note string
		peer       spec.Implementation
		ratios     int
	}{
		{"wrong", "differs: ", miscoded(), 2},
		{"crashing", "crashed: gone for good", crashing, 2},
		{"lacking an operation", "ternary-quant: quantize: ", lacking, 2},
		{"lacking the module", "does not offer ternary-quant: unsupported", other, 0},
	} {
		rows, err := ternaryRows(t, fast.Implementation(), BenchOptions{Peer: peerOf(c.peer)})
		if err != nil || len(rows) != 4 {
			t.Errorf("%s: %d rows, %v", c.what, len(rows), err)
		}
		ratios := 0
		for _, r := range rows {
			if r.PeerRatio != nil {
				ratios++
			}
			if (r.PeerRatio == nil) != strings.HasPrefix(r.PeerNote, c.note) || strings.Contains(r.PeerNote, "\n") {
				t.Errorf("%s: %s: note %q beside %v", c.what, r.ID, r.PeerNote, r.PeerRatio)
			}
		}
		if ratios != c.ratios {
			t.Errorf("%s: %d ratios, want %d", c.what, ratios, c.ratios)
		}
	}
}

// Where the state is used up, an operation is repeated only as often as a round calls it.
func TestPeerRepeatsNoMoreThanTheRowAllows(t *testing.T) {
	peer := peerOf(ref.Implementation())
	greatest := map[bool]int{}
	for _, bounded := range []bool{true, false} {
		v := &rival{peer: peer, timing: timing{calls: 8, call: func(int) error { return nil }}}
		if bounded {
			v.refill = func() error { return nil }
		}
		v.calibrate(time.Millisecond)
		greatest[bounded] = v.repeat
		if _, ok := v.sample(); !ok {
			t.Error(v.note())
		}
	}
	if greatest[true] != 8 || greatest[false] != most {
		t.Errorf("repeats %d and %d times, want 8 and %d", greatest[true], greatest[false], most)
	}
}

func TestSpreads(t *testing.T) {
	s := spreadOf([]float64{5, 1, 4, 2, 3, 9, 7, 6, 8})
	if want := (Spread{1, 3, 5, 7, 9}); *s != want {
		t.Errorf("got %v, want %v", *s, want)
	}
	if s := spreadOf([]float64{2}); *s != (Spread{2, 2, 2, 2, 2}) {
		t.Errorf("of one: got %v", *s)
	}
	quiet, noisy := Spread{100, 101, 109, 200, 300}, Spread{100, 101, 112, 200, 300}
	if quiet.Noisy() || !noisy.Noisy() {
		t.Error("a median 12% above the least sample is noisy, and 9% is not")
	}
	for _, c := range []struct {
		a, b    Spread
		differs bool
	}{
		{Spread{10, 10, 11, 12, 13}, Spread{10, 11, 12, 13, 14}, false},
		{Spread{10, 10, 11, 12, 30}, Spread{20, 20, 21, 22, 23}, false}, // once as slow as that
		{Spread{10, 10, 11, 12, 13}, Spread{20, 20, 21, 22, 23}, true},
	} {
		if c.a.Differs(&c.b) != c.differs || c.b.Differs(&c.a) != c.differs {
			t.Errorf("%v and %v: want %v", c.a, c.b, c.differs)
		}
	}
}

func TestPeerSummary(t *testing.T) {
	row := func(id string, name spec.WorkloadName, ratio float64) RowResult {
		r := RowResult{ID: id, Workload: name, NS: &Spread{}}
		if ratio > 0 {
			r.PeerRatio = &Spread{Median: ratio}
		}
		return r
	}
	figure := RowResult{ID: "figure", Workload: spec.HarnessWorkload}
	got := SummarizePeer([]RowResult{
		row("a", spec.HarnessWorkload, 0.01), row("a", spec.PageWorkload, 5), row("b", spec.HarnessWorkload, 0.5),
		row("c", spec.HarnessWorkload, 0), row("d", spec.HarnessWorkload, 1./3), figure,
	})
	mean := math.Cbrt(0.01 * 0.5 / 3)
	if got.Rows != 3 || math.Abs(got.Mean-mean) > 1e-12 || !slices.Equal(got.Slow, []string{"b"}) || !slices.Equal(got.Missing, []string{"c"}) {
		t.Errorf("got %+v, want 3 rows of mean %v, b slow and c missing", got, mean)
	}
}

// benchLines is a file of rows.
func benchLines(t *testing.T, values ...any) string {
	t.Helper()
	var b strings.Builder
	for _, v := range values {
		if err := json.NewEncoder(&b).Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestBenchFilesAreReadBack(t *testing.T) {
	want := BenchFile{
		Machine: Machine{Type: "machine", CPU: "a", Tier: "go", Limits: []spec.Limits{{Tier: "avx2", Exps: 2}, {Tier: "go", Exps: 1}}},
		Rows: []RowResult{
			{Type: "row", ID: "x/y", Workload: spec.PageWorkload, Implementation: "fast", NS: &Spread{1, 2, 3, 4, 5}, PeerRatio: &Spread{Median: 0.5}, LimitNS: 1},
			{Type: "row", ID: "x/z", Workload: spec.PageWorkload, Implementation: "fast", Figure: new(float64)},
		},
	}
	footer := BenchFooter{Type: "footer", Rows: 2}
	text := benchLines(t, want.Machine, want.Rows[0], want.Rows[1], footer)
	got, err := ReadBench(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r := got.Row("x/y", spec.PageWorkload, "fast"); r == nil || r.NS.Q3 != 4 || got.Row("x/y", spec.HarnessWorkload, "fast") != nil {
		t.Errorf("got row %+v", r)
	}
	if l := got.Machine.InForce(); l == nil || l.Exps != 1 {
		t.Errorf("limits in force: got %+v", l)
	}
	for what, broken := range map[string]string{
		"empty":               "",
		"no JSON":             "nonsense\n",
		"without the machine": benchLines(t, want.Rows[0], footer),
		"two machines":        benchLines(t, want.Machine, want.Machine, footer),
		"cut off":             text[:len(text)/2],
		"without the footer":  benchLines(t, want.Machine, want.Rows[0], want.Rows[1]),
		"a row too few":       benchLines(t, want.Machine, want.Rows[0], footer),
		"a row behind":        text + benchLines(t, want.Rows[0]),
		"two footers":         text + benchLines(t, footer),
		"a stranger":          benchLines(t, want.Machine, map[string]string{"type": "growth"}, footer),
		"a report":            benchLines(t, map[string]string{"type": "header"}),
	} {
		if _, err := ReadBench(strings.NewReader(broken)); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want an error in a line", what, err)
		}
	}
}

// grow follows ternary-quant over two small sizes.
func grow(impl spec.Implementation, plan growthPlan) (list []Growth, err error) {
	err = measureGrowth(context.Background(), impl, []string{"ternary-quant"}, plan, func(g Growth) { list = append(list, g) })
	return list, err
}

func TestGrowthReportsSizesAndExponent(t *testing.T) {
	list, err := grow(fast.Implementation(), growthPlan{[]float64{1, 4}, time.Minute, time.Millisecond})
	if err != nil || len(list) != 2 {
		t.Fatalf("got %d operations, %v; want quantize and dequantize", len(list), err)
	}
	for _, g := range list {
		if len(g.Sizes) != 2 || g.Exponent == 0 || g.Goroutines != 0 || g.Stopped != "" {
			t.Fatalf("got %+v", g)
		}
		first, second := g.Sizes[0], g.Sizes[1]
		if first.Sides != "256×256" || second.Sides != "512×512" || !first.Checked || second.Checked {
			t.Errorf("%s: got %+v and %+v", g.ID, first, second)
		}
		if ratio := float64(second.Operations) / float64(first.Operations); math.Abs(ratio-4) > 0.01 {
			t.Errorf("%s: %v times the operations, want 4", g.ID, ratio)
		}
		for _, s := range g.Sizes {
			// Codes are a byte for four of the input, weights as many.
			if s.NS <= 0 || s.AllNS <= 0 || s.Speedup != s.NS/s.AllNS || s.Memory < 0.25 || s.Memory > 2 || s.Allocs != 0 {
				t.Errorf("%s: got %+v", g.ID, s)
			}
		}
	}
}

func TestGrowthStopsBeforeACallThatIsTooSlow(t *testing.T) {
	list, err := grow(fast.Implementation(), growthPlan{[]float64{1, 4}, time.Microsecond, 0})
	if err != nil || len(list) != 2 || len(list[0].Sizes) != 1 || !strings.HasPrefix(list[0].Stopped, "512×512 is not run: ") {
		t.Errorf("got %+v, %v", list, err)
	}
}

func TestGrowthSeesWhatIsWrongOrLeftBehind(t *testing.T) {
	plan := growthPlan{[]float64{1}, time.Minute, 0}
	if list, err := grow(miscoded(), plan); err == nil || len(list) != 0 {
		t.Errorf("a wrong implementation: got %+v, %v", list, err)
	}
	forever := make(chan struct{})
	defer close(forever)
	leaking := proxy.Wrap(ref.Implementation(), func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			if c.Op.Name == "quantize" {
				go func() { <-forever }()
			}
			return next(c)
		}
	})
	if list, err := grow(leaking, plan); err != nil || len(list) != 2 || list[0].Goroutines == 0 || list[1].Goroutines != 0 {
		t.Errorf("got %+v, %v", list, err)
	}
}

// Every operation that grows has its row, and as many operations as it says to at the
// sizes that are its row's.
func TestGrowthsAreRowsThatGrow(t *testing.T) {
	for _, g := range growths {
		if rowByID(g.row) == nil {
			t.Errorf("%s: no row %s", g.id, g.row)
			continue
		}
		before := int64(0)
		for _, times := range []float64{1, 16, 256} {
			w, _, sides := g.at(times)
			c := g.costOf(w)
			operations := c.MulAdds + c.Exps + c.Logic
			if operations < 10*before || operations == 0 || g.input(w) == 0 {
				t.Errorf("%s at %s: %d operations on %d floats, %d before", g.id, sides, operations, g.input(w), before)
			}
			before = operations
			row, _ := spec.RowByID(g.row)
			if times != 1 {
				continue
			}
			for name, value := range row.Workload(g.name) {
				if !reflect.DeepEqual(w[name], value) {
					t.Errorf("%s: %s is %v at the row's size, want %v", g.id, name, w[name], value)
				}
			}
		}
	}
	if s := slope([]GrowthSize{{Operations: 10, NS: 5}, {Operations: 100, NS: 500}, {Operations: 1000, NS: 50_000}}); math.Abs(s-2) > 1e-9 {
		t.Errorf("a square: slope %v, want 2", s)
	}
}

func ExampleSpread_Differs() {
	now, then := Spread{Min: 90, Median: 100, Max: 110}, Spread{Min: 125, Median: 130, Max: 150}
	fmt.Println(now.Differs(&then))
	// Output: true
}
