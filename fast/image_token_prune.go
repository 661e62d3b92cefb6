package fast

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/topk"
	"github.com/squishspec/squishspec/spec"
)

// NewImageTokenPrune returns the optimised spec.ImageTokenPrune, or an error of
// kind spec.Invalid for a config out of range.
//
// The map is read once, row by row: a row is added to the columns' sums and
// checked in the same pass. Tokens are selected, not sorted.
func NewImageTokenPrune(c spec.ImageTokenPruneConfig) (spec.ImageTokenPrune, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &imageTokenPrune{config: c, scores: make([]float64, c.NTokens), scratch: make([]float64, c.NTokens)}, nil
}

type imageTokenPrune struct {
	config          spec.ImageTokenPruneConfig
	scores, scratch []float64
	stats           spec.ImageTokenPruneStats
}

func (p *imageTokenPrune) Prune(dst *spec.PrunedTokens, attention spec.Heads) error {
	c := p.config
	if err := spec.CheckHeads("image-token-prune", "attn_weights", attention, c.NHeads, c.NTokens, c.NTokens); err != nil {
		return err
	}
	score := p.received
	if c.Variant == spec.Squish6 {
		score = p.negativeEntropy
	}
	clear(p.scores)
	if !score(attention) {
		return c.CheckAttention(attention)
	}
	keep := c.KeepCount()
	dst.Kept, dst.Pruned = topk.Split(dst.Kept[:0], dst.Pruned[:0], p.scores, p.scratch, keep)
	p.stats.Calls++
	p.stats.Pruned += c.NTokens - keep
	return nil
}

// received adds up the attention to every token, and reports whether the map is
// one. A NaN makes the least entry or the sum of its row one that is refused.
func (p *imageTokenPrune) received(attention spec.Heads) bool {
	for h := range attention.Heads {
		head := attention.Head(h)
		for q := range head.Rows {
			row := head.Row(q)
			scores := p.scores[:len(row)]
			sum, least := 0.0, float32(0)
			for k, w := range row {
				v := float64(w)
				scores[k] += v
				sum += v
				least = min(least, w)
			}
			if !isAttentionRow(sum, least) {
				return false
			}
		}
	}
	return true
}

// negativeEntropy adds up Σ p·ln(p + ε) of every token's rows, and reports whether
// the map is one. An entry of 0 adds nothing.
func (p *imageTokenPrune) negativeEntropy(attention spec.Heads) bool {
	eps := p.config.Eps
	for h := range attention.Heads {
		head := attention.Head(h)
		for q := range head.Rows {
			sum, entropy, least := 0.0, 0.0, float32(0)
			for _, w := range head.Row(q) {
				v := float64(w)
				sum += v
				least = min(least, w)
				if v > 0 {
					entropy += v * math.Log(v+eps)
				}
			}
			if !isAttentionRow(sum, least) {
				return false
			}
			p.scores[q] += entropy
		}
	}
	return true
}

func isAttentionRow(sum float64, least float32) bool {
	return least >= 0 && math.Abs(sum-1) <= 1e-3
}

func (p *imageTokenPrune) Stats() spec.ImageTokenPruneStats { return p.stats }
