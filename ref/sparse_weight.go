package ref

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// NewSparseWeight returns the reference of spec.SparseWeight, or an error of kind
// spec.Invalid for a config out of range. It also computes with what it stores and
// packs it: spec.SparseWeightProduct and spec.SparseWeightStorage.
func NewSparseWeight(c spec.SparseWeightConfig) (spec.SparseWeight, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &sparseWeight{config: c}, nil
}

type sparseWeight struct {
	config spec.SparseWeightConfig
	stored *storedWeights // nil before anything is stored
	stats  spec.SparseWeightStats
}

// storedWeights are the weights that a format stores of a rows × cols matrix: the
// one at row·cols + column places[i] is values[i]. Places ascend.
type storedWeights struct {
	rows, cols int
	places     []int
	values     []float32
}

func (s *sparseWeight) Compress(weights spec.Matrix) error {
	if err := s.config.CheckWeights(weights); err != nil {
		return err
	}
	s.stored = s.store(weights)
	s.stats.Compressions++
	return nil
}

func (s *sparseWeight) store(weights spec.Matrix) *storedWeights {
	stored := &storedWeights{rows: weights.Rows, cols: weights.Cols}
	mask := make([]bool, len(weights.Data))
	if s.config.Format.IsNM() {
		mask = nmMask(weights.Data, s.config.N, s.config.M)
	} else {
		for i, w := range weights.Data {
			mask[i] = w != 0
		}
	}
	for i, kept := range mask {
		if kept {
			stored.places = append(stored.places, i)
			stored.values = append(stored.values, weights.Data[i])
		}
	}
	return stored
}

func (s *sparseWeight) Decompress(dst *spec.Matrix) error {
	if s.stored == nil {
		return s.config.NothingStored()
	}
	s.stored.dense(dst)
	s.stats.Decompressions++
	return nil
}

func (w *storedWeights) dense(dst *spec.Matrix) {
	dst.Resize(w.rows, w.cols)
	clear(dst.Data)
	for i, place := range w.places {
		dst.Data[place] = w.values[i]
	}
}

func (s *sparseWeight) Multiply(dst *[]float32, vector []float32) error {
	if s.stored == nil {
		return s.config.NothingStored()
	}
	if err := s.config.CheckVector(vector, s.stored.cols); err != nil {
		return err
	}
	sums := make([]float64, s.stored.rows)
	for i, place := range s.stored.places {
		row, column := place/s.stored.cols, place%s.stored.cols
		sums[row] += float64(float64(s.stored.values[i]) * float64(vector[column]))
	}
	*dst = spec.Resize(*dst, len(sums))
	for row, sum := range sums {
		(*dst)[row] = float32(sum)
	}
	return nil
}

func (s *sparseWeight) MemoryBytes() int {
	if s.stored == nil {
		return 0
	}
	return s.config.Bytes(s.stored.rows, s.stored.cols, len(s.stored.values))
}

func (s *sparseWeight) DenseMemoryBytes() int {
	if s.stored == nil {
		return 0
	}
	return 4 * s.stored.rows * s.stored.cols
}

