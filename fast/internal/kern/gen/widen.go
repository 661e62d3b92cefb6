package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func widen(f *file) {
	f.tiers("widen", "is Widen for a number of elements that 8 divides.", "func(dst *float64, x *float32, n int)", func(a *asm) {
		d := a.doubles("n")
		dst, x := a.pointer("dst"), a.pointer("x")
		d.each(func() {
			v := a.vec()
			a.VCVTPS2PD(d.single(x), v)
			a.VMOVUPD(v, d.double(dst))
		})
		a.ret()
	})
	f.tiers("narrow", "is Narrow for a number of elements that 8 divides.", "func(dst *float32, x *float64, factor float64, n int)", func(a *asm) {
		d := a.doubles("n")
		dst, x, factor := a.pointer("dst"), a.pointer("x"), a.double("factor")
		d.each(func() {
			v := a.vec()
			a.VMULPD(d.double(x), factor, v)
			a.narrow(v, d.single(dst))
		})
		a.ret()
	})
	f.tiers("subtract", "is Subtract for a number of elements that 8 divides.", "func(dst *float64, x, y *float32, n int) float64", func(a *asm) {
		d := a.doubles("n")
		dst, x, y := a.pointer("dst"), a.pointer("x"), a.pointer("y")
		zero, sum := a.vec(), a.vec()
		a.zero(zero)
		a.zero(sum)
		d.each(func() {
			v, w := a.vec(), a.vec()
			a.VCVTPS2PD(d.single(x), v)
			a.VCVTPS2PD(d.single(y), w)
			a.VSUBPD(w, v, v)
			a.VMOVUPD(v, d.double(dst))
			a.VFMADD231PD(v, zero, sum)
		})
		a.Store(a.sumDouble(sum), a.ReturnIndex(0))
		a.ret()
	})
	f.tiers("addSquares", "is AddSquares for a number of columns that 8 divides.", "func(y *float64, x *float32, n, rows, stride int)", func(a *asm) {
		y, x, left, rows, stride := a.pointer("y"), a.pointer("x"), a.pointer("n"), a.pointer("rows"), a.pointer("stride")
		a.SHLQ(U8(2), stride)
		at, row := a.GP64(), a.GP64()
		for _, vectors := range []int{4, 1} {
			columns := vectors * a.lanes / 2
			loop, fewer := a.label("columns"), a.label("fewer")
			a.Label(loop)
			a.CMPQ(left, U8(uint8(columns)))
			a.JLT(LabelRef(fewer))
			sums, v := a.vecs(vectors), a.vec()
			for i, s := range sums {
				a.VMOVUPD(Mem{Base: y, Disp: i * a.bytes()}, s)
			}
			a.MOVQ(x, at)
			a.MOVQ(rows, row)
			next, done := a.label("row"), a.label("done")
			a.Label(next)
			a.DECQ(row)
			a.JLT(LabelRef(done))
			for i, s := range sums {
				a.VCVTPS2PD(Mem{Base: at, Disp: i * a.bytes() / 2}, v)
				a.VFMADD231PD(v, v, s)
			}
			a.ADDQ(stride, at)
			a.JMP(LabelRef(next))
			a.Label(done)
			for i, s := range sums {
				a.VMOVUPD(s, Mem{Base: y, Disp: i * a.bytes()})
			}
			a.ADDQ(U8(uint8(columns*4)), x)
			a.ADDQ(U32(uint32(columns*8)), y)
			a.SUBQ(U8(uint8(columns)), left)
			a.JMP(LabelRef(loop))
			a.Label(fewer)
		}
		a.ret()
	})
}

// A doubleLoop runs over elements of which a vector holds a whole number: float64s, and
// float32s that are one with each of them.
type doubleLoop struct {
	a    *asm
	i, n reg.GPVirtual
}

// doubles is a loop over an argument's number of elements.
func (a *asm) doubles(n string) doubleLoop {
	i := a.GP64()
	a.XORQ(i, i)
	return doubleLoop{a, i, a.pointer(n)}
}

func (d doubleLoop) each(body func()) {
	loop, end := d.a.label("each"), d.a.label("all")
	d.a.Label(loop)
	d.a.CMPQ(d.i, d.n)
	d.a.JGE(LabelRef(end))
	body()
	d.a.ADDQ(U8(uint8(d.a.lanes/2)), d.i)
	d.a.JMP(LabelRef(loop))
	d.a.Label(end)
}

// double is the next vector of float64s, and single that of as many float32s.
func (d doubleLoop) double(base reg.GPVirtual) Mem { return Mem{Base: base, Index: d.i, Scale: 8} }
func (d doubleLoop) single(base reg.GPVirtual) Mem { return Mem{Base: base, Index: d.i, Scale: 4} }

// roundDouble rounds to nearest integers, halves to even.
func (a *asm) roundDouble(v reg.VecVirtual) {
	if a.wide {
		a.VRNDSCALEPD(U8(8), v, v)
	} else {
		a.VROUNDPD(U8(8), v, v)
	}
}

// narrow stores a vector of float64s as float32s, and returns these.
func (a *asm) narrow(v reg.VecVirtual, to Mem) reg.VecVirtual {
	if a.wide {
		half := a.YMM()
		a.VCVTPD2PS(v, half)
		a.VMOVUPS(half, to)
		return half
	}
	half := a.XMM()
	a.VCVTPD2PSY(v, half)
	a.VMOVUPS(half, to)
	return half
}
