// Package nm keeps the n largest magnitudes of every m numbers, of equal ones the
// first.
//
// The idea: nothing branches on a number. Magnitudes of floats are ordered as their
// bits are, the sign of a difference of bits is a comparison, and a number is kept
// where fewer than n of its group beat it. That is m·(m−1)/2 differences a group,
// which package kern has for vectors of fours; groups too long for it are cut by
// selection.
package nm

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/topk"
)

// longest is the length of a group up to which every pair is compared.
const longest = 16

// A Selector keeps n of every m. Its memory makes it unfit for concurrent use.
type Selector struct {
	n, m   int
	values []float64 // of a group longer than longest
}

// New returns a selector; 1 ≤ n < m.
func New(n, m int) *Selector { return &Selector{n: n, m: m} }

// NS is about how long a number takes, in nanoseconds.
func NS(m int) float64 {
	switch {
	case m == 4:
		return 0.13
	case m <= longest:
		return 0.5 * float64(m)
	}
	return 10
}

// Prune copies the weights that are kept, bit by bit, writes +0 for the others, and
// says which are kept. The slices are of one length, whole groups. Where a weight is
// not finite the result is false, and says nothing else.
func (s *Selector) Prune(dst []float32, keep []bool, weights []float32) (finite bool) {
	const infinite = 0x7f800000
	if s.m == 4 {
		return kern.Prune4(dst, keep, weights, s.n) < infinite
	}
	s.Mask(keep, weights)
	dst = dst[:len(weights)]
	largest := int32(0)
	for i, w := range weights {
		largest = max(largest, magnitude(w))
		kept := uint32(0)
		if keep[i] {
			kept = 1
		}
		dst[i] = math.Float32frombits(math.Float32bits(w) & -kept)
	}
	return largest < infinite
}

// Mask marks the numbers kept. The slices are of one length, whole groups.
func (s *Selector) Mask(keep []bool, weights []float32) {
	keep = keep[:len(weights)]
	if s.m <= longest {
		for start := 0; start < len(weights); start += s.m {
			maskByPairs(keep[start:start+s.m], weights[start:start+s.m], s.n)
		}
		return
	}
	for start := 0; start < len(weights); start += s.m {
		s.maskBySelection(keep[start:start+s.m], weights[start:start+s.m])
	}
}

func magnitude(x float32) int32 { return int32(math.Float32bits(x) & math.MaxInt32) }

// less is 1 where a < b, else 0, for magnitudes.
func less(a, b int32) int { return int(uint32(a-b) >> 31) }

func maskByPairs(keep []bool, group []float32, n int) {
	var beaten [longest]int
	for i := 1; i < len(group); i++ {
		later := magnitude(group[i])
		for j, w := range group[:i] {
			l := less(magnitude(w), later)
			beaten[j] += l
			beaten[i] += 1 - l
		}
	}
	for i := range group {
		keep[i] = beaten[i] < n
	}
}

func (s *Selector) maskBySelection(keep []bool, group []float32) {
	s.values = s.values[:0]
	for _, w := range group {
		s.values = append(s.values, float64(magnitude(w)))
	}
	cut, ties := topk.Cut(s.values, s.n)
	least := int32(cut)
	for i, w := range group {
		m := magnitude(w)
		keep[i] = m > least || m == least && ties > 0
		if m == least {
			ties--
		}
	}
}
