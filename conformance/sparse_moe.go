package conformance

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var sparseMoE = spec.ModuleByName("sparse-moe")

var sparseMoEModule = &module{
	spec: sparseMoE,
	laws: map[string]func(*trial){
		"gate":             moeGate,
		"normalised":       moeNormalised,
		"ties":             moeTies,
		"nested":           moeNested,
		"shift":            moeShift,
		"experts":          moeExperts,
		"tokens":           moeTokens,
		"aux-loss":         moeAuxLoss,
		"loss-bounds":      moeLossBounds,
		"seeded":           moeSeeded,
		"xavier":           moeXavier,
		"capacity":         moeCapacity,
		"no-drops":         moeNoDrops,
		"dispatch":         moeDispatch,
		"combine":          moeCombine,
		"identity-experts": moeIdentityExperts,
		"stats":            moeStats,
	},
	program: moeProgram,
	badConfigs: map[string]any{
		"n_experts 0":                    moeConfig(0, 1, 4),
		"n_experts −1":                   moeConfig(-1, -1, 4),
		"top_k 0":                        moeConfig(4, 0, 4),
		"top_k −1":                       moeConfig(4, -1, 4),
		"top_k beyond n_experts":         moeConfig(2, 3, 4),
		"hidden_dim 0":                   moeConfig(4, 2, 0),
		"hidden_dim −4":                  moeConfig(4, 2, -4),
		"a gate beyond 2³⁰ elements":     moeConfig(1<<10, 2, 1<<20+1),
		"the greatest of dimensions":     moeConfig(math.MaxInt, 1, math.MaxInt),
		"load_balance_weight −0.01":      spec.SparseMoEConfig{NExperts: 4, TopK: 2, HiddenDim: 4, LoadBalanceWeight: -0.01},
		"load_balance_weight NaN":        spec.SparseMoEConfig{NExperts: 4, TopK: 2, HiddenDim: 4, LoadBalanceWeight: math.NaN()},
		"load_balance_weight +Inf":       spec.SparseMoEConfig{NExperts: 4, TopK: 2, HiddenDim: 4, LoadBalanceWeight: math.Inf(1)},
		"capacity_factor −1":             spec.SparseMoEConfig{NExperts: 4, TopK: 2, HiddenDim: 4, CapacityFactor: -1},
		"capacity_factor NaN":            spec.SparseMoEConfig{NExperts: 4, TopK: 2, HiddenDim: 4, CapacityFactor: math.NaN()},
		"capacity_factor +Inf":           spec.SparseMoEConfig{NExperts: 4, TopK: 2, HiddenDim: 4, CapacityFactor: math.Inf(1)},
		"gate weights of an expert less": moeGateConfig(spec.Matrix{Rows: 4, Cols: 3, Data: make([]float32, 12)}),
		"gate weights transposed":        moeGateConfig(spec.Matrix{Rows: 2, Cols: 8, Data: make([]float32, 16)}),
		"gate weights without data":      moeGateConfig(spec.Matrix{Rows: 4, Cols: 4}),
		"a NaN gate weight":              moeGateConfig(spec.Matrix{Rows: 4, Cols: 4, Data: append(make([]float32, 15), float32(math.NaN()))}),
		"a −Inf gate weight":             moeGateConfig(spec.Matrix{Rows: 4, Cols: 4, Data: append(make([]float32, 15), float32(math.Inf(-1)))}),
	},
	badSteps: moeBadSteps,
	equal: map[string]comparison{
		"route": func(t *trial, config any, args []any, got, want any) {
			newMoEModel(config.(spec.SparseMoEConfig)).sameRouting(t, args[0].(spec.Matrix), *got.(*spec.MoERouting), *want.(*spec.MoERouting))
		},
		"combine": func(t *trial, config any, args []any, got, want any) {
			x := moeOutputs{args[0].(spec.Matrix), args[1].([]int32), args[2].(spec.Matrix)}
			w := *want.(*spec.Matrix)
			x.sameCombined(t, *got.(*spec.Matrix), func(token, i int, _ []moeTerm) float64 { return float64(w.Row(token)[i]) })
		},
	},
	rows: []row{{"sparse-moe/route", moeRow, func(t *trial, got, want any) {
		w := want.(*moeAnswer)
		newMoEModel(w.config).sameRouting(t, w.hidden, got.(*moeAnswer).routing, w.routing)
	}}},
}

func moeConfig(experts, k, dim int) spec.SparseMoEConfig {
	return spec.SparseMoEConfig{NExperts: experts, TopK: k, HiddenDim: dim, LoadBalanceWeight: 0.01}
}

