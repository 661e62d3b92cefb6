package main

import (
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func grid(f *file) {
	f.tiers("gridRange", "is GridRange.", "func(least, most, taken *float64, weights *float32, sums *float64, inverse float64, n int)", func(a *asm) {
		d := a.doubles("n")
		least, most, taken, weights, sums := a.pointer("least"), a.pointer("most"), a.pointer("taken"), a.pointer("weights"), a.pointer("sums")
		inverse, zero := a.double("inverse"), a.vec()
		a.zero(zero)
		d.each(func() {
			moved, v := a.vec(), a.vec()
			a.VMULPD(d.double(sums), inverse, moved)
			a.VCVTPS2PD(d.single(weights), v)
			a.VADDPD(moved, v, v)
			a.VSUBPD(moved, zero, moved)
			a.VMOVUPD(moved, d.double(taken))
			a.VMINPD(d.double(least), v, moved)
			a.VMOVUPD(moved, d.double(least))
			a.VMAXPD(d.double(most), v, moved)
			a.VMOVUPD(moved, d.double(most))
		})
		a.ret()
	})
	f.tiers("gridRound", "is GridRound.", "func(taken, losses *float64, values, codes, weights *float32, sums, scales, zeros *float64, lowest, highest, inverse, root float64, n int)", func(a *asm) {
		d := a.doubles("n")
		taken, losses, values, codes := a.pointer("taken"), a.pointer("losses"), a.pointer("values"), a.pointer("codes")
		weights, sums, scales, zeros := a.pointer("weights"), a.pointer("sums"), a.pointer("scales"), a.pointer("zeros")
		lowest, highest, inverse, root := a.double("lowest"), a.double("highest"), a.double("inverse"), a.double("root")
		d.each(func() {
			moved, w, c, scale, zero := a.vec(), a.vec(), a.vec(), a.vec(), a.vec()
			a.VMULPD(d.double(sums), inverse, moved)
			a.VCVTPS2PD(d.single(weights), w)
			a.VMOVUPD(d.double(scales), scale)
			a.VMOVUPD(d.double(zeros), zero)
			a.VADDPD(moved, w, c)
			a.VDIVPD(scale, c, c)
			a.roundDouble(c)
			a.VADDPD(zero, c, c)
			a.VMINPD(highest, c, c)
			a.VMAXPD(lowest, c, c)
			a.narrow(c, d.single(codes))
			a.VSUBPD(zero, c, c)
			a.VMULPD(scale, c, c)
			half := a.narrow(c, d.single(values))
			a.VCVTPS2PD(half, c)
			a.VSUBPD(c, w, w)
			a.VMOVUPD(w, d.double(taken))
			a.VADDPD(moved, w, w)
			a.VMULPD(root, w, w)
			a.VMOVUPD(d.double(losses), c)
			a.VFMADD231PD(w, w, c)
			a.VMOVUPD(c, d.double(losses))
		})
		a.ret()
	})
	// look raises most to |weight − taken|·gain.
	look := func(a *asm, weight, taken, gain Op, magnitude, most reg.VecVirtual) {
		w := a.vec()
		a.VCVTPS2PD(weight, w)
		a.VSUBPD(taken, w, w)
		a.VANDPD(magnitude, w, w)
		a.VMULPD(gain, w, w)
		a.VMAXPD(w, most, most)
	}
	begin := func(a *asm) (magnitude, most reg.VecVirtual) {
		magnitude, most = a.vec(), a.vec()
		a.VBROADCASTSD(a.data("magnitude", func() { a.AppendDatum(U64(1<<63 - 1)) }), magnitude)
		a.zero(most)
		return magnitude, most
	}
	answer := func(a *asm, most reg.VecVirtual) {
		a.Store(a.foldDouble(most, func(x, y, dst reg.VecVirtual) { a.VMAXPD(x, y, dst) }), a.ReturnIndex(0))
		a.ret()
	}
	f.tiers("amplitude", "is Amplitude.", "func(weights *float32, taken, gains *float64, n int) float64", func(a *asm) {
		d := a.doubles("n")
		weights, taken, gains := a.pointer("weights"), a.pointer("taken"), a.pointer("gains")
		magnitude, most := begin(a)
		d.each(func() {
			look(a, d.single(weights), d.double(taken), d.double(gains), magnitude, most)
		})
		answer(a, most)
	})
	f.tiers("amplitudeRound", "is AmplitudeRound.", "func(values *float32, taken *float64, weights, next *float32, gains, inverses, shares *float64, scale, inverse, highest float64, n int) float64", func(a *asm) {
		d := a.doubles("n")
		values, taken, weights, next := a.pointer("values"), a.pointer("taken"), a.pointer("weights"), a.pointer("next")
		gains, inverses, shares := a.pointer("gains"), a.pointer("inverses"), a.pointer("shares")
		scale, inverse, highest, lowest := a.double("scale"), a.double("inverse"), a.double("highest"), a.vec()
		a.zero(lowest)
		a.VSUBPD(highest, lowest, lowest)
		magnitude, most := begin(a)
		d.each(func() {
			w, c, gain, t := a.vec(), a.vec(), a.vec(), a.vec()
			a.VCVTPS2PD(d.single(weights), w)
			a.VMOVUPD(d.double(taken), t)
			a.VMOVUPD(d.double(gains), gain)
			a.VSUBPD(t, w, w)
			a.VMULPD(gain, w, c)
			a.VMULPD(inverse, c, c)
			a.roundDouble(c)
			a.VMINPD(highest, c, c)
			a.VMAXPD(lowest, c, c)
			a.VMULPD(scale, c, c)
			a.VMULPD(d.double(inverses), c, c)
			a.narrow(c, d.single(values))
			a.VSUBPD(c, w, w)
			a.VFMADD231PD(d.double(shares), w, t)
			a.VMOVUPD(t, d.double(taken))
			look(a, d.single(next), t, gain, magnitude, most)
		})
		answer(a, most)
	})
}
