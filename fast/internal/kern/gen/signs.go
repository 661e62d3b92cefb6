package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func signs(f *file) {
	f.tiers("signs", "is Signs, and returns how many words of 32 signs have a NaN, or a number above 0.", "func(words *uint32, x *float32, rows int, dim int) uint32", func(a *asm) {
		words, x, rows, dim := a.pointer("words"), a.pointer("x"), a.pointer("rows"), a.pointer("dim")
		zero, nans := a.vec(), a.GP32()
		a.zero(zero)
		a.XORL(nans, nans)
		const orderedGE, unordered = 0x1d, 3
		// compare writes a bit a lane.
		compare := func(predicate uint8, x, y reg.VecVirtual, bits reg.GPVirtual) {
			if a.wide {
				k := a.K()
				a.VCMPPS(U8(predicate), y, x, k)
				a.KMOVW(k, bits)
			} else {
				v := a.vec()
				a.VCMPPS(U8(predicate), y, x, v)
				a.VMOVMSKPS(v, bits)
			}
		}
		row, chunk, rest, next := a.label("row"), a.label("chunk"), a.label("rest"), a.label("next")
		left := a.GP64()
		word, bits, nan := a.GP32(), a.GP32(), a.GP32()
		a.Label(row)
		a.MOVQ(dim, left)
		a.Label(chunk)
		a.CMPQ(left, U32(32))
		a.JLT(LabelRef(rest))
		v := a.vecs(32 / a.lanes)
		for i := range v {
			a.VMOVUPS(Mem{Base: x, Disp: i * a.bytes()}, v[i])
			if i == 0 {
				compare(orderedGE, v[i], zero, word)
				continue
			}
			compare(orderedGE, v[i], zero, bits)
			a.SHLL(U8(i*a.lanes), bits)
			a.ORL(bits, word)
			if i%2 == 1 { // one comparison tells of a NaN in either
				compare(unordered, v[i-1], v[i], nan)
				a.ORL(nan, nans)
			}
		}
		a.MOVL(word, Mem{Base: words})
		a.ADDQ(U32(4), words)
		a.ADDQ(U32(128), x)
		a.SUBQ(U32(32), left)
		a.JMP(LabelRef(chunk))

		a.Label(rest)
		a.TESTQ(left, left)
		a.JZ(LabelRef(next))
		at, vectors, part, last := a.GP32(), a.label("vector"), a.label("part"), a.label("last")
		w := a.vec()
		add := func() {
			a.SHLXL(at, bits, bits)
			a.ORL(bits, word)
			compare(unordered, w, w, nan)
			a.ORL(nan, nans)
		}
		a.XORL(word, word)
		a.XORL(at, at)
		a.Label(vectors)
		a.CMPQ(left, U32(uint32(a.lanes)))
		a.JLT(LabelRef(part))
		a.VMOVUPS(Mem{Base: x}, w)
		compare(orderedGE, w, zero, bits)
		add()
		a.ADDL(U8(uint8(a.lanes)), at)
		a.ADDQ(U32(uint32(a.bytes())), x)
		a.SUBQ(U32(uint32(a.lanes)), left)
		a.JMP(LabelRef(vectors))
		a.Label(part)
		a.TESTQ(left, left)
		a.JZ(LabelRef(last))
		a.loadTail(Mem{Base: x}, a.tail(left), w)
		compare(orderedGE, w, zero, bits)
		a.BZHIL(left.As32(), bits, bits)
		add()
		a.LEAQ(Mem{Base: x, Index: left, Scale: 4}, x)
		a.Label(last)
		a.MOVL(word, Mem{Base: words})
		a.ADDQ(U32(4), words)

		a.Label(next)
		a.DECQ(rows)
		a.JNZ(LabelRef(row))
		a.Store(nans, a.ReturnIndex(0))
		a.ret()
	})

	f.tiers("signDots", "is SignDots.", "func(s *float32, ld int, queries *uint32, keys *uint32, m int, n int, words int, dim float32)", func(a *asm) {
		s, ld, queries, keys, n := a.pointer("s"), a.pointer("ld"), a.pointer("queries"), a.pointer("keys"), a.pointer("n")
		a.SHLQ(U8(2), ld)
		plane := a.GP64() // from a word of all queries to the next
		a.MOVQ(n, plane)
		a.SHLQ(U8(2), plane)
		dimension, err := a.Param("dim").Resolve()
		if err != nil {
			panic(err)
		}
		dim, minusTwo := a.vec(), a.broadcastWord(0xc0000000)
		a.VBROADCASTSS(dimension.Addr, dim)
		var count func(x reg.VecVirtual)
		if a.wide {
			count = func(x reg.VecVirtual) { a.VPOPCNTD(x, x) }
		} else {
			count = a.popcounts()
		}
		columns := func(i reg.GPVirtual, load func(Mem, reg.VecVirtual), store func(reg.VecVirtual, Mem)) {
			from, key, to, left := a.GP64(), a.GP64(), a.GP64(), a.pointer("m")
			a.LEAQ(a.at(queries, i, 0), from)
			a.MOVQ(keys, key)
			a.LEAQ(a.at(s, i, 0), to)
			each, every := a.label("key"), a.label("word")
			a.Label(each)
			sum := a.vec()
			a.zero(sum)
			q, words := a.GP64(), a.pointer("words")
			a.MOVQ(from, q)
			a.Label(every)
			x, k := a.vec(), a.vec()
			load(Mem{Base: q}, x)
			a.VBROADCASTSS(Mem{Base: key}, k)
			if a.wide {
				a.VPXORD(k, x, x)
			} else {
				a.VPXOR(k, x, x)
			}
			count(x)
			a.VPADDD(x, sum, sum)
			a.ADDQ(U32(4), key)
			a.ADDQ(plane, q)
			a.DECQ(words)
			a.JNZ(LabelRef(every))
			a.VCVTDQ2PS(sum, sum)
			a.VFMADD213PS(dim, minusTwo, sum)
			store(sum, Mem{Base: to})
			a.ADDQ(ld, to)
			a.DECQ(left)
			a.JNZ(LabelRef(each))
		}
		a.eachVector(n, 1, func(i reg.GPVirtual, _ int) {
			columns(i, func(m Mem, v reg.VecVirtual) { a.VMOVUPS(m, v) }, func(v reg.VecVirtual, m Mem) { a.VMOVUPS(v, m) })
		}, func(i reg.GPVirtual, t tail) {
			columns(i, func(m Mem, v reg.VecVirtual) { a.loadTail(m, t, v) }, func(v reg.VecVirtual, m Mem) { a.storeTail(v, t, m) })
		})
		a.ret()
	})
}

// popcounts returns what counts the ones of each word of 32 bits with AVX2: of half
// bytes, by a table (Muła's), which two multiplications by 1 add up.
func (a *asm) popcounts() func(x reg.VecVirtual) {
	ofHalfBytes := a.data("popcounts", func() {
		for range 2 {
			for i := range 16 {
				a.AppendDatum(U8(i&1 + i>>1&1 + i>>2&1 + i>>3&1))
			}
		}
	})
	table, low := a.vec(), a.broadcastWord(0x0f0f0f0f)
	a.VMOVDQU(ofHalfBytes, table)
	bytes, halves := a.broadcastWord(0x01010101), a.broadcastWord(0x00010001)
	return func(x reg.VecVirtual) {
		high := a.vec()
		a.VPSRLD(U8(4), x, high)
		for _, v := range []reg.VecVirtual{x, high} {
			a.VPAND(low, v, v)
			a.VPSHUFB(v, table, v)
		}
		a.VPADDB(high, x, x)
		a.VPMADDUBSW(bytes, x, x)
		a.VPMADDWD(halves, x, x)
	}
}
