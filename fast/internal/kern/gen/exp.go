package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func exp(f *file) {
	f.tiers("exp", "is Exp.", "func(dst, x *float32, n int)", func(a *asm) {
		dst, x, n := a.pointer("dst"), a.pointer("x"), a.pointer("n")
		c := a.expConstants()
		a.eachVector(n, 1, func(i reg.GPVirtual, lane int) {
			v := a.vec()
			a.VMOVUPS(a.at(x, i, lane), v)
			a.VMOVUPS(a.exp(v, c), a.at(dst, i, lane))
		}, func(i reg.GPVirtual, t tail) {
			v := a.vec()
			a.loadTail(a.at(x, i, 0), t, v)
			a.storeTail(a.exp(v, c), t, a.at(dst, i, 0))
		})
		a.ret()
	})
}

// expConstants are what exp computes with: registers for AVX-512, memory for AVX2,
// which has few.
type expConstants struct {
	least, greatest, log2e, ln2, ln2low, one Op
	series                                   []Op // from the highest power down to r²
	bias                                     Op   // AVX2's only
}

func (a *asm) expConstants() expConstants {
	c := expConstants{
		// Beyond these, results are 0 and +Inf, and n still fits.
		least: a.constant(-105), greatest: a.constant(89),
		log2e: a.constant(0x1.715476p0),
		// ln 2 in two parts: n times the first, subtracted in one rounding, leaves r.
		ln2: a.constant(0x1.62e43p-1), ln2low: a.constant(-0x1.05c61p-29),
		one: a.constant(1),
	}
	// Minimax for (eʳ − 1 − r)/r², relative to eʳ/r²: 3·10⁻⁹.
	for _, v := range []float32{0x1.6a234ep-10, 0x1.123a6cp-7, 0x1.5558f4p-5, 0x1.55549p-3, 0x1.fffffcp-2} {
		c.series = append(c.series, a.constant(v))
	}
	if !a.wide {
		c.bias = a.constantWord(127)
	}
	return c
}

// exp returns eˣ for every lane of x, which is used up.
func (a *asm) exp(x reg.VecVirtual, c expConstants) reg.VecVirtual {
	n, p := a.vec(), a.vec()
	if c.greatest != nil { // nil where nothing comes near it
		a.min(c.greatest, x)
	}
	a.max(c.least, x)
	a.VMULPS(c.log2e, x, n)
	if a.wide {
		a.VRNDSCALEPS(U8(8), n, n)
	} else {
		a.VROUNDPS(U8(8), n, n)
	}
	a.VFNMADD231PS(c.ln2, n, x)
	a.VFNMADD231PS(c.ln2low, n, x)
	a.load(c.series[0], p)
	for _, s := range c.series[1:] {
		a.VFMADD213PS(s, x, p)
	}
	square := a.vec()
	a.VMULPS(x, x, square)
	a.VADDPS(c.one, x, x)
	a.VFMADD213PS(x, square, p)
	if a.wide {
		a.VSCALEFPS(n, p, p)
		return p
	}
	// 2ⁿ in two factors, each a normal number: the first product is exact.
	half, rest := a.vec(), a.vec()
	a.VCVTPS2DQ(n, n)
	a.VPSRAD(U8(1), n, half)
	a.VPSUBD(half, n, rest)
	for _, k := range []reg.VecVirtual{half, rest} {
		a.VPADDD(c.bias, k, k)
		a.VPSLLD(U8(23), k, k)
		a.VMULPS(k, p, p)
	}
	return p
}

// min lowers the lanes of x to at most the limit. NaN stays NaN.
func (a *asm) min(limit Op, x reg.VecVirtual) { a.limit(limit, x, true) }

// max raises the lanes of x to at least the limit. NaN stays NaN.
func (a *asm) max(limit Op, x reg.VecVirtual) { a.limit(limit, x, false) }

// The instruction answers its second source, avo's first operand, where one of
// both is NaN: that must be x, and a limit in memory goes through a register.
func (a *asm) limit(limit Op, x reg.VecVirtual, least bool) {
	l, ok := limit.(reg.VecVirtual)
	if !ok {
		l = a.vec()
		a.load(limit, l)
	}
	if least {
		a.VMINPS(x, l, x)
	} else {
		a.VMAXPS(x, l, x)
	}
}
