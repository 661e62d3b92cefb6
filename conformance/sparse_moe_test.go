package conformance

import (
	"math"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var sparseMoEMutants = []mutant{
	{"sparse-moe/gate", "takes gate weights that are 1% too large", onMoEConfig(func(c *spec.SparseMoEConfig) {
		for i := range c.GateWeights.Data {
			c.GateWeights.Data[i] *= 1.01
		}
	}), ""},
	{"sparse-moe/gate", "chooses the least probable experts", onMoEConfig(func(c *spec.SparseMoEConfig) {
		for i := range c.GateWeights.Data {
			c.GateWeights.Data[i] *= -1
		}
	}), ""},
	{"sparse-moe/gate", "gives the last place to the next best expert", moeNextBest, ""},
	{"sparse-moe/gate", "weighs the chosen experts alike", onMoERouting(func(_ spec.SparseMoEConfig, _ spec.Matrix, out *spec.MoERouting) {
		for i := range out.Weights.Data {
			out.Weights.Data[i] = 1 / float32(out.Weights.Cols)
		}
	}), ""},
	{"sparse-moe/normalised", "gives weights that sum to 1 − 2⁻¹²", onMoERouting(func(_ spec.SparseMoEConfig, _ spec.Matrix, out *spec.MoERouting) {
		for i := range out.Weights.Data {
			out.Weights.Data[i] *= 1 - 0x1p-12
		}
	}), ""},
	{"sparse-moe/normalised", "gives the chosen experts in ascending order", onMoERouting(func(_ spec.SparseMoEConfig, _ spec.Matrix, out *spec.MoERouting) {
		for token := range out.Weights.Rows {
			slices.Reverse(out.Weights.Row(token))
			slices.Reverse(out.Indices[token*out.Weights.Cols : (token+1)*out.Weights.Cols])
		}
	}), ""},
	{"sparse-moe/normalised", "gives every place to the first expert", onMoERouting(func(_ spec.SparseMoEConfig, _ spec.Matrix, out *spec.MoERouting) {
		for i := range out.Indices {
			out.Indices[i] = out.Indices[i/out.Weights.Cols*out.Weights.Cols]
		}
	}), ""},
	{"sparse-moe/ties", "prefers the last of equals", moeReversed(func(spec.SparseMoEConfig) bool { return true }), ""},
	{"sparse-moe/nested", "prefers the last of equals where top_k is even", moeReversed(func(c spec.SparseMoEConfig) bool { return c.TopK%2 == 0 }), ""},
	{"sparse-moe/shift", "takes no account of what a gate weight has above 2", onMoEConfig(func(c *spec.SparseMoEConfig) {
		for i, w := range c.GateWeights.Data {
			c.GateWeights.Data[i] = min(w, 2)
		}
	}), ""},
	{"sparse-moe/experts", "leans to expert 0 by 2⁻⁸", onMoEConfig(func(c *spec.SparseMoEConfig) {
		for i := range c.GateWeights.Rows {
			c.GateWeights.Row(i)[0] += 0x1p-8
		}
	}), ""},
	{"sparse-moe/tokens", "weighs a token as the one before, by half", onMoERouting(func(_ spec.SparseMoEConfig, _ spec.Matrix, out *spec.MoERouting) {
		for token := out.Weights.Rows - 1; token > 0; token-- {
			for r, w := range out.Weights.Row(token - 1) {
				out.Weights.Row(token)[r] = (w + out.Weights.Row(token)[r]) / 2
			}
		}
	}), ""},
	{"sparse-moe/aux-loss", "averages the chosen experts' weights, not all probabilities", onMoERouting(func(c spec.SparseMoEConfig, _ spec.Matrix, out *spec.MoERouting) {
		mean, share, n := make([]float64, c.NExperts), make([]float64, c.NExperts), float64(out.Weights.Rows)
		for i, e := range out.Indices {
			mean[e] += float64(out.Weights.Data[i]) / n
			if i%c.TopK == 0 {
				share[e] += 1 / n
			}
		}
		out.AuxLoss = 0
		for e := range mean {
			out.AuxLoss += c.LoadBalanceWeight * float64(c.NExperts) * mean[e] * share[e]
		}
	}), ""},
	{"sparse-moe/aux-loss", "shares by all places, not by the first", onMoERouting(func(c spec.SparseMoEConfig, _ spec.Matrix, out *spec.MoERouting) {
		if c.TopK == c.NExperts {
			out.AuxLoss = c.LoadBalanceWeight
		}
	}), ""},
	{"sparse-moe/loss-bounds", "does not multiply by the number of experts", onMoERouting(func(c spec.SparseMoEConfig, _ spec.Matrix, out *spec.MoERouting) {
		out.AuxLoss /= float64(c.NExperts)
	}), ""},
	{"sparse-moe/loss-bounds", "answers n_experts times too much", onMoERouting(func(c spec.SparseMoEConfig, _ spec.Matrix, out *spec.MoERouting) {
		out.AuxLoss *= float64(c.NExperts)
	}), ""},
	{"sparse-moe/seeded", "draws from another seed every time", func() proxy.Layer {
		drawn := uint64(0)
		return onMoEConfig(func(c *spec.SparseMoEConfig) {
			drawn++
			c.Seed += drawn << 32
		})
	}(), ""},
	{"sparse-moe/seeded", "draws from seed 0 whatever it is told", onMoEConfig(func(c *spec.SparseMoEConfig) { c.Seed = 0 }), ""},
	{"sparse-moe/xavier", "draws with the variance 1/hidden_dim", moeDrawnTimes(func(c spec.SparseMoEConfig) float64 {
		return math.Sqrt(float64(c.HiddenDim+c.NExperts) / float64(2*c.HiddenDim))
	}), ""},
	{"sparse-moe/xavier", "draws with the variance 1", moeDrawnTimes(func(c spec.SparseMoEConfig) float64 {
		return math.Sqrt(float64(c.HiddenDim+c.NExperts) / 2)
	}), ""},
	{"sparse-moe/capacity", "shares out tokens, not places", onMoEConfig(func(c *spec.SparseMoEConfig) { c.CapacityFactor /= float64(c.TopK) }), ""},
	{"sparse-moe/capacity", "never drops", onMoEConfig(func(c *spec.SparseMoEConfig) { c.CapacityFactor = 0 }), ""},
	{"sparse-moe/capacity", "renormalises what is left", onMoERouting(func(_ spec.SparseMoEConfig, _ spec.Matrix, out *spec.MoERouting) {
		for token := range out.Weights.Rows {
			sum := float32(0)
			for _, w := range out.Weights.Row(token) {
				sum += w
			}
			for r := range out.Weights.Row(token) {
				if sum > 0 {
					out.Weights.Row(token)[r] /= sum
				}
			}
		}
	}), ""},
	{"sparse-moe/no-drops", "takes half of what the factor allows", onMoEConfig(func(c *spec.SparseMoEConfig) { c.CapacityFactor /= 2 }), ""},
	{"sparse-moe/dispatch", "groups the last token of an expert first", after("dispatch", func(c *proxy.Call) {
		out, row := c.Dst.(*spec.MoEDispatch), 0
		for _, n := range out.Counts {
			for i := range int(n) / 2 {
				a, b := out.Inputs.Row(row+i), out.Inputs.Row(row+int(n)-1-i)
				for j := range a {
					a[j], b[j] = b[j], a[j]
				}
			}
			row += int(n)
		}
	}), ""},
	{"sparse-moe/dispatch", "makes NaNs the canonical one", after("dispatch", func(c *proxy.Call) {
		for i, x := range c.Dst.(*spec.MoEDispatch).Inputs.Data {
			if x != x {
				c.Dst.(*spec.MoEDispatch).Inputs.Data[i] = float32(math.NaN())
			}
		}
	}), ""},
	{"sparse-moe/combine", "adds the outputs without their weights", before("combine", func(c *proxy.Call) {
		weights := c.Args[2].(spec.Matrix)
		for i := range weights.Data {
			weights.Data[i] = 1
		}
	}), ""},
	{"sparse-moe/combine", "answers in bfloat16", after("combine", func(c *proxy.Call) { toBfloat16(c.Dst.(*spec.Matrix).Data) }), ""},
	{"sparse-moe/identity-experts", "dispatches in the order of the tokens", knowingMoE(func(config spec.SparseMoEConfig, next proxy.Handler, c *proxy.Call) error {
		err := next(c)
		if d, ok := c.Dst.(*spec.MoEDispatch); ok && err == nil {
			for row := range d.Inputs.Rows {
				copy(d.Inputs.Row(row), c.Args[0].(spec.Matrix).Row(row/config.TopK))
			}
		}
		return err
	}), ""},
	{"sparse-moe/identity-experts", "gives weights that sum to 1 − 2⁻¹²", onMoERouting(func(_ spec.SparseMoEConfig, _ spec.Matrix, out *spec.MoERouting) {
		for i := range out.Weights.Data {
			out.Weights.Data[i] *= 1 - 0x1p-12
		}
	}), ""},
	{"sparse-moe/stats", "counts the load before places are dropped", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.SparseMoEStats)
		s.ExpertLoad[0] += int64(s.Dropped)
	}), ""},
	{"sparse-moe/stats", "counts calls for tokens", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.SparseMoEStats)
		s.Tokens = s.Calls
	}), ""},
	{"sparse-moe/equivalence", "adds 2⁻¹⁰ to the loss, relative", onMoERouting(func(_ spec.SparseMoEConfig, _ spec.Matrix, out *spec.MoERouting) {
		out.AuxLoss *= 1 + 0x1p-10
	}), ""},
}