func moeGateConfig(gate spec.Matrix) spec.SparseMoEConfig {
	c := moeConfig(4, 2, 4)
	c.GateWeights = gate
	return c
}

// A moeModel knows what a config's routing must come to, in big floats.
type moeModel struct {
	config spec.SparseMoEConfig
	gate   [][]*big.Float // by expert
}

func newMoEModel(c spec.SparseMoEConfig) moeModel {
	m := moeModel{config: c}
	gate := c.Gate()
	for e := range c.NExperts {
		column := make([]*big.Float, c.HiddenDim)
		for i := range column {
			column[i] = bigNumber(float64(gate.Row(i)[e]))
		}
		m.gate = append(m.gate, column)
	}
	return m
}

// A moeToken is what a token's experts are judged by.
type moeToken struct {
	// likelihood of each expert: its probability over the greatest one.
	likelihood []float64
	// order of the experts by logit, descending, equals by index.
	order []int
	// margin bounds the error of the logarithm of a probability or weight.
	margin float64
	// isZero: all products are 0, and all logits equal without any rounding.
	isZero bool
	floor  float64 // the spacing of subnormal numbers
}

func (m moeModel) token(x []float32, u float64) moeToken {
	logits := make([]*big.Float, len(m.gate))
	magnitude := 0.0
	for e, column := range m.gate {
		logits[e] = bigNumber(0)
		sum := 0.0
		for i, v := range x {
			product := new(big.Float).Mul(bigNumber(float64(v)), column[i])
			logits[e].Add(logits[e], product)
			p, _ := product.Float64()
			sum += math.Abs(p)
		}
		magnitude = max(magnitude, sum)
	}
	order := upTo(len(logits))
	slices.SortStableFunc(order, func(a, b int) int { return logits[b].Cmp(logits[a]) })
	k := moeToken{
		order: order, isZero: magnitude == 0, floor: spacing(u),
		margin: u * (2*float64(len(x)+10)*magnitude + float64(2*len(logits)+16)),
	}
	for _, logit := range logits {
		difference, _ := new(big.Float).Sub(logit, logits[order[0]]).Float64()
		k.likelihood = append(k.likelihood, math.Exp(difference))
	}
	return k
}

// off bounds how far a number in [0, 1] may be off whose logarithm is off by the
// margin.
func (k moeToken) off(x float64) float64 {
	if k.margin > 100 {
		return 1
	}
	return min(1, math.Expm1(k.margin)*x+k.floor)
}

// isAbove reports whether one expert is more probable than another beyond rounding.
func (k moeToken) isAbove(a, b int) bool {
	p, q := k.likelihood[a], k.likelihood[b]
	return p-q > k.off(p)+float64(len(k.likelihood)-1)*k.floor
}

// isClear reports whether the first experts are in no doubt: each is above the next.
func (k moeToken) isClear(first int) bool {
	for r := range min(first, len(k.order)-1) {
		if !k.isZero && !k.isAbove(k.order[r], k.order[r+1]) {
			return false
		}
	}
	return true
}

// weights are those of some experts.
func (k moeToken) weights(experts []int32) []float64 {
	weights, sum := make([]float64, len(experts)), 0.0
	for _, e := range experts {
		sum += k.likelihood[e]
	}
	for r, e := range experts {
		weights[r] = k.likelihood[e] / sum
	}
	return weights
}

// holdsShape asserts that a routing is one of n tokens, and its experts exist.
func (m moeModel) holdsShape(t *trial, r spec.MoERouting, n int) {
	t.Helper()
	k := m.config.TopK
	t.holds(spec.CheckMatrix("", "", r.Weights, n, k) == nil, "weights: got shape (%d, %d), want (%d, %d)", r.Weights.Rows, r.Weights.Cols, n, k)
	_, err := m.config.CheckIndices(r.Indices, n, make([]int, m.config.NExperts))
	t.holds(err == nil, "%v", err)
}

// isRouting asserts that experts and weights of a token are right, of any order that
// rounding excuses.
func (k moeToken) isRouting(t *trial, token int, experts []int32, weights []float32) {
	t.Helper()
	chosen := map[int]bool{}
	for r, e := range experts {
		chosen[int(e)] = true
		t.holds(r == 0 || !k.isAbove(int(e), int(experts[r-1])), "token %d: expert %d, likelihood %v, comes after expert %d, likelihood %v",
			token, e, k.likelihood[e], experts[max(r-1, 0)], k.likelihood[experts[max(r-1, 0)]])
	}
	last := int(experts[len(experts)-1])
	for e, p := range k.likelihood {
		t.holds(chosen[e] || !k.isAbove(e, last), "token %d: expert %d, likelihood %v, is left out, and expert %d, likelihood %v, is not",
			token, e, p, last, k.likelihood[last])
	}
	for r, want := range k.weights(experts) {
		t.within(fmt.Sprintf("weight (%d, %d)", token, r), float64(weights[r]), want, k.off(want))
	}
}

