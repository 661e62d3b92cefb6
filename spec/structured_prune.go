package spec

import (
	"fmt"
	"reflect"
)

// StructuredPrune sets weights to zero in patterns that hardware can skip: N of
// every M consecutive weights stay (Mishra et al., arXiv 2104.08378, for 2:4), or
// whole groups of rows go.
//
// Page rows: structured-prune/prune, structured-prune/prune-best.
type StructuredPrune interface {
	// Prune keeps, for weights (…, dim), the N of largest magnitude of every M along
	// the last axis, zeros among them; of equal magnitudes the first stay. dim must
	// be a multiple of M. Empty and non-finite weights are Invalid.
	Prune(dst *PrunedWeights, weights Matrix) error
	// SparsityFraction writes the share of weights, of any shape, with |w| <
	// SparsityFloor·max|w|: 1 where all are zero. Empty and non-finite weights are
	// Invalid.
	SparsityFraction(dst *float64, weights []float32) error
	Stats() StructuredPruneStats
}

// StructuredPruneGroups prunes whole rows.
type StructuredPruneGroups interface {
	// PruneGroups cuts weights (rows, cols) into groups of group_rows rows, the last
	// one of what is left, and drops DropCount(sparsity, groups) of them: those of
	// least L2 norm over all their elements, of equal norms the last. Empty and
	// non-finite weights are Invalid.
	PruneGroups(dst *PrunedWeights, weights Matrix) error
}

// SparsityFloor is the share of the largest magnitude below which a weight counts
// as zero.
const SparsityFloor = 1e-12

// PrunedWeights are weights with some dropped.
type PrunedWeights struct {
	// Pruned has the kept weights bit for bit, and +0 for the others.
	Pruned Matrix `wire:"pruned,like=weights"`
	// Mask is true for a kept weight, one each, row by row.
	Mask []bool `wire:"mask,like=weights"`
}

// StructuredPruneConfig configures StructuredPrune: N of every M weights are kept.
// (Others count the pruned ones, which is the same at 2:4 only.)
type StructuredPruneConfig struct {
	N         int     `wire:"N"`          // 1 ≤ N < M, default 2
	M         int     `wire:"M"`          // ≥ 2, default 4
	GroupRows int     `wire:"group_rows"` // ≥ 1, default 1
	Sparsity  float64 `wire:"sparsity"`   // share of groups dropped, in [0, 1), default 0.5
}

// DefaultStructuredPruneConfig returns the defaults.
func DefaultStructuredPruneConfig() StructuredPruneConfig {
	return StructuredPruneConfig{N: 2, M: 4, GroupRows: 1, Sparsity: 0.5}
}

// Validate returns an Invalid error that names the field out of range.
func (c StructuredPruneConfig) Validate() error {
	const m = "structured-prune"
	return firstError(
		checkNM(m, c.N, c.M),
		atLeast(m, "group_rows", c.GroupRows, 1),
		inRange(m, "sparsity", "a number in [0, 1)", c.Sparsity, c.Sparsity >= 0 && c.Sparsity < 1),
	)
}

// checkNM rejects a pattern that does not keep some of M weights and drop others.
func checkNM(module string, n, m int) error {
	return firstError(
		atLeast(module, "M", m, 2),
		inRange(module, "N", fmt.Sprintf("a number from 1 to M − 1 (%d)", m-1), float64(n), n >= 1 && n < m),
	)
}

// CheckWeights rejects an argument of Prune.
func (c StructuredPruneConfig) CheckWeights(weights Matrix) error {
	const m = "structured-prune"
	return firstError(
		CheckMatrix(m, "weights", weights, -1, -1),
		notEmpty(m, "weights", weights),
		checkNMColumns(m, "weights", weights.Cols, c.M),
		CheckFinite(m, "weights", weights.Data),
	)
}

// checkNMColumns rejects rows that are no whole number of groups.
func checkNMColumns(module, name string, cols, m int) error {
	if cols%m != 0 {
		return Reject(Invalid, module, name, fmt.Sprintf("a multiple of M (%d) columns", m), cols)
	}
	return nil
}

