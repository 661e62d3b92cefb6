package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// panelColumns is how many columns a panel has.
const panelColumns = 16

// eachColumn loads what is accumulated for each column, takes in all rows, four
// vectors of columns at a time where there are as many, and stores it again. init
// loads and returns the accumulators of vectors from column i on, and done stores
// them; take takes in one vector of a row.
func (a *asm) eachColumn(x, stride, rows, cols reg.GPVirtual,
	init func(i reg.GPVirtual, vectors int) [][]reg.VecVirtual,
	take func(at Mem, sums []reg.VecVirtual),
	done func(i reg.GPVirtual, sums [][]reg.VecVirtual),
) {
	i, left := a.GP64(), a.GP64()
	a.XORQ(i, i)
	a.MOVQ(cols, left)
	a.SHLQ(U8(2), stride)
	for _, vectors := range []int{4, 1} {
		loop, end := a.label("columns"), a.label("end")
		a.Label(loop)
		a.CMPQ(left, U32(uint32(vectors*a.lanes)))
		a.JLT(LabelRef(end))
		sums := init(i, vectors)
		row := a.GP64()
		a.MOVQ(x, row)
		a.eachBlock(rows, 1, func(reg.GPVirtual) {
			for v := range vectors {
				take(a.at(row, i, v), sums[v])
			}
			a.ADDQ(stride, row)
		})
		done(i, sums)
		a.ADDQ(U32(uint32(vectors*a.lanes)), i)
		a.SUBQ(U32(uint32(vectors*a.lanes)), left)
		a.JMP(LabelRef(loop))
		a.Label(end)
	}
}

// wordColumns are the init and done of eachColumn for a word a column.
func (a *asm) wordColumns(base reg.GPVirtual) (func(reg.GPVirtual, int) [][]reg.VecVirtual, func(reg.GPVirtual, [][]reg.VecVirtual)) {
	return func(i reg.GPVirtual, vectors int) (sums [][]reg.VecVirtual) {
			for v := range vectors {
				sums = append(sums, a.vecs(1))
				a.VMOVUPS(a.at(base, i, v), sums[v][0])
			}
			return sums
		}, func(i reg.GPVirtual, sums [][]reg.VecVirtual) {
			for v, s := range sums {
				a.VMOVUPS(s[0], a.at(base, i, v))
			}
		}
}

