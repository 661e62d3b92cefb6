// Package ring is a first-in, first-out queue.
//
// The idea: a circular buffer whose length is a power of two. Push and Pop move
// an index and nothing else, and a queue that no longer grows no longer allocates.
package ring

// A Ring is a queue. The zero value is empty.
type Ring[T any] struct {
	buffer []T  // its length is 0 or a power of two
	head   uint // the oldest is buffer[head % len(buffer)]
	length int
}

// Len returns how many items are queued.
func (r *Ring[T]) Len() int { return r.length }

// Push appends an item.
func (r *Ring[T]) Push(item T) { *r.Next() = item }

// Next appends an item that the caller writes, field by field: it holds what was
// there before. The pointer is valid until the next call of Push or Next.
func (r *Ring[T]) Next() *T {
	if r.length == len(r.buffer) {
		r.grow()
	}
	r.length++
	return r.at(r.length - 1)
}

// Front returns the oldest item. It is valid until the next Push; the ring must
// not be empty.
func (r *Ring[T]) Front() *T { return r.at(0) }

// Pop removes the oldest item; the ring must not be empty.
func (r *Ring[T]) Pop() {
	r.head++
	r.length--
}

// Fronts returns the oldest items in order: n of them, or fewer where they wrap
// around the buffer's end, but at least one. They are valid until the next Push;
// the ring must hold n items, n ≥ 1.
func (r *Ring[T]) Fronts(n int) []T {
	from := int(r.head & uint(len(r.buffer)-1))
	return r.buffer[from:min(from+n, len(r.buffer))]
}

// Drop removes the n oldest items; the ring must hold as many.
func (r *Ring[T]) Drop(n int) {
	r.head += uint(n)
	r.length -= n
}

func (r *Ring[T]) at(i int) *T {
	return &r.buffer[(r.head+uint(i))&uint(len(r.buffer)-1)]
}

// grow doubles the buffer, its items moved to the start.
func (r *Ring[T]) grow() {
	grown := make([]T, max(2*len(r.buffer), 8))
	for i := range r.length {
		grown[i] = *r.at(i)
	}
	r.buffer, r.head = grown, 0
}
