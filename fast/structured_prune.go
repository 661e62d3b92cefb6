package fast

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/fast/internal/dots"
	"github.com/squishspec/squishspec/fast/internal/nm"
	"github.com/squishspec/squishspec/fast/internal/topk"
	"github.com/squishspec/squishspec/spec"
)

// NewStructuredPrune returns the optimised spec.StructuredPrune, or an error of
// kind spec.Invalid for a config out of range. It also prunes rows:
// spec.StructuredPruneGroups.
func NewStructuredPrune(c spec.StructuredPruneConfig) (spec.StructuredPrune, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &structuredPrune{config: c, selector: nm.New(c.N, c.M)}, nil
}

type structuredPrune struct {
	config   spec.StructuredPruneConfig
	selector *nm.Selector
	squares  []float64                 // of the groups' norms
	order    []float64                 // the same, for topk to reorder
	stats    spec.StructuredPruneStats // but for the sparsity
}

func (p *structuredPrune) Prune(dst *spec.PrunedWeights, weights spec.Matrix) error {
	if err := p.config.CheckWeights(weights); err != nil {
		return err
	}
	dst.Pruned.Resize(weights.Rows, weights.Cols)
	dst.Mask = spec.Resize(dst.Mask, len(weights.Data))
	p.selector.Mask(dst.Mask, weights.Data)
	nm.Select(dst.Pruned.Data, weights.Data, dst.Mask)
	p.count(len(weights.Data), len(weights.Data)/p.config.M*(p.config.M-p.config.N))
	return nil
}

// PruneGroups computes each group's square once, selects where the kept ones end,
// and copies whole groups.
func (p *structuredPrune) PruneGroups(dst *spec.PrunedWeights, weights spec.Matrix) error {
	const m = "structured-prune"
	if err := spec.CheckMatrix(m, "weights", weights, -1, -1); err != nil {
		return err
	}
	if len(weights.Data) == 0 {
		return spec.Reject(spec.Invalid, m, "weights", "at least 1 row and 1 column", fmt.Sprintf("(%d, %d)", weights.Rows, weights.Cols))
	}
	groups := p.config.Groups(weights.Rows)
	p.squares = spec.Resize(p.squares, groups)
	for g := range p.squares {
		p.squares[g] = dots.Square(p.config.Group(weights, g))
		if s := p.squares[g]; math.IsInf(s, 0) || math.IsNaN(s) { // float32 squares do not overflow float64
			return spec.CheckFinite(m, "weights", weights.Data)
		}
	}
	p.order = append(p.order[:0], p.squares...)
	cut, ties := topk.Cut(p.order, groups-spec.DropCount(p.config.Sparsity, groups))

	dst.Pruned.Resize(weights.Rows, weights.Cols)
	dst.Mask = spec.Resize(dst.Mask, len(weights.Data))
	zeroed, mask := 0, dst.Mask
	for g, square := range p.squares {
		kept := square > cut || square == cut && ties > 0
		if square == cut {
			ties--
		}
		group, pruned := p.config.Group(weights, g), p.config.Group(dst.Pruned, g)
		if kept {
			copy(pruned, group)
		} else {
			clear(pruned)
			zeroed += len(group)
		}
		for i := range group {
			mask[i] = kept
		}
		mask = mask[len(group):]
	}
	p.count(len(weights.Data), zeroed)
	return nil
}

func (p *structuredPrune) count(weights, zeroed int) {
	p.stats.Calls++
	p.stats.Weights += weights
	p.stats.Zeroed += zeroed
}

func (p *structuredPrune) SparsityFraction(dst *float64, weights []float32) error {
	if err := p.config.CheckFlat(weights); err != nil {
		return err
	}
	largest := uint32(0) // magnitudes are ordered as their bits are
	for _, w := range weights {
		largest = max(largest, math.Float32bits(w)&math.MaxInt32)
	}
	if largest == 0 {
		*dst = 1
		return nil
	}
	floor := spec.SparsityFloor * float64(math.Float32frombits(largest))
	below := 0
	for _, w := range weights {
		if math.Abs(float64(w)) < floor {
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
