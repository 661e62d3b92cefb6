package main

import "github.com/mmcloughlin/avo/reg"

func dot(f *file) {
	f.tiers("dot", "is Dot.", "func(x, y *float32, n int) float32", func(a *asm) {
		x, y, n := a.pointer("x"), a.pointer("y"), a.pointer("n")
		const unrolled = 8
		sums := a.vecs(unrolled)
		for _, s := range sums {
			a.zero(s)
		}
		v := a.vec()
		a.eachVector(n, unrolled, func(i reg.GPVirtual, lane int) {
			a.VMOVUPS(a.at(x, i, lane), v)
			a.VFMADD231PS(a.at(y, i, lane), v, sums[lane])
		}, func(i reg.GPVirtual, t tail) {
			w := a.vec()
			a.loadTail(a.at(x, i, 0), t, v)
			a.loadTail(a.at(y, i, 0), t, w)
			a.VFMADD231PS(w, v, sums[0])
		})
		for half := unrolled / 2; half > 0; half /= 2 {
			for i := range half {
				a.VADDPS(sums[i+half], sums[i], sums[i])
			}
		}
		a.Store(a.sum(sums[0]), a.ReturnIndex(0))
		a.ret()
	})
}
