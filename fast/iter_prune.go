package fast

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/parallel"
	"github.com/squishspec/squishspec/fast/internal/radix"
	"github.com/squishspec/squishspec/spec"
)

// NewIterPrune returns an optimised spec.IterPrune, or an error of kind
// spec.Invalid for a config out of range. It also regrows: spec.IterPruneRegrow.
//
// A step is linear in the weights: the magnitude at which they are cut is selected by
// its bits, which checks them besides; one pass writes what lies above the cut, and a
// second one, only where ties are split, puts back the first of them. Large weights are
// cut for several goroutines. Beyond its result an instance needs usually an eighth of
// the weights' memory and at most all of it again, and to regrow as much once more.
func NewIterPrune(config spec.IterPruneConfig) (spec.IterPrune, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &iterPrune{config: config}, nil
}

type iterPrune struct {
	config spec.IterPruneConfig
	stats  spec.IterPruneStats // but for the mean

	// Scratch.
	selector   radix.Selector
	above      iterPruneAbove
	saliencies []float32 // of the weights that may come back
}

func (p *iterPrune) PruneStep(dst *spec.IterPruned, weights []float32, step int) error {
	cut, err := p.cut(weights, p.config.PruneCount(step, len(weights)))
	if err != nil {
		return err
	}
	dst.Pruned = spec.Resize(dst.Pruned, len(weights))
	p.write(dst.Pruned, weights, cut)
	p.finish(dst, weights, cut)
	return nil
}

