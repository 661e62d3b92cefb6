package kern

import (
	"slices"
	"testing"
)

// In float64 the description is the same but for the size of an element: integers,
// whose sums are exact, show every lane, stride and tail.
func TestGemmDouble(t *testing.T) {
	eachShape(t, func(t *testing.T, m, n, k int, mem *memory) {
		if (m+n)%19 == 0 {
			k += 500 // several times as deep as what is taken at a time
		}
		integers := func(n int) []float64 {
			x := take[float64](mem, n)
			for i := range x {
				x[i] = float64(mem.r.IntN(33) - 16)
			}
			return x
		}
		ldc, ldf, ldb, rs, cs := n+mem.r.IntN(3), n+mem.r.IntN(3), n+mem.r.IntN(3), k+1, 1
		if mem.r.IntN(2) == 0 {
			rs, cs = 1, m+2
		}
		c, b, a := integers(m*ldc), integers(k*ldb), integers(m*rs+k*cs)
		var from []float64
		if mem.r.IntN(2) == 0 {
			from = integers(m * ldf)
		}
		want := append([]float64(nil), c...)
		for i := range m {
			for j := range n {
				sum := 0.0
				if from != nil {
					sum = from[i*ldf+j]
				}
				for p := range k {
					sum += a[i*rs+p*cs] * b[p*ldb+j]
				}
				want[i*ldc+j] = sum
			}
		}
		GemmDouble(c, ldc, from, ldf, a, rs, cs, b, ldb, m, n, k)
		if !slices.Equal(c, want) {
			t.Errorf("%v, want %v", c, want)
		}
	})
}
