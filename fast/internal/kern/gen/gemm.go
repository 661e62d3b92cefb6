package main

import (
	"fmt"
	"strings"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gemm keeps a tile of the product in registers, rows × vectors: of each column of
// a and row of b, the row is loaded once for all rows of the tile, and an element of
// the column once for all vectors. With 6 × 4 vectors of AVX-512 or 6 × 2 of AVX2
// there is less than half a load to a multiplication. A single vector goes by 8 rows.
func gemm(f *file) { gemmOf(f, "gemm", "Gemm", "float32", 2) }

// gemmDouble is gemm with elements of twice the size, and so tiles of half the width.
func gemmDouble(f *file) { gemmOf(f, "gemmDouble", "GemmDouble", "float64", 3) }

// gemmOf describes it for elements of 1<<size bytes.
func gemmOf(f *file, name, exported, element string, size int) {
	signature := strings.ReplaceAll("func(c *E, ldc int, from *E, ldf int, factor *E, step int, a *E, rs int, cs int, b *E, ldb int, m int, n int, k int)", "E", element)
	f.tiers(name, fmt.Sprintf("is %s for at most a panel of columns.", exported), signature, func(a *asm) {
		g := gemmTiles{asm: a, size: size}
		g.a, g.c, g.from, g.factor, g.left = a.pointer("a"), a.pointer("c"), a.pointer("from"), a.pointer("factor"), a.pointer("m")
		g.rs, g.cs, g.ldb, g.ldc = a.pointer("rs"), a.pointer("cs"), a.pointer("ldb"), a.pointer("ldc")
		for _, stride := range []reg.GPVirtual{g.rs, g.cs, g.ldb, g.ldc} {
			a.SHLQ(U8(uint8(size)), stride)
		}
		most := 4
		if !a.wide {
			most = 2
		}
		for i := range g.sums {
			g.sums[i] = a.vecs(most)
		}
		g.row, g.element = a.vecs(most), a.vec()
		n := a.pointer("n")
		if size == 3 {
			a.words(n)
		}
		for vectors := 1; vectors <= most; vectors++ {
			next := a.label("wider")
			if vectors < most {
				a.CMPQ(n, U32(uint32(vectors*a.lanes)))
				a.JGT(LabelRef(next))
			}
			if !a.wide { // whose masked stores are slow
				part := a.label("part")
				a.CMPQ(n, U32(uint32(vectors*a.lanes)))
				a.JNE(LabelRef(part))
				g.panel(vectors, nil)
				a.Label(part)
			}
			last := a.GP64()
			a.MOVQ(n, last)
			if vectors > 1 {
				a.SUBQ(U32(uint32((vectors-1)*a.lanes)), last)
			}
			t := a.tail(last)
			g.panel(vectors, &t)
			if vectors < most {
				a.Label(next)
			}
		}
	})
}

type gemmTiles struct {
	*asm
	size                     int           // of an element: 1<<size bytes
	a, c, from, factor, left reg.GPVirtual // of the tile; rows left
	rs, cs, ldb, ldc         reg.GPVirtual // in bytes
	sums                     [8][]reg.VecVirtual
	row                      []reg.VecVirtual // of b
	element                  reg.VecVirtual   // of a, in every lane
}

// panel does all rows of so many vectors, the last of them masked by t, and returns.
func (g gemmTiles) panel(vectors int, t *tail) {
	tiles := []int{6, 4, 2, 1}
	if vectors == 1 { // so many sums must be under way for additions not to wait for each other
		tiles[0] = 8
	}
	for _, rows := range tiles {
		again, done := g.label("rows"), g.label("fewer")
		g.Label(again)
		g.CMPQ(g.left, U32(uint32(rows)))
		g.JLT(LabelRef(done))
		g.tile(rows, vectors, t)
		g.SUBQ(U32(uint32(rows)), g.left)
		if rows == tiles[0] {
			g.JMP(LabelRef(again))
		}
		g.Label(done)
	}
	g.ret()
}

// tile does so many rows of so many vectors, and moves on to the next rows.
func (g gemmTiles) tile(rows, vectors int, t *tail) {
	k, b := g.pointer("k"), g.pointer("b")
	sums, row := g.sums[:rows], g.row[:vectors]
	for i := range sums {
		for v := range row {
			g.zero(sums[i][v])
		}
	}
	// Rows 0, 1, 2 are at the first + (0, 1, 2)·rs, and so is every next three.
	threes := []reg.GPVirtual{g.GP64()}
	g.MOVQ(g.a, threes[0])
	for len(threes)*3 < rows {
		last, next := threes[len(threes)-1], g.GP64()
		g.LEAQ(Mem{Base: last, Index: g.rs, Scale: 2}, next)
		g.ADDQ(g.rs, next)
		threes = append(threes, next)
	}
	loop, end := g.label("k"), g.label("sums")
	g.TESTQ(k, k)
	g.JZ(LabelRef(end))
	g.Label(loop)
	for v := range row {
		g.loadLane(Mem{Base: b, Disp: v * g.bytes()}, v == vectors-1, t, row[v])
	}
	for i := range rows {
		at := Mem{Base: threes[i/3]}
		if i%3 > 0 {
			at.Index, at.Scale = g.rs, uint8(i%3)
		}
		if g.wide && vectors == 1 {
			if g.size == 3 {
				g.VFMADD231PD_BCST(at, row[0], sums[i][0])
			} else {
				g.VFMADD231PS_BCST(at, row[0], sums[i][0])
			}
			continue
		}
		g.everywhere(at, g.element)
		for v := range row {
			g.addProduct(row[v], g.element, sums[i][v])
		}
	}
	for _, p := range threes {
		g.ADDQ(g.cs, p)
	}
	g.ADDQ(g.ldb, b)
	g.DECQ(k)
	g.JNZ(LabelRef(loop))
	g.Label(end)

	store := g.label("store")
	g.TESTQ(g.from, g.from)
	g.JZ(LabelRef(store))
	ldf, next := g.pointer("ldf"), g.pointer("step")
	g.SHLQ(U8(uint8(g.size)), ldf)
	g.SHLQ(U8(uint8(g.size)), next)
	factor := row[0] // b is done with
	for i := range rows {
		g.everywhere(Mem{Base: g.factor}, factor)
		for v := range vectors {
			g.loadLane(Mem{Base: g.from, Disp: v * g.bytes()}, v == vectors-1, t, g.element)
			g.addProduct(factor, g.element, sums[i][v])
		}
		g.ADDQ(ldf, g.from)
		g.ADDQ(next, g.factor)
	}
	g.Label(store)
	for i := range rows {
		for v := range vectors {
			at := Mem{Base: g.c, Disp: v * g.bytes()}
			if t != nil && v == vectors-1 {
				g.storeTail(sums[i][v], *t, at)
			} else {
				g.VMOVUPS(sums[i][v], at)
			}
		}
		g.ADDQ(g.ldc, g.c)
	}
	step := g.GP64()
	g.IMUL3Q(U32(uint32(rows)), g.rs, step)
	g.ADDQ(step, g.a)
}

// everywhere loads an element into every lane.
func (g gemmTiles) everywhere(m Mem, v reg.VecVirtual) {
	if g.size == 3 {
		g.VBROADCASTSD(m, v)
	} else {
		g.VBROADCASTSS(m, v)
	}
}

// addProduct adds x·y to sum.
func (g gemmTiles) addProduct(x, y, sum reg.VecVirtual) {
	if g.size == 3 {
		g.VFMADD231PD(x, y, sum)
	} else {
		g.VFMADD231PS(x, y, sum)
	}
}

func (g gemmTiles) loadLane(m Mem, last bool, t *tail, v reg.VecVirtual) {
	if last && t != nil {
		g.loadTail(m, *t, v)
	} else {
		g.VMOVUPS(m, v)
	}
}
