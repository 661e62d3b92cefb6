package spec

import (
	"math"
	"reflect"
)

// CotCompress shortens a chain-of-thought trace by keeping its most salient
// tokens.
//
// Page rows: cot-compress/compress-256, cot-compress/compress-64.
type CotCompress interface {
	// Compress writes the tokens that are kept, in their order. With n tokens,
	//
	//	drop = ⌊compress_ratio·n·(1+2⁻⁵⁰)⌋
	//	kept = min(n, max(min_tokens, n − drop))
	//
	// of highest saliency stay; ties go to the earliest position. No tokens are
	// Invalid. A nil query means there is none.
	//
	// Documented (BM25 and entropy): the trace is cut into steps, after each token
	// that is one of Separators, which ends its step, or where there are none every
	// StepTokens. With N steps, dl a step's length and avgdl its mean, tf a token's
	// count in its step and df the number of steps that have it,
	//
	//	B = ln(1 + (N−df+½)/(df+½)) · tf·(k1+1) / (tf + k1·(1−b+b·dl/avgdl))
	//
	// with k1 = 1.2 and b = 0.75, doubled where the token occurs in the query, and
	// I = −log₂(count in the trace / n). Saliency is α·B + (1−α)·I, B and I each
	// scaled to [0, 1] over the trace by minimum and maximum. A component whose
	// range is ≤ 1e-6·max|component| is constant, and 0.
	//
	// Squish6: saliency n/(count + Smoothing), and n − drop is round((1−ratio)·n),
	// half to even.
	Compress(dst *[]int64, tokens, query []int64) error
	Stats() CotCompressStats
}

// CotCompressConfig configures CotCompress.
type CotCompressConfig struct {
	Variant Variant `wire:"variant"` // Documented or Squish6
	// CompressRatio is the share of tokens to drop, in [0, 1). Default 0.4.
	CompressRatio float64 `wire:"compress_ratio"`
	// MinTokens is the least number to keep, ≥ 1. Default 16.
	MinTokens int `wire:"min_tokens"`
	// Separators end a step. Default none.
	Separators []int64 `wire:"separators"`
	// StepTokens is a step's length where there are no separators, ≥ 1. Default 16.
	StepTokens int `wire:"step_tokens"`
	// Alpha weighs BM25 against self-information, in [0, 1]. Default 0.5.
	Alpha float64 `wire:"alpha"`
	// Smoothing is squish6's, finite and > 0. Default 1e-9.
	Smoothing float64 `wire:"smoothing"`
}

// DefaultCotCompressConfig returns the defaults.
func DefaultCotCompressConfig() CotCompressConfig {
	return CotCompressConfig{CompressRatio: 0.4, MinTokens: 16, StepTokens: 16, Alpha: 0.5, Smoothing: 1e-9}
}

// Validate returns an Invalid error that names the field out of range.
func (c CotCompressConfig) Validate() error {
	const m = "cot-compress"
	return firstError(
		checkVariant(m, c.Variant, Squish6),
		inRange(m, "compress_ratio", "a number in [0, 1)", c.CompressRatio, c.CompressRatio >= 0 && c.CompressRatio < 1),
		atLeast(m, "min_tokens", c.MinTokens, 1),
		atLeast(m, "step_tokens", c.StepTokens, 1),
		inRange(m, "alpha", "a number in [0, 1]", c.Alpha, c.Alpha >= 0 && c.Alpha <= 1),
		inRange(m, "smoothing", "a finite number above 0", c.Smoothing, c.Smoothing > 0 && !math.IsInf(c.Smoothing, 1)),
	)
}

// Kept returns how many of n tokens stay, in either variant.
func (c CotCompressConfig) Kept(n int) int {
	stay := n - DropCount(c.CompressRatio, n)
	if c.Variant == Squish6 {
		stay = int(math.RoundToEven(float64((1 - c.CompressRatio) * float64(n))))
	}
	return min(n, max(c.MinTokens, stay))
}

// CotCompressStats count what Compress did.
type CotCompressStats struct {
	Calls     int `wire:"total_compress_calls"`
	TokensIn  int `wire:"total_tokens_in"`
	TokensOut int `wire:"total_tokens_out"`
	// Ratio is 1 − out/in, 0 before any call.
	Ratio float64 `wire:"avg_compression_ratio"`
}

