package kern

import (
	"math"
	"unsafe"
)

// The kernels of this file take groups of size neighbours, one after the other. There
// are as many groups as a group's first argument has elements, and the elements are
// theirs.
//
// They work on several groups at a time: between them, what is the same for a whole
// group is worked out group by group, and no group waits for the maximum of the one
// before it. A group of no whole number of vectors has the plain bodies.

// wholeVectors reports whether the assembly takes groups of that size.
func wholeVectors(size int) bool { return size%16 == 0 && size > 0 }

// MaxMagnitude returns the bits of the largest magnitude: above those of the largest
// finite number where an element is not finite.
func MaxMagnitude(x []float32) uint32 {
	switch {
	case useAVX512:
		return maxMagnitudeAVX512(unsafe.SliceData(x), len(x))
	case useAVX2:
		return maxMagnitudeAVX2(unsafe.SliceData(x), len(x))
	}
	return maxMagnitudeGo(x)
}

func maxMagnitudeGo(x []float32) uint32 {
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

// GroupMaxima writes the bits of the largest magnitude of each group: above those of
// the largest finite number where an element is not finite.
func GroupMaxima(maxima []uint32, x []float32, size int) {
	groups := len(maxima)
	x = x[:groups*size]
	switch {
	case useAVX512 && wholeVectors(size):
		groupMaximaAVX512(unsafe.SliceData(maxima), unsafe.SliceData(x), groups, size)
	case useAVX2 && wholeVectors(size):
		groupMaximaAVX2(unsafe.SliceData(maxima), unsafe.SliceData(x), groups, size)
	default:
		groupMaximaGo(maxima, x, size)
	}
}

func groupMaximaGo(maxima []uint32, x []float32, size int) {
	for g := range maxima {
		maxima[g] = maxMagnitudeGo(x[g*size:][:size])
	}
}

// GroupMaximaWithin writes the bits of the largest magnitude of each group among those
// that are not above the group's bound, 0 where there are none, and returns how many
// are above. The elements are no NaNs, and bounds are at least +0.
func GroupMaximaWithin(maxima []uint32, x, bounds []float32, size int) (beyond int) {
	groups := len(maxima)
	x, bounds = x[:groups*size], bounds[:groups]
	switch {
	case useAVX512 && wholeVectors(size):
		return groupMaximaWithinAVX512(unsafe.SliceData(maxima), unsafe.SliceData(x), unsafe.SliceData(bounds), groups, size)
	case useAVX2 && wholeVectors(size):
		return groupMaximaWithinAVX2(unsafe.SliceData(maxima), unsafe.SliceData(x), unsafe.SliceData(bounds), groups, size)
	}
	return groupMaximaWithinGo(maxima, x, bounds, size)
}

func groupMaximaWithinGo(maxima []uint32, x, bounds []float32, size int) (beyond int) {
	for g, bound := range bounds {
		limit := math.Float32bits(bound)
		most := uint32(0)
		for _, v := range x[g*size:][:size] {
			if m := magnitude(v); m > limit {
				beyond++
			} else {
				most = max(most, m)
			}
		}
		maxima[g] = most
	}
	return beyond
}

// GroupCodes writes, where a magnitude is not above its group's bound, x·inverse
// rounded half to even for the code and +0 for the rest, and else code 0 and x. Codes
// must fit an int8. The elements are no NaNs, and bounds are at least +0.
func GroupCodes(codes []int8, rest, x, bounds, inverses []float32, size int) {
	groups := len(bounds)
	codes, rest, x, inverses = codes[:groups*size], rest[:groups*size], x[:groups*size], inverses[:groups]
	switch {
	case useAVX512 && wholeVectors(size):
		groupCodesAVX512(unsafe.SliceData(codes), unsafe.SliceData(rest), unsafe.SliceData(x), unsafe.SliceData(bounds), unsafe.SliceData(inverses), groups, size)
	case useAVX2 && wholeVectors(size):
		groupCodesAVX2(unsafe.SliceData(codes), unsafe.SliceData(rest), unsafe.SliceData(x), unsafe.SliceData(bounds), unsafe.SliceData(inverses), groups, size)
	default:
		groupCodesGo(codes, rest, x, bounds, inverses, size)
	}
}

func groupCodesGo(codes []int8, rest, x, bounds, inverses []float32, size int) {
	for g, bound := range bounds {
		limit, inverse := math.Float32bits(bound), inverses[g]
		codes, rest := codes[g*size:][:size], rest[g*size:][:size]
		for i, v := range x[g*size:][:size] {
			if magnitude(v) > limit {
				codes[i], rest[i] = 0, v
			} else {
				codes[i], rest[i] = int8(toInteger(v*inverse)), 0
			}
		}
	}
}

// toInteger rounds half to even a number below 2²², in whose bits the integer stands
// once a number has been added whose last bit is worth 1.
func toInteger(x float32) int32 {
	const big = 0x1.8p23
	return int32(math.Float32bits(float32(x)+big)) - 0x4b400000
}

// GroupProducts writes code·scale + rest. It returns the bits of the largest magnitude
// that it wrote, those of +Inf or above where an argument is not finite, and the
// largest magnitude of a code.
func GroupProducts(dst []float32, codes []int8, rest, scales []float32, size int) (largest, code uint32) {
	groups := len(scales)
	dst, codes, rest = dst[:groups*size], codes[:groups*size], rest[:groups*size]
	switch {
	case useAVX512 && wholeVectors(size):
		return groupProductsAVX512(unsafe.SliceData(dst), unsafe.SliceData(codes), unsafe.SliceData(rest), unsafe.SliceData(scales), groups, size)
	case useAVX2 && wholeVectors(size):
		return groupProductsAVX2(unsafe.SliceData(dst), unsafe.SliceData(codes), unsafe.SliceData(rest), unsafe.SliceData(scales), groups, size)
	}
	return groupProductsGo(dst, codes, rest, scales, size)
}

func groupProductsGo(dst []float32, codes []int8, rest, scales []float32, size int) (largest, code uint32) {
	for g, scale := range scales {
		dst, rest := dst[g*size:][:size], rest[g*size:][:size]
		for i, c := range codes[g*size:][:size] {
			v := float32(float32(c)*scale) + rest[i]
			dst[i] = v
			largest = max(largest, magnitude(v))
			code = max(code, uint32(max(int32(c), -int32(c))))
		}
	}
	return largest, code
}
