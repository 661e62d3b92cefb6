package axpy

import (
	"slices"
	"testing"
)

// Integers have no rounding, so that every order of additions gives the same.
func TestRowsAddsMultiples(t *testing.T) {
	for count := range 10 {
		for n := range 6 {
			const stride = 7
			m, c := make([]float64, max(0, (count-1)*stride+n)), make([]float64, count)
			for i := range m {
				m[i] = float64(i*i%13 - 6)
			}
			for i := range c {
				c[i] = float64(i - 3)
			}
			got, want := make([]float64, n), make([]float64, n)
			for k := range n {
				got[k], want[k] = float64(k), float64(k)
				for i := range count {
					want[k] += c[i] * m[i*stride+k]
				}
			}
			if Rows(got, c, m, stride); !slices.Equal(got, want) {
				t.Errorf("%d rows of %d: got %v, want %v", count, n, got, want)
			}
		}
	}
}
