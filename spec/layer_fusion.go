package spec

import (
	"fmt"
	"reflect"
)

// LayerFusion finds layers that are alike and merges them into one. Layers are
// compared by their weights, not by what they do to activations as LaCo (arXiv
// 2402.11187) and ShortGPT (arXiv 2403.03853) compare them; the merge is a weighted
// average (model soups, arXiv 2203.05482).
//
// Page rows: layer-fusion/cosine-similarity, layer-fusion/fuse.
type LayerFusion interface {
	// CosineSimilarity writes, for weights of any shape, taken flat,
	//
	//	a·b / (‖a‖·‖b‖), clamped to [−1, 1]; 0 where one of them is all zeros
	//
	// No weights, different numbers of them and non-finite ones are Invalid, here and
	// in ShouldFuse and Fuse.
	CosineSimilarity(dst *float64, a, b []float32) error
	// ShouldFuse writes whether the similarity is at least the threshold.
	ShouldFuse(dst *bool, weightsA, weightsB []float32) error
	// Fuse writes w·a + (1−w)·b, rounded once: nothing overflows on the way. It does
	// not ask whether the layers are alike. A w outside [0, 1] is Invalid; on the wire
	// one that is missing is ½.
	Fuse(dst *[]float32, weightsA, weightsB []float32, w float64) error
	Stats() LayerFusionStats
}

// LayerFusionPlanner plans the fusions of a whole stack.
type LayerFusionPlanner interface {
	// PlanFusions writes which adjacent layers of a stack should fuse, greedily from
	// the left: layers i and i+1 where they are similar enough and i is not in a pair
	// yet. A pair is not fused again. It fuses nothing and counts nothing. No layers,
	// empty ones, layers of different sizes and non-finite weights are Invalid.
	PlanFusions(dst *FusionPlan, layers [][]float32) error
}

// A FusionPlan says which layers of a stack fuse, and what that saves.
type FusionPlan struct {
	// Pairs are disjoint and ascending.
	Pairs []LayerPair `wire:"pairs"`
	// BytesBefore and BytesAfter are the sizes of the stack in float32: each pair
	// saves one layer.
	BytesBefore int64 `wire:"bytes_before"`
	BytesAfter  int64 `wire:"bytes_after"`
}

// A LayerPair is two adjacent layers, by their places in the stack.
type LayerPair struct {
	First  int `wire:"0"`
	Second int `wire:"1"` // First + 1
}

// LayerFusionConfig configures LayerFusion.
type LayerFusionConfig struct {
	// HiddenDim is the model's width, ≥ 1, default 512. It says nothing of the shapes
	// that operations take.
	HiddenDim int `wire:"hidden_dim"`
	// SimilarityThreshold is in (0, 1]. Default 0.97.
	SimilarityThreshold float64 `wire:"similarity_threshold"`
}

// DefaultLayerFusionConfig returns the defaults.
func DefaultLayerFusionConfig() LayerFusionConfig {
	return LayerFusionConfig{HiddenDim: 512, SimilarityThreshold: 0.97}
}

// DefaultFusionWeight is the weight of the first layer where none is given.
const DefaultFusionWeight = 0.5

// Validate returns an Invalid error that names the field out of range.
func (c LayerFusionConfig) Validate() error {
	const m = "layer-fusion"
	return firstError(
		atLeast(m, "hidden_dim", c.HiddenDim, 1),
		inRange(m, "similarity_threshold", "a number in (0, 1]", c.SimilarityThreshold,
			c.SimilarityThreshold > 0 && c.SimilarityThreshold <= 1),
	)
}

// CheckLayer rejects a layer that is not of a size, or is empty.
func (c LayerFusionConfig) CheckLayer(name string, weights []float32, size int) error {
	switch {
	case len(weights) == 0:
		return Reject(Invalid, "layer-fusion", name, "at least 1 weight", 0)
	case len(weights) != size:
		return Reject(Invalid, "layer-fusion", name, fmt.Sprintf("%d weights, as many as the other layer has", size), len(weights))
	}
	return nil
}

// CheckWeight rejects a weight of Fuse that is out of range.
func (c LayerFusionConfig) CheckWeight(w float64) error {
	return inRange("layer-fusion", "w", "a number in [0, 1]", w, w >= 0 && w <= 1)
}

