package conformance

import (
	"fmt"
	"math"
	"math/big"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var iterPrune = spec.ModuleByName("iter-prune")

var iterPruneModule = &module{
	spec: iterPrune,
	laws: map[string]func(*trial){
		"schedule":              iterSchedule,
		"schedule-ends":         iterScheduleEnds,
		"schedule-slows":        iterScheduleSlows,
		"count":                 iterCount,
		"smallest":              iterSmallest,
		"ties":                  iterTies,
		"nested":                iterNested,
		"idempotent":            iterIdempotent,
		"scale-free":            iterScaleFree,
		"permutation":           iterPermutation,
		"share":                 iterShare,
		"stats":                 iterStats,
		"regrow":                iterRegrow,
		"regrow-keeps-sparsity": iterRegrowKeepsSparsity,
		"regrow-nothing":        iterRegrowNothing,
		"ties-together-squish6": iterTiesTogetherSquish6,
	},
	program: iterProgram,
	badConfigs: map[string]any{
		"an unknown variant":     iterConfig(func(c *spec.IterPruneConfig) { c.Variant = "squish7" }),
		"initial_sparsity 1":     iterConfig(func(c *spec.IterPruneConfig) { c.InitialSparsity, c.TargetSparsity = 1, 1 }),
		"initial_sparsity −0.1":  iterConfig(func(c *spec.IterPruneConfig) { c.InitialSparsity = -0.1 }),
		"initial_sparsity NaN":   iterConfig(func(c *spec.IterPruneConfig) { c.InitialSparsity = math.NaN() }),
		"target_sparsity 0":      iterConfig(func(c *spec.IterPruneConfig) { c.TargetSparsity = 0 }),
		"target_sparsity 1.1":    iterConfig(func(c *spec.IterPruneConfig) { c.TargetSparsity = 1.1 }),
		"target_sparsity NaN":    iterConfig(func(c *spec.IterPruneConfig) { c.TargetSparsity = math.NaN() }),
		"a target below initial": iterConfig(func(c *spec.IterPruneConfig) { c.InitialSparsity = 0.75 }),
		"n_steps 0":              iterConfig(func(c *spec.IterPruneConfig) { c.NSteps = 0 }),
		"n_steps −1":             iterConfig(func(c *spec.IterPruneConfig) { c.NSteps = -1 }),
		"start_step −1":          iterConfig(func(c *spec.IterPruneConfig) { c.StartStep = -1 }),
		"end_step −1":            iterConfig(func(c *spec.IterPruneConfig) { c.EndStep = -1 }),
		"an end before start":    iterConfig(func(c *spec.IterPruneConfig) { c.StartStep = 10 }),
		"regrow_fraction −0.1":   iterConfig(func(c *spec.IterPruneConfig) { c.RegrowFraction = -0.1 }),
		"regrow_fraction 1.1":    iterConfig(func(c *spec.IterPruneConfig) { c.RegrowFraction = 1.1 }),
		"regrow_fraction NaN":    iterConfig(func(c *spec.IterPruneConfig) { c.RegrowFraction = math.NaN() }),
		"a start too late as squish6": iterConfig(func(c *spec.IterPruneConfig) {
			c.Variant, c.StartStep = spec.Squish6, 12
		}),
	},
	badSteps: iterBadSteps,
	equal: map[string]comparison{
		"prune_step":   sameIterPruned,
		"prune_regrow": sameIterPruned,
		"current_sparsity": func(t *trial, _ any, _ []any, got, want any) {
			t.within("sparsity", *got.(*float64), *want.(*float64), iterScheduleBudget)
		},
	},
	rows: []row{
		{"iter-prune/prune-step-5", iterPruneRow, iterSameResult},
		{"iter-prune/prune-step-10", iterPruneRow, iterSameResult},
		{"iter-prune/sparsity-at-step-10", iterSparsityRow, (*trial).sameResult},
	},
}

// iterScheduleBudget bounds the error of s: eight roundings of numbers up to 1.
const iterScheduleBudget = 0x1p-48

// iterConfig is the default config with a change.
func iterConfig(change func(*spec.IterPruneConfig)) spec.IterPruneConfig {
	c := spec.DefaultIterPruneConfig(10)
	change(&c)
	return c
}

// sameIterPruned compares pruned weights, but for the sign of zeros: that pruned
// ones are +0 is a requirement of its own.
func sameIterPruned(t *trial, _ any, _ []any, got, want any) {
	t.Helper()
	g, w := got.(*spec.IterPruned), want.(*spec.IterPruned)
	t.equal("pruned", g.Pruned, w.Pruned)
	t.within("sparsity", g.Sparsity, w.Sparsity, 0x1p-50)
}

func iterSameResult(t *trial, got, want any) { sameIterPruned(t, nil, nil, got, want) }

func iterRowConfig(name spec.WorkloadName, w spec.Workload) spec.IterPruneConfig {
	c := spec.DefaultIterPruneConfig(w.Int("n_steps", 10))
	c.Variant = rowVariant(iterPrune, name)
	c.TargetSparsity = w.Float("target_sparsity", c.TargetSparsity)
	return c
}

// iterPruneRow prunes Gaussian weights at one step.
func iterPruneRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	p, err := impl.IterPrune(iterRowConfig(name, w))
	weights := gaussian(w.Int("rows", 256)*w.Int("cols", 256), 24)
	var out spec.IterPruned
	return timing{
		calls:  1,
		call:   func(int) error { return p.PruneStep(&out, weights, w.Int("step", 10)) },
		result: func() (any, error) { return &out, nil },
		note:   func() string { return fmt.Sprintf("%.2f%% zeros", 100*out.Sparsity) },
	}, err
}

