package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func bracket(f *file) {
	f.tiers("bracket", "is Bracket.", "func(dst, x *float32, low, span uint32, n int) (below, within int, largest uint32)", func(a *asm) {
		dst, x, n := a.pointer("dst"), a.pointer("x"), a.pointer("n")
		low, span := a.argument("low"), a.argument("span")
		signless := a.constantWord(0x7fffffff)
		below, largest := a.vec(), a.vec()
		a.zero(below)
		a.zero(largest)
		to := a.GP64()
		a.MOVQ(dst, to)
		take := func(v reg.VecVirtual, t *tail) {
			a.VANDPS(signless, v, v)
			a.VPMAXUD(v, largest, largest)
			above := a.vec() // the low end, or below it: then it wraps to a great number
			a.VPSUBD(low, v, above)
			c := a.atMost(span, above)
			a.VPSRLD(U8(31), above, above)
			if t != nil {
				c = a.both(c, choice(*t))
				above = a.selected(above, choice(*t))
			}
			a.VPADDD(above, below, below)
			bits := a.bits(c)
			a.VMOVUPS(a.compressed(v, c, bits), Mem{Base: to})
			a.POPCNTL(bits.As32(), bits.As32())
			a.LEAQ(Mem{Base: to, Index: bits, Scale: 4}, to)
		}
		a.eachVector(n, 2, func(i reg.GPVirtual, lane int) {
			v := a.vec()
			a.VMOVUPS(a.at(x, i, lane), v)
			take(v, nil)
		}, func(i reg.GPVirtual, t tail) {
			v := a.vec()
			a.loadTail(a.at(x, i, 0), t, v)
			take(v, &t)
		})
		a.SUBQ(dst, to)
		a.SHRQ(U8(2), to)
		a.Store(a.count(below), a.ReturnIndex(0))
		a.Store(to, a.ReturnIndex(1))
		a.storeLargest(largest, 2)
		a.ret()
	})
	f.tiers("countBelow", "is CountBelow.", "func(x *float32, limit uint32, n int) int", func(a *asm) {
		x, limit, n := a.pointer("x"), a.argument("limit"), a.pointer("n")
		signless := a.constantWord(0x7fffffff)
		const unrolled = 4
		below := a.vecs(unrolled)
		for _, b := range below {
			a.zero(b)
		}
		less := func(v reg.VecVirtual) reg.VecVirtual {
			a.VANDPS(signless, v, v)
			a.VPSUBD(limit, v, v)
			a.VPSRLD(U8(31), v, v)
			return v
		}
		a.eachVector(n, unrolled, func(i reg.GPVirtual, lane int) {
			v := a.vec()
			a.VMOVUPS(a.at(x, i, lane), v)
			a.VPADDD(less(v), below[lane], below[lane])
		}, func(i reg.GPVirtual, t tail) {
			v := a.vec()
			a.loadTail(a.at(x, i, 0), t, v)
			a.VPADDD(a.selected(less(v), choice(t)), below[0], below[0])
		})
		a.VPADDD(below[2], below[0], below[0])
		a.VPADDD(below[3], below[1], below[1])
		a.VPADDD(below[1], below[0], below[0])
		a.Store(a.count(below[0]), a.ReturnIndex(0))
		a.ret()
	})
	f.tiers("above", "is Above.", "func(dst, x *float32, limit uint32, n int)", func(a *asm) {
		dst, x, limit, n := a.pointer("dst"), a.pointer("x"), a.argument("limit"), a.pointer("n")
		signless := a.constantWord(0x7fffffff)
		kept := func(v reg.VecVirtual) reg.VecVirtual {
			d := a.vec()
			a.VANDPS(signless, v, d)
			a.VPSUBD(d, limit, d)
			return a.selected(v, a.negative(d))
		}
		a.eachVector(n, 4, func(i reg.GPVirtual, lane int) {
			v := a.vec()
			a.VMOVUPS(a.at(x, i, lane), v)
			a.VMOVUPS(kept(v), a.at(dst, i, lane))
		}, func(i reg.GPVirtual, t tail) {
			v := a.vec()
			a.loadTail(a.at(x, i, 0), t, v)
			a.storeTail(kept(v), t, a.at(dst, i, 0))
		})
		a.ret()
	})
}
