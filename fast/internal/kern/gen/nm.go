package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func nm(f *file) {
	f.tiers("prune4", "is Prune4.", "func(dst *float32, keep *bool, x *float32, count, n int) uint32", func(a *asm) {
		dst, keep, x, count, n := a.pointer("dst"), a.pointer("keep"), a.pointer("x"), a.pointer("count"), a.pointer("n")
		stored := a.keepBytes()
		r := a.ofFour()
		r.each(count, func(_ int, kept func(v reg.VecVirtual) choice) {
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
		r.each(count, func(known int, kept func(v reg.VecVirtual) choice) {
			write := func(i reg.GPVirtual, v reg.VecVirtual) {
				c := kept(v)
				var bits reg.GPVirtual
				if !a.wide {
					bits = a.bits(c)
				}
				// What is stored beyond the values is paid for where lines are crossed.
				var out reg.Register = a.compressed(v, c, bits)
				switch known {
				case 1:
					out = out.(reg.Vec).AsX()
				case 2:
					out = out.(reg.Vec).AsY()
				}
				a.VMOVUPS(out, Mem{Base: values})
				a.columns(i, c, bits, known, Mem{Base: columns})
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
		lane := a.vec()
		step := a.GP64()
		a.MOVQ(count, step)
		a.SHLQ(U8(2), step)
		if !a.wide {
			a.SHRQ(U8(1), step)
		}
		a.VMOVUPS(a.laneNumbers(), lane)
		advance := a.broadcastWord(uint32(a.lanes))
		at := a.vecs(3)
		var low reg.Register // halves of lanes
		if a.wide {
			low = a.K()
			halves := a.GP32()
			a.MOVL(U32(0x55555555), halves)
			a.KMOVD(halves, low)
		}
		for places := 1; places <= 3; places++ {
			other := a.label("count")
			a.CMPQ(count, U32(uint32(places)))
			a.JNE(LabelRef(other))
			for k := range places {
				a.VMOVUPS(a.groupNumbers(places, k), at[k])
			}
			row := func() reg.VecVirtual {
				v, c, out := a.vec(), a.vec(), a.vec()
				a.VMOVUPS(Mem{Base: values}, v)
				if a.wide {
					a.VMOVDQU(Mem{Base: columns}, c.AsY())
				} else {
					a.VPMOVZXWD(Mem{Base: columns}, c)
				}
				value, column := a.vec(), a.vec()
				for k, at := range at[:places] {
					if a.wide {
						a.VPERMW_Z(c, at, low, column)
					} else {
						a.VPERMD(c, at, column)
					}
					switch {
					case a.wide:
						here := a.K()
						a.VPCMPEQD(column, lane, here)
						if k == 0 {
							a.VPERMPS_Z(v, at, here, out)
						} else {
							a.VPERMPS(v, at, here, out)
						}
					case k == 0:
						a.VPERMPS(v, at, out)
						a.VPCMPEQD(column, lane, column)
						a.VPAND(column, out, out)
					default:
						a.VPERMPS(v, at, value)
						a.VPCMPEQD(column, lane, column)
						a.VPAND(column, value, value)
						a.VPOR(value, out, out)
					}
				}
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
			a.Label(other)
		}
		a.ret()
	})
}

// groupNumbers is, for every lane, which of the values is number k of its group, where
// groups have so many places.
func (f *file) groupNumbers(places, k int) Mem {
	return f.data(fmt.Sprintf("group%d%d", places, k), func() {
		for lane := range 16 {
			f.AppendDatum(U32(lane/4*places + k))
		}
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
// tells which lanes are kept; the loop gets the count then, and else 0.
func (r *ofFour) each(count reg.GPVirtual, loop func(known int, kept func(v reg.VecVirtual) choice)) {
	if !r.wide {
		limit := r.vec() // 1 − count
		n, low := r.GP64(), r.XMM()
		r.MOVQ(U32(1), n)
		r.SUBQ(count, n)
		r.VMOVD(n.As32(), low)
		r.VPBROADCASTD(low, limit)
		loop(0, func(v reg.VecVirtual) choice {
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
		loop(n, func(v reg.VecVirtual) choice {
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
