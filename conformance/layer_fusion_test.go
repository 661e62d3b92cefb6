package conformance

import (
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var layerFusionMutants = []mutant{
	{"layer-fusion/cosine", "adds 1e-9 to the lengths", onSimilarity(func(p layerPair, c float64) float64 {
		a, b := layerLength(p.a), layerLength(p.b)
		if a == 0 || b == 0 {
			return c
		}
		return c * (a / (a + 1e-9)) * (b / (b + 1e-9))
	}), ""},
	{"layer-fusion/cosine", "multiplies and adds in float32", onSimilarity(func(p layerPair, _ float64) float64 {
		var dot, a, b float32
		for i := range p.a {
			dot += p.a[i] * p.b[i]
			a += p.a[i] * p.a[i]
			b += p.b[i] * p.b[i]
		}
		if a == 0 || b == 0 {
			return 0
		}
		return float64(dot) / math.Sqrt(float64(a)*float64(b))
	}), ""},
	{"layer-fusion/cosine", "takes layers that look away for similar ones", onSimilarity(func(_ layerPair, c float64) float64 {
		return math.Abs(c)
	}), ""},
	{"layer-fusion/bounded", "is off by a rounding, and not clamped", onSimilarity(func(_ layerPair, c float64) float64 {
		return c * (1 + 0x1p-50)
	}), ""},
	{"layer-fusion/symmetric", "divides by the first length twice", onSimilarity(func(p layerPair, c float64) float64 {
		if a := layerLength(p.a); a > 0 {
			return max(-1, min(1, c*layerLength(p.b)/a))
		}
		return c
	}), ""},
	{"layer-fusion/scale-free", "adds 1e-9 to the lengths", onSimilarity(func(p layerPair, c float64) float64 {
		a := layerLength(p.a)
		return c * a / (a + 1e-9)
	}), ""},
	{"layer-fusion/scale-free", "takes the magnitude", onSimilarity(func(_ layerPair, c float64) float64 { return math.Abs(c) }), ""},
	{"layer-fusion/zero-layers", "calls two layers of zeros the same", onSimilarity(func(p layerPair, c float64) float64 {
		if layerLength(p.a) == 0 && layerLength(p.b) == 0 {
			return 1
		}
		return c
	}), ""},
	{"layer-fusion/zero-layers", "fuses whatever is smaller than the layer before", onDecision(func(p layerPair, fuses bool) bool {
		return fuses || layerLength(p.b) < layerLength(p.a)/2
	}), ""},
	{"layer-fusion/threshold", "has a threshold 5% too high", before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.LayerFusionConfig)
		config.SimilarityThreshold = min(1, 1.05*config.SimilarityThreshold)
		c.Args[0] = config
	}), ""},
	{"layer-fusion/threshold", "fuses layers that look away from each other", onDecision(func(p layerPair, fuses bool) bool {
		return fuses || p.cosine() < -0.99
	}), ""},
	{"layer-fusion/identical", "loses the last bit of the cosine", onDecision(func(p layerPair, fuses bool) bool {
		return fuses && p.cosine() < 1
	}), ""},
	{"layer-fusion/fuse", "takes the plain mean, whatever the weight", before("fuse", func(c *proxy.Call) { c.Args[2] = 0.5 }), ""},
	{"layer-fusion/fuse", "gives the second layer the first one's weight", before("fuse", func(c *proxy.Call) {
		c.Args[2] = 1 - c.Args[2].(float64)
	}), ""},
	{"layer-fusion/fuse", "answers in bfloat16", onFused(func(_ layerPair, _ float64, fused []float32) { toBfloat16(fused) }), ""},
	{"layer-fusion/ends", "leaves each layer a hundredth at least", before("fuse", func(c *proxy.Call) {
		if w := c.Args[2].(float64); w >= 0 && w <= 1 {
			c.Args[2] = max(0.01, min(0.99, w))
		}
	}), ""},
	{"layer-fusion/same", "has weights that do not sum to 1", onFused(func(p layerPair, w float64, fused []float32) {
		for i := range fused {
			fused[i] = float32(w*float64(p.a[i])) + float32((1-w*w)*float64(p.b[i]))
		}
	}), ""},
	{"layer-fusion/between", "adds both layers in float32 and halves them", onFused(func(p layerPair, w float64, fused []float32) {
		for i := range fused {
			if w == 0.5 {
				fused[i] = (p.a[i] + p.b[i]) / 2
			}
		}
	}), ""},
	{"layer-fusion/between", "gives the second layer the weight 1", onFused(func(p layerPair, w float64, fused []float32) {
		for i := range fused {
			fused[i] = float32(w*float64(p.a[i]) + float64(p.b[i]))
		}
	}), ""},
	{"layer-fusion/swap", "squares the weight", before("fuse", func(c *proxy.Call) {
		w := c.Args[2].(float64)
		c.Args[2] = w * math.Abs(w)
	}), ""},
	{"layer-fusion/plan", "fuses a fused layer again", onPlan(func(stack [][]float32, plan *spec.FusionPlan) {
		for i := len(plan.Pairs) - 1; i >= 0; i-- {
			if last := plan.Pairs[i].Second; last+1 < len(stack) && slices.Equal(stack[last], stack[last+1]) {
				plan.Pairs = slices.Insert(plan.Pairs, i+1, spec.LayerPair{First: last, Second: last + 1})
			}
		}
	}), ""},
	{"layer-fusion/plan", "starts with the last layers", func(next proxy.Handler) proxy.Handler {
		reversed := before("plan_fusions", func(c *proxy.Call) { slices.Reverse(c.Args[0].([][]float32)) })
		return after("plan_fusions", func(c *proxy.Call) {
			plan, last := c.Dst.(*spec.FusionPlan), len(c.Args[0].([][]float32))-1
			for i, p := range plan.Pairs {
				plan.Pairs[i] = spec.LayerPair{First: last - p.Second, Second: last - p.First}
			}
			slices.Reverse(plan.Pairs)
		})(reversed(next))
	}, ""},
	{"layer-fusion/plan", "stops at the first pair", onPlan(func(_ [][]float32, plan *spec.FusionPlan) {
		plan.Pairs = plan.Pairs[:min(1, len(plan.Pairs))]
	}), ""},
	{"layer-fusion/plan-repeated", "lists every two neighbours", onPlan(func(stack [][]float32, plan *spec.FusionPlan) {
		plan.Pairs = nil
		for i := range stack[1:] {
			plan.Pairs = append(plan.Pairs, spec.LayerPair{First: i, Second: i + 1})
		}
	}), ""},
	{"layer-fusion/plan-bytes", "counts weights", onPlan(func(_ [][]float32, plan *spec.FusionPlan) {
		plan.BytesBefore /= 4
		plan.BytesAfter /= 4
	}), ""},
	{"layer-fusion/plan-bytes", "saves both layers of a pair", onPlan(func(_ [][]float32, plan *spec.FusionPlan) {
		plan.BytesAfter -= plan.BytesBefore - plan.BytesAfter
	}), ""},
	{"layer-fusion/stats", "counts similarities as checks", countAs("cosine_similarity", func(s *spec.LayerFusionStats, n int) { s.Checks += n }), ""},
	{"layer-fusion/stats", "counts planned fusions", countAs("plan_fusions", func(s *spec.LayerFusionStats, n int) { s.Fusions += n }), ""},
	{"layer-fusion/stats", "saves two layers a fusion", after("stats", func(c *proxy.Call) {
		c.Dst.(*spec.LayerFusionStats).LayersSaved *= 2
	}), ""},
}

