// Package nm keeps the n largest magnitudes of every m numbers, of equal ones the
// first.
//
// The idea: nothing branches on a number. Magnitudes of floats are ordered as their
// bits are, and a number is kept where fewer than n of its group beat it. Package kern
// compares vectors of groups with themselves, rotated; groups too long for a vector
// are cut by selection.
package nm

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/topk"
)

// A Selector keeps n of every m. Its memory makes it unfit for concurrent use.
type Selector struct {
	n, m   int
	groups *kern.Groups // nil for 4, and for those that are too long
	values []float64    // of a group that is too long
	pruned []float32    // for a mask alone
}

// New returns a selector; 1 ≤ n < m.
func New(n, m int) *Selector {
	s := &Selector{n: n, m: m}
	if m != 4 && m <= kern.LongestGroup {
		s.groups = kern.NewGroups(m)
	}
	return s
}

// NS is about how long a number takes, in nanoseconds.
func NS(m int) float64 {
	if m <= kern.LongestGroup {
		return 0.1 + 0.02*float64(m)
	}
	return 10
}

// Prune copies the weights that are kept, bit by bit, writes +0 for the others, and
// says which are kept. The slices are of one length, whole groups, and dst is not
// weights. Where a weight is not finite the result is false, and the rest says nothing.
func (s *Selector) Prune(dst []float32, keep []bool, weights []float32) (finite bool) {
	const infinite = 0x7f800000 // and what is above is NaN
	switch {
	case s.m == 4:
		return kern.Prune4(dst, keep, weights, s.n) < infinite
	case s.groups != nil:
		return s.groups.Prune(dst, keep, weights, s.n) < infinite
	}
	dst = dst[:len(weights)]
	largest := int32(0)
	for start := 0; start < len(weights); start += s.m {
		s.maskBySelection(keep[start:start+s.m], weights[start:start+s.m])
	}
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
	if len(s.pruned) < len(weights) {
		s.pruned = make([]float32, len(weights))
	}
	s.Prune(s.pruned[:len(weights)], keep, weights)
}

func magnitude(x float32) int32 { return int32(math.Float32bits(x) & math.MaxInt32) }

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