// iterSparsityRow is the share of zeros, in percent, that pruning at the step comes
// to: measured, of 1,000 weights, so that a target of 70% can be met.
func iterSparsityRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	p, err := impl.IterPrune(iterRowConfig(name, w))
	weights := gaussian(1000, 24)
	var out spec.IterPruned
	return timing{
		calls: 1,
		call:  func(int) error { return p.PruneStep(&out, weights, w.Int("step", 10)) },
		result: func() (any, error) {
			percent := 100 * out.Sparsity
			return &percent, nil
		},
	}, err
}

// drawIterConfig draws a schedule and where it begins and ends.
func drawIterConfig(t *trial, v spec.Variant) spec.IterPruneConfig {
	c := spec.IterPruneConfig{
		Variant:         v,
		InitialSparsity: rapid.SampledFrom([]float64{0, 0.25, 0.1, 0.3, 0.5}).Draw(t.T, "initial_sparsity"),
		TargetSparsity:  rapid.SampledFrom([]float64{0.5, 0.7, 0.875, 0.9, 1}).Draw(t.T, "target_sparsity"),
		NSteps:          size(t, 1, 12, "n_steps"),
		StartStep:       size(t, 0, 3, "start_step"),
		RegrowFraction:  rapid.SampledFrom([]float64{0, 0.25, 0.3, 0.5, 1}).Draw(t.T, "regrow_fraction"),
	}
	c.EndStep = c.StartStep + size(t, 0, 10, "steps")
	return c
}

// drawIterStep draws a step before, in or after the schedule.
func drawIterStep(t *trial, c spec.IterPruneConfig) int {
	step := rapid.IntRange(c.StartStep-2, c.EndStep+2)
	return rapid.OneOf(step, rapid.Just(c.EndStep), rapid.SampledFrom([]int{math.MinInt, math.MaxInt})).Draw(t.T, "step")
}

// drawIterWeights draws weights of which it is clear how many go at the step.
func drawIterWeights(t *trial, c spec.IterPruneConfig, step int) []float32 {
	return numbers(t, iterClear(c, step, size(t, 1, 40, "weights")), anyStyles, "weights")
}

func drawIterSaliencies(t *trial, n int) []float32 { return numbers(t, n, anyStyles, "saliencies") }

