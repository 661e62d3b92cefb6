package audit

import (
	"context"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// binaryMethods put binary attention in attention's place. No weight changes: what
// it makes smaller is the cache of keys, to a bit an element.
func binaryMethods() (list []Method) {
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		list = append(list, Method{ID: named("binary-attn", variant, "attention"), Module: "binary-attn", Variant: variant,
			apply: func(_ context.Context, j *job) (*Variation, error) { return binaryAttention(j, variant) }})
	}
	return list
}

// binaryAttention attends with one query token at a time, over the keys up to it:
// that is causal. Its size is of keys in bits and values in float16, for a token of
// all layers, as the module packs them.
func binaryAttention(j *job, variant spec.Variant) (*Variation, error) {
	c := j.Model.Config
	config := spec.DefaultBinaryAttnConfig(c.HeadDim)
	config.Variant, config.NHeads = variant, 1
	one, err := j.impl.BinaryAttn(config)
	if err != nil {
		return nil, err
	}
	v := &Variation{Model: j.Model, NoNearest: true, Note: "no weight changes: the size is that of a token's keys and values, keys in bits and values in float16"}
	kv := c.KVHeads * c.HeadDim
	if packing, ok := one.(spec.BinaryAttnPacked); ok {
		var packed []uint8
		token := spec.Heads{Heads: 1, Tokens: 1, Dim: c.HeadDim, Stride: c.HeadDim, Data: make([]float32, c.HeadDim)}
		if err := packing.Pack(&packed, token); err != nil {
			return nil, err
		}
		r := &Record{}
		r.addBytes("keys", packed)
		r.addHalf("values", token.Data)
		v.Weights = 2 * kv * c.Layers
		v.Bytes = r.Bytes() * c.KVHeads * c.Layers
		v.Formula = (packedBytes(c.HeadDim, 1) + 2*c.HeadDim) * c.KVHeads * c.Layers
	}
	v.Hooks = func() llama.Hooks[float32] {
		b, err := j.impl.BinaryAttn(config) // an instance each goroutine: it keeps scratch
		var keys, values, out spec.Heads
		return llama.Hooks[float32]{Attend: func(_ int, dst, q, k, vs []float32) error {
			if err != nil {
				return err
			}
			tokens := len(k) / kv
			for h := range c.Heads {
				at := h / (c.Heads / c.KVHeads) * c.HeadDim
				keys.Resize(1, tokens, c.HeadDim)
				values.Resize(1, tokens, c.HeadDim)
				for t := range tokens {
					copy(keys.Data[t*c.HeadDim:][:c.HeadDim], k[t*kv+at:])
					copy(values.Data[t*c.HeadDim:][:c.HeadDim], vs[t*kv+at:])
				}
				query := spec.Heads{Heads: 1, Tokens: 1, Dim: c.HeadDim, Stride: c.HeadDim, Data: q[h*c.HeadDim:][:c.HeadDim]}
				if err := b.Forward(&out, query, keys, values); err != nil {
					return err
				}
				copy(dst[h*c.HeadDim:], out.Data[:c.HeadDim])
			}
			return nil
		}}
	}
	return v, nil
}
