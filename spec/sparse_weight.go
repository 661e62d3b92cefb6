package spec

import (
	"fmt"
	"math/bits"
	"reflect"
)

// SparseWeight stores a matrix without its zeros: where the other weights stand, as
// an index, and their values, as float32.
//
// Page rows: sparse-weight/compress, sparse-weight/decompress,
// sparse-weight/compression-ratio.
type SparseWeight interface {
	// Compress stores weights (rows, cols) in place of what was stored before:
	//
	//	nm, nm-packed  the N largest magnitudes of every M along the rows, of equal
	//	               ones the first, zeros among them; the others are lost. cols must
	//	               be a multiple of M; in nm, columns take 2 bytes, and more than
	//	               65,536 of them are Invalid
	//	csr, bitmap    every weight that is not zero, −0 being one
	//
	// Empty and non-finite weights, and more than 2³⁰ of them, are Invalid.
	Compress(denseWeights Matrix) error
	// Decompress writes the stored weights bit for bit, and +0 elsewhere. Before
	// anything is stored it is refused: State.
	Decompress(dst *Matrix) error
	// MemoryBytes is what the storage takes, as [SparseWeightConfig.Bytes] says,
	// DenseMemoryBytes 4·rows·cols, and CompressionRatio the second over the first:
	// below 1 where the storage is the larger one. All are 0 before anything is
	// stored.
	MemoryBytes() int
	DenseMemoryBytes() int
	CompressionRatio() float64
	Stats() SparseWeightStats
}

// SparseWeightProduct computes with the weights as they are stored.
type SparseWeightProduct interface {
	// Multiply writes weights·vector, an element a row. A vector of another length
	// than cols, and a non-finite one, are Invalid; before anything is stored: State.
	// A product beyond float32 is ±Inf.
	Multiply(dst *[]float32, vector []float32) error
}

// SparseWeightStorage reads and writes the stored weights as bytes: index, then
// values. Numbers of several bytes are little-endian, and bits count from the
// lowest one of the first byte. The index is
//
//	nm         the column of each value, ascending in its group: uint16
//	nm-packed  the place of each value in its group, ⌈log₂ M⌉ bits, ascending in the
//	           group; the last byte is filled up with 0
//	csr        the number of values before each row, and of all: uint32; then the
//	           column of each value, ascending in its row: uint16, or uint32 where
//	           there are more than 65,536 columns
//	bitmap     a bit for each weight, row by row, 1 where it has a value; the last
//	           byte is filled up with 0
//
// The shape is not among the bytes.
type SparseWeightStorage interface {
	// Pack writes MemoryBytes bytes. Before anything is stored it is refused: State.
	Pack(dst *[]uint8) error
	// Unpack stores the rows × cols weights that were packed, in place of what was
	// stored before. Bytes that Pack does not write for any weights of that shape are
	// Invalid: a wrong number of them, an index out of range or order, a value that is
	// not finite, a zero that the format does not store or stores elsewhere; and so
	// is a shape that Compress would refuse.
	Unpack(packed []uint8, rows, cols int) error
}

// A SparseFormat names a storage format.
type SparseFormat string

const (
	FormatNM       SparseFormat = "nm"
	FormatNMPacked SparseFormat = "nm-packed"
	FormatCSR      SparseFormat = "csr"
	FormatBitmap   SparseFormat = "bitmap"
)

// SparseFormats lists every format.
var SparseFormats = []SparseFormat{FormatNM, FormatNMPacked, FormatCSR, FormatBitmap}

// IsNM reports whether the format stores N of every M weights.
func (f SparseFormat) IsNM() bool { return f == FormatNM || f == FormatNMPacked }

// SparseWeightConfig configures SparseWeight.
type SparseWeightConfig struct {
	Format SparseFormat `wire:"format"` // default nm
	// N of every M weights are stored in the formats nm and nm-packed.
	N int `wire:"N"` // 1 ≤ N < M, default 2
	M int `wire:"M"` // ≥ 2, default 4
}

// DefaultSparseWeightConfig returns the defaults.
func DefaultSparseWeightConfig() SparseWeightConfig {
	return SparseWeightConfig{Format: FormatNM, N: 2, M: 4}
}

// Validate returns an Invalid error that names the field out of range.
func (c SparseWeightConfig) Validate() error {
	const m = "sparse-weight"
	for _, f := range SparseFormats {
		if c.Format == f {
			return checkNM(m, c.N, c.M)
		}
	}
	return Reject(Invalid, m, "format", fmt.Sprintf("one of %q", SparseFormats), fmt.Sprintf("%q", string(c.Format)))
}

// PlaceBits is the number of bits of a place in a group of M.
func (c SparseWeightConfig) PlaceBits() int { return bits.Len(uint(c.M - 1)) }

