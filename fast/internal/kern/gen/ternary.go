package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func ternary(f *file) {
	f.tiers("sumMagnitudes", "is SumMagnitudes, of a multiple of 128 elements.", "func(x *float32, n int) float64", func(a *asm) {
		x, n := a.pointer("x"), a.pointer("n")
		signless := a.constantWord(0x7fffffff)
		sums := a.vecs(2)
		for _, s := range sums {
			a.zero(s)
		}
		a.eachBlock(n, 8*a.lanes, func(i reg.GPVirtual) {
			v := a.vecs(8)
			for lane, v := range v {
				a.VMOVUPS(a.at(x, i, lane), v)
				a.VANDPS(signless, v, v)
			}
			for half := 4; half > 0; half /= 2 {
				for i := range half {
					a.VADDPS(v[i+half], v[i], v[i])
				}
			}
			for i, part := range a.asDoubles(v[0]) {
				a.VADDPD(part, sums[i], sums[i])
			}
		})
		a.VADDPD(sums[1], sums[0], sums[0])
		a.Store(a.sumDouble(sums[0]), a.ReturnIndex(0))
		a.ret()
	})

	f.tiers("ternaryCodes", "is TernaryCodes, of a multiple of 64 elements.", "func(dst *int8, x *float32, n int, bound float32) int", func(a *asm) {
		dst, x, n := a.pointer("dst"), a.pointer("x"), a.pointer("n")
		limit := a.broadcastParam("bound")
		signless, one := a.broadcastWord(0x7fffffff), a.broadcastWord(0x01010101)
		order := a.loadData(a.interleaved())
		zero := a.vec()
		a.zero(zero)
		count := a.GP64()
		a.XORQ(count, count)
		a.eachBlock(n, 4*a.lanes, func(i reg.GPVirtual) {
			signs, beyond := a.vecs(4), a.vecs(4)
			for lane := range 4 {
				a.VMOVUPS(a.at(x, i, lane), signs[lane])
				a.and(signless, signs[lane], beyond[lane])
				a.VPSUBD(limit, beyond[lane], beyond[lane])
			}
			sign, above := a.pack(signs), a.pack(beyond)
			codes, ones := a.vec(), a.GP64()
			if a.wide {
				isAbove, isNegative := a.K(), a.K()
				a.VPCMPGTB(zero, above, isAbove)
				a.VPMOVB2M(sign, isNegative)
				a.VPMOVM2B(isNegative, codes)
				a.VPORD(one, codes, codes)
				a.VMOVDQU8_Z(codes, isAbove, codes)
				a.KMOVQ(isAbove, ones)
				a.POPCNTQ(ones, ones)
			} else {
				a.VPCMPGTB(zero, above, above)
				a.VPCMPGTB(sign, zero, codes)
				a.VPOR(one, codes, codes)
				a.VPAND(above, codes, codes)
				a.VPMOVMSKB(above, ones.As32())
				a.POPCNTL(ones.As32(), ones.As32())
			}
			a.ADDQ(ones, count)
			a.VPERMD(codes, order, codes)
			a.VMOVUPS(codes, Mem{Base: dst, Index: i, Scale: 1})
		})
		a.Store(count, a.ReturnIndex(0))
		a.ret()
	})

	f.tiers("ternaryProducts", "is TernaryProducts, of a multiple of 64 codes.", "func(dst *float32, codes *int8, n int, scale float32) uint64", func(a *asm) {
		dst, codes, n := a.pointer("dst"), a.pointer("codes"), a.pointer("n")
		// Of a code's lowest bits, all that a table of a vector looks at.
		products, signs := a.broadcastParam("scale"), a.vec()
		a.load(a.perLane("ternaryKeep", map[int]uint32{1: 0xffffffff, a.lanes - 1: 0xffffffff}), signs)
		a.and(signs, products, products)
		a.load(a.perLane("ternaryFlip", map[int]uint32{a.lanes - 1: 0x80000000}), signs)
		a.VXORPS(signs, products, products)
		one, most := a.broadcastWord(0x01010101), a.vec()
		a.zero(most)
		a.eachBlock(n, 4*a.lanes, func(i reg.GPVirtual) {
			digits := a.vec()
			a.VMOVUPS(Mem{Base: codes, Index: i, Scale: 1}, digits)
			a.VPADDB(one, digits, digits)
			a.VPMAXUB(digits, most, most)
			for lane := range 4 {
				v := a.vec()
				a.VPMOVSXBD(Mem{Base: codes, Index: i, Scale: 1, Disp: lane * a.lanes}, v)
				a.VPERMPS(products, v, v)
				a.VMOVUPS(v, a.at(dst, i, lane))
			}
		})
		two := a.broadcastWord(0x02020202)
		a.VPSUBUSB(two, most, most)
		a.Store(a.anyByte(most), a.ReturnIndex(0))
		a.ret()
	})
}