// CheckGroups rejects an argument of PruneGroups.
func (c StructuredPruneConfig) CheckGroups(weights Matrix) error {
	const m = "structured-prune"
	return firstError(
		CheckMatrix(m, "weights", weights, -1, -1),
		notEmpty(m, "weights", weights),
		CheckFinite(m, "weights", weights.Data),
	)
}

// CheckFlat rejects an argument of SparsityFraction.
func (c StructuredPruneConfig) CheckFlat(weights []float32) error {
	const m = "structured-prune"
	if len(weights) == 0 {
		return Reject(Invalid, m, "weights", "at least 1 element", 0)
	}
	return CheckFinite(m, "weights", weights)
}

// Groups returns into how many groups so many rows are cut.
func (c StructuredPruneConfig) Groups(rows int) int { return (rows-1)/c.GroupRows + 1 }

// Group returns group g of weights, row by row; it shares their memory.
func (c StructuredPruneConfig) Group(weights Matrix, g int) []float32 {
	size := min(c.GroupRows, weights.Rows) * weights.Cols
	return weights.Data[g*size : min((g+1)*size, len(weights.Data))]
}

// StructuredPruneStats count what Prune and PruneGroups did.
type StructuredPruneStats struct {
	Calls   int `wire:"total_prune_calls"`
	Weights int `wire:"total_weights_in"`
	// Zeroed are the weights dropped, whatever they were.
	Zeroed int `wire:"total_weights_zeroed"`
	// Sparsity is Zeroed/Weights, 0 before any call.
	Sparsity float64 `wire:"sparsity"`
}

const (
	pruneWhy          = "magnitudes of float32 numbers are compared as they are: nothing is rounded"
	pruneNormMargin   = "exact, groups whose norm is within max(2⁻²⁰, u·(n + 8)) (relative, n elements a group) of one on the other side of the cut may swap"
	pruneNormWhy      = "a sum of n squares in working precision is off by n·u of itself, all being positive, and its root by half of that"
	pruneGroupsSource = "page row structured-prune/prune: group L2-norm row pruning"
)

