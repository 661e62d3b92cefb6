package fast

import (
	"math"
	"sync/atomic"

	"github.com/squishspec/squishspec/fast/internal/dots"
	"github.com/squishspec/squishspec/fast/internal/nm"
	"github.com/squishspec/squishspec/fast/internal/parallel"
	"github.com/squishspec/squishspec/fast/internal/radix"
	"github.com/squishspec/squishspec/fast/internal/topk"
	"github.com/squishspec/squishspec/spec"
)

// NewStructuredPrune returns the optimised spec.StructuredPrune, or an error of
// kind spec.Invalid for a config out of range. It also prunes rows:
// spec.StructuredPruneGroups.
//
// Weights are read once, or twice where whole rows go, and whether they are finite
// comes out besides. Beyond its results an instance needs 17 bytes a group of rows.
func NewStructuredPrune(c spec.StructuredPruneConfig) (spec.StructuredPrune, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &structuredPrune{config: c}, nil
}

type structuredPrune struct {
	config spec.StructuredPruneConfig
	stats  spec.StructuredPruneStats // but for the sparsity

	// Scratch.
	ofM      pruneOfM
	squares  pruneSquares
	order    []float64 // the squares, for topk to reorder
	rows     pruneRows
	selector radix.Selector
}

func (p *structuredPrune) Prune(dst *spec.PrunedWeights, weights spec.Matrix) error {
	n := len(weights.Data)
	if !isMatrix(weights) || weights.Cols%p.config.M != 0 {
		return p.config.CheckWeights(weights)
	}
	dst.Pruned.Resize(weights.Rows, weights.Cols)
	dst.Mask = spec.Resize(dst.Mask, n)
	if !p.ofM.prune(dst, weights.Data, p.config.N, p.config.M) {
		return p.config.CheckWeights(weights)
	}
	p.count(n, n/p.config.M*(p.config.M-p.config.N))
	return nil
}

// isMatrix reports whether a matrix has elements, as many as its shape says.
func isMatrix(m spec.Matrix) bool {
	return len(m.Data) > 0 && spec.CheckMatrix("", "", m, -1, -1) == nil
}

// A pruneOfM keeps N of every M weights.
type pruneOfM struct {
	dst         *spec.PrunedWeights
	weights     []float32
	m           int
	selectors   []*nm.Selector // one a part
	isNotFinite atomic.Bool
}

// prune returns whether all weights are finite.
func (o *pruneOfM) prune(dst *spec.PrunedWeights, weights []float32, n, m int) bool {
	o.dst, o.weights, o.m = dst, weights, m
	o.isNotFinite.Store(false)
	groups, ns := len(weights)/m, nm.NS(m)*float64(m)
	for len(o.selectors) < parallel.Parts(groups, ns) {
		o.selectors = append(o.selectors, nm.New(n, m))
	}
	parallel.Run(o, groups, ns)
	o.dst, o.weights = nil, nil
	return !o.isNotFinite.Load()
}

func (o *pruneOfM) Part(number, lo, hi int) {
	block := 1<<14/o.m + 1 // groups
	for ; lo < hi; lo += block {
		from, to := lo*o.m, min(lo+block, hi)*o.m
		if !o.selectors[number].Prune(o.dst.Pruned.Data[from:to], o.dst.Mask[from:to], o.weights[from:to]) {
			o.isNotFinite.Store(true)
		}
	}
}

