package conformance

import (
	"cmp"
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var structuredPruneMutants = []mutant{
	{"structured-prune/nm-count", "keeps no zeros", onPrunedNM(func(_ spec.StructuredPruneConfig, w spec.Matrix, out *spec.PrunedWeights) {
		for i, x := range w.Data {
			out.Mask[i] = out.Mask[i] && x != 0
		}
	}), ""},
	{"structured-prune/largest", "ranks values, not magnitudes", rankedPruneNM(func(a, b float32) int { return cmp.Compare(b, a) }), ""},
	{"structured-prune/largest", "ranks magnitudes below 2⁻¹²⁶ as 0", rankedPruneNM(func(a, b float32) int {
		return cmp.Compare(withoutSubnormals(b), withoutSubnormals(a))
	}), ""},
	{"structured-prune/ties", "keeps the positive one of two equal magnitudes", rankedPruneNM(func(a, b float32) int {
		return cmp.Or(pruneByMagnitude(a, b), cmp.Compare(b, a))
	}), ""},
	{"structured-prune/ties", "keeps the last of equal magnitudes", onPrunedNM(func(c spec.StructuredPruneConfig, w spec.Matrix, out *spec.PrunedWeights) {
		reversed := spec.Matrix{Rows: 1, Cols: len(w.Data), Data: slices.Clone(w.Data)}
		slices.Reverse(reversed.Data)
		mask := rankedPruneMask(c, reversed.Data, pruneByMagnitude)
		slices.Reverse(mask)
		repruned(out, w, mask)
	}), ""},
	{"structured-prune/selected", "multiplies by the mask, which leaves −0", onPrunedNM(func(_ spec.StructuredPruneConfig, w spec.Matrix, out *spec.PrunedWeights) {
		for i, x := range w.Data {
			if !out.Mask[i] {
				out.Pruned.Data[i] = 0 * x
			}
		}
	}), ""},
	{"structured-prune/selected", "scales what is kept by M/N", onPrunedNM(func(c spec.StructuredPruneConfig, _ spec.Matrix, out *spec.PrunedWeights) {
		for i := range out.Pruned.Data {
			out.Pruned.Data[i] *= float32(c.M) / float32(c.N)
		}
	}), ""},
	{"structured-prune/energy", "keeps the first N", rankedPruneNM(func(a, b float32) int { return 0 }), ""},
	{"structured-prune/idempotent", "ranks values, not magnitudes", rankedPruneNM(func(a, b float32) int { return cmp.Compare(b, a) }), ""},
	{"structured-prune/idempotent", "keeps the smallest", rankedPruneNM(func(a, b float32) int { return pruneByMagnitude(b, a) }), ""},
	{"structured-prune/scale-sign", "takes what is below 1e-5 for 0", rankedPruneNM(func(a, b float32) int {
		floor := func(x float32) float64 { return max(math.Abs(float64(x)), 1e-5) }
		return cmp.Compare(floor(b), floor(a))
	}), ""},
	{"structured-prune/permutation", "keeps the first N", rankedPruneNM(func(a, b float32) int { return 0 }), ""},
	{"structured-prune/permutation", "prunes every group as the first", onPrunedNM(func(c spec.StructuredPruneConfig, w spec.Matrix, out *spec.PrunedWeights) {
		mask := slices.Clone(out.Mask)
		for i := range mask {
			mask[i] = out.Mask[i%c.M]
		}
		repruned(out, w, mask)
	}), ""},
	{"structured-prune/fraction", "counts zeros", after("sparsity_fraction", func(c *proxy.Call) {
		zeros, weights := 0, c.Args[0].([]float32)
		for _, w := range weights {
			if w == 0 {
				zeros++
			}
		}
		*c.Dst.(*float64) = float64(zeros) / float64(len(weights))
	}), ""},
	{"structured-prune/fraction", "says that zeros are not sparse", after("sparsity_fraction", func(c *proxy.Call) {
		if !hasNonZero(c.Args[0].([]float32)) {
			*c.Dst.(*float64) = 0
		}
	}), ""},
	{"structured-prune/groups-count", "rounds the number of dropped groups up", before("new", func(c *proxy.Call) {
		if config := c.Args[0].(spec.StructuredPruneConfig); config.Sparsity > 0 && config.Sparsity < 0.9 {
			config.Sparsity += 0.09
			c.Args[0] = config
		}
	}), ""},
	{"structured-prune/groups-count", "drops the last row of the last group kept only", onPrunedGroups(func(c spec.StructuredPruneConfig, w spec.Matrix, out *spec.PrunedWeights) {
		mask := slices.Clone(out.Mask)
		clear(mask[len(mask)-w.Cols:])
		repruned(out, w, mask)
	}), ""},
	{"structured-prune/groups-least", "drops the first groups", rankedPruneGroups(func(group []float32) float64 { return 0 }), ""},
	{"structured-prune/groups-least", "ranks by the largest magnitude", rankedPruneGroups(func(group []float32) float64 {
		largest := 0.0
		for _, x := range group {
			largest = max(largest, math.Abs(float64(x)))
		}
		return largest
	}), ""},
	{"structured-prune/groups-least", "squares in float32, which overflows", rankedPruneGroups(func(group []float32) float64 {
		sum := float32(0)
		for _, x := range group {
			sum += x * x
		}
		return float64(sum)
	}), ""},
	{"structured-prune/groups-ties", "keeps the last of groups that are alike", rankedPruneGroups(func(group []float32) float64 {
		sum := 0.0
		for _, x := range group {
			sum += float64(x) * float64(x)
		}
		return sum
	}), ""},
	{"structured-prune/groups-selected", "leaves dropped rows in", onPrunedGroups(func(_ spec.StructuredPruneConfig, w spec.Matrix, out *spec.PrunedWeights) {
		copy(out.Pruned.Data, w.Data)
	}), ""},
	{"structured-prune/groups-nested", "takes sparsities of 0.75 and above for 0.1", before("new", func(c *proxy.Call) {
		if config := c.Args[0].(spec.StructuredPruneConfig); config.Sparsity >= 0.75 && config.Sparsity < 1 {
			config.Sparsity = 0.1
			c.Args[0] = config
		}
	}), ""},
	{"structured-prune/stats", "counts the weights kept", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.StructuredPruneStats)
		s.Zeroed = s.Weights - s.Zeroed
	}), ""},
	{"structured-prune/stats", "answers sparsity 1 before any call", after("stats", func(c *proxy.Call) {
		if s := c.Dst.(*spec.StructuredPruneStats); s.Calls == 0 {
			s.Sparsity = 1
		}
	}), ""},
}

