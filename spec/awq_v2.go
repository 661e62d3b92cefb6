package spec

import (
	"fmt"
	"math"
	"reflect"
)

// AWQv2 quantises weights (out, in) to unsigned codes with a zero point a group:
// AWQ, activation-aware weight quantisation (arXiv 2306.00978). Inputs that see
// large activations are scaled up before, and down after, so that rounding hurts
// them less; how much is searched.
//
// Page rows: awq-v2/calibrate, awq-v2/quantize.
type AWQv2 interface {
	// Calibrate finds a scale for every input channel from weights (out, in) and
	// activations (samples, in), of one axis for a single sample. With a_c = mean
	// |x_c|, in float64:
	//
	//	documented  s_c = max(a_c^α, 1e-4)/√(max s · min s), rounded to float32, for
	//	            that α of k/n_search_steps, k = 0 … n_search_steps−1, which
	//	            minimises ‖(w − ŵ)·xᵀ‖, ŵ the weights quantised with these scales
	//	            and dequantised, but not rounded; the smallest of equals. An α whose group scales
	//	            exceed float32 does not count. Shifts is empty
	//	squish6     the step s of the channel: of n_search_steps candidates, evenly
	//	            spaced from max(0.1·a, 1e-8) to max(2·a, 1e-7) and rounded to
	//	            float32, the first that minimises Σ(w − ŵ)² over the column, with
	//	            shift z = clip(round(−min(w/s)), 0, q_max) and ŵ = (clip(round(w/s
	//	            + z), 0, q_max) − z)·s. A candidate beyond float32 does not count
	//
	// q_max is 2^n_bits − 1, and round is half to even. Empty shapes, others than
	// these, and non-finite elements are Invalid.
	Calibrate(dst *AWQScales, weights, activations Matrix) error
	// Quantize quantises weights with the scales and shifts of a calibration.
	// Documented, v = w·s is cut, row by row, into groups of group_size neighbours,
	// the last one as short as need be, and with lo = min(0, min v) and hi = max(0,
	// max v) of a group, in float64,
	//
	//	group scale  Δ = (hi − lo)/q_max, rounded to float32 once; 1 where that is 0
	//	zero point   z = clip(round(−lo/Δ), 0, q_max)
	//	code         clip(round(v/Δ) + z, 0, q_max)
	//
	// and zero point and codes 0 where the group scale is 1 for 0.
	// As squish6 a code is clip(round(w/s + z), 0, q_max), and there are no groups.
	// Shifts are empty but for squish6. Shapes that do not fit, scales that are not
	// finite and above 0, other non-finite elements, and scales with which a group
	// scale exceeds float32 are Invalid.
	Quantize(dst *AWQWeights, weights Matrix, scales, shifts []float32) error
	// Dequantize writes (code − z)·Δ/s, as squish6 (code − shift)·s; what exceeds
	// float32 becomes its largest finite number of that sign. Shapes that do not fit,
	// codes or zero points above q_max, non-finite elements and scales not above 0 are
	// Invalid. As squish6 the last two arguments are left out, otherwise shifts are.
	Dequantize(dst *Matrix, codes []uint8, scales, shifts []float32, groupScales Matrix, zeroPoints []uint8) error
	Stats() AWQv2Stats
}

// AWQInt4 stores codes, and zero points, of up to 4 bits two to a byte. With group
// scales of 16 bits that is 4.156 bits a weight at group_size 128.
//
// Byte b holds code 2b in its lower half and 2b+1 in the upper one. The last byte is
// filled up with 0.
type AWQInt4 interface {
	// PackInt4 writes ⌈n/2⌉ bytes. No codes, and a code above 15, are Invalid.
	PackInt4(dst *[]uint8, codes []uint8) error
	// UnpackInt4 writes n codes. n < 1, another number of bytes than ⌈n/2⌉, and a
	// filling that is not 0 are Invalid.
	UnpackInt4(dst *[]uint8, packed []uint8, n int) error
}

