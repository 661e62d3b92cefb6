package sparse

import "math/bits"

// Bitmap is a bit for each element, row by row, 1 where a value stands, the first in
// the lowest bit of the first byte, the last byte filled up with 0.
type Bitmap struct{}

func (Bitmap) Begin(b []uint8, rows, cols int) []uint8 { return zeros(b, (rows*cols+7)/8) }

func (Bitmap) Append(b []uint8, rows, cols, r int, columns []uint32) []uint8 {
	first := r * cols
	for _, c := range columns {
		at := first + int(c)
		b[at/8] |= 1 << (at % 8)
	}
	return b
}

func (Bitmap) Row(dst []uint32, b []uint8, rows, cols, r int) []uint32 {
	for c := 0; c < cols; {
		at := r*cols + c
		n := min(8-at%8, cols-c) // bits of this byte in the row
		for rest := uint32(b[at/8]) >> (at % 8) & (1<<n - 1); rest > 0; rest &= rest - 1 {
			dst = append(dst, uint32(c+bits.TrailingZeros32(rest)))
		}
		c += n
	}
	return dst
}

func (Bitmap) Split(stored []uint8, rows, cols int) (index, values int, ok bool) {
	index = (rows*cols + 7) / 8
	if len(stored) < index {
		return 0, 0, false
	}
	for _, b := range stored[:index] {
		values += bits.OnesCount8(b)
	}
	return index, values, true
}

func (Bitmap) Check(b []uint8, rows, cols int) error { return checkFilling(b, rows*cols) }
