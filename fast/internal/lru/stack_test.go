package lru

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The model is the list itself, most recent first; a slot's tier is its place's.
func TestStackIsAListCutInTiers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacities := rapid.SliceOfN(rapid.IntRange(1, 4), 1, 4).Draw(t, "capacities")
		s, total := New(capacities...), 0
		for _, c := range capacities {
			total += c
		}
		var list []int32
		tierOf := func(place int) int {
			tier := 0
			for place >= capacities[tier] {
				place -= capacities[tier]
				tier++
			}
			return tier
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				if len(list) == total {
					t.Skip("full")
				}
				want := tierOf(len(list))
				if got := s.Push(); got != want {
					t.Fatalf("tier %d grew, want %d", got, want)
				}
				list = slices.Insert(list, 0, int32(len(list)))
			},
			"use": func(t *rapid.T) {
				if len(list) == 0 {
					t.Skip("empty")
				}
				place := rapid.IntRange(0, len(list)-1).Draw(t, "place")
				slot := list[place]
				if got, want := s.Use(slot), tierOf(place); got != want {
					t.Fatalf("slot %d was in tier %d, want %d", slot, got, want)
				}
				list = slices.Insert(slices.Delete(list, place, place+1), 0, slot)
			},
			"": func(t *rapid.T) {
				if s.Len() != len(list) {
					t.Fatalf("%d slots, want %d", s.Len(), len(list))
				}
				lengths := make([]int, len(capacities))
				slot := s.top
				for place, want := range list {
					if slot != want || int(s.nodes[slot].tier) != tierOf(place) {
						t.Fatalf("place %d: slot %d in tier %d, want %d in tier %d", place, slot, s.nodes[slot].tier, want, tierOf(place))
					}
					if older := s.nodes[slot].older; s.nodes[older].newer != slot {
						t.Fatalf("slot %d: the older slot %d has the newer %d", slot, older, s.nodes[older].newer)
					}
					lengths[tierOf(place)]++
					if end := place == len(list)-1; (end || tierOf(place+1) > tierOf(place)) && s.tiers[tierOf(place)].last != slot {
						t.Fatalf("tier %d ends at slot %d, want %d", tierOf(place), s.tiers[tierOf(place)].last, slot)
					}
					slot = s.nodes[slot].older
				}
				for i, want := range lengths {
					if s.TierLen(i) != want {
						t.Fatalf("tier %d has %d slots, want %d", i, s.TierLen(i), want)
					}
				}
				if len(list) > 0 && (slot != s.top || s.Last() != list[len(list)-1]) {
					t.Fatalf("the ring ends at %d before %d, want %d before %d", s.Last(), slot, list[len(list)-1], s.top)
				}
			},
		})
	})
}

func TestUseAllocatesNothing(t *testing.T) {
	s := New(2, 3, 4)
	for range 9 {
		s.Push()
	}
	slot := int32(0)
	if allocations := testing.AllocsPerRun(1000, func() { s.Use(slot); s.Use(s.Last()); slot = (slot + 1) % 9 }); allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}
