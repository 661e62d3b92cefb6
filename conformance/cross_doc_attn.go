package conformance

import (
	"math"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var crossDocAttn = spec.ModuleByName("cross-doc-attn")

var crossDocAttnModule = &module{
	spec: crossDocAttn,
	laws: map[string]func(*trial){
		"joined":          crossDocJoined,
		"order":           crossDocOrder,
		"split":           crossDocSplit,
		"convex":          crossDocConvex,
		"constant-values": crossDocConstantValues,
		"shift":           crossDocShift,
		"duplicates":      crossDocDuplicates,
		"one-key":         crossDocOneKey,
		"far-logits":      crossDocFarLogits,
		"non-finite":      crossDocNonFinite,
		"stats":           crossDocStats,
	},
	program: crossDocProgram,
	badConfigs: map[string]any{
		"n_heads 0":          crossDocConfig(0, 4, 2, 1),
		"n_heads −1":         crossDocConfig(-1, 4, 2, 1),
		"head_dim 0":         crossDocConfig(1, 0, 2, 1),
		"head_dim −4":        crossDocConfig(1, -4, 2, 1),
		"max_docs 0":         crossDocConfig(1, 4, 0, 1),
		"max_docs −1":        crossDocConfig(1, 4, -1, 1),
		"softmax_scale 0":    crossDocConfig(1, 4, 2, 0),
		"softmax_scale −1":   crossDocConfig(1, 4, 2, -1),
		"softmax_scale NaN":  crossDocConfig(1, 4, 2, math.NaN()),
		"softmax_scale +Inf": crossDocConfig(1, 4, 2, math.Inf(1)),
		"softmax_scale −Inf": crossDocConfig(1, 4, 2, math.Inf(-1)),
	},
	badSteps: crossDocBadSteps,
	equal: map[string]comparison{
		"forward": func(t *trial, config any, args []any, got, want any) {
			x := crossDocs{config.(spec.CrossDocAttnConfig), args[0].(spec.Heads), args[1].([]spec.Heads), args[2].([]spec.Heads)}
			x.sameOutput(t, got.(*spec.Heads), want.(*spec.Heads))
		},
	},
	rows: []row{
		{"cross-doc-attn/forward", crossDocRow, crossDocSameResult},
		{"cross-doc-attn/forward-best", crossDocRow, crossDocSameResult},
	},
}

func crossDocConfig(heads, dim, docs int, scale float64) spec.CrossDocAttnConfig {
	return spec.CrossDocAttnConfig{NHeads: heads, HeadDim: dim, MaxDocs: docs, SoftmaxScale: scale}
}

// crossDocs is a config and the arguments of one Forward.
type crossDocs struct {
	config       spec.CrossDocAttnConfig
	query        spec.Heads
	keys, values []spec.Heads
}

func (x crossDocs) step() step { return call(crossDocAttn, "forward", x.query, x.keys, x.values) }

// forward returns the output of a new instance.
func (x crossDocs) forward(t *trial) spec.Heads {
	t.Helper()
	return x.forwardOn(t, open(t, t.impl.CrossDocAttn, x.config))
}

func (x crossDocs) forwardOn(t *trial, a spec.CrossDocAttn) spec.Heads {
	t.Helper()
	var out spec.Heads
	t.must(a.Forward(&out, x.query, x.keys, x.values))
	t.hasShape(out, x.query.Heads, x.query.Tokens, x.query.Dim)
	return out
}

// joined is what the documents are together.
func (x crossDocs) joined() attentionInput {
	return attentionInput{x.query, joinTokens(x.keys), joinTokens(x.values), x.config.SoftmaxScale}
}

func (x crossDocs) eachOutput(out spec.Heads, visit func(where string, a attentionRow, i int, got float64)) {
	x.joined().eachOutput(out, visit)
}

// joinTokens returns the tokens of all documents, one after another, as one.
func joinTokens(docs []spec.Heads) spec.Heads {
	tokens := 0
	for _, doc := range docs {
		tokens += doc.Tokens
	}
	var all spec.Heads
	all.Resize(docs[0].Heads, tokens, docs[0].Dim)
	for h := range all.Heads {
		rest := all.Head(h).Data
		for _, doc := range docs {
			rest = rest[copy(rest, doc.Head(h).Data):]
		}
	}
	return all
}

func (x crossDocs) sameOutput(t *trial, got, want *spec.Heads) {
	t.Helper()
	sameAttention(t, *got, *want, x.query, joinTokens(x.keys), joinTokens(x.values), x.config.SoftmaxScale)
}

// agrees asserts that the outputs of x and y differ by no more than each of them may
// be off. Their queries are the same.
func (x crossDocs) agrees(t *trial, y crossDocs) {
	t.Helper()
	sameOutputs(t, x.joined(), x.forward(t), y.joined(), y.forward(t))
}

// crossDocAnswer is what the rows come to, with what it was made of.
type crossDocAnswer struct {
	made crossDocs
	out  spec.Heads
}

func crossDocSameResult(t *trial, got, want any) {
	w := want.(*crossDocAnswer)
	w.made.sameOutput(t, &got.(*crossDocAnswer).out, &w.out)
}

func crossDocRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	x := crossDocs{config: spec.DefaultCrossDocAttnConfig(w.Int("head_dim", 64))}
	x.config.NHeads = w.Int("n_heads", x.config.NHeads)
	random := func(tokens int, seed uint64) spec.Heads {
		return gaussianHeads(x.config.NHeads, tokens, x.config.HeadDim, seed)
	}
	x.query = random(w.Int("seq_q", 1), 0)
	for doc := range w.Int("docs", 1) {
		x.keys = append(x.keys, random(w.Int("seq_k", 1), uint64(2*doc+1)))
		x.values = append(x.values, random(w.Int("seq_k", 1), uint64(2*doc+2)))
	}
	x.config.MaxDocs = max(x.config.MaxDocs, len(x.keys))
	a, err := impl.CrossDocAttn(x.config)
	answer := crossDocAnswer{made: x}
	return timing{
		calls:  1,
		call:   func(int) error { return a.Forward(&answer.out, x.query, x.keys, x.values) },
		result: func() (any, error) { return &answer, nil },
	}, err
}

