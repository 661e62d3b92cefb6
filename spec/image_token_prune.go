package spec

import (
	"fmt"
	"math"
	"reflect"
)

// ImageTokenPrune drops the image tokens that matter least to attention.
//
// Page rows: image-token-prune/prune, image-token-prune/prune-best.
type ImageTokenPrune interface {
	// Prune ranks the n_tokens tokens of an attention map (n_heads, n_tokens,
	// n_tokens), query by key, and drops those of least score; of equal ones the
	// later go.
	//
	//	documented  the mean over heads and queries of the attention that a token
	//	            receives; ⌊prune_ratio·n·(1+2⁻⁵⁰)⌋ go, and one at least stays
	//	squish6     the mean over heads of Σ p·ln(p + eps) over a token's own row;
	//	            prune_ratio·n go, rounded half to even, all of them if need be
	//
	// Another shape, an entry that is negative or not finite, and a row whose sum is
	// more than 10⁻³ from 1 are Invalid.
	Prune(dst *PrunedTokens, attention Heads) error
	Stats() ImageTokenPruneStats
}

// PrunedTokens are the tokens kept and those pruned, both ascending; together they
// are 0 … n−1.
type PrunedTokens struct {
	Kept   []int `wire:"kept"`
	Pruned []int `wire:"pruned"`
}

// ImageTokenPruneConfig configures ImageTokenPrune.
type ImageTokenPruneConfig struct {
	Variant    Variant `wire:"variant"`     // Documented or Squish6
	NTokens    int     `wire:"n_tokens"`    // ≥ 1, default 196
	PruneRatio float64 `wire:"prune_ratio"` // the share that goes, in [0, 1), default 0.5
	NHeads     int     `wire:"n_heads"`     // ≥ 1, default 8
	// Eps keeps the logarithm of squish6 finite; finite and > 0, default 10⁻⁹.
	Eps float64 `wire:"eps"`
}

// DefaultImageTokenPruneConfig returns the defaults.
func DefaultImageTokenPruneConfig() ImageTokenPruneConfig {
	return ImageTokenPruneConfig{NTokens: 196, PruneRatio: 0.5, NHeads: 8, Eps: 1e-9}
}

// Validate returns an Invalid error that names the field out of range.
func (c ImageTokenPruneConfig) Validate() error {
	const m = "image-token-prune"
	return firstError(
		checkVariant(m, c.Variant, Squish6),
		atLeast(m, "n_tokens", c.NTokens, 1),
		inRange(m, "prune_ratio", "a number in [0, 1)", c.PruneRatio, c.PruneRatio >= 0 && c.PruneRatio < 1),
		atLeast(m, "n_heads", c.NHeads, 1),
		inRange(m, "eps", "a finite number above 0", c.Eps, c.Eps > 0 && !math.IsInf(c.Eps, 1)),
		storesFit(m, c.NTokens),
	)
}

// KeepCount is the number of tokens that stay.
func (c ImageTokenPruneConfig) KeepCount() int {
	if c.Variant == Squish6 {
		return c.NTokens - int(math.RoundToEven(c.PruneRatio*float64(c.NTokens)))
	}
	return c.NTokens - DropCount(c.PruneRatio, c.NTokens)
}

// rowSumTolerance is how far the sum of an attention row may be from 1.
const rowSumTolerance = 1e-3

// CheckAttention rejects an argument of Prune.
func (c ImageTokenPruneConfig) CheckAttention(attention Heads) error {
	const m = "image-token-prune"
	if err := CheckHeads(m, "attn_weights", attention, c.NHeads, c.NTokens, c.NTokens); err != nil {
		return err
	}
	for h := range attention.Heads {
		for q := range attention.Tokens {
			sum := 0.0
			for k, p := range attention.Head(h).Row(q) {
				if !(p >= 0) || math.IsInf(float64(p), 1) {
					return Reject(Invalid, m, fmt.Sprintf("attn_weights[%d][%d][%d]", h, q, k), "a finite number of at least 0", p)
				}
				sum += float64(p)
			}
			if math.Abs(sum-1) > rowSumTolerance {
				return Reject(Invalid, m, fmt.Sprintf("attn_weights[%d][%d]", h, q), "a row whose sum is 1 within 0.001", sum)
			}
		}
	}
	return nil
}

