package conformance

import (
	"math"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var binaryAttnMutants = []mutant{
	{"binary-attn/attention", "is squish6", onBinaryConfig(func(c *spec.BinaryAttnConfig) { c.Variant = spec.Squish6 }), ""},
	{"binary-attn/attention", "takes a scale 1% too large", onBinaryConfig(func(c *spec.BinaryAttnConfig) { c.SoftmaxScale *= 1.01 }), ""},
	{"binary-attn/attention", "counts bits beyond dim as equal signs, in the scale", onBinaryConfig(func(c *spec.BinaryAttnConfig) {
		c.SoftmaxScale *= float64(c.HeadDim) / float64((c.HeadDim+7)/8*8)
	}), ""},
	{"binary-attn/signs", "takes numbers below 2⁻¹⁰⁰ for 0", onQueriesAndKeys(func(x float32) float32 {
		if math.Abs(float64(x)) < 0x1p-100 {
			return 0
		}
		return x
	}), ""},
	{"binary-attn/zeros", "takes the sign bit for the sign", onQueriesAndKeys(func(x float32) float32 {
		if x == 0 && math.Signbit(float64(x)) {
			return -1
		}
		return x
	}), ""},
	{"binary-attn/zeros", "takes 0 for −1", onQueriesAndKeys(func(x float32) float32 {
		if x == 0 {
			return -1
		}
		return x
	}), ""},
	{"binary-attn/flip", "leaves out elements where the query is −1", before("forward", func(c *proxy.Call) {
		q := c.Args[0].(spec.Heads)
		if q.Heads > 0 && q.Tokens > 0 && q.Dim > 0 && len(q.Data) > 0 && q.Data[0] == -1 {
			q.Data[0] = 1
		}
	}), ""},
	{"binary-attn/equal-keys", "adds 2⁻¹⁰ to the sum of the softmax", binaryTimes(1 / (1 + 0x1p-10)), ""},
	{"binary-attn/convex", "answers 2⁻¹⁰ too much", binaryTimes(1 + 0x1p-10), ""},
	{"binary-attn/permutation", "leans to the first value by 2⁻⁶", onBinary(func(x binaryCall, out spec.Heads) {
		for h := range out.Heads {
			for q := range out.Tokens {
				lean(out.Head(h).Row(q), x.v.Head(h).Row(0))
			}
		}
	}), ""},
	{"binary-attn/rows", "leans to the output of the query before by 2⁻⁶", onBinary(func(_ binaryCall, out spec.Heads) {
		for h := range out.Heads {
			for q := 1; q < out.Tokens; q++ {
				lean(out.Head(h).Row(q), out.Head(h).Row(q-1))
			}
		}
	}), ""},
	{"binary-attn/match", "is squish6", onBinaryConfig(func(c *spec.BinaryAttnConfig) { c.Variant = spec.Squish6 }), ""},
	{"binary-attn/match", "leans to the first value by 2⁻⁶", onBinary(func(x binaryCall, out spec.Heads) {
		for h := range out.Heads {
			for q := range out.Tokens {
				lean(out.Head(h).Row(q), x.v.Head(h).Row(0))
			}
		}
	}), ""},
	{"binary-attn/non-finite", "spoils all heads where a value is not finite", onBinary(func(x binaryCall, out spec.Heads) {
		for h := range x.v.Heads {
			if !areFinite(x.v.Head(h).Data...) {
				fillRow(out.Data, math.NaN())
			}
		}
	}), ""},
	{"binary-attn/non-finite", "answers NaN ever after a NaN", staysSpoiled, ""},
	{"binary-attn/pack", "packs the first element into the highest bit", onPacked(func(b uint8) uint8 {
		reversed := uint8(0)
		for i := range 8 {
			reversed |= b >> i & 1 << (7 - i)
		}
		return reversed
	}), ""},
	{"binary-attn/pack", "packs 1 for −1", onPacked(func(b uint8) uint8 { return ^b }), ""},
	{"binary-attn/unpack", "unpacks 0 and 1", after("unpack", func(c *proxy.Call) {
		x := c.Dst.(*spec.Heads)
		for i, v := range x.Data {
			x.Data[i] = max(v, 0)
		}
	}), ""},
	{"binary-attn/packed-attention", "attends to the last key packed for the first", before("forward_packed", func(c *proxy.Call) {
		keys, v := c.Args[1].([]uint8), c.Args[2].(spec.Heads)
		if v.Heads > 0 && v.Tokens > 0 && len(keys)%(v.Heads*v.Tokens) == 0 {
			size := len(keys) / (v.Heads * v.Tokens)
			copy(keys[:size], keys[(v.Tokens-1)*size:v.Tokens*size])
		}
	}), ""},
	{"binary-attn/pack-foreign", "masks bits beyond dim", func(next proxy.Handler) proxy.Handler {
		dim := 0
		return func(c *proxy.Call) error {
			own := *c
			own.Args = clone(c.Args).([]any)
			if c.Op == proxy.New {
				dim = c.Args[0].(spec.BinaryAttnConfig).HeadDim
			}
			for _, arg := range own.Args {
				packed, ok := arg.([]uint8)
				for last := (dim+7)/8 - 1; ok && dim%8 > 0 && last < len(packed); last += (dim + 7) / 8 {
					packed[last] &= 1<<(dim%8) - 1
				}
			}
			return next(&own)
		}
	}, ""},
	{"binary-attn/stats", "does not count packed calls", func(next proxy.Handler) proxy.Handler {
		packed := 0
		return func(c *proxy.Call) error {
			err := next(c)
			if s, ok := c.Dst.(*spec.BinaryAttnStats); ok {
				s.Calls -= packed
			}
			if err == nil && c.Op.Name == "forward_packed" {
				packed++
			}
			return err
		}
	}, ""},
	{"binary-attn/stats", "counts heads for tokens", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.BinaryAttnStats)
		s.Tokens = s.Calls
	}), ""},
	{"binary-attn/attention-squish6", "is the documented variant", onBinaryConfig(func(c *spec.BinaryAttnConfig) { c.Variant = spec.Documented }), ""},
	{"binary-attn/attention-squish6", "takes 1e-2 for 1e-9", binaryTimes(1 / 1.01), ""},
	{"binary-attn/equivalence", "rounds values to bfloat16", before("forward", func(c *proxy.Call) {
		roundToBfloat16(c.Args[2].(spec.Heads))
	}), ""},
}

