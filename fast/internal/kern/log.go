package kern

import (
	"math"
	"unsafe"
)

// Log writes the natural logarithm of every element, within 2 ULP of the correctly
// rounded value: −Inf for 0, NaN for what is below and for NaN.
//
// log x is e·ln 2 + log(1+f) for x = 2ᵉ·(1+f), ¾ ≤ 1+f < 1½, and log(1+f) a
// polynomial.
func Log(dst, x []float32) {
	dst = dst[:len(x)]
	switch {
	case useAVX512:
		logAVX512(unsafe.SliceData(dst), unsafe.SliceData(x), len(x))
	case useAVX2:
		logAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), len(x))
	default:
		logGo(dst, x)
	}
}

func logGo(dst, x []float32) {
	for i, v := range x {
		dst[i] = float32(math.Log(float64(v)))
	}
}