func panels(f *file) {
	f.tiers("columnMaxima", "is ColumnMaxima, of a multiple of 16 columns.", "func(maxima *uint32, x *float32, stride, rows, cols int)", func(a *asm) {
		maxima, x, stride, rows, cols := a.pointer("maxima"), a.pointer("x"), a.pointer("stride"), a.pointer("rows"), a.pointer("cols")
		signless := a.constantWord(0x7fffffff)
		init, done := a.wordColumns(maxima)
		a.eachColumn(x, stride, rows, cols, init, func(at Mem, most []reg.VecVirtual) {
			v := a.vec()
			a.VMOVUPS(at, v)
			a.and(signless, v, v)
			a.VPMAXUD(v, most[0], most[0])
		}, done)
		a.ret()
	})

	f.tiers("columnMinima", "is ColumnMinima, of a multiple of 16 columns.", "func(minima, x *float32, stride, rows, cols int)", func(a *asm) {
		minima, x, stride, rows, cols := a.pointer("minima"), a.pointer("x"), a.pointer("stride"), a.pointer("rows"), a.pointer("cols")
		init, done := a.wordColumns(minima)
		a.eachColumn(x, stride, rows, cols, init, func(at Mem, least []reg.VecVirtual) {
			a.VMINPS(at, least[0], least[0])
		}, done)
		a.ret()
	})

	f.tiers("columnSums", "is ColumnSums, of a multiple of 16 columns.", "func(sums *float64, x *float32, stride, rows, cols int)", func(a *asm) {
		base, x, stride, rows, cols := a.pointer("sums"), a.pointer("x"), a.pointer("stride"), a.pointer("rows"), a.pointer("cols")
		signless := a.constantWord(0x7fffffff)
		at := func(i reg.GPVirtual, vector, half int) Mem {
			return Mem{Base: base, Index: i, Scale: 8, Disp: (2*vector + half) * a.bytes()}
		}
		a.eachColumn(x, stride, rows, cols, func(i reg.GPVirtual, vectors int) (sums [][]reg.VecVirtual) {
			for v := range vectors {
				sums = append(sums, a.vecs(2))
				for half, s := range sums[v] {
					a.VMOVUPD(at(i, v, half), s)
				}
			}
			return sums
		}, func(from Mem, sums []reg.VecVirtual) {
			v := a.vec()
			a.VMOVUPS(from, v)
			a.and(signless, v, v)
			for half, part := range a.asDoubles(v) {
				a.VADDPD(part, sums[half], sums[half])
			}
		}, func(i reg.GPVirtual, sums [][]reg.VecVirtual) {
			for v := range sums {
				for half, s := range sums[v] {
					a.VMOVUPD(s, at(i, v, half))
				}
			}
		})
		a.ret()
	})

	f.tiers("panel", "is Panel, of 16 columns.", "func(dst, x *float32, stride, rows int, keep uint32)", func(a *asm) {
		dst, x, stride, rows := a.pointer("dst"), a.pointer("x"), a.pointer("stride"), a.pointer("rows")
		keep := a.broadcastParam("keep")
		a.SHLQ(U8(2), stride)
		a.eachBlock(rows, 1, func(reg.GPVirtual) {
			for half := range panelColumns / a.lanes {
				v := a.vec()
				a.and(Mem{Base: x, Disp: half * a.bytes()}, keep, v)
				a.VMOVUPS(v, Mem{Base: dst, Disp: half * a.bytes()})
			}
			a.ADDQ(stride, x)
			a.ADDQ(U32(4*panelColumns), dst)
		})
		a.ret()
	})

	f.tiers("panelBelow", "is PanelBelow.", "func(counts, panel, bounds *uint32, rows int)", func(a *asm) {
		counts, x, bounds, rows := a.pointer("counts"), a.pointer("panel"), a.pointer("bounds"), a.pointer("rows")
		halves := panelColumns / a.lanes
		count, bound := a.vecs(halves), a.vecs(halves)
		for half := range halves {
			a.zero(count[half])
			a.VMOVUPS(Mem{Base: bounds, Disp: half * a.bytes()}, bound[half])
		}
		one := a.broadcastWord(1)
		a.eachBlock(rows, 1, func(reg.GPVirtual) {
			for half := range halves {
				at := Mem{Base: x, Disp: half * a.bytes()}
				if a.wide {
					is := a.K()
					a.VPCMPUD(U8(6), at, bound[half], is) // bound above
					a.VPADDD(one, count[half], is, count[half])
				} else {
					is := a.vec()
					a.VPCMPGTD(at, bound[half], is)
					a.VPSUBD(is, count[half], count[half])
				}
			}
			a.ADDQ(U32(4*panelColumns), x)
		})
		for half := range halves {
			a.VMOVUPS(count[half], Mem{Base: counts, Disp: half * a.bytes()})
		}
		a.ret()
	})

	f.tiers("panelNext", "is PanelNext.", "func(next, panel, bounds *uint32, rows int)", func(a *asm) {
		next, x, bounds, rows := a.pointer("next"), a.pointer("panel"), a.pointer("bounds"), a.pointer("rows")
		halves := panelColumns / a.lanes
		least, bound := a.vecs(halves), a.vecs(halves)
		for half := range halves {
			a.VPCMPEQD(least[half].AsY(), least[half].AsY(), least[half].AsY())
			if a.wide {
				a.VPTERNLOGD(U8(0xff), least[half], least[half], least[half])
			}
			a.VMOVUPS(Mem{Base: bounds, Disp: half * a.bytes()}, bound[half])
		}
		a.eachBlock(rows, 1, func(reg.GPVirtual) {
			for half := range halves {
				v := a.vec()
				a.VMOVUPS(Mem{Base: x, Disp: half * a.bytes()}, v)
				if a.wide {
					is := a.K()
					a.VPCMPUD(U8(6), bound[half], v, is) // above
					a.VPMINUD(v, least[half], is, least[half])
				} else {
					is, ones := a.vec(), a.vec()
					a.VPCMPGTD(bound[half], v, is)
					a.VPCMPEQD(ones, ones, ones)
					a.VPANDN(ones, is, is)
					a.VPOR(is, v, v)
					a.VPMINUD(v, least[half], least[half])
				}
			}
			a.ADDQ(U32(4*panelColumns), x)
		})
		for half := range halves {
			a.VMOVUPS(least[half], Mem{Base: next, Disp: half * a.bytes()})
		}
		a.ret()
	})

	f.tiers("panelShifts", "is the method Shift.", "func(low, high, steps, least *float32, most float32)", func(a *asm) {
		low, high, steps, least := a.pointer("low"), a.pointer("high"), a.pointer("steps"), a.pointer("least")
		most, zero := a.broadcastParam("most"), a.vec()
		a.zero(zero)
		for half := range panelColumns / a.lanes {
			vector := func(base reg.GPVirtual) Mem { return Mem{Base: base, Disp: half * a.bytes()} }
			v := a.vec()
			a.VMOVUPS(vector(least), v)
			a.VDIVPS(vector(steps), v, v)
			a.round(v)
			a.VMINPS(zero, v, v)
			a.VADDPS(most, v, v)
			a.VMAXPS(zero, v, v)
			a.VMOVUPS(v, vector(high))
			a.VSUBPS(most, v, v)
			a.VMOVUPS(v, vector(low))
		}
		a.ret()
	})

	f.tiers("panelErrors", "is PanelErrors, of at least 1 row.", "func(least *float64, panel, steps, low, high *float32, rows int, factor float32) uint32", func(a *asm) {
		leastAt, x, steps, lowAt, highAt := a.pointer("least"), a.pointer("panel"), a.pointer("steps"), a.pointer("low"), a.pointer("high")
		rows := a.pointer("rows")
		factor := a.broadcastParam("factor")
		improved := a.GP32()
		a.XORL(improved, improved)
		for half := range panelColumns / a.lanes {
			vector := func(base reg.GPVirtual) Mem { return Mem{Base: base, Disp: half * a.bytes()} }
			step, inverse, low, high := a.vec(), a.vec(), a.vec(), a.vec()
			a.VMULPS(vector(steps), factor, step)
			a.VMOVUPS(a.one(), inverse)
			a.VDIVPS(step, inverse, inverse)
			a.VMOVUPS(vector(lowAt), low)
			a.VMOVUPS(vector(highAt), high)
			sums := a.vecs(2)
			for _, s := range sums {
				a.zero(s)
			}
			least := func(i int) Mem { return Mem{Base: leastAt, Disp: (2*half + i) * a.bytes()} }
			at, left := a.GP64(), a.GP64()
			a.MOVQ(x, at)
			a.MOVQ(rows, left)
			row := func(r int, sum reg.VecVirtual) {
				v, n := a.vec(), a.vec()
				a.VMOVUPS(Mem{Base: at, Disp: half*a.bytes() + 4*panelColumns*r}, v)
				a.VMULPS(inverse, v, n)
				a.round(n)
				a.VMAXPS(low, n, n)
				a.VMINPS(high, n, n)
				a.VFNMADD231PS(step, n, v)
				a.VFMADD231PS(v, v, sum)
			}
			block, few, fold, done := a.label("block"), a.label("few"), a.label("fold"), a.label("done")
			a.Label(block)
			blockSums := a.vecs(4)
			for _, s := range blockSums {
				a.zero(s)
			}
			const deep = 16
			a.CMPQ(left, U32(deep))
			a.JLT(LabelRef(few))
			for r := range deep {
				row(r, blockSums[r%4])
			}
			a.ADDQ(U32(4*panelColumns*deep), at)
			a.SUBQ(U32(deep), left)
			a.JMP(LabelRef(fold))
			a.Label(few)
			row(0, blockSums[0])
			a.ADDQ(U32(4*panelColumns), at)
			a.DECQ(left)
			a.JNZ(LabelRef(few))
			a.Label(fold)
			a.VADDPS(blockSums[2], blockSums[0], blockSums[0])
			a.VADDPS(blockSums[3], blockSums[1], blockSums[1])
			a.VADDPS(blockSums[1], blockSums[0], blockSums[0])
			for i, part := range a.asDoubles(blockSums[0]) {
				a.VADDPD(part, sums[i], sums[i])
			}
			if a.wide {
				above := []reg.Register{a.K(), a.K()}
				for i, k := range above {
					a.VCMPPD(U8(30), least(i), sums[i], k)
				}
				a.KUNPCKBW(above[1], above[0], above[0])
				a.KORTESTW(above[0], above[0])
				a.JCS(LabelRef(done)) // all are above
			} else {
				above, all := a.vecs(2), a.GP32()
				for i, v := range above {
					a.VCMPPD(U8(30), least(i), sums[i], v)
				}
				a.VANDPD(above[1], above[0], above[0])
				a.VMOVMSKPD(above[0], all)
				a.CMPL(all, U32(15))
				a.JEQ(LabelRef(done))
			}
			a.TESTQ(left, left)
			a.JNZ(LabelRef(block))
			a.Label(done)
			for i, s := range sums {
				was, lanes := a.vec(), a.GP32()
				a.VMOVUPD(least(i), was)
				if a.wide {
					k := a.K()
					a.VCMPPD(U8(18), was, s, k) // not above
					a.KMOVB(k, lanes)
				} else {
					is := a.vec()
					a.VCMPPD(U8(18), was, s, is)
					a.VMOVMSKPD(is, lanes)
				}
				a.SHLL(U8((2*half+i)*a.lanes/2), lanes)
				a.ORL(lanes, improved)
				a.VMINPD(was, s, s)
				a.VMOVUPD(s, least(i))
			}
		}
		a.Store(improved, a.ReturnIndex(0))
		a.ret()
	})
}

// one is 1 in every lane.
func (a *asm) one() Mem {
	words := map[int]uint32{}
	for i := range a.lanes {
		words[i] = 0x3f800000
	}
	return a.perLane("one", words)
}

// round rounds half to even.
func (a *asm) round(v reg.VecVirtual) {
	if a.wide {
		a.VRNDSCALEPS(U8(8), v, v)
	} else {
		a.VROUNDPS(U8(8), v, v)
	}
}
