package svd

import (
	"math"
	"math/rand/v2"
	"testing"
)

func tridiagonals() map[string]*tridiagonal {
	random := rand.New(rand.NewPCG(5, 5))
	build := func(n int, diagonal, beside func(i int) float64) *tridiagonal {
		t := new(tridiagonal)
		for i := range n {
			t.append(diagonal(i), beside(i))
		}
		t.beside[n-1] = math.Abs(t.beside[n-1]) // a norm
		return t
	}
	constant := func(v float64) func(int) float64 { return func(int) float64 { return v } }
	noise := func(int) float64 { return random.NormFloat64() }
	return map[string]*tridiagonal{
		"one":               build(1, constant(3), constant(2)),
		"random":            build(40, noise, noise),
		"zero":              build(9, constant(0), constant(0)),
		"diagonal":          build(9, noise, constant(0)),
		"second difference": build(50, constant(2), constant(-1)),
		"no diagonal":       build(20, constant(0), constant(1)),
		"graded":            build(30, func(i int) float64 { return math.Pow(10, -float64(i)) }, func(i int) float64 { return 0.3 * math.Pow(10, -float64(i)) }),
		"cluster":           build(60, constant(1), func(int) float64 { return 1e-15 * random.NormFloat64() }),
		// Two equal halves, with hardly anything between them (Wilkinson's W⁺).
		"pairs":  build(21, func(i int) float64 { return math.Abs(float64(i - 10)) }, constant(1)),
		"blocks": build(24, func(i int) float64 { return float64(i % 4) }, func(i int) float64 { return float64(min(1, (i+1)%4)) }),
	}
}

func TestTridiagonalDecomposition(t *testing.T) {
	for name, m := range tridiagonals() {
		m.solve()
		n := len(m.diagonal)
		z := make([]float64, n*n)
		m.eigenvectors(z, n)
		tolerance := 1e-14 * (1 + m.norm)
		for i := range n {
			if i > 0 && m.value(i) > m.value(i-1) {
				t.Errorf("%s: eigenvalue %d is %v after %v", name, i, m.value(i), m.value(i-1))
			}
			if off := math.Abs(m.error(i) - math.Abs(z[(n-1)*n+i])*m.residual()); !(off <= tolerance) {
				t.Errorf("%s: residual of %d is off by %v", name, i, off)
			}
			for row := range n {
				sum := (m.diagonal[row] - m.value(i)) * z[row*n+i]
				if row > 0 {
					sum += m.beside[row-1] * z[(row-1)*n+i]
				}
				if row+1 < n {
					sum += m.beside[row] * z[(row+1)*n+i]
				}
				if !(math.Abs(sum) <= tolerance) {
					t.Errorf("%s: row %d of T·z − λ·z, z of %d: %v", name, row, i, sum)
				}
			}
			for j := range i + 1 {
				sum := 0.0
				if i == j {
					sum = -1
				}
				for row := range n {
					sum += z[row*n+i] * z[row*n+j]
				}
				if !(math.Abs(sum) <= 1e-13) {
					t.Errorf("%s: z%d·z%d is off by %v", name, i, j, sum)
				}
			}
		}
		few := make([]float64, n)
		m.eigenvectors(few, 1)
		for row := range n {
			if few[row] != z[row*n] {
				t.Fatalf("%s: the first eigenvector alone differs", name)
			}
		}
	}
}

// Σ zₙ²/(x−λ) is the last diagonal element of (x − T)⁻¹.
func TestTridiagonalLastPivot(t *testing.T) {
	for name, m := range tridiagonals() {
		m.solve()
		n := len(m.diagonal)
		z := make([]float64, n*n)
		m.eigenvectors(z, n)
		x := m.value(0) + 0.5
		inverse := 0.0
		for i := range n {
			last := z[(n-1)*n+i]
			inverse += last * last / (x - m.value(i))
		}
		if got := m.lastPivot(x); math.Abs(got*inverse-1) > 1e-12 {
			t.Errorf("%s: last pivot %v, want %v", name, got, 1/inverse)
		}
	}
}

// The largest eigenvalues alone are those of all, and so are the last components and
// vectors, where eigenvalues are apart; where they are not, solve takes over.
func TestTridiagonalLeading(t *testing.T) {
	for name, m := range tridiagonals() {
		n := len(m.diagonal)
		for i := range n { // couplings are norms elsewhere, and here may be negative
			left := 0.0
			if i > 0 {
				left = math.Abs(m.beside[i-1])
			}
			m.norm = max(m.norm, math.Abs(m.diagonal[i])+math.Abs(m.beside[i])+left)
		}
		for _, k := range []int{1, 2, 5, n} {
			k = min(k, n)
			all := tridiagonal{diagonal: m.diagonal, beside: m.beside, norm: m.norm}
			all.solve()
			few := tridiagonal{diagonal: m.diagonal, beside: m.beside, norm: m.norm}
			few.solveLeading(k)
			switch name {
			case "random", "second difference", "no diagonal":
				if k <= 5 && !few.leading {
					t.Errorf("%s, k %d: not by counting", name, k)
				}
			case "zero", "cluster", "pairs", "blocks":
				if few.leading {
					t.Errorf("%s, k %d: by counting", name, k)
				}
			}
			z, want := make([]float64, n*k), make([]float64, n*k)
			few.eigenvectors(z, k)
			all.eigenvectors(want, k)
			for i := range k {
				if off := math.Abs(few.value(i) - all.value(i)); !(off <= 1e-14*(1+m.norm)) {
					t.Errorf("%s, k %d: eigenvalue %d is %v, want %v", name, k, i, few.value(i), all.value(i))
				}
				if off := math.Abs(few.error(i) - all.error(i)); few.leading && !(off <= 1e-12*(1+m.norm)) {
					t.Errorf("%s, k %d: residual %d is %v, want %v", name, k, i, few.error(i), all.error(i))
				}
				dot := 0.0
				for row := range n {
					dot += z[row*k+i] * want[row*k+i]
				}
				if few.leading && !(1-math.Abs(dot) <= 1e-12) {
					t.Errorf("%s, k %d: vector %d has a cosine of %v with the right one", name, k, i, dot)
				}
			}
			if value, residual, ok := few.solveOne(k - 1); ok && (math.Abs(value-all.value(k-1)) > 1e-14*(1+m.norm) || math.Abs(residual-all.error(k-1)) > 1e-12*(1+m.norm)) {
				t.Errorf("%s: eigenvalue %d alone is %v ± %v, want %v ± %v", name, k-1, value, residual, all.value(k-1), all.error(k-1))
			}
			if least, most := few.extremes(); math.Abs(least-all.value(n-1)) > 1e-14*(1+m.norm) || math.Abs(most-all.value(0)) > 1e-14*(1+m.norm) {
				t.Errorf("%s: eigenvalues from %v to %v, want %v to %v", name, least, most, all.value(n-1), all.value(0))
			}
		}
	}
}
