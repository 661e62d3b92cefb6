package spec

import (
	"fmt"
	"math"
	"reflect"
)

// BinaryAttn attends by the signs of queries and keys: Hamming attention (Horton et
// al. 2025, arXiv 2502.01770; the dot product is XNOR-Net's, arXiv 1603.05279).
//
// Page rows: binary-attn/forward, binary-attn/forward-best.
type BinaryAttn interface {
	// Forward writes, head by head, for q (heads, query tokens, dim) and k, v (heads,
	// key tokens, dim),
	//
	//	out = softmax(sign(q) · sign(k)ᵀ · softmax_scale) · v
	//
	// sign(x) is +1 for x ≥ 0, −0 among them, and −1 else. The dot product is a whole
	// number, dim − 2·(places where the signs differ). As variant squish6 it is divided
	// by dim once more, which makes attention nearly uniform, and 1e-9 is added to the
	// sum of the softmax, whose greatest term is 1.
	//
	// No tokens of either kind, shapes that do not fit, and a NaN in q or k are Invalid.
	// NaN and ±Inf in v spread through the head that they are in and no further.
	Forward(dst *Heads, q, k, v Heads) error
	Stats() BinaryAttnStats
}

// BinaryAttnPacked stores signs at 1 bit an element, so that keys are packed once and
// attended often.
//
// A token of a head takes ⌈dim/8⌉ bytes, and tokens follow each other as in the
// tensor, head by head. Bit i%8 of byte i/8, from the lowest, is element i: 1 for +1
// and 0 for −1. Bits beyond dim are 0. How many tokens there are follows from the
// number of bytes.
type BinaryAttnPacked interface {
	// Pack writes the signs of x (heads, tokens, dim). No tokens, another shape and a
	// NaN are Invalid.
	Pack(dst *[]uint8, x Heads) error
	// Unpack writes ±1. No bytes, a number of them that makes no whole tokens for all
	// heads, and bits beyond dim that are not 0 are Invalid.
	Unpack(dst *Heads, packed []uint8) error
	// ForwardPacked is Forward for packed queries and keys, and counts as such. What
	// Unpack refuses, and values of another number of tokens than the keys, are Invalid.
	ForwardPacked(dst *Heads, packedQ, packedK []uint8, v Heads) error
}

// BinaryAttnConfig configures BinaryAttn.
type BinaryAttnConfig struct {
	Variant Variant `wire:"variant"`  // Documented or Squish6
	NHeads  int     `wire:"n_heads"`  // ≥ 1, default 8
	HeadDim int     `wire:"head_dim"` // ≥ 1, default 64
	// SoftmaxScale is finite and > 0. Default 1/√HeadDim.
	SoftmaxScale float64 `wire:"softmax_scale"`
}

// DefaultBinaryAttnConfig returns the defaults for a head of headDim elements.
func DefaultBinaryAttnConfig(headDim int) BinaryAttnConfig {
	return BinaryAttnConfig{NHeads: 8, HeadDim: headDim, SoftmaxScale: 1 / math.Sqrt(float64(headDim))}
}

// Validate returns an Invalid error that names the field out of range.
func (c BinaryAttnConfig) Validate() error {
	const m = "binary-attn"
	return firstError(
		checkVariant(m, c.Variant, Squish6),
		atLeast(m, "n_heads", c.NHeads, 1),
		atLeast(m, "head_dim", c.HeadDim, 1),
		inRange(m, "softmax_scale", "a finite number above 0", c.SoftmaxScale,
			c.SoftmaxScale > 0 && !math.IsInf(c.SoftmaxScale, 1)),
	)
}

// TokenBytes is the number of bytes that the signs of a token take.
func (c BinaryAttnConfig) TokenBytes() int { return (c.HeadDim-1)/8 + 1 }

// CheckSigns rejects queries or keys of no tokens or another shape. It does not look
// for NaNs.
func (c BinaryAttnConfig) CheckSigns(name string, x Heads) error {
	if err := CheckHeads("binary-attn", name, x, c.NHeads, -1, c.HeadDim); err != nil {
		return err
	}
	if x.Tokens == 0 {
		return Reject(Invalid, "binary-attn", name, "at least 1 token", 0)
	}
	return nil
}

