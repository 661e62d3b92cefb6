package spec

import (
	"fmt"
	"math"
	"reflect"
)

// IterPrune prunes weights by magnitude, step by step, to a sparsity that rises on
// a cubic schedule: gradual pruning (Zhu and Gupta, arXiv 1710.01878).
//
// Page rows: iter-prune/prune-step-5, iter-prune/prune-step-10,
// iter-prune/sparsity-at-step-10.
type IterPrune interface {
	// PruneStep writes a copy of n weights of any shape, taken flat, in which the
	//
	//	k = round(s(step)·n), half to even
	//
	// smallest magnitudes are +0, and the share of zeros in it. All of them may go,
	// or none.
	//
	//	documented  exactly k go; of equal magnitudes the higher index goes first
	//	squish6     every weight goes whose magnitude is at most the k-th smallest
	//
	// Nothing is remembered of earlier steps but the stats. Empty or non-finite
	// weights are Invalid.
	PruneStep(dst *IterPruned, weights []float32, step int) error
	// CurrentSparsity returns s(step): with progress from 0 at StartStep to 1 at
	// EndStep,
	//
	//	s = target − (target − initial)·(1 − progress)³
	//
	// between the two, the initial sparsity up to StartStep, and the target from
	// EndStep on, also where both are one step. Any step has one.
	CurrentSparsity(step int) float64
	Stats() IterPruneStats
}

// IterPruneRegrow gives pruned weights back that turn out to matter (RigL, Evci et
// al., arXiv 1911.11134, whose saliency is the gradient's magnitude).
type IterPruneRegrow interface {
	// PruneRegrow is PruneStep, with one saliency a weight, and then, of the k
	// weights that went,
	//
	//	r = min(⌊regrow_fraction·k·(1+2⁻⁵⁰)⌋, n − k, how many of the k are not 0)
	//
	// of those that are not 0 come back as they were, highest saliency first, ties
	// to the lowest index; and the r smallest of the others that are left, the higher
	// index first among equals, go in their place, so that k are gone again. The
	// variant squish6 regrows nothing.
	//
	// Empty or non-finite weights, and saliencies that are not finite or not one a
	// weight, are Invalid.
	PruneRegrow(dst *IterPruned, weights []float32, step int, saliencies []float32) error
}

// IterPruned are pruned weights.
type IterPruned struct {
	// Pruned are the weights that stay, bit for bit, and +0 for the others.
	Pruned []float32 `wire:"pruned,like=weights"`
	// Sparsity is the share of zeros in Pruned. It is above k/n where more weights
	// were 0 to begin with, or squish6 meets ties.
	Sparsity float64 `wire:"sparsity"`
}

// IterPruneConfig configures IterPrune.
type IterPruneConfig struct {
	Variant Variant `wire:"variant"` // Documented or Squish6
	// InitialSparsity is in [0, 1). Default 0.
	InitialSparsity float64 `wire:"initial_sparsity"`
	// TargetSparsity is in (0, 1] and at least InitialSparsity. Default 0.7.
	TargetSparsity float64 `wire:"target_sparsity"`
	// NSteps is the length of the schedule, ≥ 1. It matters only as the default of
	// EndStep. Default 10.
	NSteps    int `wire:"n_steps"`
	StartStep int `wire:"start_step"` // ≥ 0, default 0
	EndStep   int `wire:"end_step"`   // ≥ StartStep, default NSteps − 1
	// RegrowFraction is the share of the pruned weights that come back where
	// saliencies are given, in [0, 1]. Default 0. Squish6 has no use for it.
	RegrowFraction float64 `wire:"regrow_fraction"`
}

// DefaultIterPruneConfig returns the defaults of a schedule of so many steps.
func DefaultIterPruneConfig(nSteps int) IterPruneConfig {
	return IterPruneConfig{TargetSparsity: 0.7, NSteps: nSteps, EndStep: nSteps - 1}
}

// Validate returns an Invalid error that names the field out of range.
func (c IterPruneConfig) Validate() error {
	const m = "iter-prune"
	return firstError(
		checkVariant(m, c.Variant, Squish6),
		inRange(m, "initial_sparsity", "a number in [0, 1)", c.InitialSparsity, c.InitialSparsity >= 0 && c.InitialSparsity < 1),
		inRange(m, "target_sparsity", "a number in (0, 1]", c.TargetSparsity, c.TargetSparsity > 0 && c.TargetSparsity <= 1),
		inRange(m, "target_sparsity", fmt.Sprintf("at least initial_sparsity (%v)", c.InitialSparsity), c.TargetSparsity,
			c.TargetSparsity >= c.InitialSparsity),
		atLeast(m, "n_steps", c.NSteps, 1),
		atLeast(m, "start_step", c.StartStep, 0),
		atLeast(m, "end_step", c.EndStep, c.StartStep),
		inRange(m, "regrow_fraction", "a number in [0, 1]", c.RegrowFraction, c.RegrowFraction >= 0 && c.RegrowFraction <= 1),
	)
}

