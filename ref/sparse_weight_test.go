package ref_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// Two rows of 2:4 weights. Their places in the groups, 1, 3, 0 and 2, take a byte:
// 1 + 4·3 + 16·0 + 64·2 = 141. Four float32 and that byte are 17 bytes of 32.
func ExampleNewSparseWeight() {
	s, err := ref.NewSparseWeight(spec.SparseWeightConfig{Format: spec.FormatNMPacked, N: 2, M: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := s.Compress(spec.Matrix{Rows: 2, Cols: 4, Data: []float32{
		0, 3, 0, -1,
		2, 0, 5, 0,
	}}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d of %d bytes, ratio %.2f\n", s.MemoryBytes(), s.DenseMemoryBytes(), s.CompressionRatio())

	var packed []uint8
	if err := s.(spec.SparseWeightStorage).Pack(&packed); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(packed)

	var product []float32
	if err := s.(spec.SparseWeightProduct).Multiply(&product, []float32{1, 2, 3, 4}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(product)

	var dense spec.Matrix
	if err := s.Decompress(&dense); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(dense.Data)
	// Output:
	// 17 of 32 bytes, ratio 1.88
	// [141 0 0 64 64 0 0 128 191 0 0 0 64 0 0 160 64]
	// [2 17]
	// [0 3 0 -1 2 0 5 0]
}

// The bytes of the same matrix in the other formats, before the four values.
func TestIndexBytes(t *testing.T) {
	w := spec.Matrix{Rows: 2, Cols: 4, Data: []float32{0, 3, 0, -1, 2, 0, 5, 0}}
	for format, want := range map[spec.SparseFormat][]uint8{
		spec.FormatNM:     {1, 0, 3, 0, 0, 0, 2, 0},
		spec.FormatCSR:    {0, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 3, 0, 0, 0, 2, 0},
		spec.FormatBitmap: {0b0101_1010},
	} {
		s := newSparseWeight(t, format)
		var packed []uint8
		if err := errors.Join(s.Compress(w), s.Pack(&packed)); err != nil {
			t.Fatal(err)
		}
		if len(packed) != len(want)+16 || !slices.Equal(packed[:len(want)], want) {
			t.Errorf("%s: got %v, want %v and 16 bytes of values", format, packed, want)
		}
	}
}

// The page's matrix, 128 × 256 with 30% zeros, and 2:4 of 256 × 256: CSR is larger
// than dense.
func TestCompressionRatiosOfThePagesShapes(t *testing.T) {
	for _, c := range []struct {
		format     spec.SparseFormat
		rows, zero int
		want       float64
	}{
		{spec.FormatNM, 256, 0, 1.333},
		{spec.FormatNMPacked, 256, 0, 1.882},
		{spec.FormatCSR, 128, 9830, 0.949},
		{spec.FormatBitmap, 128, 9830, 1.367},
	} {
		w := spec.Matrix{Rows: c.rows, Cols: 256, Data: make([]float32, c.rows*256)}
		for i := range w.Data[c.zero:] {
			w.Data[c.zero+i] = 1
		}
		s := newSparseWeight(t, c.format)
		if err := s.Compress(w); err != nil || math.Abs(s.CompressionRatio()-c.want) > 5e-4 {
			t.Errorf("%s: got %.4f (%v), want %v", c.format, s.CompressionRatio(), err, c.want)
		}
	}
}

func TestSparseWeightNamesWhatItRefuses(t *testing.T) {
	nm, placed := newSparseWeight(t, spec.FormatNM), newSparseWeight(t, spec.FormatNMPacked)
	csr, bitmap := newSparseWeight(t, spec.FormatCSR), newSparseWeight(t, spec.FormatBitmap)
	one := []uint8{0, 0, 128, 63} // float32(1)
	var dense spec.Matrix
	var numbers []float32
	var packed []uint8
	stored := newSparseWeight(t, spec.FormatCSR)
	if err := stored.Compress(spec.Matrix{Rows: 1, Cols: 2, Data: []float32{1, 0}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kind spec.ErrorKind
		name string
		err  error
	}{
		{spec.State, "weights", nm.Decompress(&dense)},
		{spec.State, "weights", nm.Pack(&packed)},
		{spec.State, "weights", nm.Multiply(&numbers, nil)},
		{spec.Invalid, "dense_weights", nm.Compress(spec.Matrix{})},
		{spec.Invalid, "dense_weights", nm.Compress(spec.Matrix{Rows: 2, Cols: 2, Data: make([]float32, 4)})},
		{spec.Invalid, "dense_weights", nm.Compress(spec.Matrix{Rows: 1, Cols: 65540, Data: make([]float32, 65540)})},
		{spec.Invalid, "dense_weights[1]", csr.Compress(spec.Matrix{Rows: 1, Cols: 2, Data: []float32{1, float32(math.Inf(-1))}})},
		{spec.Invalid, "vector", stored.Multiply(&numbers, []float32{1})},
		{spec.Invalid, "vector[1]", stored.Multiply(&numbers, []float32{1, float32(math.NaN())})},
		{spec.Invalid, "rows", csr.Unpack(nil, 0, 1)},
		{spec.Invalid, "cols", csr.Unpack(nil, 1, 0)},
		{spec.Invalid, "cols", csr.Unpack(make([]uint8, 8), 1, 1<<30+1)},
		{spec.Invalid, "cols", nm.Unpack(nil, 1, 65540)},
		{spec.Invalid, "packed", csr.Unpack(make([]uint8, 7), 1, 1)},
		{spec.Invalid, "packed", csr.Unpack(make([]uint8, 9), 1, 1)},
		{spec.Invalid, "packed[4]", csr.Unpack([]uint8{0, 0, 0, 0, 2, 0, 0, 0}, 1, 1)},
		{spec.Invalid, "packed[0]", csr.Unpack(append([]uint8{1, 0, 0, 0, 1, 0, 0, 0, 0, 0}, one...), 1, 1)},
		{spec.Invalid, "packed", csr.Unpack(append([]uint8{0, 0, 0, 0, 1, 0, 0, 0, 1, 0}, one...), 1, 1)},
		{spec.Invalid, "packed", csr.Unpack([]uint8{0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 128}, 1, 1)},
		{spec.Invalid, "packed values[0]", csr.Unpack([]uint8{0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 128, 127}, 1, 1)},
		{spec.Invalid, "packed[0]", bitmap.Unpack([]uint8{8}, 1, 3)},
		{spec.Invalid, "packed", nm.Unpack(slices.Concat([]uint8{2, 0, 1, 0}, one, one), 1, 4)},
		{spec.Invalid, "packed", nm.Unpack(append([]uint8{1, 0, 2, 0}, make([]uint8, 8)...), 1, 4)},
		{spec.Invalid, "packed[0]", placed.Unpack(slices.Concat([]uint8{0x14}, one, one), 1, 4)},
	} {
		if spec.KindOf(c.err) != c.kind || !strings.HasPrefix(c.err.Error(), "sparse-weight: "+c.name+": ") {
			t.Errorf("want %s refused as %s, got %v", c.name, c.kind, c.err)
		}
	}
	for _, s := range []spec.SparseWeight{nm, placed, csr, bitmap} {
		if got := s.Stats(); got != (spec.SparseWeightStats{}) || s.MemoryBytes() != 0 {
			t.Errorf("refusals have changed something: %+v, %d bytes", got, s.MemoryBytes())
		}
	}
}

type packedSparseWeight interface {
	spec.SparseWeight
	spec.SparseWeightProduct
	spec.SparseWeightStorage
}

func newSparseWeight(t *testing.T, format spec.SparseFormat) packedSparseWeight {
	t.Helper()
	s, err := ref.NewSparseWeight(spec.SparseWeightConfig{Format: format, N: 2, M: 4})
	if err != nil {
		t.Fatal(err)
	}
	return s.(packedSparseWeight)
}
