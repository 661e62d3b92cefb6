package tally_test

import (
	"math"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/fast/internal/tally"
	"pgregory.net/rapid"
)

func TestTallyNumbersByFirstOccurrenceAndCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ids, all tally.Tally
		// A table that was larger, smaller and full of the same ids must not show.
		for range rapid.IntRange(1, 4).Draw(t, "counts") {
			step := rapid.SampledFrom([]int64{1, -1, 1 << 32, 1 << 60, math.MaxInt64}).Draw(t, "step")
			given := rapid.SliceOfN(rapid.Int64Range(-9, 9), 1, 60).Draw(t, "ids")
			ids.Reset(len(given))
			number, count := map[int64]int{}, []int{}
			for _, id := range given {
				id *= step
				want, known := number[id]
				if _, found := ids.Find(id); found != known {
					t.Fatalf("Find(%d) = %v before it was added, want %v", id, found, known)
				}
				if !known {
					want = len(number)
					number[id], count = want, append(count, 0)
				}
				count[want]++
				if got := ids.Add(id); got != want {
					t.Fatalf("Add(%d) = %d, want %d", id, got, want)
				}
				if got, found := ids.Find(id); !found || got != want {
					t.Fatalf("Find(%d) = %d, %v, want %d", id, got, found, want)
				}
			}
			for i := range given {
				given[i] *= step
			}
			numbers, from := make([]int, len(given)), rapid.IntRange(0, len(given)).Draw(t, "ids at once")
			all.Reset(len(given))
			all.AddAll(numbers[:from], given[:from])
			all.AddAll(numbers[from:], given[from:])
			for i, id := range given {
				if numbers[i] != number[id] {
					t.Fatalf("AddAll numbers %d %d, want %d", id, numbers[i], number[id])
				}
			}
			if !slices.Equal(all.Counts(), count) {
				t.Fatalf("AddAll counts %d, want %d", all.Counts(), count)
			}
			others := slices.DeleteFunc([]int64{-1, 0, 5, 1 << 40, given[0] + 1<<50}, func(id int64) bool {
				_, known := number[id]
				return known
			})
			known := make([]int, len(count))
			if all.CountIn(known, slices.Concat(given, others)); !slices.Equal(known, count) {
				t.Fatalf("CountIn counts %d, want %d", known, count)
			}
			all.Reset(len(given))
			if all.AddAll(nil, given); !slices.Equal(all.Counts(), count) {
				t.Fatalf("AddAll without numbers counts %d, want %d", all.Counts(), count)
			}
			if len(ids.Counts()) != len(count) {
				t.Fatalf("%d distinct ids, want %d", len(ids.Counts()), len(count))
			}
			for n, got := range ids.Counts() {
				if got != count[n] {
					t.Fatalf("number %d counted %d times, want %d", n, got, count[n])
				}
			}
		}
	})
}

func TestTallyAllocatesOnlyToGrow(t *testing.T) {
	var ids tally.Tally
	count := func(n int) func() {
		return func() {
			ids.Reset(n)
			for id := range n {
				ids.Add(int64(id))
			}
		}
	}
	count(1000)()
	for _, n := range []int{1000, 1, 300} {
		if allocations := testing.AllocsPerRun(20, count(n)); allocations != 0 {
			t.Errorf("%d ids: %v allocations", n, allocations)
		}
	}
}
