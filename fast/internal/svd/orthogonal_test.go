package svd

import (
	"math"
	"testing"
)

func TestOrthogonaliseLeavesNothingOfTheBasis(t *testing.T) {
	const n = 40
	var d Decomposer
	var basis []float64
	for len(basis) < n*n {
		x := make([]float64, n)
		d.direction(x, basis)
		if off := math.Abs(dot(x, x) - 1); off > 1e-14 {
			t.Errorf("norm² of vector %d is off by %v", len(basis)/n, off)
		}
		for i := 0; i < len(basis); i += n {
			if off := math.Abs(dot(x, basis[i:i+n])); off > 1e-14 {
				t.Errorf("vector %d has a share of %v in vector %d", len(basis)/n, off, i/n)
			}
		}
		basis = append(basis, x...)
	}
	// Nearly in the span of the first vectors: cancellation is all there is.
	span := basis[:30*n]
	x := make([]float64, n)
	for i := 0; i < len(span); i += n {
		add(x, 1, span[i:i+n])
	}
	add(x, 1e-9, basis[35*n:36*n])
	if norm := orthogonalise(x, span); math.Abs(norm-1e-9) > 1e-14 {
		t.Errorf("remainder %v, want 1e-9", norm)
	}
	for i := 0; i < len(span); i += n {
		if off := math.Abs(dot(x, span[i:i+n])); off > 1e-23 {
			t.Errorf("the remainder has a share of %v in vector %d", off, i/n)
		}
	}
}
