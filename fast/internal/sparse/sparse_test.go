package sparse

import (
	"math"
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var indexes = []struct {
	name string
	Index
	n, m int // N of M, 0 for any number
}{
	{"2:4", NM{2, 4}, 2, 4},
	{"1:4", NM{1, 4}, 1, 4},
	{"3:5", NM{3, 5}, 3, 5},
	{"packed 2:4", Packed{NM{2, 4}, 2}, 2, 4},
	{"packed 3:4", Packed{NM{3, 4}, 2}, 3, 4},
	{"packed 3:5", Packed{NM{3, 5}, 3}, 3, 5},
	{"packed 1:300", Packed{NM{1, 300}, 9}, 1, 300},
	{"CSR", CSR{}, 0, 1},
	{"bitmap", Bitmap{}, 0, 1},
}

// drawRow draws columns that a format may have in a row.
func drawRow(t *rapid.T, n, m, cols int) (columns []uint32) {
	if n == 0 {
		for c := range cols {
			if rapid.Bool().Draw(t, "stands") {
				columns = append(columns, uint32(c))
			}
		}
		return columns
	}
	for group := 0; group < cols; group += m {
		places := rapid.Permutation(upTo(m)).Draw(t, "places")[:n]
		slices.Sort(places)
		for _, p := range places {
			columns = append(columns, uint32(group+p))
		}
	}
	return columns
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func TestRowsComeBack(t *testing.T) {
	for _, x := range indexes {
		t.Run(x.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				rows, cols := rapid.IntRange(1, 5).Draw(t, "rows"), x.m*rapid.IntRange(1, 5).Draw(t, "groups")
				var want [][]uint32
				values := 0
				used := slices.Repeat([]uint8{0xa5}, 40)
				b := x.Begin(used[:7], rows, cols)
				for r := range rows {
					want = append(want, drawRow(t, x.n, x.m, cols))
					values += len(want[r])
					b = x.Append(b, rows, cols, r, want[r])
				}
				index, n, ok := x.Split(append(slices.Clone(b), 1, 2, 3), rows, cols)
				if index != len(b) || n != values || !ok {
					t.Fatalf("%d bytes, %d values, %v; want %d, %d", index, n, ok, len(b), values)
				}
				if _, _, ok := x.Split(b[:max(len(b)-1, 0)], rows, cols); ok {
					t.Fatal("a byte too few is enough")
				}
				if err := x.Check(b, rows, cols); err != nil {
					t.Fatal(err)
				}
				for r := range rows {
					if got := x.Row([]uint32{77}, b, rows, cols, r); !slices.Equal(got[1:], want[r]) || got[0] != 77 {
						t.Fatalf("row %d: got %v, want %v", r, got[1:], want[r])
					}
				}
			})
		})
	}
}

// A Coder writes the bytes that its Index writes from the columns, and reads them.
func TestCodersWriteTheIndex(t *testing.T) {
	for _, x := range indexes {
		coder, ok := x.Index.(Coder)
		if !ok {
			continue
		}
		t.Run(x.name, func(t *testing.T) {
			coded := 0
			rapid.Check(t, func(t *rapid.T) {
				rows, cols := rapid.IntRange(1, 5).Draw(t, "rows"), x.m*rapid.IntRange(1, 70).Draw(t, "groups")
				if !coder.Codes(cols) {
					return
				}
				coded++
				var wantValues, values []float32
				var dense []float32
				want, b := x.Begin(nil, rows, cols), x.Begin(nil, rows, cols)
				for r := range rows {
					columns := drawRow(t, x.n, x.m, cols)
					row := make([]float32, cols)
					for i, c := range columns {
						row[c] = float32(i + 1)
						wantValues = append(wantValues, row[c])
					}
					dense = append(dense, row...)
					want = x.Append(want, rows, cols, r, columns)
					var largest uint32
					b, values, largest = coder.Compress(b, values, rows, cols, r, row)
					if got := math.Float32frombits(largest); got != float32(len(columns)) {
						t.Fatalf("row %d: largest %v, want %v", r, got, len(columns))
					}
				}
				if !slices.Equal(b, want) || !slices.Equal(values, wantValues) {
					t.Fatalf("%v, %v, want %v, %v", b, values, want, wantValues)
				}
				rest := values
				for r := range rows {
					if got := coder.Before(b, rows, cols, r); got != len(values)-len(rest) {
						t.Fatalf("row %d: %d values before, want %d", r, got, len(values)-len(rest))
					}
					row := slices.Repeat([]float32{9}, cols)
					n := coder.Expand(row, rest, b, rows, cols, r)
					rest = rest[n:]
					if !slices.Equal(row, dense[r*cols:][:cols]) {
						t.Fatalf("row %d: got %v, want %v", r, row, dense[r*cols:][:cols])
					}
				}
			})
			if coded == 0 && (x.n == 0 || x.m == 4) {
				t.Error("nothing was coded")
			}
		})
	}
}

