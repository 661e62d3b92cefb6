package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Vectors of float64s are moved as words of 32 bits, two to a number, so that
// lanes, tails and addresses are those of float32s.

// words turns a count of float64s into one of words.
func (a *asm) words(n reg.GPVirtual) reg.GPVirtual {
	a.SHLQ(U8(1), n)
	return n
}

// double fills a new vector with an argument of type float64.
func (a *asm) double(name string) reg.VecVirtual {
	x, v := a.XMM(), a.vec()
	a.Load(a.Param(name), x)
	a.VBROADCASTSD(x, v)
	return v
}

// sumDouble adds the float64 lanes of v up, into the lowest of the result. v is used
// up.
func (a *asm) sumDouble(v reg.VecVirtual) reg.VecVirtual {
	return a.foldDouble(v, func(x, y, dst reg.VecVirtual) { a.VADDPD(x, y, dst) })
}

// foldDouble joins the float64 lanes of v, by halves, into the lowest of the result. v
// is used up.
func (a *asm) foldDouble(v reg.VecVirtual, join func(x, y, dst reg.VecVirtual)) reg.VecVirtual {
	if a.wide {
		high := a.YMM()
		a.VEXTRACTF64X4(U8(1), v, high)
		low := a.YMM()
		a.VMOVAPD(v.AsY(), low)
		join(high, low, low)
		v = low
	}
	high, low := a.XMM(), a.XMM()
	if a.wide { // the form that takes any register
		a.VEXTRACTF64X2(U8(1), v.AsY(), high)
	} else {
		a.VEXTRACTF128(U8(1), v.AsY(), high)
	}
	a.VMOVAPD(v.AsX(), low)
	join(high, low, low)
	a.VPERMILPD(U8(1), low, high)
	join(high, low, low)
	return low
}

// A panel is some rows of a matrix of float64s, side by side: pointers that move
// along the rows, one for every three of them.
type panel struct {
	a      *asm
	at     []reg.GPVirtual
	stride reg.GPVirtual // in bytes
}

func (a *asm) panel(rows int, stride reg.GPVirtual) panel {
	p := panel{a: a, stride: stride}
	for range (rows + 2) / 3 {
		p.at = append(p.at, a.GP64())
	}
	return p
}

// begin sets the panel to the rows from m on.
func (p panel) begin(m reg.GPVirtual) {
	p.a.MOVQ(m, p.at[0])
	for i := 1; i < len(p.at); i++ {
		p.a.LEAQ(Mem{Base: p.at[i-1], Index: p.stride, Scale: 2}, p.at[i])
		p.a.ADDQ(p.stride, p.at[i])
	}
}

// row is where a row's next vector is.
func (p panel) row(r int) Mem {
	m := Mem{Base: p.at[r/3]}
	if r%3 > 0 {
		m.Index, m.Scale = p.stride, uint8(r%3)
	}
	return m
}

func (p panel) advance(bytes int) {
	for _, q := range p.at {
		p.a.ADDQ(U32(uint32(bytes)), q)
	}
}
