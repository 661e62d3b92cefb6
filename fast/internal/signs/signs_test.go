package signs

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/fast/internal/kern"
)

func TestBytesAreTheLowestBitFirst(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, dim := range []int{1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 70, 127, 128, 130, 200} {
		const rows = 3
		x := make([]float32, rows*dim)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		words := make([]uint32, rows*kern.SignWords(dim))
		kern.Signs(words, x, dim)
		got, want := make([]uint8, rows*Bytes(dim)), make([]uint8, rows*Bytes(dim))
		ToBytes(got, words, dim)
		for i, v := range x {
			if v >= 0 {
				want[i/dim*Bytes(dim)+i%dim/8] |= 1 << (i % dim % 8)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("dim %d: got bytes %x, want %x", dim, got, want)
		}
		back := make([]uint32, len(words))
		FromBytes(back, got, dim)
		if !slices.Equal(back, words) {
			t.Errorf("dim %d: got words %x back, want %x", dim, back, words)
		}
	}
}
