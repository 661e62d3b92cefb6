package kern

import "testing"

func TestAddRows(t *testing.T) {
	eachLength(t, func(t *testing.T, cols int, m *memory) {
		rows, stride := m.r.IntN(8), cols+m.r.IntN(3)
		draw := oneOf(m, ordinary, finite, anything)
		x := floats(m, max(0, rows-1)*stride+min(rows, 1)*cols, draw)
		before := floats(m, cols, draw)
		sums, weightSums, totals := take[float32](m, cols), take[float32](m, cols), take[float32](m, rows)
		copy(sums, before)
		copy(weightSums, before)
		AddRows(sums, x, rows, stride)
		least := AddWeightRows(weightSums, totals, x, stride)
		sameBits(t, "sums of both", weightSums, sums)
		want, isNaN := float32(0), false
		terms := make([]float64, cols)
		for r := range rows {
			for i, v := range x[r*stride:][:cols] {
				terms[i] = float64(v)
				isNaN = isNaN || v != v
				if v < want {
					want = v
				}
			}
			nearSum(t, "total", float64(totals[r]), terms)
		}
		if !isNaN && least != want {
			t.Errorf("least %v, want %v", least, want)
		}
		column := make([]float64, rows+1)
		for i := range cols {
			column[rows] = float64(before[i])
			for r := range rows {
				column[r] = float64(x[r*stride+i])
			}
			nearSum(t, "sum", float64(sums[i]), column)
		}
	})
}
