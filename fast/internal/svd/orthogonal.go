package svd

import "math"

// orthogonalise removes from x its components along the orthonormal rows of
// basis, and returns the norm of what remains. A pass leaves rounding of the size
// of what it started from; as long as a pass has removed most of x there is
// another one, so that the remainder is orthogonal relative to itself ("twice is
// enough", Kahan and Parlett).
func orthogonalise(x, basis []float64) float64 {
	norm := math.Sqrt(dot(x, x))
	for len(basis) > 0 {
		before := norm
		addGram(x, -1, basis, x)
		norm = math.Sqrt(dot(x, x))
		if !(norm < before/2) {
			break
		}
	}
	return norm
}

// normalise makes x, which is not 0, a unit vector.
func normalise(x []float64) {
	norm := math.Sqrt(dot(x, x))
	for i := range x {
		x[i] /= norm
	}
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