func drawCrossDocConfig(t *trial) spec.CrossDocAttnConfig {
	dim := drawCrossDocSize(t, "head_dim", 20)
	scale := rapid.SampledFrom([]float64{1 / math.Sqrt(float64(dim)), 1, 0.1, 3, 0x1p-20, 0x1p10}).Draw(t.T, "softmax_scale")
	return crossDocConfig(size(t, 1, 3, "n_heads"), dim, size(t, 1, 5, "max_docs"), scale)
}

// drawCrossDocSize draws a small number, and now and then one beyond the width of
// blocks and vector registers.
func drawCrossDocSize(t *trial, label string, large int) int {
	if rapid.IntRange(0, 7).Draw(t.T, label+" large") == 0 {
		return size(t, 5, large, label)
	}
	return size(t, 1, 4, label)
}

// drawCrossDocs draws arguments of at most so many documents.
func drawCrossDocs(t *trial, c spec.CrossDocAttnConfig, docs int) crossDocs {
	x := crossDocs{config: c, query: heads(t, c.NHeads, drawCrossDocSize(t, "queries", 9), c.HeadDim, attentionStyles, "query")}
	for range size(t, 1, docs, "documents") {
		tokens := drawCrossDocSize(t, "tokens", 40)
		x.keys = append(x.keys, heads(t, c.NHeads, tokens, c.HeadDim, attentionStyles, "keys"))
		x.values = append(x.values, heads(t, c.NHeads, tokens, c.HeadDim, valueStyles, "values"))
	}
	return x
}

// A spoiler is where an element was overwritten. query is its row, in a query.
type spoiler struct{ part, head, query int }

const (
	inQuery = iota
	inKeys
	inValues
)

// spoil overwrites an element of the query, a key or a value.
func (x crossDocs) spoil(t *trial, with ...float64) spoiler {
	s := spoiler{part: rapid.IntRange(inQuery, inValues).Draw(t.T, "part"), head: rapid.IntRange(0, x.config.NHeads-1).Draw(t.T, "head")}
	tensor := x.query
	if s.part != inQuery {
		doc := rapid.IntRange(0, len(x.keys)-1).Draw(t.T, "document")
		tensor = x.keys[doc]
		if s.part == inValues {
			tensor = x.values[doc]
		}
	}
	token := rapid.IntRange(0, tensor.Tokens-1).Draw(t.T, "token")
	if s.part == inQuery {
		s.query = token
	}
	i := rapid.IntRange(0, tensor.Dim-1).Draw(t.T, "element")
	tensor.Head(s.head).Row(token)[i] = float32(rapid.SampledFrom(with).Draw(t.T, "spoiler"))
	return s
}

