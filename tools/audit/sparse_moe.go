package audit

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/squishspec/squishspec/spec"
)

// A routed is a size of Route and how long it took, in microseconds, ascending.
type routed struct {
	tokens, experts, dim int
	times                []float64
	// Those of moving the tokens to their experts, and back; nil where the
	// implementation does not.
	dispatch, combine []float64
}

func (r *routed) median() float64 { return middle(r.times) }

func middle(ascending []float64) float64 { return ascending[len(ascending)/2] }

func (r *routed) mulAdds() float64 { return float64(r.tokens) * float64(r.experts) * float64(r.dim) }

func (r *routed) String() string { return fmt.Sprintf("%d×%d×%d", r.tokens, r.experts, r.dim) }

// routingSizes are the page's, and a token, a small and a large batch through gates
// up to 256 experts of 7168 inputs.
func routingSizes() []routed {
	list := []routed{{tokens: 32, experts: 4, dim: 256}}
	for _, gate := range []routed{{experts: 8, dim: 256}, {experts: 8, dim: 4096}, {experts: 64, dim: 2048}, {experts: 256, dim: 7168}} {
		for _, tokens := range []int{1, 32, 512} {
			list = append(list, routed{tokens: tokens, experts: gate.experts, dim: gate.dim})
		}
	}
	return list
}

// routings is how often each size is timed, after once that is not. An odd number.
const routings = 15

// routingOverhead times Route. What it finds is the only finding with times in it:
// two runs of one seed differ.
func routingOverhead(ctx context.Context, a *Audit, f *Finding) error {
	sizes := routingSizes()
	for i := range sizes {
		r := &sizes[i]
		x, gate := gaussian(r.tokens, r.dim, a.Seed), gaussian(r.dim, r.experts, a.Seed+1)
		scale := float32(1 / math.Sqrt(float64(r.dim)))
		for k := range gate.Data {
			gate.Data[k] *= scale
		}
		config := spec.DefaultSparseMoEConfig()
		config.NExperts, config.HiddenDim, config.GateWeights = r.experts, r.dim, gate
		moe, err := a.Implementation.SparseMoE(config)
		if err != nil {
			return err
		}
		if err := r.time(ctx, moe, x); err != nil {
			return err
		}
	}
	routingVerdict(f, sizes)
	f.Note += fmt.Sprintf(". Medians of %d runs, on %d cores, of top 2; the times are this machine's, and another run's differ. Routing is the gate alone: no token is moved, and no expert computes", routings, runtime.GOMAXPROCS(0))
	if page := &sizes[0]; page.dispatch != nil {
		last := &sizes[len(sizes)-1]
		f.Note += fmt.Sprintf(". To move the tokens to their experts, which dispatch does, takes %.3g µs more at the page's size and %.3g at %s, and combine %.3g and %.3g: the verdict is without them",
			middle(page.dispatch), middle(last.dispatch), last, middle(page.combine), middle(last.combine))
	}
	return nil
}

// time routes tokens some times, and where the implementation moves them, it moves
// them too: to experts that answer with what they get, and back.
func (r *routed) time(ctx context.Context, moe spec.SparseMoE, x spec.Matrix) error {
	var routing spec.MoERouting
	var err error
	if r.times, err = timed(ctx, func() error { return moe.Route(&routing, x) }); err != nil {
		return err
	}
	moves, offered := moe.(spec.SparseMoEDispatch)
	if !offered {
		return nil
	}
	var moved spec.MoEDispatch
	var back spec.Matrix
	if r.dispatch, err = timed(ctx, func() error { return moves.Dispatch(&moved, x, routing.Indices) }); err == nil {
		r.combine, err = timed(ctx, func() error { return moves.Combine(&back, moved.Inputs, routing.Indices, routing.Weights) })
	}
	if spec.KindOf(err) == spec.Unsupported {
		r.dispatch, r.combine, err = nil, nil, nil
	}
	return err
}

// timed are the times of a call in microseconds, ascending, but for the first.
func timed(ctx context.Context, call func() error) (times []float64, _ error) {
	for n := range 1 + routings {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		began := time.Now()
		if err := call(); err != nil {
			return nil, err
		}
		if took := time.Since(began); n > 0 {
			times = append(times, float64(took.Nanoseconds())/1e3)
		}
	}
	slices.Sort(times)
	return times, nil
}

// routingVerdict judges by medians. The first size is the page's, and the figure.
func routingVerdict(f *Finding, sizes []routed) {
	const claimed = 100 // µs
	f.Curve = &Curve{Columns: []string{"tokens", "experts", "dim", "fastest µs", "median µs", "slowest µs", "median µs a token"}}
	if sizes[0].dispatch != nil {
		f.Curve.Columns = append(f.Curve.Columns, "dispatch µs", "combine µs")
	}
	var held, not []string
	most, least := 0.0, math.Inf(1) // multiply-adds of those that hold, and of those that do not
	for i := range sizes {
		r := &sizes[i]
		row := []float64{float64(r.tokens), float64(r.experts), float64(r.dim), r.times[0], r.median(), r.times[len(r.times)-1], r.median() / float64(r.tokens)}
		if sizes[0].dispatch != nil {
			row = append(row, middle(r.dispatch), middle(r.combine))
		}
		f.Curve.add(row...)
		if r.median() < claimed {
			held = append(held, r.String())
			most = max(most, r.mulAdds())
		} else {
			not = append(not, r.String())
			least = min(least, r.mulAdds())
		}
	}
	page := &sizes[0]
	figure := page.median()
	f.Figure, f.Unit = &figure, "µs a call at the page's size, "+page.String()
	interval := aroundMedian(page.times)
	f.Interval = &interval
	switch {
	case len(not) == 0:
		f.Verdict = Supported
		f.Note = "true of all sizes, tokens × experts × dim"
	case len(held) == 0:
		f.Verdict = Refuted
		f.Note = "true of no size, tokens × experts × dim"
	default:
		f.Verdict = Conditional
		f.Note = fmt.Sprintf("tokens × experts × dim: true of %s, and not of %s. The largest product that holds is %.3g multiply-adds, the smallest that does not %.3g",
			strings.Join(held, ", "), strings.Join(not, ", "), most, least)
	}
}

// aroundMedian is the narrowest symmetric pair of ascending values that holds the
// median with at least the confidence, whatever their distribution: how many of n are
// below it is binomial. Fewer than six values have none; theirs are the outermost.
func aroundMedian(ascending []float64) Interval {
	n := len(ascending)
	rank, below, ways := 0, 0.0, 1.0 // ways are n over rank, below those up to rank
	for ; rank < n/2; rank++ {
		below += ways
		if 2*math.Ldexp(below, -n) > 1-confidence {
			break
		}
		ways *= float64(n-rank) / float64(rank+1)
	}
	low := max(0, rank-1)
	return Interval{ascending[low], ascending[n-1-low], confidence, "order statistics of runs"}
}
