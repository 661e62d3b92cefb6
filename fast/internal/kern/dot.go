package kern

import "unsafe"

// Dot returns Σ x[i]·y[i], in float32. y is at least as long as x.
//
// Eight sums run side by side, so that additions do not wait for each other.
func Dot(x, y []float32) float32 {
	y = y[:len(x)]
	switch {
	case useAVX512:
		return dotAVX512(unsafe.SliceData(x), unsafe.SliceData(y), len(x))
	case useAVX2:
		return dotAVX2(unsafe.SliceData(x), unsafe.SliceData(y), len(x))
	case useNEON:
		var sums [16]float32
		whole := len(x) &^ 15
		dotNEON(&sums, unsafe.SliceData(x), unsafe.SliceData(y), whole)
		sum := dotGo(x[whole:], y[whole:])
		for _, s := range sums {
			sum += s
		}
		return sum
	}
	return dotGo(x, y)
}

func dotGo(x, y []float32) float32 {
	var s0, s1, s2, s3 float32
	for len(x) >= 4 && len(y) >= 4 {
		s0 += x[0] * y[0]
		s1 += x[1] * y[1]
		s2 += x[2] * y[2]
		s3 += x[3] * y[3]
		x, y = x[4:], y[4:]
	}
	for i, v := range x {
		s0 += v * y[i]
	}
	return (s0 + s1) + (s2 + s3)
}
