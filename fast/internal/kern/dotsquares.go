package kern

import "unsafe"

// DotSquares returns Σ x[i]·y[i], Σ x[i]² and Σ y[i]², in float32: what a cosine
// needs, in one pass. The sums of like slices are alike. y is at least as long as x.
func DotSquares(x, y []float32) (xy, xx, yy float32) {
	y = y[:len(x)]
	switch {
	case useAVX512:
		return dotSquaresAVX512(unsafe.SliceData(x), unsafe.SliceData(y), len(x))
	case useAVX2:
		return dotSquaresAVX2(unsafe.SliceData(x), unsafe.SliceData(y), len(x))
	}
	return dotSquaresGo(x, y)
}

// Two sums of each keep six chains of additions going.
func dotSquaresGo(x, y []float32) (xy, xx, yy float32) {
	var xy0, xx0, yy0 float32
	for len(x) >= 2 && len(y) >= 2 {
		v, w := x[0], y[0]
		xy0 += v * w
		xx0 += v * v
		yy0 += w * w
		v, w = x[1], y[1]
		xy += v * w
		xx += v * v
		yy += w * w
		x, y = x[2:], y[2:]
	}
	for i, v := range x {
		w := y[i]
		xy0 += v * w
		xx0 += v * v
		yy0 += w * w
	}
	return xy0 + xy, xx0 + xx, yy0 + yy
}
