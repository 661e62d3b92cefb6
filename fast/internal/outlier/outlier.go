// Package outlier has what is rare in groups of weights whose largest are kept aside:
// groups of weights so small that their inverse is no float32, and illegal codes.
package outlier

import "math"

// Quantize writes, where |w| ≤ bound, code w·qMax/m rounded half to even, else code 0,
// in float64. m > 0 is the largest magnitude within the bound.
func Quantize(codes []int8, weights []float32, bound, m float32, qMax int) {
	codes = codes[:len(weights)]
	for i, w := range weights {
		codes[i] = 0
		if math.Abs(float64(w)) <= float64(bound) {
			codes[i] = int8(math.RoundToEven(float64(w) * float64(qMax) / float64(m)))
		}
	}
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
