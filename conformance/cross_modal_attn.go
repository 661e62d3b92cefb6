package conformance

import (
	"fmt"
	"math"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var crossModalAttn = spec.ModuleByName("cross-modal-attn")

var crossModalAttnModule = &module{
	spec: crossModalAttn,
	laws: map[string]func(*trial){
		"attention":       crossModalAttention,
		"convex":          crossModalConvex,
		"constant-values": crossModalConstantValues,
		"permutation":     crossModalPermutation,
		"rows":            crossModalRows,
		"shift":           crossModalShift,
		"duplicates":      crossModalDuplicates,
		"masked-key":      crossModalMaskedKey,
		"non-finite":      crossModalNonFinite,
		"flops":           crossModalFlops,
		"stats":           crossModalStats,
	},
	program: crossModalProgram,
	badConfigs: map[string]any{
		"n_text_heads 0":        crossModalConfig(0, 0, 4, 1),
		"n_text_heads −1":       crossModalConfig(-1, -1, 4, 1),
		"n_vision_heads 0":      crossModalConfig(1, 0, 4, 1),
		"fewer n_vision_heads":  crossModalConfig(4, 2, 4, 1),
		"more n_vision_heads":   crossModalConfig(2, 4, 4, 1),
		"head_dim 0":            crossModalConfig(1, 1, 0, 1),
		"head_dim −4":           crossModalConfig(1, 1, -4, 1),
		"softmax_scale 0":       crossModalConfig(1, 1, 4, 0),
		"softmax_scale −1":      crossModalConfig(1, 1, 4, -1),
		"softmax_scale NaN":     crossModalConfig(1, 1, 4, math.NaN()),
		"softmax_scale +Inf":    crossModalConfig(1, 1, 4, math.Inf(1)),
		"softmax_scale −Inf":    crossModalConfig(1, 1, 4, math.Inf(-1)),
		"the greatest of heads": crossModalConfig(math.MaxInt, 1, 4, 1),
	},
	badSteps: crossModalBadSteps,
	equal: map[string]comparison{
		"forward": func(t *trial, config any, args []any, got, want any) {
			c := config.(spec.CrossModalAttnConfig)
			sameAttention(t, *got.(*spec.Heads), *want.(*spec.Heads), args[0].(spec.Heads), args[1].(spec.Heads), args[2].(spec.Heads), c.SoftmaxScale)
		},
	},
	rows: []row{
		{"cross-modal-attn/forward", crossModalRow, crossModalSameResult},
		{"cross-modal-attn/forward-best", crossModalRow, crossModalSameResult},
	},
}

func crossModalConfig(text, vision, dim int, scale float64) spec.CrossModalAttnConfig {
	return spec.CrossModalAttnConfig{NTextHeads: text, NVisionHeads: vision, HeadDim: dim, SoftmaxScale: scale}
}

// crossModal is a config and the arguments of one Forward.
type crossModal struct {
	config              spec.CrossModalAttnConfig
	query, keys, values spec.Heads
}

func (x crossModal) input() attentionInput {
	return attentionInput{x.query, x.keys, x.values, x.config.SoftmaxScale}
}

func (x crossModal) step() step { return call(crossModalAttn, "forward", x.query, x.keys, x.values) }

// forward returns the output of a new instance.
func (x crossModal) forward(t *trial) spec.Heads {
	t.Helper()
	return x.forwardOn(t, open(t, t.impl.CrossModalAttn, x.config))
}

func (x crossModal) forwardOn(t *trial, a spec.CrossModalAttn) spec.Heads {
	t.Helper()
	var out spec.Heads
	t.must(a.Forward(&out, x.query, x.keys, x.values))
	t.hasShape(out, x.query.Heads, x.query.Tokens, x.query.Dim)
	return out
}

func (x crossModal) agrees(t *trial, y crossModal) {
	t.Helper()
	sameOutputs(t, x.input(), x.forward(t), y.input(), y.forward(t))
}

// crossModalAnswer is what the rows come to, with what it was made of.
type crossModalAnswer struct {
	made crossModal
	out  spec.Heads
}

func crossModalSameResult(t *trial, got, want any) {
	w := want.(*crossModalAnswer)
	sameAttention(t, got.(*crossModalAnswer).out, w.out, w.made.query, w.made.keys, w.made.values, w.made.config.SoftmaxScale)
}

func crossModalRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	c := spec.DefaultCrossModalAttnConfig(w.Int("head_dim", 64))
	c.NTextHeads = w.Int("n_heads", c.NTextHeads)
	c.NVisionHeads = c.NTextHeads
	random := func(tokens int, seed uint64) spec.Heads { return gaussianHeads(c.NTextHeads, tokens, c.HeadDim, seed) }
	text, vision := w.Int("seq_text", 1), w.Int("seq_vision", 1)
	x := crossModal{c, random(text, 0), random(vision, 1), random(vision, 2)}
	a, err := impl.CrossModalAttn(c)
	answer := crossModalAnswer{made: x}
	return timing{
		calls:  1,
		call:   func(int) error { return a.Forward(&answer.out, x.query, x.keys, x.values) },
		result: func() (any, error) { return &answer, nil },
	}, err
}

