package conformance

import (
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var streamRAGMutants = []mutant{
	{"stream-rag/buffer", "drops the oldest to make room", dropsOldest, ""},
	{"stream-rag/buffer", "forgets the query once it is answered", forgetsQuery, ""},
	{"stream-rag/bm25", "takes other documents for 1% more relevant", onRelevance(func(r float64) float64 { return 1.01 * r }), ""},
	{"stream-rag/bm25", "counts a term once a document", before("inject", func(c *proxy.Call) {
		seen := map[int64]bool{}
		for i, id := range c.Args[1].([]int64) {
			if seen[id] {
				c.Args[1].([]int64)[i] = 1000 + int64(i)
			}
			seen[id] = true
		}
	}), ""},
	{"stream-rag/bm25-frequency", "counts a term once a document", before("inject", func(c *proxy.Call) {
		seen := false
		for i, id := range c.Args[1].([]int64) {
			if id == ragTerm && seen {
				c.Args[1].([]int64)[i] = 1000
			}
			seen = seen || id == ragTerm
		}
	}), ""},
	{"stream-rag/bm25-bounded", "lets frequency count without bound", func(next proxy.Handler) proxy.Handler {
		return onRelevance(func(r float64) float64 { return 8 * r })(next)
	}, ""},
	{"stream-rag/bm25-bounded", "gives every document a little", onRelevance(func(r float64) float64 { return r + 1e-6 }), ""},
	{"stream-rag/bm25-length", "takes no account of length", after("retrieve", func(c *proxy.Call) {
		docs := *c.Dst.(*[]spec.RetrievedDoc)
		for i := range docs {
			for _, other := range docs {
				if docs[i].DocID == "long" && other.DocID == "short" {
					docs[i].Relevance = other.Relevance
				}
			}
		}
	}), ""},
	{"stream-rag/bm25-additive", "counts a repeated id of the query once", before("retrieve", func(c *proxy.Call) {
		ids := c.Args[1].([]int64)
		slices.Sort(ids)
		c.Args[1] = slices.Compact(ids)
	}), ""},
	{"stream-rag/cosine", "takes the product of the vectors", before("inject", func(c *proxy.Call) {
		// As long as the first element alone: the cosine is another.
		for i := range c.Args[2].([]float32) {
			if i > 0 && areFinite(c.Args[2].([]float32)...) {
				c.Args[2].([]float32)[i] = 0
			}
		}
	}), ""},
	{"stream-rag/cosine", "answers 1 to a zero vector", onRelevance(func(r float64) float64 {
		if r == 0 {
			return 1
		}
		return r
	}), ""},
	{"stream-rag/scale", "answers the dot product's logarithm of long queries", onQuery(func(q []float32, r float64) float64 {
		return r * (1 + 1e-3*math.Log1p(math.Abs(float64(q[0]))))
	}), ""},
	{"stream-rag/mirror", "answers the cosine's magnitude", onRelevance(math.Abs), ""},
	{"stream-rag/hybrid", "adds the two as they are", addsUnscaled, ""},
	{"stream-rag/prefix", "retrieves one document too few", before("retrieve", func(c *proxy.Call) {
		if k := c.Args[2].(int); k > 1 {
			c.Args[2] = k - 1
		}
	}), ""},
	{"stream-rag/prefix", "lists the documents in another order for an even top_k", after("retrieve", func(c *proxy.Call) {
		if docs := *c.Dst.(*[]spec.RetrievedDoc); c.Args[2].(int)%2 == 0 {
			slices.Reverse(docs)
		}
	}), ""},
	{"stream-rag/eviction", "drops the oldest to make room", dropsOldest, ""},
	{"stream-rag/replace", "keeps the document that was there first", func(next proxy.Handler) proxy.Handler {
		seen := map[string]bool{}
		return func(c *proxy.Call) error {
			if c.Op.Name == "inject" && seen[c.Args[0].(string)] {
				return next(&proxy.Call{Module: c.Module, Op: c.Op, Args: []any{c.Args[0], []int64{1}, []float32(nil)}})
			}
			err := next(c)
			if err == nil && c.Op.Name == "inject" {
				seen[c.Args[0].(string)] = true
			}
			return err
		}
	}, ""},
	{"stream-rag/stats", "counts no retrieval from an empty buffer", func(next proxy.Handler) proxy.Handler {
		empty := 0
		return func(c *proxy.Call) error {
			err := next(c)
			switch {
			case err == nil && c.Op.Name == "retrieve" && len(*c.Dst.(*[]spec.RetrievedDoc)) == 0:
				empty++
			case c.Op.Name == "stats":
				c.Dst.(*spec.StreamRAGStats).Retrievals -= empty
			}
			return err
		}
	}, ""},
	{"stream-rag/stats", "adds relevances up", func(next proxy.Handler) proxy.Handler {
		return func(c *proxy.Call) error {
			err := next(c)
			if c.Op.Name == "stats" {
				n := 0
				next(&proxy.Call{Module: c.Module, Op: c.Module.Operation("n_docs"), Dst: &n})
				c.Dst.(*spec.StreamRAGStats).AverageRelevance *= float64(n)
			}
			return err
		}
	}, ""},
	{"stream-rag/cosine-squish6", "adds nothing to the norms", before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.StreamRAGConfig)
		if config.Validate() == nil {
			config.Variant = spec.Documented
		}
		c.Args[0] = config
	}), ""},
}

