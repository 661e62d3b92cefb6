package spec

import (
	"fmt"
	"math"
	"reflect"
)

// ZeroQuantV2 quantises weights group by group, keeps outliers aside in full, and
// compensates what is lost by a low-rank product: LoRC of ZeroQuant-V2 (arXiv
// 2303.08302), with the outliers of SpQR and LLM.int8().
//
// Groups are group_size neighbours of a row. With q_max = 2^(n_bits−1) − 1:
//
//	outliers   |w| > outlier_threshold · max|w| of the group, in float64
//	m          max|w| over the rest; 1 where that is 0, or so small that m/q_max
//	           is 0 in float32: the codes of the group are then 0
//	scale      m/q_max, rounded to float32 once
//	code       w·q_max/m rounded half to even; 0 for an outlier
//	residual   w for an outlier, else +0
//
// Page rows: zero-quant-v2/quantize, zero-quant-v2/dequantize,
// zero-quant-v2/outlier-rate.
type ZeroQuantV2 interface {
	// Quantize quantises weights (rows, cols). Empty or non-finite weights, and cols
	// that are no multiple of group_size, are Invalid. With a lorc_rank, and k =
	// min(lorc_rank, rows, cols), it also writes U·√Σ (rows, k) and √Σ·Vᵀ (k, cols),
	// where U·Σ·Vᵀ is the truncated singular value decomposition of the error
	// weights − code × scale − residual, in float64. Signs, and the basis of a
	// subspace of equal singular values, are free.
	Quantize(dst *ZeroQuantWeights, weights Matrix) error
	// Dequantize writes code × scale + residual + lorc_u·lorc_v; what exceeds float32
	// becomes its largest finite number of that sign. The last two arguments may be
	// left out, as 0 × 0 matrices, whatever the lorc_rank. Shapes that do not fit each
	// other or group_size, codes beyond ±q_max and non-finite elements are Invalid.
	Dequantize(dst *Matrix, quantized []int8, scales, residual, lorcU, lorcV Matrix) error
	Stats() ZeroQuantV2Stats
}

// ZeroQuantStorage is the stored form: codes packed, and the residual sparse, with
// 6 bytes an outlier. Scales and low-rank factors are stored as they are.
type ZeroQuantStorage interface {
	// Store packs codes and residual of one size. The residual's elements are rounded
	// to binary16, half to even, and clamped to ±65504; those that come to 0 are left
	// out. Codes beyond ±q_max, a residual that is empty, non-finite, or of more than
	// 2³¹−1 elements, and another number of codes than of its elements are Invalid.
	Store(dst *ZeroQuantStored, quantized []int8, residual Matrix) error
	// Restore is the inverse, but for what binary16 cannot hold. What Store does not
	// write is Invalid: another number of bytes, a code beyond ±q_max, a filling that
	// is not 0, indices that do not ascend or are outside, values that are 0 or not
	// finite.
	Restore(dst *ZeroQuantRestored, codes []uint8, indices []int32, values []Float16, rows, cols int) error
	// StoredBytes writes the size of the stored form of a (rows, cols) matrix: codes,
	// 4 bytes a scale, 6 an outlier, and 4 an element of the low-rank factors. Rows or
	// cols below 1, cols that are no multiple of group_size, more than 2³¹−1 elements,
	// and outliers below 0 or more than elements are Invalid.
	StoredBytes(dst *int, rows, cols, outliers int) error
}

// ZeroQuantV2Config configures ZeroQuantV2.
type ZeroQuantV2Config struct {
	NBits     int `wire:"n_bits"`     // 4 or 8, default 8
	GroupSize int `wire:"group_size"` // ≥ 8, default 128
	// OutlierThreshold is in (0, 1), default 0.95. The largest magnitude of a group
	// is above it: a group that is not all zero has an outlier at least.
	OutlierThreshold float64 `wire:"outlier_threshold"`
	LorcRank         int     `wire:"lorc_rank"` // ≥ 0, default 0: no compensation
}

// DefaultZeroQuantV2Config returns the defaults.
func DefaultZeroQuantV2Config() ZeroQuantV2Config {
	return ZeroQuantV2Config{NBits: 8, GroupSize: 128, OutlierThreshold: 0.95}
}

