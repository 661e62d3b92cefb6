package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func products(f *file) {
	f.tiers("addRowNorms", "is AddRowNorms.", "func(sums, x *float32, rows, cols int)", func(a *asm) {
		sums, x := a.pointer("sums"), a.pointer("x")
		a.rowSums(x, nil, sums, nil)
	})
	f.tiers("addRowDots", "is AddRowDots.", "func(sums, x, w *float32, rows, cols int)", func(a *asm) {
		sums, x, w := a.pointer("sums"), a.pointer("x"), a.pointer("w")
		a.rowSums(x, w, nil, sums)
	})
	f.tiers("rowDotsSquares", "is RowDotsSquares.", "func(dots, squares, x, w *float32, rows, cols int)", func(a *asm) {
		dots, squares, x, w := a.pointer("dots"), a.pointer("squares"), a.pointer("x"), a.pointer("w")
		a.rowSums(x, w, squares, dots)
	})
}

// rowSums computes the squares and the products with w of rows, where there is
// somewhere for them: both are written, one alone is added to what is there, the root
// of the square where there is no w. Four rows go at once: they share the elements of
// w, and the folding of their sums.
func (a *asm) rowSums(x, w, squares, dots reg.Register) {
	rows, cols := a.pointer("rows"), a.pointer("cols")
	stride := a.GP64()
	a.MOVQ(cols, stride)
	a.SHLQ(U8(2), stride)
	v, factor := a.vec(), a.vec()
	const together = 4
	// The sums of four rows, and then those of one, vector by vector.
	sums := map[reg.Register][]reg.VecVirtual{}
	var results []reg.Register
	for _, to := range []reg.Register{squares, dots} {
		if to != nil {
			results = append(results, to)
			sums[to] = a.vecs(together)
		}
	}
	clearSums := func() {
		for _, to := range results {
			for _, s := range sums[to] {
				a.zero(s)
			}
		}
	}
	add := func(lane int) {
		if squares != nil {
			a.VFMADD231PS(v, v, sums[squares][lane])
		}
		if dots != nil {
			a.VFMADD231PS(factor, v, sums[dots][lane])
		}
	}

	four, one, end := a.label("four"), a.label("single"), a.label("return")
	a.Label(four)
	a.CMPQ(rows, U8(together))
	a.JLT(LabelRef(one))
	row := a.rowsFrom(x.(reg.GPVirtual), stride, together)
	clearSums()
	a.eachVector(cols, 1, func(i reg.GPVirtual, _ int) {
		if dots != nil {
			a.VMOVUPS(a.at(w.(reg.GPVirtual), i, 0), factor)
		}
		for k := range together {
			a.VMOVUPS(a.at(row[k], i, 0), v)
			add(k)
		}
	}, func(i reg.GPVirtual, t tail) {
		if dots != nil {
			a.loadTail(a.at(w.(reg.GPVirtual), i, 0), t, factor)
		}
		for k := range together {
			a.loadTail(a.at(row[k], i, 0), t, v)
			add(k)
		}
	})
	for _, to := range results {
		s := a.sumFour(sums[to])
		if w == nil {
			a.VSQRTPS(s, s)
		}
		if len(results) == 1 {
			a.VADDPS(Mem{Base: to}, s, s)
		}
		a.VMOVUPS(s, Mem{Base: to})
		a.ADDQ(U8(together*4), to)
	}
	a.LEAQ(Mem{Base: x, Index: stride, Scale: together}, x)
	a.SUBQ(U8(together), rows)
	a.JMP(LabelRef(four))

	a.Label(one)
	a.TESTQ(rows, rows)
	a.JZ(LabelRef(end))
	clearSums()
	a.eachVector(cols, together, func(i reg.GPVirtual, lane int) {
		if dots != nil {
			a.VMOVUPS(a.at(w.(reg.GPVirtual), i, lane), factor)
		}
		a.VMOVUPS(a.at(x.(reg.GPVirtual), i, lane), v)
		add(lane)
	}, func(i reg.GPVirtual, t tail) {
		if dots != nil {
			a.loadTail(a.at(w.(reg.GPVirtual), i, 0), t, factor)
		}
		a.loadTail(a.at(x.(reg.GPVirtual), i, 0), t, v)
		add(0)
	})
	for _, to := range results {
		s := sums[to]
		a.VADDPS(s[1], s[0], s[0])
		a.VADDPS(s[3], s[2], s[2])
		a.VADDPS(s[2], s[0], s[0])
		one := a.sum(s[0])
		if w == nil {
			a.VSQRTSS(one, one, one)
		}
		if len(results) == 1 {
			a.VADDSS(Mem{Base: to}, one, one)
		}
		a.VMOVSS(one, Mem{Base: to})
		a.ADDQ(U8(4), to)
	}
	a.ADDQ(stride, x)
	a.DECQ(rows)
	a.JMP(LabelRef(one))
	a.Label(end)
	a.ret()
}

// rowsFrom returns where n rows begin, the first at x and each stride bytes behind
// the one before.
func (a *asm) rowsFrom(x, stride reg.GPVirtual, n int) []reg.GPVirtual {
	row := []reg.GPVirtual{x}
	for k := 1; k < n; k++ {
		next := a.GP64()
		a.LEAQ(Mem{Base: row[k-1], Index: stride, Scale: 1}, next)
		row = append(row, next)
	}
	return row
}

// sumFour adds the lanes of four vectors up, into the four lanes of the result. The
// vectors are used up.
func (a *asm) sumFour(v []reg.VecVirtual) reg.VecVirtual {
	return a.foldFour(v, func(x, y, dst reg.VecVirtual) { a.VADDPS(x, y, dst) })
}

// foldFour joins the lanes of each of four vectors, into the four lanes of the
// result: a transposition, step by step. The vectors are used up.
func (a *asm) foldFour(v []reg.VecVirtual, join func(x, y, dst reg.VecVirtual)) reg.VecVirtual {
	t := a.vec()
	for _, pair := range [][]reg.VecVirtual{v[:2], v[2:]} {
		a.VUNPCKLPS(pair[1], pair[0], t)
		a.VUNPCKHPS(pair[1], pair[0], pair[0])
		join(t, pair[0], pair[0])
	}
	a.VUNPCKLPD(v[2], v[0], t)
	a.VUNPCKHPD(v[2], v[0], v[0])
	join(t, v[0], v[0])
	all := v[0]
	if a.wide {
		high, low := a.YMM(), a.YMM()
		a.VEXTRACTF64X4(U8(1), all, high)
		a.VMOVAPS(all.AsY(), low)
		join(high, low, low)
		all = low
	}
	high, low := a.XMM(), a.XMM()
	if a.wide { // the form that takes any register
		a.VEXTRACTF32X4(U8(1), all.AsY(), high)
	} else {
		a.VEXTRACTF128(U8(1), all.AsY(), high)
	}
	a.VMOVAPS(all.AsX(), low)
	join(high, low, low)
	return low
}
