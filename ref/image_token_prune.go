package ref

import (
	"cmp"
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// NewImageTokenPrune returns the reference of spec.ImageTokenPrune, or an error of
// kind spec.Invalid for a config out of range.
func NewImageTokenPrune(c spec.ImageTokenPruneConfig) (spec.ImageTokenPrune, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &imageTokenPrune{config: c}, nil
}

type imageTokenPrune struct {
	config spec.ImageTokenPruneConfig
	stats  spec.ImageTokenPruneStats
}

func (p *imageTokenPrune) Prune(dst *spec.PrunedTokens, attention spec.Heads) error {
	if err := p.config.CheckAttention(attention); err != nil {
		return err
	}
	scores := receivedAttention(attention)
	if p.config.Variant == spec.Squish6 {
		scores = negativeEntropy(attention, p.config.Eps)
	}
	order := byScore(scores)
	keep := p.config.KeepCount()
	dst.Kept = append(dst.Kept[:0], order[:keep]...)
	dst.Pruned = append(dst.Pruned[:0], order[keep:]...)
	slices.Sort(dst.Kept)
	slices.Sort(dst.Pruned)
	p.stats.Calls++
	p.stats.Pruned += len(dst.Pruned)
	return nil
}

// receivedAttention is the mean attention to each key over heads and queries.
func receivedAttention(attention spec.Heads) []float64 {
	scores := make([]float64, attention.Dim)
	for key := range scores {
		for h := range attention.Heads {
			for q := range attention.Tokens {
				scores[key] += float64(attention.Head(h).Row(q)[key])
			}
		}
		scores[key] /= float64(attention.Heads * attention.Tokens)
	}
	return scores
}

// negativeEntropy is the mean over heads of Σ p·ln(p + ε) over each query's row.
func negativeEntropy(attention spec.Heads, eps float64) []float64 {
	scores := make([]float64, attention.Tokens)
	for q := range scores {
		for h := range attention.Heads {
			sum := 0.0
			for _, p := range attention.Head(h).Row(q) {
				sum += float64(float64(p) * math.Log(float64(p)+eps))
			}
			scores[q] += sum
		}
		scores[q] /= float64(attention.Heads)
	}
	return scores
}

// byScore returns the indices of the scores, greatest first, of equal ones the
// lowest.
func byScore(scores []float64) []int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	return order
}

func (p *imageTokenPrune) Stats() spec.ImageTokenPruneStats { return p.stats }