// iterExact is s(step) in rational numbers, and whether it is one of its ends,
// which are given.
func iterExact(c spec.IterPruneConfig, step int) (s *big.Rat, given bool) {
	initial, target := new(big.Rat).SetFloat64(c.InitialSparsity), new(big.Rat).SetFloat64(c.TargetSparsity)
	if step >= c.EndStep {
		return target, true
	}
	if step <= c.StartStep {
		return initial, true
	}
	left := big.NewRat(int64(c.EndStep-step), int64(c.EndStep-c.StartStep))
	rest := initial.Sub(target, initial)
	for range 3 {
		rest.Mul(rest, left)
	}
	return target.Sub(target, rest), false
}

// iterClear returns n, or the next number of weights where it is not clear how many
// of n go: where s·n is so near a half that the rounding of s decides. In eighths
// nothing is rounded, and a half is a half.
func iterClear(c spec.IterPruneConfig, step, n int) int {
	s, given := iterExact(c, step)
	if eighths := new(big.Rat).Mul(s, big.NewRat(8, 1)); given && eighths.IsInt() {
		return n
	}
	for ; ; n++ { // s·n and s·(n+1) are both a half only where s is 0 or 1
		twice, _ := new(big.Rat).Mul(s, big.NewRat(2*int64(n), 1)).Float64()
		if math.Abs(math.Abs(math.Remainder(twice, 2))-1) > 0x1p-40*float64(n) {
			return n
		}
	}
}

// iterPruneCount is k = round(s·n), half to even, in rational numbers, for n that
// is clear.
func iterPruneCount(c spec.IterPruneConfig, step, n int) int {
	s, _ := iterExact(c, step)
	s.Mul(s, big.NewRat(int64(n), 1))
	quotient, rest := new(big.Int).DivMod(s.Num(), s.Denom(), new(big.Int))
	k := int(quotient.Int64())
	if up := rest.Lsh(rest, 1).Cmp(s.Denom()); up > 0 || up == 0 && k%2 == 1 {
		k++
	}
	return k
}

func iterProgram(t *trial, v spec.Variant) program {
	c := drawIterConfig(t, v)
	p := program{config: c}
	for range size(t, 1, 4, "calls") {
		step := drawIterStep(t, c)
		switch rapid.IntRange(0, 4).Draw(t.T, "call") {
		case 0:
			p.steps = append(p.steps, call(iterPrune, "current_sparsity", step))
		case 1, 2:
			weights := drawIterWeights(t, c, step)
			p.steps = append(p.steps, call(iterPrune, "prune_regrow", weights, step, drawIterSaliencies(t, len(weights))))
		}
		p.steps = append(p.steps, call(iterPrune, "prune_step", drawIterWeights(t, c, step), step))
	}
	return p
}

func iterBadSteps(t *trial, config any) []badStep {
	step := drawIterStep(t, config.(spec.IterPruneConfig))
	n := size(t, 2, 6, "bad weights")
	spoiled := func(v float64) []float32 {
		x := make([]float32, n)
		x[rapid.IntRange(0, n-1).Draw(t.T, "at")] = float32(v)
		return x
	}
	var list []badStep
	bad := func(what, operation string, args ...any) {
		list = append(list, badStep{what, call(iterPrune, operation, args...), spec.Invalid})
	}
	bad("no weights", "prune_step", []float32(nil), step)
	bad("empty weights", "prune_step", []float32{}, step)
	bad("no weights", "prune_regrow", []float32(nil), step, []float32(nil))
	bad("saliencies but no weights", "prune_regrow", []float32{}, step, make([]float32, n))
	bad("no saliencies", "prune_regrow", make([]float32, n), step, []float32(nil))
	bad("a saliency too few", "prune_regrow", make([]float32, n), step, make([]float32, n-1))
	bad("a saliency too many", "prune_regrow", make([]float32, n), step, make([]float32, n+1))
	for _, v := range nonFinite {
		bad(fmt.Sprintf("weight %v", v), "prune_step", spoiled(v), step)
		bad(fmt.Sprintf("weight %v", v), "prune_regrow", spoiled(v), step, make([]float32, n))
		bad(fmt.Sprintf("saliency %v", v), "prune_regrow", make([]float32, n), step, spoiled(v))
	}
	return list
}

