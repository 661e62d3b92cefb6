package fast

import (
	"cmp"
	"math"
	"slices"

	"github.com/squishspec/squishspec/fast/internal/gemm"
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/topk"
	"github.com/squishspec/squishspec/spec"
)

// NewSparseMoE returns the optimised spec.SparseMoE, or an error of kind spec.Invalid
// for a config out of range. It also groups tokens by expert: spec.SparseMoEDispatch.
//
// Logits are a product of matrices, in float32, with a token's computed again in
// float64 if one overflows. Experts are selected, not sorted: only the top_k are put
// in order. An exponential is taken once for each expert, and serves the weights and
// the loss. Grouping is a counting sort. Memory is that of the gate, and 8 bytes an
// expert of 512 tokens.
func NewSparseMoE(c spec.SparseMoEConfig) (spec.SparseMoE, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m := &sparseMoE{
		config: c, gate: c.Gate(),
		logits: make([]float64, c.NExperts), scratch: make([]float64, c.NExperts), chosen: make([]moeScored, 0, c.TopK),
		mean: make([]float64, c.NExperts), first: make([]int, c.NExperts), next: make([]int, c.NExperts+1),
	}
	m.config.GateWeights = spec.Matrix{} // the caller's
	m.stats.ExpertLoad = make([]int64, c.NExperts)
	return m, nil
}

type sparseMoE struct {
	config     spec.SparseMoEConfig
	gate       spec.Matrix
	multiplier gemm.Multiplier
	stats      spec.SparseMoEStats

	products        spec.Matrix // of some tokens: logits, and then exponentials
	logits, scratch []float64   // of one token
	chosen          []moeScored
	mean            []float64 // Σ of a probability over the tokens
	first           []int     // tokens that have an expert as their first
	next            []int     // by expert: what is taken; the next row
	sums            []float64 // one token, while it is combined
}

// moeScored is an expert and its logit.
type moeScored struct {
	logit  float64
	expert int32
}

// moeBetter orders by logit, descending, and equals by expert.
func moeBetter(a, b moeScored) int {
	return cmp.Or(cmp.Compare(b.logit, a.logit), cmp.Compare(a.expert, b.expert))
}

// moeTogether is the number of tokens that are multiplied with the gate at once.
const moeTogether = 512

func (m *sparseMoE) Route(dst *spec.MoERouting, hiddenStates spec.Matrix) error {
	if err := m.config.CheckTokens(hiddenStates); err != nil {
		return err
	}
	n, k := hiddenStates.Rows, m.config.TopK
	dst.Indices = spec.Resize(dst.Indices, n*k)
	dst.Weights.Resize(n, k)
	clear(m.mean)
	clear(m.first)
	for from := 0; from < n; from += moeTogether {
		to := min(n, from+moeTogether)
		if !m.routeSome(dst, hiddenStates, from, to) {
			return m.config.CheckHiddenStates(hiddenStates)
		}
	}
	dst.AuxLoss = m.loss(n)
	dst.Capacity = m.config.Capacity(n)
	dst.Dropped = m.fill(dst)
	m.stats.Calls++
	m.stats.Tokens += n
	m.stats.Dropped += dst.Dropped
	return nil
}

// routeSome writes the experts and weights of tokens from … to−1, and reports whether
// all are finite.
func (m *sparseMoE) routeSome(dst *spec.MoERouting, x spec.Matrix, from, to int) (finite bool) {
	k := m.config.TopK
	m.products.Resize(to-from, m.config.NExperts)
	m.multiplier.Multiply(gemm.Of(m.products), gemm.View{}, gemm.Of(x).Block(from, to, 0, x.Cols), gemm.Of(m.gate))
	ordinary := k <= 2 && kern.AllFinite(m.products.Data)
	for t := from; t < to; t++ {
		products, experts := m.products.Row(t-from), dst.Indices[t*k:][:k]
		if ordinary {
			chooseTwo(experts, products)
			greatest := products[experts[0]]
			for e := range products {
				products[e] -= greatest
			}
		} else {
			if !m.widen(products, x.Row(t)) {
				return false
			}
			m.choose(k)
			for r, s := range m.chosen {
				experts[r] = s.expert
			}
			greatest := m.chosen[0].logit
			for e, l := range m.logits {
				products[e] = float32(l - greatest)
			}
		}
		m.first[experts[0]]++
	}
	kern.Exp(m.products.Data, m.products.Data)
	for t := from; t < to; t++ {
		m.weigh(dst.Weights.Row(t), dst.Indices[t*k:(t+1)*k], m.products.Row(t-from))
	}
	return true
}

