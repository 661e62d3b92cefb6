package attn

import "math"

// exp2 returns 2ˣ for x ≤ 0, to 2⁻²⁷ of itself, and 0 where that is no normal
// float32: beside a weight of 1, such a weight is nothing. NaN stays NaN.
//
// It is 2ⁿ·e^(f·ln 2) for the nearest integer n, |f| ≤ ½. The exponential is its
// Taylor series to the seventh power, for 0.35⁸/8! < 2⁻²⁷; its terms pair up, so
// that they need not wait for each other. math.Exp2, good to the last bits of a
// float64, takes three times as long.
func exp2(x float64) float64 {
	if x < -126 {
		return 0
	}
	const toInteger = 0x1.8p52 // from here on, float64s are integers, the lowest bits n
	shifted := x + toInteger
	n := math.Float64bits(shifted)
	f := (x - (shifted - toInteger)) * math.Ln2
	f2 := f * f
	low := 1 + f + f2*(1./2+f*(1./6))
	high := 1./24 + f*(1./120) + f2*(1./720+f*(1./5040))
	return (low + f2*f2*high) * math.Float64frombits((n+1023)<<52)
}
