package lrfu

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// logScore is the logarithm of the sum of an item's accesses as of the last of
// them, added up with what additions lose.
func logScore(times []int64, decay float64) float64 {
	last := times[len(times)-1]
	lnDecay := math.Log(decay)
	var sum, lost float64
	for i := len(times) - 1; i >= 0; i-- {
		v := math.Exp(float64(last-times[i]) * lnDecay)
		if v == 0 {
			break
		}
		next := sum + v
		lost += (sum - next) + v
		sum = next
	}
	return math.Log(sum + lost)
}

// precedes is the order from the times of all accesses.
func precedes(a, b []int64, decay float64) (first bool, difference float64) {
	lastA, lastB := a[len(a)-1], b[len(b)-1]
	difference = logScore(a, decay) - logScore(b, decay) - float64(lastA-lastB)*math.Log(decay)
	return difference > 0 || difference == 0 && lastA > lastB, difference
}

func TestOrderIsThatOfAllAccesses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		decay := rapid.SampledFrom([]float64{1, 0.95, 0.9, 0.7, 0.5, 0.1, 1e-300}).Draw(t, "decay")
		window := rapid.SampledFrom([]int{0, 1, 2, 5, 20}).Draw(t, "window")
		table := New(decay, window)
		slots := map[int]int32{}
		times := map[int][]int64{}
		for now := range int64(rapid.IntRange(1, 60).Draw(t, "accesses")) {
			doc := rapid.IntRange(0, 6).Draw(t, "document")
			if _, ok := slots[doc]; !ok {
				slots[doc] = table.Add()
			}
			times[doc] = append(times[doc], now+1)
			expired, ok := table.Access(slots[doc])
			for other := range times {
				if window > 0 {
					times[other] = slices.DeleteFunc(times[other], func(t int64) bool { return t <= now+1-int64(window) })
				}
				if len(times[other]) == 0 {
					if !ok || expired != slots[other] {
						t.Fatalf("document %d has no access left, and slot %d (%v) expired", other, expired, ok)
					}
					delete(times, other)
					delete(slots, other)
				}
			}
			if rapid.IntRange(0, 9).Draw(t, "drop") == 0 {
				last := table.Last()
				table.Drop(last)
				for other, slot := range slots {
					if slot == last {
						delete(times, other)
						delete(slots, other)
					}
				}
			}
			if table.Len() != len(times) {
				t.Fatalf("%d items, want %d", table.Len(), len(times))
			}
			checkOrder(t, table, slots, times, decay)
		}
	})
}

func checkOrder(t rapid.TB, table *Table, slots map[int]int32, times map[int][]int64, decay float64) {
	t.Helper()
	docOf := map[int32]int{}
	for doc, slot := range slots {
		docOf[slot] = doc
		if table.Count(slot) != len(times[doc]) {
			t.Fatalf("document %d counts %d accesses, want %d", doc, table.Count(slot), len(times[doc]))
		}
	}
	order := table.Top(nil, math.MaxInt, 1)
	if len(order) != len(slots) {
		t.Fatalf("%d items in order, want %d", len(order), len(slots))
	}
	for i := 1; i < len(order); i++ {
		a, b := times[docOf[order[i-1]]], times[docOf[order[i]]]
		if ok, by := precedes(a, b, decay); !ok && math.Abs(by) > 1e-12 {
			t.Fatalf("accesses at %d come before %d, by %v", a, b, by)
		}
	}
	if len(order) > 0 && table.Last() != order[len(order)-1] {
		_, by := precedes(times[docOf[order[len(order)-1]]], times[docOf[table.Last()]], decay)
		if math.Abs(by) > 1e-12 {
			t.Fatalf("the last is slot %d, and the order ends with %d", table.Last(), order[len(order)-1])
		}
	}
	few := table.Top(nil, 2, 2)
	var want []int32
	for _, slot := range order {
		if table.Count(slot) >= 2 && len(want) < 2 {
			want = append(want, slot)
		}
	}
	if !slices.Equal(few, want) {
		t.Fatalf("the first two of two accesses are %d, want %d", few, want)
	}
}

// TestTenMillionAccessesDoNotDrift takes above half a second: drift shows after
// millions of accesses only, of items that forget slowly. Underflow shows after some
// 14,000 with the usual decay. Where few tries are asked for, as under the race
// detector, a hundredth must do.
func TestTenMillionAccessesDoNotDrift(t *testing.T) {
	const docs = 64
	for decay, accesses := range map[float64]int{0.95: 100_000, 1 - 1e-7: 10_000_000} {
		if os.Getenv("SQUISHSPEC_CHECKS") != "" {
			accesses /= 100
		}
		table := New(decay, 0)
		slots := make([]int32, docs)
		times := make([][]int64, docs)
		for doc := range docs {
			slots[doc] = table.Add()
			times[doc] = append(times[doc], int64(doc)+1)
			table.Access(slots[doc])
		}
		r := rand.New(rand.NewPCG(23, 0x5eed))
		for now := docs; now < accesses; now++ {
			doc := min(r.Uint32N(docs), r.Uint32N(docs))
			times[doc] = append(times[doc], int64(now)+1)
			table.Access(slots[doc])
		}
		order := table.Top(nil, docs, 1)
		if len(order) != docs {
			t.Fatalf("%d documents, want %d", len(order), docs)
		}
		for i := 1; i < len(order); i++ {
			a, b := slices.Index(slots, order[i-1]), slices.Index(slots, order[i])
			if ok, by := precedes(times[a], times[b], decay); !ok && by < -1e-9 {
				t.Errorf("decay %v: place %d comes before the next by %v", decay, i-1, by)
			}
		}
	}
}
