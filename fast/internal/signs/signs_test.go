package signs

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// signOf is the definition.
func signOf(x float32) int {
	if x >= 0 {
		return 1
	}
	return -1
}

// drawn returns numbers among which all the corners are.
func drawn(r *rand.Rand, n int) []float32 {
	corners := []float32{0, float32(math.Copysign(0, -1)), 0x1p-149, -0x1p-149, float32(math.Inf(1)), float32(math.Inf(-1)), -math.MaxFloat32}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
		if r.IntN(4) == 0 {
			x[i] = corners[r.IntN(len(corners))]
		}
	}
	return x
}

var dims = []int{1, 2, 7, 8, 9, 31, 63, 64, 65, 70, 127, 128, 130, 200}

func TestDistancesAreThoseOfTheSigns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, dim := range dims {
		const keys = 5
		q, k := drawn(r, dim), drawn(r, keys*dim)
		qw, kw := make([]uint64, Words(dim)), make([]uint64, keys*Words(dim))
		if !ToWords(qw, q, dim) || !ToWords(kw, k, dim) {
			t.Errorf("dim %d: sees a NaN", dim)
		}
		got, want := make([]int32, keys), make([]int32, keys)
		least := Distances(got, qw, kw)
		for j := range keys {
			for i := range dim {
				if signOf(q[i]) != signOf(k[j*dim+i]) {
					want[j]++
				}
			}
		}
		if !slices.Equal(got, want) || least != slices.Min(want) {
			t.Errorf("dim %d: got distances %v, the least %d, want %v", dim, got, least, want)
		}
	}
}

func TestBytesAreTheLowestBitFirst(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, dim := range dims {
		const rows = 3
		x := drawn(r, rows*dim)
		words := make([]uint64, rows*Words(dim))
		ToWords(words, x, dim)
		got, want := make([]uint8, rows*Bytes(dim)), make([]uint8, rows*Bytes(dim))
		ToBytes(got, words, dim)
		for i, v := range x {
			if signOf(v) > 0 {
				want[i/dim*Bytes(dim)+i%dim/8] |= 1 << (i % dim % 8)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("dim %d: got bytes %x, want %x", dim, got, want)
		}
		back := make([]uint64, len(words))
		FromBytes(back, got, dim)
		if !slices.Equal(back, words) {
			t.Errorf("dim %d: got words %x back, want %x", dim, back, words)
		}
	}
}

func TestEveryNaNIsSeen(t *testing.T) {
	for _, bits := range []uint32{0x7fc00000, 0x7f800001, 0xffc00000, 0xff800001, 0x7fffffff, 0xffffffff} {
		for at := range 70 {
			x := make([]float32, 70)
			x[at] = math.Float32frombits(bits)
			if ToWords(make([]uint64, 2), x, 70) {
				t.Errorf("does not see %08x at %d", bits, at)
			}
		}
	}
}
