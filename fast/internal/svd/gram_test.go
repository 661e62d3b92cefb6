package svd

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Every number of rows, and so every remainder of a block.
func TestGramKernels(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 6))
	vector := func(n int) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = random.NormFloat64()
		}
		return x
	}
	near := func(x, y []float64) bool {
		return slices.EqualFunc(x, y, func(a, b float64) bool { return math.Abs(a-b) <= 1e-12 })
	}
	for rows := range 3 * block {
		for _, cols := range []int{1, 2, 5, 8} {
			m, x, y, c := vector(rows*cols), vector(cols), vector(cols), vector(rows)
			product, combination, gram := make([]float64, rows), make([]float64, cols), slices.Clone(y)
			for i := range rows {
				for j := range cols {
					product[i] += m[i*cols+j] * x[j]
					combination[j] += m[i*cols+j] * c[i]
				}
				for j := range cols {
					gram[j] += -0.5 * m[i*cols+j] * product[i]
				}
			}
			got := vector(rows)
			if multiply(got, m, x); !near(got, product) {
				t.Errorf("multiply, %d × %d: %v, want %v", rows, cols, got, product)
			}
			got = vector(cols)
			if Combine(got, m, c); !near(got, combination) {
				t.Errorf("Combine, %d × %d: %v, want %v", rows, cols, got, combination)
			}
			if addGram(y, -0.5, m, x); !near(y, gram) {
				t.Errorf("addGram, %d × %d: %v, want %v", rows, cols, y, gram)
			}
		}
	}
}

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
	Combine(x, span, slices.Repeat([]float64{1}, 30))
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