// AWQv2Config configures AWQv2.
type AWQv2Config struct {
	Variant Variant `wire:"variant"` // Documented or Squish6
	NBits   int     `wire:"n_bits"`  // 2, 3, 4 or 8, as squish6 4 or 8; default 4
	// GroupSize is ≥ 8, default 128. Squish6 does not use it.
	GroupSize int `wire:"group_size"`
	// NSearchSteps is the number of candidates, 1 to 10,000: each costs a
	// quantisation. Default 20.
	NSearchSteps int `wire:"n_search_steps"`
}

// DefaultAWQv2Config returns the defaults.
func DefaultAWQv2Config() AWQv2Config { return AWQv2Config{NBits: 4, GroupSize: 128, NSearchSteps: 20} }

const maxSearchSteps = 10_000

// Validate returns an Invalid error that names the field out of range.
func (c AWQv2Config) Validate() error {
	const m = "awq-v2"
	bits, isBits := "2, 3, 4 or 8", c.NBits == 2 || c.NBits == 3 || c.NBits == 4 || c.NBits == 8
	if c.Variant == Squish6 {
		bits, isBits = "4 or 8", c.NBits == 4 || c.NBits == 8
	}
	return firstError(
		checkVariant(m, c.Variant, Squish6),
		inRange(m, "n_bits", bits, float64(c.NBits), isBits),
		atLeast(m, "group_size", c.GroupSize, 8),
		inRange(m, "n_search_steps", "1 to 10,000", float64(c.NSearchSteps), c.NSearchSteps >= 1 && c.NSearchSteps <= maxSearchSteps),
	)
}

// QMax is the largest code.
func (c AWQv2Config) QMax() int { return 1<<c.NBits - 1 }

// Groups is the number of groups of a row of cols weights.
func (c AWQv2Config) Groups(cols int) int { return (cols-1)/c.GroupSize + 1 }

// CheckWeights rejects weights of no matrix. Whether its elements are finite is not
// asked.
func (c AWQv2Config) CheckWeights(weights Matrix) error {
	return firstError(
		CheckMatrix("awq-v2", "weights", weights, -1, -1),
		notEmpty("awq-v2", "weights", weights),
	)
}

// CheckActivations rejects activations that do not fit weights of so many columns,
// or are not finite.
func (c AWQv2Config) CheckActivations(activations Matrix, cols int) error {
	const m = "awq-v2"
	return firstError(
		CheckMatrix(m, "activations", activations, -1, cols),
		notEmpty(m, "activations", activations),
		CheckFinite(m, "activations", activations.Data),
	)
}

// CheckScales rejects scales and shifts that do not fit weights of so many columns,
// or are out of range.
func (c AWQv2Config) CheckScales(scales, shifts []float32, cols int) error {
	const m = "awq-v2"
	if len(scales) != cols {
		return Reject(Invalid, m, "scales", fmt.Sprintf("%d, one for every input", cols), len(scales))
	}
	for i, s := range scales {
		if !(s > 0 && s <= math.MaxFloat32) {
			return Reject(Invalid, m, fmt.Sprintf("scales[%d]", i), "a finite number above 0", s)
		}
	}
	want := 0
	if c.Variant == Squish6 {
		want = cols
	}
	if len(shifts) != want {
		return Reject(Invalid, m, "shifts", fmt.Sprintf("%d elements", want), len(shifts))
	}
	return CheckFinite(m, "shifts", shifts)
}

// CheckQuantized rejects arguments of Dequantize, and returns the number of rows.
// Group scales are not looked at beyond their shape.
func (c AWQv2Config) CheckQuantized(codes []uint8, scales, shifts []float32, groupScales Matrix, zeroPoints []uint8) (rows int, err error) {
	const m = "awq-v2"
	cols := len(scales)
	if cols == 0 {
		return 0, Reject(Invalid, m, "scales", "at least 1", 0)
	}
	if err := c.CheckScales(scales, shifts, cols); err != nil {
		return 0, err
	}
	rows = len(codes) / cols
	if rows == 0 || len(codes) != rows*cols {
		return 0, Reject(Invalid, m, "codes", fmt.Sprintf("a multiple of %d, the number of scales", cols), len(codes))
	}
	groupRows, groups := rows, c.Groups(cols)
	if c.Variant == Squish6 {
		groupRows, groups = 0, 0
	}
	if err := CheckMatrix(m, "group_scales", groupScales, groupRows, groups); err != nil {
		return 0, err
	}
	if len(zeroPoints) != groupRows*groups {
		return 0, Reject(Invalid, m, "zero_points", fmt.Sprintf("%d, one for every group", groupRows*groups), len(zeroPoints))
	}
	return rows, firstError(c.checkCodes("codes", codes), c.checkCodes("zero_points", zeroPoints))
}

