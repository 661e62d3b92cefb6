// Package lru keeps slots in the order of their last use, the order cut into
// tiers.
//
// The idea: tiers that hand their least recent slot down are one LRU stack with
// marks in it (Mattson et al. 1970). So there is one doubly linked list, a ring
// over array indices, and for each tier the index of its last slot. A use moves
// one slot to the top and each mark above it one place up: a handful of stores,
// whatever the capacities, and nothing to allocate.
package lru

// A Stack is an LRU stack of slots 0…Len()−1. New makes one.
type Stack struct {
	nodes []node // by slot
	top   int32  // the slot used last; the one before it in the ring was used first
	tiers []tier
}

type node struct {
	newer, older int32 // neighbours in the ring
	tier         int32
}

type tier struct {
	last     int32 // its least recent slot, where it has one
	length   int
	capacity int
}

// New returns an empty stack of tiers with these capacities, each at least 1.
func New(capacities ...int) *Stack {
	s := &Stack{tiers: make([]tier, len(capacities))}
	for i, c := range capacities {
		s.tiers[i].capacity = c
	}
	return s
}

// Len returns the number of slots.
func (s *Stack) Len() int { return len(s.nodes) }

// TierLen returns the number of slots in a tier.
func (s *Stack) TierLen(i int) int { return s.tiers[i].length }

// Last returns the slot used longest ago. The stack must not be empty.
func (s *Stack) Last() int32 { return s.nodes[s.top].newer }

// Push puts a new slot, number Len(), on top. It returns the tier that grew by it,
// which is how many slots moved down a tier. The last tier must not be full.
func (s *Stack) Push() (grown int) {
	slot := int32(len(s.nodes))
	s.nodes = append(s.nodes, node{newer: slot, older: slot})
	if slot > 0 {
		s.linkOnTop(slot)
	}
	s.top = slot

	for s.tiers[grown].length == s.tiers[grown].capacity {
		grown++
	}
	t := &s.tiers[grown]
	if t.length == 0 {
		t.last = s.Last()
	}
	t.length++
	s.moveDown(grown)
	return grown
}

// Use moves a slot to the top. It returns the tier that the slot was in, which is
// how many other slots moved down a tier.
func (s *Stack) Use(slot int32) (was int) {
	if slot == s.top {
		return 0
	}
	n := &s.nodes[slot]
	was = int(n.tier)
	if s.tiers[was].last == slot {
		s.tiers[was].last = n.newer // in the tier above, it is about to come down
	}
	if slot != s.Last() {
		s.nodes[n.newer].older, s.nodes[n.older].newer = n.older, n.newer
		s.linkOnTop(slot)
	}
	s.top = slot
	n.tier = 0
	s.moveDown(was)
	return was
}

// linkOnTop puts a slot into the ring between the last and the top one.
func (s *Stack) linkOnTop(slot int32) {
	last := s.Last()
	s.nodes[slot].newer, s.nodes[slot].older = last, s.top
	s.nodes[last].older, s.nodes[s.top].newer = slot, slot
}

// moveDown hands the last slot of each of the upper tiers to the next one.
func (s *Stack) moveDown(tiers int) {
	for i := range tiers {
		t := &s.tiers[i]
		s.nodes[t.last].tier++
		t.last = s.nodes[t.last].newer
	}
}
