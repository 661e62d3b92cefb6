package ref

import "github.com/squishspec/squishspec/spec"

// NewCrossModalAttn returns the reference of spec.CrossModalAttn, or an error of
// kind spec.Invalid for a config out of range. It also counts operations:
// spec.CrossModalCosts.
func NewCrossModalAttn(c spec.CrossModalAttnConfig) (spec.CrossModalAttn, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &crossModalAttn{config: c}, nil
}

type crossModalAttn struct {
	config spec.CrossModalAttnConfig
	stats  spec.CrossModalAttnStats
}

func (a *crossModalAttn) Forward(dst *spec.Heads, textQ, visionK, visionV spec.Heads) error {
	if err := a.config.CheckArguments(textQ, visionK, visionV); err != nil {
		return err
	}
	dst.Resize(textQ.Heads, textQ.Tokens, textQ.Dim)
	for h := range textQ.Heads {
		keys, values := joinTokens([]spec.Heads{visionK}, h), joinTokens([]spec.Heads{visionV}, h)
		for t := range textQ.Tokens {
			attend(dst.Head(h).Row(t), textQ.Head(h).Row(t), keys, values, a.config.SoftmaxScale)
		}
	}
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
	pairs := int64(a.config.NTextHeads) * int64(textTokens) * int64(visionTokens)
	dst.MulAdds = 2 * pairs * int64(a.config.HeadDim)
	dst.Exps = pairs
	return nil
}
