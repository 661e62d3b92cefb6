package ref

import (
	"cmp"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// NewSparseMoE returns the reference of spec.SparseMoE, or an error of kind
// spec.Invalid for a config out of range. It also groups tokens by expert:
// spec.SparseMoEDispatch.
func NewSparseMoE(c spec.SparseMoEConfig) (spec.SparseMoE, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m := &sparseMoE{config: c, gate: c.Gate()}
	m.config.GateWeights = spec.Matrix{} // the caller's
	m.stats.ExpertLoad = make([]int64, c.NExperts)
	return m, nil
}

type sparseMoE struct {
	config spec.SparseMoEConfig
	gate   spec.Matrix
	stats  spec.SparseMoEStats
}

func (m *sparseMoE) Route(dst *spec.MoERouting, hiddenStates spec.Matrix) error {
	if err := m.config.CheckHiddenStates(hiddenStates); err != nil {
		return err
	}
	n, experts, k := hiddenStates.Rows, m.config.NExperts, m.config.TopK
	dst.Indices = spec.Resize(dst.Indices, n*k)
	dst.Weights.Resize(n, k)
	mean, share := make([]float64, experts), make([]float64, experts)
	for t := range n {
		logits := m.logits(hiddenStates.Row(t))
		chosen := moeDescending(logits)[:k]
		weights := make([]float64, k)
		for r, e := range chosen {
			dst.Indices[t*k+r] = int32(e)
			weights[r] = logits[e]
		}
		softmax(weights)
		for r, w := range weights {
			dst.Weights.Row(t)[r] = float32(w)
		}
		softmax(logits)
		for e, p := range logits {
			mean[e] += p / float64(n)
		}
		share[chosen[0]] += 1 / float64(n)
	}
	loss := 0.0
	for e := range experts {
		loss += float64(mean[e] * share[e])
	}
	dst.AuxLoss = m.config.LoadBalanceWeight * (float64(experts) * loss)
	dst.Capacity = m.config.Capacity(n)
	dst.Dropped = m.fill(dst)
	m.stats.Calls++
	m.stats.Tokens += n
	m.stats.Dropped += dst.Dropped
	return nil
}

// logits is x·gate.
func (m *sparseMoE) logits(x []float32) []float64 {
	logits := make([]float64, m.config.NExperts)
	for i := range x {
		for e, w := range m.gate.Row(i) {
			logits[e] += float64(float64(x[i]) * float64(w))
		}
	}
	return logits
}

// moeDescending returns the places of the values, the greatest first, and of equals the
// first one.
func moeDescending(values []float64) []int {
	places := make([]int, len(values))
	for i := range places {
		places[i] = i
	}
	slices.SortStableFunc(places, func(a, b int) int { return cmp.Compare(values[b], values[a]) })
	return places
}

// fill lets experts take their places, drops what is beyond the capacity, and returns
// how much that is.
func (m *sparseMoE) fill(routing *spec.MoERouting) (dropped int) {
	taken := make([]int, m.config.NExperts)
	for i, e := range routing.Indices {
		if routing.Capacity > 0 && taken[e] == routing.Capacity {
			routing.Indices[i] = -1
			routing.Weights.Data[i] = 0
			dropped++
			continue
		}
		taken[e]++
		m.stats.ExpertLoad[e]++
	}
	return dropped
}

func (m *sparseMoE) Dispatch(dst *spec.MoEDispatch, hiddenStates spec.Matrix, indices []int32) error {
	if err := m.config.CheckTokens(hiddenStates); err != nil {
		return err
	}
	kept, err := m.config.CheckIndices(indices, hiddenStates.Rows, make([]int, m.config.NExperts))
	if err != nil {
		return err
	}
	dst.Inputs.Resize(kept, m.config.HiddenDim)
	dst.Counts = spec.Resize(dst.Counts, m.config.NExperts)
	clear(dst.Counts)
	for row, place := range moeGrouped(indices) {
		copy(dst.Inputs.Row(row), hiddenStates.Row(place/m.config.TopK))
		dst.Counts[indices[place]]++
	}
	return nil
}

// moeGrouped returns the places that are not dropped, expert by expert, and for one
// expert in the order of the tokens.
func moeGrouped(indices []int32) (places []int) {
	for place, e := range indices {
		if e >= 0 {
			places = append(places, place)
		}
	}
	slices.SortStableFunc(places, func(a, b int) int { return cmp.Compare(indices[a], indices[b]) })
	return places
}

func (m *sparseMoE) Combine(dst *spec.Matrix, expertOutputs spec.Matrix, indices []int32, weights spec.Matrix) error {
	if err := m.config.CheckCombine(expertOutputs, indices, weights, make([]int, m.config.NExperts)); err != nil {
		return err
	}
	rowOf := map[int]int{} // by place
	for row, place := range moeGrouped(indices) {
		rowOf[place] = row
	}
	dst.Resize(weights.Rows, m.config.HiddenDim)
	for t := range weights.Rows {
		for i := range dst.Cols {
			sum := 0.0
			for r, w := range weights.Row(t) {
				if row, kept := rowOf[t*m.config.TopK+r]; kept {
					sum += float64(float64(w) * float64(expertOutputs.Row(row)[i]))
				}
			}
			dst.Row(t)[i] = float32(sum)
		}
	}
	return nil
}

func (m *sparseMoE) Stats() spec.SparseMoEStats {
	s := m.stats
	s.ExpertLoad = slices.Clone(s.ExpertLoad)
	return s
}
