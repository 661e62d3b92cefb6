package spec

import (
	"math"
	"reflect"
)

// TernaryQuant quantises weights to {−1, 0, +1} and one scale: BitNet b1.58
// (arXiv 2402.17764) with the rounding written as a threshold.
//
// Page rows: ternary-quant/quantize, ternary-quant/dequantize.
type TernaryQuant interface {
	// Quantize writes, for weights of any shape, taken flat,
	//
	//	scale = mean |w|
	//	code  = +1 where w > t·scale, −1 where w < −t·scale, else 0
	//
	// with t the zero threshold and the comparison in float64 against the
	// unrounded scale. All-zero weights have scale 0 and codes 0. Empty or
	// non-finite weights are Invalid.
	Quantize(dst *TernaryWeights, weights []float32) error
	// Dequantize writes code × scale; a zero code gives +0. No codes, a code
	// outside {−1, 0, +1} and a non-finite scale are Invalid.
	Dequantize(dst *[]float32, codes []int8, scale float32) error
	Stats() TernaryQuantStats
}

// TernaryBase3 stores codes five to a byte, 1.6 bits a weight.
//
// Byte b holds codes 5b…5b+4 as the digits of Σ (code+1)·3ⁱ, the first code
// least significant. The last byte is filled up with code 0.
type TernaryBase3 interface {
	// PackBase3 writes ⌈n/5⌉ bytes. No codes, and a code outside {−1, 0, +1},
	// are Invalid.
	PackBase3(dst *[]uint8, codes []int8) error
	// UnpackBase3 writes n codes. n < 1, another number of bytes than ⌈n/5⌉, a
	// byte above 242 and a filling that is not code 0 are Invalid.
	UnpackBase3(dst *[]int8, packed []uint8, n int) error
}

// Ternary2Bit stores codes four to a byte, 2 bits a weight.
//
// Byte b holds codes 4b…4b+3 as code+1 in two bits each, the first code in the
// lowest bits. The last byte is filled up with code 0.
type Ternary2Bit interface {
	// Pack2bit writes ⌈n/4⌉ bytes. No codes, and a code outside {−1, 0, +1}, are
	// Invalid.
	Pack2bit(dst *[]uint8, codes []int8) error
	// Unpack2bit writes n codes. n < 1, another number of bytes than ⌈n/4⌉, the
	// two bits 11 and a filling that is not code 0 are Invalid.
	Unpack2bit(dst *[]int8, packed []uint8, n int) error
}

// TernaryQuantConfig configures TernaryQuant.
type TernaryQuantConfig struct {
	// ZeroThreshold is t, finite and > 0. Default 0.5, which is BitNet's
	// rounding; the page ran 0.05.
	ZeroThreshold float64 `wire:"zero_threshold"`
}

// DefaultTernaryQuantConfig returns the defaults.
func DefaultTernaryQuantConfig() TernaryQuantConfig { return TernaryQuantConfig{ZeroThreshold: 0.5} }

// Validate returns an Invalid error that names the field out of range.
func (c TernaryQuantConfig) Validate() error {
	return inRange("ternary-quant", "zero_threshold", "a finite number above 0", c.ZeroThreshold,
		c.ZeroThreshold > 0 && !math.IsInf(c.ZeroThreshold, 1))
}

// TernaryWeights are quantised weights: weight i is Codes[i]·Scale.
type TernaryWeights struct {
	// Codes are in {−1, 0, +1}.
	Codes []int8 `wire:"ternary,like=weights"`
	// Scale is mean |w|, rounded to float32 once.
	Scale float32 `wire:"scale"`
}

// TernaryQuantStats count what Quantize did.
type TernaryQuantStats struct {
	Calls   int `wire:"total_quantize_calls"`
	Weights int `wire:"total_weights_quantized"`
	Zeros   int `wire:"total_zeros"`
	// Sparsity is Zeros/Weights, 0 before any call.
	Sparsity float64 `wire:"sparsity"`
}

