package conformance

import (
	"math"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var hierarchicalKV = spec.ModuleByName("hierarchical-kv")

var hierarchicalKVModule = &module{
	spec: hierarchicalKV,
	laws: map[string]func(*trial){
		"lru-stack":      kvStack,
		"round-trip":     kvRoundTrip,
		"stack-distance": kvStackDistance,
		"capacity":       kvCapacity,
		"conservation":   kvConservation,
		"inclusion":      kvInclusion,
		"stats":          kvStats,
		"put-many":       kvPutMany,
	},
	program: kvProgram,
	badConfigs: map[string]any{
		"hot_capacity 0":              kvConfig(0, 2, 3, 1, 1),
		"hot_capacity −1":             kvConfig(-1, 2, 3, 1, 1),
		"warm_capacity = hot":         kvConfig(2, 2, 3, 1, 1),
		"warm_capacity below hot":     kvConfig(3, 2, 4, 1, 1),
		"cold_capacity = warm":        kvConfig(1, 3, 3, 1, 1),
		"cold_capacity below warm":    kvConfig(1, 3, 2, 1, 1),
		"n_heads 0":                   kvConfig(1, 2, 3, 0, 1),
		"n_heads −1":                  kvConfig(1, 2, 3, -1, 1),
		"head_dim 0":                  kvConfig(1, 2, 3, 1, 0),
		"head_dim −4":                 kvConfig(1, 2, 3, 1, -4),
		"stores beyond 2³⁰":           kvConfig(1, 2, 1<<29, 1, 1),
		"stores whose size overflows": kvConfig(1, 2, math.MaxInt, math.MaxInt, math.MaxInt),
		"capacities whose sum does":   kvConfig(math.MaxInt-2, math.MaxInt-1, math.MaxInt, 1, 1),
	},
	badSteps: kvBadSteps,
	equal: map[string]comparison{
		"get": func(t *trial, _ any, args []any, got, want any) {
			sameLookup(t, args[0].(int), *got.(*spec.KVLookup), *want.(*spec.KVLookup))
		},
	},
	rows: []row{
		{"hierarchical-kv/put", kvPutRow, kvSameResult},
		{"hierarchical-kv/get-hit", kvGetRow(0), kvSameResult},
		{"hierarchical-kv/get-miss", kvGetRow(1 << 20), kvSameResult},
	},
}

// kvRowConfig is a row's config: the default capacities, and the workload's shape.
func kvRowConfig(w spec.Workload) spec.HierarchicalKVConfig {
	d := spec.DefaultHierarchicalKVConfig()
	return kvConfig(w.Int("hot", d.HotCapacity), w.Int("warm", d.WarmCapacity), w.Int("cold", d.ColdCapacity),
		w.Int("n_heads", d.NHeads), w.Int("head_dim", d.HeadDim))
}

func kvSameResult(t *trial, got, want any) {
	sameLookup(t, 0, *got.(*spec.KVLookup), *want.(*spec.KVLookup))
}

// kvPutRow writes ever new positions: the stores are full, and every put moves a
// position down each tier and drops one.
func kvPutRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	c, tokens := kvRowConfig(w), w.Int("tokens", 1)
	kv, err := impl.HierarchicalKV(c)
	keys := gaussianHeads(c.NHeads, tokens, c.HeadDim, 23)
	key := token(keys, 0)
	positions := make([]int64, tokens)
	next := 0
	t := timing{calls: 64}
	if tokens == 1 {
		t.call = func(int) error {
			next++
			return kv.Put(next, key, key)
		}
	} else {
		many, ok := kv.(spec.HierarchicalKVMany)
		if !ok {
			return t, spec.Reject(spec.Unsupported, "hierarchical-kv", "put_many", "an instance that has it", "one without")
		}
		t.call = func(int) error {
			for i := range positions {
				next++
				positions[i] = int64(next)
			}
			return many.PutMany(positions, keys, keys)
		}
	}
	t.result = func() (any, error) {
		var out spec.KVLookup
		return &out, kv.Get(&out, next)
	}
	return t, err
}

