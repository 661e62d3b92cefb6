package dots

import "testing"

func TestWithSquareOfEveryLength(t *testing.T) {
	var x, w []float32
	dot, square := 0.0, 0.0
	for i := range 20 {
		if d, s := WithSquare(x, w); d != dot || s != square {
			t.Errorf("%d elements: got %v, %v, want %v, %v", len(x), d, s, dot, square)
		}
		a, b := i-7, 3*i-20 // sums of products are exact
		x, w = append(x, float32(a)), append(w, float32(b))
		dot += float64(a * b)
		square += float64(a * a)
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
