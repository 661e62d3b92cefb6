package conformance

import (
	"slices"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var imageTokenPruneMutants = []mutant{
	{"image-token-prune/partition", "forgets the last token where it goes", onPruned(func(x spec.Heads, out *spec.PrunedTokens) {
		if n := len(out.Pruned); n > 0 && out.Pruned[n-1] == x.Tokens-1 {
			out.Pruned = out.Pruned[:n-1]
		}
	}), ""},
	{"image-token-prune/partition", "lists the tokens kept best first", onPruned(func(_ spec.Heads, out *spec.PrunedTokens) {
		slices.Reverse(out.Kept)
	}), ""},
	{"image-token-prune/count", "rounds the count as recorded", imageRatio(func(c spec.ImageTokenPruneConfig) float64 {
		recorded := c
		recorded.Variant = spec.Squish6
		return (float64(c.NTokens-max(recorded.KeepCount(), 1)) + 0.25) / float64(c.NTokens)
	}), ""},
	{"image-token-prune/count", "cuts 0.29·100 down to 28", imageRatio(func(c spec.ImageTokenPruneConfig) float64 {
		return float64(int(c.PruneRatio*float64(c.NTokens))) / float64(c.NTokens)
	}), ""},
	{"image-token-prune/received", "looks at the attention that tokens pay to the first one", onAttentionMap(func(head spec.Matrix) {
		for q := range head.Rows {
			for k := range head.Cols {
				head.Row(q)[k] = 0
			}
			head.Row(q)[q] = 1
		}
	}), ""},
	{"image-token-prune/received", "keeps the tokens that receive least", onPruned(keepOthers), ""},
	{"image-token-prune/sink", "keeps the tokens that receive least", onPruned(keepOthers), ""},
	{"image-token-prune/ties", "keeps the later of tokens that tie", mirrorTokens, ""},
	{"image-token-prune/relabel", "favours the first token", onPruned(func(_ spec.Heads, out *spec.PrunedTokens) {
		if len(out.Pruned) > 0 && out.Pruned[0] == 0 {
			out.Pruned[0] = out.Kept[0]
			out.Kept[0] = 0
			slices.Sort(out.Pruned)
		}
	}), ""},
	{"image-token-prune/heads", "looks at the first head only", before("prune", func(c *proxy.Call) {
		x := c.Args[0].(spec.Heads)
		for h := 1; h < x.Heads; h++ {
			copy(x.Head(h).Data, x.Head(0).Data)
		}
	}), ""},
	{"image-token-prune/nested", "keeps the worst tokens where more than half go", onPruned(func(x spec.Heads, out *spec.PrunedTokens) {
		if len(out.Pruned) > x.Tokens/2 {
			keepOthers(x, out)
		}
	}), ""},
	{"image-token-prune/stats", "counts the tokens kept", func(next proxy.Handler) proxy.Handler {
		kept := 0
		return func(c *proxy.Call) error {
			err := next(c)
			if err == nil && c.Op.Name == "prune" {
				kept += len(c.Dst.(*spec.PrunedTokens).Kept)
			}
			if c.Op.Name == "stats" {
				c.Dst.(*spec.ImageTokenPruneStats).Pruned = kept
			}
			return err
		}
	}, ""},
	{"image-token-prune/entropy-squish6", "keeps the tokens that look about most", onPruned(keepOthers), ""},
	{"image-token-prune/count-squish6", "rounds halves up", imageRatio(func(c spec.ImageTokenPruneConfig) float64 {
		return min(float64(int(c.PruneRatio*float64(c.NTokens)+0.5))/float64(c.NTokens), 0.999)
	}), ""},
}

// onPruned spoils what is kept and pruned.
func onPruned(spoil func(x spec.Heads, out *spec.PrunedTokens)) proxy.Layer {
	return after("prune", func(c *proxy.Call) { spoil(c.Args[0].(spec.Heads), c.Dst.(*spec.PrunedTokens)) })
}

// keepOthers keeps as many tokens, but those pruned before all others.
func keepOthers(_ spec.Heads, out *spec.PrunedTokens) {
	keep := len(out.Kept)
	all := append(slices.Clone(out.Pruned), out.Kept...)
	out.Kept, out.Pruned = slices.Sorted(slices.Values(all[:keep])), slices.Sorted(slices.Values(all[keep:]))
}

// imageRatio changes the ratio of a config that is otherwise accepted.
func imageRatio(change func(spec.ImageTokenPruneConfig) float64) proxy.Layer {
	return before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.ImageTokenPruneConfig)
		if config.Validate() == nil {
			config.PruneRatio = change(config)
		}
		c.Args[0] = config
	})
}

// onAttentionMap changes the heads of maps that are accepted.
func onAttentionMap(change func(head spec.Matrix)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		var config spec.ImageTokenPruneConfig
		return func(c *proxy.Call) error {
			if c.Op == proxy.New {
				config = c.Args[0].(spec.ImageTokenPruneConfig)
			}
			if c.Op.Name != "prune" || config.CheckAttention(c.Args[0].(spec.Heads)) != nil {
				return next(c)
			}
			own := *c
			own.Args = clone(c.Args).([]any)
			x := own.Args[0].(spec.Heads)
			for h := range x.Heads {
				change(x.Head(h))
			}
			return next(&own)
		}
	}
}

// mirrorTokens numbers the tokens from the end.
func mirrorTokens(next proxy.Handler) proxy.Handler {
	mirrored := onAttentionMap(func(head spec.Matrix) {
		for q := range head.Rows {
			slices.Reverse(head.Row(q))
		}
	})(next)
	return onPruned(func(x spec.Heads, out *spec.PrunedTokens) {
		for _, list := range [][]int{out.Kept, out.Pruned} {
			for i := range list {
				list[i] = x.Tokens - 1 - list[i]
			}
			slices.Reverse(list)
		}
	})(mirrored)
}