// kvGetRow gets the hot positions in turn, or positions that are as far off as
// missing says.
func kvGetRow(missing int) func(spec.Implementation, spec.WorkloadName, spec.Workload) (timing, error) {
	return func(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
		c := kvRowConfig(w)
		kv, err := impl.HierarchicalKV(c)
		if err != nil {
			return timing{}, err
		}
		key := spec.Matrix{Rows: c.NHeads, Cols: c.HeadDim, Data: gaussian(c.NHeads*c.HeadDim, 23)}
		for pos := range c.HotCapacity {
			if err := kv.Put(pos, key, key); err != nil {
				return timing{}, err
			}
		}
		var out spec.KVLookup
		return timing{
			calls:  c.HotCapacity,
			call:   func(i int) error { return kv.Get(&out, i+missing) },
			result: func() (any, error) { return &out, nil },
		}, nil
	}
}

func kvConfig(hot, warm, cold, heads, dim int) spec.HierarchicalKVConfig {
	return spec.HierarchicalKVConfig{HotCapacity: hot, WarmCapacity: warm, ColdCapacity: cold, NHeads: heads, HeadDim: dim}
}

// sameLookup compares lookups bit for bit; what a miss leaves in key and value is
// nobody's.
func sameLookup(t *trial, pos int, got, want spec.KVLookup) {
	t.Helper()
	t.holds(got.Hit == want.Hit, "get %d: got hit = %v, want %v", pos, got.Hit, want.Hit)
	if want.Hit {
		t.sameBits("key", got.Key, want.Key)
		t.sameBits("value", got.Value, want.Value)
	}
}

func drawKVConfig(t *trial) spec.HierarchicalKVConfig {
	hot := size(t, 1, 3, "hot")
	warm := hot + size(t, 1, 3, "warm − hot")
	cold := warm + size(t, 1, 3, "cold − warm")
	return kvConfig(hot, warm, cold, size(t, 1, 3, "heads"), size(t, 1, 4, "dim"))
}

// drawPos draws a position of a small set, a little larger than the stores, so
// that hits in every tier, misses and evictions all happen.
func drawPos(t *trial, c spec.HierarchicalKVConfig) int {
	stored := c.HotCapacity + c.WarmCapacity + c.ColdCapacity
	return rapid.IntRange(-1, stored+2).Draw(t.T, "pos")
}

// payload draws a (heads, dim) matrix of any bits: a store moves bytes.
func payload(t *trial, c spec.HierarchicalKVConfig, label string) spec.Matrix {
	m := spec.Matrix{Rows: c.NHeads, Cols: c.HeadDim, Data: make([]float32, c.NHeads*c.HeadDim)}
	bits := source(t, label)
	for i := range m.Data {
		m.Data[i] = math.Float32frombits(bits.Uint32())
	}
	m.Data[0] = rapid.SampledFrom([]float32{1, float32(math.Copysign(0, -1)), quietNaN, signallingNaN, float32(math.Inf(1)), 0x1p-149}).Draw(t.T, label)
	return m
}

// NaNs whose payload shows whether they were copied or computed with.
var (
	quietNaN      = math.Float32frombits(0x7fc12345)
	signallingNaN = math.Float32frombits(0x7f812345)
)

func kvProgram(t *trial, _ spec.Variant) program {
	c := drawKVConfig(t)
	p := program{config: c}
	for range size(t, 1, 40, "calls") {
		switch rapid.IntRange(0, 9).Draw(t.T, "call") {
		case 0, 1, 2, 3:
			p.steps = append(p.steps, call(hierarchicalKV, "get", drawPos(t, c)))
		case 4:
			positions, keys, values := drawMany(t, c)
			p.steps = append(p.steps, call(hierarchicalKV, "put_many", positions, keys, values))
		default:
			p.steps = append(p.steps, call(hierarchicalKV, "put", drawPos(t, c), payload(t, c, "key"), payload(t, c, "value")))
		}
	}
	return p
}

func drawMany(t *trial, c spec.HierarchicalKVConfig) (positions []int64, keys, values spec.Heads) {
	n := size(t, 1, 6, "tokens")
	for range n {
		positions = append(positions, int64(drawPos(t, c)))
	}
	return positions, heads(t, c.NHeads, n, c.HeadDim, anyStyles, "keys"), heads(t, c.NHeads, n, c.HeadDim, anyStyles, "values")
}

