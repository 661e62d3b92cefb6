package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func nm(f *file) {
	f.tiers("prune4", "is Prune4.", "func(dst *float32, keep *bool, x *float32, count, n int) uint32", func(a *asm) {
		dst, keep, x, count, n := a.pointer("dst"), a.pointer("keep"), a.pointer("x"), a.pointer("count"), a.pointer("n")
		stored := a.keepBytes()
		r := a.ofFour()
		r.each(count, func(kept func(v reg.VecVirtual) choice) {
			a.eachVector(n, 2, func(i reg.GPVirtual, lane int) {
				v := a.vec()
				a.VMOVUPS(a.at(x, i, lane), v)
				c := kept(v)
				a.VMOVUPS(a.selected(v, c), a.at(dst, i, lane))
				stored(c, Mem{Base: keep, Index: i, Scale: 1, Disp: lane * a.lanes})
			}, func(i reg.GPVirtual, t tail) {
				v := a.vec()
				a.loadTail(a.at(x, i, 0), t, v)
				c := kept(v)
				a.storeTail(a.selected(v, c), t, a.at(dst, i, 0))
				to := Mem{Base: keep, Index: i, Scale: 1}
				if a.wide {
					bytes := a.XMM()
					a.VPMOVM2B(c.mask, bytes)
					a.VPABSB(bytes, bytes)
					a.VMOVDQU8(bytes, t.mask, to)
				} else { // one group
					bits := a.bits(c)
					ones := a.GP32()
					a.MOVL(U32(0x01010101), ones)
					a.PDEPL(ones, bits.As32(), bits.As32())
					a.MOVL(bits.As32(), to)
				}
			})
		})
		r.ret()
	})
	f.tiers("compress4", "is Compress4.", "func(values *float32, columns *byte, x *float32, count, n int) uint32", func(a *asm) {
		values, columns, x, count, n := a.pointer("values"), a.pointer("columns"), a.pointer("x"), a.pointer("count"), a.pointer("n")
		step := a.GP64() // values a vector
		a.MOVQ(count, step)
		a.SHLQ(U8(2), step)
		if !a.wide {
			a.SHRQ(U8(1), step)
		}
		r := a.ofFour()
		r.each(count, func(kept func(v reg.VecVirtual) choice) {
			write := func(i reg.GPVirtual, v reg.VecVirtual) {
				c := kept(v)
				bits := a.bits(c)
				a.VMOVUPS(a.compressed(v, c, bits), Mem{Base: values})
				a.columns(i, c, bits, Mem{Base: columns})
			}
			a.eachVector(n, 1, func(i reg.GPVirtual, lane int) {
				v := a.vec()
				a.VMOVUPS(a.at(x, i, lane), v)
				write(i, v)
				a.LEAQ(Mem{Base: values, Index: step, Scale: 4}, values)
				a.LEAQ(Mem{Base: columns, Index: step, Scale: 2}, columns)
			}, func(i reg.GPVirtual, t tail) {
				v := a.vec()
				a.loadTail(a.at(x, i, 0), t, v)
				write(i, v)
			})
		})
		r.ret()
	})
	f.tiers("expand4", "is Expand4.", "func(dst, values *float32, columns *byte, count, n int)", func(a *asm) {
		dst, values, columns, count, n := a.pointer("dst"), a.pointer("values"), a.pointer("columns"), a.pointer("count"), a.pointer("n")
		// Lane l of the result looks at value first + 0, 1, … of its group: first is l/4·count.
		lane, first, one, times := a.vec(), a.vec(), a.broadcastWord(1), a.vec()
		step := a.GP64()
		a.MOVQ(count, step)
		a.SHLQ(U8(2), step)
		if !a.wide {
			a.SHRQ(U8(1), step)
		}
		a.VMOVUPS(a.laneNumbers(), lane)
		a.VPSRLD(U8(2), lane, first)
		low := a.XMM()
		a.VMOVD(count.As32(), low)
		a.VPBROADCASTD(low, times)
		a.VPMULLD(times, first, first)
		advance := a.broadcastWord(uint32(a.lanes))
		row := func() reg.VecVirtual {
			v, c, out, at := a.vec(), a.vec(), a.vec(), a.vec()
			a.VMOVUPS(Mem{Base: values}, v)
			a.VPMOVZXWD(Mem{Base: columns}, c)
			a.VMOVAPS(first, at)
			a.zero(out)
			k := a.GP64()
			a.MOVQ(count, k)
			loop := a.label("place")
			a.Label(loop)
			value, column := a.vec(), a.vec()
			a.VPERMPS(v, at, value)
			a.VPERMD(c, at, column)
			if a.wide {
				here := a.K()
				a.VPCMPEQD(column, lane, here)
				a.VMOVAPS(value, here, out)
			} else {
				a.VPCMPEQD(column, lane, column)
				a.VPAND(column, value, value)
				a.VPOR(value, out, out)
			}
			a.VPADDD(one, at, at)
			a.DECQ(k)
			a.JNZ(LabelRef(loop))
			return out
		}
		a.eachVector(n, 1, func(i reg.GPVirtual, _ int) {
			a.VMOVUPS(row(), a.at(dst, i, 0))
			a.VPADDD(advance, lane, lane)
			a.LEAQ(Mem{Base: values, Index: step, Scale: 4}, values)
			a.LEAQ(Mem{Base: columns, Index: step, Scale: 2}, columns)
		}, func(i reg.GPVirtual, t tail) {
			a.storeTail(row(), t, a.at(dst, i, 0))
		})
		a.ret()
	})
}

