package conformance

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var layerFusion = spec.ModuleByName("layer-fusion")

var layerFusionModule = &module{
	spec: layerFusion,
	laws: map[string]func(*trial){
		"cosine":        fusionCosine,
		"bounded":       fusionBounded,
		"symmetric":     fusionSymmetric,
		"scale-free":    fusionScaleFree,
		"zero-layers":   fusionZeroLayers,
		"threshold":     fusionThreshold,
		"identical":     fusionIdentical,
		"fuse":          fusionFuse,
		"ends":          fusionEnds,
		"same":          fusionSame,
		"between":       fusionBetween,
		"swap":          fusionSwap,
		"plan":          fusionPlan,
		"plan-repeated": fusionPlanRepeated,
		"plan-bytes":    fusionPlanBytes,
		"stats":         fusionStats,
	},
	program: fusionProgram,
	badConfigs: map[string]any{
		"hidden_dim 0":               fusionConfig(0, 0.5),
		"hidden_dim −8":              fusionConfig(-8, 0.5),
		"hidden_dim −2⁶³":            fusionConfig(math.MinInt, 0.5),
		"similarity_threshold 0":     fusionConfig(8, 0),
		"similarity_threshold −0.5":  fusionConfig(8, -0.5),
		"similarity_threshold 1.001": fusionConfig(8, 1.001),
		"similarity_threshold NaN":   fusionConfig(8, math.NaN()),
		"similarity_threshold +Inf":  fusionConfig(8, math.Inf(1)),
		"similarity_threshold −Inf":  fusionConfig(8, math.Inf(-1)),
	},
	badSteps: fusionBadSteps,
	equal: map[string]comparison{
		"cosine_similarity": func(t *trial, _ any, args []any, got, want any) {
			t.within("similarity", *got.(*float64), *want.(*float64), similarityBudget(t.u, len(args[0].([]float32))))
		},
		"should_fuse": func(t *trial, config any, args []any, got, want any) {
			pair := layerPair{args[0].([]float32), args[1].([]float32)}
			if _, unclear := pair.verdict(t, config); !unclear {
				t.equal("fuse", *got.(*bool), *want.(*bool))
			}
		},
		"fuse": func(t *trial, _ any, args []any, got, want any) {
			pair := layerPair{args[0].([]float32), args[1].([]float32)}
			pair.sameFused(t, 1, *got.(*[]float32), widened(*want.(*[]float32)))
		},
		"plan_fusions": func(t *trial, config any, args []any, got, want any) {
			g, w := got.(*spec.FusionPlan), want.(*spec.FusionPlan)
			isGreedyPlan(t, config, args[0].([][]float32), *g)
			t.equal("bytes_before", g.BytesBefore, w.BytesBefore)
			if slices.Equal(g.Pairs, w.Pairs) {
				t.equal("bytes_after", g.BytesAfter, w.BytesAfter)
			}
		},
	},
	rows: []row{
		{"layer-fusion/cosine-similarity", fusionCosineRow, func(t *trial, got, want any) {
			g, w := got.(*similarityRow), want.(*similarityRow)
			t.within("similarity", g.similarity, w.similarity, t.u*(16+4*math.Sqrt(float64(len(w.made.a)))))
		}},
		{"layer-fusion/fuse", fusionFuseRow, func(t *trial, got, want any) {
			g, w := got.(*fusedRow), want.(*fusedRow)
			w.made.sameFused(t, 1, g.fused, widened(w.fused))
		}},
	},
}

func fusionConfig(dim int, threshold float64) spec.LayerFusionConfig {
	return spec.LayerFusionConfig{HiddenDim: dim, SimilarityThreshold: threshold}
}

// A layerPair is two layers of one size.
type layerPair struct{ a, b []float32 }

func (p layerPair) swapped() layerPair { return layerPair{p.b, p.a} }

