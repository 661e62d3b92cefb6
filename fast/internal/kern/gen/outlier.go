package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// eachGroup calls body in a loop over groups of size elements each, with the index of
// a group's first.
func (a *asm) eachGroup(groups, size reg.GPVirtual, body func(group, first reg.GPVirtual)) {
	first := a.GP64()
	a.XORQ(first, first)
	a.eachBlock(groups, 1, func(g reg.GPVirtual) {
		body(g, first)
		a.ADDQ(size, first)
	})
}

// eachVectorOf calls body in a loop over the vectors of n ≥ 1 elements from the first,
// unrolled times a round where n is a whole number of rounds. Lanes number the vectors
// of a round.
func (a *asm) eachVectorOf(first, n reg.GPVirtual, unrolled int, body func(i reg.GPVirtual, lanes int)) {
	i, end, done := a.GP64(), a.GP64(), a.label("done")
	a.MOVQ(first, i)
	a.LEAQ(Mem{Base: first, Index: n, Scale: 1}, end)
	rounds := func(vectors int) {
		loop := a.label("vectors")
		a.Label(loop)
		body(i, vectors)
		a.ADDQ(U32(uint32(vectors*a.lanes)), i)
		a.CMPQ(i, end)
		a.JLT(LabelRef(loop))
	}
	if unrolled > 1 {
		one := a.label("one")
		a.TESTQ(U32(uint32(unrolled*a.lanes-1)), n)
		a.JNZ(LabelRef(one))
		rounds(unrolled)
		a.JMP(LabelRef(done))
		a.Label(one)
	}
	rounds(1)
	a.Label(done)
}

// bytesAt is where byte i is.
func (a *asm) bytesAt(base, i reg.GPVirtual) Mem { return Mem{Base: base, Index: i, Scale: 1} }

// storeBytes narrows words, within the range of an int8, to bytes.
func (a *asm) storeBytes(v reg.VecVirtual, m Mem) {
	if a.wide {
		narrow := a.XMM()
		a.VPMOVDB(v, narrow)
		a.VMOVDQU8(narrow, m)
		return
	}
	high, low := a.XMM(), v.AsX()
	a.VEXTRACTI128(U8(1), v, high)
	a.VPACKSSDW(high, low, low)
	a.VPACKSSWB(low, low, low)
	a.VMOVQ(low, m)
}

