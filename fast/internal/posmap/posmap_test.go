package posmap

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func insert(m *Map, pos int64, slot int32) {
	place, _, _ := m.Find(pos)
	m.Fill(place, pos, slot)
}

func TestMapIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, model := New(), map[int64]int32{}
		m.seed = rapid.Uint64().Draw(t, "seed")
		near := rapid.Int64Range(-20, 20)
		positions := rapid.OneOf(near, rapid.Map(near, func(p int64) int64 { return p << 58 }), rapid.Int64())
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) {
				pos, slot := positions.Draw(t, "pos"), rapid.Int32Range(0, math.MaxInt32-1).Draw(t, "slot")
				if _, ok := model[pos]; ok {
					t.Skip("it has a slot")
				}
				insert(m, pos, slot)
				model[pos] = slot
			},
			"delete": func(t *rapid.T) {
				pos := positions.Draw(t, "pos")
				if _, ok := model[pos]; !ok {
					t.Skip("it has no slot")
				}
				m.Delete(pos)
				delete(model, pos)
			},
			"absent": func(t *rapid.T) {
				pos := positions.Draw(t, "pos")
				_, want := model[pos]
				if _, ok := m.Get(pos); ok != want {
					t.Fatalf("Get(%d): %v, want %v", pos, ok, want)
				}
			},
			"": func(t *rapid.T) {
				for pos, want := range model {
					if slot, ok := m.Get(pos); !ok || slot != want {
						t.Fatalf("Get(%d) = %d, %v, want %d", pos, slot, ok, want)
					}
				}
				used := 0
				for _, e := range m.entries {
					if e.tag != 0 {
						used++
					}
				}
				if used != len(model) || m.inUse != used || 2*used > len(m.entries) {
					t.Fatalf("%d of %d entries in use, counted %d, want %d", used, len(m.entries), m.inUse, len(model))
				}
			},
		})
	})
}

// At half load a random hash makes a lookup probe 1.5 entries on average, the
// worst of these 1024 some 30. A block's eight positions collide together, so that
// the average of 128 blocks wanders.
func TestMapSpreadsRegularPositions(t *testing.T) {
	for shift := range 64 {
		m := New()
		m.seed = rand.New(rand.NewPCG(1, uint64(shift))).Uint64()
		const n = 1024
		for i := range int64(n) {
			pos := int64(uint64(i)<<shift | uint64(i)>>(64-shift)) // rotated, so that all differ
			insert(m, pos, int32(i))
		}
		mask, sum, longest := uint64(len(m.entries)-1), 0, 0
		for i := range uint64(len(m.entries)) {
			if e := m.entry(i); e.tag != 0 {
				probes := int((i-m.home(e.pos))&mask) + 1
				sum += probes
				longest = max(longest, probes)
			}
		}
		if mean := float64(sum) / n; mean > 2.5 || longest > 100 {
			t.Errorf("positions rotated by %d: %.2f probes on average, %d at most", shift, mean, longest)
		}
	}
}

// A run of positions shares cache lines: a block's entries are neighbours.
func TestMapKeepsABlockTogether(t *testing.T) {
	m := New()
	for i := range int64(1024) {
		insert(m, i<<20, int32(i)) // entries enough
	}
	for block := range int64(100) {
		first, last := uint64(math.MaxUint64), uint64(0)
		for pos := block << blockBits; pos < (block+1)<<blockBits; pos++ {
			at := m.home(pos)
			at = at<<blockBits&uint64(len(m.entries)-1) | at>>m.blocks
			first, last = min(first, at), max(last, at)
		}
		if last-first != 1<<blockBits-1 || first%(1<<blockBits) != 0 {
			t.Fatalf("block %d lies in entries %d to %d", block, first, last)
		}
	}
}

func TestMapDoesNotGrowUnderChurn(t *testing.T) {
	m := New()
	for i := range int64(100) {
		insert(m, i, int32(i))
	}
	size, next := len(m.entries), int64(100)
	churn := func() {
		m.Delete(next - 100)
		insert(m, next, 0)
		next++
	}
	if allocations := testing.AllocsPerRun(10_000, churn); allocations != 0 || len(m.entries) != size {
		t.Errorf("%v allocations, %d entries, want %d", allocations, len(m.entries), size)
	}
}
