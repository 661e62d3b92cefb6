package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transpose takes squares of 8 × 8 through registers of 8 elements in both tiers.
// Halves of two rows share a register from the load on, which leaves the shuffles
// within halves: 16 of them a square.
func transpose(f *file) {
	f.tiers("transpose", "is Transpose for 8 rows of n ≥ 8 columns.", "func(dst *float32, ldd int, src *float32, lds int, n int)", func(a *asm) {
		dst, ldd, src, lds, n := a.pointer("dst"), a.pointer("ldd"), a.pointer("src"), a.pointer("lds"), a.pointer("n")
		a.SHLQ(U8(2), ldd)
		a.SHLQ(U8(2), lds)
		lds3 := a.GP64()
		a.LEAQ(Mem{Base: lds, Index: lds, Scale: 2}, lds3)
		loop, end := a.label("square"), a.label("end")
		a.Label(loop)
		low := a.GP64()
		a.LEAQ(Mem{Base: src, Index: lds, Scale: 4}, low)
		to := a.GP64()
		a.MOVQ(dst, to)
		for half := range 2 {
			t := make([]reg.VecVirtual, 4)
			for i := range t {
				t[i] = a.YMM()
				at, below := Mem{Base: src, Disp: 16 * half}, Mem{Base: low, Disp: 16 * half}
				if i > 0 {
					at.Index, at.Scale = lds, uint8(i)
					if i == 3 {
						at.Index, at.Scale = lds3, 1
					}
					below.Index, below.Scale = at.Index, at.Scale
				}
				a.VMOVUPS(at, t[i].AsX())
				if a.wide {
					a.VINSERTF32X4(U8(1), below, t[i], t[i])
				} else {
					a.VINSERTF128(U8(1), below, t[i], t[i])
				}
			}
			u := a.ymms(4)
			for i := range 2 {
				a.VUNPCKLPS(t[2*i+1], t[2*i], u[i])
				a.VUNPCKHPS(t[2*i+1], t[2*i], u[2+i])
			}
			for i := range 4 {
				out := a.YMM()
				a.VSHUFPS(U8([]uint8{0x44, 0xee}[i%2]), u[i/2*2+1], u[i/2*2], out)
				a.VMOVUPS(out, Mem{Base: to})
				a.ADDQ(ldd, to)
			}
		}
		// The last square, where columns do not divide by 8, begins 8 before the end.
		a.SUBQ(U32(8), n)
		a.JZ(LabelRef(end))
		step := a.GP64()
		a.MOVQ(U32(8), step)
		a.CMPQ(n, step)
		a.CMOVQLT(n, step)
		a.LEAQ(Mem{Base: src, Index: step, Scale: 4}, src)
		a.IMULQ(ldd, step)
		a.ADDQ(step, dst)
		next := a.GP64()
		a.MOVQ(U32(8), next)
		a.CMPQ(n, next)
		a.CMOVQLT(next, n)
		a.JMP(LabelRef(loop))
		a.Label(end)
		a.ret()
	})
}

func (a *asm) ymms(n int) []reg.VecVirtual {
	out := make([]reg.VecVirtual, n)
	for i := range out {
		out[i] = a.YMM()
	}
	return out
}