// CheckStack rejects a stack of no layers, of empty ones, and of different sizes.
func (c LayerFusionConfig) CheckStack(layers [][]float32) error {
	if len(layers) == 0 {
		return Reject(Invalid, "layer-fusion", "layers", "at least 1 layer", 0)
	}
	for i, layer := range layers {
		if size := len(layers[0]); size == 0 || len(layer) != size {
			return c.CheckLayer(fmt.Sprintf("layers[%d]", i), layer, size)
		}
	}
	return nil
}

// LayerFusionStats count what ShouldFuse and Fuse did.
type LayerFusionStats struct {
	Checks      int `wire:"total_similarity_checks"` // calls of ShouldFuse
	Fusions     int `wire:"total_fusions"`           // calls of Fuse
	LayersSaved int `wire:"total_layers_saved"`      // one a fusion
}

const (
	fusionSimilarityTolerance = "u·(2n + 16) for n weights"
	fusionSimilarityWhy       = "a dot product of n products is off by n·u·Σ|ab| ≤ n·u·‖a‖·‖b‖, the two lengths together by n·u of themselves, and roots, quotient and rounding by less than 16u; the similarity is at most 1"
	fusionDecisionTolerance   = "exact, pairs whose similarity is within max(2⁻²⁰·threshold, u·(2n + 16)) of the threshold excused"
	fuseTolerance             = "4u·(|a| + |b|) + u·2⁻¹²⁵"
	fuseWhy                   = "w and 1−w are off by at most u each, and so, of themselves, are two products and their sum; u·2⁻¹²⁵ is the spacing of subnormals"
)

