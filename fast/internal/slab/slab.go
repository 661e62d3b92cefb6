// Package slab stores records of equal length by number.
//
// The idea: chunks that double, 1, 2, 4, … records, each allocated when the first
// of its records is asked for. So memory follows what is stored (at most twice as
// much) however many records there may become, nothing ever moves, and a record's
// chunk is the bit length of its number.
package slab

import "math/bits"

// A Slab holds records of float32s. New makes one.
type Slab struct {
	length, limit int
	chunks        [][]float32 // chunk k holds records 2ᵏ−1 … 2ᵏ⁺¹−2
}

// New returns an empty slab of at most limit records of length elements.
func New(length, limit int) *Slab { return &Slab{length: length, limit: limit} }

// Record returns record i < limit, zero unless it was written. Records must be
// asked for in order the first time.
func (s *Slab) Record(i int) []float32 {
	k := bits.Len(uint(i+1)) - 1
	if k == len(s.chunks) {
		records := min(1<<k, s.limit-(1<<k-1))
		s.chunks = append(s.chunks, make([]float32, records*s.length))
	}
	lo := (i + 1 - 1<<k) * s.length
	return s.chunks[k][lo : lo+s.length : lo+s.length]
}
