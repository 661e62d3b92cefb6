package fast

import (
	"github.com/squishspec/squishspec/fast/internal/attn"
	"github.com/squishspec/squishspec/spec"
)

// NewCrossDocAttn returns an optimised spec.CrossDocAttn, or an error of kind
// spec.Invalid for a config out of range.
//
// Documents are parts of one online softmax: none is copied, and nothing of the
// joined length is stored.
func NewCrossDocAttn(config spec.CrossDocAttnConfig) (spec.CrossDocAttn, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &crossDocAttn{config: config}, nil
}

type crossDocAttn struct {
	config spec.CrossDocAttnConfig
	stats  spec.CrossDocAttnStats
	attn   attn.Attention
}

func (a *crossDocAttn) Forward(dst *spec.Heads, query spec.Heads, keys, values []spec.Heads) error {
	if err := a.config.CheckArguments(query, keys, values); err != nil {
		return err
	}
	dst.Resize(query.Heads, query.Tokens, query.Dim)
	a.attn.Attend(*dst, query, keys, values, a.config.SoftmaxScale)
	a.stats.Calls++
	a.stats.Docs += len(keys)
	return nil
}

func (a *crossDocAttn) Stats() spec.CrossDocAttnStats {
	s := a.stats
	if s.Calls > 0 {
		s.DocsPerCall = float64(s.Docs) / float64(s.Calls)
	}
	return s
}
