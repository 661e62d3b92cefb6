package ref_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"pgregory.net/rapid"
)

// The mean magnitude of these weights is 1, so that codes go by ±0.5, and a weight
// on the threshold is a zero. Four codes fit a byte: 1 + 2·3 + 0·9 + 1·27 + 1·81.
func ExampleNewTernaryQuant() {
	q, err := ref.NewTernaryQuant(spec.DefaultTernaryQuantConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	var w spec.TernaryWeights
	if err := q.Quantize(&w, []float32{0.5, 0.75, -2.5, -0.25}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(w.Codes, w.Scale)

	var restored []float32
	if err := q.Dequantize(&restored, w.Codes, w.Scale); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(restored)

	var packed []uint8
	if err := q.(spec.TernaryBase3).PackBase3(&packed, w.Codes); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(packed)
	fmt.Printf("%+v\n", q.Stats())
	// Output:
	// [0 1 -1 0] 1
	// [0 1 -1 0]
	// [115]
	// {Calls:1 Weights:4 Zeros:2 Sparsity:0.5}
}

// The paper rounds w/scale to the nearest integer, half to even, and clips.
func TestTernaryQuantAtOneHalfIsBitNetsRounding(t *testing.T) {
	random := rand.New(rand.NewPCG(24, 1))
	weights, sum := make([]float32, 10_000), 0.0
	for i := range weights {
		weights[i] = float32(random.NormFloat64())
		sum += math.Abs(float64(weights[i]))
	}
	got := quantizeTernary(t, 0.5, weights)
	for i, w := range weights {
		rounded := math.RoundToEven(float64(w) / (sum / float64(len(weights))))
		if want := int8(max(-1, min(1, rounded))); got.Codes[i] != want {
			t.Errorf("weight %v: code %d, want %d", w, got.Codes[i], want)
		}
	}
}

// The mean is (2 + 1 + 1)/4 = 1.
func TestTernaryQuantTakesAWeightOnTheThresholdForZero(t *testing.T) {
	weights := []float32{2, -1, 1, 0}
	for threshold, want := range map[float64][]int8{
		math.Nextafter(1, 0): {1, -1, 1, 0},
		1:                    {1, 0, 0, 0},
		2:                    {0, 0, 0, 0},
	} {
		if got := quantizeTernary(t, threshold, weights); got.Scale != 1 || !slices.Equal(got.Codes, want) {
			t.Errorf("threshold %v: %+v, want scale 1, codes %v", threshold, got, want)
		}
	}
}

func TestTernaryQuantAtTheEndsOfTheRange(t *testing.T) {
	minusZero := float32(math.Copysign(0, -1))
	const least, most = math.SmallestNonzeroFloat32, math.MaxFloat32
	for _, c := range []struct {
		name      string
		threshold float64
		weights   []float32
		codes     []int8
		scale     float32
	}{
		{"zeros", 0.5, []float32{0, minusZero}, []int8{0, 0}, 0},
		{"a scale that rounds to 0", 0.5, []float32{0, 0, least, 0, 0}, []int8{0, 0, 1, 0, 0}, 0},
		{"a scale that rounds up to the weights", 1, []float32{0, least, -least, least, 0}, []int8{0, 1, -1, 1, 0}, least},
		{"the largest weights", 0.5, []float32{most, -most, most}, []int8{1, -1, 1}, most},
		{"a threshold beyond float64", math.MaxFloat64, []float32{most, -most}, []int8{0, 0}, most},
	} {
		got := quantizeTernary(t, c.threshold, c.weights)
		if math.Float32bits(got.Scale) != math.Float32bits(c.scale) || !slices.Equal(got.Codes, c.codes) {
			t.Errorf("%s: %+v, want scale %v, codes %v", c.name, got, c.scale, c.codes)
		}
	}
}

func TestTernaryQuantDequantizesZerosToPlusZero(t *testing.T) {
	q := newTernaryQuant(t, 0.5)
	var got []float32
	if err := q.Dequantize(&got, []int8{-1, 0, 1}, -0.75); err != nil {
		t.Fatal(err)
	}
	if want := []float32{0.75, 0, -0.75}; !slices.Equal(got, want) || math.Signbit(float64(got[1])) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestTernaryPackingIsLossless(t *testing.T) {
	q := newTernaryQuant(t, 0.5).(interface {
		spec.TernaryBase3
		spec.Ternary2Bit
	})
	rapid.Check(t, func(t *rapid.T) {
		codes := rapid.SliceOfN(rapid.Int8Range(-1, 1), 1, 24).Draw(t, "codes")
		var packed []uint8
		var back []int8
		if err := errors.Join(q.PackBase3(&packed, codes), q.UnpackBase3(&back, packed, len(codes))); err != nil {
			t.Fatal(err)
		}
		if len(packed) != (len(codes)+4)/5 || !slices.Equal(back, codes) {
			t.Fatalf("base 3: %v is %v is %v", codes, packed, back)
		}
		if err := errors.Join(q.Pack2bit(&packed, codes), q.Unpack2bit(&back, packed, len(codes))); err != nil {
			t.Fatal(err)
		}
		if len(packed) != (len(codes)+3)/4 || !slices.Equal(back, codes) {
			t.Fatalf("2 bit: %v is %v is %v", codes, packed, back)
		}
	})
}

func TestTernaryQuantNamesWhatItRefuses(t *testing.T) {
	q := newTernaryQuant(t, 0.5)
	base3, twoBit := q.(spec.TernaryBase3), q.(spec.Ternary2Bit)
	nan := float32(math.NaN())
	var quantised spec.TernaryWeights
	var floats []float32
	var packed []uint8
	var codes []int8
	for _, c := range []struct {
		name string
		err  error
	}{
		{"weights", q.Quantize(&quantised, nil)},
		{"weights[1]", q.Quantize(&quantised, []float32{1, nan})},
		{"ternary", q.Dequantize(&floats, nil, nan)},
		{"ternary[1]", q.Dequantize(&floats, []int8{1, 2}, nan)},
		{"scale", q.Dequantize(&floats, []int8{1}, nan)},
		{"scale", q.Dequantize(&floats, []int8{0}, float32(math.Inf(-1)))},
		{"ternary", base3.PackBase3(&packed, nil)},
		{"ternary[0]", twoBit.Pack2bit(&packed, []int8{-128})},
		{"n", base3.UnpackBase3(&codes, nil, 0)},
		{"packed", base3.UnpackBase3(&codes, []uint8{121}, math.MaxInt)},
		{"packed", twoBit.Unpack2bit(&codes, []uint8{0b01_01_01_01, 0b01_01_01_01}, 4)},
		{"packed[1]", base3.UnpackBase3(&codes, []uint8{121, 243}, 10)},
		{"packed[0]", base3.UnpackBase3(&codes, []uint8{242}, 4)},
		{"packed[0]", twoBit.Unpack2bit(&codes, []uint8{0b00_00_11_00}, 4)},
		{"packed[0]", twoBit.Unpack2bit(&codes, []uint8{0b10_01_01_01}, 3)},
	} {
		if !errors.Is(c.err, spec.Invalid) || !strings.HasPrefix(c.err.Error(), "ternary-quant: "+c.name+": ") {
			t.Errorf("want %s refused, got %v", c.name, c.err)
		}
	}
	if got := q.Stats(); got != (spec.TernaryQuantStats{}) {
		t.Errorf("refusals have changed the stats: %+v", got)
	}
	for _, threshold := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if q, err := ref.NewTernaryQuant(spec.TernaryQuantConfig{ZeroThreshold: threshold}); q != nil || !errors.Is(err, spec.Invalid) {
			t.Errorf("zero_threshold %v: %v, %v", threshold, q, err)
		}
	}
}

func newTernaryQuant(t *testing.T, threshold float64) spec.TernaryQuant {
	t.Helper()
	q, err := ref.NewTernaryQuant(spec.TernaryQuantConfig{ZeroThreshold: threshold})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func quantizeTernary(t *testing.T, threshold float64, weights []float32) (w spec.TernaryWeights) {
	t.Helper()
	if err := newTernaryQuant(t, threshold).Quantize(&w, weights); err != nil {
		t.Fatal(err)
	}
	return w
}
