package half

import (
	"math"
	"sort"
	"testing"
)

// value is the definition of a finite binary16 number.
func value(h uint16) float64 {
	exponent, fraction := int(h>>10&31), float64(h&1023)
	magnitude := math.Ldexp(1024+fraction, exponent-25)
	if exponent == 0 {
		magnitude = math.Ldexp(fraction, -24)
	}
	return math.Copysign(magnitude, 1-2*float64(h>>15))
}

func TestEveryHalf(t *testing.T) {
	for bits := range 1 << 16 {
		h := uint16(bits)
		got := ToFloat32(h)
		switch {
		case h&0x7fff == 0x7c00:
			if !math.IsInf(float64(got), 1-2*int(h>>15)) {
				t.Fatalf("%#04x: got %v", h, got)
			}
		case h&0x7c00 == 0x7c00:
			if got == got {
				t.Fatalf("%#04x: got %v, want NaN", h, got)
			}
		case math.Float64bits(float64(got)) != math.Float64bits(value(h)):
			t.Fatalf("%#04x: got %v, want %v", h, got, value(h))
		default:
			if back := FromFloat32(got); back != h {
				t.Fatalf("%#04x became %v and %#04x", h, got, back)
			}
		}
	}
}

// Between two neighbours, and at their middle, the nearer and the even one wins.
func TestRoundingBetweenNeighbours(t *testing.T) {
	for h := range uint16(0x7bff) {
		low, high := value(h), value(h+1)
		middle := float32((low + high) / 2) // exact: it has 12 bits
		even := h + h&1
		for _, c := range []struct {
			x    float32
			want uint16
		}{
			{middle, even},
			{math.Nextafter32(middle, 0), h},
			{math.Nextafter32(middle, math.MaxFloat32), h + 1},
		} {
			if got := FromFloat32(c.x); got != c.want {
				t.Fatalf("%v: got %#04x, want %#04x", c.x, got, c.want)
			}
			if got := FromFloat32(-c.x); got != c.want|0x8000 {
				t.Fatalf("%v: got %#04x, want %#04x", -c.x, got, c.want|0x8000)
			}
		}
	}
}

func TestFromFloat32IsMonotoneAndSaturates(t *testing.T) {
	x := []float32{0, 0x1p-149, 0x1p-126, 0x1p-26, 0x1p-25, 0x1.000002p-25, 65504, 65519, 65520, 65536, 1e30, math.MaxFloat32, float32(math.Inf(1))}
	if !sort.SliceIsSorted(x, func(i, j int) bool { return x[i] < x[j] }) {
		t.Fatal("the test's numbers do not ascend")
	}
	last := uint16(0)
	for _, v := range x {
		h := FromFloat32(v)
		if h < last || h > 0x7bff {
			t.Errorf("%v: got %#04x after %#04x", v, h, last)
		}
		last = h
	}
	if FromFloat32(0x1p-25) != 0 || FromFloat32(0x1.000002p-25) != 1 || last != 0x7bff {
		t.Errorf("half of the least subnormal: %#x, more than that: %#x; infinity: %#x", FromFloat32(0x1p-25), FromFloat32(0x1.000002p-25), last)
	}
}