func (p *iterPrune) PruneRegrow(dst *spec.IterPruned, weights []float32, step int, saliencies []float32) error {
	k := p.config.PruneCount(step, len(weights))
	cut, err := p.cut(weights, k)
	if err != nil {
		return err
	}
	if err := p.config.CheckSaliencies(saliencies, len(weights)); err != nil {
		return err
	}
	dst.Pruned = spec.Resize(dst.Pruned, len(weights))
	p.write(dst.Pruned, weights, cut)
	p.regrow(dst.Pruned, weights, k, cut, saliencies)
	p.finish(dst, weights, cut)
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

// A iterPruneCut says which weights go: all below the cut's magnitude, and of those
// that have it the last, all but the first stay of them.
type iterPruneCut struct {
	radix.Cut
	stay int
}

// cut returns where the k smallest end, and refuses weights that are empty or not
// finite.
func (p *iterPrune) cut(weights []float32, k int) (iterPruneCut, error) {
	cut, finite := p.selector.Smallest(weights, k)
	if len(weights) == 0 || !finite {
		return iterPruneCut{}, p.config.CheckWeights(weights)
	}
	if p.config.Variant == spec.Squish6 {
		return iterPruneCut{Cut: cut}, nil
	}
	return iterPruneCut{cut, cut.Below + cut.Equal - k}, nil
}

// write writes the weights, those that go as +0: first all without the cut's
// magnitude, and then, where ties are split, the first that have it.
func (p *iterPrune) write(dst, weights []float32, cut iterPruneCut) {
	if cut == (iterPruneCut{}) { // none goes, also no −0
		copy(dst, weights)
		return
	}
	p.above = iterPruneAbove{dst, weights, cut.Bits}
	const ns = 0.1 // a weight
	parallel.Run(&p.above, len(weights), ns)
	p.above = iterPruneAbove{}
	const block = 4096
	for stay := cut.stay; stay > 0; {
		n := min(block, len(weights))
		ties := kern.CountBelow(weights[:n], cut.Bits+1) - kern.CountBelow(weights[:n], cut.Bits)
		if ties <= stay {
			if ties > 0 {
				kern.Above(dst[:n], weights[:n], cut.Bits-1)
			}
			stay -= ties
			dst, weights = dst[n:], weights[n:]
			continue
		}
		for i := 0; stay > 0; i++ {
			if radix.Magnitude(weights[i]) == cut.Bits {
				dst[i] = weights[i]
				stay--
			}
		}
	}
}

// An iterPruneAbove copies the weights above a magnitude, given by its bits.
type iterPruneAbove struct {
	dst, weights []float32
	limit        uint32
}

func (a *iterPruneAbove) Part(_, lo, hi int) {
	const block = 1 << 16
	for ; lo < hi; lo += block {
		end := min(lo+block, hi)
		kern.Above(a.dst[lo:end], a.weights[lo:end], a.limit)
	}
}

// regrow puts back, of the k weights that pruned lacks, the non-zero ones of highest
// saliency, and takes as many of the smallest of the others out. Nothing branches on
// a weight but at ties.
func (p *iterPrune) regrow(pruned, weights []float32, k int, cut iterPruneCut, saliencies []float32) {
	nonZero := max(0, k-radix.CountBelow(weights, 1)) // zeros go first
	r := p.config.RegrowCount(k, len(weights), nonZero)
	if r == 0 {
		return
	}
	least, ties := p.leastSaliency(weights, cut, saliencies, r)
	// The smallest of the others are the next in the order in which weights go.
	next, _ := p.selector.Smallest(weights, k+r)
	p.write(pruned, weights, iterPruneCut{next, next.Below + next.Equal - k - r})

	order := func(x float32) int64 { // of numbers, as integers
		bits := int32(math.Float32bits(x))
		return int64(bits ^ bits>>31&math.MaxInt32)
	}
	limit := order(least)
	for i, w := range weights {
		gone := cut.goes(radix.Magnitude(w))
		s := saliencies[i] + 0
		back := gone & uint32(uint64(limit-order(s))>>63)
		if s == least && gone == 1 && ties > 0 {
			back = 1
			ties--
		}
		pruned[i] = math.Float32frombits(math.Float32bits(pruned[i]) | math.Float32bits(w)&-back)
	}
}

// goes returns 1 for a magnitude that is not 0 and goes, else 0. It is asked for the
// weights in order, and counts down those of the cut that stay.
func (c *iterPruneCut) goes(magnitude uint32) uint32 {
	if magnitude == c.Bits && magnitude > 0 {
		c.stay--
		return uint32(c.stay>>63) & 1
	}
	return (magnitude - c.Bits) >> 31 & (-magnitude >> 31)
}

// leastSaliency returns the least saliency of the r weights that come back, and how
// many of that saliency do. Those at least 0 stand at the front of the scratch memory,
// 4 bytes a weight, and those below at its end: of each, magnitudes are in order.
func (p *iterPrune) leastSaliency(weights []float32, cut iterPruneCut, saliencies []float32, r int) (least float32, ties int) {
	n := len(weights)
	p.saliencies = spec.Resize(p.saliencies, n)
	high, low := 0, n
	for i, w := range weights {
		s := saliencies[i] + 0 // −0 is 0
		gone, negative := cut.goes(radix.Magnitude(w)), math.Float32bits(s)>>31
		// What is written here stays only if the place is counted.
		p.saliencies[high] = s
		high += int(gone &^ negative)
		p.saliencies[low-1] = s
		low -= int(gone & negative)
	}
	if r <= high {
		c, _ := p.selector.Smallest(p.saliencies[:high], high-r+1)
		return math.Float32frombits(c.Bits), r - (high - c.Below - c.Equal)
	}
	c, _ := p.selector.Smallest(p.saliencies[low:], r-high)
	return -math.Float32frombits(c.Bits), r - high - c.Below
}

// finish writes the share of zeros and counts the step. A cut above 0 leaves no
// zero in, so that those that went are all there are; regrowing swaps non-zeros.
func (p *iterPrune) finish(dst *spec.IterPruned, weights []float32, cut iterPruneCut) {
	zeros := cut.Below + cut.Equal - cut.stay
	if cut.Bits == 0 {
		zeros = radix.CountBelow(weights, 1)
	}
	dst.Sparsity = float64(zeros) / float64(len(weights))
	p.stats.Steps++
	p.stats.Zeroed += zeros
	p.stats.Processed += len(weights)
}
