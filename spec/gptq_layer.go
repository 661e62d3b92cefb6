package spec

import (
	"fmt"
	"math"
	"reflect"
)

// GPTQLayer quantises the weights of a linear layer so that its outputs on
// calibration inputs change little: GPTQ (Frantar et al., arXiv 2210.17323).
//
// Page row: gptq-layer/calibrate.
type GPTQLayer interface {
	// Calibrate quantises weights w (outputs, inputs) for activations x (samples,
	// inputs):
	//
	//	H  = 2·xᵀx/samples; a dead input, one whose H_ii is 0, has H_ii = 1 and w_i = 0
	//	H += damp_percent·mean(diag H) on its diagonal
	//	U  = the upper triangular matrix with a positive diagonal and UᵀU = H⁻¹
	//
	// and then, input by input,
	//
	//	ŵ_i = w_i rounded to the grid of its group
	//	e_i = (w_i − ŵ_i)/U_ii, and w_j −= e_i·U_ij for every later input j
	//
	// so that in the end w − ŵ = E·U, with w as it was given but for dead inputs. The
	// updates reach the inputs of the same block at once, and those behind it when the
	// block is done: the block size is a matter of speed, and does not show.
	//
	// Inputs come as they are numbered, with act_order by H_ii, descending, the lower
	// index first among equals. In that order every group_size of them are a group,
	// the last one may be shorter; group_size 0 makes one group of all. A row has one
	// grid a group, over its least and greatest weight there when the group's turn
	// comes: they carry all updates so far, pending ones too. With b bits,
	//
	//	symmetric   scale = max|w|/q_max, q_max = 2^(b−1) − 1
	//	            code = clip(round(w/scale)) in −q_max…q_max, zero point 0
	//	asymmetric  scale = (max − min)/(2^b − 1) over a range that includes 0
	//	            zero point z = clip(round(−min/scale)), code = clip(round(w/scale) + z), both in 0…2^b − 1
	//
	// and ŵ = scale·(code − z). A scale is rounded to float32 before it is used, and is
	// 1 where that is 0.
	//
	// Where the damped H has no Cholesky factor, or has one with a pivot that is lost in
	// rounding, damp_percent is taken times 10, at most 6 times in all, and then the
	// activations are Invalid. H and its factors are meant to be in float64.
	//
	// As squish6, w is (rows, cols), x (samples, rows), and only weights are written. With
	// h = diag(xᵀx/samples) + damp_percent·mean(diag) and g = √max(h, 1e-8), one a row,
	//
	//	m = max|w_j·g|; a column whose m is below 1e-12 is left alone
	//	ŵ_j = round(w_j·g/(m/q_max))·(m/q_max)/g
	//	w_k −= (w_j − ŵ_j)·h/(h + 1e-8) for every later column k of the same block
	//
	// column by column. Groups, zero points and order do not exist there.
	//
	// Empty arguments, another width of x, non-finite elements, more than 2¹⁵ inputs
	// (rows, as squish6), and results beyond float32 are Invalid.
	Calibrate(dst *QuantizedLayer, weights, activations Matrix) error
	Stats() GPTQLayerStats
}

// GPTQLayerConfig configures GPTQLayer.
type GPTQLayerConfig struct {
	Variant   Variant `wire:"variant"`    // Documented or Squish6
	NBits     int     `wire:"n_bits"`     // 2, 3, 4 or 8, default 4
	BlockSize int     `wire:"block_size"` // ≥ 1, default 128
	// DampPercent is finite and > 0. It is a share, no percentage: default 0.01.
	DampPercent float64 `wire:"damp_percent"`
	GroupSize   int     `wire:"group_size"` // ≥ 0, default 0, which is the whole row
	Symmetric   bool    `wire:"symmetric"`  // default true
	ActOrder    bool    `wire:"act_order"`  // default false
}

// DefaultGPTQLayerConfig returns the defaults.
func DefaultGPTQLayerConfig() GPTQLayerConfig {
	return GPTQLayerConfig{NBits: 4, BlockSize: 128, DampPercent: 0.01, Symmetric: true}
}

