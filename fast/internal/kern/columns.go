package kern

import "unsafe"

// AddRows adds rows to sums, in float32: row r is as long as sums and begins at
// x[r·stride].
//
// Four rows go at once, added to each other first: a sum is loaded and stored once
// for the four, and rounded as often.
func AddRows(sums, x []float32, rows, stride int) {
	if rows == 0 {
		return
	}
	x = x[:(rows-1)*stride+len(sums)]
	eachRows(rows, len(sums), func(lo, hi int) {
		x := x[lo*stride:]
		switch {
		case useAVX512:
			addRowsAVX512(unsafe.SliceData(sums), unsafe.SliceData(x), hi-lo, len(sums), stride)
		case useAVX2:
			addRowsAVX2(unsafe.SliceData(sums), unsafe.SliceData(x), hi-lo, len(sums), stride)
		default:
			addRowsGo(sums, x, hi-lo, stride)
		}
	})
}

func addRowsGo(sums, x []float32, rows, stride int) {
	for r := range rows {
		for i, v := range x[r*stride:][:len(sums)] {
			sums[i] += v
		}
	}
}

// AddWeightRows is AddRows with what tells whether the rows are weights that sum to
// 1: it writes the total of each row, and returns the least element of all, 0 where
// none is below. A NaN makes its row's total NaN, whatever the least is then.
func AddWeightRows(sums, totals, x []float32, stride int) (least float32) {
	rows := len(totals)
	if rows == 0 {
		return 0
	}
	x = x[:(rows-1)*stride+len(sums)]
	eachRows(rows, len(sums), func(lo, hi int) {
		x, totals := x[lo*stride:], totals[lo:hi]
		switch {
		case useAVX512:
			least = min(least, addWeightRowsAVX512(unsafe.SliceData(sums), unsafe.SliceData(totals), unsafe.SliceData(x), hi-lo, len(sums), stride))
		case useAVX2:
			least = min(least, addWeightRowsAVX2(unsafe.SliceData(sums), unsafe.SliceData(totals), unsafe.SliceData(x), hi-lo, len(sums), stride))
		default:
			least = min(least, addWeightRowsGo(sums, totals, x, stride))
		}
	})
	return least
}

func addWeightRowsGo(sums, totals, x []float32, stride int) (least float32) {
	for r := range totals {
		var t0, t1 float32
		for i, v := range x[r*stride:][:len(sums)] {
			sums[i] += v
			t0, t1 = t1, t0+v // two chains of additions
			least = min(least, v)
		}
		totals[r] = t0 + t1
	}
	return least
}
