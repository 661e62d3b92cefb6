package fast

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestSparseWeightAllocatesNothingInTheSteadyState(t *testing.T) {
	for i, format := range append(spec.SparseFormats, spec.SparseFormats...) {
		m := 4 + i/len(spec.SparseFormats)
		s, err := NewSparseWeight(spec.SparseWeightConfig{Format: format, N: 2, M: m})
		if err != nil {
			t.Fatal(err)
		}
		cols := 40 + i/len(spec.SparseFormats)*5 // whole bytes of places, and not
		w := spec.Matrix{Rows: 7, Cols: cols, Data: make([]float32, 7*cols)}
		for i := range w.Data {
			w.Data[i] = float32(i % 3)
		}
		var dense spec.Matrix
		var product []float32
		var packed []uint8
		calls := func() {
			err = errors.Join(err, s.Compress(w), s.Decompress(&dense),
				s.(spec.SparseWeightProduct).Multiply(&product, w.Row(0)), s.(spec.SparseWeightStorage).Pack(&packed))
		}
		calls()
		if n := testing.AllocsPerRun(20, calls); n != 0 || err != nil {
			t.Errorf("%s, 2 of %d: %v allocations a call, %v", format, m, n, err)
		}
	}
}

// Large matrices, which several goroutines expand, come back; and what is stored stays
// where the next is refused in its last row.
func TestSparseWeightOfManyRows(t *testing.T) {
	w := spec.Matrix{Rows: 1500, Cols: 800, Data: make([]float32, 1500*800)}
	for i := range w.Data {
		if i%4 < 2 { // a group's 2 of 4
			w.Data[i] = float32(i%1009) - 504
		}
	}
	refused := spec.Matrix{Rows: w.Rows, Cols: w.Cols, Data: slices.Clone(w.Data)}
	refused.Data[len(refused.Data)-3] = float32(math.Inf(-1))
	for _, format := range spec.SparseFormats {
		s, err := NewSparseWeight(spec.SparseWeightConfig{Format: format, N: 2, M: 4})
		if err != nil {
			t.Fatal(err)
		}
		var dense spec.Matrix
		for range 2 {
			if err := errors.Join(s.Compress(w), s.Decompress(&dense)); err != nil || !slices.Equal(dense.Data, w.Data) {
				t.Errorf("%s: the weights do not come back, error %v", format, err)
			}
			if err := s.Compress(refused); spec.KindOf(err) != spec.Invalid {
				t.Errorf("%s: got %v", format, err)
			}
			if err := s.Decompress(&dense); err != nil || !slices.Equal(dense.Data, w.Data) {
				t.Errorf("%s: after a refusal the weights do not come back, error %v", format, err)
			}
		}
	}
}

func TestSparseWeightNamesWhatItRefuses(t *testing.T) {
	one := []uint8{0, 0, 128, 63} // float32(1)
	for _, c := range []struct {
		format spec.SparseFormat
		packed []uint8
		cols   int
		want   string
	}{
		{spec.FormatCSR, make([]uint8, 8), 1<<30 + 1, "cols: want at most 1073741824 elements, got (1, 1073741825)"},
		{spec.FormatNM, nil, 65540, "cols: want at most 65536 columns, which 2 bytes hold, got 65540"},
		{spec.FormatNM, nil, 6, "cols: want a multiple of M (4) columns, got 6"},
		{spec.FormatCSR, []uint8{0, 0, 0, 0, 255, 255, 255, 255}, 1, "packed: want as many bytes as the index and its values take, got 8 for shape (1, 1)"},
		{spec.FormatCSR, append([]uint8{0, 0, 0, 0, 1, 0, 0, 0, 1, 0}, one...), 1, "packed: want an index that packing writes, got column 1 in row 0 where one of 0 to 0 may stand"},
		{spec.FormatCSR, []uint8{0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 128}, 1, "packed: want zeros where the format stores them, got one in row 0, column 0"},
		{spec.FormatBitmap, append([]uint8{2}, one...), 1, "packed: want an index that packing writes, got a last byte 2 that is not filled up with 0"},
		{spec.FormatBitmap, []uint8{1, 0, 0, 128, 255}, 1, "packed: want finite values, got -Inf in row 0, column 0"},
	} {
		s, err := NewSparseWeight(spec.SparseWeightConfig{Format: c.format, N: 2, M: 4})
		if err != nil {
			t.Fatal(err)
		}
		err = s.(spec.SparseWeightStorage).Unpack(c.packed, 1, c.cols)
		if spec.KindOf(err) != spec.Invalid || strings.TrimPrefix(err.Error(), "sparse-weight: ") != c.want {
			t.Errorf("%s: got %v, want %s", c.format, err, c.want)
		}
		var dense spec.Matrix
		if err := s.Decompress(&dense); spec.KindOf(err) != spec.State || s.Stats() != (spec.SparseWeightStats{}) {
			t.Errorf("%s: after a refusal got %v, and stats %v", c.format, err, s.Stats())
		}
	}
}

// A product that over- or underflows in float32 on the way is taken in float64.
func TestSparseWeightMultipliesAtEveryMagnitude(t *testing.T) {
	w := spec.Matrix{Rows: 5, Cols: 8, Data: []float32{
		1e38, -1e38, 0, 0, 0x1p100, 0x1p101, 0, 0,
		1e-30, 1e-30, 0, 0, -1e-30, 3e-30, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0,
		1, -1, 0, 0, 0.5, 0.25, 0, 0,
		3e38, -1.5e38, 0, 0, 3e38, -1.5e38, 0, 0,
	}}
	three := float32(3 * 0x1p100)
	for _, c := range []struct{ x, want []float32 }{
		{[]float32{4, 4, 9, 9, 1, 1, 9, 9}, []float32{three, 10e-30, 0, 0.75, float32(math.Inf(1))}},
		{[]float32{1, 1, 9, 9, 1, 1, 9, 9}, []float32{three, 4e-30, 0, 0.75, 3e38}},
		{[]float32{1e-15, 1e-15, 9, 9, 1e-15, 1e-15, 9, 9}, []float32{three * 1e-15, 4e-45, 0, 0.75e-15, 3e23}},
	} {
		for _, format := range spec.SparseFormats {
			s, err := NewSparseWeight(spec.SparseWeightConfig{Format: format, N: 2, M: 4})
			if err != nil {
				t.Fatal(err)
			}
			var got []float32
			if err := errors.Join(s.Compress(w), s.(spec.SparseWeightProduct).Multiply(&got, c.x)); err != nil {
				t.Fatal(err)
			}
			for r, want := range c.want {
				if got[r] != want && !(math.Abs(float64(got[r]-want)) <= 0x1p-20*float64(want)) {
					t.Errorf("%s: row %d by %v is %v, want %v", format, r, c.x, got[r], want)
				}
			}
		}
	}
}