var ternaryQuant = &Module{
	Name: "ternary-quant", Wave: 24,
	Summary:   "weights as {−1, 0, +1} and one scale, packed at 1.6 or 2 bits",
	Interface: reflect.TypeFor[TernaryQuant](),
	Config:    DefaultTernaryQuantConfig(),
	Defaults:  defaults(func(TernaryQuantConfig) TernaryQuantConfig { return DefaultTernaryQuantConfig() }),
	Operations: []Operation{
		op[TernaryQuant]("quantize", Param{}, Param{Name: "weights", AnyShape: true}),
		op[TernaryQuant]("dequantize", Param{Name: "weights", Like: "ternary"},
			Param{Name: "ternary", Alias: "ternary_weights", AnyShape: true}, named("scale")),
		op[TernaryQuant]("stats", Param{}),
		optional[TernaryBase3]("pack_base3", named("packed"), Param{Name: "ternary", AnyShape: true}),
		optional[TernaryBase3]("unpack_base3", named("ternary"), named("packed"), named("n")),
		optional[Ternary2Bit]("pack_2bit", named("packed"), Param{Name: "ternary", AnyShape: true}),
		optional[Ternary2Bit]("unpack_2bit", named("ternary"), named("packed"), named("n")),
	},
	Requirements: append([]Requirement{{
		ID: "ternary-quant/alphabet", Level: Must, Kind: Law,
		Text:      "Every code is −1, 0 or +1, and there is one for every weight.",
		Tolerance: exact, Why: exactWhy, Source: "BitNet b1.58, arXiv 2402.17764; page row ternary-quant/quantize",
	}, {
		ID: "ternary-quant/threshold", Level: Must, Kind: Law,
		Text:      "A code is +1 exactly where w > t·scale, −1 exactly where w < −t·scale, and 0 elsewhere.",
		Tolerance: "exact, weights within max(2⁻²⁰, 16u) (relative) of the threshold excused",
		Why:       "a scale summed in another order moves the threshold by less than that; the bound is closed-form, from a big-float mean",
		Source:    "BitNet b1.58's rounding at t = ½",
	}, {
		ID: "ternary-quant/scale", Level: Must, Kind: Law,
		Text:      "The scale is the mean of |w|.",
		Tolerance: "((3 + ⌊log₂ n⌋)·u + n·2⁻⁵³)·mean|w| + u·2⁻¹²⁵",
		Why:       "one rounding of the mean and one of the published number; a pairwise sum of n magnitudes in working precision adds a rounding for each time that n is halved, one in float64 n·2⁻⁵³; u·2⁻¹²⁵ is the spacing of subnormals",
		Source:    "BitNet b1.58; summed again in 200-bit floats",
	}, {
		ID: "ternary-quant/odd", Level: Must, Kind: Law,
		Text:      "Weights of opposite sign have opposite codes and the same scale.",
		Tolerance: exact, Why: "magnitudes are the same numbers, summed in the same order", Source: "the threshold is symmetric",
	}, {
		ID: "ternary-quant/power-of-two", Level: Must, Kind: Law,
		Text:      "Weights times 2ᵏ have the same codes, and the scale times 2ᵏ.",
		Tolerance: exact, Why: "a multiplication by a power of two is exact while nothing under- or overflows", Source: "the formula is homogeneous",
	}, {
		ID: "ternary-quant/permutation", Level: Must, Kind: Law,
		Text:      "Permuted weights have permuted codes.",
		Tolerance: "exact, weights within max(2⁻²⁰, 16u) of the threshold excused", Why: "another order of summation may move the scale's last bits",
		Source: "the formula knows no position",
	}, {
		ID: "ternary-quant/zeros-nested", Level: Must, Kind: Law,
		Text:      "A higher threshold only turns codes into zeros.",
		Tolerance: exact, Why: "the scale does not depend on the threshold", Source: "the thresholds are nested",
	}, {
		ID: "ternary-quant/codes-idempotent", Level: Must, Kind: Law,
		Text:      "Quantising the dequantised weights again gives the same codes, where t times the share of non-zero codes is below 1.",
		Tolerance: exact, Why: "the condition is tested with a margin of 2⁻¹⁰; the scale itself is not idempotent",
		Source: "the scale of the second pass is scale·(1 − zeros)",
	}, {
		ID: "ternary-quant/zero-weights", Level: Must, Kind: Law,
		Text:      "All-zero weights, −0 among them, have scale +0 and codes 0.",
		Tolerance: "bitwise", Why: "no arithmetic is involved", Source: "the recording's case zeros",
	}, {
		ID: "ternary-quant/dequantize", Level: Must, Kind: Law,
		Text:      "Dequantised weights are code × scale, and exactly +0 for a zero code.",
		Tolerance: "bitwise", Why: "a product with ±1 is exact", Source: "page row ternary-quant/dequantize",
	}, {
		ID: "ternary-quant/stats", Level: Must, Kind: Law,
		Text:      "Stats count the calls, the weights and the zero codes of quantize; sparsity is zeros/weights, 0 before any call.",
		Tolerance: "counts exact; sparsity 2⁻⁵⁰", Why: "one division in float64", Source: "the recording's stats",
	}, {
		ID: "ternary-quant/base3-lossless", Level: Must, Kind: Law, Needs: []string{"pack_base3", "unpack_base3"},
		Text:      "Codes packed five to a byte take ⌈n/5⌉ bytes, first code least significant, and come back.",
		Tolerance: exact, Why: exactWhy, Source: "3⁵ = 243 ≤ 256: 1.6 bits a weight",
	}, {
		ID: "ternary-quant/base3-foreign", Level: Must, Kind: Refusal, Needs: []string{"unpack_base3"},
		Text:      "Of the 256 bytes, unpacking accepts the 243 that packing writes, in a last byte only those filled up with code 0, and only ⌈n/5⌉ of them.",
		Tolerance: exact, Why: exactWhy, Source: "packed storage is lossless: what packing cannot write has no meaning",
	}, {
		ID: "ternary-quant/2bit-lossless", Level: Must, Kind: Law, Needs: []string{"pack_2bit", "unpack_2bit"},
		Text:      "Codes packed four to a byte take ⌈n/4⌉ bytes, first code in the lowest bits, and come back.",
		Tolerance: exact, Why: exactWhy, Source: "2 bits a weight",
	}, {
		ID: "ternary-quant/2bit-foreign", Level: Must, Kind: Refusal, Needs: []string{"unpack_2bit"},
		Text:      "Of the 256 bytes, unpacking accepts the 81 without the bits 11, in a last byte only those filled up with code 0, and only ⌈n/4⌉ of them.",
		Tolerance: exact, Why: exactWhy, Source: "packed storage is lossless: what packing cannot write has no meaning",
	}}, common("ternary-quant", nil,
		"codes exact, weights within max(2⁻²⁰, 16u) of the threshold excused; scale as there; dequantised weights bitwise",
		"as threshold and scale", "the closed forms of threshold and scale, with a big-float mean")...),
}
