package spec

import (
	"fmt"
	"math"
	"reflect"
)

// EmbeddingGate routes embeddings by their likeness to a gate vector: route 1 to
// vision, route 0 to text.
//
// Page rows: embedding-gate/gate, embedding-gate/gate-best.
type EmbeddingGate interface {
	// Gate writes, for embeddings x (n, embed_dim), a route for each row and a copy
	// of the embeddings in which rows of route 0 are +0 (selected, not multiplied).
	// With w the gate weights, the route is 1 where the score is at least the
	// threshold, else 0:
	//
	//	documented  |cos(x, w)|, 0 where a vector is zero
	//	squish6     |x·w|
	//
	// No rows, another width and non-finite elements are Invalid.
	Gate(dst *GatedEmbeddings, embeddings Matrix) error
	// UpdateThreshold replaces the threshold; one that the config would not take is
	// Invalid.
	UpdateThreshold(threshold float64) error
	Stats() EmbeddingGateStats
}

// EmbeddingGateWeights replaces the gate vector.
type EmbeddingGateWeights interface {
	// SetWeights copies embed_dim weights. Another number of them, and non-finite
	// ones, are Invalid. Until then all are 1/embed_dim, which is a placeholder: it
	// tells no modalities apart.
	SetWeights(weights []float32) error
}

// GatedEmbeddings are routed embeddings.
type GatedEmbeddings struct {
	// Route is 1 for vision and 0 for text, a row each.
	Route []int32 `wire:"route"`
	// Masked has the rows of route 1 bit for bit, and +0 in the others.
	Masked Matrix `wire:"masked"`
}

// EmbeddingGateConfig configures EmbeddingGate.
type EmbeddingGateConfig struct {
	Variant  Variant `wire:"variant"`   // Documented or Squish6
	EmbedDim int     `wire:"embed_dim"` // ≥ 1, default 512
	// Threshold is finite and > 0; documented at most 1, as a cosine. Default 0.5.
	Threshold float64 `wire:"threshold"`
	NRoutes   int     `wire:"n_routes"` // 2
}

// DefaultEmbeddingGateConfig returns the defaults.
func DefaultEmbeddingGateConfig() EmbeddingGateConfig {
	return EmbeddingGateConfig{EmbedDim: 512, Threshold: 0.5, NRoutes: 2}
}

// Validate returns an Invalid error that names the field out of range.
func (c EmbeddingGateConfig) Validate() error {
	const m = "embedding-gate"
	return firstError(
		checkVariant(m, c.Variant, Squish6),
		atLeast(m, "embed_dim", c.EmbedDim, 1),
		c.CheckThreshold("threshold", c.Threshold),
		inRange(m, "n_routes", "2", float64(c.NRoutes), c.NRoutes == 2),
		storesFit(m, c.EmbedDim),
	)
}

// CheckThreshold rejects a threshold that is out of range for the variant.
func (c EmbeddingGateConfig) CheckThreshold(name string, threshold float64) error {
	if c.Variant == Squish6 {
		return inRange("embedding-gate", name, "a finite number above 0", threshold, threshold > 0 && !math.IsInf(threshold, 1))
	}
	return inRange("embedding-gate", name, "a number in (0, 1]", threshold, threshold > 0 && threshold <= 1)
}

// CheckEmbeddings rejects an argument of Gate.
func (c EmbeddingGateConfig) CheckEmbeddings(embeddings Matrix) error {
	const m = "embedding-gate"
	return firstError(
		CheckMatrix(m, "embeddings", embeddings, -1, c.EmbedDim),
		notEmpty(m, "embeddings", embeddings),
		CheckFinite(m, "embeddings", embeddings.Data),
	)
}

// CheckWeights rejects an argument of SetWeights.
func (c EmbeddingGateConfig) CheckWeights(weights []float32) error {
	const m = "embedding-gate"
	if len(weights) != c.EmbedDim {
		return Reject(Invalid, m, "weights", fmt.Sprintf("%d elements", c.EmbedDim), len(weights))
	}
	return CheckFinite(m, "weights", weights)
}

// EmbeddingGateStats count what Gate did.
type EmbeddingGateStats struct {
	Calls  int `wire:"total_gate_calls"`
	Text   int `wire:"total_text_routed"`
	Vision int `wire:"total_vision_routed"`
	// VisionFraction is Vision/(Text+Vision), 0 before any call.
	VisionFraction float64 `wire:"vision_fraction"`
}

