package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func columns(f *file) {
	f.tiers("addRows", "is AddRows.", "func(sums, x *float32, rows, cols, stride int)", func(a *asm) {
		a.addRows(nil)
		a.ret()
	})
	f.tiers("addWeightRows", "is AddWeightRows.", "func(sums, totals, x *float32, rows, cols, stride int) float32", func(a *asm) {
		a.Store(a.addRows(a.pointer("totals")), a.ReturnIndex(0))
		a.ret()
	})
}

// addRows adds rows to sums, four at once, so that a sum is loaded and stored once
// for four. With totals it writes the sum of each row there, and returns the least
// element, 0 where none is below.
func (a *asm) addRows(totals reg.Register) (least reg.VecVirtual) {
	sums, x := a.pointer("sums"), a.pointer("x")
	rows, cols, stride := a.pointer("rows"), a.pointer("cols"), a.pointer("stride")
	a.SHLQ(U8(2), stride)
	const together = 4
	v := a.vecs(together)
	sum := a.vec()
	var total, mins []reg.VecVirtual
	// Half of the additions are multiply-adds: those have ports of their own.
	one := a.constant(1)
	if totals != nil {
		total, mins = a.vecs(together), a.vecs(together)
		for _, m := range mins {
			a.zero(m)
		}
	}
	// A row is looked at, and added to the columns' sums.
	look := func(k int) {
		if totals != nil {
			a.VFMADD231PS(one, v[k], total[k])
			a.VMINPS(v[k], mins[k], mins[k])
		}
	}
	clearTotals := func() {
		for _, t := range total {
			a.zero(t)
		}
	}

	four, single, end := a.label("four"), a.label("single"), a.label("rows")
	a.Label(four)
	a.CMPQ(rows, U8(together))
	a.JLT(LabelRef(single))
	row := a.rowsFrom(x, stride, together)
	clearTotals()
	addFour := func() {
		for k := range together {
			look(k)
		}
		a.VFMADD231PS(one, v[1], v[0])
		a.VFMADD231PS(one, v[3], v[2])
		a.VADDPS(v[2], v[0], v[0])
		a.VADDPS(v[0], sum, sum)
	}
	a.eachVector(cols, 1, func(i reg.GPVirtual, _ int) {
		for k := range together {
			a.VMOVUPS(a.at(row[k], i, 0), v[k])
		}
		a.VMOVUPS(a.at(sums, i, 0), sum)
		addFour()
		a.VMOVUPS(sum, a.at(sums, i, 0))
	}, func(i reg.GPVirtual, t tail) {
		for k := range together {
			a.loadTail(a.at(row[k], i, 0), t, v[k])
		}
		a.loadTail(a.at(sums, i, 0), t, sum)
		addFour()
		a.storeTail(sum, t, a.at(sums, i, 0))
	})
	if totals != nil {
		a.VMOVUPS(a.sumFour(total), Mem{Base: totals})
		a.ADDQ(U8(together*4), totals)
	}
	a.LEAQ(Mem{Base: x, Index: stride, Scale: together}, x)
	a.SUBQ(U8(together), rows)
	a.JMP(LabelRef(four))

	a.Label(single)
	a.TESTQ(rows, rows)
	a.JZ(LabelRef(end))
	clearTotals()
	a.eachVector(cols, 1, func(i reg.GPVirtual, _ int) {
		a.VMOVUPS(a.at(x, i, 0), v[0])
		look(0)
		a.VADDPS(a.at(sums, i, 0), v[0], sum)
		a.VMOVUPS(sum, a.at(sums, i, 0))
	}, func(i reg.GPVirtual, t tail) {
		a.loadTail(a.at(x, i, 0), t, v[0])
		a.loadTail(a.at(sums, i, 0), t, sum)
		look(0)
		a.VADDPS(v[0], sum, sum)
		a.storeTail(sum, t, a.at(sums, i, 0))
	})
	if totals != nil {
		a.VMOVSS(a.sum(total[0]), Mem{Base: totals})
		a.ADDQ(U8(4), totals)
	}
	a.ADDQ(stride, x)
	a.DECQ(rows)
	a.JMP(LabelRef(single))
	a.Label(end)
	if totals == nil {
		return nil
	}
	for _, m := range mins[1:] {
		a.VMINPS(m, mins[0], mins[0])
	}
	return a.fold(mins[0], func(x, y, dst reg.VecVirtual) { a.VMINPS(x, y, dst) })
}
