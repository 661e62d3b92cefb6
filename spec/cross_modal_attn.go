package spec

import (
	"fmt"
	"math"
	"reflect"
)

// CrossModalAttn lets text attend to vision: scaled dot-product attention
// (Vaswani et al. 2017, arXiv 1706.03762) with queries of one modality, and keys
// and values of the other.
//
// Page rows: cross-modal-attn/forward, cross-modal-attn/forward-best.
type CrossModalAttn interface {
	// Forward writes, head by head,
	//
	//	out = softmax(text_q · vision_kᵀ · softmax_scale) · vision_v
	//
	// for text_q (heads, text tokens, dim) and vision_k, vision_v (heads, vision
	// tokens, dim). No tokens of either kind, and shapes that do not fit, are
	// Invalid. NaN and ±Inf spread through the rows that they touch and no further.
	Forward(dst *Heads, textQ, visionK, visionV Heads) error
	Stats() CrossModalAttnStats
}

// CrossModalCosts counts the operations of Forward, so that the page's claim
// "seq × modality_len" can be held against a number.
type CrossModalCosts interface {
	// Flops writes the operations for so many text and vision tokens: 2·h·t·v·d
	// multiply-adds (4·h·t·v·d floating-point operations) and h·t·v exponentials.
	// A number below 1, and counts beyond int64, are Invalid.
	Flops(dst *AttentionOperations, textTokens, visionTokens int) error
}

// AttentionOperations are the operations of one attention.
type AttentionOperations struct {
	MulAdds int64 `wire:"mul_adds"`
	Exps    int64 `wire:"exps"`
}

// CrossModalAttnConfig configures CrossModalAttn.
type CrossModalAttnConfig struct {
	NTextHeads   int `wire:"n_text_heads"`   // ≥ 1, default 8
	NVisionHeads int `wire:"n_vision_heads"` // = NTextHeads, default 8
	HeadDim      int `wire:"head_dim"`       // ≥ 1, default 64
	// SoftmaxScale is finite and > 0. Default 1/√HeadDim.
	SoftmaxScale float64 `wire:"softmax_scale"`
}

// DefaultCrossModalAttnConfig returns the defaults for a head of headDim elements.
func DefaultCrossModalAttnConfig(headDim int) CrossModalAttnConfig {
	return CrossModalAttnConfig{NTextHeads: 8, NVisionHeads: 8, HeadDim: headDim, SoftmaxScale: 1 / math.Sqrt(float64(headDim))}
}

// Validate returns an Invalid error that names the field out of range.
func (c CrossModalAttnConfig) Validate() error {
	const m = "cross-modal-attn"
	return firstError(
		atLeast(m, "n_text_heads", c.NTextHeads, 1),
		inRange(m, "n_vision_heads", fmt.Sprintf("n_text_heads (%d)", c.NTextHeads), float64(c.NVisionHeads), c.NVisionHeads == c.NTextHeads),
		atLeast(m, "head_dim", c.HeadDim, 1),
		inRange(m, "softmax_scale", "a finite number above 0", c.SoftmaxScale,
			c.SoftmaxScale > 0 && !math.IsInf(c.SoftmaxScale, 1)),
	)
}

// CheckArguments rejects arguments of Forward that do not fit the config or each
// other.
func (c CrossModalAttnConfig) CheckArguments(textQ, visionK, visionV Heads) error {
	const m = "cross-modal-attn"
	if err := CheckHeads(m, "text_q", textQ, c.NTextHeads, -1, c.HeadDim); err != nil {
		return err
	}
	if textQ.Tokens == 0 {
		return Reject(Invalid, m, "text_q", "at least 1 token", 0)
	}
	if err := CheckHeads(m, "vision_k", visionK, c.NVisionHeads, -1, c.HeadDim); err != nil {
		return err
	}
	if visionK.Tokens == 0 {
		return Reject(Invalid, m, "vision_k", "at least 1 token", 0)
	}
	return CheckHeads(m, "vision_v", visionV, c.NVisionHeads, visionK.Tokens, c.HeadDim)
}

// CheckTokens rejects arguments of Flops.
func (c CrossModalAttnConfig) CheckTokens(textTokens, visionTokens int) error {
	const m = "cross-modal-attn"
	if err := firstError(atLeast(m, "text_tokens", textTokens, 1), atLeast(m, "vision_tokens", visionTokens, 1)); err != nil {
		return err
	}
	if _, ok := Volume(2, c.NTextHeads, textTokens, visionTokens, c.HeadDim); !ok {
		return Reject(Invalid, m, "vision_tokens", "operations that fit int64", fmt.Sprintf("%d × %d tokens", textTokens, visionTokens))
	}
	return nil
}

