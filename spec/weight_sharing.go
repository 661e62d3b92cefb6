package spec

import (
	"fmt"
	"reflect"
)

// WeightSharing stores the weights of several layers as one base and a low-rank
// delta each: Relaxed Recursive Transformers (Bae et al. 2024, arXiv 2410.20672).
//
// Page rows: weight-sharing/get-effective-weight, weight-sharing/memory-ratio.
type WeightSharing interface {
	// GetEffectiveWeight writes base + U·V of a layer, (hidden_dim, hidden_dim). With
	// rank 0 that is the base bit for bit. A layer below 0 or from n_shared_layers on is
	// a Range error.
	GetEffectiveWeight(dst *Matrix, layerIdx int) error
	// MemoryBytes returns what base and deltas take in float32:
	// 4·(hidden_dim² + n_shared_layers·2·hidden_dim·rank).
	MemoryBytes() int
	// DenseMemoryBytes returns what as many layers of their own take:
	// 4·n_shared_layers·hidden_dim².
	DenseMemoryBytes() int
	// MemoryRatio returns MemoryBytes/DenseMemoryBytes. It is above 1 where sharing
	// takes more than it saves.
	MemoryRatio() float64
	Stats() WeightSharingStats
}

// WeightSharingFit makes base and deltas of layers that exist.
type WeightSharingFit interface {
	// Fit writes the base that is nearest to all layers together, their mean, and of
	// each layer's difference from it the truncated singular value decomposition, of
	// that rank: U has the left vectors times the singular values, V the right vectors,
	// as rows. How a singular value is shared out, signs, and the basis of a subspace of
	// equal singular values, are free. The differences are from the base as it is
	// written, and not rounded.
	//
	// No layers, another shape than (hidden_dim, hidden_dim), non-finite elements, a
	// rank outside 0 … hidden_dim−1 and singular values beyond float32 are Invalid. The
	// instance does not change, and its own weights do not matter.
	Fit(dst *SharedWeights, layers []Matrix, rank int) error
}

// SharedWeights are a base and the factors of one delta a layer.
type SharedWeights struct {
	Base Matrix   `wire:"base"` // (hidden_dim, hidden_dim)
	U    []Matrix `wire:"u"`    // (hidden_dim, rank) each
	V    []Matrix `wire:"v"`    // (rank, hidden_dim) each
}

// WeightSharingConfig configures WeightSharing.
type WeightSharingConfig struct {
	HiddenDim     int `wire:"hidden_dim"`      // ≥ 1, default 512
	NSharedLayers int `wire:"n_shared_layers"` // ≥ 1, default 4
	Rank          int `wire:"rank"`            // in 0 … HiddenDim−1, default 8
	// Base is (HiddenDim, HiddenDim), finite. The zero Matrix, which is the default,
	// stands for zeros.
	Base Matrix `wire:"base"`
	// U and V are the factors of every layer's delta, (HiddenDim, Rank) and
	// (Rank, HiddenDim), finite. Empty lists, of both, are the default and stand for
	// zeros.
	U []Matrix `wire:"u"`
	V []Matrix `wire:"v"`
}

// DefaultWeightSharingConfig returns the defaults.
func DefaultWeightSharingConfig() WeightSharingConfig {
	return WeightSharingConfig{HiddenDim: 512, NSharedLayers: 4, Rank: 8}
}

// Validate returns an Invalid error that names the field out of range.
func (c WeightSharingConfig) Validate() error {
	const m = "weight-sharing"
	return firstError(
		atLeast(m, "hidden_dim", c.HiddenDim, 1),
		atLeast(m, "n_shared_layers", c.NSharedLayers, 1),
		c.CheckRank(c.Rank),
		c.checkSize(),
		c.checkWeights(),
	)
}

// CheckRank rejects a rank that a delta cannot have.
func (c WeightSharingConfig) CheckRank(rank int) error {
	return inRange("weight-sharing", "rank", fmt.Sprintf("0 … hidden_dim − 1 (%d)", c.HiddenDim-1), float64(rank), 0 <= rank && rank < c.HiddenDim)
}

// checkSize rejects weights that are too large to store, and layers that are too many
// to count the bytes of.
func (c WeightSharingConfig) checkSize() error {
	const m = "weight-sharing"
	deltas, fits := Volume(2, c.NSharedLayers, c.HiddenDim, c.Rank)
	base, ok := Volume(c.HiddenDim, c.HiddenDim)
	if !fits || !ok || base > maxElements || deltas > maxElements-base {
		return Reject(Invalid, m, "config", fmt.Sprintf("stores of at most %d elements in all", maxElements),
			fmt.Sprintf("a base of %d × %d and %d deltas of rank %d", c.HiddenDim, c.HiddenDim, c.NSharedLayers, c.Rank))
	}
	if _, ok := Volume(4, c.NSharedLayers, c.HiddenDim, c.HiddenDim); !ok {
		return Reject(Invalid, m, "n_shared_layers", "layers whose bytes fit an int", c.NSharedLayers)
	}
	return nil
}

