package spec

import (
	"fmt"
	"math"
	"reflect"
)

// CrossDocAttn attends over several documents at once, exactly as over all of
// them joined, with the online softmax (Milakov & Gimelshein 2018,
// arXiv 1805.02867).
//
// Page rows: cross-doc-attn/forward, cross-doc-attn/forward-best.
type CrossDocAttn interface {
	// Forward writes, head by head,
	//
	//	out = softmax(query · joined keysᵀ · softmax_scale) · joined values
	//
	// for a query (heads, q, dim) and one pair (heads, kᵢ, dim) of keys and values
	// a document. No query tokens, no documents or more than MaxDocs, an empty
	// document, and shapes that do not fit are Invalid. NaN and ±Inf spread
	// through the rows that they touch and no further.
	Forward(dst *Heads, query Heads, keys, values []Heads) error
	Stats() CrossDocAttnStats
}

// CrossDocAttnConfig configures CrossDocAttn.
type CrossDocAttnConfig struct {
	NHeads  int `wire:"n_heads"`  // ≥ 1, default 8
	HeadDim int `wire:"head_dim"` // ≥ 1, default 64
	MaxDocs int `wire:"max_docs"` // ≥ 1, default 16
	// SoftmaxScale is finite and > 0. Default 1/√HeadDim.
	SoftmaxScale float64 `wire:"softmax_scale"`
}

// DefaultCrossDocAttnConfig returns the defaults for a head of headDim elements.
func DefaultCrossDocAttnConfig(headDim int) CrossDocAttnConfig {
	return CrossDocAttnConfig{NHeads: 8, HeadDim: headDim, MaxDocs: 16, SoftmaxScale: 1 / math.Sqrt(float64(headDim))}
}

// Validate returns an Invalid error that names the field out of range.
func (c CrossDocAttnConfig) Validate() error {
	const m = "cross-doc-attn"
	return firstError(
		atLeast(m, "n_heads", c.NHeads, 1),
		atLeast(m, "head_dim", c.HeadDim, 1),
		atLeast(m, "max_docs", c.MaxDocs, 1),
		inRange(m, "softmax_scale", "a finite number above 0", c.SoftmaxScale,
			c.SoftmaxScale > 0 && !math.IsInf(c.SoftmaxScale, 1)),
	)
}

// CheckArguments rejects arguments of Forward that do not fit the config or each
// other.
func (c CrossDocAttnConfig) CheckArguments(query Heads, keys, values []Heads) error {
	const m = "cross-doc-attn"
	if err := CheckHeads(m, "query", query, c.NHeads, -1, c.HeadDim); err != nil {
		return err
	}
	if query.Tokens == 0 {
		return Reject(Invalid, m, "query", "at least 1 token", 0)
	}
	if len(keys) < 1 || len(keys) > c.MaxDocs {
		return Reject(Invalid, m, "doc_keys", fmt.Sprintf("1 to %d documents", c.MaxDocs), len(keys))
	}
	if len(values) != len(keys) {
		return Reject(Invalid, m, "doc_values", fmt.Sprintf("%d documents, as many as keys", len(keys)), len(values))
	}
	for i := range keys {
		if err := c.checkDocument(keys[i], values[i]); err != nil {
			return fmt.Errorf("document %d: %w", i, err)
		}
	}
	return nil
}

func (c CrossDocAttnConfig) checkDocument(keys, values Heads) error {
	const m = "cross-doc-attn"
	if err := CheckHeads(m, "doc_keys", keys, c.NHeads, -1, c.HeadDim); err != nil {
		return err
	}
	if keys.Tokens == 0 {
		return Reject(Invalid, m, "doc_keys", "at least 1 token", 0)
	}
	return CheckHeads(m, "doc_values", values, c.NHeads, keys.Tokens, c.HeadDim)
}

// CrossDocAttnStats count what Forward did.
type CrossDocAttnStats struct {
	Calls int `wire:"total_forward_calls"`
	Docs  int `wire:"total_docs_attended"`
	// DocsPerCall is Docs/Calls, 0 before any call.
	DocsPerCall float64 `wire:"avg_docs_per_call"`
}

