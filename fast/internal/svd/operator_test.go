package svd

import (
	"math"
	"runtime"
	"slices"
	"testing"
)

// A matrix of several chunks, the last one not full, has the same product whatever the
// number of cores, and in float32 nearly the same, times a power of 4.
func TestOperatorMultiplies(t *testing.T) {
	const rows, cols = 2101, 1031
	a, x := gaussian(rows, cols, 1), gaussian(1, cols, 2)
	want := make([]float64, cols)
	for i := range rows {
		row := a[i*cols : (i+1)*cols]
		add(want, dot(row, x), row)
	}
	size := math.Sqrt(dot(want, want))
	var o operator
	o.begin(a, rows, cols)
	if o.chunks() < 3 {
		t.Fatalf("%d chunks", o.chunks())
	}
	for _, rough := range []bool{false, true} {
		tolerance := 1e-13
		if rough {
			o.roughen()
			tolerance = 1e-6
		}
		y, alone := make([]float64, cols), make([]float64, cols)
		o.multiply(y, x)
		before := runtime.GOMAXPROCS(1)
		o.multiply(alone, x)
		runtime.GOMAXPROCS(before)
		if !slices.Equal(y, alone) {
			t.Errorf("rough %v: another product on one core", rough)
		}
		scale := math.Ldexp(1, int(math.Round(math.Log2(math.Sqrt(dot(y, y))/size))))
		if !rough && scale != 1 {
			t.Errorf("%v times the product", scale)
		}
		add(y, -scale, want)
		if off := math.Sqrt(dot(y, y)) / (scale * size); !(off <= tolerance) {
			t.Errorf("rough %v: off by %v", rough, off)
		}
	}
}
