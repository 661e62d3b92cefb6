package svd

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/kern"
)

// orthogonalise removes from x its components along the orthonormal rows of
// basis, and returns the norm of what remains. A pass leaves rounding of the size
// of what it started from; as long as a pass has removed most of x there is
// another one, so that the remainder is orthogonal relative to itself ("twice is
// enough", Kahan and Parlett).
func orthogonalise(x, basis []float64) float64 {
	norm := math.Sqrt(kern.DotDouble(x, x))
	for len(basis) > 0 {
		before := norm
		kern.GramDouble(x, -1, basis, x)
		norm = math.Sqrt(kern.DotDouble(x, x))
		if !(norm < before/2) {
			break
		}
	}
	return norm
}

// normalise makes x, which is not 0, a unit vector.
func normalise(x []float64) {
	kern.ScaleDouble(x, 1/math.Sqrt(kern.DotDouble(x, x)))
}

// direction writes a random unit vector, orthogonal to the rows of basis, to x.
func (d *Decomposer) direction(x, basis []float64) {
	for norm := 0.0; norm == 0; norm = orthogonalise(x, basis) {
		for i := range x {
			x[i] = float64(int64(d.random.Uint64())) * 0x1p-63
		}
	}
	normalise(x)
}

// Combine writes Mᵀ·c to y, M given by its rows, len(y) elements each.
func Combine(y, m, c []float64) {
	kern.GemmDouble(y, len(y), nil, 0, c, len(c), 1, m, len(y), 1, len(y), len(c))
}
