package conformance

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var iterPruneMutants = []mutant{
	{"iter-prune/schedule", "rises in a straight line", onIterSchedule(func(c spec.IterPruneConfig, progress float64) float64 {
		return c.InitialSparsity + (c.TargetSparsity-c.InitialSparsity)*progress
	}), ""},
	{"iter-prune/schedule", "knows no initial sparsity", iterConfigured(func(c *spec.IterPruneConfig) { c.InitialSparsity = 0 }), ""},
	{"iter-prune/schedule-ends", "reaches its target a step late", iterConfigured(func(c *spec.IterPruneConfig) { c.EndStep++ }), ""},
	{"iter-prune/schedule-ends", "stays at the initial sparsity in a schedule of one step", onIterSchedule(func(c spec.IterPruneConfig, progress float64) float64 {
		if c.StartStep == c.EndStep {
			return c.InitialSparsity
		}
		return c.Sparsity(c.StartStep + int(math.Round(progress*float64(c.EndStep-c.StartStep))))
	}), ""},
	{"iter-prune/schedule-slows", "prunes slowly at first", onIterSchedule(func(c spec.IterPruneConfig, progress float64) float64 {
		return c.InitialSparsity + (c.TargetSparsity-c.InitialSparsity)*progress*progress*progress
	}), ""},
	{"iter-prune/count", "is Squish 6.0.0: ties go together", iterConfigured(func(c *spec.IterPruneConfig) { c.Variant = spec.Squish6 }), ""},
	{"iter-prune/count", "rounds half up", iterConfigured(func(c *spec.IterPruneConfig) {
		c.TargetSparsity = min(1, c.TargetSparsity+0x1p-40)
	}), ""},
	{"iter-prune/smallest", "multiplies by the mask, which leaves −0", onIterPruned(func(weights []float32, out *spec.IterPruned) {
		for i, w := range weights {
			if out.Pruned[i] == 0 && w < 0 {
				out.Pruned[i] = float32(math.Copysign(0, -1))
			}
		}
	}), ""},
	{"iter-prune/smallest", "prunes the least values, not magnitudes", iterOrdered(func(_ int, w float32) float64 {
		return math.Atan(float64(w)) + 2
	}), ""},
	{"iter-prune/smallest", "scales up what stays", onIterPruned(func(_ []float32, out *spec.IterPruned) {
		for i := range out.Pruned {
			out.Pruned[i] *= float32(1 + out.Sparsity)
		}
	}), ""},
	{"iter-prune/ties", "keeps the latest of equals", iterBackToFront, ""},
	{"iter-prune/nested", "prunes the largest at odd steps", iterOrdered(func(step int, w float32) float64 {
		if step%2 != 0 {
			return 2 - math.Atan(iterMagnitude(w))
		}
		return 1 + math.Atan(iterMagnitude(w))
	}), ""},
	{"iter-prune/idempotent", "prunes one weight more than it must", onIterPruned(func(_ []float32, out *spec.IterPruned) {
		for i, w := range out.Pruned {
			if w != 0 {
				out.Pruned[i] = 0
				return
			}
		}
	}), ""},
	{"iter-prune/scale-free", "takes magnitudes below 1e-6 for 0", onIterPruned(func(_ []float32, out *spec.IterPruned) {
		for i, w := range out.Pruned {
			if iterMagnitude(w) < 1e-6 {
				out.Pruned[i] = 0
			}
		}
	}), ""},
	{"iter-prune/permutation", "never prunes the first weight", onIterPruned(func(weights []float32, out *spec.IterPruned) {
		out.Pruned[0] = weights[0]
	}), ""},
	{"iter-prune/share", "answers the share of what stays", onIterPruned(func(_ []float32, out *spec.IterPruned) {
		out.Sparsity = 1 - out.Sparsity
	}), ""},
	{"iter-prune/stats", "counts the weights that stay", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.IterPruneStats)
		s.Zeroed = s.Processed - s.Zeroed
	}), ""},
	{"iter-prune/stats", "answers a mean of 1 before any step", after("stats", func(c *proxy.Call) {
		if s := c.Dst.(*spec.IterPruneStats); s.Steps == 0 {
			s.Sparsity = 1
		}
	}), ""},
	{"iter-prune/regrow", "regrows what is least salient", before("prune_regrow", func(c *proxy.Call) {
		saliencies := c.Args[2].([]float32)
		for i := range saliencies {
			saliencies[i] = -saliencies[i]
		}
	}), ""},
	{"iter-prune/regrow", "regrows nothing", iterConfigured(func(c *spec.IterPruneConfig) { c.RegrowFraction = 0 }), ""},
	{"iter-prune/regrow", "regrows the latest of equally salient ones", iterBackToFront, ""},
	{"iter-prune/regrow-keeps-sparsity", "takes nothing out for what comes back", after("prune_regrow", func(c *proxy.Call) {
		out := c.Dst.(*spec.IterPruned)
		for i, w := range c.Args[0].([]float32) {
			if w != 0 && out.Pruned[i] == 0 {
				out.Pruned[i] = w
				return
			}
		}
	}), ""},
	{"iter-prune/regrow-nothing", "regrows half at least", iterConfigured(func(c *spec.IterPruneConfig) {
		c.RegrowFraction = max(c.RegrowFraction, 0.5)
	}), ""},
	{"iter-prune/ties-together-squish6", "prunes exactly k", iterConfigured(func(c *spec.IterPruneConfig) { c.Variant = spec.Documented }), ""},
}