// Validate returns an Invalid error that names the field out of range.
func (c ZeroQuantV2Config) Validate() error {
	const m = "zero-quant-v2"
	return firstError(
		inRange(m, "n_bits", "4 or 8", float64(c.NBits), c.NBits == 4 || c.NBits == 8),
		atLeast(m, "group_size", c.GroupSize, 8),
		inRange(m, "outlier_threshold", "a number in (0, 1)", c.OutlierThreshold, c.OutlierThreshold > 0 && c.OutlierThreshold < 1),
		atLeast(m, "lorc_rank", c.LorcRank, 0),
	)
}

// QMax is the largest code.
func (c ZeroQuantV2Config) QMax() int { return 1<<(c.NBits-1) - 1 }

// CheckWeights rejects the shape of an argument of Quantize. Whether its elements
// are finite is not asked.
func (c ZeroQuantV2Config) CheckWeights(weights Matrix) error {
	const m = "zero-quant-v2"
	return firstError(
		CheckMatrix(m, "weights", weights, -1, -1),
		notEmpty(m, "weights", weights),
		c.checkGroups("weights", weights.Cols),
	)
}

func (c ZeroQuantV2Config) checkGroups(name string, cols int) error {
	if cols%c.GroupSize != 0 {
		return Reject(Invalid, "zero-quant-v2", name, fmt.Sprintf("a multiple of group_size (%d) columns", c.GroupSize), cols)
	}
	return nil
}

// CheckQuantized rejects shapes of arguments of Dequantize. Their elements are not
// looked at.
func (c ZeroQuantV2Config) CheckQuantized(quantized []int8, scales, residual, lorcU, lorcV Matrix) error {
	const m = "zero-quant-v2"
	if err := firstError(
		CheckMatrix(m, "residual", residual, -1, -1),
		notEmpty(m, "residual", residual),
		c.checkGroups("residual", residual.Cols),
		CheckMatrix(m, "scales", scales, residual.Rows, residual.Cols/c.GroupSize),
		c.checkCount(quantized, residual),
	); err != nil || lorcU.isAbsent() && lorcV.isAbsent() {
		return err
	}
	return firstError(
		CheckMatrix(m, "lorc_u", lorcU, residual.Rows, -1),
		notEmpty(m, "lorc_u", lorcU),
		CheckMatrix(m, "lorc_v", lorcV, lorcU.Cols, residual.Cols),
	)
}

func (c ZeroQuantV2Config) checkCount(quantized []int8, residual Matrix) error {
	if len(quantized) != len(residual.Data) {
		return Reject(Invalid, "zero-quant-v2", "quantized", fmt.Sprintf("%d codes, as many as the residual has elements", len(residual.Data)), len(quantized))
	}
	return nil
}

// isAbsent reports whether an optional matrix was left out.
func (m Matrix) isAbsent() bool { return m.Rows == 0 && m.Cols == 0 && len(m.Data) == 0 }

// CheckCode rejects a code beyond ±q_max.
func (c ZeroQuantV2Config) CheckCode(i int, code int8) error {
	if q := c.QMax(); int(code) < -q || int(code) > q {
		return Reject(Invalid, "zero-quant-v2", fmt.Sprintf("quantized[%d]", i), fmt.Sprintf("a code in ±%d", q), code)
	}
	return nil
}

// CheckStore rejects shapes of arguments of Store. Their elements are not looked
// at.
func (c ZeroQuantV2Config) CheckStore(quantized []int8, residual Matrix) error {
	const m = "zero-quant-v2"
	return firstError(
		CheckMatrix(m, "residual", residual, -1, -1),
		notEmpty(m, "residual", residual),
		c.checkIndexable(residual.Rows, residual.Cols),
		c.checkCount(quantized, residual),
	)
}

// checkIndexable rejects sizes whose elements an int32 cannot number.
func (c ZeroQuantV2Config) checkIndexable(rows, cols int) error {
	const m = "zero-quant-v2"
	if err := firstError(atLeast(m, "rows", rows, 1), atLeast(m, "cols", cols, 1)); err != nil {
		return err
	}
	if n, ok := Volume(rows, cols); !ok || n > math.MaxInt32 {
		return Reject(Invalid, m, "rows", "at most 2³¹−1 elements", fmt.Sprintf("%d × %d", rows, cols))
	}
	return nil
}

// CodeBytes is the number of bytes that n codes are packed into.
func (c ZeroQuantV2Config) CodeBytes(n int) int {
	if c.NBits == 4 {
		return n/2 + n%2
	}
	return n
}

