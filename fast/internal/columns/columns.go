// Package columns multiplies rows with a matrix of few columns, in float64: the
// logits of a gate.
//
// The idea: four columns lie interleaved, so that one element of a row meets four
// neighbours in memory, and their four sums wait for no other. They are kept in
// float64, since converting them again for every row would cost as much as the
// products.
package columns

import "github.com/squishspec/squishspec/spec"

// group is the number of columns that lie interleaved.
const group = 4

// Columns are the columns of a matrix. The zero value has none.
type Columns struct {
	rows, cols int
	data       []float64 // group by group: row by row; missing columns are 0
	row        []float64 // scratch
}

// Of returns the columns of a matrix, copied.
func Of(m spec.Matrix) Columns {
	groups := (m.Cols + group - 1) / group
	c := Columns{rows: m.Rows, cols: m.Cols, data: make([]float64, groups*group*m.Rows), row: make([]float64, m.Rows)}
	for r := range m.Rows {
		for col, x := range m.Row(r) {
			c.data[(col/group*m.Rows+r)*group+col%group] = float64(x)
		}
	}
	return c
}

// Dots writes the dot product of x with every column.
func (c *Columns) Dots(out []float64, x []float32) {
	for i, v := range x {
		c.row[i] = float64(v)
	}
	for first := 0; first < c.cols; first += group {
		from := first * c.rows
		sums := dots(c.row, c.data[from:from+group*c.rows])
		copy(out[first:c.cols], sums[:])
	}
}

// dots multiplies a row with one group.
func dots(row, columns []float64) [group]float64 {
	var s0, s1, s2, s3 float64
	for _, x := range row {
		w := columns[:group]
		columns = columns[group:]
		s0 += x * w[0]
		s1 += x * w[1]
		s2 += x * w[2]
		s3 += x * w[3]
	}
	return [group]float64{s0, s1, s2, s3}
}
