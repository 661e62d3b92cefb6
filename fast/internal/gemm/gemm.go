// Package gemm multiplies matrices of any size with package kern's tile.
//
// The idea is Goto's (Goto & van de Geijn 2008, "Anatomy of high-performance matrix
// multiplication"), less the half of it that the tile makes unnecessary: a panel of
// b, some rows deep and as wide as the tile, is copied to where it is contiguous and
// stays in the L2 cache while all rows of a pass by it. A transposed b is transposed
// on the way, so that a·bᵀ costs no more than a·b. The rows of a are used as they lie:
// six of them stay in the L1 cache by themselves.
//
// On a Zen 4, whose peak is 118 GFLOP/s, products of 64³ and 256³ run at 110, and
// with b transposed at 104 and 110.
package gemm

import (
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/parallel"
	"github.com/squishspec/squishspec/spec"
)

// A View is a matrix inside another, or the transpose of one.
type View = kern.View

// Of is all of a matrix; it shares m's memory, as all views do.
func Of(m spec.Matrix) View { return kern.Rows(m.Data, m.Rows, m.Cols, m.Cols) }

// A panel is at most so deep and so wide: 64 KiB, and as wide as the widest tile.
const (
	depth = 256
	width = 64
)

// A Multiplier multiplies matrices, on all cores where they are large. It keeps a
// panel of 64 KiB a core. Its zero value is ready.
type Multiplier struct {
	panels          [][]float32 // one a part
	dst, from, a, b View
	byColumns       bool
}

// Multiply writes dst = from + a·b, and dst = a·b where from is the zero View. dst and
// from are not transposed; dst may be from, and overlaps nothing else.
//
// Each element is a sum over its row of a and its column of b, in an order that
// depends on their length only: what is not finite elsewhere does not reach it, and
// a part of a product is the product of the parts, to the bit.
func (x *Multiplier) Multiply(dst, from, a, b View) {
	if b.Right == 1 && dst.Rows <= depth && a.Cols <= depth && dst.Cols <= width { // nothing to cut
		kern.Gemm(dst, from, nil, a, b)
		return
	}
	x.dst, x.from, x.a, x.b = dst, from, a, b
	// Parts take columns where there are more of them, which share no panel.
	x.byColumns = dst.Cols > dst.Rows
	items, ns := dst.Rows, float64(a.Cols)*float64(dst.Cols)/50
	if x.byColumns {
		items, ns = (dst.Cols+width-1)/width, float64(a.Cols)*float64(dst.Rows)*width/50
	}
	if parts := parallel.Parts(items, ns); len(x.panels) < parts {
		x.panels = append(x.panels, make([][]float32, parts-len(x.panels))...)
	}
	parallel.Run(x, items, ns)
	x.dst, x.from, x.a, x.b = View{}, View{}, View{}, View{}
}

// Part multiplies some rows of a, or some panels of b: it makes a Multiplier a
// parallel.Task.
func (x *Multiplier) Part(number, lo, hi int) {
	dst, from, a, b := x.dst, x.from, x.a, x.b
	if x.byColumns {
		lo, hi = lo*width, min(hi*width, dst.Cols)
		b = b.Block(0, b.Rows, lo, hi)
		dst, from = dst.Block(0, dst.Rows, lo, hi), from.Block(0, dst.Rows, lo, hi)
	} else {
		a = a.Block(lo, hi, 0, a.Cols)
		dst, from = dst.Block(lo, hi, 0, dst.Cols), from.Block(lo, hi, 0, dst.Cols)
	}
	x.panels[number] = multiply(dst, from, a, b, x.panels[number])
}

// multiply does it on one core with a panel for scratch, which it returns.
func multiply(dst, from, a, b View, panel []float32) []float32 {
	if a.Cols == 0 { // sums of nothing
		kern.Gemm(dst, from, nil, a, b)
		return panel
	}
	for p := 0; p < a.Cols; p += depth {
		q := min(p+depth, a.Cols)
		for j := 0; j < dst.Cols; j += width {
			k := min(j+width, dst.Cols)
			part := b.Block(p, q, j, k)
			// A few rows of a are not worth a copy, nor is a b no wider than a panel.
			if b.Right != 1 || (a.Rows >= 24 && b.Cols > width) {
				panel = spec.Resize(panel, depth*width)
				part = pack(part, panel)
			}
			kern.Gemm(dst.Block(0, dst.Rows, j, k), from.Block(0, dst.Rows, j, k), nil, a.Block(0, a.Rows, p, q), part)
		}
		from = dst
	}
	return panel
}

// pack copies a panel to where its rows follow each other.
func pack(b View, panel []float32) View {
	out := kern.Rows(panel, b.Rows, b.Cols, width)
	if b.Right != 1 {
		kern.Transpose(out, b.T())
		return out
	}
	for i := range b.Rows {
		copy(panel[i*width:][:b.Cols], b.Data[i*b.Down:])
	}
	return out
}
