package kern

import (
	"math"
	"testing"
)

// All forms do the same operations in the same order, so that counts are equal, and
// those of a matrix whose eigenvalues are known are right.
func TestSturm(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		diagonal, squares := doubles(m, n, ordinary), doubles(m, n, ordinary)
		for i, s := range squares {
			squares[i] = s * s
		}
		if n > 0 {
			squares[0] = 0
		}
		known := m.r.IntN(2) == 0
		if known { // the second difference, with eigenvalues 2 − 2·cos(πi/(n+1))
			for i := range n {
				diagonal[i], squares[i] = 2, min(1, float64(i))
			}
		}
		shifts := (*[SturmShifts]float64)(doubles(m, SturmShifts, ordinary))
		if !known && n > 0 {
			shifts[3] = diagonal[0] // a pivot of 0
		}
		below, want := (*[SturmShifts]int64)(take[int64](m, SturmShifts)), new([SturmShifts]int64)
		Sturm(below, shifts, diagonal, squares)
		sturmGo(want, shifts, diagonal, squares)
		if *below != *want {
			t.Errorf("%v, want %v", *below, *want)
		}
		for i, x := range shifts {
			if count := (float64(n) + 1) / math.Pi * math.Acos(1-min(max(x, 0), 4)/2); known && n < 300 {
				if exact := max(0, math.Ceil(count)-1); math.Abs(count-math.Round(count)) > 1e-6 && below[i] != int64(min(exact, float64(n))) {
					t.Errorf("%d eigenvalues below %v, want %v", below[i], x, exact)
				}
			}
		}
	})
}
