package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
)

func TestSingularValuesOfPlantedSpectra(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, shape := range [][2]int{{1, 1}, {1, 7}, {7, 1}, {6, 6}, {12, 5}, {5, 12}, {64, 48}} {
		for _, spectrum := range spectra {
			rows, cols := shape[0], shape[1]
			want := make([]float64, min(rows, cols))
			for i := range want {
				want[i] = spectrum.at(i, len(want))
			}
			var a mat.Dense
			a.Product(orthonormal(r, rows, len(want)), mat.NewDiagDense(len(want), want), orthonormal(r, cols, len(want)).T())
			sameSpectrum(t, fmt.Sprintf("%s, %d × %d", spectrum.name, rows, cols), singularValues(&a), want)
		}
	}
}

// TestSingularValuesOfSecondDifferences has a closed form for them:
// 2 − 2·cos(jπ/(n+1)).
func TestSingularValuesOfSecondDifferences(t *testing.T) {
	const n = 20
	a := mat.NewDense(n, n, nil)
	want := make([]float64, n)
	for i := range n {
		a.Set(i, i, 2)
		if i > 0 {
			a.Set(i, i-1, -1)
			a.Set(i-1, i, -1)
		}
		want[i] = 2 - 2*math.Cos(float64(n-i)*math.Pi/(n+1))
	}
	sameSpectrum(t, "second differences", singularValues(a), want)
}

func sameSpectrum(t *testing.T, what string, got, want []float64) {
	t.Helper()
	near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-13*want[0] }
	if !slices.EqualFunc(got, want, near) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestOrthonormalColumns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, shape := range [][2]int{{1, 1}, {5, 1}, {5, 3}, {12, 12}} {
		q := orthonormal(r, shape[0], shape[1])
		var gram mat.Dense
		gram.Mul(q.T(), q)
		for i := range shape[1] {
			for j := range shape[1] {
				if want := float64(1 - min(1, max(i-j, j-i))); math.Abs(gram.At(i, j)-want) > 1e-14 {
					t.Errorf("%v: columns %d and %d: got product %v, want %v", shape, i, j, gram.At(i, j), want)
				}
			}
		}
	}
}
