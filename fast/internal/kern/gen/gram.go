package main

import (
	"fmt"
	"strings"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gram takes a block of rows at a time: their products with x, and, from the
// first-level cache, their multiples to y; meanwhile the next block comes there.
func gram(f *file) {
	gramOf(f, "gram", "Gram", "float32", false)
	gramOf(f, "gramDouble", "GramDouble", "float64", true)
}

func gramOf(f *file, name, exported, element string, double bool) {
	const rows = 6
	signature := strings.ReplaceAll("func(y, m, x *E, n, blocks int, alpha E)", "E", element)
	f.tiers(name, fmt.Sprintf("is %s for blocks of gramRows rows each.", exported), signature, func(a *asm) {
		add, times, sum, everywhere, size := a.VFMADD231PS, a.VMULSS, a.sum, a.VBROADCASTSS, 2
		if double {
			add, times, sum, everywhere, size = a.VFMADD231PD, a.VMULSD, a.sumDouble, a.VBROADCASTSD, 3
		}
		y, m, x, n, blocks := a.pointer("y"), a.pointer("m"), a.pointer("x"), a.pointer("n"), a.pointer("blocks")
		stride := a.GP64()
		a.MOVQ(n, stride)
		a.SHLQ(U8(uint8(size)), stride)
		whole := n // in words of 32 bits
		if double {
			a.words(whole)
		}
		rest := a.GP64()
		a.MOVQ(whole, rest)
		a.ANDQ(U8(uint8(a.lanes-1)), rest)
		a.SUBQ(rest, whole)
		part := a.GP64()
		a.MOVQ(rest, part)
		tail := a.tail(part)

		p, v, left := a.panel(rows, stride), a.GP64(), a.GP64()
		// along runs body for every vector of the rows, and last for what is left.
		along := func(vector reg.GPVirtual, body func(), last func()) {
			p.begin(m)
			a.MOVQ(vector, v)
			a.MOVQ(whole, left)
			loop, tail, done := a.label("loop"), a.label("tail"), a.label("done")
			a.Label(loop)
			a.SUBQ(U8(uint8(a.lanes)), left)
			a.JLT(LabelRef(tail))
			body()
			p.advance(a.bytes())
			a.ADDQ(U8(uint8(a.bytes())), v)
			a.JMP(LabelRef(loop))
			a.Label(tail)
			a.TESTQ(rest, rest)
			a.JZ(LabelRef(done))
			last()
			a.Label(done)
		}

		c := a.vecs(rows)
		block, end := a.label("block"), a.label("end")
		a.Label(block)
		a.TESTQ(blocks, blocks)
		a.JZ(LabelRef(end))
		for r := range rows {
			a.zero(c[r])
		}
		along(x, func() {
			u := a.vec()
			a.VMOVUPS(Mem{Base: v}, u)
			for r := range rows {
				add(p.row(r), u, c[r])
			}
		}, func() {
			u, w := a.vec(), a.vec()
			a.loadTail(Mem{Base: v}, tail, u)
			for r := range rows {
				a.loadTail(p.row(r), tail, w)
				add(w, u, c[r])
			}
		})
		alpha := a.XMM()
		a.Load(a.Param("alpha"), alpha)
		for r := range rows {
			s := sum(c[r])
			times(alpha, s, s)
			everywhere(s, c[r])
		}
		ahead := a.GP64()
		a.MOVQ(m, ahead)
		for range rows {
			a.ADDQ(stride, ahead)
		}
		along(y, func() {
			u := a.vec()
			a.VMOVUPS(Mem{Base: v}, u)
			for at := 0; at < rows*a.bytes(); at += 64 {
				a.PREFETCHT0(Mem{Base: ahead, Disp: at})
			}
			a.ADDQ(U32(uint32(rows*a.bytes())), ahead)
			for r := range rows {
				add(p.row(r), c[r], u)
			}
			a.VMOVUPS(u, Mem{Base: v})
		}, func() {
			u, w := a.vec(), a.vec()
			a.loadTail(Mem{Base: v}, tail, u)
			for r := range rows {
				a.loadTail(p.row(r), tail, w)
				add(w, c[r], u)
			}
			a.storeTail(u, tail, Mem{Base: v})
		})
		for range rows {
			a.ADDQ(stride, m)
		}
		a.DECQ(blocks)
		a.JMP(LabelRef(block))
		a.Label(end)
		a.ret()
	})
}