// Sparsity returns s(step).
func (c IterPruneConfig) Sparsity(step int) float64 {
	switch {
	case step >= c.EndStep:
		return c.TargetSparsity
	case step <= c.StartStep:
		return c.InitialSparsity
	}
	left := 1 - float64(step-c.StartStep)/float64(c.EndStep-c.StartStep)
	return c.TargetSparsity - float64((c.TargetSparsity-c.InitialSparsity)*left*left*left)
}

// PruneCount returns k: how many of n weights go at a step.
func (c IterPruneConfig) PruneCount(step, n int) int {
	return int(math.RoundToEven(float64(c.Sparsity(step) * float64(n))))
}

// RegrowCount returns r, where k of n weights go, nonZero of them not 0.
func (c IterPruneConfig) RegrowCount(k, n, nonZero int) int {
	if c.Variant == Squish6 {
		return 0
	}
	share := float64(c.RegrowFraction * float64(k))
	return min(int(share*(1+0x1p-50)), n-k, nonZero)
}

// CheckWeights rejects the weights of PruneStep.
func (c IterPruneConfig) CheckWeights(weights []float32) error {
	if len(weights) == 0 {
		return Reject(Invalid, "iter-prune", "weights", "at least 1 element", 0)
	}
	return CheckFinite("iter-prune", "weights", weights)
}

// CheckSaliencies rejects the saliencies of PruneRegrow, for n weights.
func (c IterPruneConfig) CheckSaliencies(saliencies []float32, n int) error {
	if len(saliencies) != n {
		return Reject(Invalid, "iter-prune", "saliencies", fmt.Sprintf("%d elements, as many as weights", n), len(saliencies))
	}
	return CheckFinite("iter-prune", "saliencies", saliencies)
}

// IterPruneStats count what PruneStep and PruneRegrow did.
type IterPruneStats struct {
	Steps int `wire:"total_steps"`
	// Zeroed counts the zeros of all results.
	Zeroed    int `wire:"total_weights_zeroed"`
	Processed int `wire:"total_weights_processed"`
	// Sparsity is Zeroed/Processed, 0 before any call.
	Sparsity float64 `wire:"avg_sparsity"`
}

const (
	iterPruneCountTolerance = "exact; weights of which s·n, but for s in eighths, is within 2⁻⁴⁰·n of a half are not drawn"
	iterPruneCountWhy       = "magnitudes are given, and nothing is computed but k, which float64 leaves open there"
)

