package ref

import (
	"math"
	"slices"
)

// unitScaled maps a component, of at least one element, onto [0, 1] by its
// minimum and maximum. One whose range is ≤ 1e-6·max|component| is constant, and
// 0: rounding errors would otherwise be blown up to the whole range.
func unitScaled(component []float64) []float64 {
	least, most := slices.Min(component), slices.Max(component)
	scaled := make([]float64, len(component))
	if most-least <= 1e-6*max(math.Abs(least), math.Abs(most)) {
		return scaled
	}
	for i, c := range component {
		scaled[i] = (c - least) / (most - least)
	}
	return scaled
}
