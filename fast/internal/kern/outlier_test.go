package kern

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// eachGrouping runs a test with groups of every size up to 1024 / 8 and some larger.
func eachGrouping(t *testing.T, test func(t *testing.T, groups, size int, m *memory)) {
	eachTier(t, func(t *testing.T) {
		m := newMemory()
		for size := range 161 {
			for _, groups := range []int{0, 1, 2, 5} {
				test(t, groups, size, m)
				m.release(t)
				if t.Failed() {
					t.Fatalf("%d groups of %d", groups, size)
				}
			}
		}
		for _, size := range []int{1024, 1000, 4096} {
			test(t, 3, size, m)
			m.release(t)
		}
	})
}

func TestMaxMagnitude(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		for _, draw := range []style{ordinary, anything} {
			x, want := floats(m, n, draw), uint32(0)
			for _, v := range x {
				want = max(want, magnitude(v))
			}
			if got := MaxMagnitude(x); got != want {
				t.Errorf("got %x, want %x", got, want)
			}
		}
	})
}

func TestGroupMaxima(t *testing.T) {
	eachGrouping(t, func(t *testing.T, groups, size int, m *memory) {
		x := floats(m, groups*size, anything)
		got, want := take[uint32](m, groups), make([]uint32, groups)
		GroupMaxima(got, x, size)
		for i, v := range x {
			want[i/size] = max(want[i/size], magnitude(v))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %x, want %x", got, want)
		}
	})
}

func TestGroupMaximaWithin(t *testing.T) {
	eachGrouping(t, func(t *testing.T, groups, size int, m *memory) {
		x, bounds := floats(m, groups*size, finite), bounds(m, groups)
		aroundBounds(m, x, bounds, size)
		got, want, count := take[uint32](m, groups), make([]uint32, groups), 0
		for i, v := range x {
			if math.Abs(float64(v)) > float64(bounds[i/size]) {
				count++
			} else {
				want[i/size] = max(want[i/size], magnitude(v))
			}
		}
		if n := GroupMaximaWithin(got, x, bounds, size); n != count || !slices.Equal(got, want) {
			t.Errorf("got %x and %d beyond, want %x and %d", got, n, want, count)
		}
	})
}

// bounds takes magnitudes of any size.
func bounds(m *memory, n int) []float32 {
	b := floats(m, n, finite)
	for i, v := range b {
		b[i] = math.Float32frombits(magnitude(v))
	}
	return b
}

// aroundBounds moves some elements to the bounds of their groups, and beside them.
func aroundBounds(m *memory, x, bounds []float32, size int) {
	for i := range x {
		if near := int32(math.Float32bits(bounds[i/size])) + int32(m.r.IntN(3)) - 1; m.r.IntN(3) == 0 && near >= 0 && near < Infinite {
			x[i] = math.Float32frombits(uint32(near) | m.r.Uint32()&^signless)
		}
	}
}

func TestGroupCodes(t *testing.T) {
	eachGrouping(t, func(t *testing.T, groups, size int, m *memory) {
		x, bounds, inverses := floats(m, groups*size, finite), bounds(m, groups), floats(m, groups, finite)
		aroundBounds(m, x, bounds, size)
		for g, b := range bounds {
			switch m.r.IntN(4) {
			case 0: // ties
				bounds[g], inverses[g] = 100, 0.5
				for i := g * size; i < (g+1)*size; i++ {
					x[i] = float32(m.r.IntN(300) - 150)
				}
			case 1:
				inverses[g] = 0
			default:
				inverses[g] = float32(127 * m.r.Float64() / max(float64(b), 1e-36))
			}
		}
		codes, rest := take[int8](m, groups*size), take[float32](m, groups*size)
		GroupCodes(codes, rest, x, bounds, inverses, size)
		for i, v := range x {
			code, kept := int8(0), float32(0)
			if math.Abs(float64(v)) > float64(bounds[i/size]) {
				kept = v
			} else {
				code = int8(math.RoundToEven(float64(v * inverses[i/size])))
			}
			if codes[i] != code || math.Float32bits(rest[i]) != math.Float32bits(kept) {
				t.Errorf("%v times %v, bound %v: got code %d and rest %v, want %d and %v", v, inverses[i/size], bounds[i/size], codes[i], rest[i], code, kept)
				return
			}
		}
	})
}

func TestGroupProducts(t *testing.T) {
	eachGrouping(t, func(t *testing.T, groups, size int, m *memory) {
		for _, draw := range []style{ordinary, anything} {
			codes, rest, scales := take[int8](m, groups*size), floats(m, groups*size, draw), floats(m, groups, draw)
			want, most, widest := make([]float32, groups*size), uint32(0), uint32(0)
			for i := range codes {
				codes[i] = int8(m.r.Uint32())
				want[i] = float32(float32(codes[i])*scales[i/size]) + rest[i]
				most = max(most, magnitude(want[i]))
				widest = max(widest, uint32(math.Abs(float64(codes[i]))))
			}
			dst := take[float32](m, groups*size)
			largest, code := GroupProducts(dst, codes, rest, scales, size)
			sameBits(t, "dst", dst, want)
			if code != widest || largest != most && !(largest > Infinite && most > Infinite) {
				t.Errorf("got code %d and largest %x, want %d and %x", code, largest, widest, most)
			}
		}
	})
}

func BenchmarkGroup(b *testing.B) {
	const groups, size = 512, 128
	r := rand.New(rand.NewPCG(1, 2))
	x, rest := make([]float32, groups*size), make([]float32, groups*size)
	maxima, codes := make([]uint32, groups), make([]int8, groups*size)
	bounds, inverses := make([]float32, groups), make([]float32, groups)
	for i := range x {
		x[i] = ordinary(r)
	}
	for g := range bounds {
		bounds[g], inverses[g] = 2.5, 1
	}
	for _, tier := range Tiers() {
		defer Force(tier)()
		for _, k := range []struct {
			name string
			call func()
		}{
			{"maxima", func() { GroupMaxima(maxima, x, size) }},
			{"within", func() { GroupMaximaWithin(maxima, x, bounds, size) }},
			{"codes", func() { GroupCodes(codes, rest, x, bounds, inverses, size) }},
			{"products", func() { GroupProducts(x, codes, rest, inverses, size) }},
		} {
			b.Run(k.name+"/"+string(tier), func(b *testing.B) {
				for b.Loop() {
					k.call()
				}
			})
		}
	}
}