// cosine is a·b/(‖a‖·‖b‖) in big floats.
func (p layerPair) cosine() float64 {
	dot := func(x, y []float32) *big.Float {
		sum := bigNumber(0)
		for i := range x {
			sum.Add(sum, new(big.Float).Mul(bigNumber(float64(x[i])), bigNumber(float64(y[i]))))
		}
		return sum
	}
	lengths := dot(p.a, p.a)
	lengths.Mul(lengths, dot(p.b, p.b))
	if lengths.Sign() == 0 {
		return 0
	}
	cosine, _ := new(big.Float).Quo(dot(p.a, p.b), lengths.Sqrt(lengths)).Float64()
	return cosine
}

// similarityBudget bounds the error of the cosine of n weights. See the requirement.
func similarityBudget(u float64, n int) float64 { return u * float64(2*n+16) }

// verdict says whether a pair should fuse, and whether it is too near the threshold to
// tell.
func (p layerPair) verdict(t *trial, config any) (fuses, unclear bool) {
	threshold := config.(spec.LayerFusionConfig).SimilarityThreshold
	off := p.cosine() - threshold
	return off >= 0, math.Abs(off) <= max(0x1p-20*threshold, similarityBudget(t.u, len(p.a)))
}

// fused is w·a + (1−w)·b in big floats.
func (p layerPair) fused(w float64) []float64 {
	first := bigNumber(w)
	second := new(big.Float).Sub(bigNumber(1), first)
	out := make([]float64, len(p.a))
	for i := range out {
		a := new(big.Float).Mul(first, bigNumber(float64(p.a[i])))
		b := new(big.Float).Mul(second, bigNumber(float64(p.b[i])))
		out[i], _ = a.Add(a, b).Float64()
	}
	return out
}

// sameFused asserts that fused weights are off by no more than so many budgets.
func (p layerPair) sameFused(t *trial, budgets float64, got []float32, want []float64) {
	t.Helper()
	t.equal("number of fused weights ", len(got), len(want))
	for i, w := range want {
		t.within(fmt.Sprintf("fused[%d]", i), float64(got[i]), w, budgets*p.budget(t.u, i))
	}
}

// budget bounds the error of fused weight i. See the requirement.
func (p layerPair) budget(u float64, i int) float64 {
	return 4*u*(math.Abs(float64(p.a[i]))+math.Abs(float64(p.b[i]))) + spacing(u)
}

func drawFusionConfig(t *trial) spec.LayerFusionConfig {
	return fusionConfig(size(t, 1, 9, "hidden_dim"), rapid.SampledFrom([]float64{0.97, 0.5, 0.9, 0.1, 1}).Draw(t.T, "similarity_threshold"))
}

func drawLayer(t *trial) []float32 {
	return numbers(t, size(t, 1, 40, "weights"), anyStyles, "layer")
}

// drawPair draws two layers, mostly related.
func drawPair(t *trial) layerPair {
	a := drawLayer(t)
	return layerPair{a, drawRelative(t, a)}
}

// drawRelative draws a layer beside a: equal, longer or shorter, turned round, moved
// by noise of any size, or a stranger.
func drawRelative(t *trial, a []float32) []float32 {
	noise, factor := 0.0, 1.0
	switch rapid.IntRange(0, 5).Draw(t.T, "relation") {
	case 0:
		return numbers(t, len(a), anyStyles, "stranger")
	case 1:
		factor = math.Ldexp(rapid.SampledFrom([]float64{1, -1}).Draw(t.T, "sign"), rapid.IntRange(-9, 9).Draw(t.T, "k"))
	case 2:
	default:
		noise = rapid.SampledFrom([]float64{0.01, 0.2, 0.3, 0.5, 1}).Draw(t.T, "noise")
	}
	largest := 0.0
	for _, x := range a {
		largest = max(largest, math.Abs(float64(x)))
	}
	b, r := make([]float32, len(a)), source(t, "noise")
	for i, x := range a {
		y := factor*float64(x) + noise*largest*r.NormFloat64()
		b[i] = float32(max(-math.MaxFloat32, min(math.MaxFloat32, y)))
	}
	return b
}