var layerFusion = &Module{
	Name: "layer-fusion", Wave: 24,
	Summary:   "layers that are alike, found by cosine similarity and merged by a weighted average",
	Interface: reflect.TypeFor[LayerFusion](),
	Config:    DefaultLayerFusionConfig(),
	Defaults:  defaults(func(LayerFusionConfig) LayerFusionConfig { return DefaultLayerFusionConfig() }),
	Operations: []Operation{
		op[LayerFusion]("cosine_similarity", named("similarity"), Param{Name: "a", AnyShape: true}, Param{Name: "b", AnyShape: true}),
		op[LayerFusion]("should_fuse", named("fuse"), Param{Name: "weights_a", AnyShape: true}, Param{Name: "weights_b", AnyShape: true}),
		op[LayerFusion]("fuse", Param{Name: "fused", Like: "weights_a"},
			Param{Name: "weights_a", AnyShape: true}, Param{Name: "weights_b", AnyShape: true},
			Param{Name: "w", Optional: true, Default: DefaultFusionWeight}),
		op[LayerFusion]("stats", Param{}),
		optional[LayerFusionPlanner]("plan_fusions", Param{}, Param{Name: "layers", AnyShape: true}),
	},
	Requirements: append([]Requirement{{
		ID: "layer-fusion/cosine", Level: Must, Kind: Law,
		Text:      "The similarity is the cosine of the angle between the flattened weights, at any magnitude that float32 has.",
		Tolerance: fusionSimilarityTolerance, Why: fusionSimilarityWhy,
		Source: "page row layer-fusion/cosine-similarity; computed again in 200-bit floats",
	}, {
		ID: "layer-fusion/bounded", Level: Must, Kind: Law,
		Text:      "The similarity is a number in [−1, 1], of parallel and opposite layers too.",
		Tolerance: exact, Why: "it is clamped after the last rounding", Source: "Cauchy and Schwarz",
	}, {
		ID: "layer-fusion/symmetric", Level: Must, Kind: Law,
		Text:      "Two layers are as similar the other way round.",
		Tolerance: "2u·(2n + 16)", Why: "two results, each off by cosine's bound", Source: "the definition of the cosine",
	}, {
		ID: "layer-fusion/scale-free", Level: Must, Kind: Law,
		Text:      "A layer times 2ᵏ is as similar as before, and times −2ᵏ the opposite of that.",
		Tolerance: "2u·(2n + 16)", Why: "two results, each off by cosine's bound; the multiplication is exact while nothing under- or overflows", Source: "a cosine knows no length",
	}, {
		ID: "layer-fusion/zero-layers", Level: Must, Kind: Law,
		Text:      "A layer of zeros has similarity 0 with every layer, itself included, and fuses with none.",
		Tolerance: exact, Why: "no arithmetic is involved", Source: "the recording's case zeros",
	}, {
		ID: "layer-fusion/threshold", Level: Must, Kind: Law,
		Text:      "Layers should fuse exactly where their cosine, computed in big floats, is at least the threshold.",
		Tolerance: fusionDecisionTolerance, Why: fusionSimilarityWhy, Source: "the recording's should_fuse",
	}, {
		ID: "layer-fusion/identical", Level: Should, Kind: Law,
		Text:      "Layers that are the same, or a power of two apart, should fuse at every threshold, 1 included.",
		Tolerance: exact, Why: "√(s·s) is s exactly, so a·b/√(‖a‖²·‖b‖²) is 1; a product of two rounded lengths misses it, which is why this is no MUST", Source: "the recording's own check fails there at threshold 1",
	}, {
		ID: "layer-fusion/fuse", Level: Must, Kind: Law,
		Text:      "A fused weight is w·a + (1−w)·b.",
		Tolerance: fuseTolerance, Why: fuseWhy, Source: "page row layer-fusion/fuse: weighted average merge; computed again in 200-bit floats",
	}, {
		ID: "layer-fusion/ends", Level: Must, Kind: Law,
		Text:      "With w = 1 the fused layer is the first one, and with w = 0 the second.",
		Tolerance: exact, Why: "a product with 1 is exact, and one with 0 is 0", Source: "the formula's ends",
	}, {
		ID: "layer-fusion/same", Level: Must, Kind: Law,
		Text:      "A layer fused with itself is itself, whatever w.",
		Tolerance: "8u·|a| + u·2⁻¹²⁵", Why: "fuse's bound at b = a", Source: "the weights sum to 1",
	}, {
		ID: "layer-fusion/between", Level: Must, Kind: Law,
		Text:      "A fused weight lies between the two that it is made of, also where their sum is beyond float32.",
		Tolerance: fuseTolerance + ", and finite", Why: fuseWhy, Source: "an average is convex: (a+b)/2 overflows at 3e38, and a/2 + b/2 does not",
	}, {
		ID: "layer-fusion/swap", Level: Must, Kind: Law,
		Text:      "The layers swapped, with 1−w for w, fuse to the same.",
		Tolerance: "8u·(|a| + |b|) + 2u·2⁻¹²⁵", Why: "two results, each off by fuse's bound; w is drawn in 256ths, so that 1−w is exact", Source: "the formula is symmetric",
	}, {
		ID: "layer-fusion/plan", Level: Must, Kind: Law, Needs: []string{"plan_fusions"},
		Text:      "From the left, layers i and i+1 fuse where their cosine is at least the threshold and i is in no pair, and no others.",
		Tolerance: "exact, pairs within max(2⁻²⁰·threshold, u·(2n + 16)) of the threshold excused: the plan goes on from what was decided",
		Why:       fusionSimilarityWhy, Source: "greedy, from the left: a pair is not fused again",
	}, {
		ID: "layer-fusion/plan-repeated", Level: Must, Kind: Law, Needs: []string{"plan_fusions"},
		Text:      "A stack of n equal layers fuses in ⌊n/2⌋ pairs, from the first on.",
		Tolerance: exact, Why: exactWhy, Source: "greedy, from the left; thresholds are drawn up to 0.97",
	}, {
		ID: "layer-fusion/plan-bytes", Level: Must, Kind: Law, Needs: []string{"plan_fusions"},
		Text:      "The stack takes 4 bytes a weight before, and afterwards one layer less for each pair.",
		Tolerance: exact, Why: exactWhy, Source: "the page's claim: N_fused × layer_size",
	}, {
		ID: "layer-fusion/stats", Level: Must, Kind: Law,
		Text:      "Stats count the calls of should_fuse as checks and those of fuse as fusions, each saving a layer; similarities and plans count nothing.",
		Tolerance: exact, Why: exactWhy, Source: "the recording's stats",
	}}, common("layer-fusion", nil,
		"similarity "+fusionSimilarityTolerance+"; decisions and plans as threshold and plan; fused weights "+fuseTolerance,
		"as cosine and fuse", "cosines and averages in 200-bit floats")...),
}
