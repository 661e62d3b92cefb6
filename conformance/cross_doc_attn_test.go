package conformance

import (
	"math"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var crossDocAttnMutants = []mutant{
	{"cross-doc-attn/joined", "leaves the last document out", withoutLastDocument, ""},
	{"cross-doc-attn/joined", "takes a scale 1% too large", before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.CrossDocAttnConfig)
		config.SoftmaxScale *= 1.01
		c.Args[0] = config
	}), ""},
	{"cross-doc-attn/joined", "rounds queries to bfloat16", before("forward", func(c *proxy.Call) {
		roundToBfloat16(c.Args[0].(spec.Heads))
	}), ""},
	{"cross-doc-attn/order", "leaves the last document out", withoutLastDocument, ""},
	{"cross-doc-attn/order", "leans to the first document by 2⁻¹²", onAttention(func(x crossDocs, out spec.Heads) {
		for h := range out.Heads {
			for q := range out.Tokens {
				for i, first := range x.values[0].Head(h).Row(0) {
					out.Head(h).Row(q)[i] += (first - out.Head(h).Row(q)[i]) * 0x1p-12
				}
			}
		}
	}), ""},
	{"cross-doc-attn/split", "averages the documents' own attention", averagesDocuments, ""},
	{"cross-doc-attn/convex", "answers 2⁻¹⁰ too much", outputTimes(1 + 0x1p-10), ""},
	{"cross-doc-attn/convex", "answers 2⁻¹⁰ too little", outputTimes(1 - 0x1p-10), ""},
	{"cross-doc-attn/constant-values", "adds e⁰ to the denominator", withSink, ""},
	{"cross-doc-attn/constant-values", "answers 2⁻¹⁶ too little", outputTimes(1 - 0x1p-16), ""},
	{"cross-doc-attn/shift", "adds e⁰ to the denominator", withSink, ""},
	{"cross-doc-attn/shift", "takes no account of what a key has above 2", before("forward", func(c *proxy.Call) {
		for _, doc := range c.Args[1].([]spec.Heads) {
			for i, k := range doc.Data {
				doc.Data[i] = min(k, 2)
			}
		}
	}), ""},
	{"cross-doc-attn/duplicates", "adds e⁰ to the denominator", withSink, ""},
	{"cross-doc-attn/duplicates", "leaves the last document out", withoutLastDocument, ""},
	{"cross-doc-attn/one-key", "adds e⁰ to the denominator", withSink, ""},
	{"cross-doc-attn/far-logits", "does not subtract the maximum: e⁸⁹ overflows", onAttention(func(x crossDocs, out spec.Heads) {
		x.joined().eachRow(func(h, q int, a attentionRow) {
			for _, logit := range a.logits() {
				if logit.Cmp(bigNumber(89)) > 0 {
					fillRow(out.Head(h).Row(q), math.NaN())
				}
			}
		})
	}), ""},
	{"cross-doc-attn/far-logits", "leaves 2⁻¹² of the first value in", onAttention(func(x crossDocs, out spec.Heads) {
		x.joined().eachRow(func(h, q int, a attentionRow) {
			for i, first := range a.values.Row(0) {
				out.Head(h).Row(q)[i] += (first - out.Head(h).Row(q)[i]) * 0x1p-12
			}
		})
	}), ""},
	{"cross-doc-attn/non-finite", "spoils the query row behind a spoiled one", onAttention(func(x crossDocs, out spec.Heads) {
		for h := range out.Heads {
			for q := out.Tokens - 1; q > 0; q-- {
				if !areFinite(x.query.Head(h).Row(q - 1)...) {
					fillRow(out.Head(h).Row(q), math.NaN())
				}
			}
		}
	}), ""},
	{"cross-doc-attn/non-finite", "takes another way through all heads where a value is not finite", onAttention(func(x crossDocs, out spec.Heads) {
		values := joinTokens(x.values)
		for h := range out.Heads {
			if areFinite(values.Data...) || !areFinite(values.Head(h).Data...) {
				continue
			}
			for q := range out.Tokens {
				o := &out.Head(h).Row(q)[0]
				*o = math.Nextafter32(*o, 1)
			}
		}
	}), ""},
	{"cross-doc-attn/non-finite", "answers NaN ever after a NaN", staysSpoiled, ""},
	{"cross-doc-attn/stats", "answers a mean of 1 before any call", after("stats", func(c *proxy.Call) {
		if s := c.Dst.(*spec.CrossDocAttnStats); s.Calls == 0 {
			s.DocsPerCall = 1
		}
	}), ""},
	{"cross-doc-attn/stats", "does not count the last document", withoutLastDocument, ""},
	{"cross-doc-attn/equivalence", "rounds values to bfloat16", before("forward", func(c *proxy.Call) {
		for _, doc := range c.Args[2].([]spec.Heads) {
			roundToBfloat16(doc)
		}
	}), ""},
	{"cross-doc-attn/equivalence", "answers 0 for a query row that is not finite", onAttention(func(x crossDocs, out spec.Heads) {
		for h := range out.Heads {
			for q := range out.Tokens {
				if !areFinite(x.query.Head(h).Row(q)...) {
					fillRow(out.Head(h).Row(q), 0)
				}
			}
		}
	}), ""},
}