// onPrunedWeights spoils what weights were pruned to, knowing the config.
func onPrunedWeights(operation string, spoil func(spec.StructuredPruneConfig, spec.Matrix, *spec.PrunedWeights)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		var config spec.StructuredPruneConfig
		spoiled := after(operation, func(c *proxy.Call) { spoil(config, c.Args[0].(spec.Matrix), c.Dst.(*spec.PrunedWeights)) })(next)
		return func(c *proxy.Call) error {
			if c.Op == proxy.New {
				config = c.Args[0].(spec.StructuredPruneConfig)
			}
			return spoiled(c)
		}
	}
}

func onPrunedNM(spoil func(spec.StructuredPruneConfig, spec.Matrix, *spec.PrunedWeights)) proxy.Layer {
	return onPrunedWeights("prune", spoil)
}

func onPrunedGroups(spoil func(spec.StructuredPruneConfig, spec.Matrix, *spec.PrunedWeights)) proxy.Layer {
	return onPrunedWeights("prune_groups", spoil)
}

// rankedPruneNM keeps the first N of each group under another order.
func rankedPruneNM(order func(a, b float32) int) proxy.Layer {
	return onPrunedNM(func(c spec.StructuredPruneConfig, w spec.Matrix, out *spec.PrunedWeights) {
		repruned(out, w, rankedPruneMask(c, w.Data, order))
	})
}

func rankedPruneMask(c spec.StructuredPruneConfig, weights []float32, order func(a, b float32) int) []bool {
	mask := make([]bool, len(weights))
	for g := 0; g < len(weights); g += c.M {
		places := make([]int, c.M)
		for i := range places {
			places[i] = g + i
		}
		slices.SortStableFunc(places, func(i, j int) int { return order(weights[i], weights[j]) })
		for _, i := range places[:c.N] {
			mask[i] = true
		}
	}
	return mask
}

func pruneByMagnitude(a, b float32) int {
	return cmp.Compare(math.Abs(float64(b)), math.Abs(float64(a)))
}

// withoutSubnormals is a magnitude where subnormals are 0.
func withoutSubnormals(x float32) float64 {
	if m := math.Abs(float64(x)); m >= 0x1p-126 {
		return m
	}
	return 0
}

// rankedPruneGroups drops the groups of least score, of equal ones the first.
func rankedPruneGroups(score func(group []float32) float64) proxy.Layer {
	return onPrunedGroups(func(c spec.StructuredPruneConfig, w spec.Matrix, out *spec.PrunedWeights) {
		groups := make([]int, c.Groups(w.Rows))
		for g := range groups {
			groups[g] = g
		}
		slices.SortStableFunc(groups, func(g, h int) int { return cmp.Compare(score(c.Group(w, g)), score(c.Group(w, h))) })
		dropped := groups[:spec.DropCount(c.Sparsity, len(groups))]
		var mask []bool
		for g := range groups {
			mask = append(mask, slices.Repeat([]bool{!slices.Contains(dropped, g)}, len(c.Group(w, g)))...)
		}
		repruned(out, w, mask)
	})
}

// repruned gives pruned weights another mask, and the weights that go with it.
func repruned(out *spec.PrunedWeights, w spec.Matrix, mask []bool) {
	copy(out.Mask, mask)
	for i, kept := range mask {
		out.Pruned.Data[i] = 0
		if kept {
			out.Pruned.Data[i] = w.Data[i]
		}
	}
}
