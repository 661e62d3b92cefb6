package kern

import "unsafe"

// The affine kernels take a row of weights in groups of size neighbours, the last one
// as short as need be, each weight with the scale of its input. There are as many
// groups as their first argument for groups has elements. A group of no whole number of
// vectors has the plain bodies.

// An AffineGrid is what the weights of a group are rounded to: n·Step for whole n from
// Low to High, of w·scale.
type AffineGrid struct {
	Inverse   float32 // of the step, before that was rounded
	Low, High float32
	Step      float32
}

func gridWords(grids []AffineGrid) *float32 {
	return (*float32)(unsafe.Pointer(unsafe.SliceData(grids)))
}

// wholeGroups is how many groups of a row the assembly takes.
func wholeGroups(n, size int) int {
	if !wholeVectors(size) {
		return 0
	}
	return n / size
}

// group is the part of a row that belongs to group g.
func group[T any](x []T, g, size int) []T { return x[g*size : min((g+1)*size, len(x))] }

// ScaledRanges writes the least and the greatest of w·scale of each group, and of 0. It
// reports whether all of them are finite.
func ScaledRanges(low, high, w, scales []float32, size int) bool {
	high, scales = high[:len(low)], scales[:len(w)]
	whole := min(wholeGroups(len(w), size), len(low))
	largest := uint32(0)
	switch {
	case useAVX512:
		largest = scaledRangesAVX512(unsafe.SliceData(low), unsafe.SliceData(high), unsafe.SliceData(w), unsafe.SliceData(scales), whole, size)
	case useAVX2:
		largest = scaledRangesAVX2(unsafe.SliceData(low), unsafe.SliceData(high), unsafe.SliceData(w), unsafe.SliceData(scales), whole, size)
	default:
		whole = 0
	}
	for g := whole; g < len(low); g++ {
		largest = max(largest, scaledRangeGo(&low[g], &high[g], group(w, g, size), group(scales, g, size)))
	}
	return largest < Infinite
}

// scaledRangeGo returns the bits of the largest magnitude.
func scaledRangeGo(low, high *float32, w, scales []float32) (largest uint32) {
	var least, most float32
	scales = scales[:len(w)]
	for i, x := range w {
		v := float32(x * scales[i])
		if v < least {
			least = v
		}
		if v > most {
			most = v
		}
		largest = max(largest, magnitude(v))
	}
	*low, *high = least, most
	return largest
}

// steps rounds w·scale half to even, within the grid.
func (g *AffineGrid) steps(w, scale float32) float32 {
	return max(g.Low, min(g.High, nearest(float32(float32(w*scale)*g.Inverse))))
}

// AffineCodes writes codes n − Low.
func AffineCodes(codes []uint8, w, scales []float32, grids []AffineGrid, size int) {
	codes, scales = codes[:len(w)], scales[:len(w)]
	whole := min(wholeGroups(len(w), size), len(grids))
	switch {
	case useAVX512:
		affineCodesAVX512(unsafe.SliceData(codes), unsafe.SliceData(w), unsafe.SliceData(scales), gridWords(grids), whole, size)
	case useAVX2:
		affineCodesAVX2(unsafe.SliceData(codes), unsafe.SliceData(w), unsafe.SliceData(scales), gridWords(grids), whole, size)
	default:
		whole = 0
	}
	for g := whole; g < len(grids); g++ {
		affineCodesGo(group(codes, g, size), group(w, g, size), group(scales, g, size), grids[g])
	}
}

func affineCodesGo(codes []uint8, w, scales []float32, grid AffineGrid) {
	codes, scales = codes[:len(w)], scales[:len(w)]
	for i, x := range w {
		codes[i] = uint8(int32(grid.steps(x, scales[i]) - grid.Low))
	}
}

// AffineLost writes the weights less what comes back of them, w − n·Step·inverse.
// Inverses are those of the scales.
func AffineLost(dst, w, scales, inverses []float32, grids []AffineGrid, size int) {
	dst, scales, inverses = dst[:len(w)], scales[:len(w)], inverses[:len(w)]
	whole := min(wholeGroups(len(w), size), len(grids))
	switch {
	case useAVX512:
		affineLostAVX512(unsafe.SliceData(dst), unsafe.SliceData(w), unsafe.SliceData(scales), unsafe.SliceData(inverses), gridWords(grids), whole, size)
	case useAVX2:
		affineLostAVX2(unsafe.SliceData(dst), unsafe.SliceData(w), unsafe.SliceData(scales), unsafe.SliceData(inverses), gridWords(grids), whole, size)
	default:
		whole = 0
	}
	for g := whole; g < len(grids); g++ {
		affineLostGo(group(dst, g, size), group(w, g, size), group(scales, g, size), group(inverses, g, size), grids[g])
	}
}

