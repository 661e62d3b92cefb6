package kern

import (
	"math"
	"testing"
)

// eachRow runs a test with rows of all lengths up to 150 in groups of several sizes, and
// of longer ones.
func eachRow(t *testing.T, test func(t *testing.T, n, size int, m *memory)) {
	eachTier(t, func(t *testing.T) {
		m := newMemory()
		for n := range 154 {
			if n >= 150 {
				n *= 13
			}
			for _, size := range []int{1, 9, 16, 24, 32, 48, 128} {
				test(t, n, size, m)
				m.release(t)
				if t.Failed() {
					t.Fatalf("row of %d in groups of %d", n, size)
				}
			}
		}
	})
}

func groupsOf(n, size int) int { return (n + size - 1) / size }

func TestScaledRanges(t *testing.T) {
	eachRow(t, func(t *testing.T, n, size int, m *memory) {
		for _, draw := range []style{ordinary, finite, anything} {
			w, scales := floats(m, n, draw), floats(m, n, draw)
			low, high := take[float32](m, groupsOf(n, size)), take[float32](m, groupsOf(n, size))
			least, most := make([]float32, len(low)), make([]float32, len(low))
			finite := true
			for i, x := range w {
				v := float32(x * scales[i]) // or the difference below is fused with the product
				finite = finite && v-v == 0
				least[i/size], most[i/size] = min(least[i/size], v), max(most[i/size], v)
			}
			if got := ScaledRanges(low, high, w, scales, size); got != finite {
				t.Errorf("finite: got %v", got)
			}
			for g := range low {
				if finite && (low[g] != least[g] || high[g] != most[g]) {
					t.Errorf("group %d: got %v to %v, want %v to %v", g, low[g], high[g], least[g], most[g])
				}
			}
		}
	})
}

// grids takes grids of codes 0 … 255 or fewer that suit weights of magnitude 1, and one
// of nothing.
func grids(m *memory, n int) []AffineGrid {
	g := take[AffineGrid](m, n)
	for i := range g {
		step, most := 0.01+0.1*m.r.Float64(), []int{3, 15, 255}[m.r.IntN(3)]
		low := m.r.IntN(most + 1)
		g[i] = AffineGrid{Inverse: float32(1 / step), Low: -float32(low), High: float32(most - low), Step: float32(step)}
		if m.r.IntN(4) == 0 { // ties
			g[i].Inverse, g[i].Step = 4, 0.25
		}
		if m.r.IntN(8) == 0 {
			g[i] = AffineGrid{Step: 1}
		}
	}
	return g
}

func TestAffine(t *testing.T) {
	eachRow(t, func(t *testing.T, n, size int, m *memory) {
		w, scales, inverses, grids := floats(m, n, ordinary), take[float32](m, n), take[float32](m, n), grids(m, groupsOf(n, size))
		for i := range w {
			scales[i] = float32(math.Ldexp(1, m.r.IntN(3)-1))
			if m.r.IntN(3) > 0 {
				scales[i] = float32(0.1 + m.r.Float64())
			} else {
				w[i] = float32(m.r.IntN(40)-20) / 8 // perhaps a tie
			}
			inverses[i] = 1 / scales[i]
		}
		codes, lost, values := take[uint8](m, n), take[float32](m, n), take[float32](m, n)
		AffineCodes(codes, w, scales, grids, size)
		AffineLost(lost, w, scales, inverses, grids, size)
		AffineValues(values, codes, inverses, grids, size)
		wantLost, wantValues := make([]float32, n), make([]float32, n)
		for i, x := range w {
			g := grids[i/size]
			steps := max(float64(g.Low), min(float64(g.High), math.RoundToEven(float64(float32(x*scales[i])*g.Inverse))))
			if code := uint8(steps - float64(g.Low)); codes[i] != code {
				t.Errorf("codes[%d] = %d, want %d", i, codes[i], code)
			}
			steps += 0 // and so not −0
			wantValues[i] = float32(steps) * g.Step * inverses[i]
			wantLost[i] = float32(float64(x) - float64(float32(steps)*g.Step)*float64(inverses[i]))
		}
		withinULPs(t, "lost", lost, wantLost, 1)
		sameBits(t, "values", values, wantValues)
	})
}

func TestSteps(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		for _, draw := range []style{ordinary, finite} {
			w, steps, shifts := floats(m, n, draw), floats(m, n, draw), floats(m, n, draw)
			for i := range shifts {
				if m.r.IntN(2) == 0 { // ties
					w[i], steps[i], shifts[i] = float32(m.r.IntN(64)), 0.5, float32(m.r.IntN(16))
				}
			}
			codes, values := take[uint8](m, n), take[float32](m, n)
			StepCodes(codes, w, steps, shifts, 15)
			StepValues(values, codes, steps, shifts)
			want := make([]float32, n)
			for i, x := range w {
				v := float32(x*steps[i]) + shifts[i]
				if v != v {
					continue // ∞ − ∞ does not come of an inverse and a shift that are finite
				}
				if code := uint8(math.RoundToEven(max(0, min(15, float64(v))))); codes[i] != code {
					t.Errorf("codes[%d] = %d, want %d", i, codes[i], code)
				}
				want[i] = (float32(codes[i]) - shifts[i]) * steps[i]
			}
			sameBits(t, "values", values, want)
		}
	})
}

func BenchmarkAffine(b *testing.B) {
	const rows, cols, size = 128, 256, 128
	w, lost, codes := make([]float32, rows*cols), make([]float32, rows*cols), make([]uint8, rows*cols)
	for i := range w {
		w[i] = float32(i%17) - 8
	}
	low, high, grids := make([]float32, 2), make([]float32, 2), []AffineGrid{{1, -7, 8, 1}, {1, -7, 8, 1}}
	scales := make([]float32, cols)
	for i := range scales {
		scales[i] = 1
	}
	for _, tier := range Tiers() {
		defer Force(tier)()
		for _, k := range []struct {
			name string
			call func(w, lost []float32, codes []uint8)
		}{
			{"ranges", func(w, lost []float32, codes []uint8) { ScaledRanges(low, high, w, scales, size) }},
			{"codes", func(w, lost []float32, codes []uint8) { AffineCodes(codes, w, scales, grids, size) }},
			{"lost", func(w, lost []float32, codes []uint8) { AffineLost(lost, w, scales, scales, grids, size) }},
			{"values", func(w, lost []float32, codes []uint8) { AffineValues(lost, codes, scales, grids, size) }},
			{"step codes", func(w, lost []float32, codes []uint8) { StepCodes(codes, w, scales, scales, 15) }},
		} {
			b.Run(k.name+"/"+string(tier), func(b *testing.B) {
				for b.Loop() {
					for r := range rows {
						k.call(w[r*cols:][:cols], lost[r*cols:][:cols], codes[r*cols:][:cols])
					}
				}
			})
		}
	}
}
