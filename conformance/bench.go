package conformance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

// A row runs one row of the page on an implementation.
type row struct {
	id string // of spec.Rows
	// prepare makes an instance in the state that the row speaks of, with inputs
	// that depend on the workload only.
	prepare func(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error)
	// equal compares what the calls came to.
	equal func(t *trial, got, want any)
}

// A timing is a row that is ready to be timed: rounds of calls, each after an
// untimed refill.
type timing struct {
	// refill prepares a round; nil where nothing is used up.
	refill func() error
	// calls is the number of calls a round, and call makes number i of them.
	calls int
	call  func(i int) error
	// result is what the calls came to, however many rounds there were. For a row
	// that is no latency it is a *float64, the figure.
	result func() (any, error)
	// note says what the result is worth, where a time alone would hide it; nil
	// where there is nothing to say.
	note func() string
}

// A Clock runs calls and returns how long they took. One of an implementation in
// another process tells the time that they took there; what they came to is then
// nobody's.
type Clock func(calls func() error) (time.Duration, error)

// wallClock is the clock of an implementation in this process.
func wallClock(calls func() error) (time.Duration, error) {
	began := time.Now()
	err := calls()
	return time.Since(began), err
}

// round makes the calls of a round and returns how long they took by a clock.
func (t *timing) round(clock Clock) (time.Duration, error) {
	if t.refill != nil {
		if err := t.refill(); err != nil {
			return 0, err
		}
	}
	return clock(func() error {
		for i := range t.calls {
			if err := t.call(i); err != nil {
				return err
			}
		}
		return nil
	})
}

// A RowResult is one row of one workload on one implementation.
type RowResult struct {
	ID             string            `json:"id"`
	Workload       spec.WorkloadName `json:"workload"`
	Implementation string            `json:"impl"`
	// NS is the time of a call in nanoseconds over several samples; nil for a row
	// that is no latency.
	NS *Spread `json:"ns,omitempty"`
	// Figure is what a row that is no latency came to.
	Figure *float64 `json:"figure,omitempty"`
	// Page is the page's figure, in Unit; a latency is in "us".
	Page float64 `json:"page"`
	Unit string  `json:"unit"`
	// PageRatio is the measured figure over the page's: below 1 is faster.
	PageRatio float64 `json:"page_ratio"`
	// PeerRatio is the measured figure over a peer's, 0 where there is none.
	PeerRatio float64 `json:"peer_ratio,omitempty"`
	// Allocs and Bytes are allocations a call, 0 where it is made in another process.
	Allocs float64 `json:"allocs"`
	Bytes  float64 `json:"bytes"`
	// Checked says that the output of the timed calls was compared with ref's.
	Checked bool `json:"checked"`
	// Calls is the number of calls timed.
	Calls int `json:"calls"`
	// Note says what the output is worth: the energy that a low rank keeps.
	Note string `json:"note,omitempty"`
}

// Value is the measured figure: the median in nanoseconds, or what a row that is no
// latency came to.
func (r *RowResult) Value() float64 {
	if r.NS != nil {
		return r.NS.Median
	}
	return *r.Figure
}

// A Spread is the least, the middle and the greatest of several samples.
type Spread struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

// Noisy reports whether the samples lie more than 10% apart in their lower half:
// the machine was busy with something else.
func (s *Spread) Noisy() bool { return s.Median > 1.1*s.Min }

// samples is the number of times that a row is timed.
const samples = 11

// Bench times the page's rows on an implementation, for about budget each, and
// calls each with every result. modules restricts it to those names, where there
// are any. clock is nil for an implementation in this process. An output that
// differs from ref's ends the run: a time counts only if the output was right.
func Bench(ctx context.Context, impl spec.Implementation, clock Clock, budget time.Duration, moduleNames []string, each func(RowResult)) error {
	if err := impl.Validate(); err != nil {
		return err
	}
	for _, name := range moduleNames {
		if spec.ModuleByName(name) == nil {
			return spec.Reject(spec.Invalid, "conformance", "module", "a module that this version specifies", fmt.Sprintf("%q", name))
		}
	}
	for _, m := range modules() {
		if len(moduleNames) > 0 && !slices.Contains(moduleNames, m.spec.Name) {
			continue
		}
		for _, r := range m.rows {
			for _, name := range spec.WorkloadNames {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if !impl.OffersVariant(m.spec, rowVariant(m.spec, name)) {
					continue
				}
				result, err := r.measure(impl, clock, name, budget)
				if isUnsupported(err) {
					continue
				}
				if err != nil {
					return fmt.Errorf("%s, %s workload, on %s: %w", r.id, name, impl.Name, err)
				}
				each(result)
			}
		}
	}
	return nil
}

// rowVariant is the variant that a workload runs: squish6, where there is one,
// for the harness, so that a peer does the same work.
func rowVariant(m *spec.Module, name spec.WorkloadName) spec.Variant {
	if name == spec.HarnessWorkload && m.HasVariant(spec.Squish6) {
		return spec.Squish6
	}
	return spec.Documented
}

