package conformance

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"math/bits"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var ternaryQuant = spec.ModuleByName("ternary-quant")

var ternaryQuantModule = &module{
	spec: ternaryQuant,
	laws: map[string]func(*trial){
		"alphabet":         ternaryAlphabet,
		"threshold":        ternaryThreshold,
		"scale":            ternaryScale,
		"odd":              ternaryOdd,
		"power-of-two":     ternaryPowerOfTwo,
		"permutation":      ternaryPermutation,
		"zeros-nested":     ternaryZerosNested,
		"codes-idempotent": ternaryCodesIdempotent,
		"zero-weights":     ternaryZeroWeights,
		"dequantize":       ternaryDequantize,
		"stats":            ternaryStats,
		"base3-lossless":   ternaryBase3Lossless,
		"base3-foreign":    ternaryBase3Foreign,
		"2bit-lossless":    ternary2BitLossless,
		"2bit-foreign":     ternary2BitForeign,
	},
	program: ternaryProgram,
	badConfigs: map[string]any{
		"zero_threshold 0":    spec.TernaryQuantConfig{ZeroThreshold: 0},
		"zero_threshold −1":   spec.TernaryQuantConfig{ZeroThreshold: -1},
		"zero_threshold NaN":  spec.TernaryQuantConfig{ZeroThreshold: math.NaN()},
		"zero_threshold +Inf": spec.TernaryQuantConfig{ZeroThreshold: math.Inf(1)},
	},
	badSteps: ternaryBadSteps,
	equal: map[string]comparison{
		"quantize": sameTernaryWeights,
	},
	rows: []row{
		{"ternary-quant/quantize", ternaryQuantizeRow, func(t *trial, got, want any) {
			config := spec.TernaryQuantConfig{ZeroThreshold: 0.05}
			sameTernaryWeights(t, config, []any{ternaryRowWeights(256, 256)}, got, want)
		}},
		{"ternary-quant/dequantize", ternaryDequantizeRow, (*trial).sameResult},
	},
}

// sameTernaryWeights compares quantised weights, but for codes of weights at the
// threshold.
func sameTernaryWeights(t *trial, config any, args []any, got, want any) {
	t.Helper()
	weights := args[0].([]float32)
	g, w := got.(*spec.TernaryWeights), want.(*spec.TernaryWeights)
	t.within("scale", float64(g.Scale), float64(w.Scale), scaleBudget(weights, t.u))
	t.equal("number of codes ", len(g.Codes), len(weights))
	for i, x := range weights {
		if g.Codes[i] != w.Codes[i] && !nearThreshold(t, config.(spec.TernaryQuantConfig), weights, x) {
			t.fail(t.symptom, "codes[%d] of weight %v: got %d, want %d", i, x, g.Codes[i], w.Codes[i])
		}
	}
}

func ternaryRowWeights(rows, cols int) []float32 { return gaussian(rows*cols, 24) }

func ternaryQuantizeRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	q, err := impl.TernaryQuant(spec.TernaryQuantConfig{ZeroThreshold: w.Float("zero_threshold", 0.5)})
	weights := ternaryRowWeights(w.Int("rows", 256), w.Int("cols", 256))
	var out spec.TernaryWeights
	return timing{
		calls:  1,
		call:   func(int) error { return q.Quantize(&out, weights) },
		result: func() (any, error) { return &out, nil },
		note:   func() string { return fmt.Sprintf("%.1f%% zeros", 100*q.Stats().Sparsity) },
	}, err
}

func ternaryDequantizeRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	q, err := impl.TernaryQuant(spec.DefaultTernaryQuantConfig())
	codes := make([]int8, w.Int("rows", 256)*w.Int("cols", 256))
	for i, x := range gaussian(len(codes), 24) {
		codes[i] = int8(max(-1, min(1, math.RoundToEven(float64(x)))))
	}
	var out []float32
	return timing{
		calls:  1,
		call:   func(int) error { return q.Dequantize(&out, codes, 0.75) },
		result: func() (any, error) { return &out, nil },
	}, err
}

