package kern

import (
	"math"
	"unsafe"
)

// Exp writes eˣ of every element, within 2 ULP of the correctly rounded value:
// +Inf above the largest float32, subnormal results as they are, NaN for NaN.
//
// eˣ is 2ⁿ·eʳ for the nearest integer n to x·log₂e, and eʳ, |r| ≤ ½·ln 2, a
// polynomial of degree 6.
func Exp(dst, x []float32) {
	dst = dst[:len(x)]
	switch {
	case useAVX512:
		expAVX512(unsafe.SliceData(dst), unsafe.SliceData(x), len(x))
	case useAVX2:
		expAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), len(x))
	default:
		expGo(dst, x)
	}
}

func expGo(dst, x []float32) {
	for i, v := range x {
		dst[i] = exp32(v)
	}
}

// exp32 is eˣ by the Taylor series to the seventh power in float64, whose error is
// below 2⁻²⁷: rounding decides. Its terms pair up, so that they need not wait for
// each other.
func exp32(x float32) float32 {
	if !(x > -104.5) { // below half of the least subnormal, or NaN
		return max(x, 0) // NaN stays
	}
	if x > 88.8 {
		return float32(math.Inf(1))
	}
	const toInteger = 0x1.8p52 // from here on, float64s are integers, the lowest bits n
	shifted := float64(float64(x)*math.Log2E) + toInteger
	n := math.Float64bits(shifted)
	r := float64(x) - float64((shifted-toInteger)*math.Ln2)
	r2 := r * r
	low := 1 + r + float64(r2*(1./2+float64(r*(1./6))))
	high := 1./24 + float64(r*(1./120)) + float64(r2*(1./720+float64(r*(1./5040))))
	return float32((low + float64(float64(r2*r2)*high)) * math.Float64frombits((n+1023)<<52))
}
