package fast

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/nm"
	"github.com/squishspec/squishspec/fast/internal/parallel"
	"github.com/squishspec/squishspec/fast/internal/radix"
	"github.com/squishspec/squishspec/fast/internal/sparse"
	"github.com/squishspec/squishspec/spec"
)

// NewSparseWeight returns the optimised spec.SparseWeight, or an error of kind
// spec.Invalid for a config out of range. It also computes with what it stores and
// packs it: spec.SparseWeightProduct and spec.SparseWeightStorage.
//
// Rows are coded by kernels where the format has them, and else by a list of columns.
// An instance keeps what is stored, and as much memory again to write the next into.
func NewSparseWeight(c spec.SparseWeightConfig) (spec.SparseWeight, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &sparseWeight{config: c, selector: nm.New(c.N, c.M)}
	switch groups := (sparse.NM{N: c.N, M: c.M}); c.Format {
	case spec.FormatNM:
		s.format = groups
	case spec.FormatNMPacked:
		s.format = sparse.Packed{NM: groups, Bits: c.PlaceBits()}
	case spec.FormatCSR:
		s.format = sparse.CSR{}
	case spec.FormatBitmap:
		s.format = sparse.Bitmap{}
	}
	return s, nil
}

type sparseWeight struct {
	config     spec.SparseWeightConfig
	format     sparse.Index
	rows, cols int // 0 before anything is stored
	sparseStored
	stats spec.SparseWeightStats

	next     sparseStored // what may be stored, if all is finite
	expand   sparseExpand
	selector *nm.Selector
	mask     []bool    // of a row
	columns  []uint32  // of a row
	dense    []float32 // a row
}

type sparseStored struct {
	index  []uint8
	values []float32 // row by row, ascending columns
}

// Compress writes beside what is stored, which is still there where a weight is not
// finite: a group keeps its greatest magnitude, and so a value shows it.
func (s *sparseWeight) Compress(weights spec.Matrix) error {
	if !isMatrix(weights) || s.config.CheckShape(weights.Rows, weights.Cols) != nil {
		return s.config.CheckWeights(weights)
	}
	rows, cols := weights.Rows, weights.Cols
	next := &s.next
	next.index, next.values = s.format.Begin(next.index, rows, cols), next.values[:0]
	coder, _ := s.format.(sparse.Coder)
	if coder != nil && !coder.Codes(cols) {
		coder = nil
	}
	for r := range rows {
		var largest uint32
		if coder != nil {
			next.index, next.values, largest = coder.Compress(next.index, next.values, rows, cols, r, weights.Row(r))
		} else {
			largest = s.compressRow(next, weights, r)
		}
		if largest >= math.Float32bits(float32(math.Inf(1))) {
			return s.config.CheckWeights(weights)
		}
	}
	s.sparseStored, s.next = s.next, s.sparseStored
	s.rows, s.cols = rows, cols
	s.stats.Compressions++
	return nil
}

// compressRow adds row r by its columns, and returns the bits of its greatest
// magnitude.
func (s *sparseWeight) compressRow(next *sparseStored, weights spec.Matrix, r int) (largest uint32) {
	row := weights.Row(r)
	if s.config.Format.IsNM() {
		s.mask = spec.Resize(s.mask, len(row))
		s.selector.Mask(s.mask, row)
		s.columns = sparse.Marked(s.columns[:0], s.mask)
	} else {
		s.columns = sparse.NonZeros(s.columns[:0], row)
	}
	next.index = s.format.Append(next.index, weights.Rows, weights.Cols, r, s.columns)
	n := len(next.values)
	next.values = slices.Grow(next.values, len(s.columns))[:n+len(s.columns)]
	for i, c := range s.columns {
		largest = max(largest, radix.Magnitude(row[c]))
		next.values[n+i] = row[c]
	}
	return largest
}

func (s *sparseWeight) Decompress(dst *spec.Matrix) error {
	if s.rows == 0 {
		return s.config.NothingStored()
	}
	dst.Resize(s.rows, s.cols)
	coder, _ := s.format.(sparse.Coder)
	if coder != nil && coder.Codes(s.cols) {
		s.expand = sparseExpand{s, coder, *dst}
		const ns = 0.2 // a weight
		parallel.Run(&s.expand, s.rows, ns*float64(s.cols))
		s.expand = sparseExpand{}
	} else {
		s.expandByColumns(dst)
	}
	s.stats.Decompressions++
	return nil
}

// A sparseExpand writes rows from what is stored.
type sparseExpand struct {
	*sparseWeight
	coder sparse.Coder
	dst   spec.Matrix
}

func (e *sparseExpand) Part(_, lo, hi int) {
	values := e.values[e.coder.Before(e.index, e.rows, e.cols, lo):]
	for r := lo; r < hi; r++ {
		values = values[e.coder.Expand(e.dst.Row(r), values, e.index, e.rows, e.cols, r):]
	}
}

