package fast

import (
	"cmp"
	"math"
	"slices"

	"github.com/squishspec/squishspec/fast/internal/columns"
	"github.com/squishspec/squishspec/fast/internal/topk"
	"github.com/squishspec/squishspec/spec"
)

// NewSparseMoE returns the optimised spec.SparseMoE, or an error of kind spec.Invalid
// for a config out of range. It also groups tokens by expert: spec.SparseMoEDispatch.
//
// Experts are selected, not sorted: only the top_k are put in order. An exponential
// is taken once for each expert, and serves the weights and the loss. Grouping is a
// counting sort.
func NewSparseMoE(c spec.SparseMoEConfig) (spec.SparseMoE, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m := &sparseMoE{
		config: c, gate: columns.Of(c.Gate()),
		logits: make([]float64, c.NExperts), scratch: make([]float64, c.NExperts), chosen: make([]moeScored, 0, c.TopK),
		mean: make([]float64, c.NExperts), first: make([]int, c.NExperts), next: make([]int, c.NExperts+1),
	}
	m.config.GateWeights = spec.Matrix{} // the caller's
	m.stats.ExpertLoad = make([]int64, c.NExperts)
	return m, nil
}

type sparseMoE struct {
	config spec.SparseMoEConfig
	gate   columns.Columns
	stats  spec.SparseMoEStats

	logits, scratch []float64
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

func (m *sparseMoE) Route(dst *spec.MoERouting, hiddenStates spec.Matrix) error {
	if err := m.config.CheckTokens(hiddenStates); err != nil {
		return err
	}
	n, k := hiddenStates.Rows, m.config.TopK
	dst.Indices = spec.Resize(dst.Indices, n*k)
	dst.Weights.Resize(n, k)
	clear(m.mean)
	clear(m.first)
	for t := range n {
		m.gate.Dots(m.logits, hiddenStates.Row(t))
		if l := m.logits[0]; l-l != 0 { // finite elements have finite products and sums
			return m.config.CheckHiddenStates(hiddenStates)
		}
		m.choose(k)
		m.weigh(dst.Weights.Row(t))
		for r, s := range m.chosen {
			dst.Indices[t*k+r] = s.expert
		}
		m.first[m.chosen[0].expert]++
	}
	dst.AuxLoss = m.loss(n)
	dst.Capacity = m.config.Capacity(n)
	dst.Dropped = m.fill(dst)
	m.stats.Calls++
	m.stats.Tokens += n
	m.stats.Dropped += dst.Dropped
	return nil
}

// choose sets chosen to the k greatest logits, in order.
func (m *sparseMoE) choose(k int) {
	copy(m.scratch, m.logits)
	cut, ties := topk.Cut(m.scratch, k)
	m.chosen = m.chosen[:0]
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

// weigh writes the weights of the chosen experts, turns the logits into exponentials,
// and adds the probabilities to mean.
func (m *sparseMoE) weigh(weights []float32) {
	greatest, all, sum := m.chosen[0].logit, 0.0, 0.0
	for e, l := range m.logits {
		m.logits[e] = math.Exp(l - greatest)
		all += m.logits[e]
	}
	for _, s := range m.chosen {
		sum += m.logits[s.expert]
	}
	for r, s := range m.chosen {
		weights[r] = float32(m.logits[s.expert] / sum)
	}
	for e, x := range m.logits {
		m.mean[e] += x / all
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
		clear(m.sums)
		for r, e := range indices[t*k : (t+1)*k] {
			if e < 0 {
				continue
			}
			w := float64(weights.Row(t)[r])
			for i, x := range expertOutputs.Row(m.next[e]) {
				m.sums[i] += w * float64(x)
			}
			m.next[e]++
		}
		for i, x := range m.sums {
			dst.Data[t*dst.Cols+i] = float32(x)
		}
	}
	return nil
}

func (m *sparseMoE) Stats() spec.SparseMoEStats {
	s := m.stats
	s.ExpertLoad = slices.Clone(s.ExpertLoad)
	return s
}
