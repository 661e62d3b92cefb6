package sparse

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/squishspec/squishspec/fast/internal/kern"
)

// A Coder writes and reads rows of weights without a list of columns between: the
// same bytes as the Index that it is, by a kernel.
type Coder interface {
	Index
	// Codes reports whether it does so for rows of so many columns.
	Codes(cols int) bool
	// Compress adds row r to an index and values with all rows before, and returns the
	// bits of its greatest magnitude: above those of +Inf where there is a NaN.
	Compress(b []uint8, values []float32, rows, cols, r int, row []float32) ([]uint8, []float32, uint32)
	// Expand writes row r, whose values begin the given ones, and returns how many they
	// are. Behind the last of b and of values there is Room.
	Expand(row, values []float32, b []uint8, rows, cols, r int) int
	// Before returns how many values stand before row r.
	Before(b []uint8, rows, cols, r int) int
}

// Room returns s with so much capacity behind its last element that a Coder may read
// there.
func Room[T uint8 | float32](s []T) []T { return slices.Grow(s, 2*kern.Slack) }

// more returns s with so many more elements, and Room behind them.
func more[T uint8 | float32](s []T, n int) []T { return slices.Grow(s, n+2*kern.Slack)[:len(s)+n] }

func (CSR) Codes(cols int) bool { return cols <= Short }

func (CSR) Compress(b []uint8, values []float32, rows, cols, r int, row []float32) ([]uint8, []float32, uint32) {
	at, n := len(b), len(values)
	b, values = more(b, 2*cols), more(values, cols)
	count, largest := kern.CompressNonZero(values[n:], b[at:], row)
	binary.LittleEndian.PutUint32(b[4*r+4:], uint32(n+count))
	return b[:at+2*count], values[:n+count], largest
}

func (CSR) Expand(row, values []float32, b []uint8, rows, cols, r int) int {
	from, to := int(binary.LittleEndian.Uint32(b[4*r:])), int(binary.LittleEndian.Uint32(b[4*r+4:]))
	columns := b[4*(rows+1)+2*from : 4*(rows+1)+2*to]
	clear(row)
	values = values[:to-from]
	for ; len(columns) >= 8 && len(values) >= 4; columns, values = columns[8:], values[4:] {
		four, v := binary.LittleEndian.Uint64(columns), (*[4]float32)(values)
		row[uint16(four)] = v[0]
		row[uint16(four>>16)] = v[1]
		row[uint16(four>>32)] = v[2]
		row[four>>48] = v[3]
	}
	for i, v := range values {
		row[binary.LittleEndian.Uint16(columns[2*i:])] = v
	}
	return to - from
}

func (x NM) Codes(int) bool { return x.M == 4 }

func (x NM) Compress(b []uint8, values []float32, rows, cols, r int, row []float32) ([]uint8, []float32, uint32) {
	at, n := len(b), len(values)
	kept := x.values(1, cols)
	b, values = more(b, 2*kept), more(values, kept)
	largest := kern.Compress4(values[n:], b[at:], row, x.N)
	return b, values, largest
}

func (x NM) Expand(row, values []float32, b []uint8, rows, cols, r int) int {
	kept := x.values(1, cols)
	kern.Expand4(row, values, b[2*r*kept:], x.N)
	return kept
}

func (CSR) Before(b []uint8, rows, cols, r int) int {
	return int(binary.LittleEndian.Uint32(b[4*r:]))
}

func (x NM) Before(b []uint8, rows, cols, r int) int { return x.values(r, cols) }

// Codes for rows that begin with a byte: four places of 2 bits are one.
func (x Packed) Codes(cols int) bool { return x.M == 4 && x.values(1, cols)%4 == 0 }

// stretch is how many weights Packed has the columns of at once.
const stretch = 1024

// A stretchColumns are their columns, 2 bytes each, and room behind them.
type stretchColumns [2 * (stretch + kern.Slack)]uint8

func (x Packed) Compress(b []uint8, values []float32, rows, cols, r int, row []float32) ([]uint8, []float32, uint32) {
	var columns stretchColumns
	largest, to := uint32(0), b[r*x.values(1, cols)/4:]
	for len(row) > 0 {
		some := row[:min(stretch, len(row))]
		n, kept := len(values), x.values(1, len(some))
		values = more(values, kept)
		largest = max(largest, kern.Compress4(values[n:], columns[:], some, x.N))
		for i := range kept / 4 {
			four := binary.LittleEndian.Uint64(columns[8*i:]) & 0x0003_0003_0003_0003
			to[i] = uint8(four | four>>14 | four>>28 | four>>42)
		}
		row, to = row[len(some):], to[kept/4:]
	}
	return b, values, largest
}

func (x Packed) Expand(row, values []float32, b []uint8, rows, cols, r int) int {
	var columns stretchColumns
	// N bytes are four groups: the columns of the first of those, 2 bytes each.
	var groups [4]uint64
	for i := range 4 * x.N {
		groups[i/4] |= uint64(i/x.N*4) << (i % 4 * 16)
	}
	from, all := b[r*x.values(1, cols)/4:], x.values(1, cols)
	for len(row) > 0 {
		some := row[:min(stretch, len(row))]
		kept := x.values(1, len(some))
		next, group := uint64(0), 0
		for i, four := range from[:kept/4] {
			v := uint64(four)
			places := v&3 | v&0xc<<14 | v&0x30<<28 | v&0xc0<<42
			binary.LittleEndian.PutUint64(columns[8*i:], groups[group]+next+places)
			if group++; group == x.N {
				group, next = 0, next+16*0x0001_0001_0001_0001
			}
		}
		kern.Expand4(some, values, columns[:], x.N)
		row, values, from = row[len(some):], values[kept:], from[kept/4:]
	}
	return all
}

// Codes for rows that begin with a byte, and do not last too long.
func (Bitmap) Codes(cols int) bool { return cols%8 == 0 && cols <= 1<<20 }

func (Bitmap) Compress(b []uint8, values []float32, rows, cols, r int, row []float32) ([]uint8, []float32, uint32) {
	n := len(values)
	values = more(values, cols)
	count, largest := kern.CompressBits(values[n:n+cols+kern.Slack], b[r*cols/8:], row)
	return b, values[:n+count], largest
}

func (Bitmap) Expand(row, values []float32, b []uint8, rows, cols, r int) int {
	return kern.ExpandBits(row, values[:len(values)+kern.Slack], b[r*cols/8:])
}

func (Bitmap) Before(b []uint8, rows, cols, r int) (n int) {
	b = b[:r*cols/8]
	for ; len(b) >= 8; b = b[8:] {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(b))
	}
	for _, eight := range b {
		n += bits.OnesCount8(eight)
	}
	return n
}
