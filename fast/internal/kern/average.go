package kern

import "unsafe"

// Average writes (x + y)/2, each rounded once, and returns whether all of them are
// finite: a sum beyond float32 is not. x and y are as long as dst.
func Average(dst, x, y []float32) (finite bool) {
	x, y = x[:len(dst)], y[:len(dst)]
	var sum float32
	switch {
	case useAVX512:
		sum = averageAVX512(unsafe.SliceData(dst), unsafe.SliceData(x), unsafe.SliceData(y), len(dst))
	case useAVX2:
		sum = averageAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), unsafe.SliceData(y), len(dst))
	default:
		sum = averageGo(dst, x, y)
	}
	return sum == 0
}

// What is not finite, minus itself, is NaN.
func averageGo(dst, x, y []float32) (sum float32) {
	for i, v := range x {
		v = (v + y[i]) * 0.5
		dst[i] = v
		sum += v - v
	}
	return sum
}

// Blend writes v·x + w·y, computed in float64 and then rounded, and returns whether
// all of them are finite. x and y are as long as dst.
func Blend(dst, x, y []float32, v, w float64) (finite bool) {
	x, y = x[:len(dst)], y[:len(dst)]
	var sum float32
	switch {
	case useAVX512:
		sum = blendAVX512(unsafe.SliceData(dst), unsafe.SliceData(x), unsafe.SliceData(y), v, w, len(dst))
	case useAVX2:
		sum = blendAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), unsafe.SliceData(y), v, w, len(dst))
	default:
		sum = blendGo(dst, x, y, v, w)
	}
	return sum == 0
}

func blendGo(dst, x, y []float32, v, w float64) (sum float32) {
	for i, a := range x {
		b := float32(float64(v*float64(a)) + float64(w*float64(y[i])))
		dst[i] = b
		sum += b - b
	}
	return sum
}
