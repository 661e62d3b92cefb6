package main

import (
	"math"

	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func entropy(f *file) {
	f.tiers("negEntropies", "is NegEntropies.", "func(entropies, totals, x *float32, rows, cols int, eps float32) float32", func(a *asm) {
		entropies, totals, x := a.pointer("entropies"), a.pointer("totals"), a.pointer("x")
		rows, cols := a.pointer("rows"), a.pointer("cols")
		eps, least := a.vec(), a.vec()
		a.broadcastArgument("eps", eps)
		a.zero(least)
		c := a.tableLogConstants()
		const unrolled = 2
		entropy, total := a.vecs(unrolled), a.vecs(unrolled)
		v := a.vec()
		add := func(lane int) {
			y := a.vec()
			a.VADDPS(eps, v, y)
			a.VFMADD231PS(a.tableLog(y, c), v, entropy[lane])
			a.VADDPS(v, total[lane], total[lane])
			a.VMINPS(v, least, least)
		}
		loop, end := a.label("row"), a.label("return")
		a.Label(loop)
		a.TESTQ(rows, rows)
		a.JZ(LabelRef(end))
		for lane := range unrolled {
			a.zero(entropy[lane])
			a.zero(total[lane])
		}
		a.eachVector(cols, unrolled, func(i reg.GPVirtual, lane int) {
			a.VMOVUPS(a.at(x, i, lane), v)
			add(lane)
		}, func(i reg.GPVirtual, t tail) {
			a.loadTail(a.at(x, i, 0), t, v) // 0 adds 0·log ε
			add(0)
		})
		for _, sums := range [][]reg.VecVirtual{entropy, total} {
			a.VADDPS(sums[1], sums[0], sums[0])
		}
		a.VMOVSS(a.sum(entropy[0]), Mem{Base: entropies})
		a.VMOVSS(a.sum(total[0]), Mem{Base: totals})
		a.ADDQ(U8(4), entropies)
		a.ADDQ(U8(4), totals)
		a.LEAQ(Mem{Base: x, Index: cols, Scale: 4}, x)
		a.DECQ(rows)
		a.JMP(LabelRef(loop))
		a.Label(end)
		a.Store(a.fold(least, func(x, y, dst reg.VecVirtual) { a.VMINPS(x, y, dst) }), a.ReturnIndex(0))
		a.ret()
	})
}

// tableLogConstants are what tableLog computes with: tables of as many entries as a
// vector has lanes, so that one permutation looks all lanes up.
type tableLogConstants struct {
	inverses, logs reg.VecVirtual // by a mantissa's highest bits: c near 1/m, and −log c
	one, ln2       Op
	series         []Op // of (log(1+r) − r)/r², from the highest power down, and then 1
	mantissa       Op   // AVX2's only
}

func (a *asm) tableLogConstants() tableLogConstants {
	c := tableLogConstants{inverses: a.vec(), logs: a.vec(), one: a.constant(1), ln2: a.constant(math.Ln2)}
	// Minimax for log(1+r) on ±1/33, absolute: 4·10⁻⁸; on ±1/17: 2·10⁻⁸.
	series := []float32{0x1.558572p-2, -0x1.0018dcp-1}
	if !a.wide {
		series = []float32{-0x1.00e6cp-2, 0x1.55f35cp-2, -0x1.ffffbap-2}
		c.mantissa = a.constantWord(1<<23 - 1)
	}
	for _, v := range append(series, 1) {
		c.series = append(c.series, a.constant(v))
	}
	// The middle of the interval that entry i is for.
	inverse := func(i int) float32 { return float32(1 / (1 + (float64(i)+0.5)/float64(a.lanes))) }
	a.VMOVUPS(a.table("inverses", func(i int) float32 { return inverse(i) }), c.inverses)
	a.VMOVUPS(a.table("logs", func(i int) float32 { return float32(-math.Log(float64(inverse(i)))) }), c.logs)
	return c
}

// table is a vector of read-only data, entry by entry.
func (a *asm) table(name string, entry func(i int) float32) Mem {
	if a.wide {
		name += "Wide"
	}
	return a.data(name, func() {
		for i := range a.lanes {
			a.AppendDatum(U32(math.Float32bits(entry(i))))
		}
	})
}

// tableLog returns the logarithm of every lane of x, normal numbers above 0, off by
// less than 10⁻⁷ and 2⁻²⁴ of itself. Of anything else it returns anything.
//
// The mantissa's highest bits choose a c, for which m·c = 1 + r with r so near 0 that
// a short polynomial is enough: log x = e·ln 2 − log c + log(1 + r).
func (a *asm) tableLog(x reg.VecVirtual, c tableLogConstants) reg.VecVirtual {
	e, m, i, r := a.vec(), a.vec(), a.vec(), a.vec()
	if a.wide {
		a.VGETEXPPS(x, e)
		a.VGETMANTPS(U8(0), x, m)
		a.VPSRLD(U8(23-4), x, i)
	} else {
		a.VPSUBD(c.one, x, e)
		a.VPSRAD(U8(23), e, e)
		a.VCVTDQ2PS(e, e)
		a.VANDPS(c.mantissa, x, m)
		a.VORPS(c.one, m, m)
		a.VPSRLD(U8(23-3), x, i)
	}
	a.VPERMPS(c.inverses, i, r)
	a.VFMSUB213PS(c.one, m, r)
	log, p := a.vec(), a.vec()
	a.VPERMPS(c.logs, i, log)
	a.VFMADD231PS(c.ln2, e, log)
	a.load(c.series[0], p)
	for _, s := range c.series[1:] {
		a.VFMADD213PS(s, r, p)
	}
	a.VFMADD231PS(p, r, log)
	return log
}
