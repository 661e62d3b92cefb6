package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func logarithm(f *file) {
	f.tiers("log", "is Log.", "func(dst, x *float32, n int)", func(a *asm) {
		dst, x, n := a.pointer("dst"), a.pointer("x"), a.pointer("n")
		c := a.logConstants()
		a.eachVector(n, 1, func(i reg.GPVirtual, lane int) {
			v := a.vec()
			a.VMOVUPS(a.at(x, i, lane), v)
			a.VMOVUPS(a.log(v, c), a.at(dst, i, lane))
		}, func(i reg.GPVirtual, t tail) {
			v := a.vec()
			a.loadTail(a.at(x, i, 0), t, v)
			a.storeTail(a.log(v, c), t, a.at(dst, i, 0))
		})
		a.ret()
	})
}

// logConstants are what log computes with: registers for AVX-512, memory for AVX2.
type logConstants struct {
	one, half, ln2, ln2low Op
	series                 []Op // from the highest power down to f³
	// AVX2's only: for taking numbers apart.
	least, scale, scaled, threeQuarters, infinity Op
}

func (a *asm) logConstants() logConstants {
	c := logConstants{
		one: a.constant(1), half: a.constant(0.5),
		// ln 2 in two parts: e times the first is exact. Both are above 0, so that
		// e = −Inf gives −Inf.
		ln2: a.constant(0x1.62e4p-1), ln2low: a.constant(0x1.7f7d1cp-20),
	}
	// Minimax for (log(1+f) − f + f²/2)/f³ on −¼ … ½, relative to log(1+f)/f³.
	for _, v := range []float32{0.037672464, -0.09116142, 0.11700654, -0.12727785, 0.14276241, -0.16655296, 0.19999605, -0.25000164, 0.3333334} {
		c.series = append(c.series, a.constant(v))
	}
	if !a.wide {
		c.least = a.constant(0x1p-126)
		c.scale, c.scaled = a.constant(0x1p23), a.constant(23)
		c.threeQuarters = a.constant(0.75)
		c.infinity = a.constantWord(0x7f800000)
	}
	return c
}

// log returns the logarithm of every lane of x, which is used up.
func (a *asm) log(x reg.VecVirtual, c logConstants) reg.VecVirtual {
	e, f := a.vec(), a.vec()
	if a.wide {
		low := a.vec()
		a.VGETEXPPS(x, e)
		a.VGETMANTPS(U8(0b1011), x, f) // to ¾ … 1½, and NaN below 0
		a.VGETEXPPS(f, low)
		a.VSUBPS(low, e, e)
	} else {
		subnormal, scaled := a.vec(), a.vec()
		a.VCMPPS(U8(1), c.least, x, subnormal) // x < least
		a.VMULPS(c.scale, x, scaled)
		a.VBLENDVPS(subnormal, scaled, x, f)
		a.VANDPS(c.scaled, subnormal, scaled)
		// What the bits have above those of ¾ is the exponent, and the rest the fraction.
		a.VPSUBD(c.threeQuarters, f, e)
		a.VPSRAD(U8(23), e, e)
		bits := a.vec()
		a.VPSLLD(U8(23), e, bits)
		a.VPSUBD(bits, f, f)
		a.VCVTDQ2PS(e, e)
		a.VSUBPS(scaled, e, e)
	}
	a.VSUBPS(c.one, f, f)
	p, square := a.vec(), a.vec()
	a.load(c.series[0], p)
	for _, s := range c.series[1:] {
		a.VFMADD213PS(s, f, p)
	}
	a.VMULPS(f, f, square)
	a.VMULPS(f, p, p)
	a.VMULPS(square, p, p)
	a.VFMADD231PS(c.ln2low, e, p)
	a.VFNMADD231PS(c.half, square, p)
	a.VADDPS(f, p, p)
	a.VFMADD231PS(c.ln2, e, p)
	if a.wide {
		return p
	}
	// +Inf stays, 0 gives −Inf, and what is not at least 0 gives NaN.
	special, zero := a.vec(), a.vec()
	a.VCMPPS(U8(0), c.infinity, x, special)
	a.VBLENDVPS(special, x, p, p)
	a.zero(zero)
	a.VCMPPS(U8(0), zero, x, special)
	a.VSUBPS(c.infinity, zero, e)
	a.VBLENDVPS(special, e, p, p)
	a.VCMPPS(U8(9), zero, x, special) // not x ≥ 0, NaN among them
	a.VORPS(special, p, p)
	return p
}
