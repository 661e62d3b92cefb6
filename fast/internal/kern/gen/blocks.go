package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// eachBlock calls body in a loop over n elements, a multiple of size, with the
// index of a block's first.
func (a *asm) eachBlock(n reg.GPVirtual, size int, body func(i reg.GPVirtual)) {
	i := a.GP64()
	loop, end := a.label("blocks"), a.label("end")
	a.XORQ(i, i)
	a.TESTQ(n, n)
	a.JZ(LabelRef(end))
	a.Label(loop)
	body(i)
	a.ADDQ(U32(uint32(size)), i)
	a.CMPQ(i, n)
	a.JLT(LabelRef(loop))
	a.Label(end)
}

// broadcastParam fills a new vector with an argument of 4 bytes.
func (a *asm) broadcastParam(name string) reg.VecVirtual {
	v := a.vec()
	a.broadcastArgument(name, v)
	return v
}

// perLane is a vector of read-only data, 0 but for some lanes.
func (a *asm) perLane(name string, words map[int]uint32) Mem {
	return a.data(fmt.Sprintf("%s%d", name, a.lanes), func() {
		for i := range a.lanes {
			a.AppendDatum(U32(words[i]))
		}
	})
}

// loadData loads a vector of read-only data.
func (a *asm) loadData(m Mem) reg.VecVirtual {
	v := a.vec()
	a.VMOVUPS(m, v)
	return v
}

// and is the bitwise and of two vectors.
func (a *asm) and(x Op, y, dst reg.VecVirtual) { a.VANDPS(x, y, dst) }

// pack narrows the words of four vectors to bytes, with saturation. Words of 4 bytes
// come out in the order that interleaved puts right.
func (a *asm) pack(v []reg.VecVirtual) reg.VecVirtual {
	a.VPACKSSDW(v[1], v[0], v[0])
	a.VPACKSSDW(v[3], v[2], v[2])
	a.VPACKSSWB(v[2], v[0], v[0])
	return v[0]
}

// interleaved is the order in which VPERMD takes the words of what pack has packed.
func (a *asm) interleaved() Mem {
	quarters := a.lanes / 4
	words := map[int]uint32{}
	for i := range a.lanes {
		words[i] = uint32(i%quarters*4 + i/quarters)
	}
	return a.perLane("interleaved", words)
}

// asDoubles converts the lanes of v to two vectors of float64s.
func (a *asm) asDoubles(v reg.VecVirtual) [2]reg.VecVirtual {
	low, high := a.vec(), a.vec()
	if a.wide {
		half := a.YMM()
		a.VEXTRACTF64X4(U8(1), v, half)
		a.VCVTPS2PD(half, high)
		a.VCVTPS2PD(v.AsY(), low)
	} else {
		half := a.XMM()
		a.VEXTRACTF128(U8(1), v, half)
		a.VCVTPS2PD(half, high)
		a.VCVTPS2PD(v.AsX(), low)
	}
	return [2]reg.VecVirtual{low, high}
}

// anyByte returns a number that is 0 where all bytes of v are. v is used up.
func (a *asm) anyByte(v reg.VecVirtual) reg.GPVirtual {
	any := a.GP64()
	if a.wide {
		k := a.K()
		a.VPTESTMB(v, v, k)
		a.KMOVQ(k, any)
		return any
	}
	zero := a.vec()
	a.zero(zero)
	a.VPCMPEQB(zero, v, v)
	a.VPMOVMSKB(v, any.As32())
	a.NOTL(any.As32())
	return any
}