// iterPruned prunes with a new instance.
func iterPruned(t *trial, c spec.IterPruneConfig, weights []float32, step int) spec.IterPruned {
	t.Helper()
	var out spec.IterPruned
	t.must(open(t, t.impl.IterPrune, c).PruneStep(&out, weights, step))
	t.equal("number of weights ", len(out.Pruned), len(weights))
	return out
}

// iterRegrown prunes and regrows with a new instance.
func iterRegrown(t *trial, c spec.IterPruneConfig, weights []float32, step int, saliencies []float32) spec.IterPruned {
	t.Helper()
	var out spec.IterPruned
	p := open(t, t.impl.IterPrune, c).(spec.IterPruneRegrow)
	t.must(p.PruneRegrow(&out, weights, step, saliencies))
	t.equal("number of weights ", len(out.Pruned), len(weights))
	return out
}

func iterZeros(weights []float32) int {
	zeros := 0
	for _, w := range weights {
		if w == 0 {
			zeros++
		}
	}
	return zeros
}

func iterMagnitude(w float32) float64 { return math.Abs(float64(w)) }

func iterSchedule(t *trial) {
	c := drawIterConfig(t, spec.Documented)
	step := drawIterStep(t, c)
	exact, _ := iterExact(c, step)
	want, _ := exact.Float64()
	t.within(fmt.Sprintf("sparsity at step %d", step), open(t, t.impl.IterPrune, c).CurrentSparsity(step), want, iterScheduleBudget)
}

func iterScheduleEnds(t *trial) {
	c := drawIterConfig(t, spec.Documented)
	p := open(t, t.impl.IterPrune, c)
	for _, step := range []int{c.StartStep, c.StartStep - 1, 0, -1, math.MinInt} {
		if step <= c.StartStep && step < c.EndStep {
			t.equal(fmt.Sprintf("sparsity at step %d ", step), p.CurrentSparsity(step), c.InitialSparsity)
		}
	}
	for _, step := range []int{c.EndStep, c.EndStep + 1, math.MaxInt} {
		t.equal(fmt.Sprintf("sparsity at step %d ", step), p.CurrentSparsity(step), c.TargetSparsity)
	}
}

func iterScheduleSlows(t *trial) {
	c := drawIterConfig(t, spec.Documented)
	p := open(t, t.impl.IterPrune, c)
	const budget = 2 * iterScheduleBudget // of a difference
	last, rise := p.CurrentSparsity(c.StartStep), 1.0
	for step := c.StartStep + 1; step <= c.EndStep+1; step++ {
		s := p.CurrentSparsity(step)
		t.holds(s >= last-budget, "from %v at step %d to %v: it falls", last, step-1, s)
		t.holds(s-last <= rise+2*budget, "by %v at step %d, after %v: it rises faster", s-last, step, rise)
		last, rise = s, s-last
	}
}

// iterCount prunes to a constant sparsity in eighths, of which float64 loses
// nothing, or at any step.
func iterCount(t *trial) {
	c := drawIterConfig(t, spec.Documented)
	if rapid.Bool().Draw(t.T, "in eighths") {
		c.InitialSparsity = 0.5
		c.TargetSparsity = float64(rapid.IntRange(4, 8).Draw(t.T, "eighths")) / 8
	}
	step := drawIterStep(t, c)
	weights := drawIterWeights(t, c, step)
	k := iterPruneCount(c, step, len(weights))
	t.equal("number of zeros ", iterZeros(iterPruned(t, c, weights, step).Pruned), max(k, iterZeros(weights)))
}

func iterSmallest(t *trial) {
	c := drawIterConfig(t, spec.Documented)
	step := drawIterStep(t, c)
	weights := drawIterWeights(t, c, step)
	most, least := 0.0, math.Inf(1)
	for i, got := range iterPruned(t, c, weights, step).Pruned {
		if w := weights[i]; got != 0 {
			t.sameBits(fmt.Sprintf("pruned[%d]", i), got, w)
			least = min(least, iterMagnitude(w))
		} else if w != 0 {
			t.sameBits(fmt.Sprintf("pruned[%d]", i), got, float32(0))
			most = max(most, iterMagnitude(w))
		} else {
			t.equal(fmt.Sprintf("pruned[%d]", i), got, w)
		}
	}
	t.holds(most <= least, "a magnitude of %v went, and one of %v stayed", most, least)
}