// sameRouting compares a routing with ref's.
func (m moeModel) sameRouting(t *trial, hidden spec.Matrix, got, want spec.MoERouting) {
	t.Helper()
	n, k := hidden.Rows, m.config.TopK
	m.holdsShape(t, got, n)
	t.equal("capacity", got.Capacity, want.Capacity)
	tokens := make([]moeToken, n)
	excused := false
	for i := range tokens {
		tokens[i] = m.token(hidden.Row(i), t.u)
		excused = excused || !tokens[i].isClear(k)
	}
	if excused && want.Capacity > 0 {
		return // what is dropped later depends on it
	}
	t.equal("dropped", got.Dropped, want.Dropped)
	for i, token := range tokens {
		g, w := got.Indices[i*k:(i+1)*k], want.Indices[i*k:(i+1)*k]
		if !token.isClear(k) {
			token.isRouting(t, i, g, got.Weights.Row(i))
			continue
		}
		t.equal(fmt.Sprintf("experts of token %d", i), g, w)
		for r, weight := range want.Weights.Row(i) {
			t.within(fmt.Sprintf("weight (%d, %d)", i, r), float64(got.Weights.Row(i)[r]), float64(weight), token.off(float64(weight)))
		}
	}
	if _, budget, ok := m.loss(tokens, t.u); ok {
		t.within("aux_loss", got.AuxLoss, want.AuxLoss, budget)
	}
}

// loss is that of some tokens, and how far off it may be; not ok where the first
// expert of a token is in doubt.
func (m moeModel) loss(tokens []moeToken, u float64) (loss, budget float64, ok bool) {
	experts := m.config.NExperts
	n := float64(len(tokens))
	mean, share := make([]float64, experts), make([]float64, experts)
	off := 0.0
	for _, k := range tokens {
		if !k.isClear(1) {
			return 0, 0, false
		}
		sum := 0.0
		for _, p := range k.likelihood {
			sum += p
		}
		for e, p := range k.likelihood {
			mean[e] += p / sum / n
		}
		share[k.order[0]] += 1 / n
		off = max(off, k.off(1))
	}
	for e := range mean {
		loss += mean[e] * share[e]
	}
	scale := m.config.LoadBalanceWeight * float64(experts)
	return scale * loss, scale * (loss*(off+(n+float64(experts)+8)*u) + spacing(u)), true
}

// drawMoEConfig draws a config with gate weights.
func drawMoEConfig(t *trial) spec.SparseMoEConfig {
	experts := size(t, 1, 6, "n_experts")
	if rapid.IntRange(0, 7).Draw(t.T, "many experts") == 0 {
		experts = size(t, 7, 20, "n_experts")
	}
	c := moeConfig(experts, size(t, 1, experts, "top_k"), size(t, 1, 9, "hidden_dim"))
	c.LoadBalanceWeight = rapid.SampledFrom([]float64{0.01, 0, 0.1, 1, 1e6}).Draw(t.T, "load_balance_weight")
	c.GateWeights = matrix(t, c.HiddenDim, experts, moderateStyles, "gate_weights")
	return c
}

func drawMoEHidden(t *trial, dim int) spec.Matrix {
	return matrix(t, size(t, 1, 6, "tokens"), dim, anyStyles, "hidden_states")
}

// clearTokens draws tokens whose experts are in no doubt; at least one, of zeros if
// need be.
func (m moeModel) clearTokens(t *trial, first int) spec.Matrix {
	return m.selectClear(drawMoEHidden(t, m.config.HiddenDim), first, t.u)
}

func (m moeModel) selectClear(x spec.Matrix, first int, u float64) spec.Matrix {
	out := spec.Matrix{Cols: x.Cols}
	for r := range x.Rows {
		if m.token(x.Row(r), u).isClear(first) {
			out.Data = append(out.Data, x.Row(r)...)
			out.Rows++
		}
	}
	if out.Rows == 0 {
		out.Rows, out.Data = 1, make([]float32, x.Cols)
	}
	return out
}

