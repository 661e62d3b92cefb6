package conformance

import (
	"context"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/squishspec/squishspec/spec"
)

// A growing is a row that is timed at larger sizes: an operation on weights or an
// attention.
type growing struct {
	id string // of the result: a row's, or for a method that no row has its like
	// row is the row that is run, in a workload of that name; change completes its
	// parameters.
	row    string
	name   spec.WorkloadName
	change map[string]any
	// sides are the sizes that grow together: those of a matrix, each by the root of the
	// times that its elements grow, or numbers of tokens, up to a limit.
	sides  []string
	tokens bool
	// input is the number of float32s of the weights, or of queries, keys and values.
	input func(spec.Workload) int64
	// cost is nil where it is the row's.
	cost func(spec.Workload) spec.Cost
}

// growths are all there are.
var growths = []growing{
	attentionGrowth("cross-modal-attn/forward", func(w spec.Workload) int64 {
		return headed(w, w.Int("seq_text", 1)+2*w.Int("seq_vision", 1))
	}, "seq_text", "seq_vision"),
	attentionGrowth("cross-doc-attn/forward", func(w spec.Workload) int64 {
		return headed(w, w.Int("seq_q", 1)+2*w.Int("docs", 1)*w.Int("seq_k", 1))
	}, "seq_q", "seq_k"),
	weightGrowth("ternary-quant/quantize", spec.PageWorkload, layer(1)),
	weightGrowth("ternary-quant/dequantize", spec.PageWorkload, layer(1)),
	attentionGrowth("binary-attn/forward", func(w spec.Workload) int64 { return headed(w, 3*w.Int("seq", 1)) }, "seq"),
	weightGrowth("structured-prune/prune", spec.PageWorkload, layer(1)),
	weightGrowth("structured-prune/prune", spec.HarnessWorkload, layer(1)),
	weightGrowth("layer-fusion/cosine-similarity", spec.PageWorkload, layer(2)),
	weightGrowth("layer-fusion/fuse", spec.PageWorkload, layer(2)),
	{
		id: "weight-sharing/get-effective-weight", row: "weight-sharing/get-effective-weight", name: spec.HarnessWorkload,
		sides: []string{"hidden_dim"},
		input: func(w spec.Workload) int64 { return int64(w.Int("hidden_dim", 1)) * int64(w.Int("hidden_dim", 1)) },
	},
	calibrationGrowth("quant-calib/calibrate-minmax", spec.CalibrateMinMax, nil),
	calibrationGrowth("quant-calib/calibrate-mse", spec.CalibrateMSE, func(w spec.Workload) spec.Cost {
		// A quotient, a difference and a square for every element and clip bound.
		n := int64(w.Int("samples", 1)) * int64(w.Int("channels", 1))
		return spec.Cost{MulAdds: 3 * spec.CalibrationBounds * n, Logic: spec.CalibrationBounds * n, Bytes: 4 * n}
	}),
	weightGrowth("sparse-weight/compress", spec.PageWorkload, layer(1)),
	weightGrowth("sparse-weight/compress", spec.HarnessWorkload, layer(1)),
	weightGrowth("sparse-weight/decompress", spec.PageWorkload, layer(1)),
	weightGrowth("sparse-weight/decompress", spec.HarnessWorkload, layer(1)),
	weightGrowth("delta-compress/compress", spec.PageWorkload, layer(2)),
	weightGrowth("delta-compress/decompress", spec.PageWorkload, layer(1)),
	weightGrowth("zero-quant-v2/quantize", spec.PageWorkload, layer(1)),
	weightGrowth("zero-quant-v2/dequantize", spec.PageWorkload, layer(1)),
	weightGrowth("gptq-layer/calibrate", spec.PageWorkload, layer(1)),
	weightGrowth("awq-v2/calibrate", spec.PageWorkload, layer(1)),
	weightGrowth("awq-v2/quantize", spec.PageWorkload, layer(1)),
	weightGrowth("iter-prune/prune-step-10", spec.PageWorkload, layer(1)),
}

func weightGrowth(id string, name spec.WorkloadName, input func(spec.Workload) int64) growing {
	return growing{id: id, row: id, name: name, sides: []string{"rows", "cols"}, input: input}
}

func calibrationGrowth(id string, method spec.CalibrationMethod, cost func(spec.Workload) spec.Cost) growing {
	return growing{
		id: id, row: "quant-calib/calibrate-minmax", name: spec.PageWorkload, change: map[string]any{"method": string(method)},
		sides: []string{"samples", "channels"}, cost: cost,
		input: func(w spec.Workload) int64 { return int64(w.Int("samples", 1)) * int64(w.Int("channels", 1)) },
	}
}