// CheckRestore rejects sizes of arguments of Restore. Their elements are not looked
// at.
func (c ZeroQuantV2Config) CheckRestore(codes []uint8, indices []int32, values []Float16, rows, cols int) error {
	const m = "zero-quant-v2"
	if err := c.checkIndexable(rows, cols); err != nil {
		return err
	}
	if want := c.CodeBytes(rows * cols); len(codes) != want {
		return Reject(Invalid, m, "codes", fmt.Sprintf("%d bytes, for %d × %d codes", want, rows, cols), len(codes))
	}
	if len(values) != len(indices) {
		return Reject(Invalid, m, "values", fmt.Sprintf("%d, one for every index", len(indices)), len(values))
	}
	return nil
}

// CheckStoredBytes rejects arguments of StoredBytes.
func (c ZeroQuantV2Config) CheckStoredBytes(rows, cols, outliers int) error {
	const m = "zero-quant-v2"
	if err := firstError(c.checkIndexable(rows, cols), c.checkGroups("cols", cols), atLeast(m, "outliers", outliers, 0)); err != nil {
		return err
	}
	if outliers > rows*cols {
		return Reject(Invalid, m, "outliers", fmt.Sprintf("at most %d, the number of elements", rows*cols), outliers)
	}
	return nil
}

// ZeroQuantWeights are quantised weights: the dense view, in which outliers are
// exact.
type ZeroQuantWeights struct {
	Codes    []int8 `wire:"quantized,like=weights"` // row-major, in ±q_max
	Scales   Matrix `wire:"scales"`                 // (rows, cols/group_size)
	Residual Matrix `wire:"residual"`               // (rows, cols), mostly 0
	// LorcU (rows, k) and LorcV (k, cols) are 0 × 0 without a lorc_rank.
	LorcU Matrix `wire:"lorc_u"`
	LorcV Matrix `wire:"lorc_v"`
}

// ZeroQuantStored is what is stored of codes and residual.
type ZeroQuantStored struct {
	// Codes are two's complement: 8-bit codes a byte each, 4-bit codes two to a byte,
	// the first one in the lower half. The last byte is filled up with 0.
	Codes []uint8 `wire:"codes"`
	// Indices are those of the outliers in the row-major matrix, ascending, and Values
	// their weights, none of them 0.
	Indices []int32   `wire:"indices"`
	Values  []Float16 `wire:"values"`
}

// ZeroQuantRestored is the dense view of what was stored.
type ZeroQuantRestored struct {
	Codes    []int8 `wire:"quantized"`
	Residual Matrix `wire:"residual"`
}

// ZeroQuantV2Stats count what Quantize did.
type ZeroQuantV2Stats struct {
	Calls    int `wire:"total_quantize_calls"`
	Outliers int `wire:"total_outlier_elements"`
	Elements int `wire:"total_elements"`
	// OutlierRate is Outliers/Elements, 0 before any call.
	OutlierRate float64 `wire:"outlier_rate"`
}

const (
	zeroQuantThreshold = "elements within max(2⁻²⁰, 8u) (relative) of the outlier threshold excused"
	lorcTolerance      = "error ≤ (1+1e-4)·optimal + 16u·‖E‖ + 2u·‖W‖ + √n·u·2⁻¹²⁵, E the error without compensation and W the n weights"
	lorcWhy            = "rounding the two factors moves their product by at most 3u·‖E‖, the rest of 16u is for a decomposition in working precision; 2u·‖W‖ and the spacing of subnormals are the rounding of the error itself where it is computed in working precision; factors are square roots, and far from subnormal"
)

