package llama

import "container/heap"

// merge joins neighbours until no pair of them is one piece: of all pairs that join
// names, the one with the best score first, the leftmost of equals.
//
// A heap holds the pairs, so that a long text takes n·log n steps. Its order is that
// of a scan for the best pair: places keep their order when others merge.
func merge(symbols []int, join func(a, b int) (id int, score float64, ok bool)) []int {
	// Symbols are a linked list; a merge leaves the joined one in the left place.
	before, after := make([]int, len(symbols)), make([]int, len(symbols))
	for i := range symbols {
		before[i], after[i] = i-1, i+1
	}
	const gone = -1
	var pairs pairHeap
	consider := func(left int) {
		if left < 0 || after[left] >= len(symbols) {
			return
		}
		a, b := symbols[left], symbols[after[left]]
		if id, score, ok := join(a, b); ok {
			heap.Push(&pairs, pair{score: score, left: left, a: a, b: b, id: id})
		}
	}
	for i := range symbols {
		consider(i)
	}
	for len(pairs) > 0 {
		p := heap.Pop(&pairs).(pair)
		right := after[p.left]
		if symbols[p.left] != p.a || right >= len(symbols) || symbols[right] != p.b {
			continue // one of the two has been merged since
		}
		symbols[p.left], symbols[right] = p.id, gone
		after[p.left] = after[right]
		if next := after[right]; next < len(symbols) {
			before[next] = p.left
		}
		consider(before[p.left])
		consider(p.left)
	}
	merged := symbols[:0]
	for _, id := range symbols {
		if id != gone {
			merged = append(merged, id)
		}
	}
	return merged
}

// A pair is two neighbours that may be merged.
type pair struct {
	score    float64
	left     int // place of the left one
	a, b, id int // the two pieces and the joined one
}

// A pairHeap has the pair to merge next on top.
type pairHeap []pair

func (h pairHeap) Len() int { return len(h) }
func (h pairHeap) Less(i, j int) bool {
	return h[i].score > h[j].score || h[i].score == h[j].score && h[i].left < h[j].left
}
func (h pairHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *pairHeap) Push(x any)   { *h = append(*h, x.(pair)) }
func (h *pairHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
