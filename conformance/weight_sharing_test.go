package conformance

import (
	"math"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var weightSharingMutants = []mutant{
	{"weight-sharing/effective", "leaves out the last of the rank", onSharing(func(c *spec.WeightSharingConfig) {
		for _, u := range c.U {
			for r := range u.Rows {
				if u.Cols > 0 {
					u.Row(r)[u.Cols-1] = 0
				}
			}
		}
	}), ""},
	{"weight-sharing/effective", "answers in bfloat16", onSharedWeight(func(_ spec.WeightSharingConfig, _ int, weight spec.Matrix) { toBfloat16(weight.Data) }), ""},
	{"weight-sharing/effective", "adds products in float32, where they overflow", onSharedWeight(func(c spec.WeightSharingConfig, layer int, weight spec.Matrix) {
		if len(c.U) == 0 {
			return
		}
		for i, u := range c.U[layer].Data {
			if math.Abs(float64(u)) > 0x1p64 {
				weight.Data[i%len(weight.Data)] = float32(math.Inf(1))
			}
		}
	}), ""},
	{"weight-sharing/shared", "adds layer·2⁻²⁰ to the base", onSharedWeight(func(_ spec.WeightSharingConfig, layer int, weight spec.Matrix) {
		for i := range weight.Data {
			weight.Data[i] += float32(layer) * 0x1p-20
		}
	}), ""},
	{"weight-sharing/shared", "makes −0 of the base +0", onSharedWeight(func(_ spec.WeightSharingConfig, _ int, weight spec.Matrix) {
		for i := range weight.Data {
			weight.Data[i] += 0
		}
	}), ""},
	{"weight-sharing/low-rank", "adds 2⁻⁸ of the layer's number to the diagonal", onSharedWeight(func(_ spec.WeightSharingConfig, layer int, weight spec.Matrix) {
		for i := range weight.Rows {
			weight.Row(i)[i] += float32(layer+1) * 0x1p-8
		}
	}), ""},
	{"weight-sharing/isolation", "adds the next layer's delta, 2⁻¹⁰ of it", onSharing(func(c *spec.WeightSharingConfig) {
		for i := range c.U {
			if i+1 < len(c.U) {
				for j, x := range c.U[i+1].Data {
					c.U[i].Data[j] += x * 0x1p-10
				}
			}
		}
	}), ""},
	{"weight-sharing/factors", "takes no account of what V has above 1", onSharing(func(c *spec.WeightSharingConfig) {
		for _, v := range c.V {
			for i, x := range v.Data {
				v.Data[i] = min(x, 1)
			}
		}
	}), ""},
	{"weight-sharing/factors", "takes the place in the rank for a weight", onSharing(func(c *spec.WeightSharingConfig) {
		for _, v := range c.V {
			for i := range v.Rows {
				for j := range v.Row(i) {
					v.Row(i)[j] *= float32(i + 1)
				}
			}
		}
	}), ""},
	{"weight-sharing/absent", "takes the identity for a base that is not given", onSharing(func(c *spec.WeightSharingConfig) {
		if len(c.Base.Data) == 0 {
			c.Base = sharingZeros(c.HiddenDim, c.HiddenDim)
			for i := range c.HiddenDim {
				c.Base.Row(i)[i] = 1
			}
		}
	}), ""},
	{"weight-sharing/bytes", "counts two bytes an element", after("memory_bytes", func(c *proxy.Call) { *c.Dst.(*int) /= 2 }), ""},
	{"weight-sharing/bytes", "counts a byte more", after("dense_memory_bytes", func(c *proxy.Call) { *c.Dst.(*int)++ }), ""},
	{"weight-sharing/bytes", "gives the ratio the other way round", after("memory_ratio", func(c *proxy.Call) { *c.Dst.(*float64) = 1 / *c.Dst.(*float64) }), ""},
	{"weight-sharing/saves", "never says that sharing costs", after("memory_ratio", func(c *proxy.Call) {
		*c.Dst.(*float64) = min(*c.Dst.(*float64), 1-0x1p-20)
	}), ""},
	{"weight-sharing/saves", "gives nine tenths of the ratio", after("memory_ratio", func(c *proxy.Call) { *c.Dst.(*float64) *= 0.9 }), ""},
	{"weight-sharing/fit-base", "takes the first layer for the mean", before("fit", func(c *proxy.Call) {
		for layers := c.Args[0].([]spec.Matrix); len(layers) > 1; layers = layers[:len(layers)-1] {
			if last := layers[len(layers)-1]; len(last.Data) == len(layers[0].Data) {
				copy(last.Data, layers[0].Data)
			}
		}
	}), ""},
	{"weight-sharing/fit-base", "divides by one layer more", onSharingFit(func(_ []spec.Matrix, fit *spec.SharedWeights) {
		for i := range fit.Base.Data {
			fit.Base.Data[i] *= float32(len(fit.U)) / float32(len(fit.U)+1)
		}
	}), ""},
	{"weight-sharing/fit-deltas", "scales deltas up by 1%", onSharingFit(func(_ []spec.Matrix, fit *spec.SharedWeights) {
		for _, u := range fit.U {
			for i := range u.Data {
				u.Data[i] *= 1.01
			}
		}
	}), ""},
	{"weight-sharing/fit-deltas", "gives every layer the first one's delta", onSharingFit(func(_ []spec.Matrix, fit *spec.SharedWeights) {
		for i := range fit.U {
			copy(fit.U[i].Data, fit.U[0].Data)
			copy(fit.V[i].Data, fit.V[0].Data)
		}
	}), ""},
	{"weight-sharing/fit-whole", "keeps factors in bfloat16", onSharingFit(func(_ []spec.Matrix, fit *spec.SharedWeights) {
		for i := range fit.U {
			toBfloat16(fit.U[i].Data)
		}
	}), ""},
	{"weight-sharing/fit-whole", "subtracts deltas", onSharedWeight(func(c spec.WeightSharingConfig, _ int, weight spec.Matrix) {
		for i, b := range c.Base.Data {
			weight.Data[i] = 2*b - weight.Data[i]
		}
	}), ""},
	{"weight-sharing/stats", "counts nothing", after("stats", func(c *proxy.Call) { c.Dst.(*spec.WeightSharingStats).Calls = 0 }), ""},
	{"weight-sharing/stats", "gives the ratio of no deltas", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.WeightSharingStats)
		s.MemoryRatio = 1 / float64(s.NSharedLayers)
	}), ""},
	{"weight-sharing/equivalence", "answers in bfloat16", onSharedWeight(func(_ spec.WeightSharingConfig, _ int, weight spec.Matrix) { toBfloat16(weight.Data) }), ""},
}

// onSharing spoils a copy of a config that is good.
func onSharing(spoil func(c *spec.WeightSharingConfig)) proxy.Layer {
	return before("new", func(c *proxy.Call) {
		if config := c.Args[0].(spec.WeightSharingConfig); config.Validate() == nil {
			spoil(&config)
			c.Args[0] = config
		}
	})
}

// onSharedWeight spoils effective weights with the config at hand.
func onSharedWeight(spoil func(config spec.WeightSharingConfig, layer int, weight spec.Matrix)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		var config spec.WeightSharingConfig
		return func(c *proxy.Call) error {
			if c.Op == proxy.New {
				config = cloneAs(c.Args[0].(spec.WeightSharingConfig))
			}
			err := next(c)
			if err == nil && c.Op.Name == "get_effective_weight" {
				spoil(config, c.Args[0].(int), *c.Dst.(*spec.Matrix))
			}
			return err
		}
	}
}

// onSharingFit spoils what layers were fitted with.
func onSharingFit(spoil func(layers []spec.Matrix, fit *spec.SharedWeights)) proxy.Layer {
	return after("fit", func(c *proxy.Call) { spoil(c.Args[0].([]spec.Matrix), c.Dst.(*spec.SharedWeights)) })
}