// CheckNoNaN rejects queries or keys with a NaN, which has no sign.
func (c BinaryAttnConfig) CheckNoNaN(name string, x Heads) error {
	for h := range x.Heads {
		for i, v := range x.Head(h).Data {
			if v != v {
				return Reject(Invalid, "binary-attn", fmt.Sprintf("%s[%d, %d, %d]", name, h, i/x.Dim, i%x.Dim), "a number", v)
			}
		}
	}
	return nil
}

// CheckValues rejects values that are not as many as the keys.
func (c BinaryAttnConfig) CheckValues(v Heads, keys int) error {
	return CheckHeads("binary-attn", "v", v, c.NHeads, keys, c.HeadDim)
}

// CheckPacked rejects bytes that Pack does not write, and returns the number of tokens
// in them.
func (c BinaryAttnConfig) CheckPacked(name string, packed []uint8) (tokens int, err error) {
	const m = "binary-attn"
	size := c.TokenBytes()
	token, ok := Volume(c.NHeads, size)
	if !ok || len(packed) == 0 || len(packed)%token != 0 {
		return 0, Reject(Invalid, m, name, fmt.Sprintf("a multiple of %d × %d bytes, and more than none", c.NHeads, size), len(packed))
	}
	if used := c.HeadDim - 8*(size-1); used < 8 {
		for last := size - 1; last < len(packed); last += size {
			if packed[last]>>used != 0 {
				return 0, Reject(Invalid, m, fmt.Sprintf("%s[%d]", name, last), fmt.Sprintf("0 in the bits from %d on", used), fmt.Sprintf("%08b", packed[last]))
			}
		}
	}
	return len(packed) / token, nil
}

// BinaryAttnStats count what Forward and ForwardPacked did.
type BinaryAttnStats struct {
	Calls  int `wire:"total_forward_calls"`
	Tokens int `wire:"total_tokens_processed"` // of the queries
}

// binaryExcuse completes the attention tolerance: queries and keys are ±1.
const binaryExcuse = "q and k here are signs; rows that a non-finite value reaches are excused; asked for while scale, scale·dim and |v| are below 2¹⁰⁰"

