package conformance

import (
	"math"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var imageTokenPrune = spec.ModuleByName("image-token-prune")

var imageTokenPruneModule = &module{
	spec: imageTokenPrune,
	laws: map[string]func(*trial){
		"partition":       imagePartition,
		"count":           imageCount,
		"received":        imageReceived,
		"sink":            imageSink,
		"ties":            imageTies,
		"relabel":         imageRelabel,
		"heads":           imageHeads,
		"nested":          imageNested,
		"stats":           imageStats,
		"entropy-squish6": imageEntropySquish6,
		"count-squish6":   imageCountSquish6,
	},
	program: imageProgram,
	badConfigs: map[string]any{
		"an unknown variant":   imageConfig("squish7", 4, 2, 0.5),
		"n_tokens 0":           imageConfig(spec.Documented, 0, 2, 0.5),
		"n_tokens −4":          imageConfig(spec.Documented, -4, 2, 0.5),
		"n_tokens beyond 2³⁰":  imageConfig(spec.Documented, 1<<30+1, 2, 0.5),
		"n_heads 0":            imageConfig(spec.Documented, 4, 0, 0.5),
		"n_heads −1":           imageConfig(spec.Squish6, 4, -1, 0.5),
		"prune_ratio 1":        imageConfig(spec.Documented, 4, 2, 1),
		"prune_ratio −0.1":     imageConfig(spec.Documented, 4, 2, -0.1),
		"prune_ratio NaN":      imageConfig(spec.Documented, 4, 2, math.NaN()),
		"prune_ratio 1 there":  imageConfig(spec.Squish6, 4, 2, 1),
		"prune_ratio −½ there": imageConfig(spec.Squish6, 4, 2, -0.5),
		"eps 0":                spec.ImageTokenPruneConfig{Variant: spec.Squish6, NTokens: 4, PruneRatio: 0.5, NHeads: 2},
		"eps −1":               spec.ImageTokenPruneConfig{Variant: spec.Squish6, NTokens: 4, PruneRatio: 0.5, NHeads: 2, Eps: -1},
		"eps NaN":              spec.ImageTokenPruneConfig{NTokens: 4, PruneRatio: 0.5, NHeads: 2, Eps: math.NaN()},
		"eps +Inf":             spec.ImageTokenPruneConfig{NTokens: 4, PruneRatio: 0.5, NHeads: 2, Eps: math.Inf(1)},
	},
	badSteps: imageBadSteps,
	equal: map[string]comparison{
		"prune": func(t *trial, config any, args []any, got, want any) {
			sameImagePrune(t, imagePrune{config.(spec.ImageTokenPruneConfig), args[0].(spec.Heads)}, *got.(*spec.PrunedTokens), *want.(*spec.PrunedTokens))
		},
	},
	rows: []row{
		{"image-token-prune/prune", imageRow, imageSameResult},
		{"image-token-prune/prune-best", imageRow, imageSameResult},
	},
}

func imageConfig(v spec.Variant, tokens, heads int, ratio float64) spec.ImageTokenPruneConfig {
	return spec.ImageTokenPruneConfig{Variant: v, NTokens: tokens, PruneRatio: ratio, NHeads: heads, Eps: 1e-9}
}

// An imagePrune is a config and the argument of one Prune.
type imagePrune struct {
	config    spec.ImageTokenPruneConfig
	attention spec.Heads
}

func (p imagePrune) step() step { return call(imageTokenPrune, "prune", p.attention) }

// pruned returns what a new instance keeps and prunes.
func (p imagePrune) pruned(t *trial) spec.PrunedTokens {
	t.Helper()
	return p.prunedBy(t, open(t, t.impl.ImageTokenPrune, p.config))
}

func (p imagePrune) prunedBy(t *trial, pruner spec.ImageTokenPrune) (out spec.PrunedTokens) {
	t.Helper()
	t.must(pruner.Prune(&out, p.attention))
	return out
}

// ranking scores the tokens anew.
func (p imagePrune) ranking(u float64) ranking {
	n, heads := p.config.NTokens, p.config.NHeads
	sums := make([]neumaier, n)
	for h := range heads {
		for q := range n {
			for k, w := range p.attention.Head(h).Row(q) {
				if p.config.Variant == spec.Squish6 {
					sums[q].add(float64(w) * math.Log(float64(w)+p.config.Eps))
				} else {
					sums[k].add(float64(w))
				}
			}
		}
	}
	r := ranking{make([]float64, n), make([]float64, n)}
	for i := range sums {
		if p.config.Variant == spec.Squish6 {
			r.scores[i] = sums[i].total() / float64(heads)
			r.margins[i] = 2 * u * float64(n+heads+16) * (math.Abs(r.scores[i]) + 1)
		} else {
			r.scores[i] = sums[i].total() / float64(heads*n)
			r.margins[i] = 2 * u * float64(heads*n+16) * r.scores[i]
		}
	}
	return r
}

func sameImagePrune(t *trial, p imagePrune, got, want spec.PrunedTokens) {
	t.Helper()
	p.divides(t, got)
	p.ranking(t.u).sameTop(t, "kept", got.Kept, want.Kept)
}

// divides asserts that every token is kept or pruned, in order.
func (p imagePrune) divides(t *trial, out spec.PrunedTokens) {
	t.Helper()
	t.holds(slices.IsSorted(out.Kept) && slices.IsSorted(out.Pruned), "kept %d or pruned %d is out of order", out.Kept, out.Pruned)
	all := slices.Sorted(slices.Values(append(slices.Clone(out.Kept), out.Pruned...)))
	t.equal("kept and pruned", all, upTo(p.config.NTokens))
}

func drawImageConfig(t *trial, v spec.Variant) spec.ImageTokenPruneConfig {
	return imageConfig(v, size(t, 1, 12, "n_tokens"), size(t, 1, 3, "n_heads"),
		rapid.SampledFrom([]float64{0.5, 0, 0.25, 0.3, 0.7, 0.9, 0.29, 0x1.fffffffffffffp-1}).Draw(t.T, "prune_ratio"))
}

// attentionMaps are ways to attend.
var attentionMaps = []string{"softmax", "uniform", "one each", "few", "sharp"}

func drawAttention(t *trial, c spec.ImageTokenPruneConfig) spec.Heads {
	x := heads(t, c.NHeads, c.NTokens, c.NTokens, []style{moderateStyles[0]}, "attn_weights")
	style := rapid.SampledFrom(attentionMaps).Draw(t.T, "attention")
	r := source(t, "attention")
	for h := range c.NHeads {
		for q := range c.NTokens {
			attendTo(x.Head(h).Row(q), style, r.IntN, r.NormFloat64)
		}
	}
	return x
}

// attendTo makes a row of an attention map.
func attendTo(row []float32, style string, intN func(int) int, normal func() float64) {
	weights := make([]float64, len(row))
	switch style {
	case "uniform":
		for i := range weights {
			weights[i] = 1
		}
	case "one each":
		weights[intN(len(row))] = 1
	case "few":
		for range 2 {
			weights[intN(len(row))] += 1 + math.Abs(normal())
		}
	default:
		scale := 1.0
		if style == "sharp" {
			scale = 30
		}
		for i := range weights {
			weights[i] = exponential(float64(1.5 * scale * normal()))
		}
	}
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	for i, w := range weights {
		row[i] = float32(w / sum)
		if w == 0 {
			row[i] = float32(math.Copysign(0, normal()))
		}
	}
}

func drawImagePrune(t *trial, v spec.Variant) imagePrune {
	c := drawImageConfig(t, v)
	return imagePrune{c, drawAttention(t, c)}
}

func imageProgram(t *trial, v spec.Variant) program {
	c := drawImageConfig(t, v)
	p := program{config: c}
	for range size(t, 1, 3, "calls") {
		p.steps = append(p.steps, imagePrune{c, drawAttention(t, c)}.step())
	}
	return p
}

func imageBadSteps(t *trial, config any) (list []badStep) {
	c := config.(spec.ImageTokenPruneConfig)
	h, n := c.NHeads, c.NTokens
	uniform := func(heads, queries, keys int) (x spec.Heads) {
		x.Resize(heads, queries, keys)
		for i := range x.Data {
			x.Data[i] = float32(1 / float64(max(keys, 1)))
		}
		return x
	}
	spoiled := func(v float64) spec.Heads {
		x := uniform(h, n, n)
		x.Data[rapid.IntRange(0, len(x.Data)-1).Draw(t.T, "at")] = float32(v)
		return x
	}
	row := func(change func([]float32)) spec.Heads {
		x := uniform(h, n, n)
		change(x.Head(rapid.IntRange(0, h-1).Draw(t.T, "head")).Row(rapid.IntRange(0, n-1).Draw(t.T, "row")))
		return x
	}
	times := func(factor float32) func([]float32) {
		return func(row []float32) {
			for i := range row {
				row[i] *= factor
			}
		}
	}
	for _, wrong := range []struct {
		what string
		x    spec.Heads
	}{
		{"nothing", spec.Heads{}},
		{"one head more", uniform(h+1, n, n)},
		{"one head less", uniform(h-1, n, n)},
		{"one query more", uniform(h, n+1, n)},
		{"one query less", uniform(h, n-1, n)},
		{"one key more", uniform(h, n, n+1)},
		{"one key less", uniform(h, n, n-1)},
		{"no data", spec.Heads{Heads: h, Tokens: n, Dim: n, Stride: n * n}},
		{"heads that overlap", spec.Heads{Heads: h, Tokens: n, Dim: n, Stride: n*n - 1, Data: make([]float32, h*n*n)}},
		{"a negative shape", spec.Heads{Heads: h, Tokens: -n, Dim: -n, Stride: n * n, Data: make([]float32, h*n*n)}},
		{"a NaN", spoiled(math.NaN())},
		{"+Inf", spoiled(math.Inf(1))},
		{"−Inf", spoiled(math.Inf(-1))},
		{"a negative entry", spoiled(-0x1p-149)},
		{"an entry of 2", spoiled(2)},
		{"a row that sums to 1.0011", row(times(1.0011))},
		{"a row that sums to 0.9989", row(times(0.9989))},
		{"a row of zeros", row(times(0))},
	} {
		list = append(list, badStep{wrong.what, call(imageTokenPrune, "prune", wrong.x), spec.Invalid})
	}
	if n > 1 {
		negative := row(func(row []float32) { row[0], row[1] = -0.25, row[1]+row[0]+0.25 })
		list = append(list, badStep{"a negative entry in a row that sums to 1", call(imageTokenPrune, "prune", negative), spec.Invalid})
	}
	return list
}

func imagePartition(t *trial) {
	p := drawImagePrune(t, spec.Documented)
	p.divides(t, p.pruned(t))
}

// imageCount counts with integers: ratios are of a denominator that divides 100.
func imageCount(t *trial) {
	percent := rapid.SampledFrom([]int{0, 10, 25, 29, 30, 50, 57, 58, 70, 90, 99}).Draw(t.T, "percent")
	c := imageConfig(spec.Documented, size(t, 1, 100, "n_tokens"), 1, float64(percent)/100)
	p := imagePrune{c, drawAttention(t, c)}
	t.equal("number pruned", len(p.pruned(t).Pruned), min(percent*c.NTokens/100, c.NTokens-1))
}

func imageReceived(t *trial) {
	p := drawImagePrune(t, spec.Documented)
	p.ranking(t.u).isTop(t, "kept", p.pruned(t).Kept)
}

func imageEntropySquish6(t *trial) {
	p := drawImagePrune(t, spec.Squish6)
	p.ranking(t.u).isTop(t, "kept", p.pruned(t).Kept)
}

func imageCountSquish6(t *trial) {
	// Halves and quarters of n are exact, so that ties to even are met.
	quarters := rapid.IntRange(0, 3).Draw(t.T, "quarters")
	c := imageConfig(spec.Squish6, size(t, 1, 12, "n_tokens"), 1, float64(quarters)/4)
	whole, rest := quarters*c.NTokens/4, quarters*c.NTokens%4
	if rest == 3 || rest == 2 && whole%2 == 1 {
		whole++
	}
	p := imagePrune{c, drawAttention(t, c)}
	t.equal("number pruned", len(p.pruned(t).Pruned), whole)
}

func imageSink(t *trial) {
	p := drawImagePrune(t, spec.Documented)
	sink := rapid.IntRange(0, p.config.NTokens-1).Draw(t.T, "sink")
	for h := range p.config.NHeads {
		for q := range p.config.NTokens {
			row := p.attention.Head(h).Row(q)
			clear(row)
			row[sink] = 1
		}
	}
	kept := p.pruned(t).Kept
	t.holds(slices.Contains(kept, sink), "kept %d, without %d, to which every query attends", kept, sink)
}

// imageTies makes tokens alike by giving each of them the same share of what a
// query leaves the others.
func imageTies(t *trial) {
	p := drawImagePrune(t, spec.Documented)
	n := p.config.NTokens
	alike := make([]bool, n)
	for i := range alike {
		alike[i] = rapid.Bool().Draw(t.T, "alike")
	}
	r := source(t, "shares")
	for h := range p.config.NHeads {
		for q := range n {
			row := p.attention.Head(h).Row(q)
			common := r.Float64()
			sum := 0.0
			for k := range row {
				share := common
				if !alike[k] {
					share = r.Float64()
				}
				row[k] = float32(share)
				sum += share
			}
			for k := range row {
				if row[k] = float32(float64(row[k]) / sum); sum == 0 {
					row[k] = float32(1 / float64(n))
				}
			}
		}
	}
	kept := p.pruned(t).Kept
	dropped := -1
	for k := range n {
		switch {
		case !alike[k]:
		case !slices.Contains(kept, k):
			dropped = k
		default:
			t.holds(dropped < 0, "token %d is kept and %d, which is attended to alike, is not", k, dropped)
		}
	}
	t.asserted++
}

func imageRelabel(t *trial) {
	p := drawImagePrune(t, spec.Documented)
	order := source(t, "order").Perm(p.config.NTokens)
	relabelled := imagePrune{p.config, cloneAs(p.attention)}
	for h := range p.config.NHeads {
		for q, from := range order {
			for k, key := range order {
				relabelled.attention.Head(h).Row(q)[k] = p.attention.Head(h).Row(from)[key]
			}
		}
	}
	var back []int
	for _, i := range relabelled.pruned(t).Kept {
		back = append(back, order[i])
	}
	p.ranking(t.u).sameTop(t, "kept", slices.Sorted(slices.Values(back)), p.pruned(t).Kept)
}

func imageHeads(t *trial) {
	p := drawImagePrune(t, spec.Documented)
	q := p
	q.config.NHeads *= 2
	q.attention = spec.Heads{}
	q.attention.Resize(q.config.NHeads, p.config.NTokens, p.config.NTokens)
	for to, from := range source(t, "order").Perm(q.config.NHeads) {
		copy(q.attention.Head(to).Data, p.attention.Head(from%p.config.NHeads).Data)
	}
	// Of the two, the sums of more heads are the further off.
	r := q.ranking(t.u)
	r.sameTop(t, "kept", q.pruned(t).Kept, p.pruned(t).Kept)
}

func imageNested(t *trial) {
	low := drawImagePrune(t, spec.Documented)
	high := low
	high.config.PruneRatio = min(0.99, max(low.config.PruneRatio, rapid.Float64Range(0, 0.99).Draw(t.T, "higher ratio")))
	if high.config.PruneRatio < low.config.PruneRatio {
		low, high = high, low
	}
	many, few := low.pruned(t).Kept, high.pruned(t).Kept
	for _, i := range few {
		t.holds(slices.Contains(many, i), "token %d stays at prune_ratio %v and goes at %v", i, high.config.PruneRatio, low.config.PruneRatio)
	}
}

func imageStats(t *trial) {
	c := drawImageConfig(t, spec.Documented)
	pruner := open(t, t.impl.ImageTokenPrune, c)
	var want spec.ImageTokenPruneStats
	for range size(t, 0, 4, "calls") {
		want.Calls++
		want.Pruned += len(imagePrune{c, drawAttention(t, c)}.prunedBy(t, pruner).Pruned)
	}
	t.equal("stats", pruner.Stats(), want)
}

// imageAnswer is what the rows come to, with what it was made of.
type imageAnswer struct {
	made imagePrune
	out  spec.PrunedTokens
}

func imageRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	c := spec.DefaultImageTokenPruneConfig()
	c.Variant = rowVariant(imageTokenPrune, name)
	c.NTokens, c.NHeads = w.Int("n_tokens", c.NTokens), w.Int("n_heads", c.NHeads)
	c.PruneRatio = w.Float("prune_ratio", 1-w.Float("keep", float64(c.NTokens))/float64(c.NTokens))
	p := imagePrune{config: c}
	p.attention.Resize(c.NHeads, c.NTokens, c.NTokens)
	logits := gaussian(c.NTokens, 23)
	for h := range c.NHeads {
		for q := range c.NTokens {
			next := q + h
			attendTo(p.attention.Head(h).Row(q), "softmax", nil, func() float64 { next++; return float64(logits[next%len(logits)]) })
		}
	}
	pruner, err := impl.ImageTokenPrune(c)
	answer := imageAnswer{made: p}
	return timing{
		calls:  1,
		call:   func(int) error { return pruner.Prune(&answer.out, p.attention) },
		result: func() (any, error) { return &answer, nil },
	}, err
}

func imageSameResult(t *trial, got, want any) {
	w := want.(*imageAnswer)
	sameImagePrune(t, w.made, got.(*imageAnswer).out, w.out)
}