// drawMoERouting draws indices that a routing of n tokens could have, some dropped.
func drawMoERouting(t *trial, c spec.SparseMoEConfig, n int) (indices []int32) {
	r := source(t, "indices")
	drops := r.IntN(3)
	for range n {
		for _, e := range r.Perm(c.NExperts)[:c.TopK] {
			if r.IntN(4) < drops {
				e = -1
			}
			indices = append(indices, int32(e))
		}
	}
	return indices
}

func moeKept(indices []int32) (kept int) {
	for _, e := range indices {
		if e >= 0 {
			kept++
		}
	}
	return kept
}

func drawMoEOutputs(t *trial, c spec.SparseMoEConfig) moeOutputs {
	n := size(t, 1, 5, "tokens")
	x := moeOutputs{indices: drawMoERouting(t, c, n), weights: matrix(t, n, c.TopK, moderateStyles, "weights")}
	x.outputs = matrix(t, moeKept(x.indices), c.HiddenDim, moderateStyles, "expert_outputs")
	return x
}

func moeProgram(t *trial, _ spec.Variant) program {
	c := drawMoEConfig(t)
	c.CapacityFactor = rapid.SampledFrom([]float64{0, 0, 0.5, 1, 1.25, 2}).Draw(t.T, "capacity_factor")
	p := program{config: c}
	m := newMoEModel(c)
	for range size(t, 1, 3, "rounds") {
		tokens, x := drawMoEHidden(t, c.HiddenDim), drawMoEOutputs(t, c)
		p.steps = append(p.steps, call(sparseMoE, "route", m.clearTokens(t, c.TopK)),
			call(sparseMoE, "dispatch", tokens, drawMoERouting(t, c, tokens.Rows)),
			call(sparseMoE, "combine", x.outputs, x.indices, x.weights))
	}
	return p
}

func moeBadSteps(t *trial, config any) []badStep {
	c := config.(spec.SparseMoEConfig)
	d, k := c.HiddenDim, c.TopK
	shaped := func(rows, cols int) spec.Matrix {
		return spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	}
	spoiled := func(m spec.Matrix, x float64) spec.Matrix {
		m.Data[rapid.IntRange(0, len(m.Data)-1).Draw(t.T, "at")] = float32(x)
		return m
	}
	var list []badStep
	bad := func(what string, s step) { list = append(list, badStep{what, s, spec.Invalid}) }
	indices := make([]int32, 0, 2*k) // of two tokens
	for i := range 2 * k {
		indices = append(indices, int32(i%k))
	}
	for _, wrong := range []struct {
		what string
		x    spec.Matrix
	}{
		{"nothing", spec.Matrix{}},
		{"no tokens", spec.Matrix{Cols: d}},
		{"tokens of one more", shaped(2, d+1)},
		{"tokens of one less", shaped(2, d-1)},
		{"less data than shape", spec.Matrix{Rows: 2, Cols: d, Data: make([]float32, 2*d-1)}},
		{"a negative shape", spec.Matrix{Rows: -2, Cols: -d, Data: make([]float32, 2*d)}},
		{"countless tokens", spec.Matrix{Rows: math.MaxInt, Cols: d, Data: make([]float32, d)}},
	} {
		bad(wrong.what, call(sparseMoE, "route", wrong.x))
		bad(wrong.what, call(sparseMoE, "dispatch", wrong.x, indices))
	}
	for _, x := range nonFinite {
		bad(fmt.Sprintf("a %v", x), call(sparseMoE, "route", spoiled(shaped(2, d), x)))
		bad(fmt.Sprintf("a weight %v", x), call(sparseMoE, "combine", shaped(2*k, d), indices, spoiled(shaped(2, k), x)))
	}
	bad("weights of no tokens", call(sparseMoE, "combine", shaped(0, d), []int32(nil), spec.Matrix{Cols: k}))
	bad("weights of a place more", call(sparseMoE, "combine", shaped(2*k, d), indices, shaped(2, k+1)))
	bad("weights of a token more", call(sparseMoE, "combine", shaped(2*k, d), indices, shaped(3, k)))
	bad("outputs of a row less", call(sparseMoE, "combine", shaped(2*k-1, d), indices, shaped(2, k)))
	bad("outputs of a row more", call(sparseMoE, "combine", shaped(2*k+1, d), indices, shaped(2, k)))
	bad("outputs of one element more", call(sparseMoE, "combine", shaped(2*k, d+1), indices, shaped(2, k)))
	bad("outputs without data", call(sparseMoE, "combine", spec.Matrix{Rows: 2 * k, Cols: d}, indices, shaped(2, k)))

	withIndices := func(what string, kind spec.ErrorKind, indices []int32) {
		list = append(list, badStep{what, call(sparseMoE, "dispatch", shaped(2, d), indices), kind},
			badStep{what, call(sparseMoE, "combine", shaped(moeKept(indices), d), indices, shaped(2, k)), kind})
	}
	withIndices("no indices", spec.Invalid, nil)
	withIndices("an index less", spec.Invalid, indices[1:])
	withIndices("an index more", spec.Invalid, append(slices.Clone(indices), -1))
	for _, e := range []int32{int32(c.NExperts), math.MaxInt32, -2, math.MinInt32} {
		outside := slices.Clone(indices)
		outside[rapid.IntRange(0, 2*k-1).Draw(t.T, "at")] = e
		withIndices(fmt.Sprintf("expert %d", e), spec.Range, outside)
	}
	if k > 1 {
		twice := slices.Clone(indices)
		twice[2*k-1] = twice[k]
		withIndices("an expert twice for one token", spec.Invalid, twice)
	}
	return list
}

