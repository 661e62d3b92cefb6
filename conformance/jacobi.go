package conformance

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// maxSweeps is three times what the matrices of this suite take: convergence is
// quadratic in the end.
const maxSweeps = 30

// float64Roundoff is the unit roundoff of float64.
const float64Roundoff = 0x1p-53

// singularValues returns the singular values of a, descending, by one-sided
// Jacobi rotations (Hestenes 1958): turned in their plane until every two are
// orthogonal, the columns of a have the singular values as norms. The route
// shares nothing with a bidiagonalisation or a Krylov space, and does not square
// a. They are off by a few roundings of ‖a‖.
func singularValues(a *mat.Dense) []float64 {
	if rows, cols := a.Dims(); rows < cols {
		a = mat.DenseCopyOf(a.T())
	}
	_, n := a.Dims()
	columns := make([][]float64, n)
	for j := range columns {
		columns[j] = mat.Col(nil, j, a)
	}
	negligible := float64Roundoff * mat.Norm(a, 2)
	for range maxSweeps {
		if !sweep(columns, negligible) {
			break
		}
	}
	σ := make([]float64, n)
	for j, column := range columns {
		σ[j] = floats.Norm(column, 2)
	}
	slices.Sort(σ)
	slices.Reverse(σ)
	return σ
}

// sweep makes every two columns orthogonal in turn, and reports whether any two
// were not.
func sweep(columns [][]float64, negligible float64) (turned bool) {
	for j, y := range columns {
		for _, x := range columns[:j] {
			turned = orthogonalise(x, y, negligible) || turned
		}
	}
	return turned
}

// orthogonalise turns x and y in their plane by the smaller angle that makes them
// orthogonal, and reports whether they were not. What is shorter than negligible is
// all rounding, and has no direction.
func orthogonalise(x, y []float64, negligible float64) bool {
	lx, ly, xy := floats.Norm(x, 2), floats.Norm(y, 2), floats.Dot(x, y)
	if min(lx, ly) <= negligible || math.Abs(xy) <= float64(len(x))*float64Roundoff*lx*ly {
		return false
	}
	cot := (ly - lx) * (ly + lx) / (2 * xy) // of twice the angle
	tan := math.Copysign(1/(math.Abs(cot)+math.Hypot(1, cot)), cot)
	cos := 1 / math.Hypot(1, tan)
	sin := tan * cos
	for i := range x {
		x[i], y[i] = cos*x[i]-sin*y[i], sin*x[i]+cos*y[i]
	}
	return true
}