var crossDocAttn = &Module{
	Name: "cross-doc-attn", Wave: 23,
	Summary:   "attention over several documents, exactly as over all joined",
	Interface: reflect.TypeFor[CrossDocAttn](),
	Config:    DefaultCrossDocAttnConfig(64),
	Defaults: defaults(func(c CrossDocAttnConfig) CrossDocAttnConfig {
		return DefaultCrossDocAttnConfig(c.HeadDim)
	}),
	Operations: []Operation{
		op[CrossDocAttn]("forward", named("out"), named("query"), named("doc_keys"), named("doc_values")),
		op[CrossDocAttn]("stats", Param{}),
	},
	Requirements: append([]Requirement{{
		ID: "cross-doc-attn/joined", Level: Must, Kind: Law,
		Text:      "Attention over the documents is attention over all of them joined, computed in big floats.",
		Tolerance: attentionTolerance, Why: attentionWhy, Source: "Milakov & Gimelshein 2018; page row cross-doc-attn/forward",
	}, {
		ID: "cross-doc-attn/order", Level: Must, Kind: Law,
		Text:      "The order of the documents does not matter.",
		Tolerance: "twice that of joined", Why: "two results, each off by its bound", Source: "the merge is commutative",
	}, {
		ID: "cross-doc-attn/split", Level: Must, Kind: Law,
		Text:      "How the joined sequence is cut into documents does not matter.",
		Tolerance: "twice that of joined", Why: "two results, each off by its bound", Source: "the merge is associative",
	}, {
		ID: "cross-doc-attn/convex", Level: Must, Kind: Law,
		Text:      "Every output lies between the least and the greatest value of its head and dimension.",
		Tolerance: attentionSums, Why: attentionSumsWhy, Source: "softmax weights are a convex combination",
	}, {
		ID: "cross-doc-attn/constant-values", Level: Must, Kind: Law,
		Text:      "Where all values of a head are one vector, the output is that vector.",
		Tolerance: attentionSums, Why: attentionSumsWhy, Source: "the weights sum to 1: there is no ε in the denominator",
	}, {
		ID: "cross-doc-attn/shift", Level: Must, Kind: Law,
		Text:      "Adding one vector to every key of every document changes nothing.",
		Tolerance: "that of joined, for the keys before and after", Why: "logits shift by a constant, their rounding errors grow with them", Source: "softmax is invariant to a shift",
	}, {
		ID: "cross-doc-attn/duplicates", Level: Must, Kind: Law,
		Text:      "Attending every document twice changes nothing.",
		Tolerance: "twice that of joined", Why: "two results, each off by its bound", Source: "weights halve, and come twice",
	}, {
		ID: "cross-doc-attn/one-key", Level: Must, Kind: Law,
		Text:      "With one key in all, the output is its value.",
		Tolerance: attentionSums, Why: attentionSumsWhy, Source: "one weight, which is 1",
	}, {
		ID: "cross-doc-attn/far-logits", Level: Must, Kind: Law,
		Text:      "Where one key's logit is above all others by more than 200 and the rounding errors of two logits, the output is its value, however large the logits are.",
		Tolerance: attentionSums, Why: "every other weight is below e⁻²⁰⁰", Source: "softmax subtracts the maximum",
	}, {
		ID: "cross-doc-attn/non-finite", Level: Must, Kind: Law,
		Text:      "A NaN or an infinity in a query row, a key or a value reaches no head but its own, in a query row no other row, and no later call.",
		Tolerance: "bitwise on rows that are not reached", Why: "they take part in no arithmetic with it", Source: "rules for all modules: attention lets NaN and ±Inf spread through the rows they touch and no further",
	}, {
		ID: "cross-doc-attn/stats", Level: Must, Kind: Law,
		Text:      "Stats count calls and documents; their mean is documents/calls, 0 before any call.",
		Tolerance: "counts exact; mean 2⁻⁵⁰", Why: "one division in float64", Source: "the recording's stats",
	}}, common("cross-doc-attn", nil, attentionTolerance+"; "+attentionExcuse,
		attentionWhy, "attention over the joined documents in big floats")...),
}

const (
	attentionTolerance = "per output: u·((dim + 10)·max|logit|₁ + 8·keys + 16)·max|v| + (keys + 1)·u·2⁻¹²⁵, |logit|₁ = scale·Σ|qᵢkᵢ|"
	attentionWhy       = "the error of a logit is a relative error of its weight: dim + 10 roundings; each key costs an exponential (4), and to two sums an addition and a rescaling (4); underflow costs half a subnormal"
	attentionExcuse    = "a non-finite query row only as non-finite; rows that a non-finite key or value reaches are excused; asked for while scale, |v|, and |q|, |k|, Σ|qᵢkᵢ| alone and times the scale, are below 2¹⁰⁰"
	attentionSums      = "per output: u·(4·keys + 16)·max|v| + (keys + 1)·u·2⁻¹²⁵"
	attentionSumsWhy   = "wrong weights are weights all the same: only sums, rescaling and the division round"
)
