package main

import . "github.com/mmcloughlin/avo/operand"

func pruneGroups(f *file) {
	f.tiers("pruneGroups", "is a Groups' Prune, of whole vectors: of each, the first step numbers count.", "func(dst *float32, keep *bool, x *float32, others *uint32, m, step, count, n int) (done int, largest uint32)", func(a *asm) {
		dst, keep, x, others := a.pointer("dst"), a.pointer("keep"), a.pointer("x"), a.pointer("others")
		m, step, n := a.pointer("m"), a.pointer("step"), a.pointer("n")
		signless, largest, one := a.constantWord(0x7fffffff), a.vec(), a.broadcastWord(1)
		a.zero(largest)
		limit, count := a.vec(), a.XMM()
		places := a.pointer("count")
		a.VMOVD(places.As32(), count)
		a.VPBROADCASTD(count, limit)
		stored := a.keepBytes()
		i := a.GP64()
		a.XORQ(i, i)
		loop, inner, end := a.label("vector"), a.label("other"), a.label("end")
		a.SUBQ(U32(uint32(a.lanes)), n)
		a.Label(loop)
		a.CMPQ(i, n)
		a.JG(LabelRef(end))
		v, magnitude, beaten := a.vec(), a.vec(), a.vec()
		a.VMOVUPS(a.at(x, i, 0), v)
		a.VANDPS(signless, v, magnitude)
		a.VPMAXUD(magnitude, largest, largest)
		a.zero(beaten)
		table, left := a.GP64(), a.GP64()
		a.MOVQ(others, table)
		a.LEAQ(Mem{Base: m, Disp: -1}, left)
		a.Label(inner)
		other, least := a.vec(), a.vec()
		a.VMOVUPS(Mem{Base: table}, other)
		a.VPERMD(magnitude, other, other)
		a.VPSUBD(Mem{Base: table, Disp: a.bytes()}, magnitude, least)
		if a.wide {
			k := a.K()
			a.VPCMPGTD(least, other, k)
			a.VPADDD(one, beaten, k, beaten)
		} else {
			a.VPCMPGTD(least, other, least)
			a.VPSUBD(least, beaten, beaten)
		}
		a.ADDQ(U32(uint32(2*a.bytes())), table)
		a.DECQ(left)
		a.JNZ(LabelRef(inner))
		c := choice{}
		if a.wide {
			k := a.K()
			a.VPCMPGTD(beaten, limit, k)
			c.mask = k
		} else {
			a.VPCMPGTD(beaten, limit, beaten)
			c.mask = beaten
		}
		a.VMOVUPS(a.selected(v, c), a.at(dst, i, 0))
		stored(c, Mem{Base: keep, Index: i, Scale: 1})
		a.ADDQ(step, i)
		a.JMP(LabelRef(loop))
		a.Label(end)
		a.Store(i, a.ReturnIndex(0))
		a.storeLargest(largest, 1)
		a.ret()
	})
}
