package bins

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/squishspec/squishspec/spec"
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

// score returns the score of one vector, in units of entropy.
func score(x []float32, low, high float32) float64 {
	scores := make([]float64, 1)
	New(len(x)).Scores(scores, spec.Matrix{Rows: 1, Cols: len(x), Data: x}, low, high)
	return scores[0] * unit
}

func TestScoreIsTheEntropyButForAConstant(t *testing.T) {
	const n, rows = 48, 2*together + 3
	g := rand.New(rand.NewPCG(1, 2))
	x := spec.Matrix{Rows: rows, Cols: n, Data: make([]float32, rows*n)}
	for i := range rows {
		spread := g.Float64()
		for j := range n {
			x.Row(i)[j] = float32(max(-1, min(1, spread*g.NormFloat64())))
		}
	}
	for _, scale := range []float32{1, 0x1p-110, 0x1p110} { // the extremes are cut in float64
		for i := range x.Data {
			x.Data[i] *= scale
		}
		scores := make([]float64, rows)
		New(n).Scores(scores, x, -scale, scale)
		for i, got := range scores {
			want := n * (entropy(x.Row(i), -float64(scale), float64(scale)) - math.Log(n))
			if math.Abs(got*unit-want) > 1e-6 {
				t.Fatalf("scale %v, row %d: got %v, want %v", scale, i, got*unit, want)
			}
		}
		for i := range x.Data {
			x.Data[i] /= scale
		}
	}
}

func TestBeyondTheTable(t *testing.T) {
	for _, length := range []int{3 * tabled, 1 << 16} {
		x := make([]float32, length)
		for i := range x[:tabled+7] {
			x[i] = 1
		}
		n := float64(len(x))
		if got, want := score(x, 0, 1), n*(entropy(x, 0, 1)-math.Log(n)); math.Abs(got-want) > 1e-10*n {
			t.Errorf("%d elements: got %v, want %v", length, got, want)
		}
	}
}

func TestWhicheverBinsTie(t *testing.T) {
	a := score([]float32{0, 0, 0, 5, 5, 9, 16}, 0, 16)
	for _, b := range [][]float32{{16, 15, 15, 2, 2, 1, 7}, {4, 9, 9, 1, 1, 1, 0}} {
		if got := score(b, 0, 16); got != a {
			t.Errorf("%v: %v, want %v", b, got, a)
		}
	}
}

func TestTheMaximumIsInTheLastBin(t *testing.T) {
	if got := score([]float32{15, 16}, 0, 16); math.Abs(got+2*math.Log(2)) > unit {
		t.Errorf("15 and 16 of 16 are not in one bin: %v", got)
	}
	if got := score([]float32{14.9, 16}, 0, 16); got != 0 {
		t.Errorf("14.9 and 16 of 16 are in one bin: %v", got)
	}
}
