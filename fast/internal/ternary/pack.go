package ternary

import "github.com/squishspec/squishspec/fast/internal/kern"

// Codes are packed as the digits code+1 of one number a byte, first code least
// significant: Σ (code+1)·baseⁱ is Σ code·baseⁱ and a constant, the byte of zero
// codes, which also fills up the last byte.
const base3Zeros = 1 + 3 + 9 + 27 + 81

// PackBase3 packs five codes to a byte and returns the index of the first illegal
// code, −1 if there is none. dst has ⌈len(codes)/5⌉ bytes.
func PackBase3(dst []uint8, codes []int8) int {
	b, at := 0, 0
	for ; at+5 <= len(codes); b, at = b+1, at+5 {
		c := (*[5]int8)(codes[at:])
		if !(legal(c[0]) && legal(c[1]) && legal(c[2]) && legal(c[3]) && legal(c[4])) {
			return at + FirstIllegal(c[:])
		}
		dst[b] = uint8(base3Zeros + int(c[0]) + 3*int(c[1]) + 9*int(c[2]) + 27*int(c[3]) + 81*int(c[4]))
	}
	if at == len(codes) {
		return -1
	}
	var last [5]int8
	copy(last[:], codes[at:])
	if i := PackBase3(dst[b:], last[:]); i >= 0 {
		return at + i
	}
	return -1
}

// Pack2Bit packs four codes to a byte and returns the index of the first illegal
// code, −1 if there is none. dst has ⌈len(codes)/4⌉ bytes.
func Pack2Bit(dst []uint8, codes []int8) int {
	at := len(codes) &^ 3
	if !kern.PackTernary(dst, codes[:at]) {
		return FirstIllegal(codes)
	}
	if at == len(codes) {
		return -1
	}
	number := 1 + 4 + 16 + 64
	for i, c := range codes[at:] {
		if !legal(c) {
			return at + i
		}
		number += int(c) << (2 * i)
	}
	dst[at/4] = uint8(number)
	return -1
}
