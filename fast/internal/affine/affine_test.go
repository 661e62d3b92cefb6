package affine

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestGridIsTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		qMax := []int{3, 7, 15, 255}[r.IntN(4)]
		n := 1 + r.IntN(9)
		weights, scales, inverses := make([]float32, n), make([]float64, n), make([]float64, n)
		offset, size := r.NormFloat64()*float64(r.IntN(3)), math.Ldexp(1, r.IntN(60)-30)
		for i := range weights {
			weights[i] = float32((r.NormFloat64() + offset) * size)
			scales[i] = float64(float32(math.Exp(r.NormFloat64())))
			inverses[i] = 1 / scales[i]
		}
		low, high := Range(weights, scales)
		least, most := 0.0, 0.0
		for i, w := range weights {
			least, most = min(least, float64(w)*scales[i]), max(most, float64(w)*scales[i])
		}
		if low != least || high != most {
			t.Fatalf("range of %v times %v: got %v to %v", weights, scales, low, high)
		}
		g := NewGrid(low, high, qMax)
		step := (high - low) / float64(qMax)
		if g.Scale != float32(step) || math.Abs(float64(g.ZeroPoint)+low/step) > 0.5+1e-9 || int(g.ZeroPoint) > qMax {
			t.Fatalf("range %v to %v: got scale %v and zero point %d", low, high, g.Scale, g.ZeroPoint)
		}
		codes, lost := make([]uint8, n), make([]float64, n)
		g.Quantize(codes, weights, scales)
		g.Lost(lost, weights, scales, inverses)
		for i, w := range weights {
			x := float64(w) * scales[i] / step
			want := max(0, min(float64(qMax), math.RoundToEven(x)+float64(g.ZeroPoint)))
			if tie := math.Abs(math.Abs(x-math.RoundToEven(x))-0.5) < 1e-9; float64(codes[i]) != want && !tie {
				t.Fatalf("weight %v, %v steps from zero point %d: got code %d, want %v", w, x, g.ZeroPoint, codes[i], want)
			}
			back := (float64(codes[i]) - float64(g.ZeroPoint)) * float64(g.Scale) / scales[i]
			if math.Abs(lost[i]-(float64(w)-back)) > 1e-12*(math.Abs(back)+math.Abs(float64(w))) {
				t.Fatalf("weight %v comes back as %v: got loss %v", w, back, lost[i])
			}
		}
	}
}

func TestGridOfZeros(t *testing.T) {
	for _, high := range []float64{0, 0x1p-150} {
		g := NewGrid(0, high, 15)
		codes, lost := []uint8{9, 9}, []float64{9, 9}
		g.Quantize(codes, []float32{0, 0x1p-149}, []float64{1, 0.5})
		g.Lost(lost, []float32{0, 0x1p-149}, []float64{1, 0.5}, []float64{1, 2})
		if g.Scale != 1 || g.ZeroPoint != 0 || codes[0] != 0 || codes[1] != 0 || lost[0] != 0 || lost[1] != 0x1p-149 {
			t.Errorf("up to %v: scale %v, zero point %d, codes %v, lost %v", high, g.Scale, g.ZeroPoint, codes, lost)
		}
	}
}

func TestClampLost(t *testing.T) {
	const most = math.MaxFloat32
	weights, scales, inverses := []float32{most, -most, 1, 0.9 * most}, []float64{0.5, 0.5, 1, 1}, []float64{2, 2, 1, 1}
	low, high := Range(weights, scales)
	g := NewGrid(low, high, 3)
	lost := make([]float64, 4)
	g.Lost(lost, weights, scales, inverses)
	if g.Reach()*2 <= most {
		t.Errorf("reach %v of weights that come back beyond float32", g.Reach())
	}
	ClampLost(lost, weights)
	for i, w := range weights {
		n := g.steps(float64(w)*scales[i]) - magic
		back := max(-most, min(most, n*float64(g.Scale)*inverses[i]))
		if math.Abs(lost[i]-(float64(w)-back)) > 1e-12*most {
			t.Errorf("weight %v comes back as %v: got loss %v", w, back, lost[i])
		}
	}
}

// Ties are exact where the step is a power of two.
func TestTiesAreEven(t *testing.T) {
	g := NewGrid(-0.5*5, 0.5*10, 15)
	weights := []float32{-2.25, -1.25, -0.25, 0.25, 0.75, 1.25, 4.75}
	want := []uint8{1, 3, 5, 5, 7, 7, 15} // 5 − 4, 5 − 2, 5, 5, 5 + 2, 5 + 2, 5 + 10
	codes := make([]uint8, len(weights))
	g.Quantize(codes, weights, []float64{1, 1, 1, 1, 1, 1, 1})
	for i := range want {
		if g.ZeroPoint != 5 || codes[i] != want[i] {
			t.Errorf("%v: got code %d of zero point %d, want %d of 5", weights[i], codes[i], g.ZeroPoint, want[i])
		}
	}
	for x, want := range map[float64]uint8{-1e300: 0, -0.5: 0, 0.5: 0, 1.5: 2, 2.5: 2, 14.6: 15, 15.5: 15, 1e300: 15} {
		if got := Code(x, 15); got != want {
			t.Errorf("%v: got code %d, want %d", x, got, want)
		}
	}
}
