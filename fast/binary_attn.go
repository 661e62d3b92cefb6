package fast

import (
	"github.com/squishspec/squishspec/fast/internal/attn"
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/signs"
	"github.com/squishspec/squishspec/spec"
)

// NewBinaryAttn returns the optimised spec.BinaryAttn, or an error of kind
// spec.Invalid for a config out of range. It also packs signs: spec.BinaryAttnPacked.
//
// A dot product is an xor and a popcount, and from there on attention is attention.
// Logits are few whole numbers, but exponentials take an eighth of the time, the most
// that a table of them could save. Beside the input there are its signs, a bit an
// element, and package attn's memory.
func NewBinaryAttn(c spec.BinaryAttnConfig) (spec.BinaryAttn, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &binaryAttn{config: c}, nil
}

type binaryAttn struct {
	config spec.BinaryAttnConfig
	stats  spec.BinaryAttnStats

	q, k []uint32 // signs, token by token, head by head
	attn attn.Attention
	v    [1]spec.Heads // of the call
}

func (a *binaryAttn) Forward(dst *spec.Heads, q, k, v spec.Heads) error {
	if err := a.toWords(&a.q, "q", q); err != nil {
		return err
	}
	if err := a.toWords(&a.k, "k", k); err != nil {
		return err
	}
	if err := a.config.CheckValues(v, k.Tokens); err != nil {
		return err
	}
	a.attend(dst, q.Tokens, v)
	return nil
}

// toWords takes the signs of queries or keys.
func (a *binaryAttn) toWords(words *[]uint32, name string, x spec.Heads) error {
	if err := a.config.CheckSigns(name, x); err != nil {
		return err
	}
	size := x.Tokens * kern.SignWords(x.Dim)
	*words = spec.Resize(*words, x.Heads*size)
	for h := range x.Heads {
		if !kern.Signs((*words)[h*size:(h+1)*size], x.Head(h).Data, x.Dim) {
			return a.config.CheckNoNaN(name, x)
		}
	}
	return nil
}

// attend attends with the signs in q and k.
//
// squish6 adds 1e-9 to a sum of weights that has a 1 in it: in float32 that is the sum
// itself.
func (a *binaryAttn) attend(dst *spec.Heads, queries int, v spec.Heads) {
	scale := a.config.SoftmaxScale
	if a.config.Variant == spec.Squish6 {
		scale /= float64(a.config.HeadDim)
	}
	dst.Resize(v.Heads, queries, v.Dim)
	a.v[0] = v
	a.attn.AttendSigns(*dst, a.q, a.k, a.v[:], scale)
	a.v[0] = spec.Heads{}
	a.stats.Calls++
	a.stats.Tokens += queries
}

func (a *binaryAttn) Pack(dst *[]uint8, x spec.Heads) error {
	if err := a.toWords(&a.q, "x", x); err != nil {
		return err
	}
	*dst = spec.Resize(*dst, x.Heads*x.Tokens*a.config.TokenBytes())
	signs.ToBytes(*dst, a.q, x.Dim)
	return nil
}

func (a *binaryAttn) Unpack(dst *spec.Heads, packed []uint8) error {
	tokens, err := a.config.CheckPacked("packed", packed)
	if err != nil {
		return err
	}
	dst.Resize(a.config.NHeads, tokens, a.config.HeadDim)
	size := a.config.TokenBytes()
	for row := range dst.Heads * tokens {
		token := packed[row*size : (row+1)*size]
		for i := range dst.Data[row*dst.Dim : (row+1)*dst.Dim] {
			bit := token[i/8] >> (i % 8) & 1
			dst.Data[row*dst.Dim+i] = float32(2*int(bit) - 1)
		}
	}
	return nil
}

func (a *binaryAttn) ForwardPacked(dst *spec.Heads, packedQ, packedK []uint8, v spec.Heads) error {
	queries, err := a.fromBytes(&a.q, "packed_q", packedQ)
	if err != nil {
		return err
	}
	keys, err := a.fromBytes(&a.k, "packed_k", packedK)
	if err != nil {
		return err
	}
	if err := a.config.CheckValues(v, keys); err != nil {
		return err
	}
	a.attend(dst, queries, v)
	return nil
}

// fromBytes takes signs that were packed, and returns how many tokens they are.
func (a *binaryAttn) fromBytes(words *[]uint32, name string, packed []uint8) (tokens int, err error) {
	tokens, err = a.config.CheckPacked(name, packed)
	if err != nil {
		return 0, err
	}
	*words = spec.Resize(*words, a.config.NHeads*tokens*kern.SignWords(a.config.HeadDim))
	signs.FromBytes(*words, packed, a.config.HeadDim)
	return tokens, nil
}

func (a *binaryAttn) Stats() spec.BinaryAttnStats { return a.stats }