var zeroQuantV2 = &Module{
	Name: "zero-quant-v2", Wave: 24,
	Summary:   "weights as group-wise codes, sparse outliers and a low-rank compensation",
	Interface: reflect.TypeFor[ZeroQuantV2](),
	Config:    DefaultZeroQuantV2Config(),
	Defaults:  defaults(func(ZeroQuantV2Config) ZeroQuantV2Config { return DefaultZeroQuantV2Config() }),
	Operations: []Operation{
		op[ZeroQuantV2]("quantize", Param{}, named("weights")),
		op[ZeroQuantV2]("dequantize", named("weights"), Param{Name: "quantized", AnyShape: true}, named("scales"), named("residual"),
			Param{Name: "lorc_u", Optional: true}, Param{Name: "lorc_v", Optional: true}),
		op[ZeroQuantV2]("stats", Param{}),
		optional[ZeroQuantStorage]("store", Param{}, Param{Name: "quantized", AnyShape: true}, named("residual")),
		optional[ZeroQuantStorage]("restore", Param{}, named("codes"), named("indices"), named("values"), named("rows"), named("cols")),
		optional[ZeroQuantStorage]("stored_bytes", named("bytes"), named("rows"), named("cols"), named("outliers")),
	},
	Requirements: append([]Requirement{{
		ID: "zero-quant-v2/outliers", Level: Must, Kind: Law,
		Text:      "A weight whose magnitude exceeds outlier_threshold times the largest of its group is in the residual bit for bit and has code 0, and every other has residual +0.",
		Tolerance: "bitwise, " + zeroQuantThreshold, Why: "the threshold is one product, which an implementation may round to its own precision",
		Source: "page row zero-quant-v2/quantize: outlier-separated quant",
	}, {
		ID: "zero-quant-v2/scale", Level: Must, Kind: Law,
		Text:      "A group's scale is m/q_max, where m is the largest magnitude among the weights that are no outliers, and 1 where there is none above 0.",
		Tolerance: "2u·m/q_max + u·2⁻¹²⁵; where m/q_max < u·2⁻¹²⁵ also 1/q_max", Why: "one division and one rounding; u·2⁻¹²⁵ is the spacing of subnormals, below which m/q_max may or may not round to 0",
		Source: "the recording",
	}, {
		ID: "zero-quant-v2/codes", Level: Must, Kind: Law,
		Text:      "The code of a weight that is no outlier is w·q_max/m rounded to the nearest integer, and in ±q_max.",
		Tolerance: "|code − x| ≤ ½ + max(2⁻²⁰, 8u)·|x|, x = w·q_max/m; any where m/q_max < u·2⁻¹²⁵", Why: "a few roundings move x by some u of itself, and so across ½; nothing is left of codes whose scale rounds to 0",
		Source: "the recording; rules for all modules: symmetric codes",
	}, {
		ID: "zero-quant-v2/half-even", Level: Must, Kind: Law,
		Text:      "A weight halfway between two codes gets the even one.",
		Tolerance: "exact; asked for u ≤ 2⁻²⁴", Why: "weights are drawn for which every order of evaluation is exact in float32", Source: "rules for all modules: rounding is half to even",
	}, {
		ID: "zero-quant-v2/half-step", Level: Must, Kind: Law,
		Text:      "Without compensation an outlier comes back bit for bit, and any other weight within half a step.",
		Tolerance: "bitwise; (½ + max(2⁻²⁰, 8u)·q_max)·m/q_max + q_max·u·2⁻¹²⁵, outliers as they were chosen", Why: "half a step, codes as there, and q_max times the rounding of the scale", Source: "the scale is that of the largest magnitude, so nothing is clipped",
	}, {
		ID: "zero-quant-v2/groups", Level: Must, Kind: Law,
		Text:      "Groups in another order have the same codes, scales and residuals, in that order.",
		Tolerance: exact, Why: "a maximum does not depend on an order", Source: "groups do not see each other",
	}, {
		ID: "zero-quant-v2/power-of-two", Level: Must, Kind: Law,
		Text:      "Weights times ±2ᵏ have the same codes, but for the sign, and scales and residuals times 2ᵏ, where a group has a scale.",
		Tolerance: exact, Why: "a multiplication by a power of two is exact while nothing under- or overflows", Source: "the formula is homogeneous and odd",
	}, {
		ID: "zero-quant-v2/nested", Level: Must, Kind: Law,
		Text:      "A higher threshold only takes weights from the residual.",
		Tolerance: exact, Why: "the largest magnitude does not depend on the threshold", Source: "the thresholds are nested",
	}, {
		ID: "zero-quant-v2/zero-groups", Level: Must, Kind: Law,
		Text:      "A group of zeros, −0 among them, has scale 1/q_max, codes 0 and residuals +0, and comes back as +0.",
		Tolerance: "scale 2u/q_max; the rest bitwise", Why: "one division; no other arithmetic is involved", Source: "rules for all modules: all-zero groups",
	}, {
		ID: "zero-quant-v2/dequantize", Level: Must, Kind: Law,
		Text:      "Dequantised weights are code × scale + residual + lorc_u·lorc_v, clamped to what float32 can hold.",
		Tolerance: "(k+3)·u·(|code·scale| + |residual| + Σ|u·v|) + (k+1)·u·2⁻¹²⁵", Why: "the forward error of a sum of k+2 terms, taken in any order; a product that is subnormal is off by its spacing",
		Source: "page row zero-quant-v2/dequantize: per-group dequant",
	}, {
		ID: "zero-quant-v2/lorc", Level: Must, Kind: Law,
		Text:      "With a lorc_rank no product of that rank is nearer to the error of the codes than lorc_u·lorc_v.",
		Tolerance: lorcTolerance, Why: lorcWhy + "; the optimum is the norm of the singular values left out, by one-sided Jacobi rotations",
		Source: "LoRC: ZeroQuant-V2, arXiv 2303.08302; Eckart & Young 1936",
	}, {
		ID: "zero-quant-v2/lorc-factors", Level: Must, Kind: Law,
		Text:      "The singular values are shared evenly: lorc_u has orthogonal columns and lorc_v orthogonal rows, of the singular values as squared lengths, descending.",
		Tolerance: "64u·√k·σ₁ + 4u·‖W‖ + √n·u·2⁻¹²⁵ per product of two of them", Why: "a singular value moves by at most the norm of a perturbation (Weyl), here of the rounding of the error and of the factors", Source: "ZeroQuant-V2: Û = U·√Σ, V̂ = √Σ·Vᵀ",
	}, {
		ID: "zero-quant-v2/lorc-monotone", Level: Must, Kind: Law,
		Text:      "A higher lorc_rank changes no code, scale or residual, and its compensated error is not larger.",
		Tolerance: "exact; " + lorcTolerance, Why: "codes do not depend on it; the lower rank's error is at least the higher one's optimum", Source: "Eckart & Young 1936; rank 0 is no compensation",
	}, {
		ID: "zero-quant-v2/stats", Level: Must, Kind: Law,
		Text:      "Stats count the calls, the outliers and the elements of quantize; the outlier rate is outliers/elements, 0 before any call.",
		Tolerance: "counts exact; rate 2⁻⁵⁰", Why: "one division in float64", Source: "the recording's stats; page row zero-quant-v2/outlier-rate",
	}, {
		ID: "zero-quant-v2/stored-codes", Level: Must, Kind: Law, Needs: []string{"store", "restore"},
		Text:      "Codes are stored in n_bits each, two's complement, the first code in the lower half of a byte, and come back.",
		Tolerance: exact, Why: exactWhy, Source: "4 and 8 bits a weight",
	}, {
		ID: "zero-quant-v2/stored-residual", Level: Must, Kind: Law, Needs: []string{"store", "restore"},
		Text:      "The residual is stored as ascending indices and nearest binary16 values, ties to even, clamped to ±65504 and without zeros, and comes back as those values.",
		Tolerance: "bitwise", Why: "rounding to a format has one answer; the nearest value is searched in the table of all binary16 numbers", Source: "IEEE 754; LLM.int8() and SpQR keep outliers in FP16",
	}, {
		ID: "zero-quant-v2/stored-bytes", Level: Must, Kind: Law, Needs: []string{"store", "stored_bytes"},
		Text:      "The stored size is that of the arrays: packed codes, scales of 4 bytes, indices of 4, values of 2, and low-rank factors of 4 an element.",
		Tolerance: exact, Why: exactWhy, Source: "the storage of the contract: an audit counts bytes",
	}, {
		ID: "zero-quant-v2/stored-foreign", Level: Must, Kind: Refusal, Needs: []string{"restore"},
		Text:      "Of all bytes restoring accepts those that storing writes, in a last byte only those filled up with 0, and only indices that ascend within the matrix and values that are finite and not 0.",
		Tolerance: exact, Why: exactWhy, Source: "what storing cannot write has no meaning",
	}}, common("zero-quant-v2", nil,
		"codes, scales and residuals as there: exact, but that codes may differ where both are near enough, and a group with an element within max(2⁻²⁰, 8u) of the outlier threshold is held to its own choice; low-rank factors by the error that they reach; dequantised weights as there; stored forms exact",
		"as codes, scale, outliers and lorc", "the closed forms of outliers, scale and codes, and singular values by one-sided Jacobi rotations")...),
}