// An ofFour ranks the magnitudes of each four lanes.
//
// Of the three others, number i meets those one and two places on, and the one
// before, which met i one place on. It is beaten by one that is greater, or equal and
// before it in the four: greater than the magnitude minus 1.
type ofFour struct {
	*asm
	largest     reg.VecVirtual // magnitude
	signless    Op
	next, after reg.VecVirtual // 1 where the number one, two places on is before
}

func (a *asm) ofFour() *ofFour {
	r := &ofFour{asm: a, largest: a.vec(), signless: a.constantWord(0x7fffffff), next: a.vec(), after: a.vec()}
	a.zero(r.largest)
	a.VMOVUPS(a.everyFour("next", 0, 0, 0, 1), r.next)
	a.VMOVUPS(a.everyFour("after", 0, 0, 1, 1), r.after)
	return r
}

// everyFour is a vector of four words repeated.
func (f *file) everyFour(name string, words ...uint32) Mem {
	return f.data(name, func() {
		for i := range 16 {
			f.AppendDatum(U32(words[i%4]))
		}
	})
}

// each describes a loop: for AVX-512 once for each count, since one instruction then
// tells which lanes are kept.
func (r *ofFour) each(count reg.GPVirtual, loop func(kept func(v reg.VecVirtual) choice)) {
	if !r.wide {
		limit := r.vec() // 1 − count
		n, low := r.GP64(), r.XMM()
		r.MOVQ(U32(1), n)
		r.SUBQ(count, n)
		r.VMOVD(n.As32(), low)
		r.VPBROADCASTD(low, limit)
		loop(func(v reg.VecVirtual) choice {
			next, after, before := r.beaten(v)
			// Minus how many beat it, plus 1, for the one before is taken the other way round.
			r.VPADDD(next, after, after)
			r.VPSUBD(before, after, after)
			r.VPCMPGTD(limit, after, after)
			return choice{after}
		})
		return
	}
	end := r.label("counted")
	for n := 1; n <= 3; n++ {
		other := r.label("count")
		r.CMPQ(count, U32(uint32(n)))
		r.JNE(LabelRef(other))
		loop(func(v reg.VecVirtual) choice {
			table := uint8(0) // of the three bits: kept or not
			for bits := range 8 {
				if bits>>2+bits>>1&1+(^bits)&1 < n {
					table |= 1 << bits
				}
			}
			next, after, before := r.beaten(v)
			r.VPTERNLOGD(U8(table), before, after, next)
			k := r.K()
			r.VPMOVD2M(next, k)
			return choice{k}
		})
		r.JMP(LabelRef(end))
		r.Label(other)
	}
	r.Label(end)
}

// beaten returns, in the lanes' signs, whether a number is beaten by the next one and
// by the one after, and whether it beats the one before: not that, it is beaten by it.
func (r *ofFour) beaten(v reg.VecVirtual) (next, after, before reg.VecVirtual) {
	magnitude := r.vec()
	r.VANDPS(r.signless, v, magnitude)
	r.VPMAXUD(magnitude, r.largest, r.largest)
	by := func(order uint8, tie reg.VecVirtual) reg.VecVirtual {
		other, least := r.vec(), r.vec()
		r.VPSHUFD(U8(order), magnitude, other)
		r.VPSUBD(tie, magnitude, least)
		if r.wide {
			r.VPSUBD(other, least, least)
		} else {
			r.VPCMPGTD(least, other, least)
		}
		return least
	}
	next, after, before = by(0b00_11_10_01, r.next), by(0b01_00_11_10, r.after), r.vec()
	r.VPSHUFD(U8(0b10_01_00_11), next, before)
	return next, after, before
}

// ret returns the greatest magnitude's bits.
func (r *ofFour) ret() {
	r.storeLargest(r.largest, 0)
	r.asm.ret()
}
