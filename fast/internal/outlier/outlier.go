// Package outlier has the loops over a group of weights whose largest are kept
// aside: what exceeds a bound, the codes of the rest, and the way back.
//
// Two ideas. Magnitudes of floats are ordered as their bits are, so bounds are
// compared as integers, and the largest bits say whether all are finite. And a
// division for each weight is saved: multiplied by the inverse step a quotient is
// off by some 2⁻⁵⁰, which matters only beside a tie, where the division is made.
package outlier

import "math"

// Infinite are the magnitude bits of ±Inf; those of NaN are above.
const Infinite = 0x7f800000

func magnitude(x float32) uint32 { return math.Float32bits(x) & math.MaxInt32 }

// Largest returns the greatest magnitude bits of x.
func Largest(x []float32) uint32 {
	var a, b uint32
	for len(x) >= 2 {
		a, b = max(a, magnitude(x[0])), max(b, magnitude(x[1]))
		x = x[2:]
	}
	for _, v := range x {
		a = max(a, magnitude(v))
	}
	return max(a, b)
}

// LargestWithin returns the greatest magnitude of those that do not exceed bound ≥
// 0, and how many do.
func LargestWithin(x []float32, bound float32) (largest float32, beyond int) {
	limit := math.Float32bits(bound)
	var within uint32
	for _, v := range x {
		if m := magnitude(v); m > limit {
			beyond++
		} else {
			within = max(within, m)
		}
	}
	return math.Float32frombits(within), beyond
}

// magic is such that adding it rounds a small number half to even to an integer,
// which then stands in the lowest bits.
const magic = 0x1.8p52

// Quantize writes, where |w| ≤ bound, code w·qMax/m rounded half to even and
// residual +0, else code 0 and residual w. m > 0 is the largest magnitude within
// the bound. All are of one length.
func Quantize(codes []int8, residual, weights []float32, bound, m float32, qMax int) {
	limit := math.Float32bits(bound)
	q, largest := float64(qMax), float64(m)
	inverse := q / largest
	codes, residual = codes[:len(weights)], residual[:len(weights)]
	for i, w := range weights {
		if magnitude(w) > limit {
			codes[i], residual[i] = 0, w
			continue
		}
		x := float64(w) * inverse
		rounded := x + magic
		if off := x - (rounded - magic); math.Abs(off) > 0.5-0x1p-30 {
			rounded = math.RoundToEven(float64(w)*q/largest) + magic
		}
		codes[i], residual[i] = int8(math.Float64bits(rounded)), 0
	}
}

// SetAside writes residual w where |w| > bound, else +0.
func SetAside(residual, weights []float32, bound float32) {
	limit := math.Float32bits(bound)
	for i, w := range weights {
		residual[i] = 0
		if magnitude(w) > limit {
			residual[i] = w
		}
	}
}

// Dequantize writes code × scale + residual. It returns the greatest magnitude bits
// of what it wrote, those of ±Inf or more where an argument is not finite, and
// whether all codes are within ±qMax.
func Dequantize(dst []float32, codes []int8, residual []float32, scale float32, qMax int) (largest uint32, legal bool) {
	codes, residual = codes[:len(dst)], residual[:len(dst)]
	q := int32(qMax)
	beyond := int32(0) // negative once a code is
	for i := range dst {
		code := int32(codes[i])
		beyond |= (q - code) | (q + code)
		v := float32(code)*scale + residual[i]
		dst[i] = v
		largest = max(largest, magnitude(v))
	}
	return largest, beyond >= 0
}

// FirstIllegal returns the index of the first code beyond ±qMax, −1 where there is none.
func FirstIllegal(codes []int8, qMax int) int {
	for i, code := range codes {
		if int(code) > qMax || int(code) < -qMax {
			return i
		}
	}
	return -1
}
