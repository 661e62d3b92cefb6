package conformance

import (
	"fmt"
	"math"
	"math/big"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var awqV2 = spec.ModuleByName("awq-v2")

var awqV2Module = &module{
	spec: awqV2,
	laws: map[string]func(*trial){
		"grid":               awqGrid,
		"search":             awqSearchLaw,
		"never-worse":        awqNeverWorse,
		"ties":               awqTies,
		"activations":        awqActivations,
		"power-of-two":       awqPowerOfTwo,
		"group-scale":        awqGroupScale,
		"zero-point":         awqZeroPoint,
		"codes":              awqCodes,
		"half-even":          awqHalfEven,
		"half-step":          awqHalfStep,
		"groups":             awqGroups,
		"zero-groups":        awqZeroGroups,
		"common-factor":      awqCommonFactor,
		"dequantize":         awqDequantize,
		"stats":              awqStats,
		"int4-lossless":      awqInt4Lossless,
		"int4-foreign":       awqInt4Foreign,
		"search-squish6":     awqSearchSquish6,
		"codes-squish6":      awqCodesSquish6,
		"dequantize-squish6": awqDequantizeSquish6,
	},
	program: awqProgram,
	badConfigs: map[string]any{
		"an unknown variant":          spec.AWQv2Config{Variant: "squish7", NBits: 4, GroupSize: 8, NSearchSteps: 2},
		"n_bits 1":                    spec.AWQv2Config{NBits: 1, GroupSize: 8, NSearchSteps: 2},
		"n_bits 5":                    spec.AWQv2Config{NBits: 5, GroupSize: 8, NSearchSteps: 2},
		"n_bits 16":                   spec.AWQv2Config{NBits: 16, GroupSize: 8, NSearchSteps: 2},
		"n_bits −4":                   spec.AWQv2Config{NBits: -4, GroupSize: 8, NSearchSteps: 2},
		"group_size 7":                spec.AWQv2Config{NBits: 4, GroupSize: 7, NSearchSteps: 2},
		"group_size −8":               spec.AWQv2Config{NBits: 4, GroupSize: -8, NSearchSteps: 2},
		"n_search_steps 0":            spec.AWQv2Config{NBits: 4, GroupSize: 8},
		"n_search_steps −1":           spec.AWQv2Config{NBits: 4, GroupSize: 8, NSearchSteps: -1},
		"countless steps":             spec.AWQv2Config{NBits: 4, GroupSize: 8, NSearchSteps: math.MaxInt},
		"n_bits 2 as squish6":         spec.AWQv2Config{Variant: spec.Squish6, NBits: 2, GroupSize: 8, NSearchSteps: 2},
		"n_bits 3 as squish6":         spec.AWQv2Config{Variant: spec.Squish6, NBits: 3, GroupSize: 8, NSearchSteps: 2},
		"group_size 4 as squish6":     spec.AWQv2Config{Variant: spec.Squish6, NBits: 4, GroupSize: 4, NSearchSteps: 2},
		"n_search_steps 0 as squish6": spec.AWQv2Config{Variant: spec.Squish6, NBits: 4, GroupSize: 8},
		"group_size 0":                spec.AWQv2Config{NBits: 4, NSearchSteps: 2},
		"n_search_steps 10,001":       spec.AWQv2Config{NBits: 4, GroupSize: 8, NSearchSteps: 10_001},
		"n_bits 9 as squish6":         spec.AWQv2Config{Variant: spec.Squish6, NBits: 9, GroupSize: 8, NSearchSteps: 2},
		"countless steps as squish6":  spec.AWQv2Config{Variant: spec.Squish6, NBits: 4, GroupSize: 8, NSearchSteps: math.MaxInt},
	},
	badSteps: awqBadSteps,
	equal: map[string]comparison{
		"calibrate":  sameAWQScales,
		"quantize":   sameAWQWeights,
		"dequantize": sameAWQDequantized,
	},
	rows: []row{
		{"awq-v2/calibrate", awqCalibrateRow, func(t *trial, got, want any) {
			g, w := got.(*awqCalibration), want.(*awqCalibration)
			sameAWQScales(t, g.config, []any{g.weights, g.activations}, &g.scales, &w.scales)
		}},
		{"awq-v2/quantize", awqQuantizeRow, func(t *trial, got, want any) {
			g, w := got.(*awqCalibration), want.(*awqCalibration)
			sameAWQWeights(t, g.config, []any{g.weights, g.scales.Scales, g.scales.Shifts}, &g.quantized, &w.quantized)
		}},
	},
}

func drawAWQConfig(t *trial, v spec.Variant) spec.AWQv2Config {
	bits := []int{4, 2, 3, 8}
	if v == spec.Squish6 {
		bits = []int{4, 8}
	}
	return spec.AWQv2Config{
		Variant:      v,
		NBits:        rapid.SampledFrom(bits).Draw(t.T, "n_bits"),
		GroupSize:    rapid.SampledFrom([]int{8, 9, 128, math.MaxInt}).Draw(t.T, "group_size"),
		NSearchSteps: rapid.SampledFrom([]int{1, 2, 5, 10}).Draw(t.T, "n_search_steps"),
	}
}

func drawAWQWeights(t *trial, styles []style) spec.Matrix {
	return matrix(t, size(t, 1, 4, "out"), size(t, 1, 20, "in"), styles, "weights")
}

// drawAWQActivations draws activations of channels that differ, as real ones do: a
// few see much more than the others, and now and then some see nothing.
func drawAWQActivations(t *trial, cols int, styles []style) spec.Matrix {
	x := matrix(t, size(t, 1, 6, "samples"), cols, styles, "activations")
	r := source(t, "channels")
	spread := rapid.SampledFrom([]float64{0, 1, 3, 8}).Draw(t.T, "spread")
	for c := range cols {
		factor := exponential(float64(1.5 * spread * r.NormFloat64()))
		if spread == 8 && r.IntN(8) == 0 {
			factor = 0
		}
		for n := range x.Rows {
			x.Row(n)[c] = float32(max(-math.MaxFloat32, min(math.MaxFloat32, factor*float64(x.Row(n)[c]))))
		}
	}
	return x
}

// drawAWQScales draws channel scales for weights, all 1 where a product could leave
// float32.
func drawAWQScales(t *trial, weights spec.Matrix) []float32 {
	if floats.Norm(widened(weights.Data), math.Inf(1)) > 1e30 {
		return slices.Repeat([]float32{1}, weights.Cols)
	}
	return drawAWQFactors(t, weights.Cols)
}

func drawAWQFactors(t *trial, cols int) []float32 {
	r := source(t, "scales")
	spread := rapid.SampledFrom([]float64{0, 0.5, 3}).Draw(t.T, "spread of scales")
	scales := make([]float32, cols)
	for c := range scales {
		scales[c] = float32(exponential(float64(1.5 * spread * r.NormFloat64())))
	}
	return scales
}

// awqQuantized are arguments of dequantize.
type awqQuantized struct {
	spec.AWQWeights
	spec.AWQScales
}

func (q *awqQuantized) args() []any {
	return []any{q.Codes, q.Scales, q.Shifts, q.GroupScales, q.ZeroPoints}
}

func drawAWQQuantized(t *trial, c spec.AWQv2Config) awqQuantized {
	rows, cols := size(t, 1, 3, "out"), size(t, 1, 20, "in")
	codes := rapid.Uint8Range(0, uint8(c.QMax()))
	q := awqQuantized{
		spec.AWQWeights{Codes: rapid.SliceOfN(codes, rows*cols, rows*cols).Draw(t.T, "codes")},
		spec.AWQScales{Scales: drawAWQFactors(t, cols)},
	}
	if c.Variant == spec.Squish6 {
		q.Shifts = numbers(t, cols, anyStyles, "shifts")
		for i, s := range numbers(t, cols, anyStyles, "steps") {
			if s != 0 {
				q.Scales[i] = float32(math.Abs(float64(s)))
			}
		}
		return q
	}
	groups := c.Groups(cols)
	q.GroupScales = matrix(t, rows, groups, anyStyles, "group_scales")
	q.ZeroPoints = rapid.SliceOfN(codes, rows*groups, rows*groups).Draw(t.T, "zero_points")
	return q
}

func awqProgram(t *trial, v spec.Variant) program {
	c := drawAWQConfig(t, v)
	p := program{config: c}
	for range size(t, 1, 2, "rounds") {
		weights := drawAWQWeights(t, anyStyles)
		scales, shifts := drawAWQScales(t, weights), []float32(nil)
		if v == spec.Squish6 {
			shifts = numbers(t, weights.Cols, moderateStyles, "shifts")
		}
		codes := drawInt4(t)
		p.steps = append(p.steps,
			call(awqV2, "calibrate", weights, drawAWQActivations(t, weights.Cols, anyStyles)),
			call(awqV2, "quantize", weights, scales, shifts))
		q := drawAWQQuantized(t, c)
		p.steps = append(p.steps,
			call(awqV2, "dequantize", q.args()...),
			call(awqV2, "pack_int4", codes),
			call(awqV2, "unpack_int4", packInt4(codes), len(codes)))
	}
	return p
}

func awqBadSteps(t *trial, config any) []badStep {
	c := config.(spec.AWQv2Config)
	cols := size(t, 1, 12, "in")
	filled := func(rows, cols int, x float32) spec.Matrix {
		return spec.Matrix{Rows: rows, Cols: cols, Data: slices.Repeat([]float32{x}, rows*cols)}
	}
	spoiled := func(values []float32, x float32) []float32 {
		values = slices.Clone(values)
		values[rapid.IntRange(0, len(values)-1).Draw(t.T, "at")] = x
		return values
	}
	spoiledMatrix := func(m spec.Matrix, x float32) spec.Matrix {
		m.Data = spoiled(m.Data, x)
		return m
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	var list []badStep
	bad := func(what, operation string, args ...any) {
		list = append(list, badStep{what, call(awqV2, operation, args...), spec.Invalid})
	}
	good, scales := filled(2, cols, 1), filled(1, cols, 1).Data
	var shifts []float32
	if c.Variant == spec.Squish6 {
		shifts = make([]float32, cols)
	}
	for _, w := range []struct {
		what string
		x    spec.Matrix
	}{
		{"nothing", spec.Matrix{}},
		{"no rows", spec.Matrix{Cols: cols}},
		{"no columns", spec.Matrix{Rows: 2}},
		{"less data than shape", spec.Matrix{Rows: 2, Cols: cols, Data: good.Data[1:]}},
		{"a negative shape", spec.Matrix{Rows: -2, Cols: -cols, Data: good.Data}},
		{"countless rows", spec.Matrix{Rows: math.MaxInt, Cols: cols, Data: good.Data}},
		{"a NaN", spoiledMatrix(good, nan)},
		{"+Inf", spoiledMatrix(good, inf)},
		{"−Inf", spoiledMatrix(good, -inf)},
	} {
		bad(w.what+" for weights", "calibrate", w.x, good)
		bad(w.what+" for activations", "calibrate", good, w.x)
		bad(w.what, "quantize", w.x, scales, shifts)
	}
	bad("a column too many in activations", "calibrate", good, filled(2, cols+1, 1))
	bad("a column too many in weights", "calibrate", filled(2, cols+1, 1), good)
	bad("no scales", "quantize", good, []float32(nil), shifts)
	bad("a scale too few", "quantize", good, scales[1:], shifts)
	bad("a scale too many", "quantize", good, append(slices.Clone(scales), 1), shifts)
	bad("a shift too many", "quantize", good, scales, append(slices.Clone(shifts), 1))

	codes, q := make([]uint8, 2*cols), uint8(c.QMax())
	groupScales, zeroPoints := filled(2, c.Groups(cols), 1), make([]uint8, 2*c.Groups(cols))
	if c.Variant == spec.Squish6 {
		groupScales, zeroPoints = spec.Matrix{}, nil
	}
	for _, s := range []float32{0, -1, nan, inf, -inf} {
		bad(fmt.Sprintf("scale %v", s), "quantize", good, spoiled(scales, s), shifts)
		bad(fmt.Sprintf("scale %v", s), "dequantize", codes, spoiled(scales, s), shifts, groupScales, zeroPoints)
	}
	if c.Variant == spec.Squish6 {
		bad("a shift too few", "quantize", good, scales, shifts[1:])
		bad("a NaN among shifts", "quantize", good, scales, spoiled(shifts, nan))
		bad("+Inf among shifts", "quantize", good, scales, spoiled(shifts, inf))
		bad("no shifts", "dequantize", codes, scales, []float32(nil), groupScales, zeroPoints)
		bad("−Inf among shifts", "dequantize", codes, scales, spoiled(shifts, -inf), groupScales, zeroPoints)
	} else {
		bad("a group scale above float32", "quantize", filled(1, 2, math.MaxFloat32), []float32{1, 1e5}, shifts)
		bad("a NaN among group scales", "dequantize", codes, scales, shifts, spoiledMatrix(groupScales, nan), zeroPoints)
		bad("+Inf among group scales", "dequantize", codes, scales, shifts, spoiledMatrix(groupScales, inf), zeroPoints)
		bad("no group scales", "dequantize", codes, scales, shifts, spec.Matrix{}, zeroPoints)
		bad("no zero points", "dequantize", codes, scales, shifts, groupScales, []uint8(nil))
		bad("group scales with less data than shape", "dequantize", codes, scales, shifts,
			spec.Matrix{Rows: 2, Cols: groupScales.Cols, Data: groupScales.Data[1:]}, zeroPoints)
		if q < 255 {
			bad("a zero point above q_max", "dequantize", codes, scales, shifts, groupScales, append(slices.Clone(zeroPoints[1:]), q+1))
		}
	}
	bad("nothing", "dequantize", []uint8(nil), []float32(nil), []float32(nil), spec.Matrix{}, []uint8(nil))
	bad("no codes", "dequantize", []uint8(nil), scales, shifts, groupScales, zeroPoints)
	bad("a row of codes too many", "dequantize", append(slices.Clone(codes), make([]uint8, cols+1)...), scales, shifts, groupScales, append(slices.Clone(zeroPoints), 0))
	bad("no scales", "dequantize", codes, []float32(nil), []float32(nil), groupScales, zeroPoints)
	bad("a shift too many", "dequantize", codes, scales, append(slices.Clone(shifts), 0), groupScales, zeroPoints)
	bad("a group scale too many", "dequantize", codes, scales, shifts, filled(2, groupScales.Cols+1, 1), zeroPoints)
	bad("a zero point too many", "dequantize", codes, scales, shifts, groupScales, append(slices.Clone(zeroPoints), 0))
	if q < 255 {
		bad("a code above q_max", "dequantize", append(slices.Clone(codes[1:]), q+1), scales, shifts, groupScales, zeroPoints)
	}

	bad("no codes", "pack_int4", []uint8(nil))
	bad("code 16", "pack_int4", append(drawInt4(t), 16))
	bad("code 255", "pack_int4", append([]uint8{255}, drawInt4(t)...))
	bad("n = 0", "unpack_int4", []uint8{}, 0)
	bad("n = −1", "unpack_int4", []uint8{0}, -1)
	bad("n beyond the bytes", "unpack_int4", []uint8{0}, 3)
	bad("n beyond all memory", "unpack_int4", []uint8{0}, math.MaxInt)
	bad("a byte too many", "unpack_int4", []uint8{0, 0}, 2)
	bad("a filling that is not 0", "unpack_int4", []uint8{0x10}, 1)
	return list
}

// awqCalibrated calibrates with a new instance.
func awqCalibrated(t *trial, c spec.AWQv2Config, weights, activations spec.Matrix) spec.AWQScales {
	t.Helper()
	var s spec.AWQScales
	t.must(open(t, t.impl.AWQv2, c).Calibrate(&s, weights, activations))
	wellFormedAWQScales(t, c, weights.Cols, s)
	return s
}

func wellFormedAWQScales(t *trial, c spec.AWQv2Config, cols int, s spec.AWQScales) {
	t.Helper()
	shifts := 0
	if c.Variant == spec.Squish6 {
		shifts = cols
	}
	t.holds(len(s.Scales) == cols && len(s.Shifts) == shifts, "got %d scales and %d shifts, want %d and %d", len(s.Scales), len(s.Shifts), cols, shifts)
	for i, x := range s.Scales {
		t.holds(x > 0 && x <= math.MaxFloat32, "scales[%d]: got %v, want a finite number above 0", i, x)
	}
}

// awqWeights quantises with a new instance.
func awqWeights(t *trial, c spec.AWQv2Config, weights spec.Matrix, scales []float32) spec.AWQWeights {
	t.Helper()
	var w spec.AWQWeights
	t.must(open(t, t.impl.AWQv2, c).Quantize(&w, weights, scales, nil))
	wellFormedAWQWeights(t, c, weights, w)
	return w
}

func wellFormedAWQWeights(t *trial, c spec.AWQv2Config, weights spec.Matrix, w spec.AWQWeights) {
	t.Helper()
	rows, groups := weights.Rows, c.Groups(weights.Cols)
	if c.Variant == spec.Squish6 {
		rows, groups = 0, 0
	}
	t.equal("number of codes ", len(w.Codes), len(weights.Data))
	t.equal("number of zero points ", len(w.ZeroPoints), rows*groups)
	t.holds(spec.CheckMatrix("", "", w.GroupScales, rows, groups) == nil, "group_scales: got shape (%d, %d) with %d elements, want (%d, %d)",
		w.GroupScales.Rows, w.GroupScales.Cols, len(w.GroupScales.Data), rows, groups)
	for _, codes := range [][]uint8{w.Codes, w.ZeroPoints} {
		for i, code := range codes {
			t.holds(int(code) <= c.QMax(), "code %d at %d, above %d", code, i, c.QMax())
		}
	}
}

// sameAWQScales compares calibrations. Scales that are others than the reference's
// are held to the error that they reach.
func sameAWQScales(t *trial, config any, args []any, got, want any) {
	t.Helper()
	c, weights, activations := config.(spec.AWQv2Config), args[0].(spec.Matrix), args[1].(spec.Matrix)
	g, w := *got.(*spec.AWQScales), *want.(*spec.AWQScales)
	wellFormedAWQScales(t, c, weights.Cols, g)
	if c.Variant == spec.Squish6 {
		sameAWQSteps(t, c, weights, activations, g, w)
		return
	}
	s := newAWQSearch(t, c, weights, activations)
	off := 0.0
	for i, x := range g.Scales {
		off = max(off, math.Abs(float64(x)-float64(w.Scales[i]))/(s.accuracy*float64(w.Scales[i])+spacing(t.u)))
	}
	if off > 1 {
		s.isRight(t, g.Scales)
		return
	}
	t.within("channel scales, in tolerances", off, 0, 1)
}

// sameAWQSteps compares squish6's calibrations.
func sameAWQSteps(t *trial, c spec.AWQv2Config, weights, activations spec.Matrix, got, want spec.AWQScales) {
	t.Helper()
	for i := range got.Scales {
		if got.Scales[i] == want.Scales[i] && got.Shifts[i] == want.Shifts[i] {
			t.asserted++
			continue
		}
		rightAWQStep(t, c, weights, activations, got, i)
	}
}

// rightAWQStep asserts that channel i has a step and a shift that may be the best.
func rightAWQStep(t *trial, c spec.AWQv2Config, weights, activations spec.Matrix, got spec.AWQScales, i int) {
	t.Helper()
	s := awqSteps{config: c, mean: awqMeans(activations)[i], u: t.u}
	for o := range weights.Rows {
		s.column = append(s.column, float64(weights.Row(o)[i]))
	}
	s.isRight(t, (2*float64(activations.Rows)+16)*t.u, got.Scales[i], got.Shifts[i])
}

// sameAWQWeights compares quantised weights. What differs must be as right by its
// definition.
func sameAWQWeights(t *trial, config any, args []any, got, want any) {
	t.Helper()
	c, weights := config.(spec.AWQv2Config), args[0].(spec.Matrix)
	scales, shifts := args[1].([]float32), args[2].([]float32)
	g, w := *got.(*spec.AWQWeights), *want.(*spec.AWQWeights)
	wellFormedAWQWeights(t, c, weights, g)
	if c.Variant == spec.Squish6 {
		for i, code := range g.Codes {
			if code != w.Codes[i] {
				rightAWQStepCode(t, c, weights, scales, shifts, code, i)
			}
		}
		return
	}
	eachAWQGroup(c, weights, scales, g, func(have *awqGroupOf) {
		rightAWQScale(t, have)
		if have.zeroPoint != w.ZeroPoints[have.index] {
			rightAWQZeroPoint(t, c, have)
		}
		for i, code := range have.codes {
			if have.zeroPoint != w.ZeroPoints[have.index] || code != w.Codes[have.first+i] {
				rightAWQCode(t, c, have, i)
			}
		}
	})
}

// An awqGroupOf is a group of quantised weights beside what it is cut from.
type awqGroupOf struct {
	awqRange
	index, first int // of the group, and of its first weight
	codes        []uint8
	scale        float32
	zeroPoint    uint8
}

func (g *awqGroupOf) String() string {
	return fmt.Sprintf("group %d, w·s from %v to %v, got scale %v and zero point %d", g.index, g.low, g.high, g.scale, g.zeroPoint)
}

func eachAWQGroup(c spec.AWQv2Config, weights spec.Matrix, scales []float32, w spec.AWQWeights, visit func(*awqGroupOf)) {
	groups := c.Groups(weights.Cols)
	for o := range weights.Rows {
		for g := range groups {
			r := awqGroup(c, weights, scales, o, g)
			first := o*weights.Cols + g*c.GroupSize
			visit(&awqGroupOf{r, o*groups + g, first, w.Codes[first : first+len(r.scaled)], w.GroupScales.Row(o)[g], w.ZeroPoints[o*groups+g]})
		}
	}
}

func rightAWQScale(t *trial, g *awqGroupOf) {
	t.Helper()
	want := g.step
	if want == 0 || g.isLost(t.u) && g.scale == 1 {
		want = 1
	}
	t.within(fmt.Sprintf("scale of group %d", g.index), float64(g.scale), want, 4*t.u*want+2*spacing(t.u))
}

func rightAWQZeroPoint(t *trial, c spec.AWQv2Config, g *awqGroupOf) {
	t.Helper()
	if g.isLost(t.u) {
		return
	}
	x := max(0, min(float64(c.QMax()), -g.low/g.step))
	t.holds(math.Abs(float64(g.zeroPoint)-x) <= 0.5+tieMargin(t.u)*x, "%v: want %v rounded", g, x)
}

func rightAWQCode(t *trial, c spec.AWQv2Config, g *awqGroupOf, i int) {
	t.Helper()
	if g.isLost(t.u) {
		return
	}
	x, z := g.scaled[i]/g.step, float64(g.zeroPoint)
	target := max(0, min(float64(c.QMax()), x+z))
	t.holds(math.Abs(float64(g.codes[i])-target) <= 0.5+tieMargin(t.u)*(math.Abs(x)+z), "%v: codes[%d]: got %d, want %v rounded", g, i, g.codes[i], target)
}

func rightAWQStepCode(t *trial, c spec.AWQv2Config, weights spec.Matrix, scales, shifts []float32, code uint8, i int) {
	t.Helper()
	column := i % weights.Cols
	x, z := float64(weights.Data[i])/float64(scales[column]), float64(shifts[column])
	target := max(0, min(float64(c.QMax()), x+z))
	t.holds(math.Abs(float64(code)-target) <= 0.5+tieMargin(t.u)*(math.Abs(x)+math.Abs(z)), "codes[%d]: got %d, want %v rounded", i, code, target)
}

// sameAWQDequantized compares dequantised weights.
func sameAWQDequantized(t *trial, config any, args []any, got, want any) {
	t.Helper()
	q := awqQuantized{
		spec.AWQWeights{Codes: args[0].([]uint8), GroupScales: args[3].(spec.Matrix), ZeroPoints: args[4].([]uint8)},
		spec.AWQScales{Scales: args[1].([]float32), Shifts: args[2].([]float32)},
	}
	w := want.(*spec.Matrix)
	q.same(t, config.(spec.AWQv2Config), *got.(*spec.Matrix), func(i int) float64 { return float64(w.Data[i]) })
}

// same asserts that weights were dequantised to what they should be.
func (q *awqQuantized) same(t *trial, c spec.AWQv2Config, got spec.Matrix, want func(i int) float64) {
	t.Helper()
	cols := len(q.Scales)
	rows := len(q.Codes) / cols
	t.holds(spec.CheckMatrix("", "", got, rows, cols) == nil, "got (%d, %d) with %d elements, want (%d, %d)", got.Rows, got.Cols, len(got.Data), rows, cols)
	for i, x := range got.Data {
		s := float64(q.Scales[i%cols])
		exact, _ := q.exact(c, i).Float64()
		budget := 4*t.u*math.Abs(exact) + (1+1/s+float64(c.QMax()))*spacing(t.u)
		if c.Variant == spec.Squish6 {
			budget = 3*t.u*(float64(q.Codes[i])+math.Abs(float64(q.Shifts[i%cols])))*s + 2*spacing(t.u)
		}
		t.holds(math.Abs(float64(x)) <= math.MaxFloat32, "weights[%d]: got %v, which is not finite", i, x)
		t.within(fmt.Sprintf("weights[%d]", i), float64(x), want(i), budget)
	}
}

// exact is weight i in 400-bit floats.
func (q *awqQuantized) exact(c spec.AWQv2Config, i int) *big.Float {
	cols := len(q.Scales)
	number := func(x float64) *big.Float { return new(big.Float).SetPrec(400).SetFloat64(x) }
	code, scale := number(float64(q.Codes[i])), number(float64(q.Scales[i%cols]))
	if c.Variant == spec.Squish6 {
		code.Sub(code, number(float64(q.Shifts[i%cols])))
		return code.Mul(code, scale)
	}
	group := i/cols*c.Groups(cols) + i%cols/c.GroupSize
	code.Sub(code, number(float64(q.ZeroPoints[group])))
	code.Mul(code, number(float64(q.GroupScales.Data[group])))
	return code.Quo(code, scale)
}

func awqDequantizes(t *trial, v spec.Variant) {
	c := drawAWQConfig(t, v)
	q := drawAWQQuantized(t, c)
	var got spec.Matrix
	t.must(open(t, t.impl.AWQv2, c).Dequantize(&got, q.Codes, q.Scales, q.Shifts, q.GroupScales, q.ZeroPoints))
	q.same(t, c, got, func(i int) float64 {
		x, _ := q.exact(c, i).Float64()
		return max(-math.MaxFloat32, min(math.MaxFloat32, x))
	})
}

func awqDequantize(t *trial) { awqDequantizes(t, spec.Documented) }

func awqDequantizeSquish6(t *trial) { awqDequantizes(t, spec.Squish6) }

func awqGrid(t *trial) {
	c := drawAWQConfig(t, spec.Documented)
	weights := drawAWQWeights(t, anyStyles)
	activations := drawAWQActivations(t, weights.Cols, anyStyles)
	s := awqCalibrated(t, c, weights, activations)
	used, _ := newAWQSearch(t, c, weights, activations).match(s.Scales)
	t.within("channel scales, in tolerances off those of the nearest exponent", used, 0, 1)
}

func awqSearchLaw(t *trial) {
	c := drawAWQConfig(t, spec.Documented)
	c.NSearchSteps = max(2, c.NSearchSteps)
	weights := drawAWQWeights(t, anyStyles)
	activations := drawAWQActivations(t, weights.Cols, anyStyles)
	s := awqCalibrated(t, c, weights, activations)
	newAWQSearch(t, c, weights, activations).isRight(t, s.Scales)
}

// awqNeverWorse takes every step with the implementation, and round-to-nearest by its
// definition.
func awqNeverWorse(t *trial) {
	c := drawAWQConfig(t, spec.Documented)
	weights := drawAWQWeights(t, anyStyles)
	activations := drawAWQActivations(t, weights.Cols, anyStyles)
	module := open(t, t.impl.AWQv2, c)
	var s spec.AWQScales
	var w spec.AWQWeights
	var back spec.Matrix
	t.must(module.Calibrate(&s, weights, activations))
	t.must(module.Quantize(&w, weights, s.Scales, s.Shifts))
	t.must(module.Dequantize(&back, w.Codes, s.Scales, s.Shifts, w.GroupScales, w.ZeroPoints))
	t.holds(spec.CheckMatrix("", "", back, weights.Rows, weights.Cols) == nil, "got (%d, %d), want (%d, %d)", back.Rows, back.Cols, weights.Rows, weights.Cols)

	search := newAWQSearch(t, c, weights, activations)
	plain := search.error(slices.Repeat([]float32{1}, weights.Cols))
	var lost mat.Dense
	lost.Sub(dense(weights), dense(back))
	reached := search.outputs(&lost, mat.NewDense(weights.Rows, weights.Cols, nil))
	// What the search was uncertain of when it chose.
	chosen := search.error(s.Scales)
	t.holds(reached.r <= plain.r+plain.f+reached.f+chosen.f, "got output error %v ± %v, round-to-nearest's is %v ± %v", reached.r, reached.f+chosen.f, plain.r, plain.f)
}

func awqTies(t *trial) {
	c := drawAWQConfig(t, spec.Documented)
	weights := drawAWQWeights(t, moderateStyles)
	clear(weights.Data)
	activations := drawAWQActivations(t, weights.Cols, anyStyles)
	t.equal("scales", awqCalibrated(t, c, weights, activations).Scales, slices.Repeat([]float32{1}, weights.Cols))
}

func awqActivations(t *trial) {
	c := drawAWQConfig(t, spec.Documented)
	weights := drawAWQWeights(t, anyStyles)
	activations := drawAWQActivations(t, weights.Cols, moderateStyles)
	var other spec.Matrix
	r := source(t, "order")
	repeats := size(t, 1, 3, "repeats")
	other.Resize(repeats*activations.Rows, activations.Cols)
	for i, n := range r.Perm(other.Rows) {
		copy(other.Row(i), activations.Row(n%activations.Rows))
	}
	exponent := rapid.IntRange(-8, 8).Draw(t.T, "k")
	for _, a := range awqMeans(activations) {
		if math.Ldexp(a, min(exponent, 0)) < 2e-4 {
			exponent = 0 // its scale is floored
		}
	}
	search := newAWQSearch(t, c, weights, activations)
	search.accuracy = max(search.accuracy, awqAccuracy(other, t.u), awqAccuracy(scaled(other, exponent), t.u))
	search.isRight(t, awqCalibrated(t, c, weights, scaled(other, exponent)).Scales)
}

func awqPowerOfTwo(t *trial) {
	c := drawAWQConfig(t, spec.Documented)
	weights := drawAWQWeights(t, moderateStyles)
	activations := drawAWQActivations(t, weights.Cols, moderateStyles)
	k := rapid.IntRange(-20, 20).Draw(t.T, "k")
	times := scaled(weights, k)
	for _, w := range weights.Data {
		if m := math.Abs(float64(w)); m > 0 && min(m, math.Ldexp(m, k)) < 0x1p-40 {
			t.Skip("a product may be subnormal")
		}
	}
	for _, x := range activations.Data {
		if m := math.Abs(float64(x)); m > 0 && m < 0x1p-20 {
			t.Skip("a product may be subnormal")
		}
	}
	s := awqCalibrated(t, c, weights, activations)
	t.equal("scales", awqCalibrated(t, c, times, activations).Scales, s.Scales)
	plain, more := awqWeights(t, c, weights, s.Scales), awqWeights(t, c, times, s.Scales)
	t.equal("codes", more.Codes, plain.Codes)
	t.equal("zero_points", more.ZeroPoints, plain.ZeroPoints)
	eachAWQGroup(c, weights, s.Scales, plain, func(g *awqGroupOf) {
		want := g.scale
		if g.step > 0 {
			want = float32(math.Ldexp(float64(g.scale), k))
		}
		t.equal(fmt.Sprintf("scale of group %d ", g.index), more.GroupScales.Data[g.index], want)
	})
}

// awqGroupsOf quantises drawn weights with drawn scales, and visits the groups.
func awqGroupsOf(t *trial, visit func(c spec.AWQv2Config, g *awqGroupOf)) {
	c := drawAWQConfig(t, spec.Documented)
	weights := drawAWQWeights(t, anyStyles)
	scales := drawAWQScales(t, weights)
	eachAWQGroup(c, weights, scales, awqWeights(t, c, weights, scales), func(g *awqGroupOf) { visit(c, g) })
}

func awqGroupScale(t *trial) {
	awqGroupsOf(t, func(_ spec.AWQv2Config, g *awqGroupOf) { rightAWQScale(t, g) })
}

func awqZeroPoint(t *trial) {
	awqGroupsOf(t, func(c spec.AWQv2Config, g *awqGroupOf) { rightAWQZeroPoint(t, c, g) })
}

func awqCodes(t *trial) {
	awqGroupsOf(t, func(c spec.AWQv2Config, g *awqGroupOf) {
		for i := range g.codes {
			rightAWQCode(t, c, g, i)
		}
	})
}

// awqHalfEven draws a group whose step is a power of two, between a least and a
// largest weight that are whole steps.
func awqHalfEven(t *trial) {
	c := drawAWQConfig(t, spec.Documented)
	q := c.QMax()
	z := rapid.IntRange(0, q).Draw(t.T, "zero point")
	step := float32(math.Ldexp(1, rapid.IntRange(-20, 20).Draw(t.T, "exponent")))
	weights := spec.Matrix{Rows: 1, Cols: 8, Data: []float32{float32(-z) * step, float32(q-z) * step}}
	want := []uint8{0, uint8(q)}
	for len(weights.Data) < weights.Cols {
		below := rapid.IntRange(-z, q-z-1).Draw(t.T, "steps below")
		weights.Data = append(weights.Data, (float32(below)+0.5)*step)
		want = append(want, uint8(below+below&1+z))
	}
	got := awqWeights(t, c, weights, slices.Repeat([]float32{1}, weights.Cols))
	if t.u <= 0x1p-24 {
		t.equal("zero point ", got.ZeroPoints[0], uint8(z))
		t.equal("codes", got.Codes, want)
	}
}

func awqHalfStep(t *trial) {
	c := drawAWQConfig(t, spec.Documented)
	weights := drawAWQWeights(t, anyStyles)
	scales := drawAWQScales(t, weights)
	module := open(t, t.impl.AWQv2, c)
	var w spec.AWQWeights
	var back spec.Matrix
	t.must(module.Quantize(&w, weights, scales, nil))
	wellFormedAWQWeights(t, c, weights, w)
	t.must(module.Dequantize(&back, w.Codes, scales, nil, w.GroupScales, w.ZeroPoints))
	t.equal("number of weights ", len(back.Data), len(weights.Data))
	q := float64(c.QMax())
	eachAWQGroup(c, weights, scales, w, func(g *awqGroupOf) {
		for i := range g.codes {
			x, s := float64(weights.Data[g.first+i]), float64(scales[(g.first+i)%weights.Cols])
			bound := (0.5+2*tieMargin(t.u)*q)*g.step/s + q*(2+1/s)*spacing(t.u)
			got := float64(back.Data[g.first+i])
			t.holds(math.Abs(got-x) <= bound, "%v: weight %v came back as %v, further than %v", g, x, got, bound)
		}
	})
}

func awqGroups(t *trial) {
	c := drawAWQConfig(t, spec.Documented)
	c.GroupSize = min(c.GroupSize, 9)
	groups := size(t, 1, 4, "groups")
	weights := matrix(t, size(t, 1, 3, "out"), groups*c.GroupSize, moderateStyles, "weights")
	scales := drawAWQScales(t, weights)
	order := source(t, "order").Perm(groups)
	permuted, permutedScales := cloneAs(weights), slices.Clone(scales)
	for to, from := range order {
		copy(permutedScales[to*c.GroupSize:], scales[from*c.GroupSize:(from+1)*c.GroupSize])
		for o := range weights.Rows {
			copy(permuted.Row(o)[to*c.GroupSize:], weights.Row(o)[from*c.GroupSize:(from+1)*c.GroupSize])
		}
	}
	plain := awqWeights(t, c, weights, scales)
	moved := awqWeights(t, c, permuted, permutedScales)
	for o := range weights.Rows {
		for to, from := range order {
			t.sameBits(fmt.Sprintf("scale of group %d of row %d", from, o), moved.GroupScales.Row(o)[to], plain.GroupScales.Row(o)[from])
			t.sameBits(fmt.Sprintf("zero point of group %d of row %d", from, o), moved.ZeroPoints[o*groups+to], plain.ZeroPoints[o*groups+from])
			at, was := o*weights.Cols+to*c.GroupSize, o*weights.Cols+from*c.GroupSize
			t.sameBits(fmt.Sprintf("codes of group %d of row %d", from, o), moved.Codes[at:at+c.GroupSize], plain.Codes[was:was+c.GroupSize])
		}
	}
}

func awqZeroGroups(t *trial) {
	c := drawAWQConfig(t, spec.Documented)
	weights := drawAWQWeights(t, anyStyles)
	o, signs := rapid.IntRange(0, weights.Rows-1).Draw(t.T, "row"), source(t, "signs")
	g := rapid.IntRange(0, c.Groups(weights.Cols)-1).Draw(t.T, "group")
	from := g * c.GroupSize
	zeros := weights.Row(o)[from:min(from+c.GroupSize, weights.Cols)]
	for i := range zeros {
		zeros[i] = float32(math.Copysign(0, signs.NormFloat64()))
	}
	ones := slices.Repeat([]float32{1}, weights.Cols)
	w := awqWeights(t, c, weights, ones)
	var back spec.Matrix
	t.must(open(t, t.impl.AWQv2, c).Dequantize(&back, w.Codes, ones, nil, w.GroupScales, w.ZeroPoints))
	t.equal("number of weights ", len(back.Data), len(weights.Data))
	t.sameBits("scale", w.GroupScales.Row(o)[g], float32(1))
	t.sameBits("zero point", w.ZeroPoints[o*w.GroupScales.Cols+g], uint8(0))
	t.sameBits("codes", w.Codes[o*weights.Cols+from:][:len(zeros)], make([]uint8, len(zeros)))
	t.sameBits("weights", back.Row(o)[from:][:len(zeros)], make([]float32, len(zeros)))
}

func awqCommonFactor(t *trial) {
	c := drawAWQConfig(t, spec.Documented)
	weights := drawAWQWeights(t, moderateStyles)
	for _, w := range weights.Data {
		if m := math.Abs(float64(w)); m > 0 && m < 0x1p-60 {
			t.Skip("a product may be subnormal")
		}
	}
	scales := drawAWQScales(t, weights)
	k := rapid.IntRange(-20, 20).Draw(t.T, "k")
	times := scaled(spec.Matrix{Data: scales}, k).Data
	plain, more := awqWeights(t, c, weights, scales), awqWeights(t, c, weights, times)
	t.equal("codes", more.Codes, plain.Codes)
	t.equal("zero_points", more.ZeroPoints, plain.ZeroPoints)
	eachAWQGroup(c, weights, scales, plain, func(g *awqGroupOf) {
		want := g.scale
		if g.step > 0 {
			want = float32(math.Ldexp(float64(g.scale), k))
		}
		t.equal(fmt.Sprintf("scale of group %d ", g.index), more.GroupScales.Data[g.index], want)
	})
	var one, other spec.Matrix
	module := open(t, t.impl.AWQv2, c)
	t.must(module.Dequantize(&one, plain.Codes, scales, nil, plain.GroupScales, plain.ZeroPoints))
	t.must(module.Dequantize(&other, more.Codes, times, nil, more.GroupScales, more.ZeroPoints))
	t.equal("weights", other, one)
}

func awqStats(t *trial) {
	q := open(t, t.impl.AWQv2, spec.DefaultAWQv2Config())
	var want spec.AWQv2Stats
	for range size(t, 0, 3, "calls") {
		weights := drawAWQWeights(t, moderateStyles)
		var s spec.AWQScales
		var w spec.AWQWeights
		t.must(q.Calibrate(&s, weights, drawAWQActivations(t, weights.Cols, moderateStyles)))
		want.Calibrations++
		want.Channels += weights.Cols
		if rapid.Bool().Draw(t.T, "others") {
			t.must(q.Quantize(&w, weights, s.Scales, s.Shifts))
		}
	}
	t.equal("stats", q.Stats(), want)
}

func drawInt4(t *trial) []uint8 {
	return rapid.SliceOfN(rapid.Uint8Range(0, 15), 1, 9).Draw(t.T, "codes")
}

// packInt4 is the format by its definition.
func packInt4(codes []uint8) []uint8 {
	packed := make([]uint8, (len(codes)+1)/2)
	for i, code := range codes {
		packed[i/2] += code * []uint8{1, 16}[i%2]
	}
	return packed
}

func awqInt4Lossless(t *trial) {
	codes := drawInt4(t)
	int4 := open(t, t.impl.AWQv2, spec.DefaultAWQv2Config()).(spec.AWQInt4)
	var packed, back []uint8
	t.must(int4.PackInt4(&packed, codes))
	t.equal("packed", packed, packInt4(codes))
	t.must(int4.UnpackInt4(&back, packed, len(codes)))
	t.equal("codes", back, codes)

	every := make([]uint8, 256)
	for i := range every {
		every[i] = uint8(i)
	}
	t.must(int4.UnpackInt4(&back, every, 512))
	t.must(int4.PackInt4(&packed, back))
	t.equal("every byte ", packed, every)
}

func awqInt4Foreign(t *trial) {
	codes := drawInt4(t)
	int4 := open(t, t.impl.AWQv2, spec.DefaultAWQv2Config()).(spec.AWQInt4)
	var packed, back []uint8
	for foreign := 16; foreign < 256; foreign++ {
		t.refused(fmt.Sprintf("code %d", foreign), int4.PackInt4(&packed, append(slices.Clone(codes), uint8(foreign))))
		t.refused(fmt.Sprintf("a filled last byte %#02x", foreign), int4.UnpackInt4(&back, []uint8{0x21, uint8(foreign)}, 3))
	}
	n := len(codes)
	t.refused("a byte too many", int4.UnpackInt4(&back, append(packInt4(codes), 0), n))
	t.refused("a byte too few", int4.UnpackInt4(&back, packInt4(codes)[1:], n))
}

func awqSearchSquish6(t *trial) {
	c := drawAWQConfig(t, spec.Squish6)
	weights := drawAWQWeights(t, anyStyles)
	activations := drawAWQActivations(t, weights.Cols, anyStyles)
	s := awqCalibrated(t, c, weights, activations)
	for i := range s.Scales {
		rightAWQStep(t, c, weights, activations, s, i)
	}
}

func awqCodesSquish6(t *trial) {
	c := drawAWQConfig(t, spec.Squish6)
	weights := drawAWQWeights(t, anyStyles)
	scales, shifts := drawAWQScales(t, weights), numbers(t, weights.Cols, moderateStyles, "shifts")
	var w spec.AWQWeights
	t.must(open(t, t.impl.AWQv2, c).Quantize(&w, weights, scales, shifts))
	wellFormedAWQWeights(t, c, weights, w)
	for i, code := range w.Codes {
		rightAWQStepCode(t, c, weights, scales, shifts, code, i)
	}
}

// awqCalibration is what the rows come to.
type awqCalibration struct {
	config               spec.AWQv2Config
	weights, activations spec.Matrix
	scales               spec.AWQScales
	quantized            spec.AWQWeights
}

// awqSamples is the number of samples that a row calibrates on: the page names none.
const awqSamples = 128

// newAWQCalibration has Gaussian weights, and activations a few of whose channels see
// twenty times as much as the others. Squish 6.0.0 takes their means.
func newAWQCalibration(name spec.WorkloadName, w spec.Workload) *awqCalibration {
	c := spec.DefaultAWQv2Config()
	c.Variant = rowVariant(awqV2, name)
	c.NBits, c.NSearchSteps = w.Int("n_bits", c.NBits), w.Int("n_search_steps", c.NSearchSteps)
	rows, cols := w.Int("rows", 128), w.Int("cols", 256)
	weights := gaussian(rows*cols, 24)
	for i := range weights {
		weights[i] *= 0.02
	}
	activations := spec.Matrix{Rows: awqSamples, Cols: cols, Data: gaussian(awqSamples*cols, 25)}
	for i := range activations.Data {
		if i%cols%50 == 0 {
			activations.Data[i] *= 20
		}
	}
	if c.Variant == spec.Squish6 {
		means := spec.Matrix{Rows: 1, Cols: cols}
		for _, a := range awqMeans(activations) {
			means.Data = append(means.Data, float32(a))
		}
		activations = means
	}
	return &awqCalibration{config: c, weights: spec.Matrix{Rows: rows, Cols: cols, Data: weights}, activations: activations}
}

func awqCalibrateRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	out := newAWQCalibration(name, w)
	q, err := impl.AWQv2(out.config)
	return timing{
		calls:  1,
		call:   func(int) error { return q.Calibrate(&out.scales, out.weights, out.activations) },
		result: func() (any, error) { return out, nil },
		note: func() string {
			if out.config.Variant == spec.Squish6 {
				return ""
			}
			search := awqSearch{config: out.config, weights: out.weights, activations: out.activations}
			plain := search.error(slices.Repeat([]float32{1}, out.weights.Cols))
			return fmt.Sprintf("%d samples, %.2f of round-to-nearest's output error", out.activations.Rows, search.error(out.scales.Scales).r/plain.r)
		},
	}, err
}

func awqQuantizeRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	out := newAWQCalibration(name, w)
	for c, a := range awqMeans(out.activations) {
		if out.config.Variant == spec.Squish6 {
			out.scales.Scales = append(out.scales.Scales, float32(0.01*a))
			out.scales.Shifts = append(out.scales.Shifts, float32(c%16))
		} else {
			out.scales.Scales = append(out.scales.Scales, float32(math.Sqrt(a)))
		}
	}
	q, err := impl.AWQv2(out.config)
	return timing{
		calls:  1,
		call:   func(int) error { return q.Quantize(&out.quantized, out.weights, out.scales.Scales, out.scales.Shifts) },
		result: func() (any, error) { return out, nil },
	}, err
}
