// Package signs takes dot products of ±1 as XNOR-Net does: signs are bits, 64 to a
// word, and a dot product is dim less twice the number of bits that differ.
package signs

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Words is the number of words that dim signs take.
func Words(dim int) int { return (dim-1)/64 + 1 }

// Bytes is the number of bytes that dim signs take.
func Bytes(dim int) int { return (dim-1)/8 + 1 }

// ToWords writes the signs of rows of dim elements, each in words of its own: bit 1
// for x ≥ 0, −0 among them, the first element lowest, and 0 in bits beyond dim. It
// reports whether none is NaN.
func ToWords(words []uint64, rows []float32, dim int) bool {
	const minusZero, infinity = 1 << 31, 0x7f800000
	largest := uint32(0) // without its sign; NaNs are above infinity
	for len(rows) > 0 {
		row := rows[:dim]
		rows = rows[dim:]
		for ; len(row) > 0; words = words[1:] {
			part := row[:min(64, len(row))]
			row = row[len(part):]
			word := uint64(0)
			for i, x := range part {
				b := math.Float32bits(x)
				largest = max(largest, b&^minusZero)
				// The difference is negative, its bit 63 set, below −0.
				word |= (^(minusZero - uint64(b)) >> 63) << i
			}
			words[0] = word
		}
	}
	return largest <= infinity
}

// FromBytes writes the words of packed rows of dim signs: Bytes(dim) bytes a row, the
// first sign in the lowest bit, and 0 in bits beyond dim.
func FromBytes(words []uint64, packed []uint8, dim int) {
	size := Bytes(dim)
	for len(packed) > 0 {
		row := packed[:size]
		packed = packed[size:]
		for ; len(row) >= 8; row, words = row[8:], words[1:] {
			words[0] = binary.LittleEndian.Uint64(row)
		}
		if len(row) > 0 {
			word := uint64(0)
			for i, b := range row {
				word |= uint64(b) << (8 * i)
			}
			words[0] = word
			words = words[1:]
		}
	}
}

// ToBytes is the opposite of FromBytes.
func ToBytes(packed []uint8, words []uint64, dim int) {
	size := Bytes(dim)
	for len(packed) > 0 {
		row := packed[:size]
		packed = packed[size:]
		for ; len(row) >= 8; row, words = row[8:], words[1:] {
			binary.LittleEndian.PutUint64(row, words[0])
		}
		if len(row) > 0 {
			for i := range row {
				row[i] = uint8(words[0] >> (8 * i))
			}
			words = words[1:]
		}
	}
}

// Distances writes the number of signs in which a query differs from each key, as many
// words each, and returns the least.
func Distances(out []int32, query, keys []uint64) (least int32) {
	least = math.MaxInt32
	if len(query) == 1 { // up to 64 signs, which most heads have
		q := query[0]
		for j, k := range keys[:len(out)] {
			n := int32(bits.OnesCount64(q ^ k))
			out[j] = n
			least = min(least, n)
		}
		return least
	}
	for j := range out {
		key := keys[:len(query)]
		keys = keys[len(query):]
		n := 0
		for i, q := range query {
			n += bits.OnesCount64(q ^ key[i])
		}
		out[j] = int32(n)
		least = min(least, out[j])
	}
	return least
}