func (c WeightSharingConfig) checkWeights() error {
	const m = "weight-sharing"
	if c.Base.Rows != 0 || c.Base.Cols != 0 || len(c.Base.Data) != 0 {
		if err := checkSharedMatrix(m, "base", c.Base, c.HiddenDim, c.HiddenDim); err != nil {
			return err
		}
	}
	if len(c.U) == 0 && len(c.V) == 0 {
		return nil
	}
	if len(c.U) != c.NSharedLayers {
		return Reject(Invalid, m, "u", fmt.Sprintf("%d factors, or none in u and v", c.NSharedLayers), len(c.U))
	}
	if len(c.V) != c.NSharedLayers {
		return Reject(Invalid, m, "v", fmt.Sprintf("%d factors, or none in u and v", c.NSharedLayers), len(c.V))
	}
	for i := range c.U {
		if err := firstError(
			checkSharedMatrix(m, fmt.Sprintf("u[%d]", i), c.U[i], c.HiddenDim, c.Rank),
			checkSharedMatrix(m, fmt.Sprintf("v[%d]", i), c.V[i], c.Rank, c.HiddenDim),
		); err != nil {
			return err
		}
	}
	return nil
}

func checkSharedMatrix(module, name string, m Matrix, rows, cols int) error {
	return firstError(CheckMatrix(module, name, m, rows, cols), CheckFinite(module, name, m.Data))
}

// CheckLayer rejects a layer that does not exist.
func (c WeightSharingConfig) CheckLayer(layerIdx int) error {
	if layerIdx < 0 || layerIdx >= c.NSharedLayers {
		return Reject(Range, "weight-sharing", "layer_idx", fmt.Sprintf("a layer in 0 … %d", c.NSharedLayers-1), layerIdx)
	}
	return nil
}

// CheckFit rejects arguments of Fit.
func (c WeightSharingConfig) CheckFit(layers []Matrix, rank int) error {
	if len(layers) == 0 {
		return Reject(Invalid, "weight-sharing", "layers", "at least 1 layer", 0)
	}
	for i, layer := range layers {
		if err := checkSharedMatrix("weight-sharing", fmt.Sprintf("layers[%d]", i), layer, c.HiddenDim, c.HiddenDim); err != nil {
			return err
		}
	}
	return c.CheckRank(rank)
}

// MemoryBytes is what base and deltas take.
func (c WeightSharingConfig) MemoryBytes() int {
	return 4 * (c.HiddenDim*c.HiddenDim + c.NSharedLayers*2*c.HiddenDim*c.Rank)
}

// DenseMemoryBytes is what as many layers of their own take.
func (c WeightSharingConfig) DenseMemoryBytes() int {
	return 4 * c.NSharedLayers * c.HiddenDim * c.HiddenDim
}

// WeightSharingStats count what GetEffectiveWeight did, and say what is stored.
type WeightSharingStats struct {
	Calls         int `wire:"total_effective_weight_calls"`
	HiddenDim     int `wire:"hidden_dim"`
	NSharedLayers int `wire:"n_shared_layers"`
	Rank          int `wire:"rank"`
	// MemoryRatio is that of the operation.
	MemoryRatio float64 `wire:"memory_ratio"`
}

const (
	sharingTolerance = "per element (rank + 2)·u·(|base| + Σ|u·v|) + (rank + 1)·u·2⁻¹²⁵"
	sharingWhy       = "the forward error of a sum of rank + 1 terms, taken in any order; a product that is subnormal is off by its spacing"
	sharingNearest   = "error ≤ (1+1e-4)·optimal + 16u·‖Δ‖ + (rank + 1)·u·2⁻¹²⁵"
)

