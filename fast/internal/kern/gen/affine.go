package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// An affineGrid is an AffineGrid, in every lane.
type affineGrid struct{ inverse, low, high, step reg.VecVirtual }

// gridOf loads the grid of a group.
func (a *asm) gridOf(base, group reg.GPVirtual) affineGrid {
	at, v := a.GP64(), a.vecs(4)
	a.MOVQ(group, at)
	a.SHLQ(U8(4), at)
	a.ADDQ(base, at)
	for i := range v {
		a.VBROADCASTSS(Mem{Base: at, Disp: 4 * i}, v[i])
	}
	return affineGrid{v[0], v[1], v[2], v[3]}
}

// steps rounds w·scale to steps of a grid, which a float32 holds.
func (a *asm) steps(g affineGrid, w, scale Op) reg.VecVirtual {
	v := a.vec()
	a.VMOVUPS(w, v)
	a.VMULPS(scale, v, v)
	a.VMULPS(g.inverse, v, v)
	a.round(v)
	a.VMAXPS(g.low, v, v)
	a.VMINPS(g.high, v, v)
	return v
}

func affine(f *file) {
	f.tiers("scaledRanges", "is ScaledRanges, of whole groups.", "func(low, high, w, scales *float32, groups, size int) uint32", func(a *asm) {
		low, high, w, scales := a.pointer("low"), a.pointer("high"), a.pointer("w"), a.pointer("scales")
		groups, size := a.pointer("groups"), a.pointer("size")
		signless, largest := a.constantWord(0x7fffffff), a.vec()
		a.zero(largest)
		a.eachGroup(groups, size, func(g, first reg.GPVirtual) {
			least, most := a.vec(), a.vec()
			a.zero(least)
			a.zero(most)
			a.eachVectorOf(first, size, 1, func(i reg.GPVirtual, _ int) {
				v := a.vec()
				a.VMOVUPS(a.at(w, i, 0), v)
				a.VMULPS(a.at(scales, i, 0), v, v)
				a.VMINPS(v, least, least)
				a.VMAXPS(v, most, most)
				a.and(signless, v, v)
				a.VPMAXUD(v, largest, largest)
			})
			a.VMOVSS(a.fold(least, func(x, y, dst reg.VecVirtual) { a.VMINPS(x, y, dst) }), a.at(low, g, 0))
			a.VMOVSS(a.fold(most, func(x, y, dst reg.VecVirtual) { a.VMAXPS(x, y, dst) }), a.at(high, g, 0))
		})
		r := a.GP32()
		a.VMOVD(a.fold(largest, a.maxWords), r)
		a.Store(r, a.ReturnIndex(0))
		a.ret()
	})

	f.tiers("affineCodes", "is AffineCodes, of whole groups.", "func(codes *uint8, w, scales *float32, grids *float32, groups, size int)", func(a *asm) {
		codes, w, scales, grids := a.pointer("codes"), a.pointer("w"), a.pointer("scales"), a.pointer("grids")
		groups, size := a.pointer("groups"), a.pointer("size")
		a.eachGroup(groups, size, func(g, first reg.GPVirtual) {
			grid := a.gridOf(grids, g)
			a.eachVectorOf(first, size, 1, func(i reg.GPVirtual, _ int) {
				n := a.steps(grid, a.at(w, i, 0), a.at(scales, i, 0))
				a.VSUBPS(grid.low, n, n)
				a.VCVTPS2DQ(n, n)
				a.storeUnsigned(n, a.bytesAt(codes, i))
			})
		})
		a.ret()
	})

	f.tiers("affineLost", "is AffineLost, of whole groups.", "func(dst, w, scales, inverses *float32, grids *float32, groups, size int)", func(a *asm) {
		dst, w, scales, inverses, grids := a.pointer("dst"), a.pointer("w"), a.pointer("scales"), a.pointer("inverses"), a.pointer("grids")
		groups, size := a.pointer("groups"), a.pointer("size")
		a.eachGroup(groups, size, func(g, first reg.GPVirtual) {
			grid := a.gridOf(grids, g)
			a.eachVectorOf(first, size, 1, func(i reg.GPVirtual, _ int) {
				n, lost := a.steps(grid, a.at(w, i, 0), a.at(scales, i, 0)), a.vec()
				a.VMULPS(grid.step, n, n)
				a.VMOVUPS(a.at(w, i, 0), lost)
				a.VFNMADD231PS(a.at(inverses, i, 0), n, lost)
				a.VMOVUPS(lost, a.at(dst, i, 0))
			})
		})
		a.ret()
	})

	f.tiers("affineValues", "is AffineValues, of whole groups.", "func(dst *float32, codes *uint8, inverses *float32, grids *float32, groups, size int)", func(a *asm) {
		dst, codes, inverses, grids := a.pointer("dst"), a.pointer("codes"), a.pointer("inverses"), a.pointer("grids")
		groups, size := a.pointer("groups"), a.pointer("size")
		a.eachGroup(groups, size, func(g, first reg.GPVirtual) {
			grid := a.gridOf(grids, g)
			a.eachVectorOf(first, size, 1, func(i reg.GPVirtual, _ int) {
				n := a.vec()
				a.VPMOVZXBD(a.bytesAt(codes, i), n)
				a.VCVTDQ2PS(n, n)
				a.VADDPS(grid.low, n, n)
				a.VMULPS(grid.step, n, n)
				a.VMULPS(a.at(inverses, i, 0), n, n)
				a.VMOVUPS(n, a.at(dst, i, 0))
			})
		})
		a.ret()
	})

	f.tiers("stepCodes", "is StepCodes, of a multiple of 16 weights.", "func(codes *uint8, w, inverses, shifts *float32, n int, most float32)", func(a *asm) {
		codes, w, inverses, shifts, n := a.pointer("codes"), a.pointer("w"), a.pointer("inverses"), a.pointer("shifts"), a.pointer("n")
		most, zero := a.broadcastParam("most"), a.vec()
		a.zero(zero)
		a.eachBlock(n, a.lanes, func(i reg.GPVirtual) {
			v := a.vec()
			a.VMOVUPS(a.at(w, i, 0), v)
			a.VMULPS(a.at(inverses, i, 0), v, v)
			a.VADDPS(a.at(shifts, i, 0), v, v)
			a.VMAXPS(zero, v, v)
			a.VMINPS(most, v, v)
			a.VCVTPS2DQ(v, v)
			a.storeUnsigned(v, a.bytesAt(codes, i))
		})
		a.ret()
	})

	f.tiers("stepValues", "is StepValues, of a multiple of 16 weights.", "func(dst *float32, codes *uint8, steps, shifts *float32, n int)", func(a *asm) {
		dst, codes, steps, shifts, n := a.pointer("dst"), a.pointer("codes"), a.pointer("steps"), a.pointer("shifts"), a.pointer("n")
		a.eachBlock(n, a.lanes, func(i reg.GPVirtual) {
			v := a.vec()
			a.VPMOVZXBD(a.bytesAt(codes, i), v)
			a.VCVTDQ2PS(v, v)
			a.VSUBPS(a.at(shifts, i, 0), v, v)
			a.VMULPS(a.at(steps, i, 0), v, v)
			a.VMOVUPS(v, a.at(dst, i, 0))
		})
		a.ret()
	})
}

// storeUnsigned narrows words, within the range of a uint8, to bytes.
func (a *asm) storeUnsigned(v reg.VecVirtual, m Mem) {
	if a.wide {
		a.storeBytes(v, m)
		return
	}
	high, low := a.XMM(), v.AsX()
	a.VEXTRACTI128(U8(1), v, high)
	a.VPACKSSDW(high, low, low)
	a.VPACKUSWB(low, low, low)
	a.VMOVQ(low, m)
}
