package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func nonZero(f *file) {
	f.tiers("compressNonZero", "is CompressNonZero.", "func(values *float32, columns *byte, x *float32, n int) (count int, largest uint32)", func(a *asm) {
		values, columns, x, n := a.pointer("values"), a.pointer("columns"), a.pointer("x"), a.pointer("n")
		signless, largest, zero := a.constantWord(0x7fffffff), a.vec(), a.vec()
		a.zero(largest)
		a.zero(zero)
		to := a.GP64() // where the next value stands
		a.XORQ(to, to)
		take := func(i reg.GPVirtual, v reg.VecVirtual) {
			magnitude, c := a.vec(), choice{}
			a.VANDPS(signless, v, magnitude)
			a.VPMAXUD(magnitude, largest, largest)
			if a.wide {
				k := a.K()
				a.VPTESTMD(magnitude, magnitude, k)
				c.mask = k
			} else {
				a.VPCMPGTD(zero, magnitude, magnitude)
				c.mask = magnitude
			}
			bits := a.bits(c)
			a.VMOVUPS(a.compressed(v, c, bits), Mem{Base: values, Index: to, Scale: 4})
			a.columns(i, c, bits, Mem{Base: columns, Index: to, Scale: 2})
			a.POPCNTL(bits.As32(), bits.As32())
			a.ADDQ(bits, to)
		}
		a.eachVector(n, 2, func(i reg.GPVirtual, lane int) {
			v, first := a.vec(), a.GP64()
			a.VMOVUPS(a.at(x, i, lane), v)
			a.LEAQ(Mem{Base: i, Disp: lane * a.lanes}, first)
			take(first, v)
		}, func(i reg.GPVirtual, t tail) {
			v := a.vec()
			a.loadTail(a.at(x, i, 0), t, v)
			take(i, v)
		})
		a.Store(to, a.ReturnIndex(0))
		a.storeLargest(largest, 1)
		a.ret()
	})
}
