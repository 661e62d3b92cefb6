package kern

import "unsafe"

// DotDouble returns Σ x[i]·y[i], in float64. y is at least as long as x.
func DotDouble(x, y []float64) float64 {
	y = y[:len(x)]
	switch {
	case useAVX512:
		return dotDoubleAVX512(unsafe.SliceData(x), unsafe.SliceData(y), len(x))
	case useAVX2:
		return dotDoubleAVX2(unsafe.SliceData(x), unsafe.SliceData(y), len(x))
	}
	return dotDoubleGo(x, y)
}

func dotDoubleGo(x, y []float64) float64 {
	var even, odd float64
	i := 0
	for ; i+1 < len(x); i += 2 {
		even += x[i] * y[i]
		odd += x[i+1] * y[i+1]
	}
	if i < len(x) {
		even += x[i] * y[i]
	}
	return even + odd
}

// AddDouble adds α·x to y. Forms differ in whether the product is rounded.
func AddDouble(y []float64, α float64, x []float64) {
	y = y[:len(x)]
	switch {
	case useAVX512:
		addDoubleAVX512(unsafe.SliceData(y), α, unsafe.SliceData(x), len(x))
	case useAVX2:
		addDoubleAVX2(unsafe.SliceData(y), α, unsafe.SliceData(x), len(x))
	default:
		addDoubleGo(y, α, x)
	}
}

func addDoubleGo(y []float64, α float64, x []float64) {
	for i, v := range x {
		y[i] += α * v
	}
}

// ScaleDouble multiplies x by α.
func ScaleDouble(x []float64, α float64) {
	switch {
	case useAVX512:
		scaleDoubleAVX512(unsafe.SliceData(x), α, len(x))
	case useAVX2:
		scaleDoubleAVX2(unsafe.SliceData(x), α, len(x))
	default:
		for i := range x {
			x[i] *= α
		}
	}
}
