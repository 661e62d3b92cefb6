package fast_test

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
	"pgregory.net/rapid"
)

func TestHierarchicalKVIsThreeLists(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacities := [3]int{}
		for i, label := range []string{"hot", "warm", "cold"} {
			capacities[i] = rapid.IntRange(1, 3).Draw(t, label)
			if i > 0 {
				capacities[i] += capacities[i-1]
			}
		}
		config := spec.HierarchicalKVConfig{
			HotCapacity: capacities[0], WarmCapacity: capacities[1], ColdCapacity: capacities[2],
			NHeads: rapid.IntRange(1, 3).Draw(t, "heads"), HeadDim: rapid.IntRange(1, 3).Draw(t, "dim"),
		}
		kv, model := newTieredKV(t, config), tierLists{capacities: capacities, stored: map[int]tierPair{}}
		some := rapid.OneOf(rapid.IntRange(-3, 20), rapid.SampledFrom([]int{math.MinInt, math.MaxInt}))
		payload := rapid.SliceOfN(rapid.Uint32(), config.NHeads*config.HeadDim, config.NHeads*config.HeadDim)
		var lookup spec.KVLookup
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				pos, pair := some.Draw(t, "pos"), tierPair{payload.Draw(t, "key"), payload.Draw(t, "value")}
				key, value := matrixOfBits(config, pair.key), matrixOfBits(config, pair.value)
				if err := kv.Put(pos, key, value); err != nil {
					t.Fatal(err)
				}
				model.put(pos, pair)
				clear(key.Data) // the store has copies
				clear(value.Data)
			},
			"put many": func(t *rapid.T) {
				positions := rapid.SliceOfN(some, 1, 5).Draw(t, "positions")
				var keys, values spec.Heads
				for _, x := range []*spec.Heads{&keys, &values} {
					x.Resize(config.NHeads, len(positions)+1, config.HeadDim)
					x.Tokens-- // the stride stays: nobody's elements between the heads
				}
				wide := make([]int64, len(positions))
				for token, pos := range positions {
					wide[token] = int64(pos)
					pair := tierPair{payload.Draw(t, "key"), payload.Draw(t, "value")}
					for h := range config.NHeads {
						for i := range config.HeadDim {
							keys.Head(h).Row(token)[i] = math.Float32frombits(pair.key[h*config.HeadDim+i])
							values.Head(h).Row(token)[i] = math.Float32frombits(pair.value[h*config.HeadDim+i])
						}
					}
					model.put(pos, pair)
				}
				if err := kv.PutMany(wide, keys, values); err != nil {
					t.Fatal(err)
				}
			},
			"get": func(t *rapid.T) {
				pos := some.Draw(t, "pos")
				if err := kv.Get(&lookup, pos); err != nil {
					t.Fatal(err)
				}
				want, hit := model.get(pos)
				if lookup.Hit != hit {
					t.Fatalf("Get(%d): hit %v, want %v", pos, lookup.Hit, hit)
				}
				if hit && (!slices.Equal(bitsOfMatrix(lookup.Key), want.key) || !slices.Equal(bitsOfMatrix(lookup.Value), want.value)) {
					t.Fatalf("Get(%d): %x, %x, want %x", pos, bitsOfMatrix(lookup.Key), bitsOfMatrix(lookup.Value), want)
				}
				clear(lookup.Key.Data) // the caller has copies
				clear(lookup.Value.Data)
			},
			"bad": func(t *rapid.T) {
				good := matrixOfBits(config, make([]uint32, config.NHeads*config.HeadDim))
				bad := spec.Matrix{Rows: config.NHeads, Cols: config.HeadDim + 1, Data: make([]float32, config.NHeads*(config.HeadDim+1))}
				var keys, values spec.Heads
				keys.Resize(config.NHeads, 2, config.HeadDim)
				values.Resize(config.NHeads, 1, config.HeadDim)
				for _, err := range []error{
					kv.Put(1, bad, good), kv.Put(1, good, bad),
					kv.PutMany(nil, spec.Heads{Heads: config.NHeads, Dim: config.HeadDim}, spec.Heads{Heads: config.NHeads, Dim: config.HeadDim}),
					kv.PutMany([]int64{1}, keys, values), kv.PutMany([]int64{1, 2}, keys, values),
				} {
					if !errors.Is(err, spec.Invalid) {
						t.Fatalf("want it refused, got %v", err)
					}
				}
			},
			"": func(t *rapid.T) {
				if got, want := [3]int{kv.NHot(), kv.NWarm(), kv.NCold()}, model.lengths(); got != want {
					t.Fatalf("%v positions in the tiers, want %v", got, want)
				}
				if got, want := kv.Stats(), model.finalStats(); got != want {
					t.Fatalf("stats %+v, want %+v", got, want)
				}
			},
		})
	})
}