// moeRouted routes with a new instance.
func moeRouted(t *trial, c spec.SparseMoEConfig, x spec.Matrix) spec.MoERouting {
	t.Helper()
	return moeRoutedBy(t, c, open(t, t.impl.SparseMoE, c), x)
}

func moeRoutedBy(t *trial, c spec.SparseMoEConfig, m spec.SparseMoE, x spec.Matrix) spec.MoERouting {
	t.Helper()
	var out spec.MoERouting
	t.must(m.Route(&out, x))
	moeModel{config: c}.holdsShape(t, out, x.Rows)
	return out
}

func moeGate(t *trial) {
	c := drawMoEConfig(t)
	m, x := newMoEModel(c), drawMoEHidden(t, c.HiddenDim)
	out := moeRouted(t, c, x)
	for r := range x.Rows {
		m.token(x.Row(r), t.u).isRouting(t, r, out.Indices[r*c.TopK:(r+1)*c.TopK], out.Weights.Row(r))
	}
}

func moeNormalised(t *trial) {
	c := drawMoEConfig(t)
	x := drawMoEHidden(t, c.HiddenDim)
	out := moeRouted(t, c, x)
	t.holds(!slices.Contains(out.Indices, -1), "got a dropped place without a capacity: %v", out.Indices)
	for r := range x.Rows {
		sum, above := 0.0, float32(math.Inf(1))
		for _, w := range out.Weights.Row(r) {
			t.holds(0 <= w && w <= above, "token %d: got weights %v, want descending ones of 0 or more", r, out.Weights.Row(r))
			sum += float64(w)
			above = w
		}
		t.within(fmt.Sprintf("sum of the weights of token %d", r), sum, 1, float64(2*c.TopK+8)*t.u)
	}
}

// moeTies draws experts whose gate weights are equal.
func moeTies(t *trial) {
	c := drawMoEConfig(t)
	r := source(t, "integers")
	c.GateWeights = integerMatrix(r, c.HiddenDim, c.NExperts, 2)
	for e := range c.NExperts {
		if same := r.IntN(c.NExperts); r.IntN(2) == 0 {
			for i := range c.HiddenDim {
				c.GateWeights.Row(i)[e] = c.GateWeights.Row(i)[same]
			}
		}
	}
	x := integerMatrix(r, size(t, 1, 6, "tokens"), c.HiddenDim, 2)
	out := moeRouted(t, c, x)
	for token := range x.Rows {
		logits := make([]int, c.NExperts)
		for i, v := range x.Row(token) {
			for e, w := range c.GateWeights.Row(i) {
				logits[e] += int(v) * int(w)
			}
		}
		want := upTo(c.NExperts)
		slices.SortStableFunc(want, func(a, b int) int { return cmp.Compare(logits[b], logits[a]) })
		for rank, e := range want[:c.TopK] {
			t.equal(fmt.Sprintf("expert (%d, %d)", token, rank), out.Indices[token*c.TopK+rank], int32(e))
		}
	}
}

func moeNested(t *trial) {
	large := drawMoEConfig(t)
	small := large
	small.TopK = size(t, 1, large.TopK, "smaller top_k")
	x := drawMoEHidden(t, large.HiddenDim)
	few, many := moeRouted(t, small, x), moeRouted(t, large, x)
	for r := range x.Rows {
		t.equal(fmt.Sprintf("experts of token %d", r), few.Indices[r*small.TopK:(r+1)*small.TopK],
			many.Indices[r*large.TopK:r*large.TopK+small.TopK])
	}
}

// sameMoEWeights asserts that a token that was routed twice has the same weights.
func sameMoEWeights(t *trial, token int, got, want []float32, a, b moeToken) {
	t.Helper()
	for r, w := range want {
		t.within(fmt.Sprintf("weight (%d, %d)", token, r), float64(got[r]), float64(w), a.off(float64(w))+b.off(float64(w)))
	}
}

