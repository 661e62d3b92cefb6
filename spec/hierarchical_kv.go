package spec

import "reflect"

// HierarchicalKV keeps the keys and values of token positions in three tiers,
// hot, warm and cold, least recently used out. The tiers are one LRU stack cut
// in three (Mattson et al. 1970).
//
// Values are moved, never interpreted: NaN payloads and −0 come back bit for
// bit. A position is any integer.
//
// Page rows: hierarchical-kv/put, hierarchical-kv/get-hit, hierarchical-kv/get-miss.
type HierarchicalKV interface {
	// Put copies a key and a value, both (heads, dim), into the most recent end of
	// hot; a position already stored moves there. A tier over capacity hands its
	// least recent position to the most recent end of the tier below; what
	// overflows cold is dropped. Wrong shapes are Invalid.
	Put(pos int, key, value Matrix) error
	// Get copies what is stored at pos, or reports a miss. A hit in any tier moves
	// to the most recent end of hot; a miss stores nothing.
	Get(dst *KVLookup, pos int) error
	NHot() int
	NWarm() int
	NCold() int
	Stats() HierarchicalKVStats
}

// HierarchicalKVMany writes several tokens in one call.
type HierarchicalKVMany interface {
	// PutMany is Put of each position in order, with keys and values (heads,
	// tokens, dim), all or nothing. A position may come twice. No positions, and
	// shapes that do not fit them, are Invalid.
	PutMany(positions []int64, keys, values Heads) error
}

// HierarchicalKVConfig configures HierarchicalKV. Capacities are in positions
// and grow strictly: 1 ≤ hot < warm < cold.
type HierarchicalKVConfig struct {
	HotCapacity  int `wire:"hot_capacity"`  // default 64
	WarmCapacity int `wire:"warm_capacity"` // default 256
	ColdCapacity int `wire:"cold_capacity"` // default 1024
	NHeads       int `wire:"n_heads"`       // default 4
	HeadDim      int `wire:"head_dim"`      // default 64
}

// DefaultHierarchicalKVConfig returns the defaults.
func DefaultHierarchicalKVConfig() HierarchicalKVConfig {
	return HierarchicalKVConfig{HotCapacity: 64, WarmCapacity: 256, ColdCapacity: 1024, NHeads: 4, HeadDim: 64}
}

// Validate returns an Invalid error that names the field out of range.
func (c HierarchicalKVConfig) Validate() error {
	const m = "hierarchical-kv"
	return firstError(
		atLeast(m, "hot_capacity", c.HotCapacity, 1),
		above(m, "warm_capacity", c.WarmCapacity, "hot_capacity", c.HotCapacity),
		above(m, "cold_capacity", c.ColdCapacity, "warm_capacity", c.WarmCapacity),
		atLeast(m, "n_heads", c.NHeads, 1),
		atLeast(m, "head_dim", c.HeadDim, 1),
		c.storesFit(),
	)
}

// storesFit bounds keys and values of all three tiers. The capacities are added
// only once each is known to be small.
func (c HierarchicalKVConfig) storesFit() error {
	if err := storesFit("hierarchical-kv", c.ColdCapacity, 2, c.NHeads, c.HeadDim); err != nil {
		return err
	}
	return storesFit("hierarchical-kv", c.HotCapacity+c.WarmCapacity+c.ColdCapacity, 2, c.NHeads, c.HeadDim)
}

// KVLookup is the answer of Get.
type KVLookup struct {
	// Hit is false for a miss; Key and Value are then unspecified.
	Hit bool `wire:"?"`
	// Key and Value are (heads, dim), copies.
	Key   Matrix `wire:"0"`
	Value Matrix `wire:"1"`
}

// HierarchicalKVStats count what happened so far.
type HierarchicalKVStats struct {
	Puts      int `wire:"total_puts"`
	Gets      int `wire:"total_gets"`
	HotHits   int `wire:"hot_hits"`
	WarmHits  int `wire:"warm_hits"`
	ColdHits  int `wire:"cold_hits"`
	Misses    int `wire:"cold_misses"`
	Demotions int `wire:"total_demotions"` // one per move down a tier
	Evictions int `wire:"total_evictions"` // positions dropped from cold
	// HitRate is hits/gets and HotHitRate hot hits/gets, 0 before any get.
	HitRate    float64 `wire:"hit_rate"`
	HotHitRate float64 `wire:"hot_hit_rate"`
}

