package kern

import (
	"math"
	"unsafe"
)

// SturmShifts is how many shifts Sturm takes.
const SturmShifts = 16

// Sturm counts, for each of 16 shifts, the eigenvalues below it of a symmetric
// tridiagonal matrix, by Sylvester's law of inertia: they are as many as there are
// negative pivots of matrix − shift. squares[i] is the square of the element that
// couples i−1 and i, and squares[0] is 0; the others are not 0, but may be as small
// as they like: a pivot of 0 then makes the next one infinite, of the other sign, and
// no harm is done.
func Sturm(below *[SturmShifts]int64, shifts *[SturmShifts]float64, diagonal, squares []float64) {
	squares = squares[:len(diagonal)]
	switch {
	case useAVX512:
		sturmAVX512(&below[0], &shifts[0], unsafe.SliceData(diagonal), unsafe.SliceData(squares), len(diagonal))
	case useAVX2:
		sturmAVX2(&below[0], &shifts[0], unsafe.SliceData(diagonal), unsafe.SliceData(squares), len(diagonal))
	default:
		sturmGo(below, shifts, diagonal, squares)
	}
}

func sturmGo(below *[SturmShifts]int64, shifts *[SturmShifts]float64, diagonal, squares []float64) {
	// Four at a time, so that divisions need not wait for each other.
	for from := 0; from < SturmShifts; from += 4 {
		x := (*[4]float64)(shifts[from:])
		p0, p1, p2, p3 := 1.0, 1.0, 1.0, 1.0
		var n0, n1, n2, n3 uint64
		for i, d := range diagonal {
			s := squares[i]
			p0, p1, p2, p3 = d-x[0]-s/p0, d-x[1]-s/p1, d-x[2]-s/p2, d-x[3]-s/p3
			n0 += math.Float64bits(p0) >> 63
			n1 += math.Float64bits(p1) >> 63
			n2 += math.Float64bits(p2) >> 63
			n3 += math.Float64bits(p3) >> 63
		}
		*(*[4]int64)(below[from:]) = [4]int64{int64(n0), int64(n1), int64(n2), int64(n3)}
	}
}
