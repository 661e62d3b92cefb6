package conformance

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var structuredPrune = spec.ModuleByName("structured-prune")

var structuredPruneModule = &module{
	spec: structuredPrune,
	laws: map[string]func(*trial){
		"nm-count":        pruneNMCount,
		"largest":         pruneLargest,
		"ties":            pruneTies,
		"selected":        pruneSelected,
		"energy":          pruneEnergy,
		"idempotent":      pruneIdempotent,
		"scale-sign":      pruneScaleSign,
		"permutation":     prunePermutation,
		"fraction":        pruneFraction,
		"groups-count":    pruneGroupsCount,
		"groups-least":    pruneGroupsLeast,
		"groups-ties":     pruneGroupsTies,
		"groups-selected": pruneGroupsSelected,
		"groups-nested":   pruneGroupsNested,
		"stats":           pruneStats,
	},
	program: pruneProgram,
	badConfigs: map[string]any{
		"N 0":             spec.StructuredPruneConfig{N: 0, M: 4, GroupRows: 1},
		"N −1":            spec.StructuredPruneConfig{N: -1, M: 4, GroupRows: 1},
		"N = M":           spec.StructuredPruneConfig{N: 4, M: 4, GroupRows: 1},
		"N > M":           spec.StructuredPruneConfig{N: 5, M: 4, GroupRows: 1},
		"M 1":             spec.StructuredPruneConfig{N: 1, M: 1, GroupRows: 1},
		"M 0":             spec.StructuredPruneConfig{N: 0, M: 0, GroupRows: 1},
		"M −4":            spec.StructuredPruneConfig{N: 2, M: -4, GroupRows: 1},
		"the least M":     spec.StructuredPruneConfig{N: 2, M: math.MinInt, GroupRows: 1},
		"group_rows 0":    spec.StructuredPruneConfig{N: 2, M: 4, GroupRows: 0},
		"group_rows −1":   spec.StructuredPruneConfig{N: 2, M: 4, GroupRows: -1},
		"sparsity 1":      spec.StructuredPruneConfig{N: 2, M: 4, GroupRows: 1, Sparsity: 1},
		"sparsity −0.5":   spec.StructuredPruneConfig{N: 2, M: 4, GroupRows: 1, Sparsity: -0.5},
		"sparsity NaN":    spec.StructuredPruneConfig{N: 2, M: 4, GroupRows: 1, Sparsity: math.NaN()},
		"sparsity +Inf":   spec.StructuredPruneConfig{N: 2, M: 4, GroupRows: 1, Sparsity: math.Inf(1)},
		"everything zero": spec.StructuredPruneConfig{},
	},
	badSteps: pruneBadSteps,
	equal:    map[string]comparison{"sparsity_fraction": samePruneFraction},
	rows: []row{
		{"structured-prune/prune", pruneRow, (*trial).sameResult},
		{"structured-prune/prune-best", pruneRow, (*trial).sameResult},
	},
}

func drawPruneConfig(t *trial) spec.StructuredPruneConfig {
	nm := rapid.SampledFrom([][2]int{{2, 4}, {1, 2}, {1, 4}, {3, 4}, {2, 3}, {4, 8}, {5, 7}, {6, 20}}).Draw(t.T, "N:M")
	sparsities := []float64{0.5, 0, 0.25, 0.29, 0.6, 0.75, 0.999}
	return spec.StructuredPruneConfig{
		N: nm[0], M: nm[1], GroupRows: size(t, 1, 3, "group_rows"),
		Sparsity: rapid.SampledFrom(sparsities).Draw(t.T, "sparsity"),
	}
}

// drawPruneGroups draws weights whose rows are whole groups of M.
func drawPruneGroups(t *trial, c spec.StructuredPruneConfig, styles []style) spec.Matrix {
	return matrix(t, size(t, 1, 4, "rows"), c.M*size(t, 1, 3, "groups"), styles, "weights")
}