// Validate returns an Invalid error that names the field out of range.
func (c GPTQLayerConfig) Validate() error {
	const m = "gptq-layer"
	return firstError(
		checkVariant(m, c.Variant, Squish6),
		inRange(m, "n_bits", "2, 3, 4 or 8", float64(c.NBits), c.NBits == 2 || c.NBits == 3 || c.NBits == 4 || c.NBits == 8),
		atLeast(m, "block_size", c.BlockSize, 1),
		inRange(m, "damp_percent", "a finite number above 0", c.DampPercent, c.DampPercent > 0 && !math.IsInf(c.DampPercent, 1)),
		atLeast(m, "group_size", c.GroupSize, 0),
	)
}

// gptqMaxInputs is the number of inputs whose H has maxElements elements.
const gptqMaxInputs = 1 << 15

// CheckLayer rejects arguments of Calibrate.
func (c GPTQLayerConfig) CheckLayer(weights, activations Matrix) error {
	const m = "gptq-layer"
	return firstError(
		c.CheckLayerShapes(weights, activations),
		CheckFinite(m, "weights", weights.Data),
		CheckFinite(m, "activations", activations.Data),
	)
}

// CheckLayerShapes is CheckLayer without the look at every element.
func (c GPTQLayerConfig) CheckLayerShapes(weights, activations Matrix) error {
	const m = "gptq-layer"
	inputs := weights.Cols
	if c.Variant == Squish6 {
		inputs = weights.Rows
	}
	if err := firstError(
		CheckMatrix(m, "weights", weights, -1, -1),
		notEmpty(m, "weights", weights),
		CheckMatrix(m, "activations", activations, -1, inputs),
		notEmpty(m, "activations", activations),
	); err != nil {
		return err
	}
	if inputs > gptqMaxInputs {
		return Reject(Invalid, m, "weights", fmt.Sprintf("at most %d inputs", gptqMaxInputs), inputs)
	}
	return nil
}

// QuantizedLayer is a quantised layer. Scales, zero points and order are what it
// takes to read the codes: input order[k] belongs to group k/group_size.
type QuantizedLayer struct {
	// Weights are ŵ = scale·(code − zero point), rounded once; +0 where that is 0.
	Weights Matrix `wire:"weights"`
	// Codes are of the shape of the weights.
	Codes []int16 `wire:"codes,like=weights"`
	// Scales are (outputs, groups), all above 0.
	Scales Matrix `wire:"scales"`
	// ZeroPoints are as many, row by row.
	ZeroPoints []int16 `wire:"zero_points"`
	// Order are the inputs in the order in which they were quantised.
	Order []int32 `wire:"order"`
	// Losses are Σ e² of each row: (w − ŵ)·H·(w − ŵ)ᵀ, with the damped H.
	Losses []float64 `wire:"losses"`
	// DampPercent is the damping that H took to have a Cholesky factor.
	DampPercent float64 `wire:"damp_percent"`
}

// GPTQLayerStats count what Calibrate did.
type GPTQLayerStats struct {
	Calls   int `wire:"total_calibrations"`
	Columns int `wire:"total_columns"` // of weights
}

const (
	gptqTolerance = "a code may be its neighbour where the weight, which the codes before it determine, lies within δ of the middle between two: " +
		"δ_i = (n+2)·u·(|w_i| + Σ|e_j·U_ji| + 2⁻¹²³) + Σ δ_j·|U_ji|/U_jj + (samples+2n)·u·κ·Σ|w_j−ŵ_j|·√(H_jj/H_ii), sums over earlier inputs j, κ = Σ H_ii·(H⁻¹)_ii"
	gptqWhy = "δ is a running error bound: n updates of the weight, the errors of the weights that made them, and an H in working precision, " +
		"whose relative error a linear system multiplies by up to κ; judged by an implementation's own earlier codes, a near tie excuses nothing behind it"
	gptqPaper = "GPTQ, arXiv 2210.17323"
)

