package ref

import (
	"cmp"
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// NewStructuredPrune returns the reference of spec.StructuredPrune, or an error of
// kind spec.Invalid for a config out of range. It also prunes rows:
// spec.StructuredPruneGroups.
func NewStructuredPrune(c spec.StructuredPruneConfig) (spec.StructuredPrune, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &structuredPrune{config: c}, nil
}

type structuredPrune struct {
	config spec.StructuredPruneConfig
	stats  spec.StructuredPruneStats
}

func (p *structuredPrune) Prune(dst *spec.PrunedWeights, weights spec.Matrix) error {
	if err := p.config.CheckWeights(weights); err != nil {
		return err
	}
	p.keep(dst, weights, nmMask(weights.Data, p.config.N, p.config.M))
	return nil
}

// nmMask marks the n largest magnitudes of every m weights.
func nmMask(weights []float32, n, m int) []bool {
	mask := make([]bool, len(weights))
	for start := 0; start < len(weights); start += m {
		magnitudes := make([]float64, m)
		for i := range magnitudes {
			magnitudes[i] = math.Abs(float64(weights[start+i]))
		}
		for _, i := range descendingOrder(magnitudes)[:n] {
			mask[start+i] = true
		}
	}
	return mask
}

// descendingOrder returns the indices of the values, largest first, equal ones in order.
func descendingOrder(values []float64) []int {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[b], values[a]) })
	return order
}

// PruneGroups ranks the groups by the squares of their norms, whose order is that
// of the norms.
func (p *structuredPrune) PruneGroups(dst *spec.PrunedWeights, weights spec.Matrix) error {
	if err := p.config.CheckGroups(weights); err != nil {
		return err
	}
	squares := make([]float64, p.config.Groups(weights.Rows))
	for g := range squares {
		group := p.config.Group(weights, g)
		squares[g] = dotProduct(group, group)
	}
	dropped := descendingOrder(squares)[len(squares)-spec.DropCount(p.config.Sparsity, len(squares)):]
	var mask []bool
	for g := range squares {
		kept := !slices.Contains(dropped, g)
		for range p.config.Group(weights, g) {
			mask = append(mask, kept)
		}
	}
	p.keep(dst, weights, mask)
	return nil
}

// keep writes the weights that the mask keeps, and counts.
func (p *structuredPrune) keep(dst *spec.PrunedWeights, weights spec.Matrix, mask []bool) {
	dst.Pruned.Resize(weights.Rows, weights.Cols)
	dst.Mask = append(dst.Mask[:0], mask...)
	for i, kept := range mask {
		if kept {
			dst.Pruned.Data[i] = weights.Data[i]
		} else {
			dst.Pruned.Data[i] = 0
			p.stats.Zeroed++
		}
	}
	p.stats.Calls++
	p.stats.Weights += len(mask)
}

func (p *structuredPrune) SparsityFraction(dst *float64, weights []float32) error {
	if err := p.config.CheckFlat(weights); err != nil {
		return err
	}
	largest := 0.0
	for _, w := range weights {
		largest = max(largest, math.Abs(float64(w)))
	}
	if largest == 0 {
		*dst = 1
		return nil
	}
	below := 0
	for _, w := range weights {
		if math.Abs(float64(w)) < spec.SparsityFloor*largest {
			below++
		}
	}
	*dst = float64(below) / float64(len(weights))
	return nil
}

func (p *structuredPrune) Stats() spec.StructuredPruneStats {
	s := p.stats
	if s.Weights > 0 {
		s.Sparsity = float64(s.Zeroed) / float64(s.Weights)
	}
	return s
}
