package conformance

import (
	"math"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var crossModalAttnMutants = []mutant{
	{"cross-modal-attn/attention", "takes a scale 1% too large", before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.CrossModalAttnConfig)
		config.SoftmaxScale *= 1.01
		c.Args[0] = config
	}), ""},
	{"cross-modal-attn/attention", "leaves the last vision token out", onVision(func(x spec.Heads) spec.Heads {
		return selected(x, upTo(max(1, x.Tokens-1)))
	}), ""},
	{"cross-modal-attn/convex", "answers 2⁻¹⁰ too much", crossModalTimes(1 + 0x1p-10), ""},
	{"cross-modal-attn/convex", "answers 2⁻¹⁰ too little", crossModalTimes(1 - 0x1p-10), ""},
	{"cross-modal-attn/constant-values", "adds e⁰ to the denominator", visionSink, ""},
	{"cross-modal-attn/permutation", "leans to the first vision token by 2⁻⁶", onCrossModal(func(x crossModal, out spec.Heads) {
		for h := range out.Heads {
			for q := range out.Tokens {
				lean(out.Head(h).Row(q), x.values.Head(h).Row(0))
			}
		}
	}), ""},
	{"cross-modal-attn/rows", "leans to the output of the text token before by 2⁻⁶", onCrossModal(func(_ crossModal, out spec.Heads) {
		for h := range out.Heads {
			for q := 1; q < out.Tokens; q++ {
				lean(out.Head(h).Row(q), out.Head(h).Row(q-1))
			}
		}
	}), ""},
	{"cross-modal-attn/rows", "masks vision tokens behind the text token's place", causal, ""},
	{"cross-modal-attn/shift", "adds e⁰ to the denominator", visionSink, ""},
	{"cross-modal-attn/shift", "takes no account of what a key has above 2", before("forward", func(c *proxy.Call) {
		keys := c.Args[1].(spec.Heads)
		for i, k := range keys.Data {
			keys.Data[i] = min(k, 2)
		}
	}), ""},
	{"cross-modal-attn/duplicates", "adds e⁰ to the denominator", visionSink, ""},
	{"cross-modal-attn/masked-key", "leans to the mean of the values by 2⁻⁶", onCrossModal(func(x crossModal, out spec.Heads) {
		for h := range out.Heads {
			mean := make([]float32, out.Dim)
			for j := range x.values.Tokens {
				for i, v := range x.values.Head(h).Row(j) {
					mean[i] += v / float32(x.values.Tokens)
				}
			}
			for q := range out.Tokens {
				lean(out.Head(h).Row(q), mean)
			}
		}
	}), ""},
	{"cross-modal-attn/non-finite", "spoils the text token behind a spoiled one", onCrossModal(func(x crossModal, out spec.Heads) {
		for h := range out.Heads {
			for q := out.Tokens - 1; q > 0; q-- {
				if !areFinite(x.query.Head(h).Row(q - 1)...) {
					fillRow(out.Head(h).Row(q), math.NaN())
				}
			}
		}
	}), ""},
	{"cross-modal-attn/non-finite", "spoils all heads where a value is not finite", onCrossModal(func(x crossModal, out spec.Heads) {
		for h := range x.values.Heads {
			if !areFinite(x.values.Head(h).Data...) {
				fillRow(out.Data, math.NaN())
			}
		}
	}), ""},
	{"cross-modal-attn/non-finite", "answers NaN ever after a NaN", staysSpoiled, ""},
	{"cross-modal-attn/flops", "counts floating-point operations for multiply-adds", after("flops", func(c *proxy.Call) {
		c.Dst.(*spec.AttentionOperations).MulAdds *= 2
	}), ""},
	{"cross-modal-attn/flops", "counts no head but one", after("flops", func(c *proxy.Call) {
		c.Dst.(*spec.AttentionOperations).Exps = int64(c.Args[0].(int)) * int64(c.Args[1].(int))
	}), ""},
	{"cross-modal-attn/stats", "counts vision tokens for text tokens", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.CrossModalAttnStats)
		s.TextTokens = s.VisionTokens
	}), ""},
	{"cross-modal-attn/equivalence", "rounds values to bfloat16", before("forward", func(c *proxy.Call) {
		roundToBfloat16(c.Args[2].(spec.Heads))
	}), ""},
}

// lean moves numbers 2⁻⁶ of the way to others.
func lean(row, to []float32) {
	for i := range row {
		row[i] += (to[i] - row[i]) * 0x1p-6
	}
}

// onCrossModal spoils outputs with what they were made of.
func onCrossModal(spoil func(x crossModal, out spec.Heads)) proxy.Layer {
	return after("forward", func(c *proxy.Call) {
		spoil(crossModal{query: c.Args[0].(spec.Heads), keys: c.Args[1].(spec.Heads), values: c.Args[2].(spec.Heads)}, *c.Dst.(*spec.Heads))
	})
}

func crossModalTimes(factor float32) proxy.Layer {
	return onCrossModal(func(_ crossModal, out spec.Heads) {
		for i := range out.Data {
			out.Data[i] *= factor
		}
	})
}

// onVision changes keys and values that were accepted, alike.
func onVision(change func(spec.Heads) spec.Heads) proxy.Layer {
	return before("forward", func(c *proxy.Call) {
		keys, values := c.Args[1].(spec.Heads), c.Args[2].(spec.Heads)
		if keys.Tokens > 0 && keys.Tokens == values.Tokens {
			c.Args[1], c.Args[2] = change(keys), change(values)
		}
	})
}

// visionSink attends besides to a key and a value of zeros.
var visionSink = onVision(func(x spec.Heads) spec.Heads {
	out := selected(x, append(upTo(x.Tokens), 0))
	for h := range out.Heads {
		clear(out.Head(h).Row(x.Tokens))
	}
	return out
})

// causal lets text token q see vision tokens 0 … q only.
func causal(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		if c.Op.Name != "forward" {
			return next(c)
		}
		var whole spec.Heads
		all := *c
		all.Dst = &whole
		if err := next(&all); err != nil {
			return err
		}
		query, keys, values := c.Args[0].(spec.Heads), c.Args[1].(spec.Heads), c.Args[2].(spec.Heads)
		for q := range query.Tokens {
			seen := upTo(min(q+1, keys.Tokens))
			var out spec.Heads
			one := *c
			one.Args, one.Dst = []any{selected(query, []int{q}), selected(keys, seen), selected(values, seen)}, &out
			if err := next(&one); err != nil {
				return err
			}
			for h := range out.Heads {
				copy(whole.Head(h).Row(q), out.Head(h).Row(0))
			}
		}
		*c.Dst.(*spec.Heads) = whole
		return nil
	}
}
