package fast

import (
	"github.com/squishspec/squishspec/fast/internal/attn"
	"github.com/squishspec/squishspec/spec"
)

// NewCrossModalAttn returns the optimised spec.CrossModalAttn, or an error of kind
// spec.Invalid for a config out of range. It also counts operations:
// spec.CrossModalCosts.
//
// Its memory is that of package attn, some KiB a core, however many tokens there are.
func NewCrossModalAttn(c spec.CrossModalAttnConfig) (spec.CrossModalAttn, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &crossModalAttn{config: c}, nil
}

type crossModalAttn struct {
	config spec.CrossModalAttnConfig
	stats  spec.CrossModalAttnStats
	attn   attn.Attention
	k, v   [1]spec.Heads // of the call
}

func (a *crossModalAttn) Forward(dst *spec.Heads, textQ, visionK, visionV spec.Heads) error {
	if err := a.config.CheckArguments(textQ, visionK, visionV); err != nil {
		return err
	}
	dst.Resize(textQ.Heads, textQ.Tokens, textQ.Dim)
	a.k[0], a.v[0] = visionK, visionV
	a.attn.Attend(*dst, textQ, a.k[:], a.v[:], a.config.SoftmaxScale)
	a.k[0], a.v[0] = spec.Heads{}, spec.Heads{}
	a.stats.Calls++
	a.stats.TextTokens += textQ.Tokens
	a.stats.VisionTokens += visionK.Tokens
	return nil
}

func (a *crossModalAttn) Stats() spec.CrossModalAttnStats { return a.stats }

func (a *crossModalAttn) Flops(dst *spec.AttentionOperations, textTokens, visionTokens int) error {
	if err := a.config.CheckTokens(textTokens, visionTokens); err != nil {
		return err
	}
	dst.Exps = int64(a.config.NTextHeads) * int64(textTokens) * int64(visionTokens)
	dst.MulAdds = 2 * int64(a.config.HeadDim) * dst.Exps
	return nil
}