// reaches reports whether the output of a query row may depend on the element.
func (s spoiler) reaches(head, query int) bool {
	return s.head == head && (s.part != inQuery || s.query == query)
}

var nonFinite = []float64{math.NaN(), math.Inf(1), math.Inf(-1)}

func crossDocProgram(t *trial, _ spec.Variant) program {
	c := drawCrossDocConfig(t)
	p := program{config: c}
	for range size(t, 1, 3, "calls") {
		x := drawCrossDocs(t, c, c.MaxDocs)
		if rapid.IntRange(0, 3).Draw(t.T, "spoiled") == 0 {
			x.spoil(t, append(nonFinite, math.MaxFloat32, -math.MaxFloat32)...)
		}
		p.steps = append(p.steps, x.step())
	}
	return p
}

func crossDocBadSteps(t *trial, config any) []badStep {
	c := config.(spec.CrossDocAttnConfig)
	good := drawCrossDocs(t, c, c.MaxDocs)
	at := rapid.IntRange(0, len(good.keys)-1).Draw(t.T, "bad document")
	h, d, tokens := c.NHeads, c.HeadDim, good.keys[at].Tokens
	shaped := func(heads, tokens, dim int) spec.Heads {
		var x spec.Heads
		x.Resize(heads, tokens, dim)
		clear(x.Data)
		return x
	}
	short := func(x spec.Heads) spec.Heads {
		x.Data = x.Data[:(x.Heads-1)*x.Stride+x.Tokens*x.Dim-1]
		return x
	}
	var list []badStep
	bad := func(what string, change func(x *crossDocs)) {
		x := good
		x.keys, x.values = slices.Clone(good.keys), slices.Clone(good.values)
		change(&x)
		list = append(list, badStep{what, x.step(), spec.Invalid})
	}
	for _, argument := range []struct {
		name   string
		good   spec.Heads
		change func(x *crossDocs, to spec.Heads)
	}{
		{"query", good.query, func(x *crossDocs, to spec.Heads) { x.query = to }},
		{"keys", good.keys[at], func(x *crossDocs, to spec.Heads) { x.keys[at] = to }},
		{"values", good.values[at], func(x *crossDocs, to spec.Heads) { x.values[at] = to }},
	} {
		n := argument.good.Tokens
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
			{"with less data than their shape", short(argument.good)},
			{"without data", spec.Heads{Heads: h, Tokens: n, Dim: d, Stride: n * d}},
			{"whose heads overlap", spec.Heads{Heads: h, Tokens: n, Dim: d, Stride: n*d - 1, Data: make([]float32, h*n*d)}},
			{"of negative shape", spec.Heads{Heads: h, Tokens: -n, Dim: -d, Stride: n * d, Data: make([]float32, h*n*d)}},
			{"of countless tokens", spec.Heads{Heads: h, Tokens: math.MaxInt, Dim: d, Stride: math.MaxInt, Data: make([]float32, h*d)}},
		} {
			bad(argument.name+" "+wrong.what, func(x *crossDocs) { argument.change(x, wrong.to) })
		}
	}
	bad("keys of one token more", func(x *crossDocs) { x.keys[at] = shaped(h, tokens+1, d) })
	bad("values of one token more", func(x *crossDocs) { x.values[at] = shaped(h, tokens+1, d) })
	bad("values of one token less", func(x *crossDocs) { x.values[at] = shaped(h, tokens-1, d) })
	bad("an empty document", func(x *crossDocs) { x.keys[at], x.values[at] = shaped(h, 0, d), shaped(h, 0, d) })
	bad("a document of one head more", func(x *crossDocs) { x.keys[at], x.values[at] = shaped(h+1, tokens, d), shaped(h+1, tokens, d) })
	bad("a document of one element more", func(x *crossDocs) { x.keys[at], x.values[at] = shaped(h, tokens, d+1), shaped(h, tokens, d+1) })
	bad("no documents", func(x *crossDocs) { x.keys, x.values = nil, nil })
	bad("no keys", func(x *crossDocs) { x.keys = nil })
	bad("no values", func(x *crossDocs) { x.values = nil })
	bad("one document too many", func(x *crossDocs) {
		x.keys = slices.Repeat([]spec.Heads{shaped(h, 1, d)}, c.MaxDocs+1)
		x.values = x.keys
	})
	bad("keys of one document more", func(x *crossDocs) { x.values = x.values[1:] })
	bad("values of one document more", func(x *crossDocs) { x.values = append(x.values, x.values[at]) })
	return list
}

