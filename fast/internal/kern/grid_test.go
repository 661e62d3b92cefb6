package kern

import (
	"math"
	"testing"
)

func TestWiden(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		for _, draw := range []style{ordinary, finite, anything} {
			x, y := floats(m, n, draw), floats(m, n+m.r.IntN(2), draw)
			dst, sums := take[float64](m, n), doubles(m, n, ordinary)
			want, isFinite := make([]float64, n), true
			Widen(dst, x)
			for i, v := range x {
				if w := float64(v); dst[i] != w && w == w {
					t.Errorf("Widen[%d] = %v, want %v", i, dst[i], w)
				}
				want[i] = sums[i] + float64(v)*float64(v)
				isFinite = isFinite && v-v == 0 && y[i]-y[i] == 0
			}
			narrow, factor := take[float32](m, n), m.r.NormFloat64()
			Narrow(narrow, sums, factor)
			for i, v := range sums {
				if w := float32(factor * v); narrow[i] != w && w == w {
					t.Errorf("Narrow[%d] = %v, want %v", i, narrow[i], w)
				}
			}
			for i := range want {
				want[i] += float64(x[n-1-i]) * float64(x[n-1-i])
			}
			twice := take[float32](m, 2*n)
			copy(twice, x)
			for i := range n {
				twice[n+i] = x[n-1-i]
			}
			AddSquares(sums, twice)
			for i := range want {
				if sums[i] != want[i] && want[i] == want[i] {
					t.Errorf("AddSquares[%d] = %v, want %v", i, sums[i], want[i])
				}
			}
			if got := Subtract(dst, x, y); got != isFinite {
				t.Errorf("finite: %v, want %v", got, isFinite)
			}
			for i, v := range x {
				if w := float64(v) - float64(y[i]); dst[i] != w && w == w {
					t.Errorf("Subtract[%d] = %v, want %v", i, dst[i], w)
				}
			}
		}
	})
}

// Vector forms agree with the plain ones, of which the formula is plain to see.
func TestGrid(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		if n%8 != 0 {
			return
		}
		positive := func() []float64 {
			x := doubles(m, n, ordinary)
			for i, v := range x {
				x[i] = math.Abs(v) + 0x1p-20
			}
			return x
		}
		g := Grid{Scales: positive(), Zeros: take[float64](m, n), Lowest: 0 - float64(m.r.IntN(9)), Highest: float64(1 + m.r.IntN(9))}
		for i := range g.Zeros {
			g.Zeros[i] = float64(m.r.IntN(5) - 2)
		}
		weights, sums, inverse, root := floats(m, n, ordinary), doubles(m, n, ordinary), m.r.NormFloat64(), 1+m.r.Float64()
		for i := range weights { // middles between two codes
			if m.r.IntN(4) == 0 {
				g.Scales[i], sums[i], weights[i] = 0.25, 0, float32(m.r.IntN(20)-10)*0.125
			}
		}
		type results struct {
			taken, losses, least, most []float64
			values, codes              []float32
		}
		losses := positive()
		run := func() (out results) {
			out = results{take[float64](m, n), take[float64](m, n), take[float64](m, n), take[float64](m, n), take[float32](m, n), take[float32](m, n)}
			copy(out.losses, losses)
			copy(out.least, sums)
			copy(out.most, sums)
			g.Round(out.taken, out.losses, out.values, out.codes, weights, sums, inverse, root)
			return out
		}
		got := run()
		before := active
		restore := Force(Go)
		want := run()
		restore()
		sameBits(t, "codes", got.codes, want.codes)
		sameBits(t, "values", got.values, want.values)
		sameDoubles(t, "taken", got.taken, want.taken)
		nearDouble(t, "losses", got.losses, want.losses, want.losses, 1)

		GridRange(got.least, got.most, got.taken, weights, sums, inverse)
		shares, taken := positive(), doubles(m, n, ordinary)
		copy(got.losses, taken)
		peak := Amplitude(weights, got.losses, g.Scales)
		next, inverses := floats(m, n, ordinary), positive()
		nextPeak := AmplitudeRound(got.values, got.losses, weights, next, g.Scales, inverses, shares, 0.5, 3)
		restore = Force(Go)
		GridRange(want.least, want.most, want.taken, weights, sums, inverse)
		copy(want.losses, taken)
		if p := Amplitude(weights, want.losses, g.Scales); p != peak {
			t.Errorf("Amplitude = %v, want %v", peak, p)
		}
		if p := AmplitudeRound(want.values, want.losses, weights, next, g.Scales, inverses, shares, 0.5, 3); !(math.Abs(p-nextPeak) <= 1e-12*p) {
			t.Errorf("the next Amplitude = %v, want %v", nextPeak, p)
		}
		restore()
		if active != before {
			t.Fatal("another tier")
		}
		sameDoubles(t, "least", got.least, want.least)
		sameDoubles(t, "most", got.most, want.most)
		sameDoubles(t, "taken", got.taken, want.taken)
		sameBits(t, "rounded", got.values, want.values)
		magnitude := make([]float64, n)
		for i, v := range weights {
			magnitude[i] = math.Abs(taken[i]) + (math.Abs(float64(v))+math.Abs(taken[i])+10)*shares[i]
		}
		nearDouble(t, "left", got.losses, want.losses, magnitude, 1)
	})
}
