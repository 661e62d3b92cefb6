package conformance

import (
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var ternaryQuantMutants = []mutant{
	{"ternary-quant/alphabet", "writes code 2 for the largest weight", onCodes(func(weights []float32, out *spec.TernaryWeights) {
		for i, w := range weights {
			if w == slices.Max(weights) && out.Codes[i] == 1 {
				out.Codes[i] = 2
			}
		}
	}), ""},
	{"ternary-quant/threshold", "compares with a threshold 10% too high", before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.TernaryQuantConfig)
		config.ZeroThreshold *= 1.1
		c.Args[0] = config
	}), ""},
	{"ternary-quant/scale", "takes the mean over the non-zero codes only", onCodes(func(_ []float32, out *spec.TernaryWeights) {
		zeros := 0
		for _, code := range out.Codes {
			zeros += 1 - int(code*code)
		}
		if zeros < len(out.Codes) {
			out.Scale *= float32(len(out.Codes)) / float32(len(out.Codes)-zeros)
		}
	}), ""},
	{"ternary-quant/odd", "never writes −1", onCodes(func(_ []float32, out *spec.TernaryWeights) {
		for i := range out.Codes {
			out.Codes[i] = max(out.Codes[i], 0)
		}
	}), ""},
	{"ternary-quant/power-of-two", "has a floor of 1e-5 under the scale", onCodes(func(_ []float32, out *spec.TernaryWeights) {
		out.Scale = max(out.Scale, 1e-5)
	}), ""},
	{"ternary-quant/permutation", "leaves out the first weight", onCodes(func(_ []float32, out *spec.TernaryWeights) {
		out.Codes[0] = 0
	}), ""},
	{"ternary-quant/zeros-nested", "takes thresholds of 1 and above for ½", before("new", func(c *proxy.Call) {
		if c.Args[0].(spec.TernaryQuantConfig).ZeroThreshold >= 1 {
			c.Args[0] = spec.TernaryQuantConfig{ZeroThreshold: 0.5}
		}
	}), ""},
	{"ternary-quant/codes-idempotent", "loses the last non-zero code", onCodes(func(_ []float32, out *spec.TernaryWeights) {
		for i := len(out.Codes) - 1; i >= 0; i-- {
			if out.Codes[i] != 0 {
				out.Codes[i] = 0
				return
			}
		}
	}), ""},
	{"ternary-quant/zero-weights", "gives all-zero weights the scale 1", onCodes(func(_ []float32, out *spec.TernaryWeights) {
		if out.Scale == 0 {
			out.Scale = 1
		}
	}), ""},
	{"ternary-quant/dequantize", "gives −0 for a zero code", after("dequantize", func(c *proxy.Call) {
		for i, code := range c.Args[0].([]int8) {
			if code == 0 {
				(*c.Dst.(*[]float32))[i] = float32(math.Copysign(0, -1))
			}
		}
	}), ""},
	{"ternary-quant/stats", "counts the non-zero codes", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.TernaryQuantStats)
		s.Zeros = s.Weights - s.Zeros
	}), ""},
	{"ternary-quant/stats", "answers sparsity 1 before any call", after("stats", func(c *proxy.Call) {
		if s := c.Dst.(*spec.TernaryQuantStats); s.Calls == 0 {
			s.Sparsity = 1
		}
	}), ""},
	{"ternary-quant/base3-lossless", "packs the last code least significant, and unpacks so", reversed("pack_base3", "unpack_base3"), ""},
	{"ternary-quant/base3-foreign", "takes bytes modulo 243", before("unpack_base3", func(c *proxy.Call) {
		packed := c.Args[0].([]uint8)
		for i := range packed {
			packed[i] %= 243
		}
	}), ""},
	{"ternary-quant/base3-foreign", "ignores surplus bytes", surplus("unpack_base3", 5), ""},
	{"ternary-quant/2bit-lossless", "packs the last code in the lowest bits, and unpacks so", reversed("pack_2bit", "unpack_2bit"), ""},
	{"ternary-quant/2bit-foreign", "takes the bits 11 for code +1", before("unpack_2bit", func(c *proxy.Call) {
		packed := c.Args[0].([]uint8)
		for i, b := range packed {
			packed[i] = b &^ (b >> 1 & 0x55)
		}
	}), ""},
	{"ternary-quant/2bit-foreign", "ignores surplus bytes", surplus("unpack_2bit", 4), ""},
	{"ternary-quant/equivalence", "rounds the codes' threshold to bfloat16", onCodes(func(weights []float32, out *spec.TernaryWeights) {
		bound := math.Float32frombits(math.Float32bits(out.Scale/2) &^ 0xffff)
		for i, w := range weights {
			if math.Abs(float64(w)) > float64(bound) && out.Scale > 0 {
				out.Codes[i] = int8(math.Copysign(1, float64(w)))
			}
		}
	}), ""},
}

func onCodes(spoil func(weights []float32, out *spec.TernaryWeights)) proxy.Layer {
	return after("quantize", func(c *proxy.Call) { spoil(c.Args[0].([]float32), c.Dst.(*spec.TernaryWeights)) })
}

// reversed packs and unpacks codes back to front.
func reversed(pack, unpack string) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		return before(pack, func(c *proxy.Call) { slices.Reverse(c.Args[0].([]int8)) })(
			after(unpack, func(c *proxy.Call) { slices.Reverse(*c.Dst.(*[]int8)) })(next))
	}
}

// surplus cuts packed bytes off behind the n codes asked for.
func surplus(unpack string, perByte int) proxy.Layer {
	return before(unpack, func(c *proxy.Call) {
		packed, n := c.Args[0].([]uint8), c.Args[1].(int)
		if need := (n-1)/perByte + 1; n > 0 && need < len(packed) {
			c.Args[0] = packed[:need]
		}
	})
}