func (c AWQv2Config) checkCodes(name string, codes []uint8) error {
	for i, code := range codes {
		if int(code) > c.QMax() {
			return Reject(Invalid, "awq-v2", fmt.Sprintf("%s[%d]", name, i), fmt.Sprintf("at most %d", c.QMax()), code)
		}
	}
	return nil
}

// AWQScales are what a calibration found, for every input.
type AWQScales struct {
	// Scales are what weights are multiplied by; as squish6 the steps.
	Scales []float32 `wire:"scales"`
	// Shifts are squish6's zero points, whole numbers. Otherwise there are none.
	Shifts []float32 `wire:"shifts"`
}

// AWQWeights are quantised weights, to be read with the scales that they were
// quantised with.
type AWQWeights struct {
	Codes []uint8 `wire:"codes,like=weights"` // row-major, (out, in)
	// GroupScales is (out, groups), and ZeroPoints the same, row-major. As squish6
	// there are none.
	GroupScales Matrix  `wire:"group_scales"`
	ZeroPoints  []uint8 `wire:"zero_points"`
}

// AWQv2Stats count what Calibrate did.
type AWQv2Stats struct {
	Calibrations int `wire:"total_calibrations"`
	Channels     int `wire:"total_channels"` // inputs, of all calibrations
}

const (
	awqScaleTolerance = "relative ε = (2·samples + 4·max|ln a| + 12)·u"
	awqScaleWhy       = "a mean of samples is off by samples·u of itself; exp(α·ln a) in working precision adds 2u·|ln a| + 2u, and dividing by √(max·min) adds as much again"
	awqErrorTolerance = "r − f ≤ min(r' + f'), r the error ‖(w − ŵ)·xᵀ‖ of the choice and f what is uncertain of it: a step for every weight that is within max(2⁻²⁰, 2ε + 8u) (relative) of a tie, (2ε + 4u)·(|w| + |ŵ|) for every weight, weighted by |x|; the spacing of subnormals; (in + 8)·u of Σ|w − ŵ||x|; out·samples·u of r"
	awqErrorWhy       = "another order of operations rounds a weight near a tie the other way, and moves the rest by the error of the scales; the sums are forward errors. Candidates are so judged by the error that they reach"
	awqCodeTolerance  = "½ + max(2⁻²⁰, 8u)·(|v/Δ| + z) from v/Δ + z, or clipped"
	awqCodeWhy        = "a few roundings move v/Δ by some u of itself, and so across ½"
	awqGroupTolerance = "4u·Δ + 2u·2⁻¹²⁵; where Δ < u·2⁻¹²³ also 1"
	awqGroupWhy       = "a product, a difference without cancellation, a division and a rounding; u·2⁻¹²⁵ is the spacing of subnormals"
	awqDequantizeTol  = "4u·|ŵ| + (1 + 1/s + q_max)·u·2⁻¹²⁵; as squish6 3u·(|code| + |shift|)·s + 2u·2⁻¹²⁵"
	awqDequantizeWhy  = "a difference, a product, a quotient and a rounding; an intermediate that is subnormal is off by its spacing"
)

