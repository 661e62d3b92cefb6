package spec

import (
	"fmt"
	"reflect"
)

// DeltaCompress stores a fine-tuned matrix as its base and the best low-rank
// approximation of the difference (Eckart & Young 1936).
//
// Page rows: delta-compress/compress, delta-compress/decompress,
// delta-compress/compression-ratio.
type DeltaCompress interface {
	// Compress writes the truncated singular value decomposition of finetuned −
	// base, subtracted in float64, with k = min(rank, rows, cols). Different or
	// empty shapes, non-finite elements, and singular values beyond float32 are
	// Invalid. Where singular values are 0 the factors are completed to
	// orthonormal ones. Signs, and the basis of a subspace of equal singular
	// values, are free.
	Compress(dst *LowRank, base, finetuned Matrix) error
	// Decompress writes u·diag(s)·vt. Empty shapes, or ones that do not fit, and
	// non-finite elements are Invalid.
	Decompress(dst *Matrix, u Matrix, s []float32, vt Matrix) error
	// CompressionRatio writes rows·cols/(k·(rows+cols+1)), elements of the matrix
	// over elements of the factors. A size or a rank below 1 is Invalid. It is
	// below 1 where the factors are larger than the matrix.
	CompressionRatio(dst *float64, rows, cols, k int) error
	Stats() DeltaCompressStats
}

// DeltaCompressConfig configures DeltaCompress.
type DeltaCompressConfig struct {
	Rank int `wire:"rank"` // ≥ 1, default 16
}

// DefaultDeltaCompressConfig returns the defaults.
func DefaultDeltaCompressConfig() DeltaCompressConfig { return DeltaCompressConfig{Rank: 16} }

// Validate returns an Invalid error that names the field out of range.
func (c DeltaCompressConfig) Validate() error { return atLeast("delta-compress", "rank", c.Rank, 1) }

// CheckDelta rejects arguments of Compress that are empty, differ in shape, or
// are not finite.
func (c DeltaCompressConfig) CheckDelta(base, finetuned Matrix) error {
	const m = "delta-compress"
	return firstError(
		c.CheckDeltaShapes(base, finetuned),
		CheckFinite(m, "base", base.Data),
		CheckFinite(m, "finetuned", finetuned.Data),
	)
}

// CheckDeltaShapes is CheckDelta without the look at every element.
func (c DeltaCompressConfig) CheckDeltaShapes(base, finetuned Matrix) error {
	const m = "delta-compress"
	return firstError(
		CheckMatrix(m, "base", base, -1, -1),
		notEmpty(m, "base", base),
		CheckMatrix(m, "finetuned", finetuned, base.Rows, base.Cols),
	)
}

// CheckFactors rejects arguments of Decompress that are empty, do not fit each
// other, or are not finite.
func (c DeltaCompressConfig) CheckFactors(u Matrix, s []float32, vt Matrix) error {
	const m = "delta-compress"
	return firstError(
		c.CheckFactorShapes(u, s, vt),
		CheckFinite(m, "u", u.Data),
		CheckFinite(m, "s", s),
		CheckFinite(m, "vt", vt.Data),
	)
}

// CheckFactorShapes is CheckFactors without the look at every element.
func (c DeltaCompressConfig) CheckFactorShapes(u Matrix, s []float32, vt Matrix) error {
	const m = "delta-compress"
	return firstError(
		CheckMatrix(m, "u", u, -1, len(s)),
		notEmpty(m, "u", u),
		CheckMatrix(m, "vt", vt, len(s), -1),
		notEmpty(m, "vt", vt),
	)
}

func notEmpty(module, name string, m Matrix) error {
	if len(m.Data) == 0 {
		return Reject(Invalid, module, name, "at least 1 row and 1 column", fmt.Sprintf("(%d, %d)", m.Rows, m.Cols))
	}
	return nil
}