func drawCrossModal(t *trial) crossModal {
	dim, n := drawCrossDocSize(t, "head_dim", 20), size(t, 1, 3, "heads")
	scale := rapid.SampledFrom([]float64{1 / math.Sqrt(float64(dim)), 1, 0.1, 3, 0x1p-20, 0x1p10}).Draw(t.T, "softmax_scale")
	return drawCrossModalOf(t, crossModalConfig(n, n, dim, scale))
}

// drawCrossModalOf draws arguments for a config.
func drawCrossModalOf(t *trial, c spec.CrossModalAttnConfig) crossModal {
	vision := drawCrossDocSize(t, "vision tokens", 40)
	return crossModal{
		config: c,
		query:  heads(t, c.NTextHeads, drawCrossDocSize(t, "text tokens", 9), c.HeadDim, attentionStyles, "text_q"),
		keys:   heads(t, c.NTextHeads, vision, c.HeadDim, attentionStyles, "vision_k"),
		values: heads(t, c.NTextHeads, vision, c.HeadDim, valueStyles, "vision_v"),
	}
}

// spoil overwrites an element of the query, a key or a value.
func (x crossModal) spoil(t *trial, with ...float64) spoiler {
	s := spoiler{part: rapid.IntRange(inQuery, inValues).Draw(t.T, "part"), head: rapid.IntRange(0, x.config.NTextHeads-1).Draw(t.T, "head")}
	tensor := []spec.Heads{inQuery: x.query, inKeys: x.keys, inValues: x.values}[s.part]
	token := rapid.IntRange(0, tensor.Tokens-1).Draw(t.T, "token")
	if s.part == inQuery {
		s.query = token
	}
	i := rapid.IntRange(0, tensor.Dim-1).Draw(t.T, "element")
	tensor.Head(s.head).Row(token)[i] = float32(rapid.SampledFrom(with).Draw(t.T, "spoiler"))
	return s
}

func crossModalProgram(t *trial, _ spec.Variant) program {
	first := drawCrossModal(t)
	p := program{config: first.config, steps: []step{first.step()}}
	for range size(t, 0, 2, "more calls") {
		x := drawCrossModalOf(t, first.config)
		if rapid.IntRange(0, 3).Draw(t.T, "spoiled") == 0 {
			x.spoil(t, append(nonFinite, math.MaxFloat32, -math.MaxFloat32)...)
		}
		p.steps = append(p.steps, x.step(), call(crossModalAttn, "flops", x.query.Tokens, x.keys.Tokens))
	}
	return p
}

