package kern

import (
	"math"
	"unsafe"
)

// The column kernels take a matrix as it lies, rows of which begin stride elements
// apart: neighbouring columns are neighbouring lanes, and nothing is transposed. They
// add to what is there, so that a large matrix is taken some rows at a time.

// ColumnMaxima raises maxima to the bits of the largest magnitude of each column:
// above those of the largest finite number where an element is not finite.
func ColumnMaxima(maxima []uint32, x []float32, stride, rows int) {
	whole := wholeColumns(x, stride, rows, len(maxima))
	switch {
	case useAVX512:
		columnMaximaAVX512(unsafe.SliceData(maxima), unsafe.SliceData(x), stride, rows, whole)
	case useAVX2:
		columnMaximaAVX2(unsafe.SliceData(maxima), unsafe.SliceData(x), stride, rows, whole)
	default:
		whole = 0
	}
	columnMaximaGo(maxima, x, stride, rows, whole)
}

// wholeColumns is how many columns the assembly takes, and checks that all are there.
func wholeColumns(x []float32, stride, rows, cols int) int {
	if rows == 0 || cols == 0 {
		return 0
	}
	_ = x[:(rows-1)*stride+cols]
	return cols &^ (PanelColumns - 1)
}

func columnMaximaGo(maxima []uint32, x []float32, stride, rows, from int) {
	for r := 0; r < rows && from < len(maxima); r++ {
		row := x[r*stride:][:len(maxima)]
		for c := from; c < len(row); c++ {
			maxima[c] = max(maxima[c], magnitude(row[c]))
		}
	}
}

// ColumnMinima lowers minima to the least element of each column. There are no NaNs.
func ColumnMinima(minima, x []float32, stride, rows int) {
	whole := wholeColumns(x, stride, rows, len(minima))
	switch {
	case useAVX512:
		columnMinimaAVX512(unsafe.SliceData(minima), unsafe.SliceData(x), stride, rows, whole)
	case useAVX2:
		columnMinimaAVX2(unsafe.SliceData(minima), unsafe.SliceData(x), stride, rows, whole)
	default:
		whole = 0
	}
	columnMinimaGo(minima, x, stride, rows, whole)
}

func columnMinimaGo(minima, x []float32, stride, rows, from int) {
	for r := 0; r < rows && from < len(minima); r++ {
		row := x[r*stride:][:len(minima)]
		for c := from; c < len(row); c++ {
			if row[c] < minima[c] {
				minima[c] = row[c]
			}
		}
	}
}

// ColumnSums adds the magnitudes of each column to sums, in float64.
func ColumnSums(sums []float64, x []float32, stride, rows int) {
	whole := wholeColumns(x, stride, rows, len(sums))
	switch {
	case useAVX512:
		columnSumsAVX512(unsafe.SliceData(sums), unsafe.SliceData(x), stride, rows, whole)
	case useAVX2:
		columnSumsAVX2(unsafe.SliceData(sums), unsafe.SliceData(x), stride, rows, whole)
	default:
		whole = 0
	}
	columnSumsGo(sums, x, stride, rows, whole)
}

func columnSumsGo(sums []float64, x []float32, stride, rows, from int) {
	for r := 0; r < rows && from < len(sums); r++ {
		row := x[r*stride:][:len(sums)]
		for c := from; c < len(row); c++ {
			sums[c] += abs64(row[c])
		}
	}
}

// PanelColumns is how many columns a panel has: a line of memory, copied to where the
// lines follow each other. Whoever reads columns many times reads a panel, for lines
// of a matrix whose rows are a power of two apart meet in the caches.
const PanelColumns = 16

// Panel copies rows of 1 to 16 columns to a panel, the missing ones as +0. Without
// signs it copies magnitudes.
func Panel(dst, x []float32, stride, rows, cols int, signs bool) {
	keep := uint32(signless)
	if signs {
		keep = math.MaxUint32
	}
	dst = dst[:rows*PanelColumns]
	switch whole := wholeColumns(x, stride, rows, cols) == PanelColumns; {
	case useAVX512 && whole:
		panelAVX512(unsafe.SliceData(dst), unsafe.SliceData(x), stride, rows, keep)
	case useAVX2 && whole:
		panelAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), stride, rows, keep)
	default:
		panelGo(dst, x, stride, rows, cols, keep)
	}
}

func panelGo(dst, x []float32, stride, rows, cols int, keep uint32) {
	for r := range rows {
		line := dst[r*PanelColumns:][:PanelColumns]
		clear(line)
		for c, v := range x[r*stride:][:cols] {
			line[c] = math.Float32frombits(math.Float32bits(v) & keep)
		}
	}
}

// PanelBelow counts the magnitudes of each column whose bits are below those of bounds.
func PanelBelow(counts *[PanelColumns]uint32, panel []float32, bounds *[PanelColumns]uint32) {
	rows, words := len(panel)/PanelColumns, wordsOf(panel)
	switch {
	case useAVX512:
		panelBelowAVX512(&counts[0], words, &bounds[0], rows)
	case useAVX2:
		panelBelowAVX2(&counts[0], words, &bounds[0], rows)
	default:
		panelBelowGo(counts, panel, bounds)
	}
}

