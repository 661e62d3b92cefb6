package kern

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// number is anything but NaN.
func number(r *rand.Rand) float32 {
	for {
		if v := anything(r); v == v {
			return v
		}
	}
}

func TestSigns(t *testing.T) {
	eachLength(t, func(t *testing.T, dim int, m *memory) {
		if dim == 0 {
			return
		}
		rows := m.r.IntN(3)
		x, words := floats(m, rows*dim, number), take[uint32](m, rows*SignWords(dim))
		want := make([]uint32, len(words))
		for i, v := range x {
			if v >= 0 {
				want[i/dim*SignWords(dim)+i%dim/32] |= 1 << (i % dim % 32)
			}
		}
		if !Signs(words, x, dim) || !slices.Equal(words, want) {
			t.Errorf("Signs of %d rows = %08x, want %08x", rows, words, want)
		}
		if rows > 0 {
			x[m.r.IntN(len(x))] = math.Float32frombits(0x7f800001 | m.r.Uint32()&0x803fffff)
			if Signs(words, x, dim) {
				t.Error("Signs does not see a NaN")
			}
		}
	})
}

func TestSignDots(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		m := newMemory()
		for n := range 70 {
			for _, dim := range []int{1, 2, 31, 32, 33, 64, 65, 70, 200, 4000} {
				keys, words := m.r.IntN(7), SignWords(dim)
				q, k := take[uint32](m, n*words), take[uint32](m, keys*words)
				for _, x := range [][]uint32{q, k} {
					for i := range x {
						x[i] = m.r.Uint32() & m.r.Uint32()
					}
				}
				s := Rows(nil, keys, n, n+m.r.IntN(3))
				s.Data = floats(m, s.span(), ordinary)
				want := s
				want.Data = slices.Clone(s.Data)
				signDotsGo(want, q, k, dim)
				SignDots(s, q, k, dim)
				sameBits(t, "s", s.Data, want.Data)
				m.release(t)
				if t.Failed() {
					t.Fatalf("%d keys, %d queries, dimension %d", keys, n, dim)
				}
			}
		}
	})
}

// The plain body, against the definition.
func TestSignDotsAreDotProducts(t *testing.T) {
	m := newMemory()
	for dim := 1; dim < 100; dim++ {
		x := make([]float32, 2*dim)
		want := 0
		for i := range dim {
			x[i], x[dim+i] = number(m.r), number(m.r)
			if (x[i] >= 0) == (x[dim+i] >= 0) {
				want++
			} else {
				want--
			}
		}
		words := make([]uint32, 2*SignWords(dim))
		signsGo(words, x, dim)
		got := []float32{0}
		signDotsGo(Rows(got, 1, 1, 1), words[:SignWords(dim)], words[SignWords(dim):], dim)
		if got[0] != float32(want) {
			t.Errorf("dimension %d: got %v, want %d", dim, got[0], want)
		}
	}
}

func BenchmarkSigns(b *testing.B) {
	const rows, dim = 64, 64
	x, s := make([]float32, rows*dim), make([]float32, rows*rows)
	words := make([]uint32, rows*SignWords(dim))
	for _, tier := range Tiers() {
		defer Force(tier)()
		b.Run("pack/"+string(tier), func(b *testing.B) {
			for b.Loop() {
				Signs(words, x, dim)
			}
		})
		b.Run("dots/"+string(tier), func(b *testing.B) {
			for b.Loop() {
				SignDots(Rows(s, rows, rows, rows), words, words, dim)
			}
		})
	}
}