var gptqLayer = &Module{
	Name: "gptq-layer", Wave: 24,
	Summary:   "weights rounded one input after another, the later ones making up for the error",
	Interface: reflect.TypeFor[GPTQLayer](),
	Config:    DefaultGPTQLayerConfig(),
	Defaults:  defaults(func(GPTQLayerConfig) GPTQLayerConfig { return DefaultGPTQLayerConfig() }),
	Variants:  []Variant{Squish6},
	Operations: []Operation{
		op[GPTQLayer]("calibrate", Param{}, named("weights"), named("activations")),
		op[GPTQLayer]("stats", Param{}),
	},
	Requirements: append([]Requirement{{
		ID: "gptq-layer/codes", Level: Must, Kind: Law,
		Text:      "There is a code within the bits for every weight, one scale above 0 and one zero point within them for every row and group, and weights are scale·(code − zero point), +0 where that is 0.",
		Tolerance: "integers exact; weights 2u·|ŵ| + u·2⁻¹²⁵", Why: "a scale of 24 bits times an integer of 8 is rounded once; u·2⁻¹²⁵ is the spacing of subnormals", Source: gptqPaper,
	}, {
		ID: "gptq-layer/error-feedback", Level: Must, Kind: Law,
		Text:      "w − ŵ = E·U: every code is that of the grid point nearest to where the weight makes up best for the errors of the inputs before it, the least squares solution with H for the inputs that are left.",
		Tolerance: gptqTolerance, Why: gptqWhy, Source: "the paper's equations 2 and 3; Optimal Brain Surgeon. The least squares problems are solved one by one: no factor U is involved",
	}, {
		ID: "gptq-layer/scales", Level: Must, Kind: Law,
		Text:      "A group's scale and zero point are those of the row's weights in it, as they stand when the group's first input is quantised, with all updates so far.",
		Tolerance: "scale 2u·scale + 2·max δ/levels + u·2⁻¹²⁵, levels the codes that its range spans; zero points exact but for δ; a group within δ of all 0 excused",
		Why:       gptqWhy, Source: "the reference code of the paper, with pending updates of the block where group and block do not begin together",
	}, {
		ID: "gptq-layer/losses", Level: Must, Kind: Law,
		Text:      "A row's loss is the quadratic form of its error: Σ e² = (w − ŵ)·H·(w − ŵ)ᵀ, with the damped H.",
		Tolerance: "Σ (2·|e_i| + δ_i/U_ii)·δ_i/U_ii + (4 + (samples+2n)·κ)·u·Σ e²", Why: "e_i is a weight that is off by δ_i, over U_ii; U_ii itself comes out of an inverse", Source: "tr(E·U·H·Uᵀ·Eᵀ) = ‖E‖²; the form is computed from weights and activations",
	}, {
		ID: "gptq-layer/block-size", Level: Must, Kind: Law,
		Text:      "The block size does not show in the result, with groups of any size.",
		Tolerance: "codes as error-feedback, up to a row's first near tie; scales as there", Why: "sums may be taken in another order", Source: "the paper, lazy batch-updates",
	}, {
		ID: "gptq-layer/diagonal", Level: Must, Kind: Law,
		Text:      "Inputs of which no two occur in one sample are rounded to nearest, half to even.",
		Tolerance: "exact, quotients within 4u (relative) of a half excused, exact halves of a scale that is a power of two not", Why: "H is exactly diagonal and every update 0; one division remains",
		Source: "a diagonal H has no input that could make up for another",
	}, {
		ID: "gptq-layer/on-grid", Level: Must, Kind: Law,
		Text:      "Weights on a grid come back, with no loss, where every row and group attains its ends.",
		Tolerance: exact, Why: "scales of 8 bits are drawn: all products and quotients are exact and all errors 0", Source: "the nearest point of a grid to a point of it",
	}, {
		ID: "gptq-layer/rows", Level: Must, Kind: Law,
		Text:      "Rows quantised together, in any order, come out as they do alone.",
		Tolerance: "codes as error-feedback, up to a row's first near tie; scales as there", Why: "sums may be taken in another order", Source: "H knows no outputs",
	}, {
		ID: "gptq-layer/power-of-two", Level: Must, Kind: Law,
		Text:      "Weights times 2ᵏ and activations times 2ˡ have the same codes, zero points and order, scales times 2ᵏ and losses times 4ᵏ⁺ˡ, where no input is dead.",
		Tolerance: exact, Why: "a multiplication by a power of two is exact while nothing under- or overflows, and 4ˡ has an exact root", Source: "the minimum of a form times 4ˡ is where it was",
	}, {
		ID: "gptq-layer/dead-inputs", Level: Must, Kind: Law,
		Text:      "An input that is 0 in all samples has weights +0, whatever they were, and they change nothing else.",
		Tolerance: "exact", Why: "the weight is replaced before anything is computed", Source: "the reference code of the paper",
	}, {
		ID: "gptq-layer/act-order", Level: Must, Kind: Law,
		Text:      "With act_order inputs are quantised by the sum of their squares, descending, the lower index first among equal ones, as if they had been numbered so.",
		Tolerance: "sums within (2·samples+4)·u (relative), or u·2⁻¹²⁵ of the largest, in either order; codes as error-feedback, up to a row's first near tie", Why: "a sum of samples squares is off by that much; columns that are equal but for signs have equal sums", Source: "act-order of the reference code of the paper",
	}, {
		ID: "gptq-layer/below-nearest", Level: Must, Kind: Law,
		Text:      "Over many layers of correlated inputs the median of the output error on the calibration inputs, over that of rounding to nearest, is below 1.",
		Tolerance: "of 21 layers; a correct implementation fails with a probability below 1e-9", Why: "a layer comes out worse with a probability below 0.04 (at most 51 of 2,000 for each of 24 configs): 11 of 21 do with one below 2e-10; of a single layer it is no law",
		Source: "the paper's purpose; rounding to nearest by its closed form",
	}, {
		ID: "gptq-layer/damping", Level: Must, Kind: Law,
		Text:      "The damping is the config's times 10ᵏ with k ≤ 6, k is 0 where H is well conditioned, and activations are refused where no damping so far has an effect on an H without a Cholesky factor.",
		Tolerance: "a factor is not refused while 4·n·(samples+2n)·u·κ < 1, and the power before k does not meet that; the damping itself 4u", Why: "a Cholesky factorisation in working precision succeeds there; below 2⁻⁵⁴ a share vanishes in any sum with 1",
		Source: "Higham, Accuracy and Stability of Numerical Algorithms, theorem 10.7; activations of 0 and ±1, whose H is exactly singular",
	}, {
		ID: "gptq-layer/escalation", Level: Should, Kind: Law,
		Text:      "A singular H is factored once its damping shows in float64: a damping of 10⁻¹⁷ or 10⁻¹⁸ is enough to be accepted, and the one taken is at most 10⁻¹¹.",
		Tolerance: exact, Why: "10⁻¹² is 2¹³ roundings of float64; an implementation in float32 has no such range, so this is no MUST", Source: "as damping",
	}, {
		ID: "gptq-layer/stats", Level: Must, Kind: Law,
		Text:      "Stats count the calibrations and the columns of their weights.",
		Tolerance: exact, Why: exactWhy, Source: "the recording's stats",
	}, {
		ID: "gptq-layer/columns-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, with blocks of one column, every column is rounded to nearest on the grid of its largest w·g, and one of zeros is left alone.",
		Tolerance: gptqSquish6Tolerance, Why: gptqSquish6Why, Source: "the recording",
	}, {
		ID: "gptq-layer/blocks-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, blocks of columns come out as they do alone.",
		Tolerance: "codes as columns-squish6, up to a block's first near tie", Why: gptqSquish6Why, Source: "the recording",
	}}, common("gptq-layer", []Variant{Squish6},
		gptqTolerance+"; scales, losses and damping as there; order as act-order; the reference's codes up to a row's first near tie; squish6: "+gptqSquish6Tolerance,
		gptqWhy, "least squares problems solved one by one")...),
}

const (
	gptqSquish6Tolerance = "weights K·u·M/g, K = 2·samples + 2·block + 16, M the largest (|w| + |taken off w|)·g so far in the block; " +
		"a code may be its neighbour where w·g/scale lies within 2K·u·q_max·M/m of the middle between two; an m within 2⁻²⁰·1e-12 + K·u·M of 1e-12 excused"
	gptqSquish6Why = "a sum of samples squares is off by samples·u, and a weight by one rounding for every earlier column of its block; " +
		"judged by an implementation's own earlier columns, a near tie excuses nothing behind it"
)