func drawPruneRows(t *trial, styles []style) spec.Matrix {
	return matrix(t, size(t, 1, 9, "rows"), size(t, 1, 6, "cols"), styles, "weights")
}

// pruneWideStyle spreads magnitudes over the floor of the sparsity fraction.
var pruneWideStyle = style{"wide", each(func(r *rand.Rand) float64 { return r.NormFloat64() * exponential(float64(-53*r.Float64())) })}

func drawPruneFlat(t *trial) []float32 {
	return numbers(t, size(t, 1, 40, "weights"), append([]style{pruneWideStyle, pruneWideStyle, pruneWideStyle}, anyStyles...), "weights")
}

func pruneProgram(t *trial, _ spec.Variant) program {
	c := drawPruneConfig(t)
	p := program{config: c}
	for range size(t, 1, 3, "rounds") {
		p.steps = append(p.steps,
			call(structuredPrune, "prune", drawPruneGroups(t, c, anyStyles)),
			call(structuredPrune, "sparsity_fraction", drawPruneFlat(t)),
			call(structuredPrune, "prune_groups", clearPruneGroups(t, c, drawPruneRows(t, anyStyles))))
	}
	return p
}

func pruneBadSteps(t *trial, config any) []badStep {
	c := config.(spec.StructuredPruneConfig)
	spoiled := func(v float64) spec.Matrix {
		x := spec.Matrix{Rows: 2, Cols: c.M, Data: make([]float32, 2*c.M)}
		x.Data[rapid.IntRange(0, 2*c.M-1).Draw(t.T, "at")] = float32(v)
		return x
	}
	var list []badStep
	bad := func(what string, s step) { list = append(list, badStep{what, s, spec.Invalid}) }
	for _, wrong := range []struct {
		what string
		x    spec.Matrix
	}{
		{"nothing", spec.Matrix{}},
		{"no rows", spec.Matrix{Cols: c.M}},
		{"no columns", spec.Matrix{Rows: 3}},
		{"less data than shape", spec.Matrix{Rows: 2, Cols: c.M, Data: make([]float32, 2*c.M-1)}},
		{"more data than shape", spec.Matrix{Rows: 1, Cols: c.M, Data: make([]float32, 2*c.M)}},
		{"a negative shape", spec.Matrix{Rows: -2, Cols: -c.M, Data: make([]float32, 2*c.M)}},
		{"countless rows", spec.Matrix{Rows: math.MaxInt, Cols: c.M, Data: make([]float32, c.M)}},
		{"countless empty rows", spec.Matrix{Rows: math.MaxInt}},
		{"a NaN", spoiled(math.NaN())},
		{"+Inf", spoiled(math.Inf(1))},
		{"−Inf", spoiled(math.Inf(-1))},
	} {
		bad(wrong.what, call(structuredPrune, "prune", wrong.x))
		bad(wrong.what, call(structuredPrune, "prune_groups", wrong.x))
	}
	for _, cols := range []int{1, c.M - 1, c.M + 1, 2*c.M - 1} {
		if cols%c.M != 0 {
			bad(fmt.Sprintf("%d columns in groups of %d", cols, c.M),
				call(structuredPrune, "prune", spec.Matrix{Rows: c.M, Cols: cols, Data: make([]float32, c.M*cols)}))
		}
	}
	bad("no weights", call(structuredPrune, "sparsity_fraction", []float32(nil)))
	for _, weight := range nonFinite {
		bad(fmt.Sprint(weight), call(structuredPrune, "sparsity_fraction", []float32{1, float32(weight), 0}))
	}
	return list
}

// prunedNM prunes with a new instance.
func prunedNM(t *trial, c spec.StructuredPruneConfig, w spec.Matrix) spec.PrunedWeights {
	t.Helper()
	var out spec.PrunedWeights
	t.must(open(t, t.impl.StructuredPrune, c).Prune(&out, w))
	t.prunedShape(out, w)
	return out
}

