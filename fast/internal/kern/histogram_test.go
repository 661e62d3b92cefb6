package kern

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestHistograms(t *testing.T) {
	eachLength(t, func(t *testing.T, cols int, m *memory) {
		rows := m.r.IntN(4)
		for _, draw := range []style{ordinary, func(r *rand.Rand) float32 { return float32(r.IntN(3)) }} {
			x := floats(m, rows*cols, draw)
			low, high := float32(0), float32(1)
			if len(x) > 0 {
				low, high = slices.Min(x), max(slices.Max(x), slices.Min(x)+0x1p-20)
			}
			counts, want := take[[Bins]uint16](m, rows), make([][Bins]uint16, rows)
			Histograms(counts, x, low, Bins/(high-low))
			histogramsGo(want, x, cols, low, Bins/(high-low))
			if !slices.Equal(counts, want) {
				t.Errorf("counts %d, want %d", counts, want)
			}
		}
	})
}

func BenchmarkHistograms(b *testing.B) {
	x, counts := make([]float32, 196*256), make([][Bins]uint16, 196)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range x {
		x[i] = r.Float32()
	}
	for _, tier := range Tiers() {
		b.Run(string(tier), func(b *testing.B) {
			defer Force(tier)()
			for b.Loop() {
				Histograms(counts, x, 0, 16)
			}
			b.ReportMetric(float64(len(x))*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "elements/ns")
		})
	}
}
