package fast_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
	"pgregory.net/rapid"
)

// Small integers add up exactly in whatever order, so that the formula has one
// answer.
func TestTernaryQuantIsTheFormula(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		threshold := rapid.OneOf(rapid.SampledFrom([]float64{0.5, 1, 0x1p-1074, 1e308, math.MaxFloat64}), rapid.Float64Range(1e-3, 3)).Draw(t, "threshold")
		q := newTernary(t, threshold)
		integers := rapid.SliceOfN(rapid.IntRange(-9, 9), 1, 40).Draw(t, "integers")
		weights, sum := make([]float32, len(integers)), 0.0
		for i, n := range integers {
			weights[i] = float32(n)
			sum += math.Abs(float64(n))
		}
		scale := sum / float64(len(weights))
		want := spec.TernaryWeights{Codes: make([]int8, len(weights)), Scale: float32(scale)}
		stats := spec.TernaryQuantStats{Calls: 1, Weights: len(weights)}
		for i, w := range weights {
			switch {
			case float64(w) > threshold*scale:
				want.Codes[i] = 1
			case float64(w) < -threshold*scale:
				want.Codes[i] = -1
			default:
				stats.Zeros++
			}
		}
		stats.Sparsity = float64(stats.Zeros) / float64(stats.Weights)
		var got spec.TernaryWeights
		if err := q.Quantize(&got, weights); err != nil {
			t.Fatal(err)
		}
		if got.Scale != want.Scale || !slices.Equal(got.Codes, want.Codes) {
			t.Fatalf("%v at %v: %+v, want %+v", weights, threshold, got, want)
		}
		if got := q.Stats(); got != stats {
			t.Fatalf("stats %+v, want %+v", got, stats)
		}
	})
}

// In units of the least float32, the mean of these weights is 0.6, which rounds to
// 1: the weights are above the one, but not above the other.
func TestTernaryQuantComparesWithTheUnroundedScale(t *testing.T) {
	const least = math.SmallestNonzeroFloat32
	var got spec.TernaryWeights
	if err := newTernary(t, 1).Quantize(&got, []float32{0, least, -least, least, 0}); err != nil {
		t.Fatal(err)
	}
	if want := []int8{0, 1, -1, 1, 0}; got.Scale != least || !slices.Equal(got.Codes, want) {
		t.Errorf("%+v, want scale %v, codes %v", got, float32(least), want)
	}
}

func TestTernaryQuantNamesWhatItRefuses(t *testing.T) {
	q := newTernary(t, 0.5)
	nan := float32(math.NaN())
	weights := make([]float32, 20)
	weights[17] = nan
	var quantised spec.TernaryWeights
	var floats []float32
	var packed []uint8
	var codes []int8
	for _, c := range []struct {
		name string
		err  error
	}{
		{"weights", q.Quantize(&quantised, nil)},
		{"weights[17]", q.Quantize(&quantised, weights)},
		{"ternary", q.Dequantize(&floats, nil, nan)},
		{"ternary[1]", q.Dequantize(&floats, []int8{1, 2}, nan)},
		{"scale", q.Dequantize(&floats, []int8{1}, nan)},
		{"scale", q.Dequantize(&floats, []int8{0}, float32(math.Inf(-1)))},
		{"ternary", q.PackBase3(&packed, nil)},
		{"ternary[6]", q.PackBase3(&packed, []int8{1, 0, 1, 0, 1, 0, -2})},
		{"ternary[3]", q.Pack2bit(&packed, []int8{1, 0, 1, 127})},
		{"n", q.UnpackBase3(&codes, nil, 0)},
		{"packed", q.UnpackBase3(&codes, []uint8{121}, math.MaxInt)},
		{"packed", q.UnpackBase3(&codes, []uint8{121, 121}, 5)},
		{"packed[1]", q.UnpackBase3(&codes, []uint8{121, 243}, 10)},
		{"packed[0]", q.UnpackBase3(&codes, []uint8{242}, 4)},
		{"packed[0]", q.Unpack2bit(&codes, []uint8{0b11_00_00_00, 0}, 8)},
		{"packed[1]", q.Unpack2bit(&codes, []uint8{0, 0b10_01_01_01}, 7)},
	} {
		if !errors.Is(c.err, spec.Invalid) || !strings.HasPrefix(c.err.Error(), "ternary-quant: "+c.name+": ") {
			t.Errorf("want %s refused, got %v", c.name, c.err)
		}
	}
	if got := q.Stats(); got != (spec.TernaryQuantStats{}) {
		t.Errorf("refusals have changed the stats: %+v", got)
	}
	if q, err := fast.NewTernaryQuant(spec.TernaryQuantConfig{}); q != nil || !errors.Is(err, spec.Invalid) {
		t.Errorf("zero_threshold 0: %v, %v", q, err)
	}
}

func TestTernaryQuantAllocatesNothingInTheSteadyState(t *testing.T) {
	q := newTernary(t, 0.5)
	weights := make([]float32, 1003)
	for i := range weights {
		weights[i] = float32(i%7) - 3
	}
	var quantised spec.TernaryWeights
	var floats []float32
	var packed []uint8
	var codes []int8
	var err error
	calls := func() {
		err = errors.Join(err,
			q.Quantize(&quantised, weights),
			q.Dequantize(&floats, quantised.Codes, quantised.Scale),
			q.PackBase3(&packed, quantised.Codes), q.UnpackBase3(&codes, packed, len(weights)),
			q.Pack2bit(&packed, codes), q.Unpack2bit(&codes, packed, len(weights)))
	}
	calls()
	if allocations := testing.AllocsPerRun(20, calls); allocations != 0 || err != nil {
		t.Errorf("%v allocations, %v", allocations, err)
	}
	if !slices.Equal(codes, quantised.Codes) {
		t.Errorf("codes packed and unpacked: %v, want %v", codes, quantised.Codes)
	}
}

type packedTernaryQuant interface {
	spec.TernaryQuant
	spec.TernaryBase3
	spec.Ternary2Bit
}

func newTernary(t rapid.TB, threshold float64) packedTernaryQuant {
	t.Helper()
	q, err := fast.NewTernaryQuant(spec.TernaryQuantConfig{ZeroThreshold: threshold})
	if err != nil {
		t.Fatal(err)
	}
	return q.(packedTernaryQuant)
}