// drawStack draws layers each related to the one before.
func drawStack(t *trial) [][]float32 {
	stack := [][]float32{drawLayer(t)}
	for range size(t, 0, 7, "more layers") {
		stack = append(stack, drawRelative(t, stack[len(stack)-1]))
	}
	return stack
}

func drawFusionWeight(t *trial) float64 {
	w := rapid.SampledFrom([]float64{0.5, 0.25, 0.3, 0.9, 0, 1, 1e-9, 1 - 1e-9, 5e-324, -1}).Draw(t.T, "w")
	if w < 0 {
		w = rapid.Float64Range(0, 1).Draw(t.T, "w")
	}
	return w
}

func fusionProgram(t *trial, _ spec.Variant) program {
	p := program{config: drawFusionConfig(t)}
	for range size(t, 1, 2, "rounds") {
		x, y := drawPair(t), drawPair(t)
		p.steps = append(p.steps,
			call(layerFusion, "cosine_similarity", x.a, x.b),
			call(layerFusion, "should_fuse", y.a, y.b),
			call(layerFusion, "fuse", x.a, x.b, drawFusionWeight(t)),
			call(layerFusion, "plan_fusions", drawStack(t)))
	}
	return p
}

func fusionBadSteps(t *trial, _ any) []badStep {
	good := slices.Repeat([]float32{1}, size(t, 1, 4, "weights"))
	at := rapid.IntRange(0, len(good)-1).Draw(t.T, "at")
	spoiled := func(x float64) []float32 {
		layer := slices.Clone(good)
		layer[at] = float32(x)
		return layer
	}
	longer := append(slices.Clone(good), 1)
	var list []badStep
	bad := func(what string, s step) { list = append(list, badStep{what, s, spec.Invalid}) }
	for _, wrong := range []struct {
		what string
		layerPair
	}{
		{"no weights", layerPair{nil, nil}},
		{"no first layer", layerPair{nil, good}},
		{"no second layer", layerPair{good, nil}},
		{"a weight more in the first layer", layerPair{longer, good}},
		{"a weight more in the second layer", layerPair{good, longer}},
		{"a row that could be broadcast", layerPair{slices.Repeat(longer, 3), longer}},
		{"a NaN in the first layer", layerPair{spoiled(math.NaN()), good}},
		{"a NaN in the second layer", layerPair{good, spoiled(math.NaN())}},
		{"+Inf in the first layer", layerPair{spoiled(math.Inf(1)), good}},
		{"−Inf in the second layer", layerPair{good, spoiled(math.Inf(-1))}},
		{"±Inf in both", layerPair{spoiled(math.Inf(1)), spoiled(math.Inf(-1))}},
	} {
		bad(wrong.what, call(layerFusion, "cosine_similarity", wrong.a, wrong.b))
		bad(wrong.what, call(layerFusion, "should_fuse", wrong.a, wrong.b))
		for _, w := range []float64{0.5, 0, 1} {
			bad(fmt.Sprintf("%s at w = %v", wrong.what, w), call(layerFusion, "fuse", wrong.a, wrong.b, w))
		}
	}
	for _, w := range []float64{-0.1, -5e-324, 1.1, math.Nextafter(1, 2), math.NaN(), math.Inf(1), math.Inf(-1)} {
		bad(fmt.Sprintf("w = %v", w), call(layerFusion, "fuse", good, good, w))
	}
	for _, wrong := range []struct {
		what  string
		stack [][]float32
	}{
		{"no layers", nil},
		{"an empty layer", [][]float32{{}}},
		{"layers without weights", [][]float32{{}, {}}},
		{"an empty layer among others", [][]float32{good, {}, good}},
		{"a longer layer", [][]float32{good, good, longer}},
		{"a shorter layer", [][]float32{longer, good}},
		{"a NaN", [][]float32{good, spoiled(math.NaN())}},
		{"a NaN in a single layer", [][]float32{spoiled(math.NaN())}},
		{"+Inf in the last of three", [][]float32{good, good, spoiled(math.Inf(1))}},
		{"−Inf in the first of three", [][]float32{spoiled(math.Inf(-1)), good, good}},
	} {
		bad(wrong.what, call(layerFusion, "plan_fusions", wrong.stack))
	}
	return list
}

