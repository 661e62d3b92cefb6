package ternary

import (
	"slices"

	"github.com/squishspec/squishspec/fast/internal/kern"
)

// The codes of every byte that PackBase3 writes: unpacking divides nothing, it copies.
var base3Codes [243][5]int8

func init() {
	for b := range base3Codes {
		digits(base3Codes[b][:], b, 3)
	}
}

// digits writes the digits of a number, less 1, least significant first.
func digits(dst []int8, number, base int) {
	for i := range dst {
		dst[i] = int8(number%base) - 1
		number /= base
	}
}

// UnpackBase3 unpacks len(dst) codes and returns the index of the first byte that
// PackBase3 does not write, −1 if there is none. packed has ⌈len(dst)/5⌉ bytes.
func UnpackBase3(dst []int8, packed []uint8) int {
	for b, number := range packed {
		if int(number) >= len(base3Codes) {
			return b
		}
		codes := &base3Codes[number]
		if len(dst) < 5 {
			return unpackLast(dst, codes[:], b)
		}
		*(*[5]int8)(dst) = *codes
		dst = dst[5:]
	}
	return -1
}

// Unpack2Bit unpacks len(dst) codes and returns the index of the first byte that
// Pack2Bit does not write, −1 if there is none. packed has ⌈len(dst)/4⌉ bytes.
func Unpack2Bit(dst []int8, packed []uint8) int {
	last := len(dst) / 4
	if !kern.UnpackTernary(dst[:4*last], packed[:last]) {
		return firstForeign(packed[:last])
	}
	if last == len(packed) {
		return -1
	}
	if firstForeign(packed[last:]) == 0 {
		return last
	}
	var codes [4]int8
	digits(codes[:], int(packed[last]), 4)
	return unpackLast(dst[4*last:], codes[:], last)
}

// firstForeign returns the index of the first byte with the two bits 11, −1 if there is
// none.
func firstForeign(packed []uint8) int {
	return slices.IndexFunc(packed, func(b uint8) bool { return b&(b>>1)&0b01_01_01_01 != 0 })
}

// unpackLast unpacks a byte, number b, that is not full. It returns b where the
// filling is not code 0, else −1.
func unpackLast(dst, codes []int8, b int) int {
	for _, filling := range codes[copy(dst, codes):] {
		if filling != 0 {
			return b
		}
	}
	return -1
}
