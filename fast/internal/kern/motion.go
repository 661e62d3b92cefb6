package kern

import (
	"math"
	"unsafe"
)

// Distance returns Σ|aᵢ − bᵢ| and Σ|aᵢ|, in float32. b is at least as long as a.
//
// Differences of numbers that differ are not 0, however small they are: neither is
// the distance.
func Distance(a, b []float32) (distance, size float32) {
	b = b[:len(a)]
	for len(a) > elementsAtOnce {
		d, s := distanceOf(a[:elementsAtOnce], b[:elementsAtOnce])
		distance, size, a, b = distance+d, size+s, a[elementsAtOnce:], b[elementsAtOnce:]
	}
	d, s := distanceOf(a, b)
	return distance + d, size + s
}

func distanceOf(a, b []float32) (distance, size float32) {
	switch {
	case useAVX512:
		return distanceAVX512(unsafe.SliceData(a), unsafe.SliceData(b), len(a))
	case useAVX2:
		return distanceAVX2(unsafe.SliceData(a), unsafe.SliceData(b), len(a))
	}
	return distanceGo(a, b)
}

func distanceGo(a, b []float32) (distance, size float32) {
	var d0, d1, s0, s1 float32
	for len(a) >= 2 && len(b) >= 2 {
		d0 += abs(a[0] - b[0])
		d1 += abs(a[1] - b[1])
		s0 += abs(a[0])
		s1 += abs(a[1])
		a, b = a[2:], b[2:]
	}
	for i, v := range a {
		d0 += abs(v - b[i])
		s0 += abs(v)
	}
	return d0 + d1, s0 + s1
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }
