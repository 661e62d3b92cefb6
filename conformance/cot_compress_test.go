package conformance

import (
	"slices"
	"testing"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var cotCompressMutants = []mutant{
	{"cot-compress/subsequence", "sorts the kept tokens", onKept(func(_, kept []int64) []int64 {
		slices.Sort(kept)
		return kept
	}), ""},
	{"cot-compress/subsequence", "gives the first kept token in place of the last", onKept(func(_, kept []int64) []int64 {
		kept[len(kept)-1] = kept[0]
		return kept
	}), ""},
	{"cot-compress/count", "floors the bare product of ratio and n", configured(func(c *spec.CotCompressConfig) {
		c.CompressRatio *= 1 - 0x1p-50
	}), ""},
	{"cot-compress/count", "knows no min_tokens", configured(func(c *spec.CotCompressConfig) { c.MinTokens = 1 }), ""},
	{"cot-compress/saliency", "is Squish 6.0.0", configured(func(c *spec.CotCompressConfig) { c.Variant = spec.Squish6 }), ""},
	{"cot-compress/saliency", "weighs self-information only", configured(func(c *spec.CotCompressConfig) { c.Alpha = 0 }), ""},
	{"cot-compress/saliency", "knows no separators", configured(func(c *spec.CotCompressConfig) { c.Separators = nil }), ""},
	{"cot-compress/saliency", "cuts steps of 16, whatever step_tokens", configured(func(c *spec.CotCompressConfig) { c.StepTokens = 16 }), ""},
	{"cot-compress/saliency", "ignores the query", before("compress", func(c *proxy.Call) { c.Args[1] = []int64(nil) }), ""},
	{"cot-compress/identity", "drops a token at least", onKept(func(tokens, kept []int64) []int64 {
		return kept[:min(len(kept), max(1, len(tokens)-1))]
	}), ""},
	{"cot-compress/nested", "weighs relevance by the ratio", configured(func(c *spec.CotCompressConfig) { c.Alpha = c.CompressRatio }), ""},
	{"cot-compress/renaming", "takes id 10 for a line feed, which ends a step", configured(func(c *spec.CotCompressConfig) {
		c.Separators = append(c.Separators, 10)
	}), ""},
	{"cot-compress/ties", "keeps the latest of equals", backToFront, ""},
	{"cot-compress/query", "doubles what is not asked for", before("compress", func(c *proxy.Call) {
		tokens, query := c.Args[0].([]int64), c.Args[1].([]int64)
		if len(query) > 0 {
			c.Args[1] = slices.DeleteFunc(slices.Clone(tokens), func(id int64) bool { return slices.Contains(query, id) })
		}
	}), ""},
	{"cot-compress/stats", "counts the tokens that are dropped", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.CotCompressStats)
		s.TokensOut = s.TokensIn - s.TokensOut
	}), ""},
	{"cot-compress/stats", "answers ratio 1 before any call", after("stats", func(c *proxy.Call) {
		if s := c.Dst.(*spec.CotCompressStats); s.Calls == 0 {
			s.Ratio = 1
		}
	}), ""},
	{"cot-compress/rarest-squish6", "keeps the latest of equals", backToFront, ""},
	{"cot-compress/rarest-squish6", "takes the documented saliency", configured(func(c *spec.CotCompressConfig) { c.Variant = spec.Documented }), ""},
	{"cot-compress/count-squish6", "rounds half up", configured(func(c *spec.CotCompressConfig) { c.CompressRatio = max(0, c.CompressRatio-0x1p-40) }), ""},
	{"cot-compress/count-squish6", "rounds up, which is to floor what is dropped", configured(func(c *spec.CotCompressConfig) { c.Variant = spec.Documented }), ""},
}

// onKept changes what was kept.
func onKept(spoil func(tokens, kept []int64) []int64) proxy.Layer {
	return after("compress", func(c *proxy.Call) {
		kept := c.Dst.(*[]int64)
		*kept = spoil(c.Args[0].([]int64), *kept)
	})
}

// configured changes a config that was accepted.
func configured(change func(*spec.CotCompressConfig)) proxy.Layer {
	return before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.CotCompressConfig)
		if config.Validate() == nil {
			change(&config)
		}
		c.Args[0] = config
	})
}

// backToFront compresses the trace read from its end.
func backToFront(next proxy.Handler) proxy.Handler {
	return before("compress", func(c *proxy.Call) { slices.Reverse(c.Args[0].([]int64)) })(
		after("compress", func(c *proxy.Call) { slices.Reverse(*c.Dst.(*[]int64)) })(next))
}

// TestChoiceIsFoundWhereverItIs compares isChoice with the choices of all subsets
// of short traces.
func TestChoiceIsFoundWhereverItIs(t *testing.T) {
	tokens := []int64{1, 2, 1, 1, 2, 3}
	subset := func(set int) (kept []int64) {
		for i, token := range tokens {
			if set>>i&1 == 1 {
				kept = append(kept, token)
			}
		}
		return kept
	}
	all := 1 << len(tokens)
	for must := range all {
		for may := range all {
			if must&^may != 0 {
				continue
			}
			choices := map[string]bool{}
			for set := range all {
				if must&^set == 0 && set&^may == 0 {
					choices[describeIDs(subset(set))] = true
				}
			}
			for set := range all {
				kept := subset(set)
				got := isChoice(tokens, kept,
					func(i int) bool { return must>>i&1 == 1 }, func(i int) bool { return may>>i&1 == 1 })
				if want := choices[describeIDs(kept)]; got != want {
					t.Fatalf("kept %d of %d, must %b, may %b: got %v, want %v", kept, tokens, must, may, got, want)
				}
			}
		}
	}
}