func outlier(f *file) {
	f.tiers("maxMagnitude", "is MaxMagnitude.", "func(x *float32, n int) uint32", func(a *asm) {
		x, n := a.pointer("x"), a.pointer("n")
		signless := a.constantWord(0x7fffffff)
		const unrolled = 4
		most := a.vecs(unrolled)
		for _, m := range most {
			a.zero(m)
		}
		v := a.vec()
		a.eachVector(n, unrolled, func(i reg.GPVirtual, lane int) {
			a.VMOVUPS(a.at(x, i, lane), v)
			a.and(signless, v, v)
			a.VPMAXUD(v, most[lane], most[lane])
		}, func(i reg.GPVirtual, t tail) {
			a.loadTail(a.at(x, i, 0), t, v)
			a.and(signless, v, v)
			a.VPMAXUD(v, most[0], most[0])
		})
		for _, m := range most[1:] {
			a.VPMAXUD(m, most[0], most[0])
		}
		r := a.GP32()
		a.VMOVD(a.fold(most[0], a.maxWords), r)
		a.Store(r, a.ReturnIndex(0))
		a.ret()
	})

	f.tiers("groupMaxima", "is GroupMaxima.", "func(maxima *uint32, x *float32, groups, size int)", func(a *asm) {
		maxima, x, groups, size := a.pointer("maxima"), a.pointer("x"), a.pointer("groups"), a.pointer("size")
		signless := a.constantWord(0x7fffffff)
		a.eachGroup(groups, size, func(g, first reg.GPVirtual) {
			most := a.vec()
			a.zero(most)
			a.eachVectorOf(first, size, 4, func(i reg.GPVirtual, vectors int) {
				for lane := range vectors {
					v := a.vec()
					a.VMOVUPS(a.at(x, i, lane), v)
					a.and(signless, v, v)
					a.VPMAXUD(v, most, most)
				}
			})
			a.VMOVD(a.fold(most, a.maxWords), a.at(maxima, g, 0))
		})
		a.ret()
	})

	f.tiers("groupMaximaWithin", "is GroupMaximaWithin.", "func(maxima *uint32, x, bounds *float32, groups, size int) int", func(a *asm) {
		maxima, x, bounds, groups, size := a.pointer("maxima"), a.pointer("x"), a.pointer("bounds"), a.pointer("groups"), a.pointer("size")
		signless, beyond := a.constantWord(0x7fffffff), a.vec()
		a.zero(beyond)
		one := a.broadcastWord(1)
		a.eachGroup(groups, size, func(g, first reg.GPVirtual) {
			most, bound := a.vec(), a.vec()
			a.zero(most)
			a.VBROADCASTSS(a.at(bounds, g, 0), bound)
			a.eachVectorOf(first, size, 4, func(i reg.GPVirtual, vectors int) {
				for lane := range vectors {
					v := a.vec()
					a.VMOVUPS(a.at(x, i, lane), v)
					a.and(signless, v, v)
					if a.wide {
						is := a.K()
						a.VPCMPUD(U8(2), bound, v, is) // not above
						a.VPSUBD(one, beyond, is, beyond)
						a.VPMAXUD(v, most, is, most)
					} else {
						is := a.vec()
						a.VPCMPGTD(bound, v, is)
						a.VPSUBD(is, beyond, beyond)
						a.VPANDN(v, is, v)
						a.VPMAXUD(v, most, most)
					}
				}
			})
			a.VMOVD(a.fold(most, a.maxWords), a.at(maxima, g, 0))
		})
		count := a.GP64()
		if a.wide { // those that are not beyond were taken off
			a.MOVQ(groups, count)
			a.IMULQ(size, count)
			within := a.GP32()
			a.VMOVD(a.fold(beyond, func(x, y, dst reg.VecVirtual) { a.VPADDD(x, y, dst) }), within)
			a.ADDL(within, count.As32())
			a.Store(count, a.ReturnIndex(0))
			a.ret()
			return
		}
		a.VMOVD(a.fold(beyond, func(x, y, dst reg.VecVirtual) { a.VPADDD(x, y, dst) }), count.As32())
		a.Store(count, a.ReturnIndex(0))
		a.ret()
	})

	f.tiers("groupCodes", "is GroupCodes.", "func(codes *int8, rest, x, bounds, inverses *float32, groups, size int)", func(a *asm) {
		codes, rest, x, bounds, inverses := a.pointer("codes"), a.pointer("rest"), a.pointer("x"), a.pointer("bounds"), a.pointer("inverses")
		groups, size := a.pointer("groups"), a.pointer("size")
		signless, order := a.constantWord(0x7fffffff), a.loadData(a.interleaved())
		a.eachGroup(groups, size, func(g, first reg.GPVirtual) {
			bound, inverse := a.vec(), a.vec()
			a.VBROADCASTSS(a.at(bounds, g, 0), bound)
			a.VBROADCASTSS(a.at(inverses, g, 0), inverse)
			a.eachVectorOf(first, size, 4, func(i reg.GPVirtual, vectors int) {
				v := a.vecs(vectors)
				for lane, v := range v {
					m := a.vec()
					a.VMOVUPS(a.at(x, i, lane), v)
					a.and(signless, v, m)
					if a.wide {
						is := a.K()
						a.VPCMPUD(U8(6), bound, m, is) // above
						a.VMOVAPS_Z(v, is, m)
					} else {
						is := a.vec()
						a.VPCMPGTD(bound, m, is)
						a.VPAND(v, is, m)
					}
					a.VMOVUPS(m, a.at(rest, i, lane))
					a.VSUBPS(m, v, v) // 0 for what is kept, and else as it was
					a.VMULPS(inverse, v, v)
					a.VCVTPS2DQ(v, v)
				}
				if vectors == 1 {
					a.storeBytes(v[0], a.bytesAt(codes, i))
					return
				}
				packed := a.pack(v)
				a.VPERMD(packed, order, packed)
				a.VMOVUPS(packed, a.bytesAt(codes, i))
			})
		})
		a.ret()
	})

	f.tiers("groupProducts", "is GroupProducts.", "func(dst *float32, codes *int8, rest, scales *float32, groups, size int) (largest, code uint32)", func(a *asm) {
		dst, codes, rest, scales := a.pointer("dst"), a.pointer("codes"), a.pointer("rest"), a.pointer("scales")
		groups, size := a.pointer("groups"), a.pointer("size")
		signless, largest, most := a.constantWord(0x7fffffff), a.vec(), a.vec()
		a.zero(largest)
		a.zero(most)
		a.eachGroup(groups, size, func(g, first reg.GPVirtual) {
			scale := a.vec()
			a.VBROADCASTSS(a.at(scales, g, 0), scale)
			a.eachVectorOf(first, size, 1, func(i reg.GPVirtual, _ int) {
				v, m := a.vec(), a.vec()
				a.VPMOVSXBD(a.bytesAt(codes, i), v)
				a.VPABSD(v, m)
				a.VPMAXUD(m, most, most)
				a.VCVTDQ2PS(v, v)
				a.VMULPS(scale, v, v)
				a.VADDPS(a.at(rest, i, 0), v, v)
				a.VMOVUPS(v, a.at(dst, i, 0))
				a.and(signless, v, v)
				a.VPMAXUD(v, largest, largest)
			})
		})
		r := a.GP32()
		a.VMOVD(a.fold(largest, a.maxWords), r)
		a.Store(r, a.ReturnIndex(0))
		a.VMOVD(a.fold(most, a.maxWords), r)
		a.Store(r, a.ReturnIndex(1))
		a.ret()
	})
}

func (a *asm) maxWords(x, y, dst reg.VecVirtual) { a.VPMAXUD(x, y, dst) }