// onMoEConfig spoils configs that are good.
func onMoEConfig(spoil func(c *spec.SparseMoEConfig)) proxy.Layer {
	return before("new", func(c *proxy.Call) {
		if config := c.Args[0].(spec.SparseMoEConfig); config.Validate() == nil {
			spoil(&config)
			c.Args[0] = config
		}
	})
}

// knowingMoE spoils calls with the config at hand.
func knowingMoE(spoil func(config spec.SparseMoEConfig, next proxy.Handler, c *proxy.Call) error) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		var config spec.SparseMoEConfig
		return func(c *proxy.Call) error {
			if c.Op == proxy.New {
				config = c.Args[0].(spec.SparseMoEConfig)
			}
			return spoil(config, next, c)
		}
	}
}

// onMoERouting spoils routings.
func onMoERouting(spoil func(config spec.SparseMoEConfig, x spec.Matrix, out *spec.MoERouting)) proxy.Layer {
	return knowingMoE(func(config spec.SparseMoEConfig, next proxy.Handler, c *proxy.Call) error {
		err := next(c)
		if out, ok := c.Dst.(*spec.MoERouting); ok && err == nil {
			spoil(config, c.Args[0].(spec.Matrix), out)
		}
		return err
	})
}

// moeNextBest chooses one expert more, and leaves out the last but one.
var moeNextBest = func(next proxy.Handler) proxy.Handler {
	isMore := false
	return func(c *proxy.Call) error {
		if c.Op == proxy.New {
			own := *c
			config := c.Args[0].(spec.SparseMoEConfig)
			if isMore = config.Validate() == nil && config.TopK < config.NExperts; isMore {
				config.TopK++
			}
			own.Args = []any{config}
			return next(&own)
		}
		err := next(c)
		out, ok := c.Dst.(*spec.MoERouting)
		if !ok || err != nil || !isMore {
			return err
		}
		wide := cloneAs(*out)
		k := wide.Weights.Cols
		out.Indices = nil
		out.Weights.Resize(wide.Weights.Rows, k-1)
		for token := range wide.Weights.Rows {
			chosen, weights, sum := slices.Clone(wide.Indices[token*k:(token+1)*k]), slices.Clone(wide.Weights.Row(token)), float32(0)
			chosen, weights = slices.Delete(chosen, k-2, k-1), slices.Delete(weights, k-2, k-1)
			for _, w := range weights {
				sum += w
			}
			for r, w := range weights {
				out.Weights.Row(token)[r] = w / sum
			}
			out.Indices = append(out.Indices, chosen...)
		}
		return nil
	}
}