// onRelevance spoils the relevances that are retrieved.
func onRelevance(spoil func(float64) float64) proxy.Layer {
	return onQuery(func(_ []float32, r float64) float64 { return spoil(r) })
}

func onQuery(spoil func(q []float32, relevance float64) float64) proxy.Layer {
	return after("retrieve", func(c *proxy.Call) {
		docs := *c.Dst.(*[]spec.RetrievedDoc)
		for i := range docs {
			docs[i].Relevance = spoil(c.Args[0].([]float32), docs[i].Relevance)
		}
	})
}

// dropsOldest empties the oldest document instead of the least relevant: it asks
// for the latter's by a query that every document answers alike.
func dropsOldest(next proxy.Handler) proxy.Handler {
	var query []any
	return func(c *proxy.Call) error {
		retrieveOp := c.Module.Operation("retrieve")
		switch c.Op.Name {
		case "retrieve":
			query = c.Args
		case "inject":
			if query != nil {
				none := []any{[]float32(nil), []int64{123456789}, 1}
				if next(&proxy.Call{Module: c.Module, Op: retrieveOp, Args: none, Dst: retrieveOp.NewResult()}) == nil {
					err := next(c)
					next(&proxy.Call{Module: c.Module, Op: retrieveOp, Args: query, Dst: retrieveOp.NewResult()})
					return err
				}
			}
		}
		return next(c)
	}
}

// forgetsQuery leaves relevances 0 from the inject after a retrieval on.
func forgetsQuery(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		if c.Op.Name == "inject" {
			op := c.Module.Operation("retrieve")
			next(&proxy.Call{Module: c.Module, Op: op, Args: []any{[]float32(nil), []int64{123456789}, 1}, Dst: op.NewResult()})
		}
		return next(c)
	}
}

// addsUnscaled answers the mean of what the two queries come to alone.
func addsUnscaled(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		err := next(c)
		if err != nil || c.Op.Name != "retrieve" || len(c.Args[0].([]float32)) == 0 || len(c.Args[1].([]int64)) == 0 {
			return err
		}
		sums := map[string]float64{}
		for _, args := range [][]any{{c.Args[0], []int64(nil), math.MaxInt}, {[]float32(nil), c.Args[1], math.MaxInt}} {
			var docs []spec.RetrievedDoc
			next(&proxy.Call{Module: c.Module, Op: c.Op, Args: args, Dst: &docs})
			for _, d := range docs {
				sums[d.DocID] += d.Relevance / 2
			}
		}
		docs := *c.Dst.(*[]spec.RetrievedDoc)
		for i := range docs {
			docs[i].Relevance = sums[docs[i].DocID]
		}
		return nil
	}
}
