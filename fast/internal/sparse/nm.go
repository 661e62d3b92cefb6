package sparse

import "fmt"

// NM is the index of N values in every group of M columns: their columns, in 2
// bytes each. All rows have equally many, so that nothing needs to be counted.
type NM struct{ N, M int }

func (x NM) values(rows, cols int) int { return rows * (cols / x.M * x.N) }

func (NM) Begin(b []uint8, rows, cols int) []uint8 { return b[:0] }

func (NM) Append(b []uint8, rows, cols, r int, columns []uint32) []uint8 {
	return appendShort(b, columns)
}

func (x NM) Row(dst []uint32, b []uint8, rows, cols, r int) []uint32 {
	size := 2 * x.values(1, cols)
	return shortRow(dst, b[r*size:(r+1)*size])
}

func (x NM) Split(stored []uint8, rows, cols int) (index, values int, ok bool) {
	n := x.values(rows, cols)
	return 2 * n, n, len(stored) >= 2*n
}

func (x NM) Check(b []uint8, rows, cols int) error { return checkGroups(x, x, b, rows, cols) }

// checkGroups checks that every group has its N columns.
func checkGroups(x Index, nm NM, b []uint8, rows, cols int) error {
	var columns []uint32
	for r := range rows {
		columns = x.Row(columns[:0], b, rows, cols, r)
		for i := 0; i < len(columns); i += nm.N {
			group := i / nm.N * nm.M
			if err := ascending(columns[i:i+nm.N], r, group, group+nm.M); err != nil {
				return err
			}
		}
	}
	return nil
}

// Packed is NM with the places in the group, of Bits bits each, the first in the
// lowest bits of the first byte, the last byte filled up with 0.
type Packed struct {
	NM
	Bits int
}

func (x Packed) bytes(rows, cols int) int { return (x.values(rows, cols)*x.Bits + 7) / 8 }

func (x Packed) Begin(b []uint8, rows, cols int) []uint8 { return zeros(b, x.bytes(rows, cols)) }

func (x Packed) Append(b []uint8, rows, cols, r int, columns []uint32) []uint8 {
	at, group := r*len(columns)*x.Bits, 0
	for i := 0; i < len(columns); i += x.N {
		for _, c := range columns[i : i+x.N] {
			putBits(b, at, c-uint32(group))
			at += x.Bits
		}
		group += x.M
	}
	return b
}

func (x Packed) Row(dst []uint32, b []uint8, rows, cols, r int) []uint32 {
	at := r * x.values(1, cols) * x.Bits
	for group := 0; group < cols; group += x.M {
		for range x.N {
			dst = append(dst, uint32(group)+getBits(b, at, x.Bits))
			at += x.Bits
		}
	}
	return dst
}

func (x Packed) Split(stored []uint8, rows, cols int) (index, values int, ok bool) {
	n := x.bytes(rows, cols)
	return n, x.values(rows, cols), len(stored) >= n
}

func (x Packed) Check(b []uint8, rows, cols int) error {
	if err := checkFilling(b, x.values(rows, cols)*x.Bits); err != nil {
		return err
	}
	return checkGroups(x, x.NM, b, rows, cols)
}

// putBits writes a number from bit at on, where all is 0 yet.
func putBits(b []uint8, at int, number uint32) {
	rest := uint64(number) << (at % 8)
	for i := at / 8; rest > 0; i++ {
		b[i] |= uint8(rest)
		rest >>= 8
	}
}

// getBits reads a number of so many bits from bit at on.
func getBits(b []uint8, at, width int) uint32 {
	number := uint64(0)
	for i, shift := at/8, 0; shift < at%8+width; i, shift = i+1, shift+8 {
		number |= uint64(b[i]) << shift
	}
	return uint32(number >> (at % 8) & (1<<width - 1))
}

// checkFilling checks that what follows the first n bits is 0.
func checkFilling(b []uint8, n int) error {
	if n%8 > 0 && b[n/8]>>(n%8) > 0 {
		return fmt.Errorf("a last byte %d that is not filled up with 0", b[n/8])
	}
	return nil
}
