package main

import "github.com/mmcloughlin/avo/reg"

func double(f *file) {
	f.tiers("dotDouble", "is DotDouble.", "func(x, y *float64, n int) float64", func(a *asm) {
		x, y, n := a.pointer("x"), a.pointer("y"), a.words(a.pointer("n"))
		const unrolled = 4
		sums := a.vecs(unrolled)
		for _, s := range sums {
			a.zero(s)
		}
		v := a.vec()
		a.eachVector(n, unrolled, func(i reg.GPVirtual, lane int) {
			a.VMOVUPD(a.at(x, i, lane), v)
			a.VFMADD231PD(a.at(y, i, lane), v, sums[lane])
		}, func(i reg.GPVirtual, t tail) {
			w := a.vec()
			a.loadTail(a.at(x, i, 0), t, v)
			a.loadTail(a.at(y, i, 0), t, w)
			a.VFMADD231PD(w, v, sums[0])
		})
		for half := unrolled / 2; half > 0; half /= 2 {
			for i := range half {
				a.VADDPD(sums[i+half], sums[i], sums[i])
			}
		}
		a.Store(a.sumDouble(sums[0]), a.ReturnIndex(0))
		a.ret()
	})
	f.tiers("addDouble", "is AddDouble.", "func(y *float64, alpha float64, x *float64, n int)", func(a *asm) {
		y, x, n, alpha := a.pointer("y"), a.pointer("x"), a.words(a.pointer("n")), a.double("alpha")
		v := a.vec()
		a.eachVector(n, 4, func(i reg.GPVirtual, lane int) {
			a.VMOVUPD(a.at(y, i, lane), v)
			a.VFMADD231PD(a.at(x, i, lane), alpha, v)
			a.VMOVUPD(v, a.at(y, i, lane))
		}, func(i reg.GPVirtual, t tail) {
			w := a.vec()
			a.loadTail(a.at(y, i, 0), t, v)
			a.loadTail(a.at(x, i, 0), t, w)
			a.VFMADD231PD(w, alpha, v)
			a.storeTail(v, t, a.at(y, i, 0))
		})
		a.ret()
	})
	f.tiers("scaleDouble", "is ScaleDouble.", "func(x *float64, alpha float64, n int)", func(a *asm) {
		x, n, alpha := a.pointer("x"), a.words(a.pointer("n")), a.double("alpha")
		v := a.vec()
		a.eachVector(n, 4, func(i reg.GPVirtual, lane int) {
			a.VMULPD(a.at(x, i, lane), alpha, v)
			a.VMOVUPD(v, a.at(x, i, lane))
		}, func(i reg.GPVirtual, t tail) {
			a.loadTail(a.at(x, i, 0), t, v)
			a.VMULPD(v, alpha, v)
			a.storeTail(v, t, a.at(x, i, 0))
		})
		a.ret()
	})
}