func (s *sparseWeight) expandByColumns(dst *spec.Matrix) {
	clear(dst.Data)
	values := s.values
	for r := range s.rows {
		s.columns = s.format.Row(s.columns[:0], s.index, s.rows, s.cols, r)
		row := dst.Row(r)
		stored := values[:len(s.columns)]
		for i, c := range s.columns {
			row[c] = stored[i]
		}
		values = values[len(s.columns):]
	}
}

func (s *sparseWeight) Multiply(dst *[]float32, vector []float32) error {
	if s.rows == 0 {
		return s.config.NothingStored()
	}
	if err := s.config.CheckVector(vector, s.cols); err != nil {
		return err
	}
	*dst = spec.Resize(*dst, s.rows)
	coder, _ := s.format.(sparse.Coder)
	// With fewer values than an eighth, what is 0 costs more than it saves.
	if coder == nil || !coder.Codes(s.cols) || 8*len(s.values) < s.rows*s.cols {
		values := s.values
		for r := range s.rows {
			var n int
			(*dst)[r], n = s.multiplyRow(r, values, vector)
			values = values[n:]
		}
		return nil
	}
	s.dense = spec.Resize(s.dense, s.cols)
	values := s.values
	for r := range s.rows {
		n := coder.Expand(s.dense, values, s.index, s.rows, s.cols, r)
		// Sums in float32 are as good where nothing over- or underflows on the way. What
		// does is below 2⁻¹⁴⁹ a weight, nothing against 2⁻¹⁰⁰.
		sum := kern.Dot(s.dense, vector)
		if magnitude := max(sum, -sum); !(magnitude >= 0x1p-100 && magnitude <= math.MaxFloat32) {
			sum, _ = s.multiplyRow(r, values, vector)
		}
		(*dst)[r], values = sum, values[n:]
	}
	return nil
}

// multiplyRow multiplies row r, whose values begin the given ones, in float64, and
// returns how many they are.
func (s *sparseWeight) multiplyRow(r int, values, vector []float32) (product float32, n int) {
	s.columns = s.format.Row(s.columns[:0], s.index, s.rows, s.cols, r)
	stored, sum := values[:len(s.columns)], 0.0
	for i, c := range s.columns {
		sum += float64(stored[i]) * float64(vector[c])
	}
	return float32(sum), len(stored)
}

func (s *sparseWeight) MemoryBytes() int { return len(s.index) + 4*len(s.values) }

func (s *sparseWeight) DenseMemoryBytes() int { return 4 * s.rows * s.cols }

func (s *sparseWeight) CompressionRatio() float64 {
	if s.rows == 0 {
		return 0
	}
	return float64(s.DenseMemoryBytes()) / float64(s.MemoryBytes())
}

func (s *sparseWeight) Stats() spec.SparseWeightStats {
	stats := s.stats
	stats.Ratio = s.CompressionRatio()
	return stats
}

func (s *sparseWeight) Pack(dst *[]uint8) error {
	if s.rows == 0 {
		return s.config.NothingStored()
	}
	*dst = spec.Resize(*dst, s.MemoryBytes())
	values := (*dst)[copy(*dst, s.index):]
	for i, v := range s.values {
		binary.LittleEndian.PutUint32(values[4*i:], math.Float32bits(v))
	}
	return nil
}

// Unpack checks the bytes where they are, and then copies them.
func (s *sparseWeight) Unpack(packed []uint8, rows, cols int) error {
	if err := s.config.CheckShape(rows, cols); err != nil {
		return err
	}
	end, n, ok := s.format.Split(packed, rows, cols)
	if !ok || len(packed) != end+4*n {
		return rejectSparse("as many bytes as the index and its values take", fmt.Sprintf("%d for shape (%d, %d)", len(packed), rows, cols))
	}
	index, values := packed[:end], packed[end:]
	if err := s.format.Check(index, rows, cols); err != nil {
		return rejectSparse("an index that packing writes", err)
	}
	for r, at := 0, 0; r < rows; r++ {
		s.columns = s.format.Row(s.columns[:0], index, rows, cols, r)
		for i, c := range s.columns {
			v := math.Float32frombits(binary.LittleEndian.Uint32(values[4*at:]))
			if v-v != 0 {
				return rejectSparse("finite values", fmt.Sprintf("%v in row %d, column %d", v, r, c))
			}
			if v == 0 && !s.storesZero(i, int(c)) {
				return rejectSparse("zeros where the format stores them", fmt.Sprintf("one in row %d, column %d", r, c))
			}
			at++
		}
	}
	s.rows, s.cols = rows, cols
	s.index = sparse.Room(append(s.index[:0], index...))
	s.values = sparse.Room(spec.Resize(s.values, n))
	for i := range s.values {
		s.values[i] = math.Float32frombits(binary.LittleEndian.Uint32(values[4*i:]))
	}
	return nil
}

// storesZero reports whether value i of a row, in column c, may be zero: in a group
// with fewer than N other weights the first zeros are stored, so that all columns
// of the group before it have values.
func (s *sparseWeight) storesZero(i, c int) bool {
	return s.config.Format.IsNM() && c%s.config.M == i%s.config.N
}

func rejectSparse(want string, got any) error {
	return spec.Reject(spec.Invalid, "sparse-weight", "packed", want, got)
}
