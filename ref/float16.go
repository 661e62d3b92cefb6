package ref

import (
	"math"

	"github.com/squishspec/squishspec/spec"
)

// float16 rounds to binary16, half to even; what is beyond becomes the largest
// number of its sign.
func float16(x float32) spec.Float16 {
	magnitude := min(math.Abs(float64(x)), spec.MaxFloat16)
	quantum := -24 // subnormal numbers are multiples of 2⁻²⁴
	if magnitude >= 0x1p-14 {
		_, exponent := math.Frexp(magnitude) // in [2^(exponent−1), 2^exponent)
		quantum = exponent - 11
	}
	multiple := int(math.RoundToEven(math.Ldexp(magnitude, -quantum)))
	// A normal number's multiple has the leading bit 2¹⁰, which is not stored: added,
	// it counts the exponent up by one, and so does a multiple rounded up to 2¹¹.
	bits := spec.Float16((quantum+24)<<10 + multiple)
	if math.Signbit(float64(x)) {
		bits |= 1 << 15
	}
	return bits
}

// fromFloat16 is the value of a binary16 number.
func fromFloat16(bits spec.Float16) float32 {
	exponent, fraction := int(bits>>10&31), float64(bits&1023)
	magnitude := math.Ldexp(1024+fraction, exponent-25)
	switch {
	case exponent == 0:
		magnitude = math.Ldexp(fraction, -24)
	case exponent == 31 && fraction == 0:
		magnitude = math.Inf(1)
	case exponent == 31:
		magnitude = math.NaN()
	}
	if bits>>15 == 1 {
		magnitude = -magnitude
	}
	return float32(magnitude)
}
