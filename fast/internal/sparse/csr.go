package sparse

import (
	"encoding/binary"
	"fmt"
)

// CSR is the index of compressed sparse rows: how many values stand before each row,
// and before the end, in 4 bytes; then the columns, in 2 bytes each, or in 4 where
// there are more than Short of them.
type CSR struct{}

// Short is the number of columns up to which an index of 2 bytes reaches.
const Short = 1 << 16

func (CSR) Begin(b []uint8, rows, cols int) []uint8 { return zeros(b, 4*(rows+1)) }

func (CSR) Append(b []uint8, rows, cols, r int, columns []uint32) []uint8 {
	if cols > Short {
		for _, c := range columns {
			b = binary.LittleEndian.AppendUint32(b, c)
		}
	} else {
		b = appendShort(b, columns)
	}
	binary.LittleEndian.PutUint32(b[4*r+4:], binary.LittleEndian.Uint32(b[4*r:])+uint32(len(columns)))
	return b
}

// appendShort writes columns of 2 bytes, four at a time.
func appendShort(b []uint8, columns []uint32) []uint8 {
	at := len(b)
	b = extend(b, 2*len(columns))
	rest := b[at:]
	for ; len(columns) >= 4; columns, rest = columns[4:], rest[8:] {
		c := (*[4]uint32)(columns)
		binary.LittleEndian.PutUint64(rest, uint64(c[0])|uint64(c[1])<<16|uint64(c[2])<<32|uint64(c[3])<<48)
	}
	for i, c := range columns {
		binary.LittleEndian.PutUint16(rest[2*i:], uint16(c))
	}
	return b
}

func (CSR) Row(dst []uint32, b []uint8, rows, cols, r int) []uint32 {
	from, to := int(binary.LittleEndian.Uint32(b[4*r:])), int(binary.LittleEndian.Uint32(b[4*r+4:]))
	columns := b[4*(rows+1):]
	if cols > Short {
		for i := from; i < to; i++ {
			dst = append(dst, binary.LittleEndian.Uint32(columns[4*i:]))
		}
		return dst
	}
	return shortRow(dst, columns[2*from:2*to])
}

// shortRow reads columns of 2 bytes, four at a time.
func shortRow(dst []uint32, columns []uint8) []uint32 {
	n := len(dst)
	dst = room(dst, len(columns)/2)
	rest := dst[n:]
	for ; len(columns) >= 8; columns, rest = columns[8:], rest[4:] {
		four, c := binary.LittleEndian.Uint64(columns), (*[4]uint32)(rest)
		c[0], c[1] = uint32(four&0xffff), uint32(four>>16&0xffff)
		c[2], c[3] = uint32(four>>32&0xffff), uint32(four>>48)
	}
	for i := range rest {
		rest[i] = uint32(binary.LittleEndian.Uint16(columns[2*i:]))
	}
	return dst
}

func (CSR) Split(stored []uint8, rows, cols int) (index, values int, ok bool) {
	if len(stored) < 4*(rows+1) {
		return 0, 0, false
	}
	n := int64(binary.LittleEndian.Uint32(stored[4*rows:]))
	size := int64(2)
	if cols > Short {
		size = 4
	}
	if n > int64(len(stored)-4*(rows+1))/size {
		return 0, 0, false
	}
	return 4*(rows+1) + int(n*size), int(n), true
}

func (x CSR) Check(b []uint8, rows, cols int) error {
	all := binary.LittleEndian.Uint32(b[4*rows:])
	before := uint32(0)
	for r := range rows + 1 {
		n := binary.LittleEndian.Uint32(b[4*r:])
		if n < before || n > all || r == 0 && n > 0 {
			return fmt.Errorf("%d values before row %d, %d before the next one, %d in all", before, r-1, n, all)
		}
		before = n
	}
	var columns []uint32
	for r := range rows {
		columns = x.Row(columns[:0], b, rows, cols, r)
		if err := ascending(columns, r, 0, cols); err != nil {
			return err
		}
	}
	return nil
}

// ascending checks columns of row r: ascending, from one column up to before
// another.
func ascending(columns []uint32, r, from, to int) error {
	next := int64(from)
	for _, c := range columns {
		if int64(c) < next || int64(c) >= int64(to) {
			return fmt.Errorf("column %d in row %d where one of %d to %d may stand", c, r, next, to-1)
		}
		next = int64(c) + 1
	}
	return nil
}

// zeros returns n bytes that are 0, in b's memory where that suffices.
func zeros(b []uint8, n int) []uint8 {
	b = extend(b[:0], n)
	clear(b)
	return b
}

// extend returns b with n bytes more, of any value.
func extend(b []uint8, n int) []uint8 {
	if cap(b)-len(b) < n {
		return append(b, make([]uint8, n)...)
	}
	return b[:len(b)+n]
}
