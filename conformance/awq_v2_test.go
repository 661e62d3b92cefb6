package conformance

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var awqV2Mutants = []mutant{
	{"awq-v2/grid", "takes the largest magnitude of a channel, not the mean", before("calibrate", func(c *proxy.Call) {
		x := c.Args[1].(spec.Matrix)
		for n := range x.Rows {
			for i, v := range x.Row(n) {
				x.Row(0)[i] = max(x.Row(0)[i], v, -v)
			}
		}
		c.Args[1] = spec.Matrix{Rows: min(1, x.Rows), Cols: x.Cols, Data: x.Data[:min(1, x.Rows)*x.Cols]}
	}), ""},
	{"awq-v2/grid", "does not normalise", onAWQScales(func(_ spec.AWQv2Config, _, x spec.Matrix, s []float32) {
		least := slices.Min(s)
		for i := range s {
			s[i] /= least
		}
	}), ""},
	{"awq-v2/search", "never scales", onAWQScales(func(_ spec.AWQv2Config, _, _ spec.Matrix, s []float32) { setTo(s, 1) }), ""},
	{"awq-v2/search", "takes the largest exponent", onAWQScales(func(c spec.AWQv2Config, _, x spec.Matrix, s []float32) {
		copy(s, awqCandidate(awqMeans(x), c.NSearchSteps-1, c.NSearchSteps))
	}), ""},
	{"awq-v2/search", "weighs no weight by its activations", before("calibrate", func(c *proxy.Call) {
		if w := c.Args[0].(spec.Matrix); len(w.Data) > 0 {
			setTo(w.Data, w.Data[0])
		}
	}), ""},
	{"awq-v2/search", "takes the second best", onAWQScales(func(c spec.AWQv2Config, w, x spec.Matrix, s []float32) {
		errors := (&awqSearch{config: c, weights: w, activations: x}).errors()
		order := make([]int, len(errors))
		for k := range order {
			order[k] = k
		}
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(errors[i].r, errors[j].r) })
		copy(s, awqCandidate(awqMeans(x), order[min(1, len(order)-1)], c.NSearchSteps))
	}), ""},
	{"awq-v2/never-worse", "takes the largest exponent", onAWQScales(func(c spec.AWQv2Config, _, x spec.Matrix, s []float32) {
		copy(s, awqCandidate(awqMeans(x), c.NSearchSteps-1, c.NSearchSteps))
	}), ""},
	{"awq-v2/never-worse", "is Squish 6.0.0", awqAsSquish6, ""},
	{"awq-v2/ties", "takes the largest exponent of equals", onAWQScales(func(c spec.AWQv2Config, w, x spec.Matrix, s []float32) {
		if !slices.ContainsFunc(w.Data, func(w float32) bool { return w != 0 }) {
			copy(s, awqCandidate(awqMeans(x), c.NSearchSteps-1, c.NSearchSteps))
		}
	}), ""},
	{"awq-v2/activations", "looks at the first sample only", before("calibrate", func(c *proxy.Call) {
		if x := c.Args[1].(spec.Matrix); x.Rows > 0 {
			c.Args[1] = spec.Matrix{Rows: 1, Cols: x.Cols, Data: x.Row(0)}
		}
	}), ""},
	{"awq-v2/activations", "has a floor of 1/10 under activations", before("calibrate", func(c *proxy.Call) {
		for i, x := range c.Args[1].(spec.Matrix).Data {
			c.Args[1].(spec.Matrix).Data[i] = max(0.1, x, -x)
		}
	}), ""},
	{"awq-v2/power-of-two", "has a floor of 1e-5 under group scales", onAWQWeights(func(_ spec.AWQv2Config, _ spec.Matrix, _ []float32, w *spec.AWQWeights) {
		for i, s := range w.GroupScales.Data {
			w.GroupScales.Data[i] = max(s, 1e-5)
		}
	}), ""},
	{"awq-v2/power-of-two", "calibrates with a penalty of 1e-3 on every scale", onAWQScales(func(_ spec.AWQv2Config, w, _ spec.Matrix, s []float32) {
		total := 0.0
		for _, w := range w.Data {
			total += math.Abs(float64(w))
		}
		if total < 1e-3*float64(len(s)) {
			setTo(s, 1)
		}
	}), ""},
	{"awq-v2/group-scale", "leaves 0 out of the range", onAWQWeights(func(c spec.AWQv2Config, weights spec.Matrix, scales []float32, w *spec.AWQWeights) {
		eachAWQGroup(c, weights, scales, *w, func(g *awqGroupOf) {
			if least := slices.Min(g.scaled); least > 0 {
				w.GroupScales.Data[g.index] = float32((g.high - least) / float64(c.QMax()))
			}
		})
	}), ""},
	{"awq-v2/group-scale", "divides by 2^n_bits", onAWQWeights(func(c spec.AWQv2Config, _ spec.Matrix, _ []float32, w *spec.AWQWeights) {
		for i := range w.GroupScales.Data {
			w.GroupScales.Data[i] *= float32(c.QMax()) / float32(c.QMax()+1)
		}
	}), ""},
	{"awq-v2/zero-point", "rounds zero points up", onAWQWeights(func(c spec.AWQv2Config, weights spec.Matrix, scales []float32, w *spec.AWQWeights) {
		eachAWQGroup(c, weights, scales, *w, func(g *awqGroupOf) {
			if g.step > 0 {
				w.ZeroPoints[g.index] = uint8(math.Ceil(-g.low / g.step))
			}
		})
	}), ""},
	{"awq-v2/zero-point", "is symmetric", onAWQWeights(func(c spec.AWQv2Config, _ spec.Matrix, _ []float32, w *spec.AWQWeights) {
		for i := range w.ZeroPoints {
			w.ZeroPoints[i] = uint8(c.QMax()/2 + 1)
		}
	}), ""},
	{"awq-v2/codes", "rounds codes down", onAWQWeights(func(c spec.AWQv2Config, weights spec.Matrix, scales []float32, w *spec.AWQWeights) {
		eachAWQGroup(c, weights, scales, *w, func(g *awqGroupOf) {
			for i, v := range g.scaled {
				if g.step > 0 {
					w.Codes[g.first+i] = uint8(max(0, min(float64(c.QMax()), math.Floor(v/g.step)+float64(g.zeroPoint))))
				}
			}
		})
	}), ""},
	{"awq-v2/codes", "ignores the channel scales", before("quantize", func(c *proxy.Call) { setTo(c.Args[1].([]float32), 1) }), ""},
	{"awq-v2/half-even", "rounds half away from zero", onAWQWeights(func(c spec.AWQv2Config, weights spec.Matrix, scales []float32, w *spec.AWQWeights) {
		eachAWQGroup(c, weights, scales, *w, func(g *awqGroupOf) {
			for i, v := range g.scaled {
				if g.step > 0 {
					w.Codes[g.first+i] = uint8(max(0, min(float64(c.QMax()), math.Round(v/g.step)+float64(g.zeroPoint))))
				}
			}
		})
	}), ""},
	{"awq-v2/half-even", "rounds after adding the zero point", onAWQWeights(func(c spec.AWQv2Config, weights spec.Matrix, scales []float32, w *spec.AWQWeights) {
		eachAWQGroup(c, weights, scales, *w, func(g *awqGroupOf) {
			for i, v := range g.scaled {
				if g.step > 0 {
					w.Codes[g.first+i] = uint8(max(0, min(float64(c.QMax()), math.RoundToEven(v/g.step+float64(g.zeroPoint)))))
				}
			}
		})
	}), ""},
	{"awq-v2/half-step", "gives back weights times their channel's scale", before("dequantize", func(c *proxy.Call) { setTo(c.Args[1].([]float32), 1) }), ""},
	{"awq-v2/half-step", "keeps group scales in bfloat16", onAWQWeights(func(_ spec.AWQv2Config, _ spec.Matrix, _ []float32, w *spec.AWQWeights) {
		toBfloat16(w.GroupScales.Data)
	}), ""},
	{"awq-v2/groups", "has one zero point a row", onAWQWeights(func(_ spec.AWQv2Config, _ spec.Matrix, _ []float32, w *spec.AWQWeights) {
		for i := range w.ZeroPoints {
			w.ZeroPoints[i] = w.ZeroPoints[i-i%w.GroupScales.Cols]
		}
	}), ""},
	{"awq-v2/zero-groups", "gives zeros the scale 0", onAWQWeights(func(c spec.AWQv2Config, weights spec.Matrix, scales []float32, w *spec.AWQWeights) {
		eachAWQGroup(c, weights, scales, *w, func(g *awqGroupOf) {
			if g.step == 0 {
				w.GroupScales.Data[g.index] = 0
			}
		})
	}), ""},
	{"awq-v2/zero-groups", "gives −0 for the zero point", after("dequantize", func(c *proxy.Call) {
		for i, x := range c.Dst.(*spec.Matrix).Data {
			if x == 0 {
				c.Dst.(*spec.Matrix).Data[i] = float32(math.Copysign(0, -1))
			}
		}
	}), ""},
	{"awq-v2/common-factor", "has a floor of ½ under channel scales", before("quantize", func(c *proxy.Call) {
		for i, s := range c.Args[1].([]float32) {
			if s > 0 && s < 0.5 {
				c.Args[1].([]float32)[i] = 0.5
			}
		}
	}), ""},
	{"awq-v2/dequantize", "forgets the zero point", before("dequantize", func(c *proxy.Call) { clear(c.Args[4].([]uint8)) }), ""},
	{"awq-v2/dequantize", "overflows to infinity", overflowing, ""},
	{"awq-v2/dequantize", "answers in bfloat16", after("dequantize", func(c *proxy.Call) { toBfloat16(c.Dst.(*spec.Matrix).Data) }), ""},
	{"awq-v2/stats", "counts weights, not channels", func(next proxy.Handler) proxy.Handler {
		extra := 0
		return after("stats", func(c *proxy.Call) { c.Dst.(*spec.AWQv2Stats).Channels += extra })(
			after("calibrate", func(c *proxy.Call) {
				w := c.Args[0].(spec.Matrix)
				extra += len(w.Data) - w.Cols
			})(next))
	}, ""},
	{"awq-v2/int4-lossless", "packs the first code into the upper half, and unpacks so", func(next proxy.Handler) proxy.Handler {
		return after("pack_int4", func(c *proxy.Call) { turnBytes(*c.Dst.(*[]uint8)) })(
			before("unpack_int4", func(c *proxy.Call) { turnBytes(c.Args[0].([]uint8)) })(next))
	}, ""},
	{"awq-v2/int4-lossless", "unpacks 15 as 7, as if it were signed", after("unpack_int4", func(c *proxy.Call) {
		for i, code := range *c.Dst.(*[]uint8) {
			(*c.Dst.(*[]uint8))[i] = min(code, 14)
		}
	}), ""},
	{"awq-v2/int4-foreign", "cuts codes off at 15", before("pack_int4", func(c *proxy.Call) {
		for i, code := range c.Args[0].([]uint8) {
			c.Args[0].([]uint8)[i] = min(code, 15)
		}
	}), ""},
	{"awq-v2/int4-foreign", "ignores the filling", before("unpack_int4", func(c *proxy.Call) {
		if packed, n := c.Args[0].([]uint8), c.Args[1].(int); n%2 == 1 && len(packed) > 0 {
			packed[len(packed)-1] &= 15
		}
	}), ""},
	{"awq-v2/int4-foreign", "ignores surplus bytes", surplus("unpack_int4", 2), ""},
	{"awq-v2/search-squish6", "takes the last candidate", onAWQScales(func(c spec.AWQv2Config, w, x spec.Matrix, s []float32) {
		for i, mean := range awqMeans(x) {
			search := awqSteps{config: c, mean: mean}
			if last := search.candidate(c.NSearchSteps - 1); c.Variant == spec.Squish6 && !math.IsInf(last, 0) {
				s[i] = float32(last)
			}
		}
	}), ""},
	{"awq-v2/search-squish6", "searches up to the mean activation only", func(next proxy.Handler) proxy.Handler {
		squish6 := false
		return func(c *proxy.Call) error {
			if c.Op == proxy.New {
				squish6 = variantOf(c.Args[0]) == spec.Squish6
			}
			if c.Op.Name == "calibrate" && squish6 {
				own := *c
				own.Args = clone(c.Args).([]any)
				for i := range own.Args[1].(spec.Matrix).Data {
					own.Args[1].(spec.Matrix).Data[i] /= 2
				}
				return next(&own)
			}
			return next(c)
		}
	}, ""},
	{"awq-v2/search-squish6", "has no shifts", after("calibrate", func(c *proxy.Call) { clear(c.Dst.(*spec.AWQScales).Shifts) }), ""},
	{"awq-v2/codes-squish6", "rounds before adding the shift", before("quantize", func(c *proxy.Call) {
		for i, z := range c.Args[2].([]float32) {
			c.Args[2].([]float32)[i] = float32(math.Round(float64(z)))
		}
	}), ""},
	{"awq-v2/codes-squish6", "wraps where it should clip", after("quantize", func(c *proxy.Call) {
		w := c.Dst.(*spec.AWQWeights)
		for i, code := range w.Codes {
			if code == 15 {
				w.Codes[i] = 0
			}
		}
	}), ""},
	{"awq-v2/dequantize-squish6", "forgets the shift", before("dequantize", func(c *proxy.Call) { clear(c.Args[2].([]float32)) }), ""},
	{"awq-v2/dequantize-squish6", "overflows to infinity", overflowing, ""},
}