const (
	gateTolerance = "exact, rows whose score is within max(2⁻²⁰·threshold, u·(2·dim + 16)·m) of the threshold excused, m = 1, and as squish6 Σ|xᵢwᵢ|"
	gateWhy       = "a dot product of dim elements is off by dim·u·Σ|xᵢwᵢ|, which is at most the product of the norms; norms and division add as much of the score, which is at most 1"
)

var embeddingGate = &Module{
	Name: "embedding-gate", Wave: 23,
	Summary:   "embeddings routed to text or vision by a gate vector",
	Interface: reflect.TypeFor[EmbeddingGate](),
	Config:    DefaultEmbeddingGateConfig(),
	Defaults:  defaults(func(EmbeddingGateConfig) EmbeddingGateConfig { return DefaultEmbeddingGateConfig() }),
	Variants:  []Variant{Squish6},
	Operations: []Operation{
		op[EmbeddingGate]("gate", Param{}, named("embeddings")),
		op[EmbeddingGate]("update_threshold", Param{}, named("new_threshold")),
		op[EmbeddingGate]("stats", Param{}),
		optional[EmbeddingGateWeights]("set_weights", Param{}, named("weights")),
	},
	Requirements: append([]Requirement{{
		ID: "embedding-gate/cosine", Level: Must, Kind: Law,
		Text:      "A row goes to vision exactly where the magnitude of its cosine with the gate vector, computed in big floats, is at least the threshold.",
		Tolerance: gateTolerance, Why: gateWhy, Source: "page row embedding-gate/gate: cosine-threshold gating",
	}, {
		ID: "embedding-gate/selected", Level: Must, Kind: Law,
		Text:      "Rows of route 1 come back bit for bit, and all others are +0.",
		Tolerance: "bitwise", Why: "rows are selected, never multiplied", Source: "a product with 0 would leave −0",
	}, {
		ID: "embedding-gate/scale-free", Level: Must, Kind: Law,
		Text:      "A row times ±2ᵏ has the same route.",
		Tolerance: "exact", Why: "a multiplication by a power of two is exact while nothing under- or overflows", Source: "a cosine knows no length, and its magnitude no sign",
	}, {
		ID: "embedding-gate/rows", Level: Must, Kind: Law,
		Text:      "Rows gated together, in any order, have the routes that they have alone.",
		Tolerance: gateTolerance, Why: gateWhy, Source: "rows do not see each other",
	}, {
		ID: "embedding-gate/nested", Level: Must, Kind: Law,
		Text:      "A higher threshold only takes rows from vision.",
		Tolerance: exact, Why: "a score does not depend on the threshold", Source: "the thresholds are nested",
	}, {
		ID: "embedding-gate/zero-rows", Level: Must, Kind: Law,
		Text:      "A row of zeros goes to text, whatever the threshold.",
		Tolerance: exact, Why: "no arithmetic is involved", Source: "a zero vector has no direction: its score is 0",
	}, {
		ID: "embedding-gate/update", Level: Must, Kind: Law,
		Text:      "After an update the threshold is the new one, as if it had been configured.",
		Tolerance: exact, Why: exactWhy, Source: "the recording's update_threshold",
	}, {
		ID: "embedding-gate/weights", Level: Must, Kind: Law, Needs: []string{"set_weights"},
		Text:      "With weights of one axis, rows along that axis go to vision and rows without a share in it to text.",
		Tolerance: exact, Why: "the cosines are 1 and 0; thresholds are drawn up to ½", Source: "a gate is of use once it is set",
	}, {
		ID: "embedding-gate/stats", Level: Must, Kind: Law,
		Text:      "Stats count calls and rows by route; the vision fraction is vision/all, 0 before any call.",
		Tolerance: "counts exact; fraction 2⁻⁵⁰", Why: "one division in float64", Source: "the recording's stats",
	}, {
		ID: "embedding-gate/dot-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, a row goes to vision exactly where the magnitude of its dot product with the gate vector is at least the threshold.",
		Tolerance: gateTolerance, Why: gateWhy, Source: "the recording",
	}}, common("embedding-gate", []Variant{Squish6}, gateTolerance+"; rows exact", gateWhy, "cosines and dot products in big floats")...),
}
