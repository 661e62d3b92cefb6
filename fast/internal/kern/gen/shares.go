package main

import (
	"math"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// shares has queries in its lanes, so that maxima and sums over keys need nothing
// across lanes.
func shares(f *file) {
	f.tiers("shares", "is Shares.", "func(s *float32, ld int, keys int, queries int, largest *float32, total *float32, kept *float32, twice float32)", func(a *asm) {
		s, ld, keys, queries := a.pointer("s"), a.pointer("ld"), a.pointer("keys"), a.pointer("queries")
		largest, total, kept := a.pointer("largest"), a.pointer("total"), a.pointer("kept")
		a.SHLQ(U8(2), ld)
		twice, half := a.vec(), a.broadcastWord(math.Float32bits(0.5))
		scale, err := a.Param("twice").Resolve()
		if err != nil {
			panic(err)
		}
		a.VBROADCASTSS(scale.Addr, twice)
		// Weights that are no normal numbers are nothing beside that of 1, and to make
		// them with AVX2 takes many times as long.
		c := a.expConstants()
		c.least, c.greatest = a.constant(-87), nil // nothing is above 0
		tiny := a.constant(0x1p-126)
		m, halfM, sum, old := a.vec(), a.vec(), a.vec(), a.vec()

		weight := func(x reg.VecVirtual) reg.VecVirtual {
			a.VFMSUB213PS(halfM, half, x)
			a.VMULPS(twice, x, x)
			const notLess = 5 // NaN is not, either
			if a.wide {
				k := a.K()
				a.VCMPPS(U8(notLess), c.least, x, k)
				w := a.exp(x, c)
				a.VMOVAPS_Z(w, k, w)
				return w
			}
			large := a.vec()
			a.VCMPPS(U8(notLess), c.least, x, large)
			w := a.exp(x, c)
			a.VANDPS(large, w, w)
			return w
		}
		columns := func(i reg.GPVirtual, load func(Mem, reg.VecVirtual), store func(reg.VecVirtual, Mem)) {
			eachKey := func(do func(m Mem)) {
				p, left, loop := a.GP64(), a.GP64(), a.label("key")
				a.LEAQ(a.at(s, i, 0), p)
				a.MOVQ(keys, left)
				a.Label(loop)
				do(Mem{Base: p})
				a.ADDQ(ld, p)
				a.DECQ(left)
				a.JNZ(LabelRef(loop))
			}
			load(a.at(largest, i, 0), m)
			a.VMOVAPS(m, old)
			eachKey(func(at Mem) {
				v := a.vec()
				load(at, v)
				a.VMAXPS(m, v, m) // m where v is NaN
			})
			store(m, a.at(largest, i, 0))
			a.VMULPS(half, m, halfM)
			e := weight(old)
			load(a.at(total, i, 0), old)
			a.VMULPS(e, old, old)
			a.zero(sum)
			eachKey(func(at Mem) {
				v := a.vec()
				load(at, v)
				w := weight(v)
				a.VADDPS(w, sum, sum)
				store(w, at)
			})
			a.VADDPS(old, sum, sum)
			store(sum, a.at(total, i, 0))
			a.max(tiny, sum)
			share := a.vec()
			a.load(c.one, share)
			a.VDIVPS(sum, share, share)
			a.VMULPS(share, old, old)
			store(old, a.at(kept, i, 0))
			eachKey(func(at Mem) {
				v := a.vec()
				load(at, v)
				a.VMULPS(share, v, v)
				store(v, at)
			})
		}
		a.eachVector(queries, 1, func(i reg.GPVirtual, _ int) {
			columns(i, func(m Mem, v reg.VecVirtual) { a.VMOVUPS(m, v) }, func(v reg.VecVirtual, m Mem) { a.VMOVUPS(v, m) })
		}, func(i reg.GPVirtual, t tail) {
			columns(i, func(m Mem, v reg.VecVirtual) { a.loadTail(m, t, v) }, func(v reg.VecVirtual, m Mem) { a.storeTail(v, t, m) })
		})
		a.ret()
	})
}
