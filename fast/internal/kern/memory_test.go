package kern

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// eachTier runs a test in every tier that this machine has.
func eachTier(t *testing.T, test func(t *testing.T)) {
	for _, tier := range Tiers() {
		t.Run(string(tier), func(t *testing.T) {
			defer Force(tier)()
			test(t)
		})
	}
}

// eachLength runs a test, in every tier, with every length from 0 to 1024 and some
// beyond. The memory that it takes from m is checked and given back after each.
func eachLength(t *testing.T, test func(t *testing.T, n int, m *memory)) {
	eachTier(t, func(t *testing.T) {
		m := newMemory()
		lengths := make([]int, 0, 1040)
		for n := range 1025 {
			lengths = append(lengths, n)
		}
		for range 8 {
			lengths = append(lengths, 1025+m.r.IntN(8000))
		}
		for _, n := range lengths {
			test(t, n, m)
			m.release(t)
			if t.Failed() {
				t.Fatalf("length %d", n)
			}
		}
	})
}

// A memory hands out slices with forbidden bytes right behind them, or before
// them: to read one of those ends the test program, where the system can forbid
// it, and to write to any other byte outside fails the test. Slices begin
// anywhere, as their lengths will have it.
type memory struct {
	r      *rand.Rand // the same numbers in every run and tier
	blocks []block
}

type block struct {
	page     []byte // all that may be touched
	from, to int    // of it, the slice
}

func newMemory() *memory { return &memory{r: rand.New(rand.NewPCG(1, 2))} }

const filling = 0xa5

// take returns n elements of T, filled with garbage.
func take[T any](m *memory, n int) []T {
	var zero T
	size := n * int(unsafe.Sizeof(zero))
	b := block{page: forbidAround(size)}
	for i := range b.page {
		b.page[i] = filling
	}
	if m.r.IntN(4) > 0 {
		b.from = len(b.page) - size
	}
	b.to = b.from + size
	m.blocks = append(m.blocks, b)
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b.page[b.from:]))), n)[:n:n]
}

// release checks that nothing was written outside the slices, and takes them back.
func (m *memory) release(t *testing.T) {
	t.Helper()
	for _, b := range m.blocks {
		for i, v := range b.page {
			if v != filling && (i < b.from || i >= b.to) {
				t.Errorf("byte %d from a slice of %d bytes was written", i-b.from, b.to-b.from)
				break
			}
		}
		allow(b.page)
	}
	m.blocks = m.blocks[:0]
}

// A style is a way to draw numbers.
type style func(r *rand.Rand) float32

// Ordinary numbers are Gaussian.
func ordinary(r *rand.Rand) float32 { return float32(r.NormFloat64()) }

// Finite ones are of any size, subnormals and zeros of both signs among them.
func finite(r *rand.Rand) float32 {
	for {
		if v := anything(r); v-v == 0 {
			return v
		}
	}
}

// Few are of three magnitudes, so that they tie.
func few(r *rand.Rand) float32 {
	return float32(math.Copysign(float64(r.IntN(3)), r.NormFloat64()))
}

// Anything is any bits, with what is special more often than by chance.
func anything(r *rand.Rand) float32 {
	if r.IntN(4) == 0 {
		return special[r.IntN(len(special))]
	}
	return math.Float32frombits(r.Uint32())
}

var special = []float32{
	0, float32(math.Copysign(0, -1)), 1, -1, 0.5, -0.5, 1.5, 2.5, math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32,
	0x1p-126, -0x1p-126, 0x1.fffffcp-127, math.MaxFloat32, -math.MaxFloat32,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), math.Float32frombits(0xffc12345), 127.5, -127.5, 0x1p23, 0x1p31,
}

// oneOf is one of the styles: lengths are many, so that each has its share.
func (m *memory) oneOf(styles ...style) style { return styles[m.r.IntN(len(styles))] }

// floats takes n numbers of a style.
func floats(m *memory, n int, draw style) []float32 {
	x := take[float32](m, n)
	for i := range x {
		x[i] = draw(m.r)
	}
	return x
}

// oneOf draws one of several styles.
func oneOf(m *memory, styles ...style) style { return styles[m.r.IntN(len(styles))] }

// sameBits compares numbers bit by bit, but for the payload of a NaN.
func sameBits(t *testing.T, name string, got, want []float32) {
	t.Helper()
	withinULPs(t, name, got, want, 0)
}

// withinULPs compares numbers: they are at most so many float32s apart, and both
// NaN or neither. −0 is no neighbour of 0 where they must be the same.
func withinULPs(t *testing.T, name string, got, want []float32, ulps int64) {
	t.Helper()
	for i, w := range want {
		g := got[i]
		if g != g && w != w {
			continue
		}
		if d := ordinal(g) - ordinal(w); g != g || w != w || max(d, -d) > ulps || (ulps == 0 && math.Float32bits(g) != math.Float32bits(w)) {
			t.Errorf("%s[%d] = %v, want %v", name, i, g, w)
			return
		}
	}
}

// ordinal numbers the float32s in their order.
func ordinal(x float32) int64 {
	bits := int64(math.Float32bits(x))
	if bits >= 1<<31 {
		return 1<<31 - bits
	}
	return bits
}

// nearSum compares a sum with its terms added up in float64: no order of float32
// additions may be further away than so many roundings of their magnitude.
func nearSum(t *testing.T, name string, got float64, terms []float64) {
	t.Helper()
	sum, magnitude := 0.0, 0.0
	for _, v := range terms {
		sum += v
		magnitude += math.Abs(v)
	}
	bound := float64(len(terms)+8)*0x1p-24*magnitude + 0x1p-140
	if math.IsNaN(sum) || math.IsInf(magnitude, 0) || magnitude > math.MaxFloat32 {
		if magnitude <= math.MaxFloat32 && !math.IsNaN(got) {
			t.Errorf("%s = %v, want NaN", name, got)
		}
		return // an order may overflow where another does not
	}
	if !(math.Abs(got-sum) <= bound) {
		t.Errorf("%s = %v, want %v ± %v", name, got, sum, bound)
	}
}