func kvBadSteps(t *trial, config any) []badStep {
	c := config.(spec.HierarchicalKVConfig)
	pos := drawPos(t, c)
	good := payload(t, c, "key")
	shaped := func(rows, cols int) spec.Matrix {
		return spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	}
	h, d := c.NHeads, c.HeadDim
	positions, keys, values := drawMany(t, c)
	fewer := keys
	fewer.Tokens--
	short := keys
	short.Data = short.Data[:len(short.Data)-1]
	short.Stride = short.Tokens * short.Dim
	short.Data = short.Data[:h*short.Stride-1]
	other := spec.Heads{Heads: h, Tokens: len(positions), Dim: d + 1, Stride: len(positions) * (d + 1), Data: make([]float32, h*len(positions)*(d+1))}
	return []badStep{
		{"a key of one head more", call(hierarchicalKV, "put", pos, shaped(h+1, d), good), spec.Invalid},
		{"a value of one element more", call(hierarchicalKV, "put", pos, good, shaped(h, d+1)), spec.Invalid},
		{"a transposed shape", call(hierarchicalKV, "put", pos, shaped(d+1, h), good), spec.Invalid},
		{"an empty key", call(hierarchicalKV, "put", pos, spec.Matrix{}, good), spec.Invalid},
		{"an empty value", call(hierarchicalKV, "put", pos, good, spec.Matrix{}), spec.Invalid},
		{"a key with less data than its shape", call(hierarchicalKV, "put", pos, spec.Matrix{Rows: h, Cols: d, Data: make([]float32, h*d-1)}, good), spec.Invalid},
		{"a negative shape", call(hierarchicalKV, "put", pos, spec.Matrix{Rows: -h, Cols: -d, Data: make([]float32, h*d)}, good), spec.Invalid},
		{"no positions", call(hierarchicalKV, "put_many", []int64{}, spec.Heads{Heads: h, Dim: d}, spec.Heads{Heads: h, Dim: d}), spec.Invalid},
		{"more positions than tokens", call(hierarchicalKV, "put_many", append(positions[:len(positions):len(positions)], 1), keys, values), spec.Invalid},
		{"fewer key tokens", call(hierarchicalKV, "put_many", positions, fewer, values), spec.Invalid},
		{"keys of another dim", call(hierarchicalKV, "put_many", positions, other, values), spec.Invalid},
		{"values of another dim", call(hierarchicalKV, "put_many", positions, keys, other), spec.Invalid},
		{"keys with less data than their shape", call(hierarchicalKV, "put_many", positions, short, values), spec.Invalid},
	}
}

// kvModel is one list, most recent first, and no tiers: a position's tier follows
// from its place.
type kvModel struct {
	config  spec.HierarchicalKVConfig
	stack   []int
	stored  map[int]spec.KVLookup
	stats   spec.HierarchicalKVStats
	arrived int // positions that were not stored when they were put
}

func newKVModel(c spec.HierarchicalKVConfig) *kvModel {
	return &kvModel{config: c, stored: map[int]spec.KVLookup{}}
}

// tier returns 0, 1, 2 for a place in hot, warm, cold and 3 below.
func (m *kvModel) tier(place int) int {
	c := m.config
	for tier, end := range []int{c.HotCapacity, c.HotCapacity + c.WarmCapacity, c.HotCapacity + c.WarmCapacity + c.ColdCapacity} {
		if place < end {
			return tier
		}
	}
	return 3
}

// use moves a position to the top and counts who crosses a border on the way
// down.
func (m *kvModel) use(pos int) {
	tiers := map[int]int{}
	for place, p := range m.stack {
		tiers[p] = m.tier(place)
	}
	if place := slices.Index(m.stack, pos); place >= 0 {
		m.stack = slices.Delete(m.stack, place, place+1)
	} else {
		m.arrived++
	}
	m.stack = slices.Insert(m.stack, 0, pos)
	for place, p := range m.stack {
		switch was, is := tiers[p], m.tier(place); {
		case p == pos:
		case is == 3:
			m.stack = m.stack[:place]
			delete(m.stored, p)
			m.stats.Evictions++
		case is > was:
			m.stats.Demotions++
		}
	}
}