func attentionGrowth(id string, input func(spec.Workload) int64, sides ...string) growing {
	return growing{id: id, row: id, name: spec.PageWorkload, sides: sides, tokens: true, input: input}
}

// mostTimes is how often the sequences of the rows, of 64 tokens, are in 4096.
const mostTimes = 4096 / 64

// layer is the size of so many matrices of a row's rows and columns.
func layer(n int64) func(spec.Workload) int64 {
	return func(w spec.Workload) int64 { return n * int64(w.Int("rows", 1)) * int64(w.Int("cols", 1)) }
}

func headed(w spec.Workload, tokens int) int64 {
	return int64(tokens) * int64(w.Int("n_heads", 1)) * int64(w.Int("head_dim", 1))
}

// at is the workload at so many times its size, the times that it comes to, and its
// sides in words.
func (g *growing) at(times float64) (spec.Workload, float64, string) {
	side := math.Sqrt(times)
	if g.tokens {
		times = min(times, mostTimes)
		side = times
	}
	row, _ := spec.RowByID(g.row)
	w := maps.Clone(row.Workload(g.name))
	maps.Copy(w, g.change)
	sides := ""
	for _, name := range g.sides {
		w = w.With(name, math.Round(w.Float(name, 1)*side))
		sides += fmt.Sprintf("×%d", w.Int(name, 1))
	}
	return w, times, sides[len("×"):]
}

func (g *growing) costOf(w spec.Workload) spec.Cost {
	if g.cost != nil {
		return g.cost(w)
	}
	row, _ := spec.RowByID(g.row)
	return row.CostOf(g.name, w)
}

// A Growth is how an operation's time grows with its size.
type Growth struct {
	// Type is "growth".
	Type           string            `json:"type"`
	ID             string            `json:"id"`
	Workload       spec.WorkloadName `json:"workload"`
	Implementation string            `json:"impl"`
	Sizes          []GrowthSize      `json:"sizes"`
	// Exponent is the slope of log time over log operations on one core: 1 where the
	// time grows as the operation count does. 0 where there is but one size.
	Exponent float64 `json:"exponent,omitempty"`
	// Goroutines is the number of those left behind.
	Goroutines int `json:"goroutines"`
	// Stopped says why a larger size was not run.
	Stopped string `json:"stopped,omitempty"`
}

// A GrowthSize is one size of a Growth.
type GrowthSize struct {
	// Times is how many times the weights of the row there are, or its tokens, and Sides
	// are what grew, in words.
	Times float64 `json:"times"`
	Sides string  `json:"sides"`
	// Operations are the multiply-adds, exponentials and comparisons of its Cost.
	Operations int64 `json:"operations"`
	// NS is the time of a call in nanoseconds with GOMAXPROCS 1, the least of a few;
	// AllNS with as many as Cores, and Speedup how many times as fast that is.
	NS      float64 `json:"ns"`
	AllNS   float64 `json:"all_ns"`
	Cores   int     `json:"cores"`
	Speedup float64 `json:"speedup"`
	// PerOperation is NS over Operations.
	PerOperation float64 `json:"ns_per_operation"`
	// Memory are the bytes that a new instance's first call allocates, result and
	// scratch, over those of the input as float32.
	Memory float64 `json:"memory"`
	// Allocs are the allocations of a later call on one core.
	Allocs float64 `json:"allocs"`
	// Checked says that the result was compared with ref's: at the row's own size. That
	// larger ones agree is tested elsewhere.
	Checked bool `json:"checked"`
}

// MeasureGrowth times the operations on weights and the attentions at 1, 16 and 256
// times their row's size, sequences up to 4096 tokens, each with one core and with all, and calls each with every
// result. At the row's size the output must agree with ref's: otherwise the run ends.
// It changes GOMAXPROCS, and puts it back.
func MeasureGrowth(ctx context.Context, impl spec.Implementation, moduleNames []string, each func(Growth)) error {
	return measureGrowth(ctx, impl, moduleNames, growthPlan{[]float64{1, 16, 256}, 20 * time.Second, 300 * time.Millisecond}, each)
}

// A growthPlan says how far growth is followed.
type growthPlan struct {
	times   []float64     // the row's size, at each of which an operation is timed
	slowest time.Duration // that a call may take for its size to be run
	enough  time.Duration // to time a size
}

