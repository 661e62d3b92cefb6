// Package affine rounds scaled weights to unsigned codes with a step and a zero
// point.
//
// The idea: a group costs one division. A weight is multiplied by the inverse step,
// and rounded half to even by adding a number so large that integers are all that
// is left; the lowest bits of the sum are the code.
package affine

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/kern"
)

// Range returns the least and the greatest of w·s, and of 0.
func Range(weights []float32, scales []float64) (low, high float64) {
	scales = scales[:len(weights)]
	for i, w := range weights {
		v := float64(w) * scales[i]
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
	}
	return low, high
}

// A Grid is where the codes of a group lie.
type Grid struct {
	Scale     float32 // the step as it is published, infinite where that is no float32
	ZeroPoint uint8
	inverse   float64 // of the step before it was rounded; 0 in a group of zeros
	lowest    float64 // code less zero point
	highest   float64
}

// NewGrid returns the grid of 0…qMax over a range with 0 in it. A range of which
// float32 leaves nothing has scale 1, and all codes are 0.
func NewGrid(low, high float64, qMax int) Grid {
	q, span := float64(qMax), high-low
	step := float32(span / q)
	if step == 0 {
		return Grid{Scale: 1, highest: q}
	}
	inverse := q / span
	z := -low*inverse + magic - magic
	if z > q {
		z = q
	}
	return Grid{Scale: step, ZeroPoint: uint8(z), inverse: inverse, lowest: -z, highest: q - z}
}

// Narrow is the grid as package kern has it.
func (g *Grid) Narrow() kern.AffineGrid {
	return kern.AffineGrid{Inverse: float32(g.inverse), Low: float32(g.lowest), High: float32(g.highest), Step: g.Scale}
}

// magic is such that adding it rounds a small number half to even to an integer,
// which then stands in the lowest bits.
const magic = 0x1.8p52

// steps rounds v to steps from zero, plus magic, within the grid. Clipping first is
// the same: the bounds are integers.
func (g *Grid) steps(v float64) float64 {
	x := v * g.inverse
	if x < g.lowest {
		x = g.lowest
	}
	if x > g.highest {
		x = g.highest
	}
	return x + magic
}

// Quantize writes the codes of w·s, whose range is the grid's.
func (g *Grid) Quantize(codes []uint8, weights []float32, scales []float64) {
	codes, scales = codes[:len(weights)], scales[:len(weights)]
	for i, w := range weights {
		codes[i] = uint8(math.Float64bits(g.steps(float64(w)*scales[i]))) + g.ZeroPoint
	}
}

// Lost writes the weights less what comes back of them; inverses are those of the
// scales.
func (g *Grid) Lost(dst []float64, weights []float32, scales, inverses []float64) {
	dst, scales, inverses = dst[:len(weights)], scales[:len(weights)], inverses[:len(weights)]
	step := float64(g.Scale)
	for i, w := range weights {
		n := g.steps(float64(w)*scales[i]) - magic
		dst[i] = float64(w) - n*step*inverses[i]
	}
}

// Reach is the largest magnitude of w·s that the grid has.
func (g *Grid) Reach() float64 { return max(-g.lowest, g.highest) * float64(g.Scale) }

// ClampLost corrects what Lost wrote where a weight comes back from beyond float32:
// as its largest number.
func ClampLost(dst []float64, weights []float32) {
	for i, w := range weights {
		back := float64(w) - dst[i]
		dst[i] = float64(w) - max(-math.MaxFloat32, min(math.MaxFloat32, back))
	}
}

// Code rounds x half to even to a code in 0…qMax. x may be of any size.
func Code(x float64, qMax float64) uint8 {
	if x < 0 {
		x = 0
	}
	if x > qMax {
		x = qMax
	}
	return uint8(math.Float64bits(x + magic))
}
