package ref

import (
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// NewHierarchicalKV returns the reference of spec.HierarchicalKV, or an error of
// kind spec.Invalid for a config out of range. It also writes several tokens in
// one call: spec.HierarchicalKVMany.
func NewHierarchicalKV(c spec.HierarchicalKVConfig) (spec.HierarchicalKV, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &hierarchicalKV{config: c}, nil
}

// hierarchicalKV keeps each tier as a list, least recently used first.
type hierarchicalKV struct {
	config          spec.HierarchicalKVConfig
	hot, warm, cold []tierEntry
	stats           spec.HierarchicalKVStats
}

type tierEntry struct {
	pos        int64
	key, value []float32
}

func (kv *hierarchicalKV) Put(pos int, key, value spec.Matrix) error {
	if err := kv.check("key", key); err != nil {
		return err
	}
	if err := kv.check("value", value); err != nil {
		return err
	}
	kv.put(tierEntry{int64(pos), slices.Clone(key.Data), slices.Clone(value.Data)})
	return nil
}

func (kv *hierarchicalKV) check(name string, m spec.Matrix) error {
	return spec.CheckMatrix("hierarchical-kv", name, m, kv.config.NHeads, kv.config.HeadDim)
}

func (kv *hierarchicalKV) PutMany(positions []int64, keys, values spec.Heads) error {
	c := kv.config
	if len(positions) == 0 {
		return spec.Reject(spec.Invalid, "hierarchical-kv", "positions", "at least 1 position", 0)
	}
	if err := spec.CheckHeads("hierarchical-kv", "keys", keys, c.NHeads, len(positions), c.HeadDim); err != nil {
		return err
	}
	if err := spec.CheckHeads("hierarchical-kv", "values", values, c.NHeads, len(positions), c.HeadDim); err != nil {
		return err
	}
	for t, pos := range positions {
		kv.put(tierEntry{pos, tokenOf(keys, t), tokenOf(values, t)})
	}
	return nil
}

func (kv *hierarchicalKV) put(e tierEntry) {
	kv.stats.Puts++
	kv.take(e.pos)
	kv.insert(e)
}

// tokenOf copies token t of every head.
func tokenOf(x spec.Heads, t int) []float32 {
	var out []float32
	for h := range x.Heads {
		out = append(out, x.Head(h).Row(t)...)
	}
	return out
}

func (kv *hierarchicalKV) Get(dst *spec.KVLookup, pos int) error {
	kv.stats.Gets++
	entry, tier := kv.take(int64(pos))
	dst.Hit = tier != nil
	switch tier {
	case nil:
		kv.stats.Misses++
		return nil
	case &kv.hot:
		kv.stats.HotHits++
	case &kv.warm:
		kv.stats.WarmHits++
	case &kv.cold:
		kv.stats.ColdHits++
	}
	kv.insert(entry)
	dst.Key.Resize(kv.config.NHeads, kv.config.HeadDim)
	dst.Value.Resize(kv.config.NHeads, kv.config.HeadDim)
	copy(dst.Key.Data, entry.key)
	copy(dst.Value.Data, entry.value)
	return nil
}

// take removes a position from its tier, and returns both; the tier is nil where
// the position is not stored.
func (kv *hierarchicalKV) take(pos int64) (tierEntry, *[]tierEntry) {
	for _, tier := range []*[]tierEntry{&kv.hot, &kv.warm, &kv.cold} {
		if i := slices.IndexFunc(*tier, func(e tierEntry) bool { return e.pos == pos }); i >= 0 {
			entry := (*tier)[i]
			*tier = slices.Delete(*tier, i, i+1)
			return entry, tier
		}
	}
	return tierEntry{}, nil
}

// insert adds an entry to hot, and hands what overflows a tier down to the next.
func (kv *hierarchicalKV) insert(e tierEntry) {
	kv.hot = append(kv.hot, e)
	if len(kv.hot) <= kv.config.HotCapacity {
		return
	}
	kv.warm = append(kv.warm, popFront(&kv.hot))
	kv.stats.Demotions++
	if len(kv.warm) <= kv.config.WarmCapacity {
		return
	}
	kv.cold = append(kv.cold, popFront(&kv.warm))
	kv.stats.Demotions++
	if len(kv.cold) > kv.config.ColdCapacity {
		popFront(&kv.cold)
		kv.stats.Evictions++
	}
}

func popFront(tier *[]tierEntry) tierEntry {
	e := (*tier)[0]
	*tier = slices.Delete(*tier, 0, 1)
	return e
}

func (kv *hierarchicalKV) NHot() int  { return len(kv.hot) }
func (kv *hierarchicalKV) NWarm() int { return len(kv.warm) }
func (kv *hierarchicalKV) NCold() int { return len(kv.cold) }

func (kv *hierarchicalKV) Stats() spec.HierarchicalKVStats {
	s := kv.stats
	if s.Gets > 0 {
		s.HitRate = float64(s.HotHits+s.WarmHits+s.ColdHits) / float64(s.Gets)
		s.HotHitRate = float64(s.HotHits) / float64(s.Gets)
	}
	return s
}