// iterTies prunes weights of few magnitudes.
func iterTies(t *trial) {
	c := drawIterConfig(t, spec.Documented)
	step := drawIterStep(t, c)
	weights := make([]float32, iterClear(c, step, size(t, 2, 40, "weights")))
	levels := size(t, 1, 3, "magnitudes")
	r := source(t, "weights")
	for i := range weights {
		weights[i] = float32(math.Copysign(float64(1+r.IntN(levels)), r.NormFloat64()))
	}
	gone := map[float32]int{} // magnitude → the index of the first that went
	for i, got := range iterPruned(t, c, weights, step).Pruned {
		m := float32(iterMagnitude(weights[i]))
		if first, ok := gone[m]; ok {
			t.holds(got == 0, "a weight of %v went at %d, and one stayed at %d", m, first, i)
		} else if got == 0 {
			gone[m] = i
		}
	}
}

func iterNested(t *trial) {
	c := drawIterConfig(t, spec.Documented)
	early := drawIterStep(t, c)
	late := max(early, drawIterStep(t, c))
	weights := drawIterWeights(t, c, early)
	few, many := iterPruned(t, c, weights, early).Pruned, iterPruned(t, c, weights, late).Pruned
	for i := range weights {
		t.holds(many[i] == 0 || few[i] != 0, "pruned[%d]: went at step %d, and not at step %d", i, early, late)
	}
}

func iterIdempotent(t *trial) {
	c := drawIterConfig(t, spec.Documented)
	step := drawIterStep(t, c)
	once := iterPruned(t, c, drawIterWeights(t, c, step), step).Pruned
	t.equal("pruned twice", iterPruned(t, c, once, step).Pruned, once)
}

func iterScaleFree(t *trial) {
	c := drawIterConfig(t, spec.Documented)
	step := drawIterStep(t, c)
	weights := numbers(t, iterClear(c, step, size(t, 1, 40, "weights")), moderateStyles, "weights")
	scale := math.Ldexp(rapid.SampledFrom([]float64{1, -1}).Draw(t.T, "sign"), rapid.IntRange(-40, 40).Draw(t.T, "k"))
	scaled := func(x []float32) []float32 {
		y := make([]float32, len(x))
		for i, v := range x {
			y[i] = float32(float64(v) * scale)
			if float64(y[i]) != float64(v)*scale {
				t.Skip("the scaled weight is subnormal")
			}
		}
		return y
	}
	want := scaled(iterPruned(t, c, weights, step).Pruned)
	t.equal("pruned", iterPruned(t, c, scaled(weights), step).Pruned, want)
}

// iterPermutation gives every weight another magnitude.
func iterPermutation(t *trial) {
	c := drawIterConfig(t, spec.Documented)
	step := drawIterStep(t, c)
	n := iterClear(c, step, size(t, 1, 40, "weights"))
	r := source(t, "weights")
	weights, permuted := make([]float32, n), make([]float32, n)
	for i, rank := range r.Perm(n) {
		weights[i] = float32(math.Copysign(float64(rank+1), r.NormFloat64()))
	}
	order := r.Perm(n)
	for i, j := range order {
		permuted[i] = weights[j]
	}
	plain, moved := iterPruned(t, c, weights, step).Pruned, iterPruned(t, c, permuted, step).Pruned
	for i, j := range order {
		t.holds(moved[i] == plain[j], "weight %v: got %v at %d and %v at %d", weights[j], plain[j], j, moved[i], i)
	}
}

func iterShare(t *trial) {
	c := drawIterConfig(t, spec.Documented)
	step := drawIterStep(t, c)
	out := iterPruned(t, c, drawIterWeights(t, c, step), step)
	t.within("sparsity", out.Sparsity, float64(iterZeros(out.Pruned))/float64(len(out.Pruned)), 0x1p-50)
}

