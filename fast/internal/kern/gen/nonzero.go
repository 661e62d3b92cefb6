package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func nonZero(f *file) {
	f.tiers("compressNonZero", "is CompressNonZero.", "func(values *float32, columns *byte, x *float32, n int) (count int, largest uint32)", func(a *asm) {
		values, columns, x, n := a.pointer("values"), a.pointer("columns"), a.pointer("x"), a.pointer("n")
		nonZero, largest := a.nonZero()
		to := a.GP64() // where the next value stands
		a.XORQ(to, to)
		take := func(i reg.GPVirtual, v reg.VecVirtual) {
			c := nonZero(v)
			bits := a.bits(c)
			a.VMOVUPS(a.compressed(v, c, bits), Mem{Base: values, Index: to, Scale: 4})
			a.columns(i, c, bits, 0, Mem{Base: columns, Index: to, Scale: 2})
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
	f.tiers("compressBits", "is CompressBits.", "func(values *float32, bits *byte, x *float32, n int) (count int, largest uint32)", func(a *asm) {
		values, to, x, n := a.pointer("values"), a.pointer("bits"), a.pointer("x"), a.pointer("n")
		nonZero, largest := a.nonZero()
		count := a.GP64()
		a.XORQ(count, count)
		take := func(v reg.VecVirtual) reg.GPVirtual {
			c := nonZero(v)
			bits, n := a.bits(c), a.GP32()
			a.VMOVUPS(a.compressed(v, c, bits), Mem{Base: values, Index: count, Scale: 4})
			a.POPCNTL(bits.As32(), n)
			a.ADDQ(n.As64(), count)
			return bits
		}
		a.eachVector(n, 1, func(i reg.GPVirtual, _ int) {
			v := a.vec()
			a.VMOVUPS(a.at(x, i, 0), v)
			if bits := take(v); a.wide {
				a.MOVW(bits.As16(), Mem{Base: to})
				a.ADDQ(U32(2), to)
			} else {
				a.MOVB(bits.As8(), Mem{Base: to})
				a.INCQ(to)
			}
		}, func(i reg.GPVirtual, t tail) { // AVX-512's only: 8 numbers
			v := a.vec()
			a.loadTail(a.at(x, i, 0), t, v)
			a.MOVB(take(v).As8(), Mem{Base: to})
		})
		a.Store(count, a.ReturnIndex(0))
		a.storeLargest(largest, 1)
		a.ret()
	})
	f.tiers("expandBits", "is ExpandBits.", "func(dst, values *float32, bits *byte, n int) int", func(a *asm) {
		dst, values, from, n := a.pointer("dst"), a.pointer("values"), a.pointer("bits"), a.pointer("n")
		count := a.GP64()
		a.XORQ(count, count)
		bit := a.vec()
		if !a.wide {
			a.VMOVUPS(a.laneBits(), bit)
		}
		// take spreads the next values over the lanes whose bits are 1.
		take := func(bits reg.GPVirtual) reg.VecVirtual {
			v := a.vec()
			a.VMOVUPS(Mem{Base: values, Index: count, Scale: 4}, v)
			if a.wide {
				k := a.K()
				a.KMOVW(bits.As32(), k)
				a.VPEXPANDD_Z(v, k, v)
			} else {
				which, low := a.vec(), a.XMM()
				a.VPMOVZXBD(a.ranks(bits), which)
				a.VPERMPS(v, which, v)
				a.VMOVD(bits.As32(), low)
				a.VPBROADCASTD(low, which)
				a.VANDPS(bit, which, which)
				a.VPCMPEQD(bit, which, which)
				a.VANDPS(which, v, v)
			}
			a.POPCNTL(bits.As32(), bits.As32())
			a.ADDQ(bits, count)
			return v
		}
		a.eachVector(n, 1, func(i reg.GPVirtual, _ int) {
			bits := a.GP64()
			if a.wide {
				a.MOVWLZX(Mem{Base: from}, bits.As32())
				a.ADDQ(U32(2), from)
			} else {
				a.MOVBLZX(Mem{Base: from}, bits.As32())
				a.INCQ(from)
			}
			a.VMOVUPS(take(bits), a.at(dst, i, 0))
		}, func(i reg.GPVirtual, t tail) {
			bits := a.GP64()
			a.MOVBLZX(Mem{Base: from}, bits.As32())
			a.storeTail(take(bits), t, a.at(dst, i, 0))
		})
		a.Store(count, a.ReturnIndex(0))
		a.ret()
	})
}

// nonZero returns what chooses the lanes that are not 0, and the greatest magnitude
// that it has seen.
func (a *asm) nonZero() (choose func(v reg.VecVirtual) choice, largest reg.VecVirtual) {
	signless, zero := a.constantWord(0x7fffffff), a.vec()
	largest = a.vec()
	a.zero(largest)
	a.zero(zero)
	return func(v reg.VecVirtual) choice {
		magnitude := a.vec()
		a.VANDPS(signless, v, magnitude)
		a.VPMAXUD(magnitude, largest, largest)
		if a.wide {
			k := a.K()
			a.VPTESTMD(magnitude, magnitude, k)
			return choice{k}
		}
		a.VPCMPGTD(zero, magnitude, magnitude)
		return choice{magnitude}
	}, largest
}

// ranks is a table's line for a choice of 8 lanes: how many chosen ones are before
// each, a byte each.
func (a *asm) ranks(bits reg.GPVirtual) Mem {
	table := a.data("ranks", func() {
		for choice := range 256 {
			line, n := uint64(0), 0
			for lane := range 8 {
				line |= uint64(n) << (8 * lane)
				n += choice >> lane & 1
			}
			a.AppendDatum(U64(line))
		}
	})
	base := a.GP64()
	a.LEAQ(table, base)
	return Mem{Base: base, Index: bits, Scale: 8}
}

// laneBits is a vector of 1, 2, 4, ….
func (f *file) laneBits() Mem {
	return f.data("bits", func() {
		for lane := range 8 {
			f.AppendDatum(U32(1 << lane))
		}
	})
}
