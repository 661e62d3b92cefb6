package kern

import (
	"fmt"
	"math"
	"testing"
)

// doubles takes n float64s of a style, with digits that a float32 does not have.
func doubles(m *memory, n int, draw style) []float64 {
	x := take[float64](m, n)
	for i := range x {
		x[i] = float64(draw(m.r)) * (1 + m.r.Float64()*0x1p-20)
	}
	return x
}

// nearDouble compares sums with what a plain body finds, given the sums of the
// magnitudes of their terms: no order of additions is further away.
func nearDouble(t *testing.T, name string, got, want, magnitude []float64, terms int) {
	t.Helper()
	for i, w := range want {
		g := got[i]
		if g == w || g != g && w != w {
			continue
		}
		if !(magnitude[i] <= math.MaxFloat64) {
			continue // an order may overflow where another does not
		}
		if bound := float64(terms+8) * 0x1p-52 * magnitude[i]; !(math.Abs(g-w) <= bound+0x1p-1060) {
			t.Errorf("%s[%d] = %v, want %v ± %v", name, i, g, w, bound)
			return
		}
	}
}

// sameDoubles compares float64s bit by bit, but for the payload of a NaN.
func sameDoubles(t *testing.T, name string, got, want []float64) {
	t.Helper()
	for i, w := range want {
		if g := got[i]; math.Float64bits(g) != math.Float64bits(w) && (g == g || w == w) {
			t.Errorf("%s[%d] = %v, want %v", name, i, g, w)
			return
		}
	}
}

func TestDouble(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		for _, draw := range []style{ordinary, finite, anything} {
			x, y := doubles(m, n, draw), doubles(m, n+m.r.IntN(2), draw)
			magnitude := []float64{0}
			for i, v := range x {
				magnitude[0] += math.Abs(v * y[i])
			}
			nearDouble(t, "DotDouble", []float64{DotDouble(x, y)}, []float64{dotDoubleGo(x, y)}, magnitude, n)

			want, magnitudes := make([]float64, n), make([]float64, n)
			α := float64(draw(m.r))
			for i, v := range x {
				want[i] = y[i] + α*v
				magnitudes[i] = math.Abs(y[i]) + math.Abs(α*v)
			}
			AddDouble(y[:n], α, x)
			nearDouble(t, "AddDouble", y[:n], want, magnitudes, 1)

			for i, v := range x {
				want[i] = α * v
			}
			ScaleDouble(x, α)
			sameDoubles(t, "ScaleDouble", x, want)
		}
	})
}

func TestGram(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		m := newMemory()
		for n := range 70 {
			for _, rows := range []int{0, 1, 5, 6, 7, 12, 13, 31} {
				for i, draw := range []style{ordinary, anything} {
					a, x, y := doubles(m, rows*n, draw), doubles(m, n, draw), doubles(m, n, draw)
					before := append([]float64(nil), y...)
					want, magnitude := append([]float64(nil), y...), make([]float64, n)
					for i := range want {
						magnitude[i] = math.Abs(y[i])
					}
					for r := range rows {
						dot, size := 0.0, 0.0
						for i, v := range x {
							dot += a[r*n+i] * v
							size += math.Abs(a[r*n+i] * v)
						}
						for i := range want {
							want[i] += -0.5 * dot * a[r*n+i]
							magnitude[i] += size * math.Abs(a[r*n+i])
						}
					}
					GramDouble(y, -0.5, a, x)
					nearDouble(t, "GramDouble", y, want, magnitude, 2*n+rows)

					single := func(x []float64) []float32 {
						out := take[float32](m, len(x))
						for i, v := range x {
							out[i] = float32(v)
						}
						return out
					}
					if i == 1 || n == 0 { // anything does not fit float32
						m.release(t)
						continue
					}
					y32 := single(before)
					Gram(y32, -0.5, single(a), single(x))
					for i, v := range y32 {
						if off := math.Abs(float64(v) - want[i]); !(off <= float64(2*n+rows+8)*0x1p-23*magnitude[i]) {
							t.Errorf("Gram[%d] = %v, want %v", i, v, want[i])
							break
						}
					}
					m.release(t)
					if t.Failed() {
						t.Fatalf("%d × %d", rows, n)
					}
				}
			}
		}
	})
}

// A call on the vector itself removes the components along orthonormal rows.
func TestGramInPlace(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		const n = 37
		basis, x := make([]float64, 20*n), make([]float64, n)
		for i := range x {
			x[i] = float64(i + 1)
		}
		for r := range 20 { // unit vectors
			basis[r*n+r] = 1
		}
		GramDouble(x, -1, basis, x)
		for i, v := range x {
			if want := float64(i + 1); i < 20 && v != 0 || i >= 20 && v != want {
				t.Errorf("x[%d] = %v", i, v)
			}
		}
	})
}

func BenchmarkGram(b *testing.B) {
	for _, tier := range Tiers() {
		for _, size := range [][2]int{{256, 256}, {48, 256}, {1024, 1024}} {
			b.Run(fmt.Sprintf("%s/%dx%d", tier, size[0], size[1]), func(b *testing.B) {
				defer Force(tier)()
				m, x, y := make([]float64, size[0]*size[1]), make([]float64, size[1]), make([]float64, size[1])
				for i := range m {
					m[i] = float64(i % 7)
				}
				for b.Loop() {
					GramDouble(y, 1e-9, m, x)
				}
				b.ReportMetric(2*float64(len(m))*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "multiply-adds/ns")
			})
		}
	}
}
