package conformance

import (
	"math"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var zeroQuantV2Mutants = []mutant{
	{"zero-quant-v2/outliers", "has a threshold 10% too low", zeroConfigured(func(c *spec.ZeroQuantV2Config) { c.OutlierThreshold *= 0.9 }), ""},
	{"zero-quant-v2/outliers", "leaves −0 in the residual", onZeroQuant(func(_ spec.ZeroQuantV2Config, weights []float32, out *spec.ZeroQuantWeights) {
		for i, r := range out.Residual.Data {
			if r == 0 {
				out.Residual.Data[i] = float32(math.Copysign(0, float64(weights[i])))
			}
		}
	}), ""},
	{"zero-quant-v2/outliers", "keeps outliers in binary16", onZeroQuant(func(_ spec.ZeroQuantV2Config, _ []float32, out *spec.ZeroQuantWeights) {
		for i, r := range out.Residual.Data {
			if r != 0 {
				out.Residual.Data[i] = float32(math.Copysign(binary16[nearestBinary16(r)&0x7fff], float64(r)))
			}
		}
	}), ""},
	{"zero-quant-v2/outliers", "gives an outlier the largest code", onZeroQuant(func(c spec.ZeroQuantV2Config, _ []float32, out *spec.ZeroQuantWeights) {
		for i, r := range out.Residual.Data {
			if r != 0 {
				out.Codes[i] = int8(c.QMax())
			}
		}
	}), ""},
	{"zero-quant-v2/scale", "takes the largest magnitude of all, outliers among them", onZeroQuant(func(c spec.ZeroQuantV2Config, weights []float32, out *spec.ZeroQuantWeights) {
		for i, w := range weights {
			g := i / c.GroupSize
			out.Scales.Data[g] = max(out.Scales.Data[g], float32(math.Abs(float64(w))/float64(c.QMax())))
		}
	}), ""},
	{"zero-quant-v2/scale", "divides by 2^(n_bits−1)", onZeroQuant(func(c spec.ZeroQuantV2Config, _ []float32, out *spec.ZeroQuantWeights) {
		for g := range out.Scales.Data {
			out.Scales.Data[g] *= float32(c.QMax()) / float32(c.QMax()+1)
		}
	}), ""},
	{"zero-quant-v2/codes", "rounds towards zero", onZeroQuant(func(c spec.ZeroQuantV2Config, weights []float32, out *spec.ZeroQuantWeights) {
		for i, w := range weights {
			if out.Residual.Data[i] == 0 {
				out.Codes[i] = int8(w / out.Scales.Data[i/c.GroupSize])
			}
		}
	}), ""},
	{"zero-quant-v2/half-even", "rounds half away from zero", onZeroQuant(func(c spec.ZeroQuantV2Config, weights []float32, out *spec.ZeroQuantWeights) {
		for i, w := range weights {
			if out.Residual.Data[i] == 0 {
				out.Codes[i] = int8(math.Round(float64(w) / float64(out.Scales.Data[i/c.GroupSize])))
			}
		}
	}), ""},
	{"zero-quant-v2/half-step", "keeps scales in bfloat16", onZeroQuant(func(_ spec.ZeroQuantV2Config, _ []float32, out *spec.ZeroQuantWeights) {
		toBfloat16(out.Scales.Data)
	}), ""},
	{"zero-quant-v2/half-step", "dequantises the first group only", after("dequantize", func(c *proxy.Call) {
		out, scales := c.Dst.(*spec.Matrix), c.Args[1].(spec.Matrix)
		clear(out.Data[len(out.Data)/len(scales.Data):])
	}), ""},
	{"zero-quant-v2/groups", "has one scale a row, that of its first group", onZeroQuant(func(_ spec.ZeroQuantV2Config, _ []float32, out *spec.ZeroQuantWeights) {
		for i := range out.Scales.Data {
			out.Scales.Data[i] = out.Scales.Row(i / out.Scales.Cols)[0]
		}
	}), ""},
	{"zero-quant-v2/power-of-two", "has a floor of 1e-5 under the scale", onZeroQuant(func(_ spec.ZeroQuantV2Config, _ []float32, out *spec.ZeroQuantWeights) {
		for i, s := range out.Scales.Data {
			out.Scales.Data[i] = max(s, 1e-5)
		}
	}), ""},
	{"zero-quant-v2/power-of-two", "never gives a negative code", onZeroQuant(func(_ spec.ZeroQuantV2Config, _ []float32, out *spec.ZeroQuantWeights) {
		for i := range out.Codes {
			out.Codes[i] = max(out.Codes[i], 0)
		}
	}), ""},
	{"zero-quant-v2/nested", "takes thresholds above 0.97 for 0.2", zeroConfigured(func(c *spec.ZeroQuantV2Config) {
		if c.OutlierThreshold > 0.97 {
			c.OutlierThreshold = 0.2
		}
	}), ""},
	{"zero-quant-v2/zero-groups", "gives zeros the scale 1", onZeroQuant(func(c spec.ZeroQuantV2Config, _ []float32, out *spec.ZeroQuantWeights) {
		for i, s := range out.Scales.Data {
			if s == float32(1/float64(c.QMax())) {
				out.Scales.Data[i] = 1
			}
		}
	}), ""},
	{"zero-quant-v2/zero-groups", "gives −0 for code 0", after("dequantize", func(c *proxy.Call) {
		for i, x := range c.Dst.(*spec.Matrix).Data {
			if x == 0 {
				c.Dst.(*spec.Matrix).Data[i] = float32(math.Copysign(0, -1))
			}
		}
	}), ""},
	{"zero-quant-v2/dequantize", "knows no low-rank factors", before("dequantize", func(c *proxy.Call) {
		clear(c.Args[3].(spec.Matrix).Data)
	}), ""},
	{"zero-quant-v2/dequantize", "gives an outlier its residual only", after("dequantize", func(c *proxy.Call) {
		for i, r := range c.Args[2].(spec.Matrix).Data {
			if r != 0 {
				c.Dst.(*spec.Matrix).Data[i] = r
			}
		}
	}), ""},
	{"zero-quant-v2/dequantize", "overflows to infinity", after("dequantize", func(c *proxy.Call) {
		for i, x := range c.Dst.(*spec.Matrix).Data {
			if math.Abs(float64(x)) == math.MaxFloat32 {
				c.Dst.(*spec.Matrix).Data[i] = x * 2
			}
		}
	}), ""},
	{"zero-quant-v2/lorc", "leaves out the last triplet", onZeroQuant(func(_ spec.ZeroQuantV2Config, _ []float32, out *spec.ZeroQuantWeights) {
		clear(out.LorcV.Row(out.LorcV.Rows - 1))
	}), ""},
	{"zero-quant-v2/lorc", "keeps factors in bfloat16", onZeroQuant(func(_ spec.ZeroQuantV2Config, _ []float32, out *spec.ZeroQuantWeights) {
		toBfloat16(out.LorcU.Data)
		toBfloat16(out.LorcV.Data)
	}), ""},
	{"zero-quant-v2/lorc-factors", "leaves lorc_v four times as long", onZeroQuant(func(_ spec.ZeroQuantV2Config, _ []float32, out *spec.ZeroQuantWeights) {
		for i := range out.LorcU.Data {
			out.LorcU.Data[i] /= 4
		}
		for i := range out.LorcV.Data {
			out.LorcV.Data[i] *= 4
		}
	}), ""},
	{"zero-quant-v2/lorc-monotone", "turns the first column of lorc_u round at ranks above 2", onZeroQuant(func(_ spec.ZeroQuantV2Config, _ []float32, out *spec.ZeroQuantWeights) {
		for r := range out.LorcU.Rows {
			if out.LorcU.Cols > 2 {
				out.LorcU.Row(r)[0] *= -1
			}
		}
	}), ""},
	{"zero-quant-v2/lorc-monotone", "leaves outliers to the compensation", onZeroQuant(func(c spec.ZeroQuantV2Config, _ []float32, out *spec.ZeroQuantWeights) {
		if c.LorcRank > 0 {
			clear(out.Residual.Data)
		}
	}), ""},
	{"zero-quant-v2/stats", "counts the elements that are no outliers", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.ZeroQuantV2Stats)
		s.Outliers = s.Elements - s.Outliers
	}), ""},
	{"zero-quant-v2/stats", "answers rate 1 before any call", after("stats", func(c *proxy.Call) {
		if s := c.Dst.(*spec.ZeroQuantV2Stats); s.Calls == 0 {
			s.OutlierRate = 1
		}
	}), ""},
	{"zero-quant-v2/stored-codes", "packs the first code into the upper half, and unpacks so", func(next proxy.Handler) proxy.Handler {
		return after("store", func(c *proxy.Call) { turnBytes(c.Dst.(*spec.ZeroQuantStored).Codes) })(
			before("restore", func(c *proxy.Call) { turnBytes(c.Args[0].([]uint8)) })(next))
	}, ""},
	{"zero-quant-v2/stored-codes", "packs codes front to back, and unpacks so", func(next proxy.Handler) proxy.Handler {
		return before("store", func(c *proxy.Call) { slices.Reverse(c.Args[0].([]int8)) })(
			after("restore", func(c *proxy.Call) { slices.Reverse(c.Dst.(*spec.ZeroQuantRestored).Codes) })(next))
	}, ""},
	{"zero-quant-v2/stored-residual", "rounds towards zero", onStored(func(x float64, h spec.Float16) spec.Float16 {
		if binary16[h&0x7fff] > math.Abs(x) {
			h--
		}
		return h
	}), ""},
	{"zero-quant-v2/stored-residual", "rounds half away from zero", onStored(func(x float64, h spec.Float16) spec.Float16 {
		if i := int(h & 0x7fff); i+1 < len(binary16) && math.Abs(x)-binary16[i] == binary16[i+1]-math.Abs(x) {
			h++
		}
		return h
	}), ""},
	{"zero-quant-v2/stored-residual", "flushes subnormal values", onStored(func(_ float64, h spec.Float16) spec.Float16 {
		if h&0x7c00 == 0 {
			h = h&0x8000 | 0x400
		}
		return h
	}), ""},
	{"zero-quant-v2/stored-bytes", "counts indices of 2 bytes", after("stored_bytes", func(c *proxy.Call) {
		*c.Dst.(*int) -= 2 * c.Args[2].(int)
	}), ""},
	{"zero-quant-v2/stored-bytes", "forgets the low-rank factors", zeroConfigured(func(c *spec.ZeroQuantV2Config) { c.LorcRank = 0 }), ""},
	{"zero-quant-v2/stored-foreign", "takes the lowest code for the one above it", before("restore", func(c *proxy.Call) {
		for i, b := range c.Args[0].([]uint8) {
			if b == 0x80 || b == 0x08 || b == 0x88 {
				c.Args[0].([]uint8)[i] = b + b>>4&1 + b>>7 | b>>3&1
			}
		}
	}), ""},
	{"zero-quant-v2/stored-foreign", "sorts out indices that come twice", before("restore", func(c *proxy.Call) {
		if indices := c.Args[1].([]int32); len(indices) == 2 && indices[0] == indices[1] {
			c.Args[1], c.Args[2] = indices[:1], c.Args[2].([]spec.Float16)[:1]
		}
	}), ""},
	{"zero-quant-v2/equivalence", "computes codes from a scale in bfloat16", onZeroQuant(func(c spec.ZeroQuantV2Config, weights []float32, out *spec.ZeroQuantWeights) {
		for i, w := range weights {
			scale := []float32{out.Scales.Data[i/c.GroupSize]}
			toBfloat16(scale)
			if out.Residual.Data[i] == 0 && scale[0] > 0 {
				out.Codes[i] = int8(max(-c.QMax(), min(c.QMax(), int(math.RoundToEven(float64(w)/float64(scale[0]))))))
			}
		}
	}), ""},
}

