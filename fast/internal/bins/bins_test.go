package bins

import (
	"math"
	"math/rand/v2"
	"testing"
)

func entropy(elements []float32, low, high float64) float64 {
	counts := map[float64]int{}
	for _, v := range elements {
		counts[min(15, math.Floor(16*(float64(v)-low)/(high-low)))]++
	}
	sum := 0.0
	for _, n := range counts {
		p := float64(n) / float64(len(elements))
		sum -= p * math.Log(p)
	}
	return sum
}

func TestScoreIsTheEntropyButForAConstant(t *testing.T) {
	const n = 48
	r := New(n)
	g := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		x := make([]float32, n)
		spread := g.Float64()
		for i := range x {
			x[i] = float32(max(-1, min(1, spread*g.NormFloat64())))
		}
		want := n * (entropy(x, -1, 1) - math.Log(n))
		if got := r.Score(x, -1, 1); math.Abs(got-want) > 1e-10*n {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

func TestBeyondTheTable(t *testing.T) {
	x := make([]float32, 3*tabled)
	for i := range x[:tabled+7] {
		x[i] = 1
	}
	n := float64(len(x))
	if got, want := New(len(x)).Score(x, 0, 1), n*(entropy(x, 0, 1)-math.Log(n)); math.Abs(got-want) > 1e-10*n {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWhicheverBinsTie(t *testing.T) {
	r := New(7)
	a := r.Score([]float32{0, 0, 0, 5, 5, 9, 16}, 0, 16)
	for _, b := range [][]float32{{16, 15, 15, 2, 2, 1, 7}, {4, 9, 9, 1, 1, 1, 0}} {
		if got := r.Score(b, 0, 16); got != a {
			t.Errorf("%v: %v, want %v", b, got, a)
		}
	}
}

func TestTheMaximumIsInTheLastBin(t *testing.T) {
	r := New(2)
	if got := r.Score([]float32{15, 16}, 0, 16); got != -2*math.Log(2) {
		t.Errorf("15 and 16 of 16 are not in one bin: %v", got)
	}
	if got := r.Score([]float32{14.9, 16}, 0, 16); got != 0 {
		t.Errorf("14.9 and 16 of 16 are in one bin: %v", got)
	}
}
