package outlier

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Codes are those of the division, at ties, beside them and anywhere.
func TestQuantizeRoundsLikeTheDivision(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, qMax := range []int{7, 127} {
		for range 300 {
			m := float32(math.Ldexp(1+r.Float64(), r.IntN(250)-130))
			if r.IntN(2) == 0 {
				m = float32(math.Ldexp(float64(qMax*(1+r.IntN(9))), r.IntN(100)-50)) // ties are exact
			}
			weights := []float32{m, -m, 0, float32(math.Copysign(0, -1))}
			for k := range 2 * qMax {
				tie := float32((float64(k) - float64(qMax) + 0.5) * float64(m) / float64(qMax))
				weights = append(weights, tie, math.Nextafter32(tie, m), math.Nextafter32(tie, -m), float32(float64(m)*(2*r.Float64()-1)))
			}
			codes, residual := make([]int8, len(weights)), make([]float32, len(weights))
			Quantize(codes, residual, weights, m, m, qMax)
			for i, w := range weights {
				want := int8(math.RoundToEven(float64(w) * float64(qMax) / float64(m)))
				if codes[i] != want || residual[i] != 0 {
					t.Fatalf("%v of %v, q_max %d: got code %d and residual %v, want %d", w, m, qMax, codes[i], residual[i], want)
				}
			}
		}
	}
}

func TestBoundsCompareLikeMagnitudes(t *testing.T) {
	x := []float32{0, -1, 0x1p-149, 3, -2.5, float32(math.Copysign(0, -1)), 2.5}
	for _, bound := range []float32{0, 0x1p-149, 1, 2.5, 3, math.MaxFloat32} {
		largest, beyond := LargestWithin(x, bound)
		want, n := 0.0, 0
		for _, v := range x {
			if a := math.Abs(float64(v)); a > float64(bound) {
				n++
			} else {
				want = max(want, a)
			}
		}
		if float64(largest) != want || beyond != n {
			t.Errorf("bound %v: got %v and %d, want %v and %d", bound, largest, beyond, want, n)
		}
		codes, residual := make([]int8, len(x)), make([]float32, len(x))
		aside := make([]float32, len(x))
		SetAside(aside, x, bound)
		if largest > 0 {
			Quantize(codes, residual, x, bound, largest, 7)
		}
		for i, v := range x {
			want := float32(0)
			if math.Abs(float64(v)) > float64(bound) {
				want = v
			}
			if math.Float32bits(aside[i]) != math.Float32bits(want) || largest > 0 && (residual[i] != want || want != 0 && codes[i] != 0) {
				t.Errorf("bound %v, weight %v: got aside %v, residual %v and code %d", bound, v, aside[i], residual[i], codes[i])
			}
		}
	}
	for n := range 5 {
		for i := range n {
			x := make([]float32, n)
			x[i] = -2
			if got := math.Float32frombits(Largest(x)); got != 2 {
				t.Errorf("largest of %v: %v", x, got)
			}
			x[i] = float32(math.NaN())
			if Largest(x) < Infinite {
				t.Errorf("largest of %v is finite", x)
			}
		}
	}
}

func TestDequantizeSeesWhatIsIllegal(t *testing.T) {
	dst := make([]float32, 3)
	for code := -128; code < 128; code++ {
		codes := []int8{0, int8(code), 1}
		largest, legal := Dequantize(dst, codes, []float32{0, 0, 0.5}, 2, 7)
		if want := code >= -7 && code <= 7; legal != want || (FirstIllegal(codes, 7) < 0) != want {
			t.Errorf("code %d: legal %v", code, legal)
		}
		if dst[1] != float32(2*code) || dst[2] != 2.5 || largest != math.Float32bits(max(2.5, float32(math.Abs(float64(2*code))))) {
			t.Errorf("code %d: got %v, largest %v", code, dst, math.Float32frombits(largest))
		}
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		residual []float32
		scale    float32
	}{{[]float32{0, inf, 0}, 1}, {[]float32{nan, 0, 0}, 1}, {make([]float32, 3), inf}, {make([]float32, 3), nan}, {make([]float32, 3), math.MaxFloat32}} {
		if largest, _ := Dequantize(dst, []int8{0, 0, 7}, c.residual, c.scale, 7); largest < Infinite {
			t.Errorf("%v: nothing infinite in %v", c, dst)
		}
	}
}