// PruneGroups computes each group's square once, selects where the kept ones end,
// and copies whole groups.
func (p *structuredPrune) PruneGroups(dst *spec.PrunedWeights, weights spec.Matrix) error {
	if !isMatrix(weights) {
		return p.config.CheckGroups(weights)
	}
	squares := p.squares.of(p.config, weights)
	for _, s := range squares {
		if math.IsInf(s, 0) || math.IsNaN(s) { // float32 squares do not overflow float64
			return p.config.CheckGroups(weights)
		}
	}
	groups := len(squares)
	p.order = append(p.order[:0], squares...)
	cut, ties := topk.Cut(p.order, groups-spec.DropCount(p.config.Sparsity, groups))
	p.rows.kept = spec.Resize(p.rows.kept, groups)
	zeroed := 0
	for g, square := range squares {
		p.rows.kept[g] = square > cut || square == cut && ties > 0
		if square == cut {
			ties--
		}
		if !p.rows.kept[g] {
			zeroed += len(p.config.Group(weights, g))
		}
	}
	dst.Pruned.Resize(weights.Rows, weights.Cols)
	dst.Mask = spec.Resize(dst.Mask, len(weights.Data))
	p.rows.write(p.config, dst, weights)
	p.count(len(weights.Data), zeroed)
	return nil
}

// pruneSquares are the squares of the groups' norms.
type pruneSquares struct {
	config  spec.StructuredPruneConfig
	weights spec.Matrix
	squares []float64
}

func (s *pruneSquares) of(c spec.StructuredPruneConfig, weights spec.Matrix) []float64 {
	s.config, s.weights = c, weights
	s.squares = spec.Resize(s.squares, c.Groups(weights.Rows))
	const ns = 0.1 // a weight
	parallel.Run(s, len(s.squares), ns*float64(len(c.Group(weights, 0))))
	s.weights = spec.Matrix{}
	return s.squares
}

func (s *pruneSquares) Part(_, lo, hi int) {
	for g := lo; g < hi; g++ {
		s.squares[g] = dots.Square(s.config.Group(s.weights, g))
	}
}

// pruneRows copies the groups that are kept.
type pruneRows struct {
	config  spec.StructuredPruneConfig
	kept    []bool // of the groups
	dst     *spec.PrunedWeights
	weights spec.Matrix
}

func (r *pruneRows) write(c spec.StructuredPruneConfig, dst *spec.PrunedWeights, weights spec.Matrix) {
	r.config, r.dst, r.weights = c, dst, weights
	const ns = 0.1 // a weight
	parallel.Run(r, len(r.kept), ns*float64(len(c.Group(weights, 0))))
	r.dst, r.weights = nil, spec.Matrix{}
}

func (r *pruneRows) Part(_, lo, hi int) {
	size := len(r.config.Group(r.weights, 0))
	for g := lo; g < hi; g++ {
		group, pruned := r.config.Group(r.weights, g), r.config.Group(r.dst.Pruned, g)
		mask := r.dst.Mask[g*size:][:len(group)]
		if !r.kept[g] {
			clear(pruned)
			clear(mask)
			continue
		}
		copy(pruned, group)
		for len(mask) > 0 {
			mask = mask[copy(mask, allKept[:]):]
		}
	}
}

// allKept is a stretch of a mask.
var allKept = func() (mask [1024]bool) {
	for i := range mask {
		mask[i] = true
	}
	return mask
}()

func (p *structuredPrune) count(weights, zeroed int) {
	p.stats.Calls++
	p.stats.Weights += weights
	p.stats.Zeroed += zeroed
}

func (p *structuredPrune) SparsityFraction(dst *float64, weights []float32) error {
	largest := p.selector.Largest(weights) // magnitudes are ordered as their bits are
	if len(weights) == 0 || largest >= math.Float32bits(float32(math.Inf(1))) {
		return p.config.CheckFlat(weights)
	}
	if largest == 0 {
		*dst = 1
		return nil
	}
	// |w| is below the floor where it is below the least float32 that is not.
	floor := spec.SparsityFloor * float64(math.Float32frombits(largest))
	limit := float32(floor)
	if float64(limit) < floor {
		limit = math.Nextafter32(limit, 1)
	}
	*dst = float64(radix.CountBelow(weights, math.Float32bits(limit))) / float64(len(weights))
	return nil
}

func (p *structuredPrune) Stats() spec.StructuredPruneStats {
	s := p.stats
	if s.Weights > 0 {
		s.Sparsity = float64(s.Zeroed) / float64(s.Weights)
	}
	return s
}