var iterPrune = &Module{
	Name: "iter-prune", Wave: 24,
	Summary:   "magnitude pruning on a cubic schedule of sparsity, with regrowth",
	Interface: reflect.TypeFor[IterPrune](),
	Config:    DefaultIterPruneConfig(10),
	Defaults:  defaults(func(c IterPruneConfig) IterPruneConfig { return DefaultIterPruneConfig(c.NSteps) }),
	Variants:  []Variant{Squish6},
	Operations: []Operation{
		op[IterPrune]("prune_step", Param{}, Param{Name: "weights", AnyShape: true}, named("step")),
		op[IterPrune]("current_sparsity", named("sparsity"), named("step")),
		op[IterPrune]("stats", Param{}),
		optional[IterPruneRegrow]("prune_regrow", Param{}, Param{Name: "weights", AnyShape: true}, named("step"),
			Param{Name: "saliencies", AnyShape: true}),
	},
	Requirements: append([]Requirement{{
		ID: "iter-prune/schedule", Level: Must, Kind: Law,
		Text:      "The sparsity of a step is target − (target − initial)·(1 − progress)³, progress going from 0 at start_step to 1 at end_step.",
		Tolerance: "2⁻⁴⁸", Why: "eight roundings of numbers up to 1 in float64", Source: "Zhu and Gupta, arXiv 1710.01878, eq. 1; evaluated again in rational numbers",
	}, {
		ID: "iter-prune/schedule-ends", Level: Must, Kind: Law,
		Text:      "Up to start_step the sparsity is the initial one, and from end_step on, start_step or not, it is the target.",
		Tolerance: exact, Why: "both are given", Source: "page row iter-prune/sparsity-at-step-10: a schedule of 10 steps is at its target by step 10",
	}, {
		ID: "iter-prune/schedule-slows", Level: Must, Kind: Law,
		Text:      "From step to step of a schedule the sparsity never falls, and never rises by more than before.",
		Tolerance: "2⁻⁴⁷, and 2⁻⁴⁶ for rises", Why: "differences, and differences of differences, of numbers that are off by up to 2⁻⁴⁸", Source: "the cubic is concave: most goes while most is redundant",
	}, {
		ID: "iter-prune/count", Level: Must, Kind: Law,
		Text:      "round(s·n) weights are 0 afterwards, half to even, or as many as were 0 before where those are more.",
		Tolerance: iterPruneCountTolerance, Why: iterPruneCountWhy, Source: "page row iter-prune/prune-step-10: 70% sparsity is 70% of the weights, ties or not; k anew in rational numbers",
	}, {
		ID: "iter-prune/smallest", Level: Must, Kind: Law,
		Text:      "A weight that stays is bit for bit what it was, one that goes is +0, and none that goes is larger in magnitude than one that stays.",
		Tolerance: "bitwise", Why: "weights are selected, never multiplied", Source: "page row iter-prune/prune-step-5: magnitude pruning",
	}, {
		ID: "iter-prune/ties", Level: Must, Kind: Law,
		Text:      "Of weights of one magnitude the lowest indices stay.",
		Tolerance: exact, Why: "equal magnitudes are equal numbers", Source: "rules for all modules: ties go to the lowest index",
	}, {
		ID: "iter-prune/nested", Level: Must, Kind: Law,
		Text:      "Of the same weights, what goes at a step goes at every later one.",
		Tolerance: exact, Why: "the order in which weights go does not depend on the step", Source: "the schedule never falls, and a prefix of an order holds every shorter one",
	}, {
		ID: "iter-prune/idempotent", Level: Must, Kind: Law,
		Text:      "Pruning pruned weights again at the same step changes nothing.",
		Tolerance: exact, Why: "the zeros go first, and they are as many as must go", Source: "a mask applied twice is the mask",
	}, {
		ID: "iter-prune/scale-free", Level: Must, Kind: Law,
		Text:      "Weights times ±2ᵏ are pruned to the same, times ±2ᵏ.",
		Tolerance: exact, Why: "a multiplication by a power of two is exact while nothing under- or overflows", Source: "an order of magnitudes knows neither scale nor sign",
	}, {
		ID: "iter-prune/permutation", Level: Must, Kind: Law,
		Text:      "Permuted weights without ties are pruned to the same, permuted.",
		Tolerance: exact, Why: "without ties the index decides nothing", Source: "a magnitude knows no position",
	}, {
		ID: "iter-prune/share", Level: Must, Kind: Law,
		Text:      "The sparsity that comes with the result is the share of zeros in it.",
		Tolerance: "2⁻⁵⁰", Why: "one division in float64", Source: "the recording",
	}, {
		ID: "iter-prune/stats", Level: Must, Kind: Law,
		Text:      "Stats count steps, the zeros of their results and the weights; the mean sparsity is zeros/weights, 0 before any step.",
		Tolerance: "counts exact; mean 2⁻⁵⁰", Why: "one division in float64", Source: "the recording's stats",
	}, {
		ID: "iter-prune/regrow", Level: Must, Kind: Law, Needs: []string{"prune_regrow"},
		Text:      "The pruned non-zero weights of highest saliency come back, as many as regrow_fraction asks for and both sides have, and the smallest of the others that are left go in their place.",
		Tolerance: iterPruneCountTolerance, Why: iterPruneCountWhy, Source: "page row iter-prune/prune-step-5: magnitude prune + regrow; ranks by counting, weight by weight",
	}, {
		ID: "iter-prune/regrow-keeps-sparsity", Level: Must, Kind: Law, Needs: []string{"prune_regrow"},
		Text:      "Regrowing changes which weights are 0, never how many.",
		Tolerance: exact, Why: exactWhy, Source: "the mask's sparsity is the schedule's",
	}, {
		ID: "iter-prune/regrow-nothing", Level: Must, Kind: Law, Needs: []string{"prune_regrow"},
		Text:      "With regrow_fraction 0 regrowing is pruning, whatever the saliencies.",
		Tolerance: exact, Why: exactWhy, Source: "nothing comes back",
	}, {
		ID: "iter-prune/ties-together-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, exactly those weights are 0 whose magnitude is at most the k-th smallest, and with k = 0 none that was not.",
		Tolerance: iterPruneCountTolerance, Why: iterPruneCountWhy, Source: "the recording; magnitudes sorted",
	}}, common("iter-prune", []Variant{Squish6},
		"weights exact, s 2⁻⁴⁸, mean 2⁻⁵⁰; "+iterPruneCountTolerance, iterPruneCountWhy,
		"the schedule in rational numbers, and ranks by counting")...),
}
