package main

import (
	"math"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func peak(f *file) {
	const chains = 12 // latency times pipes is 8 to 10
	f.tiers("peakMulAdds", "is PeakMulAdds.", "func(rounds int) float32", func(a *asm) {
		rounds, one := a.pointer("rounds"), a.broadcastWord(math.Float32bits(1))
		sums := a.chains(rounds, chains, func(s reg.VecVirtual) { a.VFMADD231PS(one, one, s) })
		for _, s := range sums[1:] {
			a.VADDPS(s, sums[0], sums[0])
		}
		a.Store(a.sum(sums[0]), a.ReturnIndex(0))
		a.ret()
	})
	f.tiers("peakAdds", "is PeakAdds.", "func(rounds int) uint32", func(a *asm) {
		rounds, one := a.pointer("rounds"), a.broadcastWord(1)
		sums := a.chains(rounds, chains, func(s reg.VecVirtual) { a.VPADDD(one, s, s) })
		for _, s := range sums[1:] {
			a.VPADDD(s, sums[0], sums[0])
		}
		total := a.fold(sums[0], func(x, y, dst reg.VecVirtual) { a.VPADDD(x, y, dst) })
		a.storeWord(total)
		a.ret()
	})
	f.tiers("peakRead", "is PeakRead.", "func(x *uint32, n, rounds int) uint32", func(a *asm) {
		x, n, rounds := a.pointer("x"), a.pointer("n"), a.pointer("rounds")
		const unrolled = 8
		found := a.vecs(unrolled)
		for _, v := range found {
			a.zero(v)
		}
		a.again(rounds, func() {
			a.eachVector(n, unrolled, func(i reg.GPVirtual, lane int) {
				a.VORPS(a.at(x, i, lane), found[lane], found[lane])
			}, func(i reg.GPVirtual, t tail) {
				v := a.vec()
				a.loadTail(a.at(x, i, 0), t, v)
				a.VORPS(v, found[0], found[0])
			})
		})
		for _, v := range found[1:] {
			a.VORPS(v, found[0], found[0])
		}
		a.storeWord(a.fold(found[0], func(x, y, dst reg.VecVirtual) { a.VORPS(x, y, dst) }))
		a.ret()
	})
	f.tiers("peakWrite", "is PeakWrite.", "func(x *uint32, n, rounds int, v uint32)", func(a *asm) {
		x, n, rounds := a.pointer("x"), a.pointer("n"), a.pointer("rounds")
		address, err := a.Param("v").Resolve()
		if err != nil {
			panic(err) // a parameter of the signature above
		}
		v := a.vec()
		a.VBROADCASTSS(address.Addr, v)
		a.again(rounds, func() {
			a.eachVector(n, 8, func(i reg.GPVirtual, lane int) {
				a.VMOVUPS(v, a.at(x, i, lane))
			}, func(i reg.GPVirtual, t tail) {
				a.storeTail(v, t, a.at(x, i, 0))
			})
		})
		a.ret()
	})
}

// chains makes rounds of steps, one for each of n vectors that begin as 0.
func (a *asm) chains(rounds reg.GPVirtual, n int, step func(s reg.VecVirtual)) []reg.VecVirtual {
	sums := a.vecs(n)
	for _, s := range sums {
		a.zero(s)
	}
	a.again(rounds, func() {
		for _, s := range sums {
			step(s)
		}
	})
	return sums
}

// again does a body so many times. rounds is used up.
func (a *asm) again(rounds reg.GPVirtual, body func()) {
	loop, end := a.label("again"), a.label("done")
	a.Label(loop)
	a.SUBQ(U8(1), rounds)
	a.JLT(LabelRef(end))
	body()
	a.JMP(LabelRef(loop))
	a.Label(end)
}

// storeWord returns the lowest word of v.
func (a *asm) storeWord(v reg.VecVirtual) {
	word := a.GP32()
	a.VMOVD(v.AsX(), word)
	a.Store(word, a.ReturnIndex(0))
}
