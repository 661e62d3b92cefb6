package fast

import (
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/lru"
	"github.com/squishspec/squishspec/fast/internal/posmap"
	"github.com/squishspec/squishspec/fast/internal/slab"
	"github.com/squishspec/squishspec/spec"
)

// NewHierarchicalKV returns an optimised spec.HierarchicalKV, or an error of kind
// spec.Invalid for a config out of range. It also writes several tokens in one
// call: spec.HierarchicalKVMany.
//
// Every operation takes constant time. Memory grows with the positions stored,
// doubling; once the store is full, and for positions already stored, nothing is
// allocated.
func NewHierarchicalKV(config spec.HierarchicalKVConfig) (spec.HierarchicalKV, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	hot, warm, cold := config.HotCapacity, config.WarmCapacity, config.ColdCapacity
	capacity := hot + warm + cold
	return &hierarchicalKV{
		config:   config,
		capacity: capacity,
		slots:    posmap.New(),
		stack:    lru.New(hot, warm, cold),
		payloads: slab.New(2*config.NHeads*config.HeadDim, capacity),
	}, nil
}

// hierarchicalKV keeps each position in a slot, and the slots on one stack. A slot
// never moves: a position dropped leaves its slot to the one that drops it.
type hierarchicalKV struct {
	config    spec.HierarchicalKVConfig
	capacity  int
	slots     *posmap.Map // of the positions stored
	positions []int64     // by slot
	stack     *lru.Stack
	payloads  *slab.Slab // by slot: the key, then the value

	stats spec.HierarchicalKVStats // but for hits and rates
	hits  [3]int                   // by tier
}

func (kv *hierarchicalKV) Put(pos int, key, value spec.Matrix) error {
	if !kv.fits(&key) || !kv.fits(&value) {
		if err := kv.check("key", key); err != nil {
			return err
		}
		return kv.check("value", value)
	}
	k, v := kv.put(int64(pos))
	copy(k, key.Data)
	copy(v, value.Data)
	return nil
}

// fits reports whether a matrix is (n_heads, head_dim), whose product the store's size
// bounds.
func (kv *hierarchicalKV) fits(m *spec.Matrix) bool {
	heads, dim := kv.config.NHeads, kv.config.HeadDim
	return m.Rows == heads && m.Cols == dim && len(m.Data) == heads*dim
}

func (kv *hierarchicalKV) check(name string, m spec.Matrix) error {
	return spec.CheckMatrix("hierarchical-kv", name, m, kv.config.NHeads, kv.config.HeadDim)
}

func (kv *hierarchicalKV) PutMany(positions []int64, keys, values spec.Heads) error {
	heads, dim := kv.config.NHeads, kv.config.HeadDim
	if len(positions) == 0 {
		return spec.Reject(spec.Invalid, "hierarchical-kv", "positions", "at least 1 position", 0)
	}
	if err := spec.CheckHeads("hierarchical-kv", "keys", keys, heads, len(positions), dim); err != nil {
		return err
	}
	if err := spec.CheckHeads("hierarchical-kv", "values", values, heads, len(positions), dim); err != nil {
		return err
	}
	for t, pos := range positions {
		k, v := kv.put(pos)
		kern.CopyRows(k, dim, keys.Data[t*dim:], keys.Stride, heads, dim)
		kern.CopyRows(v, dim, values.Data[t*dim:], values.Stride, heads, dim)
	}
	return nil
}

// put makes a position the most recent one and returns where its key and value go.
func (kv *hierarchicalKV) put(pos int64) (key, value []float32) {
	kv.stats.Puts++
	place, slot, stored := kv.slots.Find(pos)
	switch {
	case stored:
		kv.stats.Demotions += kv.stack.Use(slot)
	case kv.stack.Len() < kv.capacity:
		slot = int32(kv.stack.Len())
		kv.stats.Demotions += kv.stack.Push()
		kv.positions = append(kv.positions, pos)
		kv.slots.Fill(place, pos, slot)
	default:
		slot = kv.stack.Last()
		kv.stats.Demotions += kv.stack.Use(slot)
		kv.stats.Evictions++
		kv.slots.Fill(place, pos, slot)
		kv.slots.Delete(kv.positions[slot])
		kv.positions[slot] = pos
	}
	return kv.payload(slot)
}

func (kv *hierarchicalKV) Get(dst *spec.KVLookup, pos int) error {
	kv.stats.Gets++
	slot, stored := kv.slots.Get(int64(pos))
	dst.Hit = stored
	if !stored {
		kv.stats.Misses++
		return nil
	}
	tier := kv.stack.Use(slot)
	kv.hits[tier]++
	kv.stats.Demotions += tier

	key, value := kv.payload(slot)
	dst.Key.Resize(kv.config.NHeads, kv.config.HeadDim)
	dst.Value.Resize(kv.config.NHeads, kv.config.HeadDim)
	copy(dst.Key.Data, key)
	copy(dst.Value.Data, value)
	return nil
}

func (kv *hierarchicalKV) payload(slot int32) (key, value []float32) {
	record := kv.payloads.Record(int(slot))
	return record[:len(record)/2], record[len(record)/2:]
}

func (kv *hierarchicalKV) NHot() int  { return kv.stack.TierLen(0) }
func (kv *hierarchicalKV) NWarm() int { return kv.stack.TierLen(1) }
func (kv *hierarchicalKV) NCold() int { return kv.stack.TierLen(2) }

func (kv *hierarchicalKV) Stats() spec.HierarchicalKVStats {
	s := kv.stats
	s.HotHits, s.WarmHits, s.ColdHits = kv.hits[0], kv.hits[1], kv.hits[2]
	if s.Gets > 0 {
		s.HitRate = float64(s.HotHits+s.WarmHits+s.ColdHits) / float64(s.Gets)
		s.HotHitRate = float64(s.HotHits) / float64(s.Gets)
	}
	return s
}
