package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func packing(f *file) {
	f.tiers("packNibbles", "is PackNibbles, of a multiple of 64 codes.", "func(dst, codes *uint8, n int) uint64", func(a *asm) {
		dst, codes, n := a.pointer("dst"), a.pointer("codes"), a.pointer("n")
		low, weights, union := a.broadcastWord(0x0f0f0f0f), a.broadcastWord(0x10011001), a.vec()
		a.zero(union)
		to := a.GP64()
		a.MOVQ(dst, to)
		a.eachBlock(n, 4*a.lanes, func(i reg.GPVirtual) {
			v := a.vec()
			a.VMOVUPS(a.bytesAt(codes, i), v)
			a.VORPS(v, union, union)
			a.and(low, v, v)
			a.VPMADDUBSW(weights, v, v)
			if a.wide {
				half := a.YMM()
				a.VPMOVWB(v, half)
				a.VMOVUPS(half, Mem{Base: to})
			} else {
				high := a.XMM()
				a.VEXTRACTI128(U8(1), v, high)
				a.VPACKUSWB(high, v.AsX(), high)
				a.VMOVUPS(high, Mem{Base: to})
			}
			a.ADDQ(U32(uint32(2*a.lanes)), to)
		})
		a.VANDNPS(union, low, union) // what is not low
		a.Store(a.anyByte(union), a.ReturnIndex(0))
		a.ret()
	})

	f.tiers("unpackNibbles", "is UnpackNibbles, of a multiple of 64 codes.", "func(codes, packed *uint8, n int, sign uint32)", func(a *asm) {
		codes, packed, n := a.pointer("codes"), a.pointer("packed"), a.pointer("n")
		low, sign := a.broadcastWord(0x0f0f0f0f), a.broadcastParam("sign")
		a.eachBlock(n, 4*a.lanes, func(i reg.GPVirtual) {
			v, high := a.vec(), a.vec()
			a.VPMOVZXBW(Mem{Base: packed}, v)
			a.VPSLLW(U8(4), v, high)
			a.VORPS(high, v, v)
			a.and(low, v, v)
			a.VXORPS(sign, v, v)
			a.VPSUBB(sign, v, v)
			a.VMOVUPS(v, a.bytesAt(codes, i))
			a.ADDQ(U32(uint32(2*a.lanes)), packed)
		})
		a.ret()
	})

	f.tiers("packTernary", "is PackTernary, of a multiple of 64 codes.", "func(dst *uint8, codes *int8, n int) uint64", func(a *asm) {
		dst, codes, n := a.pointer("dst"), a.pointer("codes"), a.pointer("n")
		one, pairs, quads, most := a.broadcastWord(0x01010101), a.broadcastWord(0x04010401), a.broadcastWord(0x00100001), a.vec()
		a.zero(most)
		a.eachBlock(n, 4*a.lanes, func(i reg.GPVirtual) {
			v := a.vec()
			a.VMOVUPS(a.bytesAt(codes, i), v)
			a.VPADDB(one, v, v)
			a.VPMAXUB(v, most, most)
			a.VPMADDUBSW(pairs, v, v)
			a.VPMADDWD(quads, v, v)
			a.storeUnsigned(v, Mem{Base: dst})
			a.ADDQ(U32(uint32(a.lanes)), dst)
		})
		a.VPSUBUSB(a.broadcastWord(0x02020202), most, most)
		a.Store(a.anyByte(most), a.ReturnIndex(0))
		a.ret()
	})

	f.tiers("unpackTernary", "is UnpackTernary, of a multiple of 64 codes.", "func(codes *int8, packed *uint8, n int) uint64", func(a *asm) {
		codes, packed, n := a.pointer("codes"), a.pointer("packed"), a.pointer("n")
		one, low, most := a.broadcastWord(0x01010101), a.broadcastWord(0x03030303), a.vec()
		a.zero(most)
		a.eachBlock(n, 4*a.lanes, func(i reg.GPVirtual) {
			v := a.vec()
			a.VPMOVZXBD(Mem{Base: packed}, v)
			digits := a.vec()
			a.VMOVAPS(v, digits)
			for _, by := range []uint8{6, 12, 18} {
				shifted := a.vec()
				a.VPSLLD(U8(by), v, shifted)
				a.VORPS(shifted, digits, digits)
			}
			a.and(low, digits, digits)
			a.VPMAXUB(digits, most, most)
			a.VPSUBB(one, digits, digits)
			a.VMOVUPS(digits, a.bytesAt(codes, i))
			a.ADDQ(U32(uint32(a.lanes)), packed)
		})
		a.VPSUBUSB(a.broadcastWord(0x02020202), most, most)
		a.Store(a.anyByte(most), a.ReturnIndex(0))
		a.ret()
	})
}