func crossModalBadSteps(t *trial, config any) []badStep {
	c := config.(spec.CrossModalAttnConfig)
	good := drawCrossModalOf(t, c)
	h, d, tokens := c.NTextHeads, c.HeadDim, good.keys.Tokens
	shaped := func(heads, tokens, dim int) (x spec.Heads) {
		x.Resize(heads, tokens, dim)
		clear(x.Data)
		return x
	}
	short := func(x spec.Heads) spec.Heads {
		x.Data = x.Data[:(x.Heads-1)*x.Stride+x.Tokens*x.Dim-1]
		return x
	}
	var list []badStep
	for i, argument := range []spec.Heads{good.query, good.keys, good.values} {
		n := argument.Tokens
		for _, wrong := range []struct {
			what string
			to   spec.Heads
		}{
			{"empty", spec.Heads{}},
			{"of no tokens", shaped(h, 0, d)},
			{"of one head more", shaped(h+1, n, d)},
			{"of one head less", shaped(h-1, n, d)},
			{"of one element more", shaped(h, n, d+1)},
			{"of one element less", shaped(h, n, d-1)},
			{"with less data than its shape", short(argument)},
			{"without data", spec.Heads{Heads: h, Tokens: n, Dim: d, Stride: n * d}},
			{"whose heads overlap", spec.Heads{Heads: h, Tokens: n, Dim: d, Stride: n*d - 1, Data: make([]float32, h*n*d)}},
			{"of negative shape", spec.Heads{Heads: h, Tokens: -n, Dim: -d, Stride: n * d, Data: make([]float32, h*n*d)}},
			{"of countless tokens", spec.Heads{Heads: h, Tokens: math.MaxInt, Dim: d, Stride: math.MaxInt, Data: make([]float32, h*d)}},
		} {
			s := good.step()
			s.args = slices.Clone(s.args)
			s.args[i] = wrong.to
			list = append(list, badStep{fmt.Sprintf("%s %s", s.op.Args[i].Name, wrong.what), s, spec.Invalid})
		}
	}
	bad := func(what string, s step) { list = append(list, badStep{what, s, spec.Invalid}) }
	bad("keys of one token more", crossModal{c, good.query, shaped(h, tokens+1, d), good.values}.step())
	bad("values of one token more", crossModal{c, good.query, good.keys, shaped(h, tokens+1, d)}.step())
	bad("no vision tokens", crossModal{c, good.query, shaped(h, 0, d), shaped(h, 0, d)}.step())
	for _, n := range []int{0, -1, math.MinInt} {
		bad(fmt.Sprintf("%d text tokens", n), call(crossModalAttn, "flops", n, 1))
		bad(fmt.Sprintf("%d vision tokens", n), call(crossModalAttn, "flops", 1, n))
	}
	bad("operations beyond int64", call(crossModalAttn, "flops", math.MaxInt, math.MaxInt))
	return list
}

func crossModalAttention(t *trial) {
	x := drawCrossModal(t)
	var want []float64
	x.input().eachOutput(x.forward(t), func(where string, a attentionRow, i int, got float64) {
		if i == 0 {
			want = a.outputs()
		}
		t.within(where, got, want[i], a.budget(t.u, i))
	})
}

func crossModalConvex(t *trial) {
	x := drawCrossModal(t)
	x.input().eachOutput(x.forward(t), func(where string, a attentionRow, i int, got float64) {
		least, greatest := math.Inf(1), math.Inf(-1)
		for j := range a.values.Rows {
			least = min(least, float64(a.values.Row(j)[i]))
			greatest = max(greatest, float64(a.values.Row(j)[i]))
		}
		t.within(where+" and the nearest number between the values", got, max(least, min(greatest, got)), a.sumBudget(t.u, i))
	})
}

func crossModalConstantValues(t *trial) {
	x := drawCrossModal(t)
	for h := range x.values.Heads {
		for j := 1; j < x.values.Tokens; j++ {
			copy(x.values.Head(h).Row(j), x.values.Head(h).Row(0))
		}
	}
	x.input().eachOutput(x.forward(t), func(where string, a attentionRow, i int, got float64) {
		t.within(where, got, float64(a.values.Row(0)[i]), a.sumBudget(t.u, i))
	})
}

// selected returns the tokens of x at some places, in that order.
func selected(x spec.Heads, places []int) (out spec.Heads) {
	out.Resize(x.Heads, len(places), x.Dim)
	for h := range x.Heads {
		for to, from := range places {
			copy(out.Head(h).Row(to), x.Head(h).Row(from))
		}
	}
	return out
}

// upTo returns 0 … n−1.
func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func crossModalPermutation(t *trial) {
	x := drawCrossModal(t)
	order := source(t, "order").Perm(x.keys.Tokens)
	x.agrees(t, crossModal{x.config, x.query, selected(x.keys, order), selected(x.values, order)})
}

func crossModalRows(t *trial) {
	x := drawCrossModal(t)
	q := rapid.IntRange(0, x.query.Tokens-1).Draw(t.T, "text token")
	alone := x
	alone.query = selected(x.query, []int{q})
	among := x.forward(t)
	sameOutputs(t, alone.input(), selected(among, []int{q}), alone.input(), alone.forward(t))
}