func layerLength(layer []float32) float64 {
	sum := 0.0
	for _, x := range layer {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

func pairOf(c *proxy.Call) layerPair { return layerPair{c.Args[0].([]float32), c.Args[1].([]float32)} }

// onSimilarity has another similarity.
func onSimilarity(spoil func(p layerPair, c float64) float64) proxy.Layer {
	return after("cosine_similarity", func(c *proxy.Call) {
		*c.Dst.(*float64) = spoil(pairOf(c), *c.Dst.(*float64))
	})
}

// onDecision decides otherwise.
func onDecision(spoil func(p layerPair, fuses bool) bool) proxy.Layer {
	return after("should_fuse", func(c *proxy.Call) { *c.Dst.(*bool) = spoil(pairOf(c), *c.Dst.(*bool)) })
}

// onFused spoils fused weights.
func onFused(spoil func(p layerPair, w float64, fused []float32)) proxy.Layer {
	return after("fuse", func(c *proxy.Call) { spoil(pairOf(c), c.Args[2].(float64), *c.Dst.(*[]float32)) })
}

// onPlan spoils a plan.
func onPlan(spoil func(stack [][]float32, plan *spec.FusionPlan)) proxy.Layer {
	return after("plan_fusions", func(c *proxy.Call) { spoil(c.Args[0].([][]float32), c.Dst.(*spec.FusionPlan)) })
}

// countAs counts accepted calls of an operation as something that they are not.
func countAs(operation string, add func(s *spec.LayerFusionStats, n int)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		n := 0
		counted := after(operation, func(*proxy.Call) { n++ })(next)
		return after("stats", func(c *proxy.Call) { add(c.Dst.(*spec.LayerFusionStats), n) })(counted)
	}
}