// onAttention spoils outputs with what they were made of.
func onAttention(spoil func(x crossDocs, out spec.Heads)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		var config spec.CrossDocAttnConfig
		return func(c *proxy.Call) error {
			if c.Op == proxy.New {
				config = c.Args[0].(spec.CrossDocAttnConfig)
			}
			err := next(c)
			if err == nil && c.Op.Name == "forward" {
				spoil(crossDocs{config, c.Args[0].(spec.Heads), c.Args[1].([]spec.Heads), c.Args[2].([]spec.Heads)}, *c.Dst.(*spec.Heads))
			}
			return err
		}
	}
}

func fillRow(row []float32, with float64) {
	for i := range row {
		row[i] = float32(with)
	}
}

func roundToBfloat16(x spec.Heads) {
	for i, v := range x.Data {
		x.Data[i] = math.Float32frombits((math.Float32bits(v) + 0x8000) &^ 0xffff)
	}
}

// outputTimes multiplies every output by a factor.
func outputTimes(factor float32) proxy.Layer {
	return onAttention(func(_ crossDocs, out spec.Heads) {
		for i := range out.Data {
			out.Data[i] *= factor
		}
	})
}

var withoutLastDocument = before("forward", func(c *proxy.Call) {
	keys, values := c.Args[1].([]spec.Heads), c.Args[2].([]spec.Heads)
	if len(keys) > 1 {
		c.Args[1], c.Args[2] = keys[:len(keys)-1], values[:len(values)-1]
	}
})

// withSink attends besides to a key and a value of zeros.
func withSink(next proxy.Handler) proxy.Handler {
	zeros := before("forward", func(c *proxy.Call) {
		keys := c.Args[1].([]spec.Heads)
		var zero spec.Heads
		zero.Resize(keys[0].Heads, 1, keys[0].Dim)
		clear(zero.Data)
		c.Args[1], c.Args[2] = append(keys, zero), append(c.Args[2].([]spec.Heads), zero)
	})
	return before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.CrossDocAttnConfig)
		config.MaxDocs++
		c.Args[0] = config
	})(zeros(next))
}

// averagesDocuments attends to each document alone.
func averagesDocuments(next proxy.Handler) proxy.Handler {
	return func(c *proxy.Call) error {
		if c.Op.Name != "forward" {
			return next(c)
		}
		keys, values := c.Args[1].([]spec.Heads), c.Args[2].([]spec.Heads)
		var mean spec.Heads
		for i := range keys {
			var out spec.Heads
			one := *c
			one.Args, one.Dst = []any{c.Args[0], keys[i : i+1], values[i : i+1]}, &out
			if err := next(&one); err != nil {
				return err
			}
			if i == 0 {
				mean.Resize(out.Heads, out.Tokens, out.Dim)
				clear(mean.Data)
			}
			for j, v := range out.Data {
				mean.Data[j] += v / float32(len(keys))
			}
		}
		*c.Dst.(*spec.Heads) = mean
		return nil
	}
}

// staysSpoiled adds the last output of an earlier call, times 0.
func staysSpoiled(next proxy.Handler) proxy.Handler {
	var rest float32
	return after("forward", func(c *proxy.Call) {
		out := c.Dst.(*spec.Heads).Data
		for i := range out {
			out[i] += rest
		}
		for _, v := range out {
			rest += 0 * v
		}
	})(next)
}