// Every value of every byte: what Check accepts is written again from its columns.
func TestEveryByteIsRefusedOrWrittenAgain(t *testing.T) {
	for _, x := range indexes {
		t.Run(x.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				rows, cols := rapid.IntRange(1, 3).Draw(t, "rows"), x.m*rapid.IntRange(1, 3).Draw(t, "groups")
				b := x.Begin(nil, rows, cols)
				for r := range rows {
					b = x.Append(b, rows, cols, r, drawRow(t, x.n, x.m, cols))
				}
				size := len(b)
				at := rapid.IntRange(0, size-1).Draw(t, "at")
				for value := range 256 {
					b[at] = uint8(value)
					if index, _, ok := x.Split(b, rows, cols); !ok || index != size || x.Check(b, rows, cols) != nil {
						continue
					}
					again := x.Begin(nil, rows, cols)
					for r := range rows {
						again = x.Append(again, rows, cols, r, x.Row(nil, b, rows, cols, r))
					}
					if !slices.Equal(again, b) {
						t.Fatalf("%v reads as %v", b, again)
					}
				}
			})
		})
	}
}

func TestWideColumnsTakeFourBytes(t *testing.T) {
	for _, c := range []struct{ cols, bytes int }{{Short, 2}, {Short + 1, 4}} {
		columns := []uint32{0, 32767, 32768, uint32(c.cols - 1)}
		b := CSR{}.Append(CSR{}.Begin(nil, 1, c.cols), 1, c.cols, 0, columns)
		if got := (CSR{}).Row(nil, b, 1, c.cols, 0); len(b) != 8+4*c.bytes || !slices.Equal(got, columns) || (CSR{}).Check(b, 1, c.cols) != nil {
			t.Errorf("%d columns: %d bytes, %v", c.cols, len(b), got)
		}
	}
}

// Bits stand where a number written bit by bit has them.
func TestBitsOfEveryWidth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(1, 31).Draw(t, "width")
		numbers := rapid.SliceOfN(rapid.Uint32Range(0, 1<<width-1), 1, 9).Draw(t, "numbers")
		b := make([]uint8, (len(numbers)*width+7)/8)
		for i, number := range numbers {
			putBits(b, i*width, number)
		}
		ones := 0
		for i, number := range numbers {
			for k := range width {
				if at := i*width + k; b[at/8]>>(at%8)&1 != uint8(number>>k&1) {
					t.Fatalf("bit %d of number %d of %v: %v", k, i, numbers, b)
				}
			}
			if got := getBits(b, i*width, width); got != number {
				t.Fatalf("number %d of %v: got %d", i, numbers, got)
			}
			ones += bits.OnesCount32(number)
		}
		for _, x := range b {
			ones -= bits.OnesCount8(x)
		}
		if ones != 0 {
			t.Fatalf("%v has %d ones too many", b, -ones)
		}
	})
}

func TestNonZerosAndMarked(t *testing.T) {
	weights := []float32{0, 1, float32(math.Copysign(0, -1)), -1, 0x1p-149, 0}
	marks := make([]bool, len(weights))
	for i, w := range weights {
		marks[i] = w != 0
	}
	want := []uint32{9, 1, 3, 4}
	for _, capacity := range []int{1, 4, 20} {
		dst := append(make([]uint32, 0, capacity), 9)
		if got := NonZeros(dst, weights); !slices.Equal(got, want) {
			t.Errorf("NonZeros: got %v, want %v", got, want)
		}
		if got := Marked(dst, marks); !slices.Equal(got, want) {
			t.Errorf("Marked: got %v, want %v", got, want)
		}
	}
}
