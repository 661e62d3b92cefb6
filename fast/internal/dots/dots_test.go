package dots

import "testing"

func TestDotsOfEveryLength(t *testing.T) {
	var x, w []float32
	dot, squareX, squareW := 0.0, 0.0, 0.0
	for i := range 20 {
		if d, s := WithSquare(x, w); d != dot || s != squareX {
			t.Errorf("%d elements: got %v, %v, want %v, %v", len(x), d, s, dot, squareX)
		}
		if d, a, b := WithSquares(x, w); d != dot || a != squareX || b != squareW {
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

func TestFourOfEveryLength(t *testing.T) {
	var x []float64
	var y [4][]float64
	var want [4]float64
	for i := range 20 {
		// The vectors are longer than x.
		var got [4]float64
		got[0], got[1], got[2], got[3] = Four(x, append(y[0], 9), append(y[1], 9), append(y[2], 9), append(y[3], 9))
		if got != want {
			t.Errorf("%d elements: got %v, want %v", len(x), got, want)
		}
		a := float64(i - 7) // sums of products are exact
		x = append(x, a)
		for k := range y {
			b := float64((k+2)*i - 20)
			y[k] = append(y[k], b)
			want[k] += a * b
		}
	}
}