// ImageTokenPruneStats count what Prune did.
type ImageTokenPruneStats struct {
	Calls  int `wire:"total_prune_calls"`
	Pruned int `wire:"total_tokens_pruned"`
}

const (
	receivedTolerance = "exact but for tokens within 4·u·(heads·n + 16) of each other's score, relative"
	receivedWhy       = "a column's sum of heads·n numbers, none negative, is off by so many roundings of itself"
	entropyTolerance  = "exact but for tokens within 4·u·(n + heads + 16)·(|score| + 1) of each other's score"
	entropyWhy        = "a row's sum of n terms is off by so many roundings of their magnitudes, which add up to its entropy; ln(p + ε) is off by one of its argument's besides"
)

var imageTokenPrune = &Module{
	Name: "image-token-prune", Wave: 23,
	Summary:   "image tokens dropped by the attention that they receive",
	Interface: reflect.TypeFor[ImageTokenPrune](),
	Config:    DefaultImageTokenPruneConfig(),
	Defaults:  defaults(func(ImageTokenPruneConfig) ImageTokenPruneConfig { return DefaultImageTokenPruneConfig() }),
	Variants:  []Variant{Squish6},
	Operations: []Operation{
		op[ImageTokenPrune]("prune", Param{}, named("attn_weights")),
		op[ImageTokenPrune]("stats", Param{}),
	},
	Requirements: append([]Requirement{{
		ID: "image-token-prune/partition", Level: Must, Kind: Law,
		Text:      "Tokens kept and tokens pruned ascend, and are together every token once.",
		Tolerance: exact, Why: exactWhy, Source: "a token stays or goes",
	}, {
		ID: "image-token-prune/count", Level: Must, Kind: Law,
		Text:      "⌊prune_ratio·n·(1+2⁻⁵⁰)⌋ tokens go, and at least one stays.",
		Tolerance: exact, Why: exactWhy, Source: "rules for all modules: a count from a ratio",
	}, {
		ID: "image-token-prune/received", Level: Must, Kind: Law,
		Text:      "No token goes that receives more attention than one that stays.",
		Tolerance: receivedTolerance, Why: receivedWhy, Source: "page row image-token-prune/prune: importance-score pruning; FastV (Chen et al. 2024); scores are compensated sums",
	}, {
		ID: "image-token-prune/sink", Level: Must, Kind: Law,
		Text:      "A token that every query attends to, and to no other, stays.",
		Tolerance: exact, Why: "the other scores are 0", Source: "what all look at matters",
	}, {
		ID: "image-token-prune/ties", Level: Must, Kind: Law,
		Text:      "Of tokens that every query of every head attends to alike, the earliest stay.",
		Tolerance: exact, Why: "equal columns go through equal arithmetic", Source: "rules for all modules: ties go to the lowest index",
	}, {
		ID: "image-token-prune/relabel", Level: Must, Kind: Law,
		Text:      "Renumbering the tokens renumbers those that stay.",
		Tolerance: receivedTolerance, Why: receivedWhy, Source: "a score depends on no index",
	}, {
		ID: "image-token-prune/heads", Level: Must, Kind: Law,
		Text:      "Reordering the heads, or giving every head twice, changes nothing.",
		Tolerance: receivedTolerance, Why: receivedWhy, Source: "scores are means over heads",
	}, {
		ID: "image-token-prune/nested", Level: Must, Kind: Law,
		Text:      "What a higher ratio keeps, a lower one keeps too.",
		Tolerance: exact, Why: "the ranking, whatever its rounding, does not depend on the ratio", Source: "a prefix of a ranking holds every shorter one",
	}, {
		ID: "image-token-prune/stats", Level: Must, Kind: Law,
		Text:      "Stats count calls and the tokens pruned.",
		Tolerance: exact, Why: exactWhy, Source: "the recording's stats",
	}, {
		ID: "image-token-prune/entropy-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, no token goes whose own row has a mean Σ p·ln(p + eps) above that of one that stays.",
		Tolerance: entropyTolerance, Why: entropyWhy, Source: "the recording",
	}, {
		ID: "image-token-prune/count-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, prune_ratio·n tokens go, rounded half to even, all of them if need be.",
		Tolerance: exact, Why: exactWhy, Source: "the recording",
	}}, common("image-token-prune", []Variant{Squish6}, receivedTolerance+"; squish6: "+entropyTolerance, receivedWhy+"; "+entropyWhy, "scores from compensated sums")...),
}
