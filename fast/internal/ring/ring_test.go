package ring_test

import (
	"slices"
	"testing"

	"github.com/squishspec/squishspec/fast/internal/ring"
	"pgregory.net/rapid"
)

func TestRingIsFirstInFirstOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var queue ring.Ring[int]
		var model []int
		next := 0
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				for range rapid.IntRange(1, 9).Draw(t, "items") {
					queue.Push(next)
					model = append(model, next)
					next++
				}
			},
			"pop": func(t *rapid.T) {
				for range rapid.IntRange(0, len(model)).Draw(t, "items") {
					if got := *queue.Front(); got != model[0] {
						t.Fatalf("front %d, want %d", got, model[0])
					}
					queue.Pop()
					model = model[1:]
				}
			},
			"drop": func(t *rapid.T) {
				if len(model) == 0 {
					return
				}
				n := rapid.IntRange(1, len(model)).Draw(t, "items")
				for n > 0 {
					got := queue.Fronts(n)
					if len(got) == 0 || !slices.Equal(got, model[:min(len(got), n)]) {
						t.Fatalf("fronts %d, want a beginning of %d", got, model[:n])
					}
					queue.Drop(len(got))
					model, n = model[len(got):], n-len(got)
				}
			},
			"": func(t *rapid.T) {
				if queue.Len() != len(model) {
					t.Fatalf("%d items, want %d", queue.Len(), len(model))
				}
				if len(model) > 0 && *queue.Front() != model[0] {
					t.Fatalf("front %d, want %d", *queue.Front(), model[0])
				}
			},
		})
	})
}

func TestRingAllocatesOnlyToGrow(t *testing.T) {
	var queue ring.Ring[int]
	round := func() {
		for i := range 100 {
			queue.Push(i)
		}
		for range 100 {
			queue.Pop()
		}
	}
	round()
	if allocations := testing.AllocsPerRun(20, round); allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}
