// Package signs stores in bytes the signs that kern has in words of 32: a row begins
// with a byte of its own, and takes no more of them than it has signs for.
package signs

import (
	"encoding/binary"

	"github.com/squishspec/squishspec/fast/internal/kern"
)

// Bytes is the number of bytes that dim signs take.
func Bytes(dim int) int { return (dim-1)/8 + 1 }

// FromBytes writes the words of packed rows of dim signs: Bytes(dim) bytes a row, the
// first sign in the lowest bit, and 0 in bits beyond dim.
func FromBytes(words []uint32, packed []uint8, dim int) {
	size := Bytes(dim)
	for len(packed) > 0 {
		row := packed[:size]
		packed = packed[size:]
		for ; len(row) >= 4; row, words = row[4:], words[1:] {
			words[0] = binary.LittleEndian.Uint32(row)
		}
		if len(row) > 0 {
			word := uint32(0)
			for i, b := range row {
				word |= uint32(b) << (8 * i)
			}
			words[0] = word
			words = words[1:]
		}
	}
}

// ToBytes is the opposite of FromBytes.
func ToBytes(packed []uint8, words []uint32, dim int) {
	size, each := Bytes(dim), kern.SignWords(dim)
	for ; len(packed) > 0; packed, words = packed[size:], words[each:] {
		for i := range packed[:size] {
			packed[i] = uint8(words[i/4] >> (i % 4 * 8))
		}
	}
}
