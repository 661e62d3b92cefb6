package kern

import (
	"math"
	"unsafe"
)

// elementsAtOnce is about how many elements a call of assembly goes through.
const elementsAtOnce = 1 << 17

// eachRows calls do with as many of n rows of cols elements as one call of assembly
// may take, from lo up to hi.
func eachRows(n, cols int, do func(lo, hi int)) {
	step := max(1, elementsAtOnce/max(1, cols))
	for lo := 0; lo < n; lo += step {
		do(lo, min(n, lo+step))
	}
}

// AddRowNorms adds √Σ xᵢ² of every row of x to sums, in float32. x has as many rows of
// one length as sums has elements.
func AddRowNorms(sums, x []float32) {
	if len(sums) == 0 {
		return
	}
	cols := len(x) / len(sums)
	eachRows(len(sums), cols, func(lo, hi int) {
		sums, x := sums[lo:hi], x[lo*cols:hi*cols]
		switch {
		case useAVX512:
			addRowNormsAVX512(unsafe.SliceData(sums), unsafe.SliceData(x), len(sums), cols)
		case useAVX2:
			addRowNormsAVX2(unsafe.SliceData(sums), unsafe.SliceData(x), len(sums), cols)
		default:
			for r := range sums {
				row := x[r*cols:][:cols]
				sums[r] += float32(math.Sqrt(float64(dotGo(row, row))))
			}
		}
	})
}

// AddRowDots adds Σ xᵢ·wᵢ of every row of x to sums, in float32. x has as many rows of
// the length of w as sums has elements.
//
// Four rows go at once, so that they share the loads of w and the additions that
// fold a vector of sums into one.
func AddRowDots(sums, x, w []float32) {
	cols := len(w)
	x = x[:len(sums)*cols]
	eachRows(len(sums), cols, func(lo, hi int) {
		sums, x := sums[lo:hi], x[lo*cols:hi*cols]
		switch {
		case useAVX512:
			addRowDotsAVX512(unsafe.SliceData(sums), unsafe.SliceData(x), unsafe.SliceData(w), len(sums), cols)
		case useAVX2:
			addRowDotsAVX2(unsafe.SliceData(sums), unsafe.SliceData(x), unsafe.SliceData(w), len(sums), cols)
		default:
			for r := range sums {
				sums[r] += dotGo(w, x[r*cols:][:cols])
			}
		}
	})
}

// RowDotsSquares writes Σ xᵢ·wᵢ and Σ xᵢ² of every row of x, in one pass and in float32.
// dots and squares are of one length, and x has as many rows of the length of w.
func RowDotsSquares(dots, squares, x, w []float32) {
	cols := len(w)
	x, squares = x[:len(dots)*cols], squares[:len(dots)]
	eachRows(len(dots), cols, func(lo, hi int) {
		dots, squares, x := dots[lo:hi], squares[lo:hi], x[lo*cols:hi*cols]
		switch {
		case useAVX512:
			rowDotsSquaresAVX512(unsafe.SliceData(dots), unsafe.SliceData(squares), unsafe.SliceData(x), unsafe.SliceData(w), len(dots), cols)
		case useAVX2:
			rowDotsSquaresAVX2(unsafe.SliceData(dots), unsafe.SliceData(squares), unsafe.SliceData(x), unsafe.SliceData(w), len(dots), cols)
		default:
			for r := range dots {
				row := x[r*cols:][:cols]
				dots[r], squares[r] = dotGo(w, row), dotGo(row, row)
			}
		}
	})
}
