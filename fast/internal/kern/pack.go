package kern

import "unsafe"

// PackNibbles packs the lower halves of two codes to a byte, the first one in its lower
// half, and reports whether the upper halves are 0. dst has ⌈len(codes)/2⌉ bytes; the last
// one is filled up with 0.
func PackNibbles[T int8 | uint8](dst []uint8, codes []T) (fit bool) {
	dst = dst[:(len(codes)+1)/2]
	own := unsigned(codes)
	whole, high := len(own)&^63, uint64(0)
	switch {
	case useAVX512:
		high = packNibblesAVX512(unsafe.SliceData(dst), unsafe.SliceData(own), whole)
	case useAVX2:
		high = packNibblesAVX2(unsafe.SliceData(dst), unsafe.SliceData(own), whole)
	default:
		whole = 0
	}
	return packNibblesGo(dst[whole/2:], own[whole:]) && high == 0
}

// unsigned is the same memory: signed codes are two's complement.
func unsigned[T int8 | uint8](codes []T) []uint8 {
	return unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(codes))), len(codes))
}

func packNibblesGo(dst, codes []uint8) (fit bool) {
	var union uint8
	pairs := codes[:len(codes)&^1]
	for i := 0; i < len(pairs); i += 2 {
		union |= pairs[i] | pairs[i+1]
		dst[i/2] = pairs[i]&15 | pairs[i+1]<<4
	}
	if n := len(pairs); n < len(codes) {
		union |= codes[n]
		dst[n/2] = codes[n] & 15
	}
	return union <= 15
}

// UnpackNibbles writes the halves of bytes, the lower one first, as codes 0…15, or as
// two's complement −8…7 where codes are signed. packed has ⌈len(codes)/2⌉ bytes.
func UnpackNibbles[T int8 | uint8](codes []T, packed []uint8) {
	packed = packed[:(len(codes)+1)/2]
	own := unsigned(codes)
	sign, whole := uint32(0), len(own)&^63
	if T(0)-1 < 0 {
		sign = 0x08080808
	}
	switch {
	case useAVX512:
		unpackNibblesAVX512(unsafe.SliceData(own), unsafe.SliceData(packed), whole, sign)
	case useAVX2:
		unpackNibblesAVX2(unsafe.SliceData(own), unsafe.SliceData(packed), whole, sign)
	default:
		whole = 0
	}
	unpackNibblesGo(own[whole:], packed[whole/2:], uint8(sign))
}

func unpackNibblesGo(codes, packed []uint8, sign uint8) {
	for i := range codes {
		codes[i] = ((packed[i/2] >> (4 * (i % 2)) & 15) ^ sign) - sign
	}
}

// PackTernary packs four ternary codes to a byte, as code+1 in two bits each, the first one
// in the lowest, and reports whether all are −1, 0 or +1. There is a multiple of four.
func PackTernary(dst []uint8, codes []int8) (legal bool) {
	dst = dst[:len(codes)/4]
	whole, illegal := len(codes)&^63, uint64(0)
	switch {
	case useAVX512:
		illegal = packTernaryAVX512(unsafe.SliceData(dst), unsafe.SliceData(codes), whole)
	case useAVX2:
		illegal = packTernaryAVX2(unsafe.SliceData(dst), unsafe.SliceData(codes), whole)
	default:
		whole = 0
	}
	return packTernaryGo(dst[whole/4:], codes[whole:]) && illegal == 0
}

func packTernaryGo(dst []uint8, codes []int8) (legal bool) {
	const zeros = 1 + 4 + 16 + 64
	most := uint8(0) // of code+1
	for b := range dst {
		c := (*[4]int8)(codes[4*b:])
		most = max(most, uint8(c[0]+1), uint8(c[1]+1), uint8(c[2]+1), uint8(c[3]+1))
		dst[b] = uint8(zeros + int(c[0]) + 4*int(c[1]) + 16*int(c[2]) + 64*int(c[3]))
	}
	return most <= 2
}

// UnpackTernary is the inverse. It reports whether no code is 2.
func UnpackTernary(codes []int8, packed []uint8) (legal bool) {
	packed = packed[:len(codes)/4]
	whole, illegal := len(codes)&^63, uint64(0)
	switch {
	case useAVX512:
		illegal = unpackTernaryAVX512(unsafe.SliceData(codes), unsafe.SliceData(packed), whole)
	case useAVX2:
		illegal = unpackTernaryAVX2(unsafe.SliceData(codes), unsafe.SliceData(packed), whole)
	default:
		whole = 0
	}
	return unpackTernaryGo(codes[whole:], packed[whole/4:]) && illegal == 0
}

func unpackTernaryGo(codes []int8, packed []uint8) (legal bool) {
	var threes uint8
	for b, number := range packed {
		threes |= number & (number >> 1) & 0b01_01_01_01
		c := (*[4]int8)(codes[4*b:])
		c[0], c[1], c[2], c[3] = int8(number&3)-1, int8(number>>2&3)-1, int8(number>>4&3)-1, int8(number>>6)-1
	}
	return threes == 0
}