// measure measures a row. clock is nil for an implementation in this process.
func (r *row) measure(impl spec.Implementation, clock Clock, name spec.WorkloadName, budget time.Duration) (result RowResult, err error) {
	if clock != nil {
		wrapped, instances := kept(impl)
		impl = wrapped
		defer func() {
			switch r := recover().(type) {
			case nil:
				if lost := closeAll(*instances); lost != nil && err == nil {
					err = lost
				}
			case *proxy.Breach:
				err = r
			default:
				panic(r)
			}
		}()
	}
	page, _ := spec.RowByID(r.id)
	result = RowResult{ID: r.id, Workload: name, Implementation: impl.Name, Page: page.Value, Unit: page.Unit}
	t, err := r.prepare(impl, name, page.Workload(name))
	if err != nil {
		return result, err
	}
	if page.IsLatency() {
		if err := result.time(&t, clock, budget); err != nil {
			return result, err
		}
		result.PageRatio = result.NS.Median / 1e3 / page.Value
	} else {
		figure, err := r.figure(&t)
		if err != nil {
			return result, err
		}
		result.Figure, result.PageRatio = &figure, figure/page.Value
	}
	if err := r.verify(&t, impl, name, page.Workload(name)); err != nil {
		return result, err
	}
	result.Checked = true
	if t.note != nil {
		result.Note = t.note()
	}
	return result, nil
}

// time fills in a latency: several samples of as many rounds as fit the budget.
func (result *RowResult) time(t *timing, clock Clock, budget time.Duration) error {
	remote := clock != nil
	if !remote {
		clock = wallClock
	}
	began := time.Now()
	took, err := t.round(clock) // warms up
	if err != nil {
		return err
	}
	if remote {
		took = time.Since(began) // what the pipe takes is of the budget too
	}
	rounds := max(1, int(budget/samples/max(took, time.Microsecond)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var ns []float64
	for range samples {
		var total time.Duration
		for range rounds {
			took, err := t.round(clock)
			if err != nil {
				return err
			}
			total += took
		}
		ns = append(ns, float64(total.Nanoseconds())/float64(rounds*t.calls))
	}
	runtime.ReadMemStats(&after)
	slices.Sort(ns)
	result.Calls = samples * rounds * t.calls
	result.NS = &Spread{ns[0], ns[len(ns)/2], ns[len(ns)-1]}
	if remote {
		_, err := t.round(wallClock) // for its result
		return err
	}
	result.Allocs = float64(after.Mallocs-before.Mallocs) / float64(result.Calls)
	result.Bytes = float64(after.TotalAlloc-before.TotalAlloc) / float64(result.Calls)
	return nil
}

func (r *row) figure(t *timing) (float64, error) {
	if _, err := t.round(wallClock); err != nil {
		return 0, err
	}
	result, err := t.result()
	if err != nil {
		return 0, err
	}
	return *result.(*float64), nil
}

// verify compares what the timed calls came to with a round on ref.
func (r *row) verify(t *timing, impl spec.Implementation, name spec.WorkloadName, w spec.Workload) error {
	got, err := t.result()
	if err != nil {
		return err
	}
	reference, err := r.prepare(ref.Implementation(), name, w)
	if err != nil {
		return err
	}
	if _, err := reference.round(wallClock); err != nil {
		return err
	}
	want, err := reference.result()
	if err != nil {
		return err
	}
	return judge(impl, func(t *trial) { r.equal(t, got, want) })
}

// sameResult compares results of a row that has no tolerance.
func (t *trial) sameResult(got, want any) {
	t.Helper()
	t.sameBits("result", got, want)
}

// gaussian returns n Gaussian numbers, always the same for a seed.
func gaussian(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 0x5eed))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64())
	}
	return out
}

// gaussianHeads is a tensor of Gaussian numbers, always the same for a seed.
func gaussianHeads(heads, tokens, dim int, seed uint64) spec.Heads {
	return spec.Heads{Heads: heads, Tokens: tokens, Dim: dim, Stride: tokens * dim, Data: gaussian(heads*tokens*dim, seed)}
}

// BenchmarkRows runs the page's rows on an implementation as Go benchmarks, named
// module/operation/workload/implementation. Beside ns/op each reports page-x, its
// figure over the page's.
func BenchmarkRows(b *testing.B, impl spec.Implementation) {
	for _, m := range modules() {
		for _, r := range m.rows {
			for _, name := range spec.WorkloadNames {
				if impl.OffersVariant(m.spec, rowVariant(m.spec, name)) {
					b.Run(fmt.Sprintf("%s/%s/%s", r.id, name, impl.Name), func(b *testing.B) { r.benchmark(b, impl, name) })
				}
			}
		}
	}
}

func (r *row) benchmark(b *testing.B, impl spec.Implementation, name spec.WorkloadName) {
	page, _ := spec.RowByID(r.id)
	t, err := r.prepare(impl, name, page.Workload(name))
	if isUnsupported(err) {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	next := t.calls
	for b.Loop() {
		if next == t.calls {
			next = 0
			if t.refill != nil {
				b.StopTimer()
				if err := t.refill(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		}
		if err := t.call(next); err != nil {
			b.Fatal(err)
		}
		next++
	}
	if page.IsLatency() {
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/page.Value, "page-x")
	} else if figure, err := r.figure(&t); err != nil {
		b.Fatal(err)
	} else {
		b.ReportMetric(figure/page.Value, "page-x")
	}
	if _, err := t.round(wallClock); err != nil {
		b.Fatal(err)
	}
	if err := r.verify(&t, impl, name, page.Workload(name)); err != nil {
		b.Fatal(err)
	}
}
