package audit

import (
	"container/heap"
	"math"
	"slices"
)

// reach returns for every block the least capacity of an LRU cache that has it and
// all before it in its request, ascending; blocks that are new, or behind a new one,
// have none. A cache of capacity c hits as many blocks as are at most c (Mattson et
// al. 1970).
//
// The stack distance of a block is the number of different blocks used since its last
// use, itself included. They are counted in a Fenwick tree over the times of last
// uses.
func (t prefixTrace) reach() (least []int) {
	all, _ := t.blocks()
	tree := make([]int, all+1)
	add := func(at, n int) {
		for at++; at <= all; at += at & -at {
			tree[at] += n
		}
	}
	before := func(at int) (n int) { // last uses before that time
		for ; at > 0; at -= at & -at {
			n += tree[at]
		}
		return n
	}
	last, now := map[int]int{}, 0
	for _, request := range t {
		furthest := 0
		for _, b := range request {
			at, used := last[b]
			if used {
				furthest = max(furthest, len(last)-before(at))
				add(at, -1)
			} else {
				furthest = math.MaxInt
			}
			if furthest < math.MaxInt {
				least = append(least, furthest)
			}
			add(now, 1)
			last[b] = now
			now++
		}
	}
	slices.Sort(least)
	return least
}

// hits is how many of reach's blocks a cache of that capacity has.
func hits(reach []int, capacity int) int {
	n, _ := slices.BinarySearch(reach, capacity+1)
	return n
}

// belady runs the cache that knows the future and lets go what is used last, which
// may be what came just now (Belady 1966). All are its hits, which no policy
// exceeds, and prefix those with no miss before them in their request.
func (t prefixTrace) belady(capacity int) (prefix, all int) {
	blocks, _ := t.blocks()
	next, soonest := make([]int, blocks), map[int]int{}
	at := blocks
	for _, request := range slices.Backward(t) {
		for _, b := range slices.Backward(request) {
			at--
			next[at] = math.MaxInt
			if n, again := soonest[b]; again {
				next[at] = n
			}
			soonest[b] = at
		}
	}
	held := map[int]int{} // blocks, with their next use
	var latest uses       // the same, and what has changed since
	for _, request := range t {
		broken := false
		for _, b := range request {
			if _, hit := held[b]; hit {
				all++
				if !broken {
					prefix++
				}
			} else {
				broken = true
			}
			held[b] = next[at]
			heap.Push(&latest, use{b, next[at]})
			at++
			for len(held) > capacity {
				u := heap.Pop(&latest).(use)
				if when, ok := held[u.block]; ok && when == u.when {
					delete(held, u.block)
				}
			}
		}
	}
	return prefix, all
}

// A use is when a block is used next. uses is a heap with the latest first.
type use struct{ block, when int }

type uses []use

func (u uses) Len() int           { return len(u) }
func (u uses) Less(i, j int) bool { return u[i].when > u[j].when }
func (u uses) Swap(i, j int)      { u[i], u[j] = u[j], u[i] }
func (u *uses) Push(x any)        { *u = append(*u, x.(use)) }
func (u *uses) Pop() any {
	last := len(*u) - 1
	x := (*u)[last]
	*u = (*u)[:last]
	return x
}