// crossModalShift draws keys and shifts in eighths: their sums are exact.
func crossModalShift(t *trial) {
	x := drawCrossModal(t)
	eighths := source(t, "eighths")
	shift := make([]float32, x.keys.Dim)
	reach := rapid.SampledFrom([]int{8, 64, 512}).Draw(t.T, "reach")
	for i := range shift {
		shift[i] = float32(eighths.IntN(2*reach+1)-reach) / 8
	}
	for i := range x.keys.Data {
		x.keys.Data[i] = float32(eighths.IntN(33)-16) / 8
	}
	y := x
	y.keys = cloneAs(x.keys)
	for h := range y.keys.Heads {
		for j := range y.keys.Tokens {
			for i := range shift {
				y.keys.Head(h).Row(j)[i] += shift[i]
			}
		}
	}
	x.agrees(t, y)
}

func crossModalDuplicates(t *trial) {
	x := drawCrossModal(t)
	twice := slices.Repeat(upTo(x.keys.Tokens), 2)
	x.agrees(t, crossModal{x.config, x.query, selected(x.keys, twice), selected(x.values, twice)})
}

// crossModalMaskedKey moves one key far down the axis that every query looks along.
func crossModalMaskedKey(t *trial) {
	x := drawCrossModal(t)
	if x.keys.Tokens == 1 {
		x.keys, x.values = selected(x.keys, []int{0, 0}), selected(x.values, []int{0, 0})
	}
	masked := rapid.IntRange(0, x.keys.Tokens-1).Draw(t.T, "masked")
	far := float32(-400 / x.config.SoftmaxScale)
	for h := range x.query.Heads {
		for q := range x.query.Tokens {
			query := x.query.Head(h).Row(q)
			query[0] = float32(math.Abs(float64(query[0]))) + 1
		}
		for j := range x.keys.Tokens {
			x.keys.Head(h).Row(j)[0] = 0
		}
		x.keys.Head(h).Row(masked)[0] = far
	}
	rest := slices.Delete(upTo(x.keys.Tokens), masked, masked+1)
	y := crossModal{x.config, x.query, selected(x.keys, rest), selected(x.values, rest)}
	with, without := x.forward(t), y.forward(t)
	x.input().eachRow(func(h, q int, a attentionRow) {
		if !a.isMasked(t.u, masked) {
			return
		}
		for i, got := range with.Head(h).Row(q) {
			t.within(outputAt(h, q, i), float64(got), float64(without.Head(h).Row(q)[i]), 2*a.budget(t.u, i))
		}
	})
}

func crossModalNonFinite(t *trial) {
	x := drawCrossModal(t)
	clean := x.forward(t)
	spoiled := crossModal{x.config, cloneAs(x.query), cloneAs(x.keys), cloneAs(x.values)}
	spot := spoiled.spoil(t, nonFinite...)
	a := open(t, t.impl.CrossModalAttn, x.config)
	spot.spreadsNoFurther(t, clean, spoiled.forwardOn(t, a), x.forwardOn(t, a))
}

// crossModalFlops counts the products of the formula, pair by pair.
func crossModalFlops(t *trial) {
	c := crossModalConfig(size(t, 1, 9, "heads"), 0, size(t, 1, 9, "head_dim"), 1)
	c.NVisionHeads = c.NTextHeads
	text, vision := size(t, 1, 12, "text tokens"), size(t, 1, 12, "vision tokens")
	var want spec.AttentionOperations
	for range c.NTextHeads * text {
		for range vision {
			want.MulAdds += int64(c.HeadDim) // query · key
			want.Exps++
			want.MulAdds += int64(c.HeadDim) // weight · value
		}
	}
	var got spec.AttentionOperations
	t.must(open(t, t.impl.CrossModalAttn, c).(spec.CrossModalCosts).Flops(&got, text, vision))
	t.equal("operations", got, want)
}

func crossModalStats(t *trial) {
	first := drawCrossModal(t)
	a := open(t, t.impl.CrossModalAttn, first.config)
	var want spec.CrossModalAttnStats
	for range size(t, 0, 4, "calls") {
		x := drawCrossModalOf(t, first.config)
		x.forwardOn(t, a)
		want.Calls++
		want.TextTokens += x.query.Tokens
		want.VisionTokens += x.keys.Tokens
	}
	t.equal("stats", a.Stats(), want)
}
