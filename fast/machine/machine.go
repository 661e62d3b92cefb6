package machine

import (
	"crypto/sha256"
	"time"

	"github.com/klauspost/cpuid/v2"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/spec"
)

// Measure returns the limits of one core in every tier that it has, the best first,
// each measured for about so long: 20 ms are enough. Nothing of package fast may run
// meanwhile: it changes the tier in force, and puts it back. Limits of the tier
// "neon" are not known.
func Measure(each time.Duration) []spec.Limits {
	levels := caches()
	hash := best(each, func() float64 { // processors have instructions for it in every tier
		sha256.Sum256(block[:])
		return float64(len(block)) / 64
	})
	var all []spec.Limits
	for _, tier := range kern.Tiers() {
		l := spec.Limits{Tier: string(tier), HashBlocks: hash}
		if tier != kern.NEON {
			restore := kern.Force(tier)
			l.MulAdds = best(each, func() float64 { return float64(kern.PeakMulAdds(1 << 13)) })
			l.Logic = best(each, func() float64 { return float64(kern.PeakAdds(1 << 13)) })
			l.Exps = best(each, exps)
			for _, level := range levels {
				l.Memory = append(l.Memory, level.measure(each))
			}
			restore()
		}
		all = append(all, l)
	}
	return all
}

var block [1 << 16]byte

var exponents, powers = func() (x, y [4096]float32) {
	for i := range x {
		x[i] = -float32(i%1024) / 64
	}
	return x, y
}()

func exps() float64 {
	kern.Exp(powers[:], exponents[:])
	return float64(len(powers))
}

// A level is a level of memory, and a buffer that fits there and in no level above.
type level struct {
	name   string
	size   int64
	buffer []uint32
}

// caches are this core's levels of memory. Sizes that the processor does not tell are
// those of common ones.
func caches() []level {
	known := func(size, usual int) int64 {
		if size <= 0 {
			size = usual
		}
		return int64(size)
	}
	l1 := known(cpuid.CPU.Cache.L1D, 32<<10)
	l2 := known(cpuid.CPU.Cache.L2, 1<<20)
	l3 := known(cpuid.CPU.Cache.L3, 16<<20)
	buffer := make([]uint32, max(2*l3, 32<<20)/4)
	kern.PeakWrite(buffer, 1, 1) // so that every page is there
	// A cache is not filled up: other things are in it too.
	return []level{
		{"L1", l1, buffer[:l1*3/4/4]},
		{"L2", l2, buffer[:l2/2/4]},
		{"L3", l3, buffer[:min(l3/2, 4*l2)/4]},
		{"DRAM", 0, buffer},
	}
}

func (l level) measure(each time.Duration) spec.Bandwidth {
	return spec.Bandwidth{
		Level: l.name, Size: l.size,
		Read:  l.stream(each, func(part []uint32, rounds int) { kern.PeakRead(part, rounds) }),
		Write: l.stream(each, func(part []uint32, rounds int) { kern.PeakWrite(part, rounds, 1) }),
	}
}

// stream goes through the buffer over and over, some parts of it in each run, or a
// small one several times.
func (l level) stream(each time.Duration, visit func(part []uint32, rounds int)) float64 {
	part := min(len(l.buffer), 1<<18)
	rounds := max(1, 1<<18/part) // at most 1 MiB a run
	at := 0
	for i := 0; i+part <= len(l.buffer); i += part { // warms it up
		visit(l.buffer[i:i+part], 1)
	}
	return best(each, func() float64 {
		if at+part > len(l.buffer) {
			at = 0
		}
		visit(l.buffer[at:at+part], rounds)
		at += part
		return float64(4 * part * rounds)
	})
}

// best runs work over and over, and returns the most that it did in a nanosecond.
func best(long time.Duration, work func() float64) float64 {
	rate := 0.0
	for began := time.Now(); ; {
		start := time.Now()
		done := work()
		rate = max(rate, done/float64(max(time.Since(start), 1)))
		if time.Since(began) >= long {
			return rate
		}
	}
}