// iterConfigured changes a config that was accepted.
func iterConfigured(change func(*spec.IterPruneConfig)) proxy.Layer {
	return before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.IterPruneConfig)
		if config.Validate() == nil {
			change(&config)
		}
		c.Args[0] = config
	})
}

// onIterSchedule answers another sparsity, of the progress from 0 to 1.
func onIterSchedule(sparsity func(c spec.IterPruneConfig, progress float64) float64) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		var config spec.IterPruneConfig
		return func(c *proxy.Call) error {
			err := next(c)
			switch {
			case c.Op == proxy.New:
				config = c.Args[0].(spec.IterPruneConfig)
			case c.Op.Name == "current_sparsity":
				steps := float64(config.EndStep - config.StartStep)
				progress := max(0, min(1, (float64(c.Args[0].(int))-float64(config.StartStep))/max(steps, 1)))
				*c.Dst.(*float64) = sparsity(config, progress)
			}
			return err
		}
	}
}

// onIterPruned spoils what weights were pruned to.
func onIterPruned(spoil func(weights []float32, out *spec.IterPruned)) proxy.Layer {
	return after("prune_step", func(c *proxy.Call) { spoil(c.Args[0].([]float32), c.Dst.(*spec.IterPruned)) })
}

// iterOrdered prunes in the order of another key, which is above 0.
func iterOrdered(key func(step int, w float32) float64) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			if c.Op.Name != "prune_step" {
				return next(c)
			}
			weights, step := c.Args[0].([]float32), c.Args[1].(int)
			keys := make([]float32, len(weights))
			for i, w := range weights {
				keys[i] = float32(key(step, w))
			}
			keyed := *c
			keyed.Args = []any{keys, step}
			err := next(&keyed)
			if err == nil {
				for i, kept := range c.Dst.(*spec.IterPruned).Pruned {
					if kept != 0 {
						c.Dst.(*spec.IterPruned).Pruned[i] = weights[i]
					}
				}
			}
			return err
		}
	}
}

// iterBackToFront prunes the weights read from their end.
func iterBackToFront(next proxy.Handler) proxy.Handler {
	reverse := func(c *proxy.Call) {
		slices.Reverse(c.Args[0].([]float32))
		if len(c.Args) == 3 {
			slices.Reverse(c.Args[2].([]float32))
		}
	}
	restore := func(c *proxy.Call) { slices.Reverse(c.Dst.(*spec.IterPruned).Pruned) }
	for _, operation := range []string{"prune_step", "prune_regrow"} {
		next = before(operation, reverse)(after(operation, restore)(next))
	}
	return next
}

// TestRecordedIterPrunePrunesConstantWeightsWhole measures what makes the recorded
// variant fail iter-prune/count: ties go together, so that of constant weights none
// is left at any sparsity but 0.
func TestRecordedIterPrunePrunesConstantWeightsWhole(t *testing.T) {
	weights := slices.Repeat([]float32{0.25}, 1000)
	for variant, want := range map[spec.Variant]float64{spec.Documented: 0.5, spec.Squish6: 1} {
		config := spec.DefaultIterPruneConfig(1)
		config.Variant, config.TargetSparsity = variant, 0.5
		p, err := ref.NewIterPrune(config)
		if err != nil {
			t.Fatal(err)
		}
		var out spec.IterPruned
		if err := p.PruneStep(&out, weights, 0); err != nil {
			t.Fatal(err)
		}
		if out.Sparsity != want {
			t.Errorf("variant %q: sparsity %v at a target of 0.5, want %v", variant, out.Sparsity, want)
		}
	}
}

// TestIterClearLeavesNoHalf: of the number of weights that iterClear returns, s·n is
// not near a half unless it is one exactly.
func TestIterClearLeavesNoHalf(t *testing.T) {
	c := spec.DefaultIterPruneConfig(8)
	for _, target := range []float64{0.1, 0.3, 0.5, 0.7, 0.75, 0.9, 1} {
		c.TargetSparsity = target
		for step := range 9 {
			for n := 1; n < 60; n++ {
				m := iterClear(c, step, n)
				if m < n || m > n+1 {
					t.Fatalf("target %v, step %d: %d for %d", target, step, m, n)
				}
				s, _ := iterExact(c, step)
				product, _ := s.Mul(s, big.NewRat(int64(m), 1)).Float64()
				if got, want := c.PruneCount(step, m), iterPruneCount(c, step, m); got != want {
					t.Errorf("target %v, step %d: %d of %d go, want %d of %v", target, step, got, m, want, product)
				}
				if isHalf := math.Abs(product-math.Floor(product)-0.5) < 1e-9; isHalf && target*8 != math.Trunc(target*8) {
					t.Errorf("target %v, step %d: %v of %d weights", target, step, product, m)
				}
			}
		}
	}
}