// similarity asks a new instance.
func (p layerPair) similarity(t *trial) float64 {
	t.Helper()
	var out float64
	t.must(open(t, t.impl.LayerFusion, spec.DefaultLayerFusionConfig()).CosineSimilarity(&out, p.a, p.b))
	return out
}

// shouldFuse asks a new instance.
func (p layerPair) shouldFuse(t *trial, c spec.LayerFusionConfig) bool {
	t.Helper()
	var out bool
	t.must(open(t, t.impl.LayerFusion, c).ShouldFuse(&out, p.a, p.b))
	return out
}

// fuse asks a new instance.
func (p layerPair) fuse(t *trial, w float64) []float32 {
	t.Helper()
	var out []float32
	t.must(open(t, t.impl.LayerFusion, spec.DefaultLayerFusionConfig()).Fuse(&out, p.a, p.b, w))
	t.equal("number of fused weights ", len(out), len(p.a))
	return out
}

func planned(t *trial, c spec.LayerFusionConfig, stack [][]float32) spec.FusionPlan {
	t.Helper()
	var out spec.FusionPlan
	t.must(open(t, t.impl.LayerFusion, c).(spec.LayerFusionPlanner).PlanFusions(&out, stack))
	return out
}

func fusionCosine(t *trial) {
	p := drawPair(t)
	t.within("similarity", p.similarity(t), p.cosine(), similarityBudget(t.u, len(p.a)))
}

func fusionBounded(t *trial) {
	a := drawLayer(t)
	p := layerPair{a, drawRelative(t, a)}
	for _, pair := range []layerPair{p, {a, a}, {a, negated(a)}} {
		c := pair.similarity(t)
		t.holds(c >= -1 && c <= 1, "similarity: got %v, want a number in [−1, 1]", c)
	}
}

func negated(layer []float32) []float32 {
	out := make([]float32, len(layer))
	for i, x := range layer {
		out[i] = -x
	}
	return out
}

func fusionSymmetric(t *trial) {
	p := drawPair(t)
	t.within("similarity the other way round", p.swapped().similarity(t), p.similarity(t), 2*similarityBudget(t.u, len(p.a)))
}

// drawDoublings draws a layer's multiple by a power of two.
func drawDoublings(t *trial, layer []float32) []float32 {
	k := rapid.IntRange(-60, 60).Draw(t.T, "k")
	out := make([]float32, len(layer))
	for i, x := range layer {
		out[i] = float32(math.Ldexp(float64(x), k))
		if math.Ldexp(float64(out[i]), -k) != float64(x) {
			t.Skip("the scaled weight is beyond float32, or subnormal")
		}
	}
	return out
}

func fusionScaleFree(t *trial) {
	a := numbers(t, size(t, 1, 40, "weights"), moderateStyles, "layer")
	p := layerPair{a, drawRelative(t, a)}
	scaled := drawDoublings(t, p.a)
	plain, budget := p.similarity(t), 2*similarityBudget(t.u, len(a))
	t.within("similarity of the scaled layer", layerPair{scaled, p.b}.similarity(t), plain, budget)
	t.within("similarity of the layer turned round", layerPair{negated(scaled), p.b}.similarity(t), -plain, budget)
}

func fusionZeroLayers(t *trial) {
	c := drawFusionConfig(t)
	a := drawLayer(t)
	zero, signs := make([]float32, len(a)), source(t, "signs")
	for i := range zero {
		zero[i] = float32(math.Copysign(0, signs.NormFloat64()))
	}
	for _, p := range []layerPair{{a, zero}, {zero, a}, {zero, zero}} {
		t.equal("similarity ", p.similarity(t), 0.0)
		t.holds(!p.shouldFuse(t, c), "a layer of zeros should fuse")
	}
}