func crossDocJoined(t *trial) {
	c := drawCrossDocConfig(t)
	x := drawCrossDocs(t, c, c.MaxDocs)
	var want []float64
	x.eachOutput(x.forward(t), func(where string, a attentionRow, i int, got float64) {
		if i == 0 {
			want = a.outputs()
		}
		t.within(where, got, want[i], a.budget(t.u, i))
	})
}

func crossDocOrder(t *trial) {
	c := drawCrossDocConfig(t)
	c.MaxDocs++
	x := drawCrossDocs(t, c, c.MaxDocs)
	y := x
	y.keys, y.values = nil, nil
	for _, doc := range source(t, "order").Perm(len(x.keys)) {
		y.keys, y.values = append(y.keys, x.keys[doc]), append(y.values, x.values[doc])
	}
	x.agrees(t, y)
}

func crossDocSplit(t *trial) {
	c := drawCrossDocConfig(t)
	c.MaxDocs++
	x := drawCrossDocs(t, c, c.MaxDocs)
	y := x
	y.keys, y.values = nil, nil
	keys, values := joinTokens(x.keys), joinTokens(x.values)
	for from := 0; from < keys.Tokens; {
		to := keys.Tokens
		if len(y.keys)+1 < c.MaxDocs {
			to = rapid.IntRange(from+1, keys.Tokens).Draw(t.T, "cut")
		}
		y.keys, y.values = append(y.keys, tokensBetween(keys, from, to)), append(y.values, tokensBetween(values, from, to))
		from = to
	}
	x.agrees(t, y)
}

// tokensBetween returns tokens from … to−1 of x; they share x's memory.
func tokensBetween(x spec.Heads, from, to int) spec.Heads {
	x.Data = x.Data[from*x.Dim:]
	x.Tokens = to - from
	return x
}

func crossDocConvex(t *trial) {
	c := drawCrossDocConfig(t)
	x := drawCrossDocs(t, c, c.MaxDocs)
	x.eachOutput(x.forward(t), func(where string, a attentionRow, i int, got float64) {
		least, greatest := math.Inf(1), math.Inf(-1)
		for j := range a.values.Rows {
			least = min(least, float64(a.values.Row(j)[i]))
			greatest = max(greatest, float64(a.values.Row(j)[i]))
		}
		t.within(where+" and the nearest number between the values", got, max(least, min(greatest, got)), a.sumBudget(t.u, i))
	})
}

func crossDocConstantValues(t *trial) {
	c := drawCrossDocConfig(t)
	x := drawCrossDocs(t, c, c.MaxDocs)
	constant := heads(t, c.NHeads, 1, c.HeadDim, valueStyles, "constant")
	for _, doc := range x.values {
		for h := range doc.Heads {
			for token := range doc.Tokens {
				copy(doc.Head(h).Row(token), constant.Head(h).Data)
			}
		}
	}
	x.eachOutput(x.forward(t), func(where string, a attentionRow, i int, got float64) {
		t.within(where, got, float64(a.values.Row(0)[i]), a.sumBudget(t.u, i))
	})
}

// crossDocShift draws keys and shifts in eighths: their sums are exact.
func crossDocShift(t *trial) {
	c := drawCrossDocConfig(t)
	x := drawCrossDocs(t, c, c.MaxDocs)
	eighths := source(t, "eighths")
	shift := make([]float32, c.HeadDim)
	reach := rapid.SampledFrom([]int{8, 64, 512}).Draw(t.T, "reach")
	for i := range shift {
		shift[i] = float32(eighths.IntN(2*reach+1)-reach) / 8
	}
	y := x
	y.keys = nil
	for _, doc := range x.keys {
		for i := range doc.Data {
			doc.Data[i] = float32(eighths.IntN(33)-16) / 8
		}
		shifted := cloneAs(doc)
		for h := range shifted.Heads {
			for token := range shifted.Tokens {
				for i := range shift {
					shifted.Head(h).Row(token)[i] += shift[i]
				}
			}
		}
		y.keys = append(y.keys, shifted)
	}
	x.agrees(t, y)
}

