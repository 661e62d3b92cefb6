package main

import (
	"context"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast/elementary"
)

func TestASampleIsWithinTheLimit(t *testing.T) {
	var out strings.Builder
	if err := run(context.Background(), functions, 99_991, &out, io.Discard); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"exp, ", "log, "} {
		if !strings.Contains(out.String(), name) {
			t.Errorf("no line begins with %q:\n%s", name, &out)
		}
	}
}

// A function that is off by three float32s on one input in a thousand is found.
func TestAWrongResultIsFound(t *testing.T) {
	off := func(dst *[]float32, x []float32) {
		elementary.Exp(dst, x)
		for i := 0; i < len(x); i += 1000 {
			(*dst)[i] = math.Float32frombits(math.Float32bits((*dst)[i]) + 3)
		}
	}
	err := run(context.Background(), []function{{"exp", off, math.Exp}}, 99_991, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "exp(") {
		t.Errorf("got %v", err)
	}
}

func TestAStrideOf0IsRefused(t *testing.T) {
	if err := run(context.Background(), functions, 0, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "--stride") {
		t.Errorf("got %v", err)
	}
}

func TestErrorsAreCounted(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		got   float32
		exact float64
		steps int64
	}{
		{1, 1, 0}, {float32(nan), nan, 0}, {float32(inf), inf, 0}, {float32(inf), math.MaxFloat32, 1}, {math.Nextafter32(1, 0), 1, 1},
		{0, -math.SmallestNonzeroFloat32, 1}, {0x1p-149, -0x1p-149, 2}, {1, nan, math.MaxInt64}, {float32(nan), 1, math.MaxInt64},
	} {
		if e := compare(0, c.got, c.exact); e.steps != c.steps {
			t.Errorf("%v for %v: %d, want %d", c.got, c.exact, e.steps, c.steps)
		}
	}
}