func drawTernaryConfig(t *trial) spec.TernaryQuantConfig {
	thresholds := []float64{0.5, 0.05, 0.7, 1, 1.5, 1e-3, 4}
	return spec.TernaryQuantConfig{ZeroThreshold: rapid.SampledFrom(thresholds).Draw(t.T, "zero_threshold")}
}

func drawTernaryWeights(t *trial) []float32 {
	return numbers(t, size(t, 1, 70, "weights"), anyStyles, "weights")
}

func drawTernaryCodes(t *trial) []int8 {
	return rapid.SliceOfN(rapid.Int8Range(-1, 1), 1, 24).Draw(t.T, "codes")
}

func ternaryProgram(t *trial, _ spec.Variant) program {
	p := program{config: drawTernaryConfig(t)}
	for range size(t, 1, 3, "rounds") {
		codes := drawTernaryCodes(t)
		packed3, packed2 := packBase3(codes), pack2bit(codes)
		p.steps = append(p.steps,
			call(ternaryQuant, "quantize", drawTernaryWeights(t)),
			call(ternaryQuant, "dequantize", codes, rapid.Float32Range(0, 8).Draw(t.T, "scale")),
			call(ternaryQuant, "pack_base3", codes), call(ternaryQuant, "unpack_base3", packed3, len(codes)),
			call(ternaryQuant, "pack_2bit", codes), call(ternaryQuant, "unpack_2bit", packed2, len(codes)))
	}
	return p
}