// LowRank is a truncated singular value decomposition.
type LowRank struct {
	U  Matrix    `wire:"u"`  // rows × k, orthonormal columns
	S  []float32 `wire:"s"`  // k singular values, descending, ≥ 0
	Vt Matrix    `wire:"vt"` // k × cols, orthonormal rows
}

// DeltaCompressStats count what Compress did.
type DeltaCompressStats struct {
	Calls          int `wire:"total_compress_calls"`
	SingularValues int `wire:"total_singular_values_kept"`
}

var deltaCompress = &Module{
	Name: "delta-compress", Wave: 24,
	Summary:   "a fine-tuned matrix as its base and a low-rank difference",
	Interface: reflect.TypeFor[DeltaCompress](),
	Config:    DefaultDeltaCompressConfig(),
	Defaults:  defaults(func(DeltaCompressConfig) DeltaCompressConfig { return DefaultDeltaCompressConfig() }),
	Operations: []Operation{
		op[DeltaCompress]("compress", Param{}, named("base"), named("finetuned")),
		op[DeltaCompress]("decompress", named("delta"), Param{Name: "u", Alias: "U_k"}, Param{Name: "s", Alias: "S_k"},
			Param{Name: "vt", Alias: "Vt_k"}),
		op[DeltaCompress]("compression_ratio", named("ratio"), named("rows"), named("cols"), named("k")),
		op[DeltaCompress]("stats", Param{}),
	},
	Requirements: append([]Requirement{{
		ID: "delta-compress/shapes", Level: Must, Kind: Law,
		Text:      "The factors are rows × k, k and k × cols, with k = min(rank, rows, cols).",
		Tolerance: exact, Why: exactWhy, Source: "page row delta-compress/compress: SVD rank-16",
	}, {
		ID: "delta-compress/orthonormal", Level: Must, Kind: Law,
		Text:      "u has orthonormal columns and vt orthonormal rows, on deltas of low rank and on zero too.",
		Tolerance: "|uᵀu − 1| and |vt·vtᵀ − 1| ≤ 16u·√k + 4u per element", Why: "rounding two unit vectors moves their product by at most 2u; the rest is for an orthogonalisation in working precision", Source: "the definition of the SVD",
	}, {
		ID: "delta-compress/descending", Level: Must, Kind: Law,
		Text:      "Singular values descend and are not negative.",
		Tolerance: exact, Why: "rounding is monotone", Source: "the definition of the SVD",
	}, {
		ID: "delta-compress/eckart-young", Level: Must, Kind: Law,
		Text:      "No approximation of rank k is nearer to the difference: the Frobenius error is at most that of the exact SVD.",
		Tolerance: "error ≤ (1+1e-4)·optimal + 16u·‖Δ‖ + k·u·2⁻¹²⁵ (16u is 2⁻²⁰ for float32)",
		Why:       "rounding the three factors moves their product by at most 3u·‖Δ‖, or u·2⁻¹²⁵ a value where those are subnormal; the rest is for a decomposition in working precision. The optimum is the norm of the singular values left out, by one-sided Jacobi rotations",
		Source:    "Eckart & Young 1936",
	}, {
		ID: "delta-compress/planted", Level: Must, Kind: Law,
		Text:      "A difference built from orthonormal vectors and chosen singular values gives those values back.",
		Tolerance: "|s − σ| ≤ 64u·σ₁ + ‖rounding of the difference‖ + u·2⁻¹²⁵",
		Why:       "Weyl: a singular value moves by at most the norm of a perturbation, here of the decomposition's backward error and of the rounding of the matrices to float32, whose norm is known; u·2⁻¹²⁵ is the spacing of subnormal values", Source: "the definition of the SVD",
	}, {
		ID: "delta-compress/repeated", Level: Must, Kind: Law,
		Text:      "Singular values that are equal are found as often as they occur: on a multiple of an orthogonal matrix all of them.",
		Tolerance: "as planted and eckart-young", Why: "as there", Source: "the definition of the SVD; a Krylov space of one vector holds only one of them",
	}, {
		ID: "delta-compress/low-rank-exact", Level: Must, Kind: Law,
		Text:      "A difference of rank ≤ k comes back whole.",
		Tolerance: "‖Δ − u·diag(s)·vt‖ ≤ 16u·‖Δ‖ + k·u·2⁻¹²⁵", Why: "as eckart-young, with an optimum of 0: the difference is a product of integers, and exactly of that rank", Source: "Eckart–Young with an empty tail: LoRA deltas",
	}, {
		ID: "delta-compress/full-rank", Level: Must, Kind: Law,
		Text:      "At full rank the difference comes back whole, and the squared singular values add up to ‖Δ‖².",
		Tolerance: "‖Δ − u·diag(s)·vt‖ ≤ 16u·‖Δ‖ + k·u·2⁻¹²⁵; |‖s‖ − ‖Δ‖| ≤ 64u·‖Δ‖ + k·u·2⁻¹²⁵",
		Why:       "as eckart-young, with an optimum of 0; the singular values together move by at most the Frobenius norm of a perturbation (Mirsky)", Source: "the SVD is complete; the Frobenius norm is invariant",
	}, {
		ID: "delta-compress/identical", Level: Must, Kind: Law,
		Text:      "Where both matrices are equal the singular values are 0 and the approximation is 0.",
		Tolerance: exact, Why: "the difference is exactly 0", Source: "the definition of the SVD",
	}, {
		ID: "delta-compress/transpose", Level: Must, Kind: Law,
		Text:      "The transposed difference has the same singular values.",
		Tolerance: "|s − s'| ≤ 128u·σ₁ + u·2⁻¹²⁵", Why: "two results, each off by planted's 64u·σ₁", Source: "the definition of the SVD",
	}, {
		ID: "delta-compress/rank-monotone", Level: Must, Kind: Law,
		Text:      "A higher rank begins with the same singular values, and its approximation is not farther from the difference.",
		Tolerance: "|s − s'| ≤ 128u·σ₁ + u·2⁻¹²⁵; error' ≤ (1+1e-4)·error + 16u·‖Δ‖ + k'·u·2⁻¹²⁵",
		Why:       "two results, each off by planted's bound; the lower rank's error is at least the higher one's optimum, so this is eckart-young's bound", Source: "Eckart & Young 1936",
	}, {
		ID: "delta-compress/decompress", Level: Must, Kind: Law,
		Text:      "Decompression is u·diag(s)·vt.",
		Tolerance: "per element (k+2)·u·Σ|u·s·vt| + u·2⁻¹²⁵·Σ(1+|u|+|s|+|vt|)",
		Why:       "the forward error of a sum of k products of three, taken in any order; an intermediate product that is subnormal is off by its spacing", Source: "page row delta-compress/decompress: rank-16 matmul",
	}, {
		ID: "delta-compress/ratio", Level: Must, Kind: Law,
		Text:      "The compression ratio is rows·cols/(k·(rows+cols+1)), below 1 where the factors are larger than the matrix.",
		Tolerance: "2⁻⁵⁰ relative", Why: "a few operations in float64; computed again in rationals", Source: "page row delta-compress/compression-ratio",
	}, {
		ID: "delta-compress/stats", Level: Must, Kind: Law,
		Text:      "Stats count the calls of compress and the singular values kept.",
		Tolerance: exact, Why: exactWhy, Source: "the recording's stats",
	}}, common("delta-compress", nil,
		"singular values 64u·σ₁ + u·2⁻¹²⁵; orthonormality and the approximation's error as there; u·vt, summed over d singular values that lie off all others and off 0 by a gap of more than 2⁻¹⁰·σ₁, 64u·√d·σ₁/gap in the Frobenius norm: signs, and the basis of equal values, cancel in it; decompression and ratio as there",
		"singular vectors turn by at most twice the perturbation over the gap (Davis & Kahan; Yu, Wang & Samworth 2015), and the sum of u·vt by twice that: four times 16u·σ₁ over the gap", "singular values by one-sided Jacobi rotations")...),
}