// A product of two float32s is exact in float64, and so the difference as near as one
// rounding has it, but for where that is a tie in float64.
func affineLostGo(dst, w, scales, inverses []float32, grid AffineGrid) {
	dst, scales, inverses = dst[:len(w)], scales[:len(w)], inverses[:len(w)]
	for i, x := range w {
		back := float32(grid.steps(x, scales[i]) * grid.Step)
		dst[i] = float32(float64(x) - float64(back)*float64(inverses[i]))
	}
}

// AffineValues writes what codes come back as, (code + Low)·Step·inverse.
func AffineValues(dst []float32, codes []uint8, inverses []float32, grids []AffineGrid, size int) {
	codes, inverses = codes[:len(dst)], inverses[:len(dst)]
	whole := min(wholeGroups(len(dst), size), len(grids))
	switch {
	case useAVX512:
		affineValuesAVX512(unsafe.SliceData(dst), unsafe.SliceData(codes), unsafe.SliceData(inverses), gridWords(grids), whole, size)
	case useAVX2:
		affineValuesAVX2(unsafe.SliceData(dst), unsafe.SliceData(codes), unsafe.SliceData(inverses), gridWords(grids), whole, size)
	default:
		whole = 0
	}
	for g := whole; g < len(grids); g++ {
		affineValuesGo(group(dst, g, size), group(codes, g, size), group(inverses, g, size), grids[g])
	}
}

func affineValuesGo(dst []float32, codes []uint8, inverses []float32, grid AffineGrid) {
	codes, inverses = codes[:len(dst)], inverses[:len(dst)]
	for i, code := range codes {
		dst[i] = float32((float32(code)+grid.Low)*grid.Step) * inverses[i]
	}
}

// StepCodes writes codes w·inverse + shift, rounded half to even and clipped to 0…most,
// a number up to 255.
func StepCodes(codes []uint8, w, inverses, shifts []float32, most float32) {
	codes, inverses, shifts = codes[:len(w)], inverses[:len(w)], shifts[:len(w)]
	whole := len(w) &^ 15
	switch {
	case useAVX512:
		stepCodesAVX512(unsafe.SliceData(codes), unsafe.SliceData(w), unsafe.SliceData(inverses), unsafe.SliceData(shifts), whole, most)
	case useAVX2:
		stepCodesAVX2(unsafe.SliceData(codes), unsafe.SliceData(w), unsafe.SliceData(inverses), unsafe.SliceData(shifts), whole, most)
	default:
		whole = 0
	}
	stepCodesGo(codes[whole:], w[whole:], inverses[whole:], shifts[whole:], most)
}

func stepCodesGo(codes []uint8, w, inverses, shifts []float32, most float32) {
	codes, inverses, shifts = codes[:len(w)], inverses[:len(w)], shifts[:len(w)]
	for i, x := range w {
		codes[i] = uint8(toInteger(max(0, min(most, float32(x*inverses[i])+shifts[i]))))
	}
}

// StepValues writes what codes come back as, (code − shift)·step.
func StepValues(dst []float32, codes []uint8, steps, shifts []float32) {
	codes, steps, shifts = codes[:len(dst)], steps[:len(dst)], shifts[:len(dst)]
	whole := len(dst) &^ 15
	switch {
	case useAVX512:
		stepValuesAVX512(unsafe.SliceData(dst), unsafe.SliceData(codes), unsafe.SliceData(steps), unsafe.SliceData(shifts), whole)
	case useAVX2:
		stepValuesAVX2(unsafe.SliceData(dst), unsafe.SliceData(codes), unsafe.SliceData(steps), unsafe.SliceData(shifts), whole)
	default:
		whole = 0
	}
	stepValuesGo(dst[whole:], codes[whole:], steps[whole:], shifts[whole:])
}

func stepValuesGo(dst []float32, codes []uint8, steps, shifts []float32) {
	codes, steps, shifts = codes[:len(dst)], steps[:len(dst)], shifts[:len(dst)]
	for i, code := range codes {
		dst[i] = (float32(code) - shifts[i]) * steps[i]
	}
}