func iterStats(t *trial) {
	c := drawIterConfig(t, spec.Documented)
	p := open(t, t.impl.IterPrune, c)
	var want spec.IterPruneStats
	for range size(t, 0, 4, "calls") {
		step := drawIterStep(t, c)
		var out spec.IterPruned
		t.must(p.PruneStep(&out, drawIterWeights(t, c, step), step))
		want.Steps++
		want.Zeroed += iterZeros(out.Pruned)
		want.Processed += len(out.Pruned)
		want.Sparsity = float64(want.Zeroed) / float64(want.Processed)
	}
	got := p.Stats()
	t.within("avg_sparsity", got.Sparsity, want.Sparsity, 0x1p-50)
	got.Sparsity = want.Sparsity
	t.equal("stats", got, want)
}

// iterRegrow ranks by counting: a weight's rank is how many go before it, or, among
// those that may come back, how many come back before it.
func iterRegrow(t *trial) {
	c := drawIterConfig(t, spec.Documented)
	c.RegrowFraction = rapid.SampledFrom([]float64{0.25, 0.5, 1, 0.3}).Draw(t.T, "regrow_fraction")
	step := drawIterStep(t, c)
	weights := drawIterWeights(t, c, step)
	n := len(weights)
	saliencies := drawIterSaliencies(t, n)
	k := iterPruneCount(c, step, n)
	rank := make([]int, n)
	for i, w := range weights {
		for j, other := range weights {
			if m, o := iterMagnitude(w), iterMagnitude(other); o < m || o == m && j > i {
				rank[i]++
			}
		}
	}
	mayReturn := func(i int) bool { return rank[i] < k && weights[i] != 0 }
	returns := 0
	for i := range weights {
		if mayReturn(i) {
			returns++
		}
	}
	returns = min(int(c.RegrowFraction*float64(k)*(1+0x1p-50)), n-k, returns)
	want := slices.Clone(weights)
	for i := range weights {
		if rank[i] >= k+returns {
			continue
		}
		before := 0
		for j, s := range saliencies {
			if mayReturn(j) && (s > saliencies[i] || s == saliencies[i] && j < i) {
				before++
			}
		}
		if !mayReturn(i) || before >= returns {
			want[i] = 0
		}
	}
	t.equal("pruned", iterRegrown(t, c, weights, step, saliencies).Pruned, want)
}

func iterRegrowKeepsSparsity(t *trial) {
	c := drawIterConfig(t, spec.Documented)
	step := drawIterStep(t, c)
	weights := drawIterWeights(t, c, step)
	plain := iterPruned(t, c, weights, step)
	regrown := iterRegrown(t, c, weights, step, drawIterSaliencies(t, len(weights)))
	t.equal("number of zeros ", iterZeros(regrown.Pruned), iterZeros(plain.Pruned))
	t.within("sparsity", regrown.Sparsity, plain.Sparsity, 0x1p-50)
}

func iterRegrowNothing(t *trial) {
	c := drawIterConfig(t, spec.Documented)
	c.RegrowFraction = 0
	step := drawIterStep(t, c)
	weights := drawIterWeights(t, c, step)
	want := iterPruned(t, c, weights, step)
	got := iterRegrown(t, c, weights, step, drawIterSaliencies(t, len(weights)))
	sameIterPruned(t, c, nil, &got, &want)
}

func iterTiesTogetherSquish6(t *trial) {
	c := drawIterConfig(t, spec.Squish6)
	step := drawIterStep(t, c)
	weights := drawIterWeights(t, c, step)
	cut := math.Inf(-1)
	if k := iterPruneCount(c, step, len(weights)); k > 0 {
		magnitudes := make([]float64, len(weights))
		for i, w := range weights {
			magnitudes[i] = iterMagnitude(w)
		}
		slices.Sort(magnitudes)
		cut = magnitudes[k-1]
	}
	want := slices.Clone(weights)
	for i, w := range weights {
		if iterMagnitude(w) <= cut {
			want[i] = 0
		}
	}
	t.equal("pruned", iterPruned(t, c, weights, step).Pruned, want)
}