var binaryAttn = &Module{
	Name: "binary-attn", Wave: 24,
	Summary:   "attention by the signs of queries and keys",
	Interface: reflect.TypeFor[BinaryAttn](),
	Config:    DefaultBinaryAttnConfig(64),
	Defaults:  defaults(func(c BinaryAttnConfig) BinaryAttnConfig { return DefaultBinaryAttnConfig(c.HeadDim) }),
	Variants:  []Variant{Squish6},
	Operations: []Operation{
		op[BinaryAttn]("forward", named("out"), named("q"), named("k"), named("v")),
		op[BinaryAttn]("stats", Param{}),
		optional[BinaryAttnPacked]("pack", named("packed"), named("x")),
		optional[BinaryAttnPacked]("unpack", named("x"), Param{Name: "packed", AnyShape: true}),
		optional[BinaryAttnPacked]("forward_packed", named("out"), Param{Name: "packed_q", AnyShape: true},
			Param{Name: "packed_k", AnyShape: true}, named("v")),
	},
	Requirements: append([]Requirement{{
		ID: "binary-attn/attention", Level: Must, Kind: Law,
		Text:      "The output is softmax(sign(q) · sign(k)ᵀ · scale) · v, computed in big floats.",
		Tolerance: attentionTolerance + ", q and k being signs", Why: attentionWhy, Source: "page row binary-attn/forward: XNOR/popcount attention; arXiv 2502.01770",
	}, {
		ID: "binary-attn/signs", Level: Must, Kind: Law,
		Text:      "Only the signs of queries and keys count: numbers of any other magnitude, subnormal or infinite, give the same output.",
		Tolerance: "bitwise", Why: "signs are taken before any arithmetic", Source: "binarisation",
	}, {
		ID: "binary-attn/zeros", Level: Must, Kind: Law,
		Text:      "Zeros of either sign count as +1.",
		Tolerance: "bitwise", Why: "signs are taken before any arithmetic", Source: "rules for all modules: −0 equals +0; a test of the sign bit fails here",
	}, {
		ID: "binary-attn/flip", Level: Must, Kind: Law,
		Text:      "Turning the sign of some elements round, in all queries and keys of a head, changes nothing.",
		Tolerance: "bitwise", Why: "signs differ in as many places: the dot products are the same whole numbers", Source: "the dot product is dim − 2·popcount(q xor k)",
	}, {
		ID: "binary-attn/equal-keys", Level: Must, Kind: Law,
		Text:      "Where the signs of all keys are equal the output is the mean of the values.",
		Tolerance: attentionSums, Why: "all logits are the same number, and all weights too: only sums, rescaling and the division round", Source: "softmax of equal logits",
	}, {
		ID: "binary-attn/convex", Level: Must, Kind: Law,
		Text:      "Every output lies between the least and the greatest value of its head and dimension.",
		Tolerance: attentionSums, Why: attentionSumsWhy, Source: "softmax weights are a convex combination",
	}, {
		ID: "binary-attn/permutation", Level: Must, Kind: Law,
		Text:      "Keys in another order, with their values, give the same output.",
		Tolerance: "twice that of attention", Why: "two results, each off by its bound", Source: "attention knows no position",
	}, {
		ID: "binary-attn/rows", Level: Must, Kind: Law,
		Text:      "A query attended alone has the output that it has among others.",
		Tolerance: "twice that of attention", Why: "two results, each off by its bound", Source: "queries do not see each other: there is no mask",
	}, {
		ID: "binary-attn/match", Level: Must, Kind: Law,
		Text:      "A key whose logit is more than 200, and the rounding errors of two logits, above all others' gives its value.",
		Tolerance: attentionSums, Why: "the other weights are below e⁻²⁰⁰; keys differ in enough places for a scale that is large enough", Source: "softmax tends to the maximum",
	}, {
		ID: "binary-attn/non-finite", Level: Must, Kind: Law,
		Text:      "A NaN or an infinity in a value reaches no head but its own, and no later call.",
		Tolerance: "bitwise on heads that are not reached", Why: "they take part in no arithmetic with it", Source: "rules for all modules: attention lets NaN and ±Inf spread through the rows they touch and no further",
	}, {
		ID: "binary-attn/pack", Level: Must, Kind: Law, Needs: []string{"pack"},
		Text:      "Packed signs take ⌈dim/8⌉ bytes a token, the first element in the lowest bit, 1 for +1, and 0 in the bits beyond dim.",
		Tolerance: exact, Why: exactWhy, Source: "the module's contract: packed q and k at 1 bit an element",
	}, {
		ID: "binary-attn/unpack", Level: Must, Kind: Law, Needs: []string{"pack", "unpack"},
		Text:      "Unpacked signs are those that were packed, and pack to the same bytes again.",
		Tolerance: exact, Why: exactWhy, Source: "packed storage is lossless",
	}, {
		ID: "binary-attn/packed-attention", Level: Must, Kind: Law, Needs: []string{"pack", "forward_packed"},
		Text:      "Packed queries and keys, keys packed once and attended more than once, give the output of what they were packed from.",
		Tolerance: "twice that of attention", Why: "two results, each off by its bound; the dot products are the same whole numbers", Source: "the dot product is dim − 2·popcount(q xor k)",
	}, {
		ID: "binary-attn/pack-foreign", Level: Must, Kind: Refusal, Needs: []string{"unpack", "forward_packed"},
		Text:      "Bytes that packing does not write, with a bit beyond dim or in a number that makes no whole tokens, are refused.",
		Tolerance: exact, Why: exactWhy, Source: "packed storage is lossless: what packing cannot write has no meaning",
	}, {
		ID: "binary-attn/stats", Level: Must, Kind: Law,
		Text:      "Stats count calls and query tokens, packed or not.",
		Tolerance: exact, Why: exactWhy, Source: "the recording's stats",
	}, {
		ID: "binary-attn/attention-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, the output is softmax(sign(q) · sign(k)ᵀ · scale/dim) · v with 1e-9 more in the softmax's sum, computed in big floats.",
		Tolerance: attentionTolerance + ", q and k being signs", Why: attentionWhy, Source: "the recording",
	}}, common("binary-attn", []Variant{Squish6}, attentionTolerance+"; "+binaryExcuse+"; packed bytes and signs exact", attentionWhy, "attention in big floats")...),
}