// moeShift draws gate weights and shifts in eighths: their sums are exact.
func moeShift(t *trial) {
	c := drawMoEConfig(t)
	eighths := source(t, "eighths")
	shifted := c
	shifted.GateWeights = spec.Matrix{Rows: c.HiddenDim, Cols: c.NExperts, Data: make([]float32, c.HiddenDim*c.NExperts)}
	for i := range c.HiddenDim {
		shift := float32(eighths.IntN(65)-32) / 8
		for e := range c.NExperts {
			w := float32(eighths.IntN(33)-16) / 8
			c.GateWeights.Row(i)[e], shifted.GateWeights.Row(i)[e] = w, w+shift
		}
	}
	before, after := newMoEModel(c), newMoEModel(shifted)
	x := after.selectClear(before.clearTokens(t, c.TopK), c.TopK, t.u)
	a, b := moeRouted(t, c, x), moeRouted(t, shifted, x)
	t.equal("indices", b.Indices, a.Indices)
	for r := range x.Rows {
		sameMoEWeights(t, r, b.Weights.Row(r), a.Weights.Row(r), before.token(x.Row(r), t.u), after.token(x.Row(r), t.u))
	}
}

func moeExperts(t *trial) {
	c := drawMoEConfig(t)
	m := newMoEModel(c)
	x := m.clearTokens(t, c.TopK)
	newName := source(t, "names").Perm(c.NExperts)
	renamed := c
	renamed.GateWeights = cloneAs(c.GateWeights)
	for i := range c.HiddenDim {
		for e, w := range c.GateWeights.Row(i) {
			renamed.GateWeights.Row(i)[newName[e]] = w
		}
	}
	a, b := moeRouted(t, c, x), moeRouted(t, renamed, x)
	for r := range x.Rows {
		k := m.token(x.Row(r), t.u)
		if k.isZero {
			continue // ties go by name
		}
		for rank := range c.TopK {
			t.equal(fmt.Sprintf("expert (%d, %d)", r, rank), b.Indices[r*c.TopK+rank], int32(newName[a.Indices[r*c.TopK+rank]]))
		}
		sameMoEWeights(t, r, b.Weights.Row(r), a.Weights.Row(r), k, k)
	}
}

func moeTokens(t *trial) {
	c := drawMoEConfig(t)
	m := newMoEModel(c)
	x := m.clearTokens(t, c.TopK)
	together := moeRouted(t, c, x)
	for r := range x.Rows {
		alone := moeRouted(t, c, spec.Matrix{Rows: 1, Cols: x.Cols, Data: x.Row(r)})
		t.equal(fmt.Sprintf("experts of token %d", r), alone.Indices, together.Indices[r*c.TopK:(r+1)*c.TopK])
		k := m.token(x.Row(r), t.u)
		sameMoEWeights(t, r, alone.Weights.Row(0), together.Weights.Row(r), k, k)
	}
}

func moeAuxLoss(t *trial) {
	c := drawMoEConfig(t)
	m := newMoEModel(c)
	x := m.clearTokens(t, 1)
	tokens := make([]moeToken, x.Rows)
	for r := range tokens {
		tokens[r] = m.token(x.Row(r), t.u)
	}
	want, budget, _ := m.loss(tokens, t.u)
	t.within("aux_loss", moeRouted(t, c, x).AuxLoss, want, budget)
}

func moeLossBounds(t *trial) {
	c := drawMoEConfig(t)
	x := drawMoEHidden(t, c.HiddenDim)
	slack := float64(x.Rows+2*c.NExperts+16) * t.u
	most := c.LoadBalanceWeight * float64(c.NExperts)
	loss := moeRouted(t, c, x).AuxLoss
	t.within("aux_loss and the nearest number up to load_balance_weight·n_experts", loss, min(loss, most), slack*most)
	clear(x.Data)
	t.within("aux_loss of equally probable experts", moeRouted(t, c, x).AuxLoss, c.LoadBalanceWeight, slack*c.LoadBalanceWeight)
}

func moeSeeded(t *trial) {
	c := moeConfig(8, 8, 4)
	c.Seed = rapid.Uint64().Draw(t.T, "seed")
	other := c
	other.Seed++
	x := spec.Matrix{Rows: 1, Cols: c.HiddenDim, Data: []float32{1, -1, 1, 1}}
	out := moeRouted(t, c, x)
	t.sameBits("routing ", moeRouted(t, c, x), out)
	t.holds(differences(moeRouted(t, other, x), out) != "", "seeds %d and %d route alike: %v", c.Seed, other.Seed, out)
}

