package ref

import (
	"math"

	"github.com/squishspec/squishspec/spec"
)

// NewCrossDocAttn returns the reference of spec.CrossDocAttn, or an error of kind
// spec.Invalid for a config out of range.
func NewCrossDocAttn(c spec.CrossDocAttnConfig) (spec.CrossDocAttn, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &crossDocAttn{config: c}, nil
}

type crossDocAttn struct {
	config spec.CrossDocAttnConfig
	stats  spec.CrossDocAttnStats
}

func (a *crossDocAttn) Forward(dst *spec.Heads, query spec.Heads, keys, values []spec.Heads) error {
	if err := a.config.CheckArguments(query, keys, values); err != nil {
		return err
	}
	dst.Resize(query.Heads, query.Tokens, query.Dim)
	for h := range query.Heads {
		joinedKeys, joinedValues := joinTokens(keys, h), joinTokens(values, h)
		for t := range query.Tokens {
			attend(dst.Head(h).Row(t), query.Head(h).Row(t), joinedKeys, joinedValues, a.config.SoftmaxScale)
		}
	}
	a.stats.Calls++
	a.stats.Docs += len(keys)
	return nil
}

// joinTokens returns the tokens of one head of all documents, one after another.
func joinTokens(docs []spec.Heads, head int) [][]float32 {
	var tokens [][]float32
	for _, doc := range docs {
		for t := range doc.Tokens {
			tokens = append(tokens, doc.Head(head).Row(t))
		}
	}
	return tokens
}

// attend writes softmax(query · keysᵀ · scale) · values.
func attend(out, query []float32, keys, values [][]float32, scale float64) {
	weights := make([]float64, len(keys))
	for j, key := range keys {
		for i := range query {
			weights[j] += float64(float64(query[i]) * float64(key[i]))
		}
		weights[j] *= scale
	}
	softmax(weights)
	for i := range out {
		sum := 0.0
		for j, value := range values {
			sum += float64(weights[j] * float64(value[i]))
		}
		out[i] = float32(sum)
	}
}

// softmax turns logits into weights that sum to 1.
func softmax(x []float64) {
	largest := math.Inf(-1)
	for _, logit := range x {
		largest = max(largest, logit)
	}
	sum := 0.0
	for j, logit := range x {
		x[j] = math.Exp(logit - largest)
		sum += x[j]
	}
	for j := range x {
		x[j] /= sum
	}
}

func (a *crossDocAttn) Stats() spec.CrossDocAttnStats {
	s := a.stats
	if s.Calls > 0 {
		s.DocsPerCall = float64(s.Docs) / float64(s.Calls)
	}
	return s
}