func setTo(values []float32, x float32) {
	for i := range values {
		values[i] = x
	}
}

// overflowing dequantises beyond float32.
var overflowing = after("dequantize", func(c *proxy.Call) {
	for i, x := range c.Dst.(*spec.Matrix).Data {
		if math.Abs(float64(x)) == math.MaxFloat32 {
			c.Dst.(*spec.Matrix).Data[i] = 2 * x
		}
	}
})

// awqAsSquish6 plays variant squish6 for the documented one.
var awqAsSquish6 = before("new", func(c *proxy.Call) {
	config := c.Args[0].(spec.AWQv2Config)
	config.Variant = spec.Squish6
	if config.NBits < 4 {
		config.NBits = 4
	}
	c.Args[0] = config
})

// awqConfigured spoils accepted calls by a rule that depends on the config.
func awqConfigured(spoil func(config spec.AWQv2Config, c *proxy.Call)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		var config spec.AWQv2Config
		return func(c *proxy.Call) error {
			err := next(c)
			if c.Op == proxy.New {
				config = c.Args[0].(spec.AWQv2Config)
			}
			if err == nil {
				spoil(config, c)
			}
			return err
		}
	}
}

// onAWQScales spoils the scales that calibrate came to.
func onAWQScales(spoil func(config spec.AWQv2Config, weights, activations spec.Matrix, scales []float32)) proxy.Layer {
	return awqConfigured(func(config spec.AWQv2Config, c *proxy.Call) {
		if s, ok := c.Dst.(*spec.AWQScales); ok {
			spoil(config, c.Args[0].(spec.Matrix), c.Args[1].(spec.Matrix), s.Scales)
		}
	})
}

