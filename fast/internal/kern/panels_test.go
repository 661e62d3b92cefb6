package kern

import (
	"math"
	"slices"
	"testing"
)

// eachMatrix runs a test with matrices of all numbers of columns up to 150, inside
// wider ones.
func eachMatrix(t *testing.T, test func(t *testing.T, rows, cols, stride int, m *memory)) {
	eachTier(t, func(t *testing.T) {
		m := newMemory()
		for cols := range 150 {
			for _, rows := range []int{0, 1, 2, 7} {
				test(t, rows, cols, cols+m.r.IntN(3), m)
				m.release(t)
				if t.Failed() {
					t.Fatalf("%d rows, %d columns", rows, cols)
				}
			}
		}
	})
}

// matrix takes rows that begin stride apart, and nothing behind the last one.
func matrix(m *memory, rows, cols, stride int, draw style) []float32 {
	if rows == 0 {
		return nil
	}
	return floats(m, (rows-1)*stride+cols, draw)
}

func TestColumnMaxima(t *testing.T) {
	eachMatrix(t, func(t *testing.T, rows, cols, stride int, m *memory) {
		x, got := matrix(m, rows, cols, stride, anything), take[uint32](m, cols)
		for c := range got {
			got[c] = m.r.Uint32() >> 1
		}
		want := slices.Clone(got)
		for r := range rows {
			for c := range want {
				want[c] = max(want[c], magnitude(x[r*stride+c]))
			}
		}
		ColumnMaxima(got, x, stride, rows)
		if !slices.Equal(got, want) {
			t.Errorf("got %x, want %x", got, want)
		}
	})
}