var structuredPrune = &Module{
	Name: "structured-prune", Wave: 24,
	Summary:   "N of every M weights kept by magnitude, or groups of rows by norm",
	Interface: reflect.TypeFor[StructuredPrune](),
	Config:    DefaultStructuredPruneConfig(),
	Defaults:  defaults(func(StructuredPruneConfig) StructuredPruneConfig { return DefaultStructuredPruneConfig() }),
	Operations: []Operation{
		op[StructuredPrune]("prune", Param{}, Param{Name: "weights", AnyShape: true}),
		op[StructuredPrune]("sparsity_fraction", named("fraction"), Param{Name: "weights", AnyShape: true}),
		op[StructuredPrune]("stats", Param{}),
		optional[StructuredPruneGroups]("prune_groups", Param{}, named("weights")),
	},
	Requirements: append([]Requirement{{
		ID: "structured-prune/nm-count", Level: Must, Kind: Law,
		Text:      "Of every M consecutive weights exactly N are kept, in groups with fewer than N non-zeros too.",
		Tolerance: exact, Why: exactWhy, Source: "arXiv 2104.08378: hardware stores N of every M",
	}, {
		ID: "structured-prune/largest", Level: Must, Kind: Law,
		Text:      "No weight is dropped that has a greater magnitude than one kept of its group.",
		Tolerance: exact, Why: pruneWhy, Source: "magnitude pruning",
	}, {
		ID: "structured-prune/ties", Level: Must, Kind: Law,
		Text:      "Of equal magnitudes in a group, whatever their signs, the first are kept.",
		Tolerance: exact, Why: pruneWhy, Source: "rules for all modules: ties go to the lowest index",
	}, {
		ID: "structured-prune/selected", Level: Must, Kind: Law,
		Text:      "Kept weights come back bit for bit, and all others are +0.",
		Tolerance: "bitwise", Why: "weights are selected, never multiplied", Source: "a product with 0 would leave −0",
	}, {
		ID: "structured-prune/energy", Level: Must, Kind: Law,
		Text:      "No other choice of N in a group retains a greater sum of squares.",
		Tolerance: "2⁻⁴⁰ of the sum", Why: "the sums of the choices are in float64, and have at most 8 terms", Source: "brute force over all choices; the magnitude order is the optimum",
	}, {
		ID: "structured-prune/idempotent", Level: Must, Kind: Law,
		Text:      "Pruned weights are pruned to themselves, with the same mask.",
		Tolerance: exact, Why: pruneWhy, Source: "what is kept has the greatest magnitudes of its group already, and its zeros, if any, were the first",
	}, {
		ID: "structured-prune/scale-sign", Level: Must, Kind: Law,
		Text:      "Weights times 2ᵏ, and with other signs, have the same mask.",
		Tolerance: exact, Why: "a multiplication by a power of two is exact while nothing under- or overflows", Source: "the order of magnitudes knows neither scale nor sign",
	}, {
		ID: "structured-prune/permutation", Level: Must, Kind: Law,
		Text:      "Permuting the groups, and the weights of distinct magnitudes within each, permutes the mask.",
		Tolerance: exact, Why: pruneWhy, Source: "groups do not see each other, and without ties places do not count",
	}, {
		ID: "structured-prune/fraction", Level: Must, Kind: Law,
		Text:      "The sparsity fraction is the share of weights with |w| < 1e-12·max|w|, and 1 where all are zero.",
		Tolerance: "2⁻⁵⁰; weights within max(2⁻²⁰, 4u) (relative) of the floor count as either", Why: "a count and one division; the floor is rounded once", Source: "the recording's sparsity_fraction",
	}, {
		ID: "structured-prune/groups-count", Level: Must, Kind: Law, Needs: []string{"prune_groups"},
		Text:      "Of g groups of rows, ⌊sparsity·g·(1+2⁻⁵⁰)⌋ are dropped, whole, and at least one stays.",
		Tolerance: exact, Why: exactWhy, Source: pruneGroupsSource + "; rules for all modules: a count from a ratio",
	}, {
		ID: "structured-prune/groups-least", Level: Must, Kind: Law, Needs: []string{"prune_groups"},
		Text:      "No group of rows is dropped that has a greater L2 norm than one kept.",
		Tolerance: pruneNormMargin, Why: pruneNormWhy, Source: pruneGroupsSource + "; norms in big floats",
	}, {
		ID: "structured-prune/groups-ties", Level: Must, Kind: Law, Needs: []string{"prune_groups"},
		Text:      "Of groups that are alike the first are kept.",
		Tolerance: exact, Why: "like groups have like sums, whatever the order of summation", Source: "rules for all modules: ties go to the lowest index",
	}, {
		ID: "structured-prune/groups-selected", Level: Must, Kind: Law, Needs: []string{"prune_groups"},
		Text:      "Weights of kept groups come back bit for bit, and all others are +0.",
		Tolerance: "bitwise", Why: "weights are selected, never multiplied", Source: "a product with 0 would leave −0",
	}, {
		ID: "structured-prune/groups-nested", Level: Must, Kind: Law, Needs: []string{"prune_groups"},
		Text:      "What a higher sparsity keeps, a lower one keeps too.",
		Tolerance: exact, Why: "the ranking, whatever its rounding, does not depend on the sparsity", Source: "a prefix of a ranking holds every shorter one",
	}, {
		ID: "structured-prune/stats", Level: Must, Kind: Law,
		Text:      "Stats count the calls that pruned, their weights and the dropped ones; sparsity is dropped/all, 0 before any call.",
		Tolerance: "counts exact; sparsity 2⁻⁵⁰", Why: "one division in float64", Source: "the recording's stats",
	}}, common("structured-prune", nil,
		"exact; fraction as there; calls of prune_groups are drawn with norms away from the cut, or equal at it",
		"as largest, fraction and groups-least", "brute force over all masks of a group; norms in big floats")...),
}
