package kern

import "unsafe"

// Widen writes float32s as float64s.
func Widen(dst []float64, x []float32) {
	dst = dst[:len(x)]
	whole := len(x) &^ 7
	switch {
	case useAVX512:
		widenAVX512(unsafe.SliceData(dst), unsafe.SliceData(x), whole)
	case useAVX2:
		widenAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), whole)
	default:
		whole = 0
	}
	for i, v := range x[whole:] {
		dst[whole+i] = float64(v)
	}
}

// Narrow writes factor times float64s as float32s.
func Narrow(dst []float32, x []float64, factor float64) {
	dst = dst[:len(x)]
	whole := len(x) &^ 7
	switch {
	case useAVX512:
		narrowAVX512(unsafe.SliceData(dst), unsafe.SliceData(x), factor, whole)
	case useAVX2:
		narrowAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), factor, whole)
	default:
		whole = 0
	}
	for i, v := range x[whole:] {
		dst[whole+i] = float32(factor * v)
	}
}

// Subtract writes x − y, in float64, and reports whether all elements of both are
// finite: only then is a difference, which float64 always holds.
func Subtract(dst []float64, x, y []float32) (finite bool) {
	dst, y = dst[:len(x)], y[:len(x)]
	whole := len(x) &^ 7
	zero := 0.0
	switch {
	case useAVX512:
		zero = subtractAVX512(unsafe.SliceData(dst), unsafe.SliceData(x), unsafe.SliceData(y), whole)
	case useAVX2:
		zero = subtractAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), unsafe.SliceData(y), whole)
	default:
		whole = 0
	}
	return subtractGo(dst[whole:], x[whole:], y[whole:])+zero == 0
}

func subtractGo(dst []float64, x, y []float32) (zero float64) {
	for i, v := range x {
		dst[i] = float64(v) - float64(y[i])
		zero += dst[i] * 0
	}
	return zero
}

// AddSquares adds the squares of each column of x, rows of len(y) elements, to an
// element of y, in float64, which holds the square of a float32.
func AddSquares(y []float64, x []float32) {
	n := len(y)
	if n == 0 {
		return
	}
	rows := len(x) / n
	for from := 0; from < rows; from += max(1, squaresCall/n) {
		part := x[from*n : min(from+max(1, squaresCall/n), rows)*n]
		whole := n &^ 7
		switch {
		case useAVX512:
			addSquaresAVX512(&y[0], &part[0], whole, len(part)/n, n)
		case useAVX2:
			addSquaresAVX2(&y[0], &part[0], whole, len(part)/n, n)
		default:
			whole = 0
		}
		for ; len(part) > 0; part = part[n:] {
			for i, v := range part[whole:n] {
				y[whole+i] += float64(v) * float64(v)
			}
		}
	}
}

// squaresCall is how many elements a call goes through, so that it does not last.
const squaresCall = 1 << 17
