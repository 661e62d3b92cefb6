package kern

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Shares of two blocks one after the other, against sums in float64.
func TestSharesAreThoseOfTheSoftmax(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		m := newMemory()
		for queries := range 70 {
			for _, scale := range []float64{0.3, 0x1p-200, 1e3, math.MaxFloat64} {
				largest, total, kept := floats(m, queries, func(r *rand.Rand) float32 { return -math.MaxFloat32 }), floats(m, queries, func(r *rand.Rand) float32 { return 0 }), take[float32](m, queries)
				var seen [][]float64 // dot products of each query
				for range 2 {
					s := Rows(nil, 1+m.r.IntN(9), queries, queries+m.r.IntN(3))
					s.Data = floats(m, s.span(), ordinary)
					dots := make([]float32, len(s.Data))
					copy(dots, s.Data)
					before := len(seen)
					for i := range s.Rows {
						row := make([]float64, queries)
						for j := range row {
							row[j] = float64(*s.at(i, j))
						}
						seen = append(seen, row)
					}
					Shares(s, scale, largest, total, kept)
					for j := range queries {
						most := math.Inf(-1)
						for _, row := range seen {
							most = max(most, row[j])
						}
						sum, old := 0.0, 0.0
						for i, row := range seen {
							w := math.Exp((row[j] - most) * min(scale, math.MaxFloat32/2))
							if sum += w; i < before {
								old += w
							}
						}
						near := func(name string, got float32, want float64) {
							if !(math.Abs(float64(got)-want) <= 0x1p-24*40*want+0x1p-100) {
								t.Fatalf("%d queries, scale %v: %s[%d] = %v, want %v", queries, scale, name, j, got, want)
							}
						}
						if float64(largest[j]) != most {
							t.Fatalf("largest[%d] = %v, want %v", j, largest[j], most)
						}
						near("total", total[j], sum)
						near("kept", kept[j], old/sum)
						for i := range s.Rows {
							near("share", *s.at(i, j), math.Exp((seen[before+i][j]-most)*min(scale, math.MaxFloat32/2))/sum)
						}
					}
					for i, v := range s.Data {
						if i%s.Down >= queries && v != dots[i] {
							t.Fatalf("between rows: element %d was written", i)
						}
					}
				}
				m.release(t)
			}
		}
	})
}

func TestSharesOfWhatIsNotFinite(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	const most = math.MaxFloat32
	eachTier(t, func(t *testing.T) {
		for at := range 20 { // whatever the lane
			for _, c := range []struct {
				dots, want []float32
				scale      float64
			}{
				{[]float32{-inf, 3, -inf}, []float32{0, 1, 0}, 1},
				{[]float32{-inf, 3, -inf}, []float32{0, 1, 0}, 1e-300},
				{[]float32{-inf, -inf, -inf}, []float32{0, 0, 0}, 1},
				{[]float32{-most, -inf, -most}, []float32{0.5, 0, 0.5}, 1},
				{[]float32{most, -most, -inf}, []float32{1, 0, 0}, 1},
				{[]float32{0, 100, 12.9}, []float32{0, 1, 0}, 1}, // which would be subnormal
				{[]float32{most, -most, most}, []float32{1. / 3, 1. / 3, 1. / 3}, 1e-45},
				{[]float32{nan, 1, 2}, []float32{nan, nan, nan}, 1},
				{[]float32{1, inf, 2}, []float32{nan, nan, nan}, 1},
			} {
				const queries = 20
				s := Rows(make([]float32, 3*queries), 3, queries, queries)
				for i, v := range c.dots {
					*s.at(i, at) = v
				}
				largest, total, kept := make([]float32, queries), make([]float32, queries), make([]float32, queries)
				for j := range largest {
					largest[j] = -most
				}
				Shares(s, c.scale, largest, total, kept)
				for i := range c.want {
					if got := *s.at(i, at); !(got == c.want[i] || (c.want[i] != 0 && math.Abs(float64(got-c.want[i])) < 1e-6) || (got != got && c.want[i] != c.want[i])) {
						t.Errorf("shares of %v at scale %v: got %v, want %v", c.dots, c.scale, got, c.want[i])
					}
					if other := *s.at(i, (at+1)%queries); other != float32(1)/3 {
						t.Errorf("lane %d reaches the next: %v", at, other)
					}
				}
			}
		}
	})
}

func BenchmarkShares(b *testing.B) {
	const keys, queries = 64, 64
	s, dots := make([]float32, keys*queries), make([]float32, keys*queries)
	for i := range dots {
		dots[i] = float32(i % 17)
	}
	for _, tier := range Tiers() {
		b.Run(string(tier), func(b *testing.B) {
			defer Force(tier)()
			largest, total, kept := make([]float32, queries), make([]float32, queries), make([]float32, queries)
			for b.Loop() {
				copy(s, dots)
				Shares(Rows(s, keys, queries, queries), 0.1, largest, total, kept)
			}
			b.ReportMetric(float64(len(s))*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "weights/ns")
		})
	}
}