// zeroConfigured changes a config that was accepted.
func zeroConfigured(change func(*spec.ZeroQuantV2Config)) proxy.Layer {
	return before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.ZeroQuantV2Config)
		if config.Validate() == nil {
			change(&config)
		}
		c.Args[0] = config
	})
}

// onZeroQuant spoils what quantize came to.
func onZeroQuant(spoil func(c spec.ZeroQuantV2Config, weights []float32, out *spec.ZeroQuantWeights)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		var config spec.ZeroQuantV2Config
		return func(c *proxy.Call) error {
			err := next(c)
			switch {
			case err != nil:
			case c.Op == proxy.New:
				config = c.Args[0].(spec.ZeroQuantV2Config)
			case c.Op.Name == "quantize":
				spoil(config, c.Args[0].(spec.Matrix).Data, c.Dst.(*spec.ZeroQuantWeights))
			}
			return err
		}
	}
}

// onStored changes the stored values, given the residuals.
func onStored(change func(x float64, h spec.Float16) spec.Float16) proxy.Layer {
	return after("store", func(c *proxy.Call) {
		stored := c.Dst.(*spec.ZeroQuantStored)
		for i, index := range stored.Indices {
			stored.Values[i] = change(float64(c.Args[1].(spec.Matrix).Data[index]), stored.Values[i])
		}
	})
}

// turnBytes swaps the halves of bytes.
func turnBytes(packed []uint8) {
	for i, b := range packed {
		packed[i] = b<<4 | b>>4
	}
}

func TestNearestBinary16(t *testing.T) {
	for x, want := range map[float32]spec.Float16{
		0: 0, 1: 0x3c00, -2: 0xc000, 65504: 0x7bff, 65520: 0x7bff, 1e9: 0x7bff, -1e9: 0xfbff, 0x1p-24: 1, 0x1p-25: 0, 0x1.8p-24: 2,
		1 + 0x1p-11: 0x3c00, 1 + 0x3p-11: 0x3c02, 1 + 0x1.8p-11: 0x3c01,
	} {
		if got := nearestBinary16(x); got != want {
			t.Errorf("%v: got %#04x, want %#04x", x, uint16(got), uint16(want))
		}
	}
}