var hierarchicalKV = &Module{
	Name: "hierarchical-kv", Wave: 23,
	Summary:   "keys and values of positions in three LRU tiers",
	Interface: reflect.TypeFor[HierarchicalKV](),
	Config:    DefaultHierarchicalKVConfig(),
	Defaults:  defaults(func(HierarchicalKVConfig) HierarchicalKVConfig { return DefaultHierarchicalKVConfig() }),
	Operations: []Operation{
		op[HierarchicalKV]("put", Param{}, named("pos"), named("key"), named("value")),
		op[HierarchicalKV]("get", named("kv"), named("pos")),
		op[HierarchicalKV]("n_hot", named("n_hot")),
		op[HierarchicalKV]("n_warm", named("n_warm")),
		op[HierarchicalKV]("n_cold", named("n_cold")),
		op[HierarchicalKV]("stats", Param{}),
		optional[HierarchicalKVMany]("put_many", Param{}, named("positions"), named("keys"), named("values")),
	},
	Requirements: append([]Requirement{{
		ID: "hierarchical-kv/lru-stack", Level: Must, Kind: Model,
		Text:      "The three tiers are one least-recently-used stack cut at hot, hot+warm and hot+warm+cold positions.",
		Tolerance: "bitwise", Why: "values are moved, never computed with", Second: "a model of one list and no tiers",
		Source: "Mattson et al. 1970",
	}, {
		ID: "hierarchical-kv/round-trip", Level: Must, Kind: Law,
		Text:      "A key and a value come back bit for bit, NaN payloads and −0 included, and the last put of a position wins.",
		Tolerance: "bitwise", Why: "values are moved, never computed with", Source: "KV stores are byte movers",
	}, {
		ID: "hierarchical-kv/stack-distance", Level: Must, Kind: Law,
		Text:      "A get hits hot, warm or cold exactly where the number of distinct positions used since that position's last use puts it.",
		Tolerance: exact, Why: exactWhy, Source: "Mattson et al. 1970; stack distances are counted from the trace",
	}, {
		ID: "hierarchical-kv/capacity", Level: Must, Kind: Law,
		Text:      "No tier ever holds more than its capacity, and a tier holds something only while every tier above it is full.",
		Tolerance: exact, Why: exactWhy, Source: "one stack cut in three",
	}, {
		ID: "hierarchical-kv/conservation", Level: Must, Kind: Law,
		Text:      "Hits and misses add up to gets, and new positions less evictions to the positions stored.",
		Tolerance: exact, Why: exactWhy, Source: "nothing is lost but what is counted as evicted",
	}, {
		ID: "hierarchical-kv/inclusion", Level: Must, Kind: Law,
		Text:      "Over the same trace, whatever a smaller store hits a larger one hits too.",
		Tolerance: exact, Why: exactWhy, Source: "LRU is a stack algorithm: Mattson et al. 1970",
	}, {
		ID: "hierarchical-kv/stats", Level: Must, Kind: Law,
		Text:      "Hit rate is hits/gets and hot hit rate hot hits/gets, 0 before any get.",
		Tolerance: "2⁻⁵⁰", Why: "one division in float64", Source: "the recording's stats",
	}, {
		ID: "hierarchical-kv/put-many", Level: Must, Kind: Law, Needs: []string{"put_many"},
		Text:      "Several tokens written in one call leave what writing them one by one leaves, stats included.",
		Tolerance: "bitwise", Why: "values are moved, never computed with", Source: "page row hierarchical-kv/put: 8 tokens in one call",
	}}, common("hierarchical-kv", nil, "bitwise; rates 2⁻⁵⁰", "values are moved, never computed with",
		"the LRU stack model of hierarchical-kv/lru-stack")...),
}
