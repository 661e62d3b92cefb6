package conformance

import (
	"slices"
	"strings"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var ragPrefetchMutants = []mutant{
	{"rag-prefetch/scores", "decays a hundredth faster", onPrefetchConfig(func(c *spec.RAGPrefetchConfig) {
		if c.RecencyDecay > 0.5 {
			c.RecencyDecay *= 0.9
		}
	}), ""},
	{"rag-prefetch/scores", "never drops the newcomer", sparesNewcomer, ""},
	{"rag-prefetch/digest", "writes capitals", after("record_access", func(c *proxy.Call) {
		*c.Dst.(*string) = strings.ToUpper(*c.Dst.(*string))
	}), ""},
	{"rag-prefetch/digest", "takes the ids for int32", before("record_access", func(c *proxy.Call) {
		for i, id := range c.Args[0].([]int64) {
			c.Args[0].([]int64)[i] = int64(int32(id))
		}
	}), ""},
	{"rag-prefetch/frequency", "decays a little where it should not", onPrefetchConfig(func(c *spec.RAGPrefetchConfig) {
		c.RecencyDecay = min(c.RecencyDecay, 0.9)
	}), ""},
	{"rag-prefetch/recency", "lets frequency have a say", onPrefetchConfig(func(c *spec.RAGPrefetchConfig) {
		c.RecencyDecay = max(c.RecencyDecay, 0.7)
	}), ""},
	{"rag-prefetch/bystanders", "lists them in reverse after an even number of accesses", onCandidates(func(accesses int, list []string) {
		if accesses%2 == 0 {
			slices.Reverse(list)
		}
	}), ""},
	{"rag-prefetch/underflow", "takes small scores for equal, and the latest of them first", func(next proxy.Handler) proxy.Handler {
		return onCandidates(func(accesses int, list []string) {
			if accesses > 1000 && len(list) == 3 {
				list[1], list[2] = list[2], list[1]
			}
		})(next)
	}, ""},
	{"rag-prefetch/top-k", "names one candidate more", onPrefetchConfig(func(c *spec.RAGPrefetchConfig) { c.TopK++ }), ""},
	{"rag-prefetch/top-k", "asks for one access less", onPrefetchConfig(func(c *spec.RAGPrefetchConfig) { c.MinAccesses = max(1, c.MinAccesses-1) }), ""},
	{"rag-prefetch/window", "lets one access more count", onPrefetchConfig(func(c *spec.RAGPrefetchConfig) {
		if c.Window > 0 {
			c.Window++
		}
	}), ""},
	{"rag-prefetch/window", "counts what expires as evicted", func(next proxy.Handler) proxy.Handler {
		var evictions int
		return func(c *proxy.Call) error {
			var before, afterwards spec.RAGPrefetchStats
			var tracked, now int
			ask := func(op string, dst any) {
				next(&proxy.Call{Module: c.Module, Op: c.Module.Operation(op), Dst: dst})
			}
			if c.Op.Name == "record_access" {
				ask("n_tracked", &tracked)
				ask("stats", &before)
			}
			err := next(c)
			if err == nil && c.Op.Name == "record_access" {
				ask("n_tracked", &now)
				ask("stats", &afterwards)
				if now < tracked || now == tracked && afterwards.Hits == before.Hits {
					evictions++
				}
			}
			if c.Op.Name == "stats" {
				c.Dst.(*spec.RAGPrefetchStats).Evictions = evictions
			}
			return err
		}
	}, ""},
	{"rag-prefetch/conservation", "tracks one document too many", onPrefetchConfig(func(c *spec.RAGPrefetchConfig) { c.MaxDocs++ }), ""},
	{"rag-prefetch/conservation", "does not count evictions", after("stats", func(c *proxy.Call) {
		c.Dst.(*spec.RAGPrefetchStats).Evictions = 0
	}), ""},
	{"rag-prefetch/pure", "takes asking for candidates for an access", func(next proxy.Handler) proxy.Handler {
		var last []int64
		return func(c *proxy.Call) error {
			err := next(c)
			switch {
			case err != nil:
			case c.Op.Name == "record_access":
				last = slices.Clone(c.Args[0].([]int64))
			case c.Op.Name == "get_warmup_candidates" && last != nil:
				next(&proxy.Call{Module: c.Module, Op: c.Module.Operation("record_access"), Args: []any{last}, Dst: new(string)})
			}
			return err
		}
	}, ""},
	{"rag-prefetch/stats", "counts a document's first access as a hit", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.RAGPrefetchStats)
		s.Hits = s.Accesses
	}), ""},
}

// onPrefetchConfig changes a config that is otherwise accepted.
func onPrefetchConfig(change func(*spec.RAGPrefetchConfig)) proxy.Layer {
	return before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.RAGPrefetchConfig)
		if config.Validate() == nil {
			change(&config)
		}
		c.Args[0] = config
	})
}

// onCandidates spoils candidates, given the number of accesses before.
func onCandidates(spoil func(accesses int, list []string)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		accesses := 0
		return func(c *proxy.Call) error {
			err := next(c)
			switch {
			case err != nil:
			case c.Op.Name == "record_access":
				accesses++
			case c.Op.Name == "get_warmup_candidates":
				spoil(accesses, *c.Dst.(*[]string))
			}
			return err
		}
	}
}

// sparesNewcomer accesses a document that was dropped at once again.
func sparesNewcomer(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		err := next(c)
		if err == nil && c.Op.Name == "record_access" {
			var before, afterwards spec.RAGPrefetchStats
			stats := c.Module.Operation("stats")
			next(&proxy.Call{Module: c.Module, Op: stats, Dst: &before})
			if before.Evictions > 0 {
				next(&proxy.Call{Module: c.Module, Op: c.Op, Args: c.Args, Dst: new(string)})
				next(&proxy.Call{Module: c.Module, Op: stats, Dst: &afterwards})
			}
		}
		return err
	}
}
