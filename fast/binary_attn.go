package fast

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/attn"
	"github.com/squishspec/squishspec/fast/internal/signs"
	"github.com/squishspec/squishspec/spec"
)

// NewBinaryAttn returns the optimised spec.BinaryAttn, or an error of kind
// spec.Invalid for a config out of range. It also packs signs: spec.BinaryAttnPacked.
//
// A dot product is an xor and a popcount of 64 signs at a time. It is one of dim + 1
// whole numbers, and the weight of a key depends on how many more signs it differs in
// than the nearest key: exponentials are looked up, not computed.
func NewBinaryAttn(c spec.BinaryAttnConfig) (spec.BinaryAttn, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &binaryAttn{config: c}, nil
}

type binaryAttn struct {
	config spec.BinaryAttnConfig
	stats  spec.BinaryAttnStats

	weightOf  []float64 // e^logit by how many more signs differ; made at the first call
	q, k      []uint64  // signs, token by token, head by head
	distances []int32   // of one query from the keys
	weights   []float32
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
func (a *binaryAttn) toWords(words *[]uint64, name string, x spec.Heads) error {
	if err := a.config.CheckSigns(name, x); err != nil {
		return err
	}
	size := x.Tokens * signs.Words(x.Dim)
	*words = spec.Resize(*words, x.Heads*size)
	for h := range x.Heads {
		if !signs.ToWords((*words)[h*size:(h+1)*size], x.Head(h).Data, x.Dim) {
			return a.config.CheckNoNaN(name, x)
		}
	}
	return nil
}

// attend attends with the signs in q and k.
func (a *binaryAttn) attend(dst *spec.Heads, queries int, v spec.Heads) {
	a.tabulate()
	words := signs.Words(v.Dim)
	dst.Resize(v.Heads, queries, v.Dim)
	a.distances, a.weights = spec.Resize(a.distances, v.Tokens), spec.Resize(a.weights, v.Tokens)
	for h := range v.Heads {
		keys, values := a.k[h*v.Tokens*words:(h+1)*v.Tokens*words], v.Head(h).Data
		for t := range queries {
			from := (h*queries + t) * words
			a.weigh(signs.Distances(a.distances, a.q[from:from+words], keys))
			attn.WeightedSum(dst.Head(h).Row(t), a.weights, values)
		}
	}
	a.stats.Calls++
	a.stats.Tokens += queries
}

// tabulate makes the table of weights: not before there is data of that dimension.
func (a *binaryAttn) tabulate() {
	if len(a.weightOf) > 0 {
		return
	}
	step := -2 * a.config.SoftmaxScale
	if a.config.Variant == spec.Squish6 {
		step /= float64(a.config.HeadDim)
	}
	a.weightOf = make([]float64, a.config.HeadDim+1)
	for n := range a.weightOf {
		a.weightOf[n] = math.Exp(float64(n) * step)
	}
	a.weightOf[0] = 1 // also where the step is −∞
}

// weigh turns distances into weights that sum to 1, but for squish6's 1e-9.
func (a *binaryAttn) weigh(least int32) {
	sum := 0.0
	for _, n := range a.distances {
		sum += a.weightOf[n-least]
	}
	if a.config.Variant == spec.Squish6 {
		sum += 1e-9
	}
	for j, n := range a.distances {
		a.weights[j] = float32(a.weightOf[n-least] / sum)
	}
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
func (a *binaryAttn) fromBytes(words *[]uint64, name string, packed []uint8) (tokens int, err error) {
	tokens, err = a.config.CheckPacked(name, packed)
	if err != nil {
		return 0, err
	}
	*words = spec.Resize(*words, a.config.NHeads*tokens*signs.Words(a.config.HeadDim))
	signs.FromBytes(*words, packed, a.config.HeadDim)
	return tokens, nil
}

func (a *binaryAttn) Stats() spec.BinaryAttnStats { return a.stats }
