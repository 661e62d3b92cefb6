// Package radix finds where the smallest magnitudes end, without sorting.
//
// The idea: the bits of a non-negative float are ordered as its value is, so the
// k-th smallest magnitude is found digit by digit, exponent first. Each digit costs
// a count of the candidates that are left by that digit; those in the digit that
// the k-th falls in are the next candidates. The work is linear whatever the
// weights, and the first count shows besides whether all are finite.
package radix

import "math"

// A Selector selects. It keeps its scratch memory from call to call.
type Selector struct {
	keys []uint32
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
	mantissaBits = 23
	digitBits    = 8 // of the exponent, and of the mantissa's digits, the last of 7
	digits       = 1 << digitBits
	infinite     = digits - 1 // the exponent of infinities and NaNs
	signless     = 1<<31 - 1
)

// Magnitude returns the bits of |x|, which are ordered as magnitudes are.
func Magnitude(x float32) uint32 { return math.Float32bits(x) & signless }

// Smallest returns where the k smallest magnitudes of x end, and whether all are
// finite; where they are not, there is no Cut. 0 ≤ k ≤ len(x).
func (s *Selector) Smallest(x []float32, k int) (cut Cut, finite bool) {
	var counts [digits]int
	for _, v := range x {
		counts[Magnitude(v)>>mantissaBits]++
	}
	if counts[infinite] > 0 {
		return Cut{}, false
	}
	if k == 0 {
		return Cut{}, true
	}
	digit, below := find(&counts, k)
	s.keys = s.keys[:0]
	if cap(s.keys) < counts[digit] {
		s.keys = make([]uint32, 0, len(x))
	}
	s.keys = s.keys[:counts[digit]]
	n := 0
	for _, v := range x {
		if bits := Magnitude(v); bits>>mantissaBits == digit {
			s.keys[n] = bits
			n++
		}
	}
	cut = Cut{Below: below, Equal: n}
	for shift := mantissaBits - digitBits; ; shift = max(shift-digitBits, 0) {
		s.narrow(&cut, shift, k)
		if shift == 0 {
			cut.Bits = s.keys[0]
			return cut, true
		}
	}
}

// narrow keeps of the candidates those that have the digit at a shift that the k-th
// smallest has. All of them agree above it.
func (s *Selector) narrow(cut *Cut, shift, k int) {
	var counts [digits]int
	for _, key := range s.keys {
		counts[key>>shift&(digits-1)]++
	}
	digit, below := find(&counts, k-cut.Below)
	n := 0
	for _, key := range s.keys {
		if key>>shift&(digits-1) == digit {
			s.keys[n] = key
			n++
		}
	}
	s.keys = s.keys[:n]
	cut.Below += below
	cut.Equal = n
}

// find returns the digit that the k-th smallest has, by how often each digit
// comes, and how many are below it.
func find(counts *[digits]int, k int) (digit uint32, below int) {
	for below+counts[digit] < k {
		below += counts[digit]
		digit++
	}
	return digit, below
}