func TestHierarchicalKVAllocatesNothingOnceFull(t *testing.T) {
	config := spec.HierarchicalKVConfig{HotCapacity: 4, WarmCapacity: 16, ColdCapacity: 64, NHeads: 2, HeadDim: 8}
	kv := newTieredKV(t, config)
	key := matrixOfBits(config, make([]uint32, 16))
	var heads spec.Heads
	heads.Resize(2, 8, 8)
	positions := make([]int64, 8)
	var lookup spec.KVLookup
	var err error
	next := 0
	calls := func() {
		for i := range positions {
			positions[i] = int64(next + i)
		}
		next += len(positions)
		err = errors.Join(err, kv.PutMany(positions, heads, heads), kv.Put(next, key, key), kv.Put(next, key, key))
		next++
		for age := range 100 {
			err = errors.Join(err, kv.Get(&lookup, next-age))
		}
	}
	for kv.NCold() < config.ColdCapacity {
		calls()
	}
	if allocations := testing.AllocsPerRun(100, calls); allocations != 0 || err != nil {
		t.Errorf("%v allocations, %v", allocations, err)
	}
	if s := kv.Stats(); s.Evictions == 0 || s.HotHits == 0 || s.WarmHits == 0 || s.ColdHits == 0 || s.Misses == 0 {
		t.Errorf("the calls have not been everywhere: %+v", s)
	}
}

func TestHierarchicalKVTakesMemoryAsItFills(t *testing.T) {
	const cold = 1<<29 - 3
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	kv := newTieredKV(t, spec.HierarchicalKVConfig{HotCapacity: 1, WarmCapacity: 2, ColdCapacity: cold, NHeads: 1, HeadDim: 1})
	one := spec.Matrix{Rows: 1, Cols: 1, Data: []float32{1}}
	for pos := range 1000 {
		if err := kv.Put(pos, one, one); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 1<<20 {
		t.Errorf("%d bytes for 1000 positions", taken)
	}
}

func TestHierarchicalKVRefusesABadConfig(t *testing.T) {
	config := spec.DefaultHierarchicalKVConfig()
	config.WarmCapacity = config.HotCapacity
	if kv, err := fast.NewHierarchicalKV(config); kv != nil || !errors.Is(err, spec.Invalid) {
		t.Errorf("warm_capacity = hot_capacity: %v, %v", kv, err)
	}
}

type manyHierarchicalKV interface {
	spec.HierarchicalKV
	spec.HierarchicalKVMany
}

func newTieredKV(t rapid.TB, config spec.HierarchicalKVConfig) manyHierarchicalKV {
	t.Helper()
	kv, err := fast.NewHierarchicalKV(config)
	if err != nil {
		t.Fatal(err)
	}
	return kv.(manyHierarchicalKV)
}

func matrixOfBits(c spec.HierarchicalKVConfig, bits []uint32) spec.Matrix {
	m := spec.Matrix{Rows: c.NHeads, Cols: c.HeadDim}
	for _, b := range bits {
		m.Data = append(m.Data, math.Float32frombits(b))
	}
	return m
}

func bitsOfMatrix(m spec.Matrix) (bits []uint32) {
	for _, v := range m.Data {
		bits = append(bits, math.Float32bits(v))
	}
	return bits
}

// tierLists is the model: a list of positions for each tier, most recent first.
type tierLists struct {
	capacities [3]int
	tiers      [3][]int
	stored     map[int]tierPair
	stats      spec.HierarchicalKVStats
}

type tierPair struct{ key, value []uint32 }

func (m *tierLists) put(pos int, pair tierPair) {
	m.stats.Puts++
	m.remove(pos)
	m.stored[pos] = pair
	m.insert(pos)
}

func (m *tierLists) get(pos int) (tierPair, bool) {
	m.stats.Gets++
	tier := m.remove(pos)
	*[]*int{&m.stats.HotHits, &m.stats.WarmHits, &m.stats.ColdHits, &m.stats.Misses}[tier]++
	if tier == 3 {
		return tierPair{}, false
	}
	m.insert(pos)
	return m.stored[pos], true
}

// remove returns the tier that a position was in, 3 for none.
func (m *tierLists) remove(pos int) int {
	for i, list := range m.tiers {
		if at := slices.Index(list, pos); at >= 0 {
			m.tiers[i] = slices.Delete(list, at, at+1)
			return i
		}
	}
	return 3
}

func (m *tierLists) insert(pos int) {
	for i, capacity := range m.capacities {
		m.tiers[i] = slices.Insert(m.tiers[i], 0, pos)
		if len(m.tiers[i]) <= capacity {
			return
		}
		pos = m.tiers[i][capacity]
		m.tiers[i] = m.tiers[i][:capacity]
		if i < 2 {
			m.stats.Demotions++
		}
	}
	m.stats.Evictions++
	delete(m.stored, pos)
}

func (m *tierLists) lengths() [3]int {
	return [3]int{len(m.tiers[0]), len(m.tiers[1]), len(m.tiers[2])}
}

func (m *tierLists) finalStats() spec.HierarchicalKVStats {
	s := m.stats
	if s.Gets > 0 {
		s.HitRate = float64(s.Gets-s.Misses) / float64(s.Gets)
		s.HotHitRate = float64(s.HotHits) / float64(s.Gets)
	}
	return s
}
