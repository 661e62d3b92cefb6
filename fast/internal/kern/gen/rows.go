package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func rows(f *file) {
	f.tiers("copyRows", "is CopyRows, of one row at least.", "func(dst *float32, dstStride int, src *float32, srcStride, rows, cols int)", func(a *asm) {
		dst, dstStride := a.pointer("dst"), a.pointer("dstStride")
		src, srcStride := a.pointer("src"), a.pointer("srcStride")
		rows, cols := a.pointer("rows"), a.pointer("cols")
		a.SHLQ(U8(2), dstStride)
		a.SHLQ(U8(2), srcStride)
		loop := a.label("row")
		a.Label(loop)
		a.eachVector(cols, 4, func(i reg.GPVirtual, lane int) {
			v := a.vec()
			a.VMOVUPS(a.at(src, i, lane), v)
			a.VMOVUPS(v, a.at(dst, i, lane))
		}, func(i reg.GPVirtual, t tail) {
			v := a.vec()
			a.loadTail(a.at(src, i, 0), t, v)
			a.storeTail(v, t, a.at(dst, i, 0))
		})
		a.ADDQ(dstStride, dst)
		a.ADDQ(srcStride, src)
		a.DECQ(rows)
		a.JNZ(LabelRef(loop))
		a.ret()
	})
}
