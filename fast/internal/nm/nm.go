// Package nm finds the n largest magnitudes of every m numbers, of equal ones the
// first.
//
// The idea: nothing branches on a number. Magnitudes of floats are ordered as their
// bits are, the sign of a difference of bits is a comparison, and a number is kept
// where fewer than n of its group beat it. That is m·(m−1)/2 differences a group,
// six for 2:4; groups too long for it are cut by selection.
package nm

import (
	"math"

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

// Mask marks the numbers kept. weights are finite and whole groups, and keep is as
// long.
func (s *Selector) Mask(keep []bool, weights []float32) {
	keep = keep[:len(weights)]
	switch {
	case s.m == 4:
		maskOf4(keep, weights, s.n)
	case s.m <= longest:
		for start := 0; start < len(weights); start += s.m {
			maskByPairs(keep[start:start+s.m], weights[start:start+s.m], s.n)
		}
	default:
		for start := 0; start < len(weights); start += s.m {
			s.maskBySelection(keep[start:start+s.m], weights[start:start+s.m])
		}
	}
}

func magnitude(x float32) int32 { return int32(math.Float32bits(x) & math.MaxInt32) }

// less is 1 where a < b, else 0, for magnitudes.
func less(a, b int32) int { return int(uint32(a-b) >> 31) }

func maskOf4(keep []bool, weights []float32, n int) {
	for ; len(weights) >= 4; weights, keep = weights[4:], keep[4:] {
		w, k := (*[4]float32)(weights), (*[4]bool)(keep)
		a, b, c, d := magnitude(w[0]), magnitude(w[1]), magnitude(w[2]), magnitude(w[3])
		ab, ac, ad := less(a, b), less(a, c), less(a, d)
		bc, bd, cd := less(b, c), less(b, d), less(c, d)
		// A number is beaten by the greater ones behind it, and by those before it that
		// are not less.
		k[0] = ab+ac+ad < n
		k[1] = 1-ab+bc+bd < n
		k[2] = 2-ac-bc+cd < n
		k[3] = 3-ad-bd-cd < n
	}
}

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

// Select copies the weights that are kept and writes +0 for the others, bit by bit.
// The slices are of one length.
func Select(dst, weights []float32, keep []bool) {
	dst, keep = dst[:len(weights)], keep[:len(weights)]
	for i, w := range weights {
		kept := uint32(0)
		if keep[i] {
			kept = 1
		}
		dst[i] = math.Float32frombits(math.Float32bits(w) & -kept)
	}
}
