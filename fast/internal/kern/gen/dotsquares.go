package main

import "github.com/mmcloughlin/avo/reg"

func dotSquares(f *file) {
	f.tiers("dotSquares", "is DotSquares.", "func(x, y *float32, n int) (xy, xx, yy float32)", func(a *asm) {
		x, y, n := a.pointer("x"), a.pointer("y"), a.pointer("n")
		const unrolled = 4
		var sums [3][]reg.VecVirtual
		for k := range sums {
			sums[k] = a.vecs(unrolled)
			for _, s := range sums[k] {
				a.zero(s)
			}
		}
		v, w := a.vec(), a.vec()
		add := func(lane int) {
			a.VFMADD231PS(w, v, sums[0][lane])
			a.VFMADD231PS(v, v, sums[1][lane])
			a.VFMADD231PS(w, w, sums[2][lane])
		}
		a.eachVector(n, unrolled, func(i reg.GPVirtual, lane int) {
			a.VMOVUPS(a.at(x, i, lane), v)
			a.VMOVUPS(a.at(y, i, lane), w)
			add(lane)
		}, func(i reg.GPVirtual, t tail) {
			a.loadTail(a.at(x, i, 0), t, v)
			a.loadTail(a.at(y, i, 0), t, w)
			add(0)
		})
		for k, s := range sums {
			a.VADDPS(s[2], s[0], s[0])
			a.VADDPS(s[3], s[1], s[1])
			a.VADDPS(s[1], s[0], s[0])
			a.Store(a.sum(s[0]), a.ReturnIndex(k))
		}
		a.ret()
	})
}