// MaxShortColumns is the number of columns up to which an index of 2 bytes reaches.
const MaxShortColumns = 1 << 16

// Bytes returns how many bytes a rows × cols matrix takes with so many values:
//
//	nm         (4 + 2)·values
//	nm-packed  4·values + ⌈values·⌈log₂ M⌉/8⌉
//	csr        4·values + 4·(rows + 1) + 2·values, or 4·values where cols > 65,536
//	bitmap     4·values + ⌈rows·cols/8⌉
//
// In nm and nm-packed there are rows·cols/M·N values.
func (c SparseWeightConfig) Bytes(rows, cols, values int) int {
	return 4*values + c.IndexBytes(rows, cols, values)
}

// IndexBytes returns how many of those bytes are the index.
func (c SparseWeightConfig) IndexBytes(rows, cols, values int) int {
	switch c.Format {
	case FormatNM:
		return 2 * values
	case FormatNMPacked:
		return (values*c.PlaceBits() + 7) / 8
	case FormatCSR:
		return 4*(rows+1) + ColumnBytes(cols)*values
	default:
		return (rows*cols + 7) / 8
	}
}

// ColumnBytes is the size of a column in the format csr.
func ColumnBytes(cols int) int {
	if cols > MaxShortColumns {
		return 4
	}
	return 2
}

// CheckWeights rejects an argument of Compress.
func (c SparseWeightConfig) CheckWeights(weights Matrix) error {
	const m, name = "sparse-weight", "dense_weights"
	return firstError(
		CheckMatrix(m, name, weights, -1, -1),
		notEmpty(m, name, weights),
		c.checkShape(name, weights.Rows, weights.Cols),
		CheckFinite(m, name, weights.Data),
	)
}

// CheckShape rejects a shape as Unpack takes it.
func (c SparseWeightConfig) CheckShape(rows, cols int) error {
	const m = "sparse-weight"
	return firstError(
		atLeast(m, "rows", rows, 1),
		atLeast(m, "cols", cols, 1),
		c.checkShape("cols", rows, cols),
	)
}

func (c SparseWeightConfig) checkShape(name string, rows, cols int) error {
	const m = "sparse-weight"
	if n, ok := Volume(rows, cols); !ok || n > maxElements {
		return Reject(Invalid, m, name, fmt.Sprintf("at most %d elements", maxElements), fmt.Sprintf("(%d, %d)", rows, cols))
	}
	if c.Format == FormatNM && cols > MaxShortColumns {
		return Reject(Invalid, m, name, fmt.Sprintf("at most %d columns, which 2 bytes hold", MaxShortColumns), cols)
	}
	if c.Format.IsNM() {
		return checkNMColumns(m, name, cols, c.M)
	}
	return nil
}

// CheckVector rejects an argument of Multiply.
func (c SparseWeightConfig) CheckVector(vector []float32, cols int) error {
	const m = "sparse-weight"
	if len(vector) != cols {
		return Reject(Invalid, m, "vector", fmt.Sprintf("%d elements", cols), len(vector))
	}
	return CheckFinite(m, "vector", vector)
}

// NothingStored is the error of a call that needs stored weights.
func (c SparseWeightConfig) NothingStored() error {
	return Reject(State, "sparse-weight", "weights", "a call of compress before", "none")
}

// SparseWeightStats count calls.
type SparseWeightStats struct {
	Compressions   int `wire:"total_compress_calls"`
	Decompressions int `wire:"total_decompress_calls"`
	// Ratio is CompressionRatio.
	Ratio float64 `wire:"current_compression_ratio"`
}

const (
	sparseWhy           = "weights are moved, never computed with"
	sparseProductWithin = "u·(cols + 2)·Σ|wᵢxᵢ| + u·2⁻¹²⁵ per element; rows where Σ|wᵢxᵢ| is beyond float32 excused"
	sparseProductWhy    = "a sum of cols products in working precision, zeros among them or not, and one rounding of the result; u·2⁻¹²⁵ is the spacing of subnormals"
	sparsePackedSource  = "packed storage is readable: 2:4 with two-bit places, as hardware has it"
)

