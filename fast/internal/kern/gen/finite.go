package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func finite(f *file) {
	f.tiers("allFinite", "is AllFinite's.", "func(x *float32, n int) float32", func(a *asm) {
		x, n := a.pointer("x"), a.pointer("n")
		const unrolled = 4
		sums, zero, v := a.vecs(unrolled), a.vec(), a.vec()
		a.zero(zero)
		for _, s := range sums {
			a.zero(s)
		}
		a.eachVector(n, unrolled, func(i reg.GPVirtual, lane int) {
			a.VFMADD231PS(a.at(x, i, lane), zero, sums[lane])
		}, func(i reg.GPVirtual, t tail) {
			a.loadTail(a.at(x, i, 0), t, v)
			a.VFMADD231PS(v, zero, sums[0])
		})
		a.VADDPS(sums[1], sums[0], sums[0])
		a.VADDPS(sums[3], sums[2], sums[2])
		a.VADDPS(sums[2], sums[0], sums[0])
		a.Store(a.sum(sums[0]), a.ReturnIndex(0))
		a.ret()
	})
	f.tiers("extremes", "is Extremes.", "func(x *float32, n int) (low, high, zero float32)", func(a *asm) {
		x, n := a.pointer("x"), a.pointer("n")
		const unrolled = 4
		low, high, sums, nought, v := a.vecs(unrolled), a.vecs(unrolled), a.vecs(unrolled), a.vec(), a.vec()
		a.zero(nought)
		for lane := range unrolled {
			a.VBROADCASTSS(Mem{Base: x}, low[lane])
			a.VMOVAPS(low[lane], high[lane])
			a.zero(sums[lane])
		}
		look := func(lane int) {
			a.VMINPS(v, low[lane], low[lane])
			a.VMAXPS(v, high[lane], high[lane])
			a.VFMADD231PS(v, nought, sums[lane])
		}
		a.eachVector(n, unrolled, func(i reg.GPVirtual, lane int) {
			a.VMOVUPS(a.at(x, i, lane), v)
			look(lane)
		}, func(i reg.GPVirtual, t tail) {
			// The lanes beyond are the first element, as good as any.
			a.loadTailOr(a.at(x, i, 0), t, Mem{Base: x}, v)
			look(0)
		})
		join := []func(x, y, dst reg.VecVirtual){
			func(x, y, dst reg.VecVirtual) { a.VMINPS(x, y, dst) },
			func(x, y, dst reg.VecVirtual) { a.VMAXPS(x, y, dst) },
			func(x, y, dst reg.VecVirtual) { a.VADDPS(x, y, dst) },
		}
		for result, s := range [][]reg.VecVirtual{low, high, sums} {
			join[result](s[1], s[0], s[0])
			join[result](s[3], s[2], s[2])
			join[result](s[2], s[0], s[0])
			a.Store(a.fold(s[0], join[result]), a.ReturnIndex(result))
		}
		a.ret()
	})
}

// loadTailOr loads the lanes of a mask, and into the others one number from memory.
func (a *asm) loadTailOr(m Mem, t tail, other Mem, v reg.VecVirtual) {
	if a.wide {
		a.VBROADCASTSS(other, v)
		a.VMOVUPS(m, t.mask, v)
		return
	}
	rest := a.vec()
	a.VBROADCASTSS(other, rest)
	a.VMASKMOVPS(m, t.mask, v)
	a.VBLENDVPS(t.mask, v, rest, v)
}
