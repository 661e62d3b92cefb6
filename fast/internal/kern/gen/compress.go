package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A choice is some lanes of a vector: a mask register for AVX-512, and for AVX2 a
// vector of ones and zeros.
type choice struct{ mask reg.Register }

// selected returns the chosen lanes of v, and +0 in the others.
func (a *asm) selected(v reg.VecVirtual, c choice) reg.VecVirtual {
	out := a.vec()
	if a.wide {
		a.VMOVDQU32_Z(v, c.mask, out)
	} else {
		a.VANDPS(v, c.mask, out)
	}
	return out
}

// bits returns the choice as a number, the first lane lowest.
func (a *asm) bits(c choice) reg.GPVirtual {
	bits := a.GP64()
	if a.wide {
		a.KMOVW(c.mask, bits.As32())
	} else {
		a.VMOVMSKPS(c.mask, bits.As32())
	}
	return bits
}

// compressed returns the chosen lanes of v, the first ones first; what is behind
// them is unspecified. bits are those of the choice.
//
// AVX2 looks up which lanes come where: a table of 2 KiB. AVX-512's instruction
// that compresses to memory is slow on some processors: compress and store apart.
func (a *asm) compressed(v reg.VecVirtual, c choice, bits reg.GPVirtual) reg.VecVirtual {
	out := a.vec()
	if a.wide {
		a.VPCOMPRESSD_Z(v, c.mask, out)
		return out
	}
	a.VPMOVZXBD(a.places(bits), out)
	a.VPERMPS(v, out, out)
	return out
}

// places is the table's line for a choice of 8 lanes: their numbers, a byte each,
// the chosen ones first.
func (a *asm) places(bits reg.GPVirtual) Mem {
	table := a.data("places", func() {
		for choice := range 256 {
			line, n := uint64(0), 0
			for lane := range 8 {
				if choice>>lane&1 == 1 {
					line |= uint64(lane) << (8 * n)
					n++
				}
			}
			a.AppendDatum(U64(line))
		}
	})
	base := a.GP64()
	a.LEAQ(table, base)
	return Mem{Base: base, Index: bits, Scale: 8}
}

// columns stores the numbers of the chosen lanes, 2 bytes each, counted from first
// on. It writes as many as every four lanes are known to have, or a vector's lanes
// where that is not known: 0.
func (a *asm) columns(first reg.GPVirtual, c choice, bits reg.GPVirtual, known int, to Mem) {
	if a.wide {
		words := a.YMM()
		a.VPBROADCASTW(first.As32(), words)
		a.VPADDW(a.laneWords(), words, words)
		a.VPCOMPRESSW_Z(words, c.mask, words)
		switch known {
		case 1:
			a.VMOVQ(words.AsX(), to)
		case 2:
			a.VMOVDQU(words.AsX(), to)
		default:
			a.VMOVDQU(words, to)
		}
		return
	}
	words, from := a.XMM(), a.XMM()
	a.VPMOVZXBW(a.places(bits), words)
	a.VMOVD(first.As32(), from)
	a.VPBROADCASTW(from, from)
	a.VPADDW(from, words, words)
	a.VMOVDQU(words, to)
}

// laneWords is 0, 1, 2, … in 2 bytes each.
func (f *file) laneWords() Mem {
	return f.data("words", func() {
		for lane := range 16 {
			f.AppendDatum(U16(lane))
		}
	})
}

// laneNumbers is a vector of 0, 1, 2, ….
func (f *file) laneNumbers() Mem {
	return f.data("lanes", func() {
		for lane := range 16 {
			f.AppendDatum(U32(lane))
		}
	})
}

// atMost chooses the lanes that are at most the limit, as unsigned numbers.
func (a *asm) atMost(limit, v reg.VecVirtual) choice {
	if a.wide {
		k := a.K()
		a.VPCMPUD(U8(2), limit, v, k)
		return choice{k}
	}
	least := a.vec()
	a.VPMINUD(limit, v, least)
	a.VPCMPEQD(v, least, least)
	return choice{least}
}

// negative chooses the lanes whose highest bit is set.
func (a *asm) negative(v reg.VecVirtual) choice {
	if a.wide {
		k := a.K()
		a.VPMOVD2M(v, k)
		return choice{k}
	}
	mask := a.vec()
	a.VPSRAD(U8(31), v, mask)
	return choice{mask}
}

// both chooses the lanes that are in both.
func (a *asm) both(c, d choice) choice {
	if a.wide {
		k := a.K()
		a.KANDW(c.mask, d.mask, k)
		return choice{k}
	}
	mask := a.vec()
	a.VANDPS(c.mask, d.mask, mask)
	return choice{mask}
}

// argument is an argument of 32 bits in every lane.
func (a *asm) argument(name string) reg.VecVirtual {
	word, low, v := a.GP32(), a.XMM(), a.vec()
	a.Load(a.Param(name), word)
	a.VMOVD(word, low)
	a.VPBROADCASTD(low, v)
	return v
}

// count adds up lanes that are counts.
func (a *asm) count(v reg.VecVirtual) reg.GPVirtual {
	all := a.fold(v, func(x, y, dst reg.VecVirtual) { a.VPADDD(x, y, dst) })
	n := a.GP64()
	a.VMOVD(all, n.As32())
	return n
}

// storeLargest makes the greatest lane, as an unsigned number, a result.
func (a *asm) storeLargest(v reg.VecVirtual, result int) {
	top, bits := a.fold(v, func(x, y, dst reg.VecVirtual) { a.VPMAXUD(x, y, dst) }), a.GP32()
	a.VMOVD(top, bits)
	a.Store(bits, a.ReturnIndex(result))
}

// keepBytes returns what stores a choice as bytes, 1 for the chosen lanes.
func (a *asm) keepBytes() func(c choice, to Mem) {
	ones, one := a.GP64(), a.XMM()
	a.MOVQ(U64(0x0101010101010101), ones)
	if a.wide {
		a.VMOVQ(ones, one)
		a.VPBROADCASTQ(one, one)
	}
	return func(c choice, to Mem) {
		if a.wide {
			bytes := a.XMM()
			a.VMOVDQU8_Z(one, c.mask, bytes)
			a.VMOVDQU(bytes, to)
		} else {
			bits := a.bits(c)
			a.PDEPQ(ones, bits, bits)
			a.MOVQ(bits, to)
		}
	}
}
