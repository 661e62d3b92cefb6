package ref

import (
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// NewBinaryAttn returns the reference of spec.BinaryAttn, or an error of kind
// spec.Invalid for a config out of range. It also packs signs: spec.BinaryAttnPacked.
func NewBinaryAttn(c spec.BinaryAttnConfig) (spec.BinaryAttn, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &binaryAttn{config: c}, nil
}

type binaryAttn struct {
	config spec.BinaryAttnConfig
	stats  spec.BinaryAttnStats
}

// binarySign is +1 for −0 too.
func binarySign(x float32) int {
	if x >= 0 {
		return 1
	}
	return -1
}

func (a *binaryAttn) Forward(dst *spec.Heads, q, k, v spec.Heads) error {
	if err := a.checkSigns("q", q); err != nil {
		return err
	}
	if err := a.checkSigns("k", k); err != nil {
		return err
	}
	if err := a.config.CheckValues(v, k.Tokens); err != nil {
		return err
	}
	dst.Resize(q.Heads, q.Tokens, q.Dim)
	for h := range q.Heads {
		for t := range q.Tokens {
			weights := a.weights(q.Head(h).Row(t), k.Head(h))
			for i := range q.Dim {
				sum := 0.0
				for j, w := range weights {
					sum += float64(w * float64(v.Head(h).Row(j)[i]))
				}
				dst.Head(h).Row(t)[i] = float32(sum)
			}
		}
	}
	a.stats.Calls++
	a.stats.Tokens += q.Tokens
	return nil
}

func (a *binaryAttn) checkSigns(name string, x spec.Heads) error {
	if err := a.config.CheckSigns(name, x); err != nil {
		return err
	}
	return a.config.CheckNoNaN(name, x)
}

// weights are those of the keys for a query.
func (a *binaryAttn) weights(query []float32, keys spec.Matrix) []float64 {
	dots := make([]int, keys.Rows)
	for j := range dots {
		for i, x := range query {
			dots[j] += binarySign(x) * binarySign(keys.Row(j)[i])
		}
	}
	largest := slices.Max(dots)
	weights, sum := make([]float64, len(dots)), 0.0
	for j, dot := range dots {
		logit := float64(dot-largest) * a.config.SoftmaxScale
		if a.config.Variant == spec.Squish6 {
			logit /= float64(a.config.HeadDim)
		}
		weights[j] = math.Exp(logit)
		sum += weights[j]
	}
	if a.config.Variant == spec.Squish6 {
		sum += 1e-9
	}
	for j := range weights {
		weights[j] /= sum
	}
	return weights
}

func (a *binaryAttn) Pack(dst *[]uint8, x spec.Heads) error {
	if err := a.checkSigns("x", x); err != nil {
		return err
	}
	size := a.config.TokenBytes()
	*dst = spec.Resize(*dst, x.Heads*x.Tokens*size)
	clear(*dst)
	for h := range x.Heads {
		for t := range x.Tokens {
			token := (*dst)[(h*x.Tokens+t)*size:][:size]
			for i, v := range x.Head(h).Row(t) {
				if binarySign(v) > 0 {
					token[i/8] |= 1 << (i % 8)
				}
			}
		}
	}
	return nil
}

func (a *binaryAttn) Unpack(dst *spec.Heads, packed []uint8) error {
	return a.unpack(dst, "packed", packed)
}

func (a *binaryAttn) unpack(dst *spec.Heads, name string, packed []uint8) error {
	tokens, err := a.config.CheckPacked(name, packed)
	if err != nil {
		return err
	}
	size := a.config.TokenBytes()
	dst.Resize(a.config.NHeads, tokens, a.config.HeadDim)
	for h := range dst.Heads {
		for t := range tokens {
			token := packed[(h*tokens+t)*size:][:size]
			for i := range dst.Dim {
				dst.Head(h).Row(t)[i] = -1
				if token[i/8]>>(i%8)&1 == 1 {
					dst.Head(h).Row(t)[i] = 1
				}
			}
		}
	}
	return nil
}

func (a *binaryAttn) ForwardPacked(dst *spec.Heads, packedQ, packedK []uint8, v spec.Heads) error {
	var q, k spec.Heads
	if err := a.unpack(&q, "packed_q", packedQ); err != nil {
		return err
	}
	if err := a.unpack(&k, "packed_k", packedK); err != nil {
		return err
	}
	return a.Forward(dst, q, k, v)
}

func (a *binaryAttn) Stats() spec.BinaryAttnStats { return a.stats }
