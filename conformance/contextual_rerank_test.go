package conformance

import (
	"slices"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var contextualRerankMutants = []mutant{
	{"contextual-rerank/positions", "answers one position too few", onTop(func(_ int, top []int) []int { return top[:len(top)-1] }), ""},
	{"contextual-rerank/positions", "answers the best position twice", onTop(func(_ int, top []int) []int {
		if len(top) > 1 {
			top[1] = top[0]
		}
		return top
	}), ""},
	{"contextual-rerank/order", "sees the first element of a key only", onKeys(func(x spec.Heads) {
		for h := range x.Heads {
			for i := range x.Tokens {
				clear(x.Head(h).Row(i)[1:])
			}
		}
	}), ""},
	{"contextual-rerank/order", "weighs recency a tenth less", rerankWeight(0.9), ""},
	{"contextual-rerank/recency", "leaves content a fifth", rerankWeight(0.8), ""},
	{"contextual-rerank/constant", "puts the later of positions that tie first", onTop(func(_ int, top []int) []int {
		if slices.IsSorted(top) {
			slices.Reverse(top)
		}
		return top
	}), ""},
	{"contextual-rerank/scale", "takes no account of elements beyond 8", onKeys(func(x spec.Heads) {
		for h := range x.Heads {
			for i, v := range x.Head(h).Data {
				x.Head(h).Data[i] = max(-8, min(8, v))
			}
		}
	}), ""},
	{"contextual-rerank/shift", "takes no account of elements beyond 8", onKeys(func(x spec.Heads) {
		for h := range x.Heads {
			for i, v := range x.Head(h).Data {
				x.Head(h).Data[i] = max(-8, min(8, v))
			}
		}
	}), ""},
	{"contextual-rerank/heads", "sees the first head only", onKeys(func(x spec.Heads) {
		for h := 1; h < x.Heads; h++ {
			clear(x.Head(h).Data)
		}
	}), ""},
	{"contextual-rerank/prefix", "answers in reverse for an even top_k", func(next proxy.Handler) proxy.Handler {
		k := 0
		return func(c *proxy.Call) error {
			if c.Op == proxy.New {
				k = c.Args[0].(spec.ContextualRerankConfig).TopK
			}
			err := next(c)
			if err == nil && c.Op.Name == "rerank" && k%2 == 0 {
				slices.Reverse(*c.Dst.(*[]int))
			}
			return err
		}
	}, ""},
	{"contextual-rerank/docs", "counts a term once a document", before("rerank_docs", func(c *proxy.Call) {
		for _, doc := range c.Args[1].([][]int64) {
			seen := map[int64]bool{}
			for i, id := range doc {
				if seen[id] {
					doc[i] = 1000 + int64(i)
				}
				seen[id] = true
			}
		}
	}), ""},
	{"contextual-rerank/docs", "takes no account of embeddings beside ids", before("rerank_docs", func(c *proxy.Call) {
		if len(c.Args[0].([]int64)) > 0 && len(c.Args[2].([]float32)) > 0 && c.Args[3].(spec.Matrix).Rows > 0 {
			c.Args[2], c.Args[3] = []float32(nil), spec.Matrix{}
		}
	}), ""},
	{"contextual-rerank/docs-match", "puts the last document first", onDocs(func(n int, top []int) []int {
		if i := slices.Index(top, n-1); i >= 0 {
			top[0], top[i] = top[i], top[0]
		}
		return top
	}), ""},
	{"contextual-rerank/docs-constant", "puts the later of documents that tie first", onDocs(func(_ int, top []int) []int {
		if slices.IsSorted(top) {
			slices.Reverse(top)
		}
		return top
	}), ""},
	{"contextual-rerank/stats", "counts what it answers", func(next proxy.Handler) proxy.Handler {
		answered := 0
		return func(c *proxy.Call) error {
			err := next(c)
			if top, ok := c.Dst.(*[]int); ok && err == nil {
				answered += len(*top)
			}
			if c.Op.Name == "stats" {
				c.Dst.(*spec.ContextualRerankStats).Positions = answered
			}
			return err
		}
	}, ""},
}

// onTop spoils rankings of positions, given their number.
func onTop(spoil func(n int, top []int) []int) proxy.Layer {
	return after("rerank", func(c *proxy.Call) {
		top := c.Dst.(*[]int)
		*top = spoil(c.Args[0].(spec.Heads).Tokens, *top)
	})
}

// onDocs spoils rankings of documents, given their number.
func onDocs(spoil func(n int, top []int) []int) proxy.Layer {
	return after("rerank_docs", func(c *proxy.Call) {
		top := c.Dst.(*[]int)
		*top = spoil(len(c.Args[1].([][]int64)), *top)
	})
}

// onKeys changes keys that are accepted.
func onKeys(change func(spec.Heads)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		var config spec.ContextualRerankConfig
		return func(c *proxy.Call) error {
			if c.Op == proxy.New {
				config = c.Args[0].(spec.ContextualRerankConfig)
			}
			if c.Op.Name != "rerank" || config.CheckKeys(c.Args[0].(spec.Heads), c.Args[1].(spec.Matrix)) != nil {
				return next(c)
			}
			own := *c
			own.Args = clone(c.Args).([]any)
			change(own.Args[0].(spec.Heads))
			return next(&own)
		}
	}
}

// rerankWeight changes the recency weight by a factor.
func rerankWeight(factor float64) proxy.Layer {
	return before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.ContextualRerankConfig)
		if config.Validate() == nil {
			config.RecencyWeight *= factor
		}
		c.Args[0] = config
	})
}
