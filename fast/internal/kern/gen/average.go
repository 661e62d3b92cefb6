package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func average(f *file) {
	// What is not finite, times 0, is NaN: that shows in a sum of all.
	f.tiers("average", "is Average: 0, or NaN where a result is not finite.", "func(dst, x, y *float32, n int) float32", func(a *asm) {
		dst, x, y, n := a.pointer("dst"), a.pointer("x"), a.pointer("y"), a.pointer("n")
		half, zero := a.constant(0.5), a.vec()
		a.zero(zero)
		const unrolled = 4
		sums := a.vecs(unrolled)
		for _, s := range sums {
			a.zero(s)
		}
		a.eachVector(n, unrolled, func(i reg.GPVirtual, lane int) {
			v := a.vec()
			a.VMOVUPS(a.at(x, i, lane), v)
			a.VADDPS(a.at(y, i, lane), v, v)
			a.VMULPS(half, v, v)
			a.VMOVUPS(v, a.at(dst, i, lane))
			a.VFMADD231PS(zero, v, sums[lane])
		}, func(i reg.GPVirtual, t tail) {
			v, w := a.vec(), a.vec()
			a.loadTail(a.at(x, i, 0), t, v)
			a.loadTail(a.at(y, i, 0), t, w)
			a.VADDPS(w, v, v)
			a.VMULPS(half, v, v)
			a.storeTail(v, t, a.at(dst, i, 0))
			a.VFMADD231PS(zero, v, sums[0])
		})
		a.VADDPS(sums[2], sums[0], sums[0])
		a.VADDPS(sums[3], sums[1], sums[1])
		a.VADDPS(sums[1], sums[0], sums[0])
		a.Store(a.sum(sums[0]), a.ReturnIndex(0))
		a.ret()
	})
	f.tiers("blend", "is Blend: 0, or NaN where a result is not finite.", "func(dst, x, y *float32, v, w float64, n int) float32", func(a *asm) {
		dst, x, y, n := a.pointer("dst"), a.pointer("x"), a.pointer("y"), a.pointer("n")
		v, w, zero, sum := a.argumentDouble("v"), a.argumentDouble("w"), a.vec(), a.vec()
		a.zero(zero)
		a.zero(sum)
		// half blends half a vector: as many float64s fill a whole one.
		half := func(x, y Op) reg.VecVirtual {
			p, q, out := a.vec(), a.vec(), a.halfWidth()
			a.VCVTPS2PD(x, p)
			a.VCVTPS2PD(y, q)
			a.VMULPD(v, p, p)
			a.VMULPD(w, q, q)
			a.VADDPD(q, p, p)
			if a.wide {
				a.VCVTPD2PS(p, out)
			} else {
				a.VCVTPD2PSY(p, out)
			}
			return out
		}
		both := func(low, high reg.VecVirtual) reg.VecVirtual {
			out := a.vec()
			if a.wide {
				a.VINSERTF64X4(U8(1), high, low.AsZ(), out)
			} else {
				a.VINSERTF128(U8(1), high, low.AsY(), out)
			}
			a.VFMADD231PS(zero, out, sum)
			return out
		}
		a.eachVector(n, 1, func(i reg.GPVirtual, lane int) {
			second := func(base reg.GPVirtual) Mem {
				m := a.at(base, i, 0)
				m.Disp += a.bytes() / 2
				return m
			}
			a.VMOVUPS(both(half(a.at(x, i, 0), a.at(y, i, 0)), half(second(x), second(y))), a.at(dst, i, 0))
		}, func(i reg.GPVirtual, t tail) {
			p, q := a.vec(), a.vec()
			a.loadTail(a.at(x, i, 0), t, p)
			a.loadTail(a.at(y, i, 0), t, q)
			a.storeTail(both(half(a.lower(p), a.lower(q)), half(a.upper(p), a.upper(q))), t, a.at(dst, i, 0))
		})
		a.Store(a.sum(sum), a.ReturnIndex(0))
		a.ret()
	})
}

// argumentDouble is an argument, a float64, in every lane.
func (a *asm) argumentDouble(name string) reg.VecVirtual {
	low, v := a.XMM(), a.vec()
	a.Load(a.Param(name), low)
	a.VBROADCASTSD(low, v)
	return v
}

// halfWidth returns a new register of half a vector.
func (a *asm) halfWidth() reg.VecVirtual {
	if a.wide {
		return a.YMM()
	}
	return a.XMM()
}

// lower is the first half of v.
func (a *asm) lower(v reg.VecVirtual) reg.VecVirtual {
	half := a.halfWidth()
	if a.wide {
		a.VMOVAPS(v.AsY(), half)
	} else {
		a.VMOVAPS(v.AsX(), half)
	}
	return half
}

// upper is its second half.
func (a *asm) upper(v reg.VecVirtual) reg.VecVirtual {
	half := a.halfWidth()
	if a.wide {
		a.VEXTRACTF64X4(U8(1), v, half)
	} else {
		a.VEXTRACTF128(U8(1), v, half)
	}
	return half
}
