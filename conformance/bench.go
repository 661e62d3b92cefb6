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
	// repeats bounds how often each operation of a call may be made in place of once,
	// where the state allows only so many; 0 stands for no bound, or for calls where
	// there is a refill.
	repeats int
	// result is what the calls came to, however many rounds there were. For a row
	// that is no latency it is a *float64, the figure.
	result func() (any, error)
	// note says what the result is worth, where a time alone would hide it; nil
	// where there is nothing to say.
	note func() string
}

// round makes the calls of a round, after its refill.
func (t *timing) round() error {
	if t.refill != nil {
		if err := t.refill(); err != nil {
			return err
		}
	}
	return t.run(1)
}

// run makes the calls of so many rounds and nothing else: this is what is timed.
func (t *timing) run(rounds int) error {
	for range rounds {
		for i := range t.calls {
			if err := t.call(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// regions runs rounds between begin and end: all at once, or, where each needs a
// refill, one by one, with the refills outside.
func (t *timing) regions(rounds int, begin, end func()) error {
	each := rounds
	if t.refill != nil {
		each = 1
	}
	for done := 0; done < rounds; done += each {
		if t.refill != nil {
			if err := t.refill(); err != nil {
				return err
			}
		}
		begin()
		err := t.run(each)
		end()
		if err != nil {
			return err
		}
	}
	return nil
}

// sample runs rounds and returns the nanoseconds of a call. The two readings of the
// clock that a region takes are in it, and nothing is subtracted for them; it
// allocates nothing.
func (t *timing) sample(rounds int) (float64, error) {
	var began time.Time
	var total time.Duration
	err := t.regions(rounds, func() { began = time.Now() }, func() { total += time.Since(began) })
	return float64(total) / float64(rounds*t.calls), err
}

// allocations counts those of a call, and their bytes, in rounds from which refills are
// left out. It is the least of a few counts: what the runtime does meanwhile is not
// the call's.
func (t *timing) allocations(rounds int) (allocs, bytes float64, err error) {
	var before, after runtime.MemStats
	for range 3 {
		var mallocs, size uint64
		err := t.regions(rounds, func() { runtime.ReadMemStats(&before) }, func() {
			runtime.ReadMemStats(&after)
			mallocs += after.Mallocs - before.Mallocs
			size += after.TotalAlloc - before.TotalAlloc
		})
		if err != nil {
			return 0, 0, err
		}
		calls := float64(rounds * t.calls)
		if a := float64(mallocs) / calls; allocs == 0 || a < allocs {
			allocs, bytes = a, float64(size)/calls
		}
		if mallocs == 0 {
			return 0, 0, nil
		}
	}
	return allocs, bytes, nil
}

// calibrate returns the number of rounds that take about so long, refills with them,
// and how long one takes. It makes the calls warm.
func (t *timing) calibrate(long time.Duration) (rounds int, round time.Duration, err error) {
	for rounds = 1; ; {
		began := time.Now()
		if _, err := t.sample(rounds); err != nil {
			return 0, 0, err
		}
		took := max(time.Since(began), 1)
		round = max(took/time.Duration(rounds), 1)
		if took >= long/4 || rounds >= mostRounds {
			return min(mostRounds, max(1, int(long/round))), round, nil
		}
		rounds = min(mostRounds, 1+int(int64(rounds)*int64(long)/int64(took)/2))
	}
}

// mostRounds bounds a sample of calls that take no time.
const mostRounds = 1 << 20

// A RowResult is one row of one workload on one implementation.
type RowResult struct {
	// Type is "row": the lines of a file of them are told apart by it.
	Type           string            `json:"type"`
	ID             string            `json:"id"`
	Workload       spec.WorkloadName `json:"workload"`
	Implementation string            `json:"impl"`
	// NS is the time of a call in nanoseconds over several samples; nil for a row
	// that is no latency.
	NS *Spread `json:"ns,omitempty"`
	// Noisy says that the samples of NS lie far apart.
	Noisy bool `json:"noisy,omitempty"`
	// Figure is what a row that is no latency came to.
	Figure *float64 `json:"figure,omitempty"`
	// PageUS is the page's latency in microseconds, or Page its figure in Unit.
	PageUS float64 `json:"page_us,omitempty"`
	Page   float64 `json:"page,omitempty"`
	Unit   string  `json:"unit"`
	// PageRatio is the measured figure over the page's: below 1 is faster.
	PageRatio float64 `json:"page_ratio"`
	// PeerNS is the time of a peer's call, measured in turn with NS, and PeerRatio the
	// samples of NS over the peer's beside them: below 1 is faster than the peer.
	PeerNS    *Spread `json:"peer_ns,omitempty"`
	PeerRatio *Spread `json:"peer_ratio,omitempty"`
	// PeerNote says why there is no time of the peer, which was asked for one.
	PeerNote string `json:"peer_note,omitempty"`
	// LimitNS is the least time that the row's work takes on this machine, and
	// LimitShare what it is of the median; 0 where the limit is below the price of a
	// call. See [spec.Limits].
	LimitNS    float64 `json:"limit_ns,omitempty"`
	LimitShare float64 `json:"limit_share,omitempty"`
	// Allocs and Bytes are allocations a call.
	Allocs float64 `json:"allocs"`
	Bytes  float64 `json:"bytes"`
	// Checked says that the output of the timed calls was compared with ref's.
	Checked bool `json:"checked"`
	// Calls is the number of calls timed.
	Calls int `json:"calls"`
	// Note says what the output is worth: the energy that a low rank keeps.
	Note string `json:"note,omitempty"`
}

// A Spread is what several samples came to: the least, the quartiles and the
// greatest.
type Spread struct {
	Min    float64 `json:"min"`
	Q1     float64 `json:"q1"`
	Median float64 `json:"median"`
	Q3     float64 `json:"q3"`
	Max    float64 `json:"max"`
}

// spreadOf is the spread of samples, of which there is one at least.
func spreadOf(samples []float64) *Spread {
	sorted := slices.Sorted(slices.Values(samples))
	last := len(sorted) - 1
	return &Spread{sorted[0], sorted[last/4], sorted[len(sorted)/2], sorted[last-last/4], sorted[last]}
}

// Noisy reports whether the samples lie more than 10% apart in their lower half:
// the machine was busy with something else.
func (s *Spread) Noisy() bool { return s.Median > 1.1*s.Min }

// A row is timed in mostSamples samples, or leastSamples where its calls are slow.
const (
	mostSamples  = 21
	leastSamples = 5
)

// BenchOptions say what is timed, and beside what.
type BenchOptions struct {
	// Modules restricts the rows to those of so many modules. Default all.
	Modules []string
	// Budget is about how long a row is timed, its peer as long again.
	Budget time.Duration
	// Peer is timed in turn with the implementation, nil for none.
	Peer *Peer
	// Limits are this machine's, nil where they are not known.
	Limits *spec.Limits
}

// Bench times the page's rows on an implementation in this process, and calls each
// with every result. An output that differs from ref's ends the run: a time counts
// only if the output was right. One of the peer's, or a row that it cannot run, is
// noted in the result.
func Bench(ctx context.Context, impl spec.Implementation, o BenchOptions, each func(RowResult)) error {
	if err := impl.Validate(); err != nil {
		return err
	}
	if err := checkModules(o.Modules); err != nil {
		return err
	}
	for _, m := range modules() {
		if len(o.Modules) > 0 && !slices.Contains(o.Modules, m.spec.Name) {
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
				result, err := r.measure(ctx, impl, m.spec, name, o)
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

func checkModules(names []string) error {
	for _, name := range names {
		if spec.ModuleByName(name) == nil {
			return spec.Reject(spec.Invalid, "conformance", "module", "a module that this version specifies", fmt.Sprintf("%q", name))
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

// measure measures a row, and checks what it came to.
func (r *row) measure(ctx context.Context, impl spec.Implementation, m *spec.Module, name spec.WorkloadName, o BenchOptions) (RowResult, error) {
	page, _ := spec.RowByID(r.id)
	w := page.Workload(name)
	result := RowResult{Type: "row", ID: r.id, Workload: name, Implementation: impl.Name, Unit: page.Unit}
	t, err := r.prepare(impl, name, w)
	if err != nil {
		return result, err
	}
	want, err := r.expected(name, w)
	if err != nil {
		return result, err
	}
	rival := r.rival(o.Peer, m, name, w)
	defer rival.close()
	rival.check(func(t *trial, got any) { r.equal(t, got, want) })
	if page.IsLatency() {
		err = result.time(ctx, &t, rival, o.Budget)
	} else {
		err = t.round()
	}
	if err != nil {
		return result, err
	}
	got, err := t.result()
	if err != nil {
		return result, err
	}
	if err := judge(impl, func(t *trial) { r.equal(t, got, want) }); err != nil {
		return result, err
	}
	result.Checked = true
	if page.IsLatency() {
		result.PageUS, result.PageRatio = page.Value, result.NS.Median/1e3/page.Value
		result.limit(page.Cost(name), o.Limits)
	} else {
		result.Figure, result.Page = got.(*float64), page.Value
		result.PageRatio = *result.Figure / page.Value
	}
	if t.note != nil {
		result.Note = t.note()
	}
	if result.PeerNote = rival.note(); result.PeerNote != "" {
		result.PeerNS, result.PeerRatio = nil, nil
	}
	return result, nil
}

// time fills in a latency: samples of ours and of the rival's in turn. Garbage that
// is not the row's is collected before each of ours, and what that has cooled is
// warmed up.
func (result *RowResult) time(ctx context.Context, t *timing, rival *rival, budget time.Duration) error {
	slice := max(budget/mostSamples, shortestSample)
	rounds, round, err := t.calibrate(slice)
	if err != nil {
		return err
	}
	if result.Allocs, result.Bytes, err = t.allocations(rounds); err != nil {
		return err
	}
	samples := max(leastSamples, min(mostSamples, int(budget/max(round, rival.calibrate(slice)))))
	runtime.GC()
	var ns, theirs, ratios []float64
	for range samples {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		other, beside := rival.sample()
		if beside {
			runtime.GC()
			if _, err := t.sample(1 + rounds/8); err != nil {
				return err
			}
		}
		own, err := t.sample(rounds)
		if err != nil {
			return err
		}
		ns = append(ns, own)
		if beside {
			theirs, ratios = append(theirs, other), append(ratios, own/other)
		}
	}
	result.NS, result.Calls = spreadOf(ns), samples*rounds*t.calls
	result.Noisy = result.NS.Noisy()
	if len(theirs) > 0 {
		result.PeerNS, result.PeerRatio = spreadOf(theirs), spreadOf(ratios)
	}
	return nil
}

// shortestSample is so long that two readings of the clock are nothing beside it.
const shortestSample = 50 * time.Microsecond

// callNS is about what a call costs before it does anything: two dispatches, a look at
// its arguments, and the way back. A share of a limit below that would say nothing of
// the row's work.
const callNS = 10

// limit compares a latency with the least time of its work.
func (result *RowResult) limit(c spec.Cost, limits *spec.Limits) {
	if limits == nil {
		return
	}
	result.LimitNS = limits.Time(c)
	if result.LimitNS >= callNS {
		result.LimitShare = result.LimitNS / result.NS.Median
	}
}

// expected is what a round on ref comes to.
func (r *row) expected(name spec.WorkloadName, w spec.Workload) (any, error) {
	reference, err := r.prepare(ref.Implementation(), name, w)
	if err != nil {
		return nil, err
	}
	if err := reference.round(); err != nil {
		return nil, err
	}
	return reference.result()
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
	}
	if err := t.round(); err != nil {
		b.Fatal(err)
	}
	got, err := t.result()
	if err != nil {
		b.Fatal(err)
	}
	want, err := r.expected(name, page.Workload(name))
	if err != nil {
		b.Fatal(err)
	}
	if err := judge(impl, func(t *trial) { r.equal(t, got, want) }); err != nil {
		b.Fatal(err)
	}
	if !page.IsLatency() {
		b.ReportMetric(*got.(*float64)/page.Value, "page-x")
	}
}