// prunedGroups prunes groups of rows with a new instance.
func prunedGroups(t *trial, c spec.StructuredPruneConfig, w spec.Matrix) spec.PrunedWeights {
	t.Helper()
	var out spec.PrunedWeights
	t.must(open(t, t.impl.StructuredPrune, c).(spec.StructuredPruneGroups).PruneGroups(&out, w))
	t.prunedShape(out, w)
	return out
}

func (t *trial) prunedShape(out spec.PrunedWeights, w spec.Matrix) {
	t.Helper()
	t.equal("length of mask ", len(out.Mask), len(w.Data))
	t.holds(spec.CheckMatrix("", "", out.Pruned, w.Rows, w.Cols) == nil,
		"pruned: got shape (%d, %d), want (%d, %d)", out.Pruned.Rows, out.Pruned.Cols, w.Rows, w.Cols)
}

// samePruned asserts that kept weights are the weights and the others +0.
func (t *trial) samePruned(out spec.PrunedWeights, w spec.Matrix) {
	t.Helper()
	want := cloneAs(w)
	for i, kept := range out.Mask {
		if !kept {
			want.Data[i] = 0
		}
	}
	t.sameBits("pruned", out.Pruned, want)
}

func pruneNMCount(t *trial) {
	c := drawPruneConfig(t)
	out := prunedNM(t, c, drawPruneGroups(t, c, anyStyles))
	for g := 0; g < len(out.Mask); g += c.M {
		kept := 0
		for _, k := range out.Mask[g : g+c.M] {
			if k {
				kept++
			}
		}
		t.holds(kept == c.N, "mask[%d…%d]: got %d kept, want %d", g, g+c.M-1, kept, c.N)
	}
}

// eachPruneSwap calls visit with every kept and every dropped index of a group.
func eachPruneSwap(c spec.StructuredPruneConfig, mask []bool, visit func(kept, dropped int)) {
	for i, k := range mask {
		for j := i / c.M * c.M; k && j < (i/c.M+1)*c.M; j++ {
			if !mask[j] {
				visit(i, j)
			}
		}
	}
}

func pruneLargest(t *trial) {
	c := drawPruneConfig(t)
	w := drawPruneGroups(t, c, anyStyles).Data
	out := prunedNM(t, c, spec.Matrix{Rows: 1, Cols: len(w), Data: w})
	eachPruneSwap(c, out.Mask, func(kept, dropped int) {
		t.holds(math.Abs(float64(w[kept])) >= math.Abs(float64(w[dropped])),
			"weight %d, %v, is kept and weight %d, %v, dropped", kept, w[kept], dropped, w[dropped])
	})
}

func pruneTies(t *trial) {
	c := drawPruneConfig(t)
	w := drawPruneGroups(t, c, pruneTiedStyles)
	out := prunedNM(t, c, w)
	eachPruneSwap(c, out.Mask, func(kept, dropped int) {
		a, b := w.Data[kept], w.Data[dropped]
		t.holds(a != b && a != -b || kept < dropped, "weight %d, %v, is kept and weight %d, %v, dropped", kept, a, dropped, b)
	})
}

// pruneTiedStyles are full of equal magnitudes.
var pruneTiedStyles = []style{
	{"three magnitudes", each(func(r *rand.Rand) float64 { return math.Copysign(float64(r.IntN(3)), r.NormFloat64()) })},
	{"one magnitude", each(func(r *rand.Rand) float64 { return math.Copysign(0x1p-130, r.NormFloat64()) })},
	{"zeros", each(func(r *rand.Rand) float64 { return math.Copysign(0, r.NormFloat64()) })},
}

func pruneSelected(t *trial) {
	c := drawPruneConfig(t)
	w := drawPruneGroups(t, c, anyStyles)
	t.samePruned(prunedNM(t, c, w), w)
}