var weightSharing = &Module{
	Name: "weight-sharing", Wave: 24,
	Summary:   "the weights of several layers as one base and a low-rank delta each",
	Interface: reflect.TypeFor[WeightSharing](),
	Config:    DefaultWeightSharingConfig(),
	Defaults:  defaults(func(WeightSharingConfig) WeightSharingConfig { return DefaultWeightSharingConfig() }),
	Operations: []Operation{
		op[WeightSharing]("get_effective_weight", named("weight"), named("layer_idx")),
		op[WeightSharing]("memory_bytes", named("bytes")),
		op[WeightSharing]("dense_memory_bytes", named("bytes")),
		op[WeightSharing]("memory_ratio", named("ratio")),
		op[WeightSharing]("stats", Param{}),
		optional[WeightSharingFit]("fit", Param{}, named("layers"), named("rank")),
	},
	Requirements: append([]Requirement{{
		ID: "weight-sharing/effective", Level: Must, Kind: Law,
		Text:      "An effective weight is base + U·V of its layer, computed in big floats.",
		Tolerance: sharingTolerance, Why: sharingWhy, Source: "Bae et al. 2024; page row weight-sharing/get-effective-weight",
	}, {
		ID: "weight-sharing/shared", Level: Must, Kind: Law,
		Text:      "With rank 0 every layer is the base bit for bit.",
		Tolerance: "bitwise; per element u·(|base| + 2⁻¹²⁶) where the unit roundoff is above 2⁻²⁴", Why: "no arithmetic is involved, but a base in lower precision is rounded when it is stored", Source: "page row weight-sharing/memory-ratio: 4 layers → 1 copy",
	}, {
		ID: "weight-sharing/low-rank", Level: Must, Kind: Law,
		Text:      "An effective weight differs from the base by a matrix of the configured rank: its other singular values are 0.",
		Tolerance: "σ ≤ (rank + 3)·u·(‖base‖ + ‖U‖·‖V‖) + hidden_dim·(rank + 1)·u·2⁻¹²⁵, Frobenius norms",
		Why:       "Weyl: a singular value moves by at most the norm of a perturbation, here of effective's errors; singular values by one-sided Jacobi rotations", Source: "the definition of a low-rank delta",
	}, {
		ID: "weight-sharing/isolation", Level: Must, Kind: Law,
		Text:      "A layer's effective weight depends on no other layer's delta.",
		Tolerance: "bitwise", Why: "they take part in no arithmetic with it", Source: "the formula knows one layer",
	}, {
		ID: "weight-sharing/factors", Level: Must, Kind: Law,
		Text:      "U·R and R⁻¹·V make the same weight as U and V.",
		Tolerance: exact, Why: "R permutes, and scales by powers of two and signs; products and sums of small integers are exact", Source: "only the product of the factors matters",
	}, {
		ID: "weight-sharing/absent", Level: Must, Kind: Law,
		Text:      "A base and deltas that are not given are 0.",
		Tolerance: exact, Why: "the implementation is compared with itself, given zeros", Source: "the config's defaults",
	}, {
		ID: "weight-sharing/bytes", Level: Must, Kind: Law,
		Text:      "Memory bytes are 4·(d² + n·2·d·rank) and dense ones 4·n·d², for n layers of d × d, and the ratio is their quotient.",
		Tolerance: "bytes exact; ratio 2⁻⁵⁰", Why: "one division in float64; computed again in rationals", Source: "page row weight-sharing/memory-ratio; the recording",
	}, {
		ID: "weight-sharing/saves", Level: Must, Kind: Law,
		Text:      "The ratio is below 1 exactly where 2·n·rank < d·(n − 1).",
		Tolerance: exact, Why: "both sides are quotients of integers below 2⁵³: equal ones divide to 1", Source: "the ratio is 1/n + 2·rank/d",
	}, {
		ID: "weight-sharing/fit-base", Level: Must, Kind: Law, Needs: []string{"fit"},
		Text:      "The base of a fit is the mean of the layers, which no other is nearer to them than.",
		Tolerance: "per element (n + 2)·u·mean|w| + (n + 1)·u·2⁻¹²⁵", Why: "a sum of n numbers, taken in any order, and a division; the mean is computed again in big floats", Source: "Σ‖W − B‖² is least at the mean; Relaxed Recursive Transformers",
	}, {
		ID: "weight-sharing/fit-deltas", Level: Must, Kind: Law, Needs: []string{"fit"},
		Text:      "No deltas of their rank bring the fitted base nearer to the layers: the Frobenius error is at most that of the exact SVD.",
		Tolerance: sharingNearest,
		Why:       "as delta-compress/eckart-young; the optimum is the norm of the singular values left out, by one-sided Jacobi rotations", Source: "Eckart & Young 1936",
	}, {
		ID: "weight-sharing/fit-whole", Level: Must, Kind: Law, Needs: []string{"fit"},
		Text:      "Layers whose differences from their mean have the rank of the fit come back from an instance that is made of the fit.",
		Tolerance: "‖W − layer‖ ≤ 16u·‖Δ‖ + (rank + 2)·u·(‖base‖ + √rank·‖Δ‖) + hidden_dim·(rank + 1)·u·2⁻¹²⁵",
		Why:       "fit-deltas with an optimum of 0, and effective's errors; layers are a base plus and minus a product of small integers, exactly", Source: "Eckart–Young with an empty tail",
	}, {
		ID: "weight-sharing/stats", Level: Must, Kind: Law,
		Text:      "Stats count the calls of get_effective_weight and repeat the config's sizes and the memory ratio.",
		Tolerance: "counts exact; ratio 2⁻⁵⁰", Why: "one division in float64", Source: "the recording's stats",
	}}, common("weight-sharing", nil,
		sharingTolerance+"; bytes exact; ratio 2⁻⁵⁰; the base of a fit as fit-base, and its deltas as fit-deltas",
		"as effective, fit-base and fit-deltas", "the formula in big floats; singular values by one-sided Jacobi rotations")...),
}