func fusionThreshold(t *trial) {
	c, p := drawFusionConfig(t), drawPair(t)
	if want, unclear := p.verdict(t, c); !unclear {
		got := p.shouldFuse(t, c)
		t.holds(got == want, "fuse: got %v, want %v: similarity %v, threshold %v", got, want, p.cosine(), c.SimilarityThreshold)
	}
}

func fusionIdentical(t *trial) {
	a := numbers(t, size(t, 1, 40, "weights"), moderateStyles, "layer")
	a[0] = 1 // so that it is not all zeros
	multiple := drawDoublings(t, a)
	c := fusionConfig(8, rapid.SampledFrom([]float64{1, 1, 0.97}).Draw(t.T, "similarity_threshold"))
	t.holds(layerPair{a, slices.Clone(a)}.shouldFuse(t, c), "a layer does not fuse with itself at threshold %v", c.SimilarityThreshold)
	t.holds(layerPair{a, multiple}.shouldFuse(t, c), "a layer does not fuse with its multiple at threshold %v", c.SimilarityThreshold)
}

func fusionFuse(t *trial) {
	p, w := drawPair(t), drawFusionWeight(t)
	p.sameFused(t, 1, p.fuse(t, w), p.fused(w))
}

func fusionEnds(t *trial) {
	p := drawPair(t)
	t.equal("fused at w = 1", p.fuse(t, 1), p.a)
	t.equal("fused at w = 0", p.fuse(t, 0), p.b)
}

func fusionSame(t *trial) {
	a := drawLayer(t)
	p := layerPair{a, slices.Clone(a)}
	p.sameFused(t, 1, p.fuse(t, drawFusionWeight(t)), widened(a))
}

// fusionBetween draws magnitudes whose sums are beyond float32 as often as any others.
func fusionBetween(t *trial) {
	styles := rapid.SampledFrom([][]style{anyStyles, {greatest}}).Draw(t.T, "styles")
	n := size(t, 1, 40, "weights")
	p := layerPair{numbers(t, n, styles, "a"), numbers(t, n, styles, "b")}
	for i, x := range p.fuse(t, drawFusionWeight(t)) {
		least, most := float64(min(p.a[i], p.b[i])), float64(max(p.a[i], p.b[i]))
		t.holds(areFinite(x), "fused[%d] of %v and %v: got %v", i, p.a[i], p.b[i], x)
		t.within(fmt.Sprintf("fused[%d] and the nearest number between the two", i), float64(x), max(least, min(most, float64(x))), p.budget(t.u, i))
	}
}

// greatest are numbers near the greatest of float32.
var greatest = style{"greatest", each(func(r *rand.Rand) float64 {
	return math.Copysign((1-r.Float64()/8)*math.MaxFloat32, r.NormFloat64())
})}

func fusionSwap(t *trial) {
	p := drawPair(t)
	w := float64(rapid.IntRange(0, 256).Draw(t.T, "w in 256ths")) / 256
	p.sameFused(t, 2, p.swapped().fuse(t, 1-w), widened(p.fuse(t, w)))
}

// isGreedyPlan follows a plan from the left: a pair that is too near the threshold to
// tell may be in it or not, and the rest goes on from there.
func isGreedyPlan(t *trial, config any, stack [][]float32, plan spec.FusionPlan) {
	t.Helper()
	next := 0
	for i := 0; i+1 < len(stack); i++ {
		fuses, unclear := layerPair{stack[i], stack[i+1]}.verdict(t, config)
		taken := next < len(plan.Pairs) && plan.Pairs[next] == spec.LayerPair{First: i, Second: i + 1}
		t.holds(taken == fuses || unclear, "pairs: got %v, want layers %d and %d in it: %v", plan.Pairs, i, i+1, fuses)
		if taken {
			next++
			i++
		}
	}
	t.holds(next == len(plan.Pairs), "pairs: got %v, want the first %d of them only", plan.Pairs, next)
}

