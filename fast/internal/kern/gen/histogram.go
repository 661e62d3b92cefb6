package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func histogram(f *file) {
	f.tiers("histograms", "is Histograms.", "func(counts *uint16, x *float32, rows, cols int, low, scale float32)", func(a *asm) {
		counts, x, rows := a.pointer("counts"), a.pointer("x"), a.pointer("rows")
		low, scale := a.vec(), a.vec()
		a.broadcastArgument("low", low)
		a.broadcastArgument("scale", scale)
		bins := a.binConstants()
		const group = 64
		rest := a.AllocLocal(4 * group)
		left := a.GP64()
		// Lane i + 2j of word k + 2l: how many bins have bit 0 set, if i is, bit 1 if j
		// is, and so on.
		words := []reg.GPVirtual{a.GP64(), a.GP64(), a.GP64(), a.GP64()}
		count := func(from reg.Register) {
			bits := a.planes(from, low, scale, bins)
			t, n := a.GP64(), a.GP64()
			add := func(mask reg.GPVirtual, word, lane int) {
				a.POPCNTQ(mask, n)
				if lane > 0 {
					a.SHLQ(U8(16*lane), n)
				}
				a.ADDQ(n, words[word])
			}
			both := a.GP64()
			a.MOVQ(bits[0], both)
			a.ANDQ(bits[1], both)
			low := []reg.GPVirtual{1: bits[0], 2: bits[1], 3: both}
			for lane := 1; lane < 4; lane++ {
				add(low[lane], 0, lane)
			}
			for word := 1; word < 4; word++ {
				high := bits[min(word, 2)+1]
				if word == 3 {
					a.ANDQ(bits[2], high)
				}
				add(high, word, 0)
				for lane := 1; lane < 4; lane++ {
					a.MOVQ(high, t)
					a.ANDQ(low[lane], t)
					add(t, word, lane)
				}
			}
		}

		row, loop, partial, done, end := a.label("row"), a.label("group"), a.label("rest"), a.label("counted"), a.label("return")
		a.Label(row)
		a.TESTQ(rows, rows)
		a.JZ(LabelRef(end))
		a.Load(a.Param("cols"), left)
		a.MOVQ(left, words[0]) // all of them, whatever bits are set
		for _, w := range words[1:] {
			a.XORQ(w, w)
		}
		a.Label(loop)
		a.CMPQ(left, U8(group))
		a.JLT(LabelRef(partial))
		count(x)
		a.ADDQ(U32(4*group), x)
		a.SUBQ(U8(group), left)
		a.JMP(LabelRef(loop))
		a.Label(partial)
		a.TESTQ(left, left)
		a.JZ(LabelRef(done))
		// The rest, and then the low bound, whose bin has no bit set.
		for at := 0; at < 4*group; at += a.bytes() {
			a.VMOVUPS(low, rest.Offset(at))
		}
		from, v := a.GP64(), a.vec()
		a.LEAQ(rest, from)
		a.eachVector(left, 1, func(i reg.GPVirtual, _ int) {
			a.VMOVUPS(a.at(x, i, 0), v)
			a.VMOVUPS(v, a.at(from, i, 0))
		}, func(i reg.GPVirtual, t tail) {
			a.loadTail(a.at(x, i, 0), t, v)
			a.storeTail(v, t, a.at(from, i, 0))
		})
		a.LEAQ(Mem{Base: x, Index: left, Scale: 4}, x)
		count(from)
		a.Label(done)

		// What is counted with a bit set, taken from what is counted with or without it,
		// leaves what is without: bits 2 and 3 by words, bits 0 and 1 by lanes.
		for _, pair := range [][2]int{{0, 1}, {2, 3}, {0, 2}, {1, 3}} {
			a.SUBQ(words[pair[1]], words[pair[0]])
		}
		lanes, t := a.GP64(), a.GP64()
		a.MOVQ(U64(0x0000ffff0000ffff), lanes)
		for i, w := range words {
			a.MOVQ(w, t)
			a.SHRQ(U8(16), t)
			a.ANDQ(lanes, t)
			a.SUBQ(t, w)
			a.MOVQ(w, t)
			a.SHRQ(U8(32), t)
			a.SUBQ(t, w)
			a.MOVQ(w, Mem{Base: counts, Disp: 8 * i})
		}
		a.ADDQ(U8(32), counts)
		a.DECQ(rows)
		a.JMP(LabelRef(row))
		a.Label(end)
		a.ret()
	})
}

// binConstants are what planes computes with: the last bin in every byte, and for
// AVX-512 the four bits of a bin.
type binConstants struct {
	last Op
	bits []Op
}

func (a *asm) binConstants() (c binConstants) {
	c.last = a.constantWord(0x0f0f0f0f)
	if a.wide {
		for bit := range 4 {
			c.bits = append(c.bits, a.constantWord(0x01010101<<bit))
		}
	}
	return c
}

// planes returns the bins of 64 elements, one word for each of their four bits. The
// elements of a word are in no order that matters.
func (a *asm) planes(x reg.Register, low, scale reg.VecVirtual, c binConstants) (bits []reg.GPVirtual) {
	for range 4 {
		bits = append(bits, a.GP64())
	}
	v := a.vecs(4)
	for part := range 64 / (4 * a.lanes) {
		for k := range v {
			a.VMOVUPS(Mem{Base: x, Disp: (4*part + k) * a.bytes()}, v[k])
			a.VSUBPS(low, v[k], v[k])
			a.VMULPS(scale, v[k], v[k])
			a.VCVTTPS2DQ(v[k], v[k])
		}
		a.VPACKSSDW(v[1], v[0], v[0])
		a.VPACKSSDW(v[3], v[2], v[2])
		a.VPACKUSWB(v[2], v[0], v[0])
		a.VPMINUB(c.last, v[0], v[0]) // the greatest element's
		for bit := range 4 {
			switch {
			case a.wide:
				k := a.K()
				a.VPTESTMB(c.bits[bit], v[0], k)
				a.KMOVQ(k, bits[bit])
			case part == 0:
				a.VPSLLW(U8(7-bit), v[0], v[1])
				a.VPMOVMSKB(v[1], bits[bit].As32())
			default:
				half := a.GP64()
				a.VPSLLW(U8(7-bit), v[0], v[1])
				a.VPMOVMSKB(v[1], half.As32())
				a.SHLQ(U8(32), half)
				a.ORQ(half, bits[bit])
			}
		}
	}
	return bits
}