// widen sets the logits of token x from its products with the gate, and reports
// whether they are finite: products of finite elements do not overflow float64, and
// neither do sums of them.
func (m *sparseMoE) widen(products, x []float32) (finite bool) {
	zero := float32(0) // NaN where a product is not finite
	for e, l := range products {
		m.logits[e] = float64(l)
		zero += l * 0
	}
	if zero == 0 {
		return true
	}
	clear(m.logits)
	for i, v := range x {
		for e, w := range m.gate.Row(i) {
			m.logits[e] += float64(v) * float64(w)
		}
	}
	return m.logits[0]-m.logits[0] == 0 // an element that is not finite shows in all
}

// chooseTwo sets experts to the one or two of the greatest logits, which are finite:
// routers take no more, as a rule, and two are found without a branch. Logits are
// compared as integers that are ordered as they are, with the expert below.
func chooseTwo(experts []int32, logits []float32) {
	first, second := uint64(0), uint64(0)
	for e, l := range logits {
		order := math.Float32bits(l + 0) // −0 is 0
		order ^= uint32(int32(order)>>31) | 1<<31
		key := uint64(order)<<32 | uint64(^uint32(e))
		second = max(second, min(first, key))
		first = max(first, key)
	}
	experts[0] = int32(^uint32(first))
	if len(experts) == 2 {
		experts[1] = int32(^uint32(second))
	}
}

// choose sets chosen to the k greatest logits, in order. A few are inserted where they
// belong; of more the cut is found first.
func (m *sparseMoE) choose(k int) {
	const few = 16
	m.chosen = m.chosen[:0]
	if k > few {
		m.chooseMany(k)
		return
	}
	for e, l := range m.logits {
		at := len(m.chosen)
		if at == k {
			if l <= m.chosen[k-1].logit {
				continue
			}
			at--
		} else {
			m.chosen = m.chosen[:at+1]
		}
		for ; at > 0 && m.chosen[at-1].logit < l; at-- {
			m.chosen[at] = m.chosen[at-1]
		}
		m.chosen[at] = moeScored{l, int32(e)}
	}
}

func (m *sparseMoE) chooseMany(k int) {
	copy(m.scratch, m.logits)
	cut, ties := topk.Cut(m.scratch, k)
	for e, l := range m.logits {
		if l == cut && ties > 0 {
			ties--
		} else if l <= cut {
			continue
		}
		m.chosen = append(m.chosen, moeScored{l, int32(e)})
	}
	slices.SortFunc(m.chosen, moeBetter)
}

// weigh writes the weights of a token's experts, in proportion to the exponentials of
// all, and adds the probabilities to mean.
func (m *sparseMoE) weigh(weights []float32, experts []int32, exps []float32) {
	all, sum := 0.0, 0.0
	for _, x := range exps {
		all += float64(x)
	}
	for _, e := range experts {
		sum += float64(exps[e])
	}
	for r, e := range experts {
		weights[r] = float32(float64(exps[e]) / sum)
	}
	share, mean := 1/all, m.mean[:len(exps)]
	for e, x := range exps {
		mean[e] += float64(x) * share
	}
}

// loss is load_balance_weight·n_experts·Σ mean·share.
func (m *sparseMoE) loss(n int) float64 {
	sum := 0.0
	for e, p := range m.mean {
		sum += p * float64(m.first[e])
	}
	return m.config.LoadBalanceWeight * (float64(m.config.NExperts) * (sum / (float64(n) * float64(n))))
}

