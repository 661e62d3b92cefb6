package kern

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSumMagnitudes(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		for _, draw := range []style{ordinary, finite, anything, huge} {
			x := floats(m, n, draw)
			sum := 0.0
			for _, v := range x {
				sum += math.Abs(float64(v))
			}
			got := SumMagnitudes(x)
			if bound := 3*0x1p-24*sum + float64(n)*0x1p-52*sum; sum-sum == 0 && !(math.Abs(got-sum) <= bound) || sum-sum != 0 && got-got == 0 {
				t.Errorf("%v, want %v", got, sum)
			}
		}
	})
}

// Huge numbers are finite, and two of them beyond float32.
func huge(r *rand.Rand) float32 { return float32(math.Copysign(0x1.8p127, r.NormFloat64())) }

func TestTernaryCodes(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		for _, draw := range []style{ordinary, finite} {
			x := floats(m, n, draw)
			bound := math.Float32frombits(magnitude(finite(m.r)))
			for i := range x {
				if m.r.IntN(3) == 0 {
					near := int32(math.Float32bits(bound)) + int32(m.r.IntN(3)) - 1
					if near < 0 || near >= Infinite {
						continue
					}
					x[i] = math.Float32frombits(uint32(near) | m.r.Uint32()&^signless)
				}
			}
			want, nonZero := make([]int8, n), 0
			for i, v := range x {
				switch {
				case v > bound:
					want[i] = 1
				case v < -bound:
					want[i] = -1
				default:
					nonZero--
				}
				nonZero++
			}
			got := take[int8](m, n)
			if count := TernaryCodes(got, x, bound); count != nonZero || !slices.Equal(got, want) {
				t.Errorf("bound %v: %d not 0, want %d; codes are right: %v", bound, count, nonZero, slices.Equal(got, want))
			}
		}
	})
}

func TestTernaryProducts(t *testing.T) {
	eachLength(t, func(t *testing.T, n int, m *memory) {
		codes, dst := take[int8](m, n), take[float32](m, n)
		for i := range codes {
			codes[i] = int8(m.r.IntN(3) - 1)
		}
		scale := anything(m.r)
		if !TernaryProducts(dst, codes, scale) {
			t.Errorf("refused")
		}
		want := make([]float32, n)
		for i, c := range codes {
			switch c {
			case 1:
				want[i] = scale
			case -1:
				want[i] = -scale
			}
		}
		sameBits(t, "dst", dst, want)
		if n > 0 {
			illegal := int8(2 + m.r.IntN(126))
			if m.r.IntN(2) == 0 {
				illegal = -illegal
			}
			codes[m.r.IntN(n)] = illegal
			if TernaryProducts(dst, codes, scale) {
				t.Errorf("%d passes for a code", illegal)
			}
			codes[m.r.IntN(n)] = -128
			if TernaryProducts(dst, codes, scale) {
				t.Errorf("−128 passes for a code")
			}
		}
	})
}

func BenchmarkTernary(b *testing.B) {
	const n = 1 << 16
	x, codes := make([]float32, n), make([]int8, n)
	for i := range x {
		x[i] = float32(i%7) - 3
	}
	for _, tier := range Tiers() {
		defer Force(tier)()
		b.Run("sum/"+string(tier), func(b *testing.B) {
			for b.Loop() {
				SumMagnitudes(x)
			}
		})
		b.Run("codes/"+string(tier), func(b *testing.B) {
			for b.Loop() {
				TernaryCodes(codes, x, 1)
			}
		})
		b.Run("products/"+string(tier), func(b *testing.B) {
			for b.Loop() {
				TernaryProducts(x, codes, 1)
			}
		})
	}
}