func wordsOf(panel []float32) *uint32 { return (*uint32)(unsafe.Pointer(unsafe.SliceData(panel))) }

func panelBelowGo(counts *[PanelColumns]uint32, panel []float32, bounds *[PanelColumns]uint32) {
	clear(counts[:])
	for len(panel) >= PanelColumns {
		for c, v := range (*[PanelColumns]float32)(panel) {
			counts[c] += (math.Float32bits(v) - bounds[c]) >> 31 // none has the highest bit
		}
		panel = panel[PanelColumns:]
	}
}

// PanelNext finds the least bits of each column's magnitudes that are above bounds, and
// the largest number where there are none.
func PanelNext(next *[PanelColumns]uint32, panel []float32, bounds *[PanelColumns]uint32) {
	rows, words := len(panel)/PanelColumns, wordsOf(panel)
	switch {
	case useAVX512:
		panelNextAVX512(&next[0], words, &bounds[0], rows)
	case useAVX2:
		panelNextAVX2(&next[0], words, &bounds[0], rows)
	default:
		panelNextGo(next, panel, bounds)
	}
}

func panelNextGo(next *[PanelColumns]uint32, panel []float32, bounds *[PanelColumns]uint32) {
	for c := range next {
		next[c] = math.MaxUint32
	}
	for len(panel) >= PanelColumns {
		for c, v := range (*[PanelColumns]float32)(panel) {
			if bits := math.Float32bits(v); bits > bounds[c] {
				next[c] = min(next[c], bits)
			}
		}
		panel = panel[PanelColumns:]
	}
}

// A PanelGrid is a quantisation of a panel's columns: the numbers n·step, for whole n
// from Low to High. Steps are above 0.
type PanelGrid struct {
	Steps, Low, High [PanelColumns]float32
}

// Shift sets Low and High to where most + 1 numbers n lie of which the first is nearest to
// what is least in the column, over its step, and one of them 0.
func (g *PanelGrid) Shift(least *[PanelColumns]float32, most float32) {
	switch {
	case useAVX512:
		panelShiftsAVX512(&g.Low[0], &g.High[0], &g.Steps[0], &least[0], most)
	case useAVX2:
		panelShiftsAVX2(&g.Low[0], &g.High[0], &g.Steps[0], &least[0], most)
	default:
		g.shiftGo(least, most)
	}
}

func (g *PanelGrid) shiftGo(least *[PanelColumns]float32, most float32) {
	for c, v := range least {
		high := max(0, min(0, nearest(v/g.Steps[c]))+most)
		g.Low[c], g.High[c] = high-most, high
	}
}

// PanelErrors lowers least, where a column's elements are not farther from the grid, to
// their squared distance Σ(x − n·step)², n the nearest whole number to x/step of the
// grid's. It returns the columns where that was so, the first one in the lowest bit.
// Steps are times factor.
//
// Sixteen squares at a time are added up in float32. Once a sum of them is above least
// in every column, it gives up: a grid far too small is given up at once.
func PanelErrors(least *[PanelColumns]float64, panel []float32, grid *PanelGrid, factor float32) (lowered uint32) {
	rows := len(panel) / PanelColumns
	switch {
	case useAVX512 && rows > 0:
		return panelErrorsAVX512(&least[0], unsafe.SliceData(panel), &grid.Steps[0], &grid.Low[0], &grid.High[0], rows, factor)
	case useAVX2 && rows > 0:
		return panelErrorsAVX2(&least[0], unsafe.SliceData(panel), &grid.Steps[0], &grid.Low[0], &grid.High[0], rows, factor)
	}
	return panelErrorsGo(least, panel, grid, factor)
}

func panelErrorsGo(least *[PanelColumns]float64, panel []float32, grid *PanelGrid, factor float32) (lowered uint32) {
	for c := range PanelColumns {
		step := grid.Steps[c] * factor
		inverse, low, high := 1/step, grid.Low[c], grid.High[c]
		sum := 0.0
		for from := 0; from+c < len(panel) && !(sum > least[c]); {
			block := float32(0)
			for to := min(from+16*PanelColumns, len(panel)); from < to; from += PanelColumns {
				x := panel[from+c]
				n := max(low, min(high, nearest(float32(x*inverse))))
				off := x - float32(n*step)
				block += float32(off * off)
			}
			sum += float64(block)
		}
		if sum <= least[c] {
			least[c] = sum
			lowered |= 1 << c
		}
	}
	return lowered
}

// nearest rounds half to even. A number that is too large to have a fraction stays.
func nearest(x float32) float32 {
	const big = 0x1.8p23
	if x > -1<<22 && x < 1<<22 {
		return float32(x+big) - big
	}
	return x
}