// fill lets experts take their places, drops what is beyond the capacity, and returns
// how much that is.
func (m *sparseMoE) fill(routing *spec.MoERouting) (dropped int) {
	if routing.Capacity == 0 {
		for _, e := range routing.Indices {
			m.stats.ExpertLoad[e]++
		}
		return 0
	}
	clear(m.next)
	for i, e := range routing.Indices {
		if m.next[e] == routing.Capacity {
			routing.Indices[i], routing.Weights.Data[i] = -1, 0
			dropped++
			continue
		}
		m.next[e]++
		m.stats.ExpertLoad[e]++
	}
	return dropped
}

func (m *sparseMoE) Dispatch(dst *spec.MoEDispatch, hiddenStates spec.Matrix, indices []int32) error {
	if err := m.config.CheckTokens(hiddenStates); err != nil {
		return err
	}
	kept, err := m.config.CheckIndices(indices, hiddenStates.Rows, m.next[:m.config.NExperts])
	if err != nil {
		return err
	}
	k := m.config.TopK
	dst.Inputs.Resize(kept, m.config.HiddenDim)
	dst.Counts = spec.Resize(dst.Counts, m.config.NExperts)
	m.startRows(indices)
	for e := range dst.Counts {
		dst.Counts[e] = int32(m.next[e+1] - m.next[e])
	}
	for t := range hiddenStates.Rows {
		x := hiddenStates.Row(t)
		for _, e := range indices[t*k : (t+1)*k] {
			if e >= 0 {
				copy(dst.Inputs.Row(m.next[e]), x)
				m.next[e]++
			}
		}
	}
	return nil
}

// startRows sets next to the first row of every expert, and at its end to the number of
// rows.
func (m *sparseMoE) startRows(indices []int32) {
	clear(m.next)
	for _, e := range indices {
		m.next[e+1]++ // dropped places count at 0, which the sums below leave out
	}
	m.next[0] = 0
	for e := range m.config.NExperts {
		m.next[e+1] += m.next[e]
	}
}

func (m *sparseMoE) Combine(dst *spec.Matrix, expertOutputs spec.Matrix, indices []int32, weights spec.Matrix) error {
	if err := m.config.CheckCombine(expertOutputs, indices, weights, m.next[:m.config.NExperts]); err != nil {
		return err
	}
	k := m.config.TopK
	dst.Resize(weights.Rows, m.config.HiddenDim)
	m.sums = spec.Resize(m.sums, m.config.HiddenDim)
	m.startRows(indices)
	for t := range weights.Rows {
		m.combine(dst.Row(t), expertOutputs, indices[t*k:(t+1)*k], weights.Row(t))
		for _, e := range indices[t*k : (t+1)*k] {
			if e >= 0 {
				m.next[e]++
			}
		}
	}
	return nil
}

// combine writes the weighted sum of a token's expert outputs, which are at next. Sums
// in float32 that overflow are added up again in float64.
func (m *sparseMoE) combine(out []float32, outputs spec.Matrix, experts []int32, weights []float32) {
	row := kern.Rows(out, 1, len(out), len(out))
	var from kern.View // nothing yet
	for r, e := range experts {
		if e >= 0 {
			kern.Gemm(row, from, nil, kern.Rows(weights[r:r+1], 1, 1, 1), kern.Rows(outputs.Row(m.next[e]), 1, len(out), len(out)))
			from = row
		}
	}
	if from.Data == nil {
		clear(out)
	}
	if kern.AllFinite(out) {
		return
	}
	clear(m.sums)
	for r, e := range experts {
		if e >= 0 {
			for i, x := range outputs.Row(m.next[e]) {
				m.sums[i] += float64(weights[r]) * float64(x)
			}
		}
	}
	for i, x := range m.sums {
		out[i] = float32(x)
	}
}

func (m *sparseMoE) Stats() spec.SparseMoEStats {
	s := m.stats
	s.ExpertLoad = slices.Clone(s.ExpertLoad)
	return s
}