// moeReversed reverses the order of the gate's columns where a config asks for it, and
// gives the experts their names back: only ties show it.
func moeReversed(isAsked func(c spec.SparseMoEConfig) bool) proxy.Layer {
	isReversed := func(c spec.SparseMoEConfig) bool {
		return c.Validate() == nil && len(c.GateWeights.Data) > 0 && isAsked(c)
	}
	return func(next proxy.Handler) proxy.Handler {
		reversed := onMoEConfig(func(c *spec.SparseMoEConfig) {
			if isReversed(*c) {
				for i := range c.GateWeights.Rows {
					slices.Reverse(c.GateWeights.Row(i))
				}
			}
		})(next)
		return onMoERouting(func(c spec.SparseMoEConfig, _ spec.Matrix, out *spec.MoERouting) {
			for i, e := range out.Indices {
				if isReversed(c) {
					out.Indices[i] = int32(c.NExperts) - 1 - e
				}
			}
		})(reversed)
	}
}

// moeDrawnTimes scales gate weights that are drawn.
func moeDrawnTimes(factor func(c spec.SparseMoEConfig) float64) proxy.Layer {
	return onMoEConfig(func(c *spec.SparseMoEConfig) {
		if len(c.GateWeights.Data) == 0 {
			c.GateWeights = c.Gate()
			for i := range c.GateWeights.Data {
				c.GateWeights.Data[i] *= float32(factor(*c))
			}
		}
	})
}

// TestMoECheckSeesAWrongOrder: experts whose probabilities lie apart may not change
// places, and those that rounding cannot tell apart may.
func TestMoECheckSeesAWrongOrder(t *testing.T) {
	c := spec.SparseMoEConfig{NExperts: 3, TopK: 1, HiddenDim: 1, GateWeights: spec.Matrix{Rows: 1, Cols: 3, Data: []float32{1, 1 + 0x1p-22, 2}}}
	token := newMoEModel(c).token([]float32{1}, 0x1p-24)
	if !token.isAbove(2, 1) || !token.isAbove(2, 0) || token.isAbove(1, 0) || token.isAbove(0, 1) {
		t.Errorf("likelihoods %v", token.likelihood)
	}
	if !token.isClear(1) || token.isClear(2) {
		t.Errorf("clear at 1: %v, at 2: %v", token.isClear(1), token.isClear(2))
	}
}
