package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A file is a file of assembly as it is described.
type file struct {
	*build.Context
	constants map[string]Mem // data, by name
}

// An asm is one function as it is described, in one tier. What differs between
// tiers is in its methods, so that a description serves both.
type asm struct {
	*file
	wide   bool // AVX-512, and else AVX2
	lanes  int  // float32s in a vector
	labels int
}

// tiers describes a function for both tiers: nameAVX512 and nameAVX2.
func (f *file) tiers(name, doc, signature string, describe func(*asm)) {
	for _, a := range []*asm{{file: f, wide: true, lanes: 16}, {file: f, lanes: 8}} {
		tier := "AVX2"
		if a.wide {
			tier = "AVX512"
		}
		f.Function(name + tier)
		f.Attributes(attr.NOSPLIT)
		f.Pragma("noescape")
		f.Doc(fmt.Sprintf("%s%s %s", name, tier, doc))
		f.SignatureExpr(signature)
		describe(a)
	}
}

// vec returns a new vector register of the tier's width.
func (a *asm) vec() reg.VecVirtual {
	if a.wide {
		return a.ZMM()
	}
	return a.YMM()
}

// vecs returns n of them.
func (a *asm) vecs(n int) []reg.VecVirtual {
	out := make([]reg.VecVirtual, n)
	for i := range out {
		out[i] = a.vec()
	}
	return out
}

// bytes is the size of a vector.
func (a *asm) bytes() int { return a.lanes * 4 }

// pointer loads an argument of 8 bytes, a pointer or an int.
func (a *asm) pointer(name string) reg.GPVirtual {
	r := a.GP64()
	a.Load(a.Param(name), r)
	return r
}

// label returns a new label of the function's.
func (a *asm) label(name string) string {
	a.labels++
	return fmt.Sprintf("%s%d", name, a.labels)
}

// zero clears a vector. The one instruction that does is VEX-coded and clears all
// 512 bits, whatever the width of its name.
func (a *asm) zero(v reg.VecVirtual) { a.VXORPS(v.AsY(), v.AsY(), v.AsY()) }

// word is 4 bytes of read-only data, once a file.
func (f *file) word(bits uint32) Mem {
	return f.data(fmt.Sprintf("word%08x", bits), func() { f.AppendDatum(U32(bits)) })
}

// data is read-only data of that name, appended by fill once a file.
func (f *file) data(name string, fill func()) Mem {
	m, ok := f.constants[name]
	if !ok {
		m = f.StaticGlobal(name)
		f.DataAttributes(attr.RODATA | attr.NOPTR)
		fill()
		if f.constants == nil {
			f.constants = map[string]Mem{}
		}
		f.constants[name] = m
	}
	return m
}

// constant is a number in every lane: of a register for AVX-512, which has enough of
// them, and of memory for AVX2.
func (a *asm) constant(v float32) Op { return a.constantWord(math.Float32bits(v)) }

// constantWord is a word of 32 bits in every lane.
func (a *asm) constantWord(bits uint32) Op {
	if a.wide {
		return a.broadcastWord(bits)
	}
	return a.vectorOf(bits)
}

// vectorOf is a vector of read-only data, the same word in every lane.
func (f *file) vectorOf(bits uint32) Mem {
	return f.data(fmt.Sprintf("vector%08x", bits), func() {
		for range 8 {
			f.AppendDatum(U32(bits))
		}
	})
}

// load loads a constant, of memory or a register.
func (a *asm) load(from Op, v reg.VecVirtual) {
	if m, ok := from.(Mem); ok {
		a.VMOVUPS(m, v)
	} else {
		a.VMOVAPS(from, v)
	}
}

// broadcastWord fills a new vector with one word of 32 bits.
func (a *asm) broadcastWord(bits uint32) reg.VecVirtual {
	v := a.vec()
	a.VBROADCASTSS(a.word(bits), v)
	return v
}

// A tail is the mask of a vector's first lanes.
type tail struct{ mask reg.Register }

// tail returns the mask of the first n lanes, 0 ≤ n < lanes. n is used up.
func (a *asm) tail(n reg.GPVirtual) tail {
	if a.wide {
		ones, k := a.GP32(), a.K()
		a.MOVL(U32(0xffffffff), ones)
		a.BZHIL(n.As32(), ones, ones)
		a.KMOVW(ones, k)
		return tail{k}
	}
	// Eight words of ones and then eight of zeros: the mask of n begins at 8 − n.
	table := a.data("tails", func() {
		for i := range 16 {
			bits := uint32(0)
			if i < 8 {
				bits = 0xffffffff
			}
			a.AppendDatum(U32(bits))
		}
	})
	at, base, mask := a.GP64(), a.GP64(), a.YMM()
	a.LEAQ(table, base)
	a.MOVQ(U32(8), at)
	a.SUBQ(n, at)
	a.VMOVDQU(Mem{Base: base, Index: at, Scale: 4}, mask)
	return tail{mask}
}

