package outlier

import (
	"math"
	"math/rand/v2"
	"slices"
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
			codes := make([]int8, len(weights))
			Quantize(codes, weights, m, m, qMax)
			for i, w := range weights {
				want := int8(math.RoundToEven(float64(w) * float64(qMax) / float64(m)))
				if codes[i] != want {
					t.Fatalf("%v of %v, q_max %d: got code %d, want %d", w, m, qMax, codes[i], want)
				}
			}
		}
	}
}

func TestQuantizeLeavesOutOutliers(t *testing.T) {
	codes := []int8{9, 9, 9, 9}
	Quantize(codes, []float32{8, 2, -2, -8}, 4, 2, 7)
	if want := []int8{0, 7, -7, 0}; !slices.Equal(codes, want) {
		t.Errorf("got %v, want %v", codes, want)
	}
}

func TestFirstIllegal(t *testing.T) {
	for code := -128; code < 128; code++ {
		want := 1
		if code >= -7 && code <= 7 {
			want = 2
		}
		if got := FirstIllegal([]int8{7, int8(code), 8, -8}, 7); got != want {
			t.Errorf("code %d: got %d, want %d", code, got, want)
		}
	}
	if got := FirstIllegal([]int8{7, -7}, 7); got != -1 {
		t.Errorf("legal codes: got %d", got)
	}
}
