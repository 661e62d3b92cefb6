package main

import . "github.com/mmcloughlin/avo/operand"

// sturm runs the pivots of 16 shifts side by side: a division waits for the one
// before it, and others fill the time.
func sturm(f *file) {
	f.tiers("sturm", "is Sturm.", "func(below *int64, shifts, diagonal, squares *float64, n int)", func(a *asm) {
		below, shifts, n := a.pointer("below"), a.pointer("shifts"), a.pointer("n")
		diagonal, squares := a.pointer("diagonal"), a.pointer("squares")
		const shiftCount = 16
		vectors := shiftCount * 8 / a.bytes()
		x, pivot, count := a.vecs(vectors), a.vecs(vectors), a.vecs(vectors)
		for v := range vectors {
			a.zero(count[v])
			if a.wide {
				a.VMOVUPD(Mem{Base: shifts, Disp: v * a.bytes()}, x[v])
			}
			a.VBROADCASTSD(a.data("one", func() { a.AppendDatum(F64(1)) }), pivot[v])
		}
		loop, end := a.label("loop"), a.label("end")
		a.TESTQ(n, n)
		a.JZ(LabelRef(end))
		a.Label(loop)
		d, s := a.vec(), a.vec()
		a.VBROADCASTSD(Mem{Base: diagonal}, d)
		a.VBROADCASTSD(Mem{Base: squares}, s)
		for v := range vectors {
			q := a.vec()
			a.VDIVPD(pivot[v], s, q)
			if a.wide {
				a.VSUBPD(x[v], d, pivot[v])
			} else {
				a.VSUBPD(Mem{Base: shifts, Disp: v * a.bytes()}, d, pivot[v])
			}
			a.VSUBPD(q, pivot[v], pivot[v])
			a.VPSRLQ(U8(63), pivot[v], q)
			a.VPADDQ(q, count[v], count[v])
		}
		a.ADDQ(U8(8), diagonal)
		a.ADDQ(U8(8), squares)
		a.DECQ(n)
		a.JNZ(LabelRef(loop))
		a.Label(end)
		for v := range vectors {
			at := Mem{Base: below, Disp: v * a.bytes()}
			if a.wide {
				a.VMOVDQU64(count[v], at)
			} else {
				a.VMOVDQU(count[v], at)
			}
		}
		a.ret()
	})
}
