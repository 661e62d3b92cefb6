package ternary

// The codes of every byte that packing writes: unpacking divides nothing and shifts
// nothing, it copies. Two bits 11 give the code 2 here.
var (
	base3Codes  [243][5]int8
	twoBitCodes [256][4]int8
)

func init() {
	for b := range base3Codes {
		digits(base3Codes[b][:], b, 3)
	}
	for b := range twoBitCodes {
		digits(twoBitCodes[b][:], b, 4)
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
	for b, number := range packed {
		if number&(number>>1)&0b01_01_01_01 != 0 {
			return b
		}
		codes := &twoBitCodes[number]
		if len(dst) < 4 {
			return unpackLast(dst, codes[:], b)
		}
		*(*[4]int8)(dst) = *codes
		dst = dst[4:]
	}
	return -1
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