// onAWQWeights spoils what quantize came to.
func onAWQWeights(spoil func(config spec.AWQv2Config, weights spec.Matrix, scales []float32, w *spec.AWQWeights)) proxy.Layer {
	return awqConfigured(func(config spec.AWQv2Config, c *proxy.Call) {
		if w, ok := c.Dst.(*spec.AWQWeights); ok {
			spoil(config, c.Args[0].(spec.Matrix), c.Args[1].([]float32), w)
		}
	})
}

// TestSquish6LosesToRoundToNearest measures the relative error of the outputs, on
// weights of standard deviation 0.02 and activations a few of whose channels see
// twenty times as much as the others. The scale of an activation is no step for a
// weight, so Squish 6.0.0 loses to plain rounding, by which AWQ is not beaten.
func TestSquish6LosesToRoundToNearest(t *testing.T) {
	workload := spec.Workload{"rows": 16.0, "cols": 128.0}
	documented := newAWQCalibration(spec.PageWorkload, workload)
	weights, activations := documented.weights, documented.activations
	relative := func(variant spec.Variant, activations spec.Matrix, plain bool) float64 {
		config := documented.config
		config.Variant = variant
		q, err := ref.NewAWQv2(config)
		if err != nil {
			t.Fatal(err)
		}
		var s spec.AWQScales
		var codes spec.AWQWeights
		var back spec.Matrix
		if err := q.Calibrate(&s, weights, activations); err != nil {
			t.Fatal(err)
		}
		if plain {
			setTo(s.Scales, 1)
		}
		if err := q.Quantize(&codes, weights, s.Scales, s.Shifts); err != nil {
			t.Fatal(err)
		}
		if err := q.Dequantize(&back, codes.Codes, s.Scales, s.Shifts, codes.GroupScales, codes.ZeroPoints); err != nil {
			t.Fatal(err)
		}
		var lost, off, out mat.Dense
		lost.Sub(dense(weights), dense(back))
		off.Mul(&lost, dense(documented.activations).T())
		out.Mul(dense(weights), dense(documented.activations).T())
		return mat.Norm(&off, 2) / mat.Norm(&out, 2)
	}
	squish6 := relative(spec.Squish6, newAWQCalibration(spec.HarnessWorkload, workload).activations, false)
	plain, awq := relative(spec.Documented, activations, true), relative(spec.Documented, activations, false)
	t.Logf("relative output error: squish6 %.3f, round-to-nearest %.3f, AWQ %.3f", squish6, plain, awq)
	if !(squish6 > 5*plain) || !(awq < plain) {
		t.Errorf("relative output error: squish6 %.3f, round-to-nearest %.3f, AWQ %.3f; want the first more than five times the second, and the last below it", squish6, plain, awq)
	}
}

// Of two candidates of which either may be the least, either is right.
func TestMayBeLeast(t *testing.T) {
	errors := []awqError{{1, 0.1}, {1.15, 0.1}, {1.3, 0.1}}
	for k, want := range []bool{true, true, false} {
		if got := mayBeLeast(errors, k); got != want {
			t.Errorf("candidate %d of %v: got %v", k, errors, got)
		}
	}
	for x, want := range map[float64]bool{2.5: true, -2.5: true, 2.5 + 1e-9: true, 2.5 - 1e-9: true, 2.4: false, 3: false, 0: false} {
		if got := atTie(x, 0x1p-20); got != want {
			t.Errorf("%v: at a tie %v", x, got)
		}
	}
}