func (s *sparseWeight) CompressionRatio() float64 {
	if s.stored == nil {
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
	if s.stored == nil {
		return s.config.NothingStored()
	}
	*dst = append((*dst)[:0], s.pack(s.stored)...)
	return nil
}

func (s *sparseWeight) pack(w *storedWeights) []uint8 {
	packed := s.index(w)
	for _, value := range w.values {
		packed = binary.LittleEndian.AppendUint32(packed, math.Float32bits(value))
	}
	return packed
}

func (s *sparseWeight) index(w *storedWeights) []uint8 {
	var index []uint8
	switch s.config.Format {
	case spec.FormatNM:
		for _, place := range w.places {
			index = appendSparseColumn(index, place%w.cols, 2)
		}
	case spec.FormatNMPacked:
		inGroup := make([]int, len(w.places))
		for i, place := range w.places {
			inGroup[i] = place % s.config.M
		}
		index = packSparseBits(inGroup, s.config.PlaceBits())
	case spec.FormatCSR:
		before := 0
		for row := range w.rows + 1 {
			for before < len(w.places) && w.places[before]/w.cols < row {
				before++
			}
			index = binary.LittleEndian.AppendUint32(index, uint32(before))
		}
		for _, place := range w.places {
			index = appendSparseColumn(index, place%w.cols, spec.ColumnBytes(w.cols))
		}
	case spec.FormatBitmap:
		stands := make([]int, w.rows*w.cols)
		for _, place := range w.places {
			stands[place] = 1
		}
		index = packSparseBits(stands, 1)
	}
	return index
}

func appendSparseColumn(index []uint8, column, size int) []uint8 {
	if size == 2 {
		return binary.LittleEndian.AppendUint16(index, uint16(column))
	}
	return binary.LittleEndian.AppendUint32(index, uint32(column))
}

// packSparseBits writes numbers of so many bits each, from the lowest bit of the first
// byte on, and fills up the last byte with 0.
func packSparseBits(numbers []int, width int) []uint8 {
	packed := make([]uint8, (len(numbers)*width+7)/8)
	for i := range len(numbers) * width {
		packed[i/8] |= uint8(numbers[i/width]>>(i%width)&1) << (i % 8)
	}
	return packed
}

// unpackSparseBits reads n numbers that packSparseBits wrote.
func unpackSparseBits(packed []uint8, n, width int) []int {
	numbers := make([]int, n)
	for i := range n * width {
		numbers[i/width] |= int(packed[i/8]>>(i%8)&1) << (i % width)
	}
	return numbers
}

// Unpack reads the bytes as if Pack had written them, and then asks whether it has:
// whether the format stores what was read, as it was read, and writes it so.
func (s *sparseWeight) Unpack(packed []uint8, rows, cols int) error {
	if err := s.config.CheckShape(rows, cols); err != nil {
		return err
	}
	stored, err := s.read(packed, rows, cols)
	if err != nil {
		return err
	}
	for i, place := range stored.places {
		if i > 0 && place <= stored.places[i-1] {
			return rejectSparse("", "ascending columns", fmt.Sprintf("value %d out of order", i))
		}
	}
	for i, again := range s.pack(stored) {
		if packed[i] != again {
			return rejectSparse(fmt.Sprintf("[%d]", i), fmt.Sprintf("%d, as packing writes", again), packed[i])
		}
	}
	if !s.stores(stored) {
		return rejectSparse("", "values that the format stores", "zeros that it stores elsewhere or not at all")
	}
	s.stored = stored
	return nil
}

// stores reports whether the format stores exactly these weights.
func (s *sparseWeight) stores(w *storedWeights) bool {
	if !s.config.Format.IsNM() {
		return !slices.Contains(w.values, 0)
	}
	var weights spec.Matrix
	w.dense(&weights)
	return slices.Equal(s.store(weights).places, w.places)
}

func rejectSparse(at, want string, got any) error {
	return spec.Reject(spec.Invalid, "sparse-weight", "packed"+at, want, got)
}

// read returns the weights that bytes speak of, with every place in the matrix and
// every value finite.
func (s *sparseWeight) read(packed []uint8, rows, cols int) (*storedWeights, error) {
	w := &storedWeights{rows: rows, cols: cols}
	n, err := s.countPacked(packed, rows, cols)
	if err != nil {
		return nil, err
	}
	if want := s.config.Bytes(rows, cols, n); len(packed) != want {
		return nil, rejectSparse("", fmt.Sprintf("%d bytes, for %d values", want, n), len(packed))
	}
	end := s.config.IndexBytes(rows, cols, n)
	index, values := packed[:end], packed[end:]
	switch s.config.Format {
	case spec.FormatNM:
		perRow := cols / s.config.M * s.config.N
		for i := range n {
			w.places = append(w.places, i/perRow*cols+int(binary.LittleEndian.Uint16(index[2*i:])))
		}
	case spec.FormatNMPacked:
		for i, inGroup := range unpackSparseBits(index, n, s.config.PlaceBits()) {
			w.places = append(w.places, i/s.config.N*s.config.M+inGroup)
		}
	case spec.FormatCSR:
		columns := index[4*(rows+1):]
		for row := range rows {
			from, to := binary.LittleEndian.Uint32(index[4*row:]), binary.LittleEndian.Uint32(index[4*row+4:])
			if int(from) != len(w.places) || to < from || int64(to) > int64(n) {
				return nil, rejectSparse(fmt.Sprintf("[%d]", 4*row), "numbers of values before each row", fmt.Sprintf("%d, then %d, of %d", from, to, n))
			}
			for i := int(from); i < int(to); i++ {
				w.places = append(w.places, row*cols+sparseColumnAt(columns, i, spec.ColumnBytes(cols)))
			}
		}
	case spec.FormatBitmap:
		for place, stands := range unpackSparseBits(index, rows*cols, 1) {
			if stands == 1 {
				w.places = append(w.places, place)
			}
		}
	}
	for i, place := range w.places {
		value := math.Float32frombits(binary.LittleEndian.Uint32(values[4*i:]))
		w.values = append(w.values, value)
		if uint(place) >= uint(rows*cols) {
			return nil, rejectSparse("", "columns of the matrix", fmt.Sprintf("value %d outside", i))
		}
	}
	return w, spec.CheckFinite("sparse-weight", "packed values", w.values)
}

// countPacked returns how many values an index speaks of.
func (s *sparseWeight) countPacked(packed []uint8, rows, cols int) (int, error) {
	index := s.config.IndexBytes(rows, cols, 0)
	if len(packed) < index {
		return 0, rejectSparse("", fmt.Sprintf("at least %d bytes", index), len(packed))
	}
	switch s.config.Format {
	case spec.FormatCSR:
		n := binary.LittleEndian.Uint32(packed[4*rows:])
		if int64(n) > int64(rows)*int64(cols) {
			return 0, rejectSparse(fmt.Sprintf("[%d]", 4*rows), fmt.Sprintf("at most %d values", rows*cols), n)
		}
		return int(n), nil
	case spec.FormatBitmap:
		n := 0
		for _, stands := range unpackSparseBits(packed[:index], rows*cols, 1) {
			n += stands
		}
		return n, nil
	}
	return rows * cols / s.config.M * s.config.N, nil
}

func sparseColumnAt(columns []uint8, i, size int) int {
	if size == 2 {
		return int(binary.LittleEndian.Uint16(columns[2*i:]))
	}
	return int(binary.LittleEndian.Uint32(columns[4*i:]))
}
