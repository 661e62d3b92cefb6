package fast

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/parallel"
	"github.com/squishspec/squishspec/fast/internal/topk"
	"github.com/squishspec/squishspec/spec"
)

// NewImageTokenPrune returns the optimised spec.ImageTokenPrune, or an error of
// kind spec.Invalid for a config out of range.
//
// The map is read once: what scores a token and what tells whether the map is one,
// the least element and the sums of the rows, come from one pass in float32. Heads
// are spread over the cores, and added up in float64. Tokens are selected, not
// sorted. Memory is 2/n_tokens of the map.
func NewImageTokenPrune(c spec.ImageTokenPruneConfig) (spec.ImageTokenPrune, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &imageTokenPrune{config: c}, nil
}

type imageTokenPrune struct {
	config          spec.ImageTokenPruneConfig
	attention       spec.Heads // during a call
	parts           []float32  // of the scores: of every token, head by head
	totals          []float32  // of the rows, head by head
	least           []float32  // element of each head, 0 where none is below
	scores, scratch []float64
	stats           spec.ImageTokenPruneStats
}

func (p *imageTokenPrune) Prune(dst *spec.PrunedTokens, attention spec.Heads) error {
	c := p.config
	if err := spec.CheckHeads("image-token-prune", "attn_weights", attention, c.NHeads, c.NTokens, c.NTokens); err != nil {
		return err
	}
	weights := c.NHeads * c.NTokens
	p.parts, p.totals = spec.Resize(p.parts, weights), spec.Resize(p.totals, weights)
	p.least = spec.Resize(p.least, c.NHeads)
	p.scores, p.scratch = spec.Resize(p.scores, c.NTokens), spec.Resize(p.scratch, c.NTokens)

	p.attention = attention
	parallel.Run(p, c.NHeads, float64(c.NTokens)*float64(c.NTokens)*imagePruneNS)
	p.attention = spec.Heads{}

	clear(p.scores)
	for h := range c.NHeads {
		if !p.isAttention(h, attention.Head(h)) {
			return c.CheckAttention(attention)
		}
		for i, part := range p.ofHead(p.parts, h) {
			p.scores[i] += float64(part)
		}
	}
	keep := c.KeepCount()
	dst.Kept, dst.Pruned = topk.Split(dst.Kept[:0], dst.Pruned[:0], p.scores, p.scratch, keep)
	p.stats.Calls++
	p.stats.Pruned += c.NTokens - keep
	return nil
}

// imagePruneNS is what an element of a map takes, from memory.
const imagePruneNS = 0.15

// Part scores the tokens by some of the heads.
func (p *imageTokenPrune) Part(_, lo, hi int) {
	// Beyond these an ε makes no difference to a score, or the same to all.
	eps := float32(min(max(p.config.Eps, 1e-30), 1e30))
	for h := lo; h < hi; h++ {
		head, scores, totals := p.attention.Head(h), p.ofHead(p.parts, h), p.ofHead(p.totals, h)
		if p.config.Variant == spec.Squish6 {
			p.least[h] = kern.NegEntropies(scores, totals, head.Data, eps)
		} else {
			clear(scores)
			p.least[h] = kern.AddWeightRows(scores, totals, head.Data, head.Cols)
		}
	}
}

// ofHead returns the share of a head's tokens in what is kept head by head.
func (p *imageTokenPrune) ofHead(x []float32, h int) []float32 {
	n := p.config.NTokens
	return x[h*n : (h+1)*n]
}

// isAttention reports whether a head's rows are weights that sum to 1. Where a sum in
// float32 is too near the limit to tell, or NaN, the row is added up again.
func (p *imageTokenPrune) isAttention(h int, head spec.Matrix) bool {
	const tolerance = 1e-3
	near := tolerance - roundoff*float64(head.Cols)
	for q, total := range p.ofHead(p.totals, h) {
		if math.Abs(float64(total)-1) <= near {
			continue
		}
		sum := 0.0
		for _, w := range head.Row(q) {
			sum += float64(w)
		}
		if !(math.Abs(sum-1) <= tolerance) {
			return false
		}
	}
	return p.least[h] >= 0
}

func (p *imageTokenPrune) Stats() spec.ImageTokenPruneStats { return p.stats }
