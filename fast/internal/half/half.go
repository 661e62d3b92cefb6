// Package half converts between float32 and binary16 on their bits.
//
// The idea: both formats have the same layout, so that a normal number changes by
// a shift and a step of the exponent, and rounding is an addition that carries into
// the exponent by itself. Subnormal numbers go through a float32 addition, whose
// own rounding is the right one.
package half

import "math"

const (
	rebias    = (127 - 15) << 23 // from the exponent of a binary16 to that of a float32
	minNormal = 0x38800000       // 2⁻¹⁴
	maxFinite = 0x477fe000       // 65504
)

// FromFloat32 rounds half to even. What is beyond ±65504 becomes that; x is not NaN.
func FromFloat32(x float32) uint16 {
	bits := math.Float32bits(x)
	sign := uint16(bits >> 16 & 0x8000)
	bits &= math.MaxInt32
	switch {
	case bits >= maxFinite:
		return sign | 0x7bff
	case bits < minNormal:
		// The sum is in [½, 1), where float32 has a spacing of 2⁻²⁴, that of subnormal
		// binary16 numbers.
		return sign | uint16(math.Float32bits(math.Float32frombits(bits)+0.5)-math.Float32bits(0.5))
	}
	odd := bits >> 13 & 1
	return sign | uint16((bits-rebias+0xfff+odd)>>13)
}

// ToFloat32 is the value of a binary16 number.
func ToFloat32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	bits := uint32(h&0x7fff) << 13
	switch {
	case h&0x7c00 == 0x7c00:
		return math.Float32frombits(sign | 0x7f800000 | bits&0x7fffff)
	case h&0x7c00 == 0:
		// Above ½ the bits count in steps of 2⁻²⁴.
		return math.Float32frombits(sign | math.Float32bits(math.Float32frombits(math.Float32bits(0.5)+bits>>13)-0.5))
	}
	return math.Float32frombits(sign | bits + rebias)
}