func (m *kvModel) put(pos int, key, value spec.Matrix) {
	m.stats.Puts++
	m.use(pos)
	m.stored[pos] = cloneAs(spec.KVLookup{Hit: true, Key: key, Value: value})
}

func (m *kvModel) get(pos int) spec.KVLookup {
	m.stats.Gets++
	place := slices.Index(m.stack, pos)
	if place < 0 {
		m.stats.Misses++
		return spec.KVLookup{}
	}
	*[]*int{&m.stats.HotHits, &m.stats.WarmHits, &m.stats.ColdHits}[m.tier(place)]++
	m.use(pos)
	return m.stored[pos]
}

// count returns how many positions are in a tier.
func (m *kvModel) count(tier int) int {
	n := 0
	for place := range m.stack {
		if m.tier(place) == tier {
			n++
		}
	}
	return n
}

// kvTrace plays a drawn trace on an instance and the model and calls after every
// step.
func kvTrace(t *trial, c spec.HierarchicalKVConfig, after func(kv spec.HierarchicalKV, m *kvModel)) {
	kv, model := open(t, t.impl.HierarchicalKV, c), newKVModel(c)
	step := func(f func()) func(*rapid.T) { return func(*rapid.T) { f() } }
	t.Repeat(map[string]func(*rapid.T){
		"put": step(func() {
			pos, key, value := drawPos(t, c), payload(t, c, "key"), payload(t, c, "value")
			t.must(kv.Put(pos, key, value))
			model.put(pos, key, value)
		}),
		"get": step(func() {
			pos := drawPos(t, c)
			var got spec.KVLookup
			t.must(kv.Get(&got, pos))
			sameLookup(t, pos, got, model.get(pos))
		}),
		"": step(func() { after(kv, model) }),
	})
}

func kvStack(t *trial) {
	kvTrace(t, drawKVConfig(t), func(kv spec.HierarchicalKV, m *kvModel) {
		t.equal("n_hot", kv.NHot(), m.count(0))
		t.equal("n_warm", kv.NWarm(), m.count(1))
		t.equal("n_cold", kv.NCold(), m.count(2))
		got := kv.Stats()
		got.HitRate, got.HotHitRate = 0, 0
		t.equal("stats", got, m.stats)
	})
}

func kvRoundTrip(t *trial) {
	c := drawKVConfig(t)
	kv := open(t, t.impl.HierarchicalKV, c)
	last := map[int]spec.KVLookup{}
	for pos := range size(t, 1, c.HotCapacity+c.WarmCapacity+c.ColdCapacity, "positions") {
		for range size(t, 1, 2, "puts") {
			key, value := payload(t, c, "key"), payload(t, c, "value")
			t.must(kv.Put(pos, key, value))
			last[pos] = spec.KVLookup{Hit: true, Key: key, Value: value}
		}
	}
	for pos := range len(last) {
		var got spec.KVLookup
		t.must(kv.Get(&got, pos))
		sameLookup(t, pos, got, last[pos])
	}
}

// kvStackDistance counts, for every get of a trace, the distinct positions used
// since that position's last use, and expects the hit in the tier of that number.
func kvStackDistance(t *trial) {
	c := drawKVConfig(t)
	kv := open(t, t.impl.HierarchicalKV, c)
	tierOf := newKVModel(c).tier
	var used []int
	for range size(t, 1, 60, "uses") {
		pos := drawPos(t, c)
		place := slices.Index(used, pos)
		distance := math.MaxInt
		if place >= 0 {
			seen := map[int]bool{}
			for _, p := range used[:place] {
				seen[p] = true
			}
			distance = len(seen)
		}
		before := kv.Stats()
		var got spec.KVLookup
		t.must(kv.Get(&got, pos))
		after := kv.Stats()
		tier := 3
		for i, hits := range []int{after.HotHits - before.HotHits, after.WarmHits - before.WarmHits, after.ColdHits - before.ColdHits} {
			if hits > 0 {
				tier = i
			}
		}
		t.holds(tier == tierOf(distance), "get %d after %d other positions: got tier %d, want %d (0 hot, 1 warm, 2 cold, 3 miss)", pos, distance, tier, tierOf(distance))
		if !got.Hit {
			t.must(kv.Put(pos, payload(t, c, "key"), payload(t, c, "value")))
		}
		used = slices.Insert(used, 0, pos)
	}
}

