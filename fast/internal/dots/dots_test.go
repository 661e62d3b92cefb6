package dots

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestDotsOfEveryLength(t *testing.T) {
	var x, w []float32
	dot, squareX, squareW := 0.0, 0.0, 0.0
	for i := range 20 {
		if d, s := WithSquare(x, w); d != dot || s != squareX {
			t.Errorf("%d elements: got %v, %v, want %v, %v", len(x), d, s, dot, squareX)
		}
		if d, a, b := new(Pair).WithSquares(x, w); d != dot || a != squareX || b != squareW {
			t.Errorf("%d elements: got %v, %v, %v, want %v, %v, %v", len(x), d, a, b, dot, squareX, squareW)
		}
		if d := Dot(x, w); d != dot {
			t.Errorf("%d elements: got %v, want %v", len(x), d, dot)
		}
		if s := Square(x); s != squareX {
			t.Errorf("%d elements: got %v, want %v", len(x), s, squareX)
		}
		a, b := i-7, 3*i-20 // sums of products are exact
		x, w = append(x, float32(a)), append(w, float32(b))
		dot += float64(a * b)
		squareX += float64(a * a)
		squareW += float64(b * b)
	}
}

// Where float32 is safe it is near, and elsewhere, and of what is not finite, it is
// float64 that answers.
func TestSquaresAtEveryMagnitude(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 100, 3*block + 7, 3_000_000} {
		for _, scale := range []float64{1, 0x1p-149, 0x1p-100, 0x1p-31, 0x1p59, 0x1p100, 0x1p124} {
			a, b := make([]float32, n), make([]float32, n)
			for i := range a {
				a[i] = float32(scale * max(-8, min(8, r.NormFloat64())))
				b[i] = a[i] + float32(scale*r.NormFloat64())
			}
			var p Pair
			dot, squareA, squareB := p.WithSquares(a, b)
			wantDot, wantA, wantB := withSquares(a, b)
			// 2⁻²⁴ a rounding, of some hundred in a row.
			within := 0x1p-24 * 200 * math.Sqrt(wantA*wantB)
			if math.Abs(dot-wantDot) > within || math.Abs(squareA-wantA) > 0x1p-24*200*wantA || math.Abs(squareB-wantB) > 0x1p-24*200*wantB {
				t.Errorf("%d numbers of about %v: %v, %v, %v, want %v, %v, %v", n, scale, dot, squareA, squareB, wantDot, wantA, wantB)
			}
			if s := Square(a); math.Abs(s-wantA) > 0x1p-24*200*wantA {
				t.Errorf("%d numbers of about %v: %v, want %v", n, scale, s, wantA)
			}
			if same, one, two := p.WithSquares(a, a); same != one || same != two {
				t.Errorf("%d numbers of about %v with themselves: %v, %v, %v", n, scale, same, one, two)
			}
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				a[n/2] = float32(bad)
				if _, s, _ := p.WithSquares(a, b); s <= math.MaxFloat64 || Square(a) <= math.MaxFloat64 {
					t.Errorf("%d numbers with %v: %v, %v", n, bad, s, Square(a))
				}
			}
			if n > 1e6 {
				break
			}
		}
	}
}
