package main

import (
	"github.com/mmcloughlin/avo/reg"
)

func motion(f *file) {
	f.tiers("distance", "is Distance.", "func(a, b *float32, n int) (distance, size float32)", func(a *asm) {
		x, y, n := a.pointer("a"), a.pointer("b"), a.pointer("n")
		const unrolled = 4
		distance, size := a.vecs(unrolled), a.vecs(unrolled)
		for lane := range unrolled {
			a.zero(distance[lane])
			a.zero(size[lane])
		}
		magnitude := a.constantWord(1<<31 - 1)
		v, d := a.vec(), a.vec()
		add := func(lane int) {
			a.VSUBPS(d, v, d)
			a.VANDPS(magnitude, d, d)
			a.VANDPS(magnitude, v, v)
			a.VADDPS(d, distance[lane], distance[lane])
			a.VADDPS(v, size[lane], size[lane])
		}
		a.eachVector(n, unrolled, func(i reg.GPVirtual, lane int) {
			a.VMOVUPS(a.at(x, i, lane), v)
			a.VMOVUPS(a.at(y, i, lane), d)
			add(lane)
		}, func(i reg.GPVirtual, t tail) {
			a.loadTail(a.at(x, i, 0), t, v)
			a.loadTail(a.at(y, i, 0), t, d)
			add(0)
		})
		for result, s := range [][]reg.VecVirtual{distance, size} {
			a.VADDPS(s[1], s[0], s[0])
			a.VADDPS(s[3], s[2], s[2])
			a.VADDPS(s[2], s[0], s[0])
			a.Store(a.sum(s[0]), a.ReturnIndex(result))
		}
		a.ret()
	})
}