var awqV2 = &Module{
	Name: "awq-v2", Wave: 24,
	Summary:   "weights as group-wise codes with zero points, inputs scaled by what they see",
	Interface: reflect.TypeFor[AWQv2](),
	Config:    DefaultAWQv2Config(),
	Defaults:  defaults(func(AWQv2Config) AWQv2Config { return DefaultAWQv2Config() }),
	Variants:  []Variant{Squish6},
	Operations: []Operation{
		op[AWQv2]("calibrate", Param{}, named("weights"), Param{Name: "activations", Alias: "act_scales", AnyShape: true}),
		op[AWQv2]("quantize", Param{}, named("weights"), named("scales"), Param{Name: "shifts", Optional: true}),
		op[AWQv2]("dequantize", named("weights"), Param{Name: "codes", AnyShape: true}, named("scales"), Param{Name: "shifts", Optional: true},
			Param{Name: "group_scales", Optional: true}, Param{Name: "zero_points", Optional: true}),
		op[AWQv2]("stats", Param{}),
		optional[AWQInt4]("pack_int4", named("packed"), Param{Name: "codes", AnyShape: true}),
		optional[AWQInt4]("unpack_int4", named("codes"), named("packed"), named("n")),
	},
	Requirements: append([]Requirement{{
		ID: "awq-v2/grid", Level: Must, Kind: Law,
		Text:      "The channel scales are max(a^α, 1e-4), a the mean magnitude of a channel's activations, over the root of their largest times their smallest, for an α of the grid.",
		Tolerance: awqScaleTolerance, Why: awqScaleWhy, Source: "AWQ, arXiv 2306.00978; page row awq-v2/calibrate: activation calibration",
	}, {
		ID: "awq-v2/search", Level: Must, Kind: Law,
		Text:      "No α of the grid reaches a lower error of the outputs on the activations.",
		Tolerance: awqErrorTolerance, Why: awqErrorWhy, Source: "AWQ: α = argmin ‖(w − ŵ)·xᵀ‖; every α is tried again",
	}, {
		ID: "awq-v2/never-worse", Level: Must, Kind: Law,
		Text:      "Weights calibrated, quantised and dequantised have an error of the outputs on the activations that is not above plain round-to-nearest's.",
		Tolerance: awqErrorTolerance + "; the choice's own dequantised weights in place of ŵ", Why: awqErrorWhy, Source: "α = 0 is on the grid",
	}, {
		ID: "awq-v2/ties", Level: Must, Kind: Law,
		Text:      "Of exponents that reach the same error the smallest is taken: the scales of all-zero weights are 1.",
		Tolerance: exact, Why: "every error is exactly 0, and 1/√(1·1) is 1", Source: "the contract: ties, the smallest",
	}, {
		ID: "awq-v2/activations", Level: Must, Kind: Law,
		Text:      "Activations that are permuted or repeated, or, where none is floored, times 2ᵏ, lead to scales that are right for the activations as they were.",
		Tolerance: "as grid and search", Why: awqScaleWhy + "; " + awqErrorWhy, Source: "a mean knows no order, and scales are normalised",
	}, {
		ID: "awq-v2/power-of-two", Level: Must, Kind: Law,
		Text:      "Weights times 2ᵏ have the same channel scales, codes and zero points, and group scales times 2ᵏ.",
		Tolerance: exact, Why: "a multiplication by a power of two is exact while nothing under- or overflows", Source: "the formula is homogeneous",
	}, {
		ID: "awq-v2/group-scale", Level: Must, Kind: Law,
		Text:      "A group's scale is the range of w·s in it, 0 included, over q_max, and 1 where that is 0.",
		Tolerance: awqGroupTolerance, Why: awqGroupWhy, Source: "AWQ's group-wise zero-point quantisation; rules for all modules: asymmetric ranges include 0",
	}, {
		ID: "awq-v2/zero-point", Level: Must, Kind: Law,
		Text:      "A group's zero point is −lo/Δ rounded to the nearest integer and clipped to 0…q_max.",
		Tolerance: "½ + max(2⁻²⁰, 8u)·|lo/Δ|; any where Δ < u·2⁻¹²³", Why: awqCodeWhy + "; of Δ nothing may be left where it is subnormal", Source: "rules for all modules: asymmetric codes",
	}, {
		ID: "awq-v2/codes", Level: Must, Kind: Law,
		Text:      "A code is w·s/Δ rounded to the nearest integer, plus the zero point, clipped to 0…q_max.",
		Tolerance: awqCodeTolerance + "; any where Δ < u·2⁻¹²³", Why: awqCodeWhy, Source: "page row awq-v2/quantize: INT4",
	}, {
		ID: "awq-v2/half-even", Level: Must, Kind: Law,
		Text:      "A weight halfway between two codes gets, before the zero point is added, the even one.",
		Tolerance: "exact; asked for u ≤ 2⁻²⁴", Why: "weights and ranges are drawn for which every order of evaluation is exact in float32", Source: "rules for all modules: code = clip(round(w/s) + z), half to even",
	}, {
		ID: "awq-v2/half-step", Level: Must, Kind: Law,
		Text:      "A weight comes back within half a step of its group, divided by its channel's scale.",
		Tolerance: "(½ + max(2⁻²⁰, 8u)·2·q_max)·Δ/s + q_max·(2 + 1/s)·u·2⁻¹²⁵", Why: "half a step; codes and zero point as there; the rounding of the published scale, times a code", Source: "the range includes 0, so that clipping costs nothing",
	}, {
		ID: "awq-v2/groups", Level: Must, Kind: Law,
		Text:      "Groups in another order, with their channels' scales, have the same codes, group scales and zero points, in that order.",
		Tolerance: exact, Why: "a minimum and a maximum do not depend on an order", Source: "groups do not see each other",
	}, {
		ID: "awq-v2/zero-groups", Level: Must, Kind: Law,
		Text:      "A group of zeros, −0 among them, has scale 1, zero point and codes 0, and comes back as +0.",
		Tolerance: "bitwise", Why: "no arithmetic is involved", Source: "rules for all modules: all-zero groups",
	}, {
		ID: "awq-v2/common-factor", Level: Must, Kind: Law,
		Text:      "Channel scales times 2ᵏ leave codes and zero points, multiply the group scales by 2ᵏ, and lead to the same weights.",
		Tolerance: exact, Why: "a multiplication by a power of two is exact while nothing under- or overflows", Source: "a common factor cancels",
	}, {
		ID: "awq-v2/dequantize", Level: Must, Kind: Law,
		Text:      "Dequantised weights are (code − zero point) × group scale / channel scale, clamped to what float32 can hold.",
		Tolerance: awqDequantizeTol, Why: awqDequantizeWhy, Source: "AWQ; the product in 400-bit floats",
	}, {
		ID: "awq-v2/stats", Level: Must, Kind: Law,
		Text:      "Stats count the calibrations and their input channels.",
		Tolerance: exact, Why: exactWhy, Source: "the recording's stats",
	}, {
		ID: "awq-v2/int4-lossless", Level: Must, Kind: Law, Needs: []string{"pack_int4", "unpack_int4"},
		Text:      "Codes packed two to a byte take ⌈n/2⌉ bytes, first code in the lower half, and come back, as does every byte.",
		Tolerance: exact, Why: exactWhy, Source: "4 bits a code",
	}, {
		ID: "awq-v2/int4-foreign", Level: Must, Kind: Refusal, Needs: []string{"pack_int4", "unpack_int4"},
		Text:      "Packing refuses codes above 15, and unpacking any number of bytes but ⌈n/2⌉ and a last byte that is not filled up with 0.",
		Tolerance: exact, Why: exactWhy, Source: "what packing cannot write has no meaning",
	}, {
		ID: "awq-v2/search-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, a channel's step is a candidate between 0.1 and 2 times its mean activation, its shift that of the step, and no candidate reaches a lower squared error of the column.",
		Tolerance: "steps (2·samples + 16)·u (relative); shifts nearest but for ties; r − f ≤ min(r' + f'), r the root of the squared error and f what is uncertain of it: u-sized terms, and a step where a shift is near a tie",
		Why:       "another order of operations rounds differently near a tie; candidates are so judged by the error that they reach", Source: "the recording",
	}, {
		ID: "awq-v2/codes-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, a code is clip(round(w/s + shift), 0, q_max), and there are no groups.",
		Tolerance: "½ + max(2⁻²⁰, 8u)·(|w/s| + |shift|) from w/s + shift, or clipped", Why: awqCodeWhy, Source: "the recording",
	}, {
		ID: "awq-v2/dequantize-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, dequantised weights are (code − shift) × s, clamped to what float32 can hold.",
		Tolerance: awqDequantizeTol, Why: awqDequantizeWhy, Source: "the error that the recording minimises; the product in 400-bit floats",
	}}, common("awq-v2", []Variant{Squish6},
		"channel scales as in grid, where another exponent was chosen as in search; group scales, zero points, codes and dequantised weights as there",
		"as there", "every candidate tried again, and the closed forms of group scale, zero point and codes")...),
}