// CrossModalAttnStats count what Forward did.
type CrossModalAttnStats struct {
	Calls        int `wire:"total_forward_calls"`
	TextTokens   int `wire:"total_text_tokens"`
	VisionTokens int `wire:"total_vision_tokens"`
}

var crossModalAttn = &Module{
	Name: "cross-modal-attn", Wave: 23,
	Summary:   "text queries attend to vision keys and values",
	Interface: reflect.TypeFor[CrossModalAttn](),
	Config:    DefaultCrossModalAttnConfig(64),
	Defaults: defaults(func(c CrossModalAttnConfig) CrossModalAttnConfig {
		return DefaultCrossModalAttnConfig(c.HeadDim)
	}),
	Operations: []Operation{
		op[CrossModalAttn]("forward", named("out"), named("text_q"), named("vision_k"), named("vision_v")),
		op[CrossModalAttn]("stats", Param{}),
		optional[CrossModalCosts]("flops", Param{}, named("text_tokens"), named("vision_tokens")),
	},
	Requirements: append([]Requirement{{
		ID: "cross-modal-attn/attention", Level: Must, Kind: Law,
		Text:      "The output is softmax(text_q · vision_kᵀ · scale) · vision_v, computed in big floats.",
		Tolerance: attentionTolerance, Why: attentionWhy, Source: "Vaswani et al. 2017; page row cross-modal-attn/forward",
	}, {
		ID: "cross-modal-attn/convex", Level: Must, Kind: Law,
		Text:      "Every output lies between the least and the greatest value of its head and dimension.",
		Tolerance: attentionSums, Why: attentionSumsWhy, Source: "softmax weights are a convex combination",
	}, {
		ID: "cross-modal-attn/constant-values", Level: Must, Kind: Law,
		Text:      "Where all values of a head are one vector, the output is that vector.",
		Tolerance: attentionSums, Why: attentionSumsWhy, Source: "the weights sum to 1: there is no ε in the denominator",
	}, {
		ID: "cross-modal-attn/permutation", Level: Must, Kind: Law,
		Text:      "Vision tokens in another order, keys and values together, give the same output.",
		Tolerance: "twice that of attention", Why: "two results, each off by its bound", Source: "attention knows no position",
	}, {
		ID: "cross-modal-attn/rows", Level: Must, Kind: Law,
		Text:      "A text token attended alone has the output that it has among others.",
		Tolerance: "twice that of attention", Why: "two results, each off by its bound", Source: "queries do not see each other: there is no mask",
	}, {
		ID: "cross-modal-attn/shift", Level: Must, Kind: Law,
		Text:      "Adding one vector to every key changes nothing.",
		Tolerance: "that of attention, for the keys before and after", Why: "logits shift by a constant, their rounding errors grow with them", Source: "softmax is invariant to a shift",
	}, {
		ID: "cross-modal-attn/duplicates", Level: Must, Kind: Law,
		Text:      "Attending every vision token twice changes nothing.",
		Tolerance: "twice that of attention", Why: "two results, each off by its bound", Source: "weights halve, and come twice",
	}, {
		ID: "cross-modal-attn/masked-key", Level: Must, Kind: Law,
		Text:      "A key whose logit is more than 200 and the rounding errors of two logits below another's might as well not be there.",
		Tolerance: "twice that of attention", Why: "its weight is below e⁻²⁰⁰", Source: "removing a key is masking it with −∞",
	}, {
		ID: "cross-modal-attn/non-finite", Level: Must, Kind: Law,
		Text:      "A NaN or an infinity in a query row, a key or a value reaches no head but its own, in a query row no other row, and no later call.",
		Tolerance: "bitwise on rows that are not reached", Why: "they take part in no arithmetic with it", Source: "rules for all modules: attention lets NaN and ±Inf spread through the rows they touch and no further",
	}, {
		ID: "cross-modal-attn/flops", Level: Must, Kind: Law, Needs: []string{"flops"},
		Text:      "Attention of t text and v vision tokens costs 2·h·t·v·d multiply-adds and h·t·v exponentials.",
		Tolerance: exact, Why: exactWhy, Source: "the claim cross-modal-flops: seq × modality_len",
	}, {
		ID: "cross-modal-attn/stats", Level: Must, Kind: Law,
		Text:      "Stats count calls, text tokens and vision tokens.",
		Tolerance: exact, Why: exactWhy, Source: "the recording's stats",
	}}, common("cross-modal-attn", nil, attentionTolerance+"; "+attentionExcuse, attentionWhy, "attention in big floats")...),
}
