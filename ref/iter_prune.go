package ref

import (
	"cmp"
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// NewIterPrune returns the reference of spec.IterPrune, or an error of kind
// spec.Invalid for a config out of range. It also regrows: spec.IterPruneRegrow.
func NewIterPrune(c spec.IterPruneConfig) (spec.IterPrune, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &iterPrune{config: c}, nil
}

type iterPrune struct {
	config spec.IterPruneConfig
	stats  spec.IterPruneStats
}

func (p *iterPrune) PruneStep(dst *spec.IterPruned, weights []float32, step int) error {
	if err := p.config.CheckWeights(weights); err != nil {
		return err
	}
	p.prune(dst, weights, p.leaving(weights, step))
	return nil
}

func (p *iterPrune) PruneRegrow(dst *spec.IterPruned, weights []float32, step int, saliencies []float32) error {
	if err := p.config.CheckWeights(weights); err != nil {
		return err
	}
	if err := p.config.CheckSaliencies(saliencies, len(weights)); err != nil {
		return err
	}
	leaving := p.leaving(weights, step)
	returning := slices.DeleteFunc(slices.Clone(leaving), func(i int) bool { return weights[i] == 0 })
	slices.SortFunc(returning, func(i, j int) int {
		return cmp.Or(cmp.Compare(saliencies[j], saliencies[i]), cmp.Compare(i, j))
	})
	returning = returning[:p.config.RegrowCount(len(leaving), len(weights), len(returning))]

	// The smallest that are left are the next in the order in which weights go.
	leaving = iterPruneOrder(weights)[:len(leaving)+len(returning)]
	leaving = slices.DeleteFunc(leaving, func(i int) bool { return slices.Contains(returning, i) })
	p.prune(dst, weights, leaving)
	return nil
}

func (p *iterPrune) CurrentSparsity(step int) float64 { return p.config.Sparsity(step) }

func (p *iterPrune) Stats() spec.IterPruneStats {
	s := p.stats
	if s.Processed > 0 {
		s.Sparsity = float64(s.Zeroed) / float64(s.Processed)
	}
	return s
}

// leaving returns the indices of the weights that go at a step, in the order in
// which they go.
func (p *iterPrune) leaving(weights []float32, step int) []int {
	order := iterPruneOrder(weights)
	k := p.config.PruneCount(step, len(weights))
	if p.config.Variant == spec.Squish6 && k > 0 {
		last := iterMagnitude(weights[order[k-1]])
		for k < len(order) && iterMagnitude(weights[order[k]]) == last {
			k++
		}
	}
	return order[:k]
}

// iterPruneOrder returns all indices in the order in which the weights go: smallest
// magnitude first, the highest index first among equals.
func iterPruneOrder(weights []float32) []int {
	order := make([]int, len(weights))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		return cmp.Or(cmp.Compare(iterMagnitude(weights[i]), iterMagnitude(weights[j])), cmp.Compare(j, i))
	})
	return order
}

func iterMagnitude(w float32) float64 { return math.Abs(float64(w)) }

// prune writes the weights, those that leave as +0, and counts the step.
func (p *iterPrune) prune(dst *spec.IterPruned, weights []float32, leaving []int) {
	dst.Pruned = append(dst.Pruned[:0], weights...)
	for _, i := range leaving {
		dst.Pruned[i] = 0
	}
	zeros := 0
	for _, w := range dst.Pruned {
		if w == 0 {
			zeros++
		}
	}
	dst.Sparsity = float64(zeros) / float64(len(weights))
	p.stats.Steps++
	p.stats.Zeroed += zeros
	p.stats.Processed += len(weights)
}
