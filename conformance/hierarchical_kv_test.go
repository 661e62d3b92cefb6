package conformance

import (
	"slices"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var hierarchicalKVMutants = []mutant{
	{"hierarchical-kv/lru-stack", "has room for one more in warm", resized(func(c *spec.HierarchicalKVConfig) {
		c.WarmCapacity++
		c.ColdCapacity++
	}), ""},
	{"hierarchical-kv/lru-stack", "refreshes position 0 with every put", refreshZero, ""},
	{"hierarchical-kv/round-trip", "adds 0 to every number, which loses −0 and payloads", after("get", func(c *proxy.Call) {
		kv := c.Dst.(*spec.KVLookup)
		for i, v := range kv.Key.Data {
			kv.Key.Data[i] = v + 0
			if v != v {
				kv.Key.Data[i] = quietNaN
			}
		}
	}), ""},
	{"hierarchical-kv/round-trip", "swaps key and value", after("get", func(c *proxy.Call) {
		kv := c.Dst.(*spec.KVLookup)
		kv.Key, kv.Value = kv.Value, kv.Key
	}), ""},
	{"hierarchical-kv/stack-distance", "has room for one more in hot", moreHot, ""},
	{"hierarchical-kv/capacity", "has room for one more in hot", moreHot, ""},
	{"hierarchical-kv/conservation", "does not count a miss", after("stats", func(c *proxy.Call) {
		if s := c.Dst.(*spec.HierarchicalKVStats); s.Misses > 0 {
			s.Misses--
		}
	}), ""},
	{"hierarchical-kv/conservation", "counts every eviction twice", after("stats", func(c *proxy.Call) {
		c.Dst.(*spec.HierarchicalKVStats).Evictions *= 2
	}), ""},
	{"hierarchical-kv/inclusion", "cuts stores of more than 8 in cold down to 1, 2 and 3", resized(func(c *spec.HierarchicalKVConfig) {
		if c.ColdCapacity > 8 {
			c.HotCapacity, c.WarmCapacity, c.ColdCapacity = 1, 2, 3
		}
	}), ""},
	{"hierarchical-kv/stats", "counts hot hits only in the hit rate", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.HierarchicalKVStats)
		s.HitRate = s.HotHitRate
	}), ""},
	{"hierarchical-kv/put-many", "writes the tokens back to front", before("put_many", func(c *proxy.Call) {
		if keys := c.Args[1].(spec.Heads); keys.Tokens == len(c.Args[0].([]int64)) {
			slices.Reverse(c.Args[0].([]int64))
		}
	}), ""},
	{"hierarchical-kv/errors-change-nothing", "keeps the first of several tokens when the others are refused", partialMany, spec.ChangedState},
	{"hierarchical-kv/nothing-aliased", "keeps the caller's key", keepKeys, spec.Aliased},
}

var moreHot = resized(func(c *spec.HierarchicalKVConfig) {
	c.HotCapacity++
	c.WarmCapacity++
	c.ColdCapacity++
})

// resized changes a config that was accepted.
func resized(change func(*spec.HierarchicalKVConfig)) proxy.Layer {
	return before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.HierarchicalKVConfig)
		if config.Validate() == nil {
			change(&config)
		}
		c.Args[0] = config
	})
}

func refreshZero(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		err := next(c)
		if err == nil && c.Op.Name == "put" {
			do(next, c.Module, call(hierarchicalKV, "get", 0))
		}
		return err
	}
}

func partialMany(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		err := next(c)
		if err != nil && c.Op.Name == "put_many" {
			keys, values := c.Args[1].(spec.Heads), c.Args[2].(spec.Heads)
			if keys.Tokens > 0 && values.Tokens > 0 && len(keys.Data) >= keys.Heads*keys.Stride && len(c.Args[0].([]int64)) > 0 {
				do(next, c.Module, call(hierarchicalKV, "put", int(c.Args[0].([]int64)[0]), token(keys, 0), token(values, 0)))
			}
		}
		return err
	}
}

func keepKeys(next proxy.Handler) proxy.Handler {
	kept := map[int]spec.Matrix{}
	return func(c *proxy.Call) error {
		err := next(c)
		if err != nil {
			return err
		}
		switch c.Op.Name {
		case "put":
			kept[c.Args[0].(int)] = c.Args[1].(spec.Matrix)
		case "get":
			if key, ok := kept[c.Args[0].(int)]; ok {
				copy(c.Dst.(*spec.KVLookup).Key.Data, key.Data)
			}
		}
		return err
	}
}