var cotCompress = &Module{
	Name: "cot-compress", Wave: 23,
	Summary:   "the most salient tokens of a chain-of-thought trace",
	Interface: reflect.TypeFor[CotCompress](),
	Config:    DefaultCotCompressConfig(),
	Defaults:  defaults(func(CotCompressConfig) CotCompressConfig { return DefaultCotCompressConfig() }),
	Variants:  []Variant{Squish6},
	Operations: []Operation{
		op[CotCompress]("compress", named("kept"), named("token_ids"), Param{Name: "query_ids", Optional: true}),
		op[CotCompress]("stats", Param{}),
	},
	Requirements: append([]Requirement{{
		ID: "cot-compress/subsequence", Level: Must, Kind: Law,
		Text:      "The kept tokens are a subsequence of the trace.",
		Tolerance: exact, Why: exactWhy, Source: "compression keeps or drops, and keeps the order",
	}, {
		ID: "cot-compress/count", Level: Must, Kind: Law,
		Text:      "min(n, max(min_tokens, n − ⌊compress_ratio·n·(1+2⁻⁵⁰)⌋)) tokens are kept.",
		Tolerance: exact, Why: exactWhy, Source: "rules for all modules: a count from a ratio",
	}, {
		ID: "cot-compress/saliency", Level: Must, Kind: Law,
		Text:      "No token is dropped whose saliency is above that of a kept one.",
		Tolerance: "saliencies within 2⁻³⁰·max(1, u·2²⁴) of the cut may swap", Why: "saliencies lie in [0, 1] and pass through two logarithms and two scalings in float64; a lower precision swaps more",
		Source: "page row cot-compress/compress-256: BM25 + entropy filtering; saliencies are counted anew, token by token",
	}, {
		ID: "cot-compress/identity", Level: Must, Kind: Law,
		Text:      "With compress_ratio 0, or no more than min_tokens tokens, the trace comes back whole.",
		Tolerance: exact, Why: exactWhy, Source: "nothing is to be dropped",
	}, {
		ID: "cot-compress/nested", Level: Must, Kind: Law,
		Text:      "What a higher ratio keeps, a lower one keeps too.",
		Tolerance: exact, Why: "the ranking, whatever its rounding, does not depend on the ratio", Source: "a prefix of a ranking holds every shorter one",
	}, {
		ID: "cot-compress/renaming", Level: Must, Kind: Law,
		Text:      "Renaming the vocabulary, one to one, renames the kept tokens.",
		Tolerance: exact, Why: "the arithmetic is the same", Source: "saliency counts ids, and knows no order of them",
	}, {
		ID: "cot-compress/ties", Level: Must, Kind: Law,
		Text:      "Of tokens that occur equally often in the trace, in their step and over the steps, in steps of one length and equally asked for, the earliest are kept.",
		Tolerance: "exact; other tokens whose saliency is within 2⁻³⁰·max(1, u·2²⁴) of the cut excuse a trace", Why: "equal counts go through equal arithmetic", Source: "rules for all modules: ties go to the lowest index",
	}, {
		ID: "cot-compress/query", Level: Must, Kind: Law,
		Text:      "Adding a token to the query never keeps fewer of its occurrences.",
		Tolerance: "exact; unlike tokens within 2⁻²⁰·max(1, u·2¹⁴) of the cut excuse a trace", Why: "closer ones may swap",
		Source: "the weights are not negative: that one doubles never costs it, after scaling, a place that it held against an unchanged one",
	}, {
		ID: "cot-compress/stats", Level: Must, Kind: Law,
		Text:      "Stats count calls, tokens in and tokens out; the ratio is 1 − out/in, 0 before any call.",
		Tolerance: "counts exact; ratio 2e-9", Why: "the recording adds 1e-9 to its denominator, which is off by as much, and by rounding", Source: "the recording's stats",
	}, {
		ID: "cot-compress/rarest-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, no token is dropped while one of a higher count is kept, and of equal counts the earliest stay.",
		Tolerance: exact, Why: "n/(count + smoothing) orders by count as long as smoothing resolves; counts decide", Source: "the recording: saliency n/(count + smoothing)",
	}, {
		ID: "cot-compress/count-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, min(n, max(min_tokens, round((1−ratio)·n))) tokens are kept, half to even.",
		Tolerance: exact, Why: exactWhy, Source: "the recording",
	}}, common("cot-compress", []Variant{Squish6},
		"saliencies within 2⁻³⁰·max(1, u·2²⁴) of the cut may swap, all else exact; ratio 2e-9",
		"as saliency", "saliencies counted anew, token by token")...),
}
