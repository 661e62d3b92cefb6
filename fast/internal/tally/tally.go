// Package tally counts ids in one pass.
//
// The idea: an open-addressing table whose entries carry a stamp. A new count
// raises the lowest stamp that is valid, which empties the table without touching
// it, so that counting 64 ids costs 64 ids, whatever was counted before; the
// stamp's distance from the lowest is the id's number, so that what else is known
// of an id fits an array instead of a second lookup.
package tally

import (
	"math/bits"
	"math/rand/v2"
	"slices"
)

// A Tally numbers the distinct ids it is given 0, 1, 2, … in order of first
// occurrence, and counts each. The zero value counts nothing until Reset.
type Tally struct {
	counts []int
	table  []entry // its length is a power of two, at most half of it in use
	lowest uint64  // the stamp of number 0; entries with a lower one are free
	factor uint64
	shift  int
}

type entry struct {
	id    int64
	stamp uint64
}

// Reset starts a new count, of at most n ids, n ≥ 1.
func (t *Tally) Reset(n int) {
	if t.factor == 0 {
		// Drawn, so that no trace can be built to collide; numbers and counts do
		// not depend on it.
		t.factor = rand.Uint64() | 1
	}
	t.lowest = max(t.lowest+uint64(len(t.counts)), 1) // a fresh entry's stamp is 0
	t.counts = slices.Grow(t.counts[:0], n)
	slots := 1 << bits.Len(uint(2*n-1))
	if cap(t.table) < slots {
		t.table = make([]entry, slots)
	}
	// A small count stays within a small part of a large table, and in the cache.
	t.table = t.table[:slots]
	t.shift = 64 - bits.TrailingZeros(uint(slots))
}

// Add counts an id and returns its number.
func (t *Tally) Add(id int64) int {
	e := t.seek(id)
	if e.stamp < t.lowest {
		*e = entry{id: id, stamp: t.lowest + uint64(len(t.counts))}
		t.counts = append(t.counts, 0)
	}
	number := int(e.stamp - t.lowest)
	t.counts[number]++
	return number
}

// AddAll is Add of each id in turn, and writes their numbers, where numbers is not
// nil: it is then as long as ids. What Add looks up anew for each id stays in
// registers here.
func (t *Tally) AddAll(numbers []int, ids []int64) {
	table, factor, shift, lowest := t.table, t.factor, t.shift&63, t.lowest
	counts := t.counts[:cap(t.counts)]
	next := len(t.counts)
	for i, id := range ids {
		home := uint64(id) * factor >> shift
		e := &table[home&uint64(len(table)-1)]
		for e.stamp >= lowest && e.id != id {
			home++
			e = &table[home&uint64(len(table)-1)]
		}
		number := int(e.stamp - lowest)
		if e.stamp < lowest {
			number = next
			e.id, e.stamp = id, lowest+uint64(next)
			counts[next] = 0
			next++
		}
		counts[number]++
		if numbers != nil {
			numbers[i] = number
		}
	}
	t.counts = counts[:next]
}

// Find returns an id's number, and whether it was added.
func (t *Tally) Find(id int64) (int, bool) {
	e := t.seek(id)
	return int(e.stamp - t.lowest), e.stamp >= t.lowest
}

// CountIn adds to the counts, by number, of ids that were added: those of them that ids
// has. It is Find of each id, with what that looks up in registers.
func (t *Tally) CountIn(counts []int, ids []int64) {
	table, factor, shift, lowest := t.table, t.factor, t.shift&63, t.lowest
	for _, id := range ids {
		home := uint64(id) * factor >> shift
		e := &table[home&uint64(len(table)-1)]
		for e.stamp >= lowest && e.id != id {
			home++
			e = &table[home&uint64(len(table)-1)]
		}
		if e.stamp >= lowest {
			counts[e.stamp-lowest]++
		}
	}
}

// Counts returns how often each number was added. It is valid until Reset.
func (t *Tally) Counts() []int { return t.counts }

// seek returns the entry of an id, or the free one where it belongs: multiply-
// shift hashing (Dietzfelbinger et al., 1997) and linear probing.
func (t *Tally) seek(id int64) *entry {
	for i := uint64(id) * t.factor >> t.shift; ; i++ {
		e := &t.table[i&uint64(len(t.table)-1)]
		if e.id == id || e.stamp < t.lowest {
			return e
		}
	}
}
