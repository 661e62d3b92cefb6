// Package matrix has the matrix product of package fast, for who has more to
// multiply than the modules do.
package matrix

import (
	"github.com/squishspec/squishspec/fast/internal/gemm"
	"github.com/squishspec/squishspec/fast/internal/kern"
)

// A View is a matrix inside another, or the transpose of one: element (i, j) is
// Data[i·Down + j·Right].
type View = kern.View

// Rows is a view of rows × cols elements in data, a row every down of them.
func Rows(data []float32, rows, cols, down int) View { return kern.Rows(data, rows, cols, down) }

// A Multiplier multiplies matrices, on all cores where they are large. It keeps 64 KiB
// of scratch a core, and is for one goroutine. Its zero value is ready.
type Multiplier struct{ multiplier gemm.Multiplier }

// Multiply writes dst = a·b, which overlaps neither. dst is not transposed. Shapes fit:
// dst has the rows of a and the columns of b, and a as many columns as b has rows.
//
// Each element is a sum in float32 over its row of a and its column of b, in an order
// that depends on their length only: a part of a product is the product of the parts,
// to the bit, on one architecture with one kind of vector instructions.
func (m *Multiplier) Multiply(dst, a, b View) { m.multiplier.Multiply(dst, View{}, a, b) }