// pruneEnergy tries every choice of N of M.
func pruneEnergy(t *trial) {
	c := drawPruneConfig(t)
	if c.M > 8 {
		c.N, c.M = 3, 6
	}
	w := drawPruneGroups(t, c, anyStyles).Data
	out := prunedNM(t, c, spec.Matrix{Rows: 1, Cols: len(w), Data: w})
	for g := 0; g < len(w); g += c.M {
		energy := func(choice uint) (sum float64) {
			for i, x := range w[g : g+c.M] {
				if choice>>i&1 == 1 {
					sum += float64(x) * float64(x)
				}
			}
			return sum
		}
		got, best := uint(0), 0.0
		for i, k := range out.Mask[g : g+c.M] {
			if k {
				got |= 1 << i
			}
		}
		for choice := range uint(1) << c.M {
			if bits.OnesCount(choice) == c.N {
				best = max(best, energy(choice))
			}
		}
		t.holds(energy(got) >= best*(1-0x1p-40), "weights %v: got a sum of squares of %v, want %v", w[g:g+c.M], energy(got), best)
	}
}

func pruneIdempotent(t *trial) {
	c := drawPruneConfig(t)
	once := prunedNM(t, c, drawPruneGroups(t, c, anyStyles))
	t.sameBits("", prunedNM(t, c, once.Pruned), once)
}

func pruneScaleSign(t *trial) {
	c := drawPruneConfig(t)
	w := drawPruneGroups(t, c, moderateStyles)
	k := rapid.IntRange(-40, 40).Draw(t.T, "k")
	signs, scaled := source(t, "signs"), cloneAs(w)
	for i, x := range w.Data {
		scaled.Data[i] = float32(math.Copysign(math.Ldexp(float64(x), k), signs.NormFloat64()))
		if math.Abs(math.Ldexp(float64(scaled.Data[i]), -k)) != math.Abs(float64(x)) {
			t.Skip("the scaled weight is subnormal")
		}
	}
	t.equal("mask", prunedNM(t, c, scaled).Mask, prunedNM(t, c, w).Mask)
}

func prunePermutation(t *trial) {
	c := drawPruneConfig(t)
	groups, r := size(t, 1, 4, "groups"), source(t, "weights")
	w := spec.Matrix{Rows: groups, Cols: c.M, Data: make([]float32, groups*c.M)}
	for i, magnitude := range r.Perm(len(w.Data)) {
		w.Data[i] = float32(math.Copysign(float64(magnitude), r.NormFloat64()))
	}
	order := make([]int, 0, len(w.Data)) // place i has what was at order[i]
	for _, g := range r.Perm(groups) {
		for _, i := range r.Perm(c.M) {
			order = append(order, g*c.M+i)
		}
	}
	moved := cloneAs(w)
	for i, from := range order {
		moved.Data[i] = w.Data[from]
	}
	before, after := prunedNM(t, c, w), prunedNM(t, c, moved)
	for i, from := range order {
		t.holds(after.Mask[i] == before.Mask[from], "weight %v: kept %v at %d and %v at %d", w.Data[from], before.Mask[from], from, after.Mask[i], i)
	}
}

// pruneFractionBounds are the least and the greatest share of weights below the floor:
// those near it count as either.
func pruneFractionBounds(weights []float32, u float64) (least, most float64) {
	largest := 0.0
	for _, w := range weights {
		largest = max(largest, math.Abs(float64(w)))
	}
	if largest == 0 {
		return 1, 1
	}
	floor, margin := spec.SparsityFloor*largest, max(0x1p-20, 4*u)
	for _, w := range weights {
		if math.Abs(float64(w)) < floor*(1-margin) {
			least++
		}
		if math.Abs(float64(w)) < floor*(1+margin) {
			most++
		}
	}
	n := float64(len(weights))
	return least / n, most / n
}

func (t *trial) pruneFractionOf(weights []float32, got float64) {
	t.Helper()
	least, most := pruneFractionBounds(weights, t.u)
	t.within("fraction", got, (least+most)/2, (most-least)/2+0x1p-50)
}

func samePruneFraction(t *trial, _ any, args []any, got, _ any) {
	t.Helper()
	t.pruneFractionOf(args[0].([]float32), *got.(*float64))
}

