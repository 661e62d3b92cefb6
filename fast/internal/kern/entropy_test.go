package kern

import (
	"math"
	"math/rand/v2"
	"testing"
)

// probability is a number in [0, 1], small ones and both zeros among them.
func probability(r *rand.Rand) float32 {
	if r.IntN(8) == 0 {
		return []float32{0, float32(math.Copysign(0, -1)), 1, math.SmallestNonzeroFloat32, 0x1p-126}[r.IntN(5)]
	}
	return r.Float32() * float32(math.Pow(2, -20*r.Float64()))
}

func TestNegEntropies(t *testing.T) {
	eachLength(t, func(t *testing.T, cols int, m *memory) {
		rows := m.r.IntN(4)
		eps := []float32{1e-9, 1e-30, 0.5, 1e6}[m.r.IntN(4)]
		draw := oneOf(m, probability, ordinary, anything)
		x := floats(m, rows*cols, draw)
		entropies, totals := take[float32](m, rows), take[float32](m, rows)
		least, want, isNaN := NegEntropies(entropies, totals, x, eps), float32(0), false
		for r := range rows {
			terms, positive := make([]float64, cols), true
			entropy, size, total := 0.0, 0.0, 0.0
			for i, v := range x[r*cols:][:cols] {
				terms[i] = float64(v)
				isNaN = isNaN || v != v
				positive = positive && 0 <= v && v <= 1
				if v < want {
					want = v
				}
				term := terms[i] * math.Log(terms[i]+float64(eps))
				entropy += term
				size += math.Abs(term)
				total += terms[i]
			}
			nearSum(t, "total", float64(totals[r]), terms)
			if bound := 1.5e-7*total + float64(cols+8)*0x1p-24*size + 0x1p-140; positive && !(math.Abs(float64(entropies[r])-entropy) <= bound) {
				t.Errorf("entropy %v, want %v ± %v", entropies[r], entropy, bound)
			}
		}
		if !isNaN && least != want {
			t.Errorf("least %v, want %v", least, want)
		}
	})
}

func BenchmarkNegEntropies(b *testing.B) {
	x, entropies, totals := make([]float32, 196*196), make([]float32, 196), make([]float32, 196)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range x {
		x[i] = r.Float32() / 98
	}
	for _, tier := range Tiers() {
		b.Run(string(tier), func(b *testing.B) {
			defer Force(tier)()
			for b.Loop() {
				NegEntropies(entropies, totals, x, 1e-9)
			}
			b.ReportMetric(float64(len(x))*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "elements/ns")
		})
	}
}
