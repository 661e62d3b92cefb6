package dots

import "testing"

func TestSumsOfEveryLength(t *testing.T) {
	var x, w []float32
	dot, square := 0.0, 0.0
	for i := range 20 {
		if d, s := WithSquare(x, w); d != dot || s != square {
			t.Errorf("%d elements: got %v, %v, want %v, %v", len(x), d, s, dot, square)
		}
		if s := Square(x); s != square {
			t.Errorf("%d elements: got %v, want %v", len(x), s, square)
		}
		a, b := i-7, 3*i-20 // sums of products are exact
		x, w = append(x, float32(a)), append(w, float32(b))
		dot += float64(a * b)
		square += float64(a * a)
	}
}