func kvCapacity(t *trial) {
	c := drawKVConfig(t)
	kvTrace(t, c, func(kv spec.HierarchicalKV, _ *kvModel) {
		hot, warm, cold := kv.NHot(), kv.NWarm(), kv.NCold()
		t.holds(hot <= c.HotCapacity && warm <= c.WarmCapacity && cold <= c.ColdCapacity,
			"got %d hot, %d warm, %d cold positions, want at most %d, %d, %d", hot, warm, cold, c.HotCapacity, c.WarmCapacity, c.ColdCapacity)
		t.holds(warm == 0 || hot == c.HotCapacity, "got %d warm positions while only %d of %d are hot", warm, hot, c.HotCapacity)
		t.holds(cold == 0 || warm == c.WarmCapacity, "got %d cold positions while only %d of %d are warm", cold, warm, c.WarmCapacity)
	})
}

func kvConservation(t *trial) {
	kvTrace(t, drawKVConfig(t), func(kv spec.HierarchicalKV, m *kvModel) {
		s := kv.Stats()
		t.holds(s.HotHits+s.WarmHits+s.ColdHits+s.Misses == s.Gets, "got %d + %d + %d hits and %d misses of %d gets", s.HotHits, s.WarmHits, s.ColdHits, s.Misses, s.Gets)
		stored := kv.NHot() + kv.NWarm() + kv.NCold()
		t.holds(stored == m.arrived-s.Evictions, "got %d positions stored, want %d new ones less %d evicted", stored, m.arrived, s.Evictions)
	})
}

func kvInclusion(t *trial) {
	small := drawKVConfig(t)
	large := small
	large.HotCapacity += size(t, 0, 2, "more hot")
	large.WarmCapacity += size(t, 2, 4, "more warm")
	large.ColdCapacity += size(t, 4, 6, "more cold")
	a, b := open(t, t.impl.HierarchicalKV, small), open(t, t.impl.HierarchicalKV, large)
	for range size(t, 1, 60, "uses") {
		pos := drawPos(t, large)
		var less, more spec.KVLookup
		t.must(a.Get(&less, pos))
		t.must(b.Get(&more, pos))
		t.holds(more.Hit || !less.Hit, "get %d hits with capacities %v and misses with %v", pos, small, large)
		key := payload(t, small, "key")
		t.must(a.Put(pos, key, key))
		t.must(b.Put(pos, key, key))
	}
}

func kvStats(t *trial) {
	kvTrace(t, drawKVConfig(t), func(kv spec.HierarchicalKV, _ *kvModel) {
		s := kv.Stats()
		var hits, hot float64
		if s.Gets > 0 {
			hits = float64(s.HotHits+s.WarmHits+s.ColdHits) / float64(s.Gets)
			hot = float64(s.HotHits) / float64(s.Gets)
		}
		t.within("hit_rate", s.HitRate, hits, 0x1p-50)
		t.within("hot_hit_rate", s.HotHitRate, hot, 0x1p-50)
	})
}

func kvPutMany(t *trial) {
	c := drawKVConfig(t)
	together, apart := open(t, t.impl.HierarchicalKV, c), open(t, t.impl.HierarchicalKV, c)
	for range size(t, 1, 4, "calls") {
		positions, keys, values := drawMany(t, c)
		t.must(together.(spec.HierarchicalKVMany).PutMany(positions, keys, values))
		for i, pos := range positions {
			t.must(apart.Put(int(pos), token(keys, i), token(values, i)))
		}
	}
	t.equal("stats", together.Stats(), apart.Stats())
	for pos := -1; pos <= c.HotCapacity+c.WarmCapacity+c.ColdCapacity+2; pos++ {
		var one, other spec.KVLookup
		t.must(together.Get(&one, pos))
		t.must(apart.Get(&other, pos))
		sameLookup(t, pos, one, other)
	}
}

// token returns token i of x as a (heads, dim) matrix.
func token(x spec.Heads, i int) spec.Matrix {
	var m spec.Matrix
	m.Resize(x.Heads, x.Dim)
	for h := range x.Heads {
		copy(m.Row(h), x.Head(h).Row(i))
	}
	return m
}
