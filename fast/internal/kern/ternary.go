package kern

import (
	"math"
	"unsafe"
)

// SumMagnitudes returns Σ|x|, in float64: within 3 roundings of float32 of the sum,
// and +Inf or NaN where, and only where, an element is not finite.
//
// Eight at a time are added up in float32, by halves, before they are converted.
func SumMagnitudes(x []float32) (sum float64) {
	whole := len(x) &^ 127
	switch {
	case useAVX512:
		sum = sumMagnitudesAVX512(unsafe.SliceData(x), whole)
	case useAVX2:
		sum = sumMagnitudesAVX2(unsafe.SliceData(x), whole)
	default:
		return sumMagnitudesGo(x)
	}
	if sum-sum != 0 { // eight may be beyond float32
		return sumMagnitudesGo(x)
	}
	return sum + sumMagnitudesGo(x[whole:])
}

// Eight float64 sums side by side, so that no addition waits for the one before it.
func sumMagnitudesGo(x []float32) float64 {
	var s0, s1, s2, s3, s4, s5, s6, s7 float64
	for len(x) >= 8 {
		s0 += abs64(x[0])
		s1 += abs64(x[1])
		s2 += abs64(x[2])
		s3 += abs64(x[3])
		s4 += abs64(x[4])
		s5 += abs64(x[5])
		s6 += abs64(x[6])
		s7 += abs64(x[7])
		x = x[8:]
	}
	for _, v := range x {
		s0 += abs64(v)
	}
	return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
}

// Infinite are the bits of +Inf. Those of a finite magnitude are below, and those of
// NaN above.
const Infinite = 0x7f800000

// magnitude returns the bits of |x|, which are ordered as magnitudes are; those of
// NaN are above all.
func magnitude(x float32) uint32 { return math.Float32bits(x) & signless }

// abs64 clears the sign before the conversion: an integer operation, off the busy
// floating-point ports.
func abs64(x float32) float64 { return float64(math.Float32frombits(magnitude(x))) }

// TernaryCodes writes the code of each element, +1 above bound, −1 below −bound, else
// 0, and returns how many are not 0. The elements are no NaNs, and bound is at least
// +0.
//
// Magnitudes of floats are ordered as their bits are, so that the sign of a
// difference of bits is the comparison, and outlives the narrowing to bytes.
func TernaryCodes(dst []int8, x []float32, bound float32) (nonZero int) {
	dst = dst[:len(x)]
	whole := len(x) &^ 63
	switch {
	case useAVX512:
		nonZero = ternaryCodesAVX512(unsafe.SliceData(dst), unsafe.SliceData(x), whole, bound)
	case useAVX2:
		nonZero = ternaryCodesAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), whole, bound)
	default:
		whole = 0
	}
	return nonZero + ternaryCodesGo(dst[whole:], x[whole:], bound)
}

func ternaryCodesGo(dst []int8, x []float32, bound float32) (nonZero int) {
	limit := int32(math.Float32bits(bound))
	dst = dst[:len(x)]
	for i, v := range x {
		above := (limit - int32(magnitude(v))) >> 31 // −1 above the bound, else 0
		sign := int32(math.Float32bits(v))>>31 | 1
		dst[i] = int8(sign & above)
		nonZero -= int(above)
	}
	return nonZero
}

// TernaryProducts writes code·scale, +0 for code 0, and reports whether all codes are
// −1, 0 or +1.
//
// The products are looked up: that is shorter than multiplying, and gives +0 for a
// negative scale too.
func TernaryProducts(dst []float32, codes []int8, scale float32) (legal bool) {
	dst = dst[:len(codes)]
	whole := len(codes) &^ 63
	illegal := uint64(0)
	switch {
	case useAVX512:
		illegal = ternaryProductsAVX512(unsafe.SliceData(dst), unsafe.SliceData(codes), whole, scale)
	case useAVX2:
		illegal = ternaryProductsAVX2(unsafe.SliceData(dst), unsafe.SliceData(codes), whole, scale)
	default:
		whole = 0
	}
	return ternaryProductsGo(dst[whole:], codes[whole:], scale) && illegal == 0
}

func ternaryProductsGo(dst []float32, codes []int8, scale float32) (legal bool) {
	products := [4]float32{-scale, 0, scale}
	most := uint8(0) // of code+1
	dst = dst[:len(codes)]
	for i, c := range codes {
		digit := uint8(c + 1)
		most = max(most, digit)
		dst[i] = products[digit&3]
	}
	return most <= 2
}
