// Package radix finds where the smallest magnitudes end, without sorting.
//
// The idea: the bits of a non-negative float are ordered as its value is, so the
// k-th smallest magnitude is found bit by bit, each for one count of those below,
// and every few bits those that are still in question are taken out of the others.
// Counting and taking out are what vectors do well. Most of the work is the first
// bits, which a sample saves: of it, two magnitudes are found that the sought one is
// almost surely between, and one pass over all, which shows besides whether they are
// finite, takes out those, some tenth. Where the sample misleads, all are in question.
package radix

import (
	"math"
	"math/bits"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/parallel"
)

// A Selector selects. It keeps its scratch memory from call to call: usually an
// eighth of what it selects from, and at most 4 bytes a number and part of a
// parallel pass.
type Selector struct {
	parts []part
	pass  pass

	sample, copied [samples + kern.Slack]float32
}

// A Cut says where the k smallest magnitudes end. It is the zero Cut for k = 0.
type Cut struct {
	// Bits are those of the k-th smallest magnitude.
	Bits uint32
	// Below is how many magnitudes are smaller, and Equal how many are that one:
	// Below < k ≤ Below + Equal.
	Below, Equal int
}

const (
	signless = math.MaxInt32
	infinite = 0xff << 23 // the bits of +Inf; those of NaN are above
	samples  = 1024
)

// CountBelow returns how many magnitudes of x are below a limit, given by its bits.
func CountBelow(x []float32, limit uint32) (below int) {
	const block = 1 << 16
	for ; len(x) > block; x = x[block:] {
		below += kern.CountBelow(x[:block], limit)
	}
	return below + kern.CountBelow(x, limit)
}

// Magnitude returns the bits of |x|, which are ordered as magnitudes are.
func Magnitude(x float32) uint32 { return math.Float32bits(x) & signless }

// Largest returns the bits of the greatest magnitude of x, 0 of none, above those of
// +Inf where there is a NaN.
func (s *Selector) Largest(x []float32) uint32 {
	_, _, largest := s.within(x, bracket{signless, signless})
	return largest
}

// Smallest returns where the k smallest magnitudes of x end, and whether all are
// finite; where they are not, there is no Cut. 0 ≤ k ≤ len(x).
func (s *Selector) Smallest(x []float32, k int) (cut Cut, finite bool) {
	b := bracket{0, signless}
	if k == 0 {
		b.low = signless // nothing is sought: no number is taken out
	} else if len(x) > 4*samples {
		b = s.around(x, k)
	}
	keys, below, largest := s.within(x, b)
	if largest >= infinite {
		return Cut{}, false
	}
	if k == 0 {
		return Cut{}, true
	}
	if k <= below || k > below+len(keys) { // the sample misled
		b = bracket{0, signless}
		keys, below, _ = s.within(x, b)
	}
	cut = b.kth(keys, k-below)
	cut.Below += below
	return cut, true
}

// A bracket is a range of magnitudes, by their bits, both ends included.
type bracket struct{ low, high uint32 }

// kth returns where the k smallest end of magnitudes that all lie in the bracket. It
// uses them up, and room for kern.Slack more behind them.
func (b bracket) kth(x []float32, k int) (cut Cut) {
	unknown := bits.Len32(b.low ^ b.high)
	found := b.low >> unknown << unknown
	for unknown > 0 {
		// Three counts cost as much as taking an eighth out.
		for range min(3, unknown) {
			unknown--
			if bit := uint32(1) << unknown; CountBelow(x, found|bit) < k {
				found |= bit
			}
		}
		var below int
		x, below = bracket{found, found | (1<<unknown - 1)}.among(x)
		cut.Below += below
		k -= below
	}
	cut.Bits, cut.Equal = found, len(x)
	return cut
}

// among moves the magnitudes in the bracket to the front of x, and returns them and how
// many were below.
func (b bracket) among(x []float32) (in []float32, below int) {
	const block = 1 << 16 // whole vectors, so that nothing is written before it is read
	n := 0
	for from := 0; from < len(x); from += block {
		to := min(from+block, len(x))
		less, within, _ := kern.Bracket(x[n:n+to-from+kern.Slack], x[from:to], b.low, b.high)
		below += less
		n += within
	}
	return x[:n], below
}

// around returns a bracket that the k-th smallest magnitude is almost surely in: as
// many ranks to both sides as a sample's is off by chance, 3.5 standard deviations.
func (s *Selector) around(x []float32, k int) bracket {
	for i := range samples {
		s.sample[i] = x[i*len(x)/samples]
	}
	share := float64(k) / float64(len(x))
	rank, margin := share*samples, 2+3.5*math.Sqrt(samples*share*(1-share))
	b := bracket{0, signless}
	if r := int(rank - margin); r >= 1 {
		b.low = s.ranked(r)
	}
	if r := int(math.Ceil(rank + margin)); r <= samples {
		b.high = s.ranked(r)
	}
	return b
}

// ranked returns the k-th smallest magnitude of the sample.
func (s *Selector) ranked(k int) uint32 {
	s.copied = s.sample
	return bracket{0, signless}.kth(s.copied[:samples], k).Bits
}

// A pass takes the magnitudes in a bracket out of x.
type pass struct {
	*Selector
	x []float32
	bracket
}

// A part is what one goroutine of a pass has found.
type part struct {
	keys    []float32
	below   int
	largest uint32
	_       [64]byte // no two in one cache line
}

// block is how many numbers are passed at once: scratch memory grows with what is
// found.
const block = 4096

// passNS is the time of a number in a pass, in nanoseconds.
const passNS = 0.12

// within returns the magnitudes in a bracket, with room for kern.Slack more, how
// many are below it, and the greatest of all.
func (s *Selector) within(x []float32, b bracket) (keys []float32, below int, largest uint32) {
	parts := parallel.Parts(len(x), passNS)
	for len(s.parts) < parts {
		s.parts = append(s.parts, part{})
	}
	s.pass = pass{s, x, b}
	parallel.Run(&s.pass, len(x), passNS)
	s.pass.x = nil
	for i := range s.parts[:parts] {
		p := &s.parts[i]
		below += p.below
		largest = max(largest, p.largest)
		if i > 0 {
			s.parts[0].keys = append(s.parts[0].keys, p.keys...)
		}
	}
	return room(s.parts[0].keys, kern.Slack), below, largest
}

func (p *pass) Part(number, lo, hi int) {
	out := &p.parts[number]
	out.keys, out.below, out.largest = out.keys[:0], 0, 0
	for ; lo < hi; lo += block {
		x := p.x[lo:min(lo+block, hi)]
		out.keys = room(out.keys, len(x)+kern.Slack)
		n := len(out.keys)
		below, within, largest := kern.Bracket(out.keys[n:n+len(x)+kern.Slack], x, p.low, p.high)
		out.keys = out.keys[:n+within]
		out.below += below
		out.largest = max(out.largest, largest)
	}
}

// room returns keys with capacity for so many more.
func room(keys []float32, more int) []float32 {
	if cap(keys)-len(keys) < more {
		keys = append(make([]float32, 0, 2*(len(keys)+more)), keys...)
	}
	return keys
}