func ternaryBadSteps(t *trial, _ any) []badStep {
	at := rapid.IntRange(0, 4).Draw(t.T, "at")
	spoiled := func(v float32) []float32 {
		w := []float32{1, -2, 3, -4, 5}
		w[at] = v
		return w
	}
	foreign := func(c int8) []int8 {
		codes := []int8{1, 0, -1, 1, 0}
		codes[at] = c
		return codes
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	return []badStep{
		{"no weights", call(ternaryQuant, "quantize", []float32(nil)), spec.Invalid},
		{"a NaN weight", call(ternaryQuant, "quantize", spoiled(nan)), spec.Invalid},
		{"a +Inf weight", call(ternaryQuant, "quantize", spoiled(inf)), spec.Invalid},
		{"a −Inf weight", call(ternaryQuant, "quantize", spoiled(-inf)), spec.Invalid},
		{"no codes", call(ternaryQuant, "dequantize", []int8(nil), float32(1)), spec.Invalid},
		{"code 2", call(ternaryQuant, "dequantize", foreign(2), float32(1)), spec.Invalid},
		{"code −2", call(ternaryQuant, "dequantize", foreign(-2), float32(1)), spec.Invalid},
		{"code −128", call(ternaryQuant, "dequantize", foreign(-128), float32(1)), spec.Invalid},
		{"a NaN scale", call(ternaryQuant, "dequantize", foreign(1), nan), spec.Invalid},
		{"a +Inf scale", call(ternaryQuant, "dequantize", foreign(1), inf), spec.Invalid},
		{"no codes", call(ternaryQuant, "pack_base3", []int8(nil)), spec.Invalid},
		{"code 2", call(ternaryQuant, "pack_base3", foreign(2)), spec.Invalid},
		{"n = 0", call(ternaryQuant, "unpack_base3", []uint8{}, 0), spec.Invalid},
		{"n = −1", call(ternaryQuant, "unpack_base3", []uint8{0}, -1), spec.Invalid},
		{"n beyond the bytes", call(ternaryQuant, "unpack_base3", []uint8{0}, 6), spec.Invalid},
		{"n beyond all memory", call(ternaryQuant, "unpack_base3", []uint8{0}, math.MaxInt), spec.Invalid},
		{"no codes", call(ternaryQuant, "pack_2bit", []int8(nil)), spec.Invalid},
		{"code −2", call(ternaryQuant, "pack_2bit", foreign(-2)), spec.Invalid},
		{"n = 0", call(ternaryQuant, "unpack_2bit", []uint8{}, 0), spec.Invalid},
		{"n = −1", call(ternaryQuant, "unpack_2bit", []uint8{0}, -1), spec.Invalid},
		{"n beyond the bytes", call(ternaryQuant, "unpack_2bit", []uint8{0}, 5), spec.Invalid},
		{"n beyond all memory", call(ternaryQuant, "unpack_2bit", []uint8{0}, math.MaxInt), spec.Invalid},
	}
}

// meanMagnitude is mean |w|, summed in 200-bit floats: the second route.
func meanMagnitude(weights []float32) *big.Float {
	sum := new(big.Float).SetPrec(200)
	for _, w := range weights {
		sum.Add(sum, big.NewFloat(math.Abs(float64(w))))
	}
	return sum.Quo(sum, new(big.Float).SetPrec(200).SetInt64(int64(len(weights))))
}

// scaleBudget bounds the error of a published scale: two roundings to working
// precision, those of a float64 sum or of a pairwise one in working precision, and
// the spacing of subnormals, 2u·2⁻¹²⁶.
func scaleBudget(weights []float32, u float64) float64 {
	mean, _ := meanMagnitude(weights).Float64()
	levels := float64(bits.Len(uint(len(weights))))
	return ((2+levels)*u+float64(len(weights))*0x1p-53)*mean + u*0x1p-125
}

// nearThreshold reports whether a weight is so near ±t·scale that a scale summed
// in another order may decide otherwise.
func nearThreshold(t *trial, c spec.TernaryQuantConfig, weights []float32, w float32) bool {
	threshold := new(big.Float).Mul(meanMagnitude(weights), big.NewFloat(c.ZeroThreshold))
	bound, _ := threshold.Float64()
	margin := max(0x1p-20, 16*t.u) * bound
	return bound > 0 && math.Abs(math.Abs(float64(w))-bound) <= margin
}

// quantized quantises with a new instance.
func quantized(t *trial, c spec.TernaryQuantConfig, weights []float32) spec.TernaryWeights {
	t.Helper()
	var out spec.TernaryWeights
	t.must(open(t, t.impl.TernaryQuant, c).Quantize(&out, weights))
	t.equal("number of codes ", len(out.Codes), len(weights))
	return out
}

func ternaryAlphabet(t *trial) {
	for i, c := range quantized(t, drawTernaryConfig(t), drawTernaryWeights(t)).Codes {
		t.holds(c >= -1 && c <= 1, "codes[%d]: got %d, want −1, 0 or +1", i, c)
	}
}

func ternaryThreshold(t *trial) {
	c, weights := drawTernaryConfig(t), drawTernaryWeights(t)
	got := quantized(t, c, weights)
	threshold := new(big.Float).Mul(meanMagnitude(weights), big.NewFloat(c.ZeroThreshold))
	for i, w := range weights {
		if nearThreshold(t, c, weights, w) {
			continue
		}
		want := int8(0)
		if big.NewFloat(math.Abs(float64(w))).Cmp(threshold) > 0 {
			want = int8(math.Copysign(1, float64(w)))
		}
		t.holds(got.Codes[i] == want, "codes[%d] of weight %v: got %d, want %d (threshold %.9g)", i, w, got.Codes[i], want, threshold)
	}
}

func ternaryScale(t *trial) {
	weights := drawTernaryWeights(t)
	want, _ := meanMagnitude(weights).Float64()
	t.within("scale", float64(quantized(t, drawTernaryConfig(t), weights).Scale), want, scaleBudget(weights, t.u))
}

func ternaryOdd(t *trial) {
	c, weights := drawTernaryConfig(t), drawTernaryWeights(t)
	negated := make([]float32, len(weights))
	for i, w := range weights {
		negated[i] = -w
	}
	plus, minus := quantized(t, c, weights), quantized(t, c, negated)
	t.equal("scale of the negated weights ", minus.Scale, plus.Scale)
	for i := range weights {
		t.holds(minus.Codes[i] == -plus.Codes[i], "codes[%d]: got %d for %v and %d for %v", i, plus.Codes[i], weights[i], minus.Codes[i], negated[i])
	}
}

func ternaryPowerOfTwo(t *trial) {
	c := drawTernaryConfig(t)
	weights := numbers(t, size(t, 1, 70, "weights"), moderateStyles, "weights")
	k := rapid.IntRange(-40, 40).Draw(t.T, "k")
	scaled := make([]float32, len(weights))
	for i, w := range weights {
		scaled[i] = float32(math.Ldexp(float64(w), k))
		if math.Ldexp(float64(scaled[i]), -k) != float64(w) {
			t.Skip("the scaled weight is subnormal")
		}
	}
	plain, times := quantized(t, c, weights), quantized(t, c, scaled)
	t.equal("scale ", times.Scale, float32(math.Ldexp(float64(plain.Scale), k)))
	t.equal("codes", times.Codes, plain.Codes)
}

func ternaryPermutation(t *trial) {
	c, weights := drawTernaryConfig(t), drawTernaryWeights(t)
	order := source(t, "order").Perm(len(weights))
	permuted := make([]float32, len(weights))
	for i, j := range order {
		permuted[i] = weights[j]
	}
	plain, moved := quantized(t, c, weights), quantized(t, c, permuted)
	for i, j := range order {
		if !nearThreshold(t, c, weights, weights[j]) {
			t.holds(moved.Codes[i] == plain.Codes[j], "weight %v: got %d at %d and %d at %d", weights[j], plain.Codes[j], j, moved.Codes[i], i)
		}
	}
}

func ternaryZerosNested(t *trial) {
	low, weights := drawTernaryConfig(t), drawTernaryWeights(t)
	high := spec.TernaryQuantConfig{ZeroThreshold: low.ZeroThreshold * rapid.Float64Range(1, 4).Draw(t.T, "factor")}
	few, many := quantized(t, low, weights), quantized(t, high, weights)
	for i := range weights {
		t.holds(many.Codes[i] == few.Codes[i] || many.Codes[i] == 0, "codes[%d] of weight %v: %d at threshold %v, %d at %v",
			i, weights[i], few.Codes[i], low.ZeroThreshold, many.Codes[i], high.ZeroThreshold)
	}
}

func ternaryCodesIdempotent(t *trial) {
	c := drawTernaryConfig(t)
	weights := numbers(t, size(t, 1, 70, "weights"), moderateStyles, "weights")
	once := quantized(t, c, weights)
	restored := make([]float32, len(weights))
	nonZero := 0
	for i, code := range once.Codes {
		restored[i] = float32(code) * once.Scale
		nonZero += int(code * code)
	}
	if share := float64(nonZero) / float64(len(weights)); c.ZeroThreshold*share > 1-0x1p-10 {
		return
	}
	t.equal("codes", quantized(t, c, restored).Codes, once.Codes)
}

func ternaryZeroWeights(t *trial) {
	weights := make([]float32, size(t, 1, 40, "weights"))
	for i := range weights {
		if rapid.Bool().Draw(t.T, "minus") {
			weights[i] = float32(math.Copysign(0, -1))
		}
	}
	t.sameBits("", quantized(t, drawTernaryConfig(t), weights), spec.TernaryWeights{Codes: make([]int8, len(weights))})
}

func ternaryDequantize(t *trial) {
	codes, scale := drawTernaryCodes(t), rapid.Float32Range(0, math.MaxFloat32).Draw(t.T, "scale")
	want := make([]float32, len(codes))
	for i, c := range codes {
		switch c {
		case 1:
			want[i] = scale
		case -1:
			want[i] = -scale
		}
	}
	var got []float32
	t.must(open(t, t.impl.TernaryQuant, drawTernaryConfig(t)).Dequantize(&got, codes, scale))
	t.sameBits("weights", got, want)
}

func ternaryStats(t *trial) {
	q := open(t, t.impl.TernaryQuant, drawTernaryConfig(t))
	var want spec.TernaryQuantStats
	for range size(t, 0, 4, "calls") {
		weights := drawTernaryWeights(t)
		var out spec.TernaryWeights
		t.must(q.Quantize(&out, weights))
		want.Calls++
		want.Weights += len(weights)
		want.Zeros += bytes.Count(asBytes(out.Codes), []byte{0})
		want.Sparsity = float64(want.Zeros) / float64(want.Weights)
	}
	got := q.Stats()
	t.within("sparsity", got.Sparsity, want.Sparsity, 0x1p-50)
	got.Sparsity = want.Sparsity
	t.equal("stats", got, want)
}

func asBytes(codes []int8) []byte {
	out := make([]byte, len(codes))
	for i, c := range codes {
		out[i] = byte(c)
	}
	return out
}

// packBase3 is the format by its definition, digit by digit.
func packBase3(codes []int8) []uint8 {
	packed := make([]uint8, (len(codes)+4)/5)
	for b := range packed {
		weight := 1
		for i := range 5 {
			digit := 1
			if at := 5*b + i; at < len(codes) {
				digit = int(codes[at]) + 1
			}
			packed[b] += uint8(digit * weight)
			weight *= 3
		}
	}
	return packed
}

// pack2bit is the format by its definition, code by code.
func pack2bit(codes []int8) []uint8 {
	packed := make([]uint8, (len(codes)+3)/4)
	for i := range 4 * len(packed) {
		field := uint8(1)
		if i < len(codes) {
			field = uint8(codes[i] + 1)
		}
		packed[i/4] |= field << (2 * (i % 4))
	}
	return packed
}

func ternaryBase3Lossless(t *trial) {
	codes := drawTernaryCodes(t)
	b := open(t, t.impl.TernaryQuant, drawTernaryConfig(t)).(spec.TernaryBase3)
	var packed []uint8
	var back []int8
	t.must(b.PackBase3(&packed, codes))
	t.equal("packed", packed, packBase3(codes))
	t.must(b.UnpackBase3(&back, packed, len(codes)))
	t.equal("ternary", back, codes)
}

func ternary2BitLossless(t *trial) {
	codes := drawTernaryCodes(t)
	b := open(t, t.impl.TernaryQuant, drawTernaryConfig(t)).(spec.Ternary2Bit)
	var packed []uint8
	var back []int8
	t.must(b.Pack2bit(&packed, codes))
	t.equal("packed", packed, pack2bit(codes))
	t.must(b.Unpack2bit(&back, packed, len(codes)))
	t.equal("ternary", back, codes)
}

func ternaryBase3Foreign(t *trial) {
	b := open(t, t.impl.TernaryQuant, drawTernaryConfig(t)).(spec.TernaryBase3)
	foreignBytes(t, 5, packBase3, b.UnpackBase3)
}

func ternary2BitForeign(t *trial) {
	b := open(t, t.impl.TernaryQuant, drawTernaryConfig(t)).(spec.Ternary2Bit)
	foreignBytes(t, 4, pack2bit, b.Unpack2bit)
}

// foreignBytes tries every byte as the last one of n codes: unpacking accepts
// those that packing writes, and refuses the others; and it refuses a byte too
// many or too few.
func foreignBytes(t *trial, perByte int, pack func([]int8) []uint8, unpack func(*[]int8, []uint8, int) error) {
	tail := size(t, 1, perByte, "codes in the last byte")
	written := map[uint8][]int8{}
	codes := make([]int8, tail)
	for i := range int(math.Pow(3, float64(tail))) {
		for j := range codes {
			codes[j] = int8(i%3) - 1
			i /= 3
		}
		written[pack(codes)[0]] = append([]int8(nil), codes...)
	}
	var back []int8
	for b := range 256 {
		want, known := written[uint8(b)]
		err := unpack(&back, []uint8{uint8(b)}, tail)
		if !known {
			t.refused("a foreign byte", err)
			continue
		}
		t.must(err)
		t.equal("ternary", back, want)
	}
	full := pack(make([]int8, perByte))
	t.refused("a byte too many", unpack(&back, append(full, full...), perByte))
	t.refused("a byte too few", unpack(&back, full, perByte+1))
}