func fusionPlan(t *trial) {
	c, stack := drawFusionConfig(t), drawStack(t)
	isGreedyPlan(t, c, stack, planned(t, c, stack))
}

func fusionPlanRepeated(t *trial) {
	layer := drawLayer(t)
	layer[0] = 1 // so that it is not all zeros
	n := size(t, 1, 9, "layers")
	stack := make([][]float32, n)
	var want []spec.LayerPair
	for i := range stack {
		stack[i] = slices.Clone(layer)
		if i%2 == 1 {
			want = append(want, spec.LayerPair{First: i - 1, Second: i})
		}
	}
	c := fusionConfig(8, rapid.SampledFrom([]float64{0.97, 0.5, 0.1}).Draw(t.T, "similarity_threshold"))
	t.equal("pairs", planned(t, c, stack).Pairs, want)
}

func fusionPlanBytes(t *trial) {
	stack := drawStack(t)
	plan := planned(t, drawFusionConfig(t), stack)
	want, saved := int64(0), int64(0)
	for _, layer := range stack {
		want += 4 * int64(len(layer))
	}
	for range plan.Pairs {
		saved += 4 * int64(len(stack[0]))
	}
	t.equal("bytes_before ", plan.BytesBefore, want)
	t.equal("bytes_after ", plan.BytesAfter, want-saved)
}

func fusionStats(t *trial) {
	f := open(t, t.impl.LayerFusion, drawFusionConfig(t))
	var want spec.LayerFusionStats
	for range size(t, 0, 6, "calls") {
		p := drawPair(t)
		switch rapid.IntRange(0, 3).Draw(t.T, "operation") {
		case 0:
			var similarity float64
			t.must(f.CosineSimilarity(&similarity, p.a, p.b))
		case 1:
			var fuses bool
			t.must(f.ShouldFuse(&fuses, p.a, p.b))
			want.Checks++
		case 2:
			var fused []float32
			t.must(f.Fuse(&fused, p.a, p.b, drawFusionWeight(t)))
			want.Fusions++
			want.LayersSaved++
		case 3:
			if t.impl.OffersOperation(layerFusion, "plan_fusions") {
				var plan spec.FusionPlan
				t.must(f.(spec.LayerFusionPlanner).PlanFusions(&plan, [][]float32{p.a, p.b}))
			}
		}
	}
	t.equal("stats", f.Stats(), want)
}

// fusionRowPair is a redundant layer: the one before, and a fifth of it in noise.
func fusionRowPair(w spec.Workload) layerPair {
	n := w.Int("rows", 256) * w.Int("cols", 256)
	p := layerPair{gaussian(n, 24), gaussian(n, 25)}
	for i, x := range p.a {
		p.b[i] = x + 0.2*p.b[i]
	}
	return p
}

// A similarityRow and a fusedRow are what the rows come to, with what they were made
// of. On these layers rounding errors have random signs, and add up to some √n·u.
type (
	similarityRow struct {
		made       layerPair
		similarity float64
	}
	fusedRow struct {
		made  layerPair
		fused []float32
	}
)

func fusionCosineRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	f, err := impl.LayerFusion(spec.DefaultLayerFusionConfig())
	out := similarityRow{made: fusionRowPair(w)}
	return timing{
		calls:  1,
		call:   func(int) error { return f.CosineSimilarity(&out.similarity, out.made.a, out.made.b) },
		result: func() (any, error) { return &out, nil },
	}, err
}

func fusionFuseRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	f, err := impl.LayerFusion(spec.DefaultLayerFusionConfig())
	out := fusedRow{made: fusionRowPair(w)}
	return timing{
		calls:  1,
		call:   func(int) error { return f.Fuse(&out.fused, out.made.a, out.made.b, spec.DefaultFusionWeight) },
		result: func() (any, error) { return &out, nil },
	}, err
}