func crossDocDuplicates(t *trial) {
	c := drawCrossDocConfig(t)
	x := drawCrossDocs(t, c, c.MaxDocs)
	x.config.MaxDocs = 2 * c.MaxDocs
	y := x
	y.keys, y.values = slices.Repeat(x.keys, 2), slices.Repeat(x.values, 2)
	x.agrees(t, y)
}

func crossDocOneKey(t *trial) {
	c := drawCrossDocConfig(t)
	x := crossDocs{
		config: c,
		query:  heads(t, c.NHeads, drawCrossDocSize(t, "queries", 9), c.HeadDim, attentionStyles, "query"),
		keys:   []spec.Heads{heads(t, c.NHeads, 1, c.HeadDim, attentionStyles, "key")},
		values: []spec.Heads{heads(t, c.NHeads, 1, c.HeadDim, valueStyles, "value")},
	}
	x.eachOutput(x.forward(t), func(where string, a attentionRow, i int, got float64) {
		t.within(where, got, float64(a.values.Row(0)[i]), a.sumBudget(t.u, i))
	})
}

// crossDocFarLogits moves one key far along an axis that every query looks along, and
// all others nowhere, half as far, or as far the other way.
func crossDocFarLogits(t *trial) {
	c := drawCrossDocConfig(t)
	c.SoftmaxScale = rapid.SampledFrom([]float64{1 / math.Sqrt(float64(c.HeadDim)), 1, 0.1, 3}).Draw(t.T, "scale")
	x := drawCrossDocs(t, c, c.MaxDocs)
	far := float32(math.Ldexp(rapid.Float64Range(1, 2).Draw(t.T, "far"), rapid.IntRange(12, 80).Draw(t.T, "exponent")))
	others := rapid.SampledFrom([]float32{0, -far, far / 2}).Draw(t.T, "others")
	winner := rapid.IntRange(0, joinTokens(x.keys).Tokens-1).Draw(t.T, "winner")
	for h := range c.NHeads {
		for q := range x.query.Tokens {
			query := x.query.Head(h).Row(q)
			query[0] = float32(math.Abs(float64(query[0]))) + 1
		}
		token := 0
		for _, doc := range x.keys {
			for row := range doc.Tokens {
				doc.Head(h).Row(row)[0] = others
				if token == winner {
					doc.Head(h).Row(row)[0] = far
				}
				token++
			}
		}
	}
	var stands bool
	x.eachOutput(x.forward(t), func(where string, a attentionRow, i int, got float64) {
		if i == 0 {
			stands = a.standsOut(t.u, winner)
		}
		if stands {
			t.within(where, got, float64(a.values.Row(winner)[i]), a.sumBudget(t.u, i))
		}
	})
}

func crossDocNonFinite(t *trial) {
	c := drawCrossDocConfig(t)
	x := drawCrossDocs(t, c, c.MaxDocs)
	clean := x.forward(t)
	spoiled := crossDocs{c, cloneAs(x.query), cloneAs(x.keys), cloneAs(x.values)}
	spot := spoiled.spoil(t, nonFinite...)
	a := open(t, t.impl.CrossDocAttn, c)
	spot.spreadsNoFurther(t, clean, spoiled.forwardOn(t, a), x.forwardOn(t, a))
}

func crossDocStats(t *trial) {
	c := drawCrossDocConfig(t)
	a := open(t, t.impl.CrossDocAttn, c)
	var want spec.CrossDocAttnStats
	for range size(t, 0, 4, "calls") {
		x := drawCrossDocs(t, c, c.MaxDocs)
		x.forwardOn(t, a)
		want.Calls++
		want.Docs += len(x.keys)
		want.DocsPerCall = float64(want.Docs) / float64(want.Calls)
	}
	got := a.Stats()
	t.within("avg_docs_per_call", got.DocsPerCall, want.DocsPerCall, 0x1p-50*want.DocsPerCall)
	got.DocsPerCall = want.DocsPerCall
	t.equal("stats", got, want)
}