func measureGrowth(ctx context.Context, impl spec.Implementation, moduleNames []string, plan growthPlan, each func(Growth)) error {
	if err := checkModules(moduleNames); err != nil {
		return err
	}
	for i := range growths {
		g := &growths[i]
		row, _ := spec.RowByID(g.row)
		m := spec.ModuleByName(row.Module)
		if len(moduleNames) > 0 && !slices.Contains(moduleNames, row.Module) || !impl.OffersVariant(m, rowVariant(m, g.name)) {
			continue
		}
		result, err := g.measure(ctx, impl, plan)
		if isUnsupported(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s, %s workload, on %s: %w", g.id, g.name, impl.Name, err)
		}
		each(result)
	}
	return nil
}

func (g *growing) measure(ctx context.Context, impl spec.Implementation, plan growthPlan) (Growth, error) {
	result := Growth{Type: "growth", ID: g.id, Workload: g.name, Implementation: impl.Name}
	before := runtime.NumGoroutine()
	for _, n := range plan.times {
		if ctx.Err() != nil {
			return result, ctx.Err()
		}
		w, n, sides := g.at(n)
		c := g.costOf(w)
		size := GrowthSize{Times: n, Sides: sides, Operations: c.MulAdds + c.Exps + c.Logic}
		if len(result.Sizes) > 0 {
			last := result.Sizes[len(result.Sizes)-1]
			if expected := last.NS * float64(size.Operations) / float64(last.Operations); expected > float64(plan.slowest) {
				result.Stopped = fmt.Sprintf("%s is not run: a call would take some %.0f s", sides, expected/1e9)
				break
			}
		}
		if err := size.run(g, impl, w, plan.enough); err != nil {
			return result, fmt.Errorf("%s: %w", sides, err)
		}
		result.Sizes = append(result.Sizes, size)
	}
	result.Exponent = slope(result.Sizes)
	for range 100 { // a goroutine that was told to end needs a moment
		if result.Goroutines = max(0, runtime.NumGoroutine()-before); result.Goroutines == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return result, nil
}

// run fills in the measured part.
func (s *GrowthSize) run(g *growing, impl spec.Implementation, w spec.Workload, enough time.Duration) error {
	r := rowByID(g.row)
	t, err := r.prepare(impl, g.name, w)
	if err != nil {
		return err
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if err := t.call(0); err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	s.Memory = float64(after.TotalAlloc-before.TotalAlloc) / float64(4*g.input(w))

	if err := s.time(&t, enough); err != nil {
		return err
	}
	s.Speedup, s.PerOperation = s.NS/s.AllNS, s.NS/float64(s.Operations)
	if s.NS < float64(time.Second) {
		if s.Allocs, _, err = t.allocations(1); err != nil {
			return err
		}
	}
	if s.Times != 1 {
		return nil
	}
	if err := t.round(); err != nil {
		return err
	}
	got, err := t.result()
	if err != nil {
		return err
	}
	want, err := r.expected(g.name, w)
	if err != nil {
		return err
	}
	s.Checked = true
	return judge(impl, func(t *trial) { r.equal(t, got, want) })
}

// time takes the least of a few times of a call, with all cores and with one in turn.
func (s *GrowthSize) time(t *timing, enough time.Duration) error {
	s.Cores = runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(s.Cores)
	s.NS, s.AllNS = math.Inf(1), math.Inf(1)
	for began := time.Now(); time.Since(began) < enough; {
		for _, turn := range []struct {
			cores int
			least *float64
		}{{s.Cores, &s.AllNS}, {1, &s.NS}} {
			runtime.GOMAXPROCS(turn.cores)
			ns, err := t.sample(1)
			if err != nil {
				return err
			}
			*turn.least = min(*turn.least, ns)
		}
	}
	return nil
}

// slope fits log time over log operations with a line.
func slope(sizes []GrowthSize) float64 {
	var n, x, y, xx, xy float64
	for _, s := range sizes {
		a, b := math.Log(float64(s.Operations)), math.Log(s.NS)
		n, x, y, xx, xy = n+1, x+a, y+b, xx+a*a, xy+a*b
	}
	if n < 2 {
		return 0
	}
	return (n*xy - x*y) / (n*xx - x*x)
}

// rowByID is the row of that id.
func rowByID(id string) *row {
	for _, m := range modules() {
		for i := range m.rows {
			if m.rows[i].id == id {
				return &m.rows[i]
			}
		}
	}
	return nil
}
