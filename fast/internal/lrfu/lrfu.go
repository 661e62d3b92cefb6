// Package lrfu orders items by decayed access counts.
//
// The idea: a decay that all share changes no order. An item's score is kept as of
// its last access, together with that time, and two items are compared by
// log(score) − time·log(decay), the times subtracted as integers first: nothing
// underflows, and nothing grows with the number of accesses. An indexed heap then
// has the last of the order on top, and an access moves one item.
package lrfu

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/ring"
)

// A Table is the items tracked, numbered by slots. Its zero value is not ready:
// see New.
type Table struct {
	decay  decay
	window int64
	now    int64
	items  []item
	heap   []int32 // slots, the last of the order first
	free   []int32
	recent ring.Ring[access] // those within the window
}

type item struct {
	log        float64 // of the score, as of last
	last       int64
	count      int
	score      score
	place      int32 // in the heap, −1 for a free slot
	generation uint32
	window     windowed
}

// New returns a table whose items decay by a factor in (0, 1] with every access,
// and of which only the last window accesses count, all where that is 0.
func New(decay float64, window int) *Table {
	return &Table{decay: newDecay(decay), window: int64(window)}
}

// Len returns the number of items tracked.
func (t *Table) Len() int { return len(t.heap) }

// Count returns the number of accesses to a slot's item that count.
func (t *Table) Count(slot int32) int { return t.items[slot].count }

// Add makes a slot for an item that is not tracked. Access must follow.
func (t *Table) Add() (slot int32) {
	if n := len(t.free); n > 0 {
		slot, t.free = t.free[n-1], t.free[:n-1]
	} else {
		slot = int32(len(t.items))
		t.items = append(t.items, item{})
	}
	it := &t.items[slot]
	it.place = int32(len(t.heap))
	t.heap = append(t.heap, slot)
	return slot
}

// Access notes an access to a slot's item. Where an older access no longer counts
// and was the last of another item, that item is dropped: its slot is returned.
func (t *Table) Access(slot int32) (expired int32, isExpired bool) {
	t.now++
	it := &t.items[slot]
	it.count++
	if t.window == 0 {
		it.score.access(t.now, it.last, &t.decay)
	} else {
		it.window.access(t.now, &t.decay)
		t.recent.Push(access{slot, it.generation})
	}
	it.last = t.now
	old, leaves := t.leaving()
	if leaves && old == slot { // both in one update
		t.expire(it)
		leaves = false
	}
	t.update(slot)
	if !leaves {
		return 0, false
	}
	it = &t.items[old]
	t.expire(it)
	if it.count == 0 {
		t.Drop(old)
		return old, true
	}
	t.update(old)
	return 0, false
}

// leaving takes the access that the window has just left behind, and returns the slot
// of its item, where that is still tracked.
func (t *Table) leaving() (slot int32, ok bool) {
	if t.window == 0 || t.now <= t.window {
		return 0, false
	}
	old := *t.recent.Front()
	t.recent.Pop()
	return old.slot, t.items[old.slot].generation == old.generation
}

func (t *Table) expire(it *item) {
	it.count--
	it.window.expire(&t.decay)
}

// update takes an item's score anew and puts it in its place.
func (t *Table) update(slot int32) {
	it := &t.items[slot]
	if t.window == 0 {
		it.log = math.Log(it.score.sum + it.score.lost)
	} else {
		it.log = math.Log(it.window.score(&t.decay))
	}
	t.fix(it.place)
}

// Last returns the slot of the last item in the order. There is one.
func (t *Table) Last() int32 { return t.heap[0] }

// Drop forgets a slot's item.
func (t *Table) Drop(slot int32) {
	place, end := t.items[slot].place, int32(len(t.heap)-1)
	moved := t.heap[end]
	t.heap[place], t.items[moved].place = moved, place
	t.heap = t.heap[:end]
	if place < end {
		t.fix(place)
	}
	it := &t.items[slot]
	*it = item{place: -1, generation: it.generation + 1, window: it.window.emptied()}
	t.free = append(t.free, slot)
}

// Top appends to dst the slots of the first k items of the order that have count
// accesses, in order.
//
// They are the last k of a heap of the best so far, the worst of them on top. The
// items are visited from the far end of the table's own heap, where the first of the
// order are: most of the others are then turned away by one comparison.
func (t *Table) Top(dst []int32, k, count int) []int32 {
	from := len(dst)
	for i := len(t.heap) - 1; i >= 0; i-- {
		slot := t.heap[i]
		switch top := dst[from:]; {
		case t.items[slot].count < count:
		case len(top) < k:
			dst = append(dst, slot)
			t.rise(dst[from:])
		case t.precedes(slot, top[0]):
			top[0] = slot
			t.sink(top)
		}
	}
	for top := dst[from:]; len(top) > 1; { // the worst goes to the end, and so on
		last := len(top) - 1
		top[0], top[last] = top[last], top[0]
		top = top[:last]
		t.sink(top)
	}
	return dst
}

// rise moves the last slot of a heap, the last of the order on top, to where it
// belongs.
func (t *Table) rise(heap []int32) {
	i := len(heap) - 1
	slot := heap[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !t.precedes(heap[parent], slot) {
			break
		}
		heap[i] = heap[parent]
		i = parent
	}
	heap[i] = slot
}

// sink moves the slot on top of a heap to where it belongs.
func (t *Table) sink(heap []int32) {
	i, slot := 0, heap[0]
	for {
		child := 2*i + 1
		if child >= len(heap) {
			break
		}
		if next := child + 1; next < len(heap) && t.precedes(heap[child], heap[next]) {
			child = next
		}
		if !t.precedes(slot, heap[child]) {
			break
		}
		heap[i] = heap[child]
		i = child
	}
	heap[i] = slot
}

// precedes reports whether slot a's item comes before slot b's.
func (t *Table) precedes(a, b int32) bool {
	x, y := &t.items[a], &t.items[b]
	difference := x.log - y.log - float64(x.last-y.last)*t.decay.ln
	return difference > 0 || difference == 0 && x.last > y.last
}

// fix moves the item at a place of the heap to where it belongs.
func (t *Table) fix(place int32) {
	slot := t.heap[place]
	for place > 0 {
		parent := (place - 1) / 2
		if !t.precedes(t.heap[parent], slot) {
			break
		}
		t.set(place, t.heap[parent])
		place = parent
	}
	for {
		child := 2*place + 1
		if child >= int32(len(t.heap)) {
			break
		}
		if next := child + 1; next < int32(len(t.heap)) && t.precedes(t.heap[child], t.heap[next]) {
			child = next
		}
		if !t.precedes(slot, t.heap[child]) {
			break
		}
		t.set(place, t.heap[child])
		place = child
	}
	t.set(place, slot)
}

func (t *Table) set(place, slot int32) {
	t.heap[place] = slot
	t.items[slot].place = place
}