var sparseWeight = &Module{
	Name: "sparse-weight", Wave: 24,
	Summary:   "a matrix without its zeros: N of every M weights, CSR or a bitmap",
	Interface: reflect.TypeFor[SparseWeight](),
	Config:    DefaultSparseWeightConfig(),
	Defaults:  defaults(func(SparseWeightConfig) SparseWeightConfig { return DefaultSparseWeightConfig() }),
	Operations: []Operation{
		op[SparseWeight]("compress", Param{}, named("dense_weights")),
		op[SparseWeight]("decompress", named("dense")),
		op[SparseWeight]("memory_bytes", named("bytes")),
		op[SparseWeight]("dense_memory_bytes", named("bytes")),
		op[SparseWeight]("compression_ratio", named("ratio")),
		op[SparseWeight]("stats", Param{}),
		optional[SparseWeightProduct]("multiply", named("product"), named("vector")),
		optional[SparseWeightStorage]("pack", named("packed")),
		optional[SparseWeightStorage]("unpack", Param{}, named("packed"), named("rows"), named("cols")),
	},
	Requirements: append([]Requirement{{
		ID: "sparse-weight/lossless", Level: Must, Kind: Law,
		Text:      "Any weights in csr and bitmap, and weights with at most N non-zeros of every M in nm and nm-packed, come back as they were.",
		Tolerance: "bitwise, but for the sign of zeros", Why: sparseWhy, Source: "page row sparse-weight/decompress: dense reconstruction",
	}, {
		ID: "sparse-weight/stored", Level: Must, Kind: Law,
		Text:      "Decompressed weights are those that the format stores, bit for bit, and +0 elsewhere: in nm and nm-packed the N largest magnitudes of every M, of equal ones the first, in csr and bitmap those that are not zero.",
		Tolerance: "bitwise", Why: sparseWhy, Source: "the recording's 2:4, by a count of the greater magnitudes",
	}, {
		ID: "sparse-weight/fixpoint", Level: Must, Kind: Law,
		Text:      "Compressing what was decompressed changes neither the weights nor the size.",
		Tolerance: "bitwise", Why: sparseWhy, Source: "stored weights are among those that the format stores of them",
	}, {
		ID: "sparse-weight/replaced", Level: Must, Kind: Law,
		Text:      "A second compression, of another shape, leaves nothing of the first.",
		Tolerance: "bitwise", Why: "the instance is compared with a new one", Source: "compress stores in place of what was stored before",
	}, {
		ID: "sparse-weight/bytes", Level: Must, Kind: Law,
		Text:      "Memory takes what the format's formula says to the byte, dense memory 4·rows·cols, and the ratio is the second over the first; all are 0 before anything is stored.",
		Tolerance: "bytes exact; ratio 2⁻⁵⁰", Why: "one division in float64", Source: "page row sparse-weight/compression-ratio: 1.333 for 2:4 in nm, and below 1 for csr at 30% zeros",
	}, {
		ID: "sparse-weight/columns", Level: Must, Kind: Law,
		Text:      "No column wraps: weights in columns up to 65,535 come back from every format, those beyond from all but nm, which refuses them.",
		Tolerance: exact, Why: exactWhy, Source: "Squish 6.0.0's columns of 16 bits with sign wrap above 32,767",
	}, {
		ID: "sparse-weight/state", Level: Must, Kind: Refusal,
		Text:      "Before anything is stored there is nothing to decompress.",
		Tolerance: exact, Why: "a call is accepted or refused", Source: "the recording",
	}, {
		ID: "sparse-weight/stats", Level: Must, Kind: Law,
		Text:      "Stats count the calls of compress and decompress that were accepted, and have the current ratio, 0 before any.",
		Tolerance: "counts exact; ratio 2⁻⁵⁰", Why: "one division in float64", Source: "the recording's stats",
	}, {
		ID: "sparse-weight/product", Level: Must, Kind: Law, Needs: []string{"multiply"},
		Text:      "The product with a vector is that of the decompressed weights.",
		Tolerance: sparseProductWithin, Why: sparseProductWhy, Source: "zeros add nothing; the dense product in big floats",
	}, {
		ID: "sparse-weight/layout", Level: Must, Kind: Law, Needs: []string{"pack"},
		Text:      "Packed weights are the bytes that the format defines, as many as memory takes.",
		Tolerance: exact, Why: "weights are moved, never computed with", Source: sparsePackedSource,
	}, {
		ID: "sparse-weight/round-trip", Level: Must, Kind: Law, Needs: []string{"pack", "unpack"},
		Text:      "Weights unpacked from what was packed are stored as they were: they decompress and pack to the same.",
		Tolerance: "bitwise", Why: sparseWhy, Source: sparsePackedSource,
	}, {
		ID: "sparse-weight/foreign", Level: Must, Kind: Refusal, Needs: []string{"pack", "unpack"},
		Text:      "Whatever value a byte of packed weights takes, unpacking refuses it or packing writes it again, and it refuses a byte more or less.",
		Tolerance: exact, Why: exactWhy, Source: "packed storage is lossless: what packing cannot write has no meaning",
	}}, common("sparse-weight", nil,
		"exact; calls of multiply are drawn with vectors of one element ±1, whose products are exact",
		sparseWhy, "the formats by their definitions, byte by byte")...),
}