// moeXavier looks along 64 of 256 axes, one a token: the logarithms of all experts'
// weights are then a row of the gate, but for their mean.
func moeXavier(t *trial) {
	const experts, dim, rows = 16, 256, 64
	c := moeConfig(experts, experts, dim)
	c.Seed = rapid.Uint64().Draw(t.T, "seed")
	x := spec.Matrix{Rows: rows, Cols: dim, Data: make([]float32, rows*dim)}
	for r := range rows {
		x.Row(r)[r*dim/rows] = 1
	}
	out := moeRouted(t, c, x)
	sum := 0.0
	for r := range rows {
		mean, squares := 0.0, 0.0
		for _, w := range out.Weights.Row(r) {
			mean += math.Log(float64(w)) / experts
		}
		for _, w := range out.Weights.Row(r) {
			squares += math.Pow(math.Log(float64(w))-mean, 2)
		}
		sum += squares / (experts - 1) / rows
	}
	ratio := sum / (2. / (dim + experts))
	t.holds(0.7 <= ratio && ratio <= 1.4, "the gate weights' variance is %v of 2/(hidden_dim + n_experts)", ratio)
}

func moeCapacity(t *trial) {
	c := drawMoEConfig(t)
	hundredths := rapid.SampledFrom([]int{1, 25, 50, 75, 100, 110, 125, 150, 200}).Draw(t.T, "hundredths")
	limited := c
	limited.CapacityFactor = float64(hundredths) / 100
	x := drawMoEHidden(t, c.HiddenDim)
	all, kept := moeRouted(t, c, x), moeRouted(t, limited, x)
	places, whole := hundredths*x.Rows*c.TopK, 100*c.NExperts
	want := cloneAs(all)
	want.Capacity = min(x.Rows, (places+whole-1)/whole)
	taken := make([]int, c.NExperts)
	for i, e := range all.Indices {
		if taken[e]++; taken[e] > want.Capacity {
			want.Indices[i], want.Weights.Data[i] = -1, 0
			want.Dropped++
		}
	}
	t.equal("capacity without a factor", all.Capacity, 0)
	t.equal("dropped without a factor", all.Dropped, 0)
	t.sameBits("routing ", kept, want)
}

func moeNoDrops(t *trial) {
	c := drawMoEConfig(t)
	roomy := c
	roomy.CapacityFactor = float64(c.NExperts) / float64(c.TopK) * rapid.SampledFrom([]float64{1, 1.5, 1e300}).Draw(t.T, "room")
	x := drawMoEHidden(t, c.HiddenDim)
	want, got := moeRouted(t, c, x), moeRouted(t, roomy, x)
	want.Capacity = x.Rows
	t.sameBits("routing ", got, want)
}

func moeDispatch(t *trial) {
	c := drawMoEConfig(t)
	x := drawMoEHidden(t, c.HiddenDim)
	x.Data[rapid.IntRange(0, len(x.Data)-1).Draw(t.T, "at")] = math.Float32frombits(0x7fc12345) // bytes move, whatever they are
	indices := drawMoERouting(t, c, x.Rows)
	var got spec.MoEDispatch
	t.must(open(t, t.impl.SparseMoE, c).(spec.SparseMoEDispatch).Dispatch(&got, x, indices))
	want := spec.MoEDispatch{Inputs: spec.Matrix{Cols: c.HiddenDim}, Counts: make([]int32, c.NExperts)}
	for e := range c.NExperts {
		for place, index := range indices {
			if int(index) == e {
				want.Inputs.Rows++
				want.Inputs.Data = append(want.Inputs.Data, x.Row(place/c.TopK)...)
				want.Counts[e]++
			}
		}
	}
	t.sameBits("dispatched ", got, want)
}

// moeOutputs are arguments of combine.
type moeOutputs struct {
	outputs spec.Matrix
	indices []int32
	weights spec.Matrix
}

// A moeTerm is one product that a combined token is the sum of.
type moeTerm struct{ weight, output float64 }

// terms are those of an element of a token.
func (x moeOutputs) terms(token, i int) (terms []moeTerm) {
	k := x.weights.Cols
	for r, w := range x.weights.Row(token) {
		place := token*k + r
		e := x.indices[place]
		if e < 0 {
			continue
		}
		row := 0 // places of lower experts, and of this one before it
		for p, other := range x.indices {
			if other >= 0 && (other < e || other == e && p < place) {
				row++
			}
		}
		terms = append(terms, moeTerm{float64(w), float64(x.outputs.Row(row)[i])})
	}
	return terms
}