func pruneFraction(t *trial) {
	weights := drawPruneFlat(t)
	var got float64
	t.must(open(t, t.impl.StructuredPrune, drawPruneConfig(t)).SparsityFraction(&got, weights))
	t.pruneFractionOf(weights, got)
}

// pruneGroupNorms are the groups' L2 norms, summed in big floats.
func pruneGroupNorms(c spec.StructuredPruneConfig, w spec.Matrix) []float64 {
	var norms []float64
	for from := 0; from < w.Rows; from += c.GroupRows {
		sum := bigNumber(0)
		for _, x := range w.Data[from*w.Cols : min(from+c.GroupRows, w.Rows)*w.Cols] {
			sum.Add(sum, new(big.Float).Mul(bigNumber(float64(x)), bigNumber(float64(x))))
		}
		norm, _ := sum.Sqrt(sum).Float64()
		norms = append(norms, norm)
	}
	return norms
}

// pruneNormMargin is how near, relatively, norms may lie for an order of either kind.
func pruneNormMargin(c spec.StructuredPruneConfig, w spec.Matrix, u float64) float64 {
	return max(0x1p-20, u*float64(min(c.GroupRows, w.Rows)*w.Cols+8))
}

// clearPruneGroups returns w, or zeros of its shape where rounding may decide which
// groups are kept. Equal norms are clear: the first are.
func clearPruneGroups(t *trial, c spec.StructuredPruneConfig, w spec.Matrix) spec.Matrix {
	norms, margin := pruneGroupNorms(c, w), pruneNormMargin(c, w, t.u)
	ranked := slices.Clone(norms)
	slices.Sort(ranked)
	dropped := spec.DropCount(c.Sparsity, len(ranked))
	for _, low := range ranked[:dropped] {
		for _, high := range ranked[dropped:] {
			if low != high && high-low <= margin*high {
				return spec.Matrix{Rows: w.Rows, Cols: w.Cols, Data: make([]float32, len(w.Data))}
			}
		}
	}
	return w
}

// keptPruneGroups says which groups of rows a mask keeps, each whole or not at all.
func keptPruneGroups(t *trial, c spec.StructuredPruneConfig, w spec.Matrix, mask []bool) []bool {
	t.Helper()
	var kept []bool
	for from := 0; from < w.Rows; from += c.GroupRows {
		group := mask[from*w.Cols : min(from+c.GroupRows, w.Rows)*w.Cols]
		t.holds(!slices.Contains(group, !group[0]), "rows %d to %d: the group is kept in part", from, min(from+c.GroupRows, w.Rows)-1)
		kept = append(kept, group[0])
	}
	return kept
}

func pruneGroupsCount(t *trial) {
	c, w := drawPruneConfig(t), drawPruneRows(t, anyStyles)
	kept := keptPruneGroups(t, c, w, prunedGroups(t, c, w).Mask)
	dropped := 0
	for _, k := range kept {
		if !k {
			dropped++
		}
	}
	t.equal("number of dropped groups ", dropped, spec.DropCount(c.Sparsity, len(kept)))
	t.holds(dropped < len(kept), "no group is kept of %d", len(kept))
}

func pruneGroupsLeast(t *trial) {
	c, w := drawPruneConfig(t), drawPruneRows(t, anyStyles)
	kept := keptPruneGroups(t, c, w, prunedGroups(t, c, w).Mask)
	norms, margin := pruneGroupNorms(c, w), pruneNormMargin(c, w, t.u)
	for i, k := range kept {
		for j, other := range kept {
			if k && !other {
				t.holds(norms[j]-norms[i] <= margin*norms[j], "group %d of norm %v is kept and group %d of norm %v dropped", i, norms[i], j, norms[j])
			}
		}
	}
}