// loadTail loads the lanes of a mask, and 0 into the others: nothing else is read.
func (a *asm) loadTail(m Mem, t tail, v reg.VecVirtual) {
	if a.wide {
		a.VMOVUPS_Z(m, t.mask, v)
	} else {
		a.VMASKMOVPS(m, t.mask, v)
	}
}

// storeTail stores the lanes of a mask: nothing else is written.
func (a *asm) storeTail(v reg.VecVirtual, t tail, m Mem) {
	if a.wide {
		a.VMOVUPS(v, t.mask, m)
	} else {
		a.VMASKMOVPS(v, t.mask, m)
	}
}

// sum adds the lanes of v up, into the lowest of the result. v is used up.
func (a *asm) sum(v reg.VecVirtual) reg.VecVirtual {
	return a.fold(v, func(x, y, dst reg.VecVirtual) { a.VADDPS(x, y, dst) })
}

// fold joins the lanes of v, by halves, into the lowest of the result. v is used
// up.
func (a *asm) fold(v reg.VecVirtual, join func(x, y, dst reg.VecVirtual)) reg.VecVirtual {
	if a.wide {
		high := a.YMM()
		a.VEXTRACTF64X4(U8(1), v, high)
		low := a.YMM()
		a.VMOVAPS(v.AsY(), low)
		join(high, low, low)
		v = low
	}
	high, low := a.XMM(), a.XMM()
	if a.wide { // the form that takes any register
		a.VEXTRACTF32X4(U8(1), v.AsY(), high)
	} else {
		a.VEXTRACTF128(U8(1), v.AsY(), high)
	}
	a.VMOVAPS(v.AsX(), low)
	join(high, low, low)
	a.VPERMILPS(U8(0b1110), low, high)
	join(high, low, low)
	a.VPERMILPS(U8(0b01), low, high)
	join(high, low, low)
	return low
}

// eachVector calls body in a loop over n elements, whole vectors of them unrolled
// times a round and then one at a time, and then over the tail. i is the index of
// the first element, and lane numbers the vectors of a round: body must let go of
// everything that it does not add to registers of the caller's.
func (a *asm) eachVector(n reg.GPVirtual, unrolled int, body func(i reg.GPVirtual, lane int), last func(i reg.GPVirtual, t tail)) {
	i, left := a.GP64(), a.GP64()
	a.XORQ(i, i)
	a.MOVQ(n, left)
	if unrolled > 1 {
		loop, done := a.label("rounds"), a.label("vectors")
		a.Label(loop)
		a.CMPQ(left, U32(uint32(unrolled*a.lanes)))
		a.JLT(LabelRef(done))
		for lane := range unrolled {
			body(i, lane)
		}
		a.ADDQ(U32(uint32(unrolled*a.lanes)), i)
		a.SUBQ(U32(uint32(unrolled*a.lanes)), left)
		a.JMP(LabelRef(loop))
		a.Label(done)
	}
	loop, rest, end := a.label("one"), a.label("rest"), a.label("end")
	a.Label(loop)
	a.CMPQ(left, U32(uint32(a.lanes)))
	a.JLT(LabelRef(rest))
	body(i, 0)
	a.ADDQ(U32(uint32(a.lanes)), i)
	a.SUBQ(U32(uint32(a.lanes)), left)
	a.JMP(LabelRef(loop))
	a.Label(rest)
	a.TESTQ(left, left)
	a.JZ(LabelRef(end))
	last(i, a.tail(left))
	a.Label(end)
}

// at is the vector of float32s that begins at element i + lane·lanes.
func (a *asm) at(base, i reg.GPVirtual, lane int) Mem {
	return Mem{Base: base, Index: i, Scale: 4, Disp: lane * a.bytes()}
}

// ret ends a function: no upper halves may stay dirty.
func (a *asm) ret() {
	a.VZEROUPPER()
	a.RET()
}

// broadcastArgument fills a vector with a float32 argument.
func (a *asm) broadcastArgument(name string, v reg.VecVirtual) {
	argument, err := a.Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	a.VBROADCASTSS(argument.Addr, v)
}