func TestColumnMinima(t *testing.T) {
	eachMatrix(t, func(t *testing.T, rows, cols, stride int, m *memory) {
		x, got := matrix(m, rows, cols, stride, finite), floats(m, cols, finite)
		want := slices.Clone(got)
		for r := range rows {
			for c := range want {
				want[c] = min(want[c], x[r*stride+c])
			}
		}
		ColumnMinima(got, x, stride, rows)
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestColumnSums(t *testing.T) {
	eachMatrix(t, func(t *testing.T, rows, cols, stride int, m *memory) {
		x, got := matrix(m, rows, cols, stride, anything), take[float64](m, cols)
		for c := range got {
			got[c] = float64(m.r.IntN(9))
		}
		want := slices.Clone(got)
		for r := range rows {
			for c := range want {
				want[c] += math.Abs(float64(x[r*stride+c]))
			}
		}
		ColumnSums(got, x, stride, rows)
		for c, w := range want {
			if got[c] != w && (got[c] == got[c] || w == w) {
				t.Errorf("column %d: got %v, want %v", c, got[c], w)
			}
		}
	})
}

func TestPanel(t *testing.T) {
	eachMatrix(t, func(t *testing.T, rows, cols, stride int, m *memory) {
		cols = 1 + cols%PanelColumns
		stride += cols
		x := matrix(m, rows, cols, stride, anything)
		for _, signs := range []bool{true, false} {
			got, want := take[float32](m, rows*PanelColumns), make([]float32, rows*PanelColumns)
			for r := range rows {
				for c := range cols {
					v := x[r*stride+c]
					if !signs {
						v = math.Float32frombits(magnitude(v))
					}
					want[r*PanelColumns+c] = v
				}
			}
			Panel(got, x, stride, rows, cols, signs)
			sameBits(t, "panel", got, want)
		}
	})
}

// eachPanel runs a test with panels of 0 to 99 rows, and of more.
func eachPanel(t *testing.T, test func(t *testing.T, rows int, m *memory)) {
	eachTier(t, func(t *testing.T) {
		m := newMemory()
		for rows := range 100 {
			test(t, rows, m)
			m.release(t)
		}
		test(t, 1000, m)
		m.release(t)
	})
}

func TestPanelRanks(t *testing.T) {
	eachPanel(t, func(t *testing.T, rows int, m *memory) {
		panel := floats(m, rows*PanelColumns, finite)
		for i, v := range panel {
			panel[i] = math.Float32frombits(magnitude(v))
		}
		bounds, counts, next := take[uint32](m, PanelColumns), take[uint32](m, PanelColumns), take[uint32](m, PanelColumns)
		for c := range bounds {
			bounds[c] = magnitude(finite(m.r))
			if rows > 0 && c%2 == 0 {
				bounds[c] = magnitude(panel[m.r.IntN(rows)*PanelColumns+c])
			}
		}
		PanelBelow((*[PanelColumns]uint32)(counts), panel, (*[PanelColumns]uint32)(bounds))
		PanelNext((*[PanelColumns]uint32)(next), panel, (*[PanelColumns]uint32)(bounds))
		for c, bound := range bounds {
			below, above := uint32(0), uint32(math.MaxUint32)
			for r := range rows {
				bits := magnitude(panel[r*PanelColumns+c])
				if bits < bound {
					below++
				}
				if bits > bound {
					above = min(above, bits)
				}
			}
			if counts[c] != below || next[c] != above {
				t.Errorf("%d rows, column %d: got %d below %x and %x above, want %d and %x", rows, c, counts[c], bound, next[c], below, above)
			}
		}
	})
}

func TestPanelGridShift(t *testing.T) {
	eachPanel(t, func(t *testing.T, _ int, m *memory) {
		grid, least := (*PanelGrid)(&take[PanelGrid](m, 1)[0]), (*[PanelColumns]float32)(floats(m, PanelColumns, finite))
		for c := range grid.Steps {
			grid.Steps[c] = float32(math.Ldexp(1+m.r.Float64(), m.r.IntN(40)-20))
			switch m.r.IntN(3) {
			case 0:
				least[c] = -float32(m.r.IntN(20)) * grid.Steps[c] / 2 // perhaps a tie
			case 1:
				least[c] = -float32(15*m.r.Float64()) * grid.Steps[c]
			}
		}
		grid.Shift(least, 15)
		for c, v := range least {
			z := float32(max(0, min(15, math.RoundToEven(float64(-v/grid.Steps[c])))))
			if grid.Low[c] != -z || grid.High[c] != 15-z {
				t.Errorf("least %v, step %v: got %v to %v, want −%v to 15 − %v", v, grid.Steps[c], grid.Low[c], grid.High[c], z, z)
			}
		}
	})
}

func TestPanelErrors(t *testing.T) {
	eachPanel(t, func(t *testing.T, rows int, m *memory) {
		panel := floats(m, rows*PanelColumns, ordinary)
		grid := (*PanelGrid)(&take[PanelGrid](m, 1)[0])
		for c := range PanelColumns {
			grid.Steps[c] = float32(0.01 + m.r.Float64())
			grid.Low[c], grid.High[c] = -float32(m.r.IntN(8)), float32(m.r.IntN(8))
			for r := range rows {
				if m.r.IntN(50) == 0 {
					panel[r*PanelColumns+c] *= 1e5 // far outside
				}
			}
		}
		factor := float32(0.5 + m.r.Float64())
		sums := make([]float64, PanelColumns)
		for c := range sums {
			step := float64(grid.Steps[c] * factor)
			for r := range rows {
				x := float64(panel[r*PanelColumns+c])
				n := max(float64(grid.Low[c]), min(float64(grid.High[c]), math.RoundToEven(x/step)))
				sums[c] += (x - n*step) * (x - n*step)
			}
		}
		for _, kind := range []string{"none", "half", "beside"} {
			least := (*[PanelColumns]float64)(take[float64](m, PanelColumns))
			want, lowered := make([]float64, PanelColumns), uint32(0)
			for c, sum := range sums {
				switch {
				case kind == "none":
					least[c] = math.Inf(1)
				case kind == "half" && c%2 == 0:
					least[c] = -1
				case kind == "half":
					least[c] = 2*sum + 1
				default:
					least[c] = sum*(1+0.01*float64(m.r.IntN(2)*2-1)) - 1e-9
				}
				want[c] = least[c]
				if sum <= least[c] {
					want[c], lowered = sum, lowered|1<<c
				}
			}
			got := PanelErrors(least, panel, grid, factor)
			if got != lowered {
				t.Errorf("%s, %d rows: lowered %b, want %b", kind, rows, got, lowered)
			}
			for c, w := range want {
				if !(math.Abs(least[c]-w) <= 1e-5*math.Abs(w)) && w != least[c] {
					t.Errorf("%s, %d rows, column %d: got %v, want %v", kind, rows, c, least[c], w)
				}
			}
		}
	})
}

func BenchmarkColumns(b *testing.B) {
	const rows, cols = 128, 256
	x, panel := make([]float32, rows*cols), make([]float32, rows*PanelColumns)
	maxima, sums := make([]uint32, cols), make([]float64, cols)
	for i := range x {
		x[i] = float32(i%7) - 3
	}
	var grid PanelGrid
	var least [PanelColumns]float64
	var counts [PanelColumns]uint32
	for c := range grid.Steps {
		grid.Steps[c], grid.Low[c], grid.High[c], least[c] = 0.1, -7, 7, math.Inf(1)
	}
	for _, tier := range Tiers() {
		defer Force(tier)()
		for _, k := range []struct {
			name string
			call func()
		}{
			{"maxima", func() { ColumnMaxima(maxima, x, cols, rows) }},
			{"sums", func() { ColumnSums(sums, x, cols, rows) }},
			{"panel", func() { Panel(panel, x, cols, rows, PanelColumns, true) }},
			{"below", func() { PanelBelow(&counts, panel, &counts) }},
			{"errors", func() { least[0] = math.Inf(1); PanelErrors(&least, panel, &grid, 1) }},
		} {
			b.Run(k.name+"/"+string(tier), func(b *testing.B) {
				for b.Loop() {
					k.call()
				}
			})
		}
	}
}