func pruneGroupsTies(t *trial) {
	c := drawPruneConfig(t)
	some := matrix(t, 2*c.GroupRows, size(t, 1, 6, "cols"), anyStyles, "groups")
	w := spec.Matrix{Cols: some.Cols}
	for range size(t, 1, 8, "groups") {
		g := rapid.IntRange(0, 1).Draw(t.T, "group")
		w.Data = append(w.Data, some.Data[g*c.GroupRows*some.Cols:(g+1)*c.GroupRows*some.Cols]...)
		w.Rows += c.GroupRows
	}
	kept := keptPruneGroups(t, c, w, prunedGroups(t, c, w).Mask)
	for i := range kept {
		for j := range i {
			alike := slices.Equal(c.Group(w, i), c.Group(w, j))
			t.holds(!alike || kept[j] || !kept[i], "group %d is kept, and group %d, which is alike, dropped", i, j)
		}
	}
}

func pruneGroupsSelected(t *trial) {
	c, w := drawPruneConfig(t), drawPruneRows(t, anyStyles)
	t.samePruned(prunedGroups(t, c, w), w)
}

func pruneGroupsNested(t *trial) {
	low, w := drawPruneConfig(t), drawPruneRows(t, anyStyles)
	high := low
	high.Sparsity = drawPruneConfig(t).Sparsity
	if high.Sparsity < low.Sparsity {
		low, high = high, low
	}
	many, few := prunedGroups(t, low, w), prunedGroups(t, high, w)
	for i := range few.Mask {
		t.holds(many.Mask[i] || !few.Mask[i], "weight %d: kept at sparsity %v and dropped at %v", i, high.Sparsity, low.Sparsity)
	}
}

func pruneStats(t *trial) {
	c := drawPruneConfig(t)
	p := open(t, t.impl.StructuredPrune, c)
	var want spec.StructuredPruneStats
	count := func(out spec.PrunedWeights, w spec.Matrix) {
		t.prunedShape(out, w)
		want.Calls++
		want.Weights += len(w.Data)
		for _, k := range out.Mask {
			if !k {
				want.Zeroed++
			}
		}
		want.Sparsity = float64(want.Zeroed) / float64(want.Weights)
	}
	for range size(t, 0, 3, "calls") {
		var out spec.PrunedWeights
		w := drawPruneGroups(t, c, anyStyles)
		t.must(p.Prune(&out, w))
		count(out, w)
		var share float64
		t.must(p.SparsityFraction(&share, w.Data))
		if t.impl.OffersOperation(structuredPrune, "prune_groups") {
			w = drawPruneRows(t, anyStyles)
			t.must(p.(spec.StructuredPruneGroups).PruneGroups(&out, w))
			count(out, w)
		}
	}
	got := p.Stats()
	t.within("sparsity", got.Sparsity, want.Sparsity, 0x1p-50)
	got.Sparsity = want.Sparsity
	t.equal("stats", got, want)
}

// pruneRow prunes rows by their norms, as the page says, or N of M, as its script
// did.
func pruneRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	c := spec.DefaultStructuredPruneConfig()
	c.N, c.M = w.Int("N", c.N), w.Int("M", c.M)
	c.GroupRows = w.Int("group_rows", c.GroupRows)
	c.Sparsity = w.Float("sparsity", c.Sparsity)
	x := spec.Matrix{Rows: w.Int("rows", 256), Cols: w.Int("cols", 256)}
	x.Data = gaussian(x.Rows*x.Cols, 24)
	p, err := impl.StructuredPrune(c)
	if err != nil {
		return timing{}, err
	}
	prune := p.Prune
	if name == spec.PageWorkload {
		groups, ok := p.(spec.StructuredPruneGroups)
		if !ok {
			return timing{}, spec.Reject(spec.Unsupported, "structured-prune", "prune_groups", "an instance that has it", "one without")
		}
		prune = groups.PruneGroups
	}
	var out spec.PrunedWeights
	return timing{
		calls:  1,
		call:   func(int) error { return prune(&out, x) },
		result: func() (any, error) { return &out, nil },
		note:   func() string { return fmt.Sprintf("%.1f%% zeroed", 100*p.Stats().Sparsity) },
	}, nil
}