// sameCombined asserts that every element of got is what want says.
func (x moeOutputs) sameCombined(t *trial, got spec.Matrix, want func(token, i int, terms []moeTerm) float64) {
	t.Helper()
	n, dim, k := x.weights.Rows, x.outputs.Cols, float64(x.weights.Cols)
	t.holds(spec.CheckMatrix("", "", got, n, dim) == nil, "got shape (%d, %d), want (%d, %d)", got.Rows, got.Cols, n, dim)
	for token := range n {
		for i, g := range got.Row(token) {
			terms, magnitude := x.terms(token, i), 0.0
			for _, term := range terms {
				magnitude += math.Abs(term.weight * term.output)
			}
			t.within(fmt.Sprintf("hidden_states (%d, %d)", token, i), float64(g), want(token, i, terms), (k+2)*t.u*magnitude+(k+1)*spacing(t.u))
		}
	}
}

func moeCombine(t *trial) {
	c := drawMoEConfig(t)
	x := drawMoEOutputs(t, c)
	var got spec.Matrix
	t.must(open(t, t.impl.SparseMoE, c).(spec.SparseMoEDispatch).Combine(&got, x.outputs, x.indices, x.weights))
	x.sameCombined(t, got, func(_, _ int, terms []moeTerm) float64 {
		sum := bigNumber(0)
		for _, term := range terms {
			sum.Add(sum, new(big.Float).Mul(bigNumber(term.weight), bigNumber(term.output)))
		}
		want, _ := sum.Float64()
		return want
	})
}

func moeIdentityExperts(t *trial) {
	c := drawMoEConfig(t)
	x := drawMoEHidden(t, c.HiddenDim)
	m := open(t, t.impl.SparseMoE, c)
	routing := moeRoutedBy(t, c, m, x)
	var groups spec.MoEDispatch
	t.must(m.(spec.SparseMoEDispatch).Dispatch(&groups, x, routing.Indices))
	var back spec.Matrix
	t.must(m.(spec.SparseMoEDispatch).Combine(&back, groups.Inputs, routing.Indices, routing.Weights))
	t.holds(spec.CheckMatrix("", "", back, x.Rows, x.Cols) == nil, "got shape (%d, %d), want (%d, %d)", back.Rows, back.Cols, x.Rows, x.Cols)
	k := float64(c.TopK)
	for i, want := range x.Data {
		t.within(fmt.Sprintf("element %d", i), float64(back.Data[i]), float64(want), (3*k+12)*t.u*math.Abs(float64(want))+(k+2)*spacing(t.u))
	}
}

func moeStats(t *trial) {
	c := drawMoEConfig(t)
	c.CapacityFactor = rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(t.T, "capacity_factor")
	m := open(t, t.impl.SparseMoE, c)
	want := spec.SparseMoEStats{ExpertLoad: make([]int64, c.NExperts)}
	for range size(t, 0, 4, "calls") {
		x := drawMoEHidden(t, c.HiddenDim)
		out := moeRoutedBy(t, c, m, x)
		want.Calls++
		want.Tokens += x.Rows
		for _, e := range out.Indices {
			if e < 0 {
				want.Dropped++
			} else {
				want.ExpertLoad[e]++
			}
		}
	}
	t.equal("stats", m.Stats(), want)
}

// moeAnswer is what the row comes to, with what it was made of.
type moeAnswer struct {
	config  spec.SparseMoEConfig
	hidden  spec.Matrix
	routing spec.MoERouting
}

func moeRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	c := spec.DefaultSparseMoEConfig()
	c.NExperts, c.TopK, c.HiddenDim = w.Int("n_experts", c.NExperts), w.Int("top_k", c.TopK), w.Int("hidden_dim", c.HiddenDim)
	c.GateWeights = spec.Matrix{Rows: c.HiddenDim, Cols: c.NExperts, Data: gaussian(c.HiddenDim*c.NExperts, 24)}
	for i := range c.GateWeights.Data {
		c.GateWeights.Data[i] *= float32(math.Sqrt(2 / float64(c.HiddenDim+c.NExperts)))
	}
	n := w.Int("tokens", 1)
	answer := moeAnswer{config: c, hidden: spec.Matrix{Rows: n, Cols: c.HiddenDim, Data: gaussian(n*c.HiddenDim, 25)}}
	m, err := impl.SparseMoE(c)
	return timing{
		calls:  1,
		call:   func(int) error { return m.Route(&answer.routing, answer.hidden) },
		result: func() (any, error) { return &answer, nil },
	}, err
}