// onBinaryConfig spoils configs that are good.
func onBinaryConfig(spoil func(c *spec.BinaryAttnConfig)) proxy.Layer {
	return before("new", func(c *proxy.Call) {
		if config := c.Args[0].(spec.BinaryAttnConfig); config.Validate() == nil {
			spoil(&config)
			c.Args[0] = config
		}
	})
}

// onQueriesAndKeys changes elements before their sign is taken.
func onQueriesAndKeys(change func(x float32) float32) proxy.Layer {
	return before("forward", func(c *proxy.Call) {
		for _, arg := range c.Args[:2] {
			for i, x := range arg.(spec.Heads).Data {
				arg.(spec.Heads).Data[i] = change(x)
			}
		}
	})
}

// onBinary spoils outputs with what they were made of.
func onBinary(spoil func(x binaryCall, out spec.Heads)) proxy.Layer {
	return after("forward", func(c *proxy.Call) {
		spoil(binaryCall{q: c.Args[0].(spec.Heads), k: c.Args[1].(spec.Heads), v: c.Args[2].(spec.Heads)}, *c.Dst.(*spec.Heads))
	})
}

func binaryTimes(factor float32) proxy.Layer {
	return onBinary(func(_ binaryCall, out spec.Heads) {
		for i := range out.Data {
			out.Data[i] *= factor
		}
	})
}

// onPacked changes every byte that was packed.
func onPacked(change func(b uint8) uint8) proxy.Layer {
	return after("pack", func(c *proxy.Call) {
		packed := *c.Dst.(*[]uint8)
		for i, b := range packed {
			packed[i] = change(b)
		}
	})
}

// binaryEntropy returns the mean binaryEntropy of the weights of a query, in nats, over the
// documented scale of Gaussian queries and keys: values are the unit vectors, so that
// outputs are the weights.
func binaryEntropy(t *testing.T, v spec.Variant, dim int) float64 {
	t.Helper()
	c := spec.DefaultBinaryAttnConfig(dim)
	c.Variant = v
	random := func(seed uint64) (x spec.Heads) {
		x.Resize(c.NHeads, dim, dim)
		copy(x.Data, gaussian(len(x.Data), seed))
		return x
	}
	var unit, weights spec.Heads
	unit.Resize(c.NHeads, dim, dim)
	clear(unit.Data)
	for h := range c.NHeads {
		for i := range dim {
			unit.Head(h).Row(i)[i] = 1
		}
	}
	a, err := ref.NewBinaryAttn(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Forward(&weights, random(1), random(2), unit); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, w := range weights.Data {
		if w > 0 {
			sum -= float64(w) * math.Log(float64(w))
		}
	}
	return sum / float64(c.NHeads*dim)
}

// TestSquish6AttendsToEverythingAlike: dividing the dot products by dim once more
// leaves logits of at most 1/√dim, and weights that hardly choose among 64 keys.
func TestSquish6AttendsToEverythingAlike(t *testing.T) {
	const dim = 64
	greatest := math.Log(dim)
	documented, recorded := binaryEntropy(t, spec.Documented, dim), binaryEntropy(t, spec.Squish6, dim)
	t.Logf("entropy of the weights over %d keys: %.4f nats documented, %.4f squish6, at most %.4f", dim, documented, recorded, greatest)
	if missing := greatest - recorded; !(0 <= missing && missing < 2e-4) {
		t.Errorf("squish6: got an entropy of %v, want within 2e-4 of %v", recorded, greatest)
	}
	if missing := greatest - documented; !(missing > 0.3) {
		t.Errorf("documented: got an entropy of %v, want it at least 0.3 below %v", documented, greatest)
	}
}
