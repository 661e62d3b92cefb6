package conformance

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"sort"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var zeroQuantV2 = spec.ModuleByName("zero-quant-v2")

var zeroQuantV2Module = &module{
	spec: zeroQuantV2,
	laws: map[string]func(*trial){
		"outliers":        zeroQuantOutliers,
		"scale":           zeroQuantScale,
		"codes":           zeroQuantCodes,
		"half-even":       zeroQuantHalfEven,
		"half-step":       zeroQuantHalfStep,
		"groups":          zeroQuantGroups,
		"power-of-two":    zeroQuantPowerOfTwo,
		"nested":          zeroQuantNested,
		"zero-groups":     zeroQuantZeroGroups,
		"dequantize":      zeroQuantDequantize,
		"lorc":            zeroQuantLorc,
		"lorc-factors":    zeroQuantLorcFactors,
		"lorc-monotone":   zeroQuantLorcMonotone,
		"stats":           zeroQuantStats,
		"stored-codes":    zeroQuantStoredCodes,
		"stored-residual": zeroQuantStoredResidual,
		"stored-bytes":    zeroQuantStoredBytes,
		"stored-foreign":  zeroQuantStoredForeign,
	},
	program: zeroQuantProgram,
	badConfigs: map[string]any{
		"n_bits 3":               spec.ZeroQuantV2Config{NBits: 3, GroupSize: 8, OutlierThreshold: 0.95},
		"n_bits 0":               spec.ZeroQuantV2Config{NBits: 0, GroupSize: 8, OutlierThreshold: 0.95},
		"n_bits 16":              spec.ZeroQuantV2Config{NBits: 16, GroupSize: 8, OutlierThreshold: 0.95},
		"group_size 7":           spec.ZeroQuantV2Config{NBits: 8, GroupSize: 7, OutlierThreshold: 0.95},
		"group_size −8":          spec.ZeroQuantV2Config{NBits: 8, GroupSize: -8, OutlierThreshold: 0.95},
		"outlier_threshold 0":    spec.ZeroQuantV2Config{NBits: 8, GroupSize: 8, OutlierThreshold: 0},
		"outlier_threshold 1":    spec.ZeroQuantV2Config{NBits: 8, GroupSize: 8, OutlierThreshold: 1},
		"outlier_threshold −0.5": spec.ZeroQuantV2Config{NBits: 8, GroupSize: 8, OutlierThreshold: -0.5},
		"outlier_threshold NaN":  spec.ZeroQuantV2Config{NBits: 8, GroupSize: 8, OutlierThreshold: math.NaN()},
		"outlier_threshold +Inf": spec.ZeroQuantV2Config{NBits: 8, GroupSize: 8, OutlierThreshold: math.Inf(1)},
		"lorc_rank −1":           spec.ZeroQuantV2Config{NBits: 8, GroupSize: 8, OutlierThreshold: 0.95, LorcRank: -1},
	},
	badSteps: zeroQuantBadSteps,
	equal: map[string]comparison{
		"quantize":   sameZeroQuant,
		"dequantize": sameZeroQuantWeights,
	},
	rows: []row{
		{"zero-quant-v2/quantize", zeroQuantizeRow, func(t *trial, got, want any) {
			g, w := got.(*zeroQuantizedRow), want.(*zeroQuantizedRow)
			sameZeroQuant(t, g.config, []any{g.weights}, &g.quantized, &w.quantized)
		}},
		{"zero-quant-v2/dequantize", zeroDequantizeRow, func(t *trial, got, want any) {
			g, w := got.(*zeroDequantizedRow), want.(*zeroDequantizedRow)
			sameZeroQuantWeights(t, g.config, g.args(), &g.weights, &w.weights)
		}},
		{"zero-quant-v2/outlier-rate", zeroOutlierRateRow, func(t *trial, got, want any) {
			t.within("outlier rate", *got.(*float64), *want.(*float64), 0x1p-50)
		}},
	},
}

func drawZeroQuantConfig(t *trial) spec.ZeroQuantV2Config {
	return spec.ZeroQuantV2Config{
		NBits:            rapid.SampledFrom([]int{8, 4}).Draw(t.T, "n_bits"),
		GroupSize:        rapid.SampledFrom([]int{8, 9, 13}).Draw(t.T, "group_size"),
		OutlierThreshold: rapid.SampledFrom([]float64{0.95, 0.5, 0.3, 0.7, 0.999}).Draw(t.T, "outlier_threshold"),
	}
}

// drawZeroQuantRank draws a lorc_rank, now and then beyond what the weights have.
func drawZeroQuantRank(t *trial) int {
	return rapid.SampledFrom([]int{1, 2, 3, 40, math.MaxInt}).Draw(t.T, "lorc_rank")
}

// drawZeroQuantWeights draws weights, each group in a style of its own.
func drawZeroQuantWeights(t *trial, c spec.ZeroQuantV2Config, styles []style) spec.Matrix {
	rows, perRow := size(t, 1, 3, "rows"), size(t, 1, 2, "groups of a row")
	weights := spec.Matrix{Rows: rows, Cols: perRow * c.GroupSize}
	for range rows * perRow {
		weights.Data = append(weights.Data, numbers(t, c.GroupSize, styles, "weights")...)
	}
	return weights
}

func drawZeroQuantCodes(t *trial, c spec.ZeroQuantV2Config, n int) []int8 {
	q := int8(c.QMax())
	return rapid.SliceOfN(rapid.Int8Range(-q, q), n, n).Draw(t.T, "quantized")
}

// drawZeroQuantResidual draws a sparse matrix whose elements reach all of binary16,
// its ties, and what is beyond.
func drawZeroQuantResidual(t *trial, rows, cols int) spec.Matrix {
	residual := spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	r := source(t, "residual")
	scale := math.Ldexp(1, rapid.SampledFrom([]int{0, -12, -24, -60, 12, 100}).Draw(t.T, "exponent"))
	for i := range residual.Data {
		h := r.IntN(len(binary16) - 1)
		switch r.IntN(5) {
		case 0:
			residual.Data[i] = float32(r.NormFloat64() * scale)
		case 1:
			residual.Data[i] = float32(binary16[h])
		case 2: // a tie
			residual.Data[i] = -float32(binary16[h]+binary16[h+1]) / 2
		}
	}
	return residual
}

func zeroQuantProgram(t *trial, _ spec.Variant) program {
	c := drawZeroQuantConfig(t)
	if rapid.IntRange(0, 2).Draw(t.T, "compensated") == 0 {
		c.LorcRank = drawZeroQuantRank(t)
	}
	p := program{config: c}
	for range size(t, 1, 2, "rounds") {
		f := drawZeroQuantFactors(t, c)
		n := len(f.residual.Data)
		residual := drawZeroQuantResidual(t, f.residual.Rows, f.residual.Cols)
		var codes []uint8
		for _, b := range f.codes {
			codes = append(codes, uint8(b))
		}
		if c.NBits == 4 {
			codes = packNibbles(f.codes)
		}
		p.steps = append(p.steps,
			call(zeroQuantV2, "quantize", drawZeroQuantWeights(t, c, anyStyles)),
			call(zeroQuantV2, "dequantize", f.codes, f.scales, f.residual, f.lorcU, f.lorcV),
			call(zeroQuantV2, "store", f.codes, residual),
			call(zeroQuantV2, "restore", codes, []int32{0, int32(n - 1)}, []spec.Float16{0x3c00, 0x8001}, f.residual.Rows, f.residual.Cols),
			call(zeroQuantV2, "stored_bytes", size(t, 1, 300, "rows"), c.GroupSize*size(t, 1, 300, "groups"), size(t, 0, 8, "outliers")))
	}
	return p
}

// zeroQuantFactors are arguments of dequantize.
type zeroQuantFactors struct {
	codes                          []int8
	scales, residual, lorcU, lorcV spec.Matrix
}

func drawZeroQuantFactors(t *trial, c spec.ZeroQuantV2Config) zeroQuantFactors {
	rows, perRow := size(t, 1, 3, "rows"), size(t, 1, 2, "groups of a row")
	cols := perRow * c.GroupSize
	f := zeroQuantFactors{
		codes:    drawZeroQuantCodes(t, c, rows*cols),
		scales:   matrix(t, rows, perRow, anyStyles, "scales"),
		residual: matrix(t, rows, cols, anyStyles, "residual"),
	}
	if k := size(t, 0, 3, "k"); k > 0 {
		f.lorcU, f.lorcV = matrix(t, rows, k, anyStyles, "lorc_u"), matrix(t, k, cols, anyStyles, "lorc_v")
	}
	return f
}

func zeroQuantBadSteps(t *trial, config any) []badStep {
	c := config.(spec.ZeroQuantV2Config)
	size, q := c.GroupSize, c.QMax()
	filled := func(rows, cols int, x float32) spec.Matrix {
		return spec.Matrix{Rows: rows, Cols: cols, Data: slices.Repeat([]float32{x}, max(0, rows*cols))}
	}
	spoiled := func(m spec.Matrix, x float32) spec.Matrix {
		m = cloneAs(m)
		m.Data[rapid.IntRange(0, len(m.Data)-1).Draw(t.T, "at")] = x
		return m
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	good := filled(2, size, 1)
	short := spec.Matrix{Rows: 2, Cols: size, Data: good.Data[1:]}
	negative := spec.Matrix{Rows: -2, Cols: -size, Data: good.Data}
	var list []badStep
	bad := func(what, operation string, args ...any) {
		list = append(list, badStep{what, call(zeroQuantV2, operation, args...), spec.Invalid})
	}
	for _, w := range []struct {
		what string
		x    spec.Matrix
	}{
		{"nothing", spec.Matrix{}},
		{"no rows", spec.Matrix{Cols: size}},
		{"no columns", spec.Matrix{Rows: 2}},
		{"a column more than a group", filled(2, size+1, 1)},
		{"a column less than a group", filled(2, size-1, 1)},
		{"less data than shape", short},
		{"a negative shape", negative},
		{"countless rows", spec.Matrix{Rows: math.MaxInt, Cols: size, Data: good.Data}},
		{"a NaN", spoiled(good, nan)},
		{"+Inf", spoiled(good, inf)},
		{"−Inf", spoiled(good, -inf)},
	} {
		bad(w.what, "quantize", w.x)
	}

	codes, scales := make([]int8, 2*size), filled(2, 1, 1)
	u, v, none := filled(2, 3, 1), filled(3, size, 1), spec.Matrix{}
	foreign := func(code int) []int8 {
		spoiled := slices.Clone(codes)
		spoiled[len(spoiled)-1] = int8(code)
		return spoiled
	}
	for _, w := range []struct {
		what                           string
		codes                          []int8
		scales, residual, lorcU, lorcV spec.Matrix
	}{
		{"nothing", nil, none, none, none, none},
		{"a code too few", codes[1:], scales, good, none, none},
		{"a code too many", append(slices.Clone(codes), 0), scales, good, none, none},
		{"a code below −q_max", foreign(-q - 1), scales, good, none, none},
		{"a scale too many", codes, filled(2, 2, 1), good, none, none},
		{"no scales", codes, none, good, none, none},
		{"a residual of one row", codes, scales, filled(1, size, 1), none, none},
		{"a residual with less data than its shape", codes, scales, short, none, none},
		{"a residual that is no multiple of a group", make([]int8, 2*size+2), scales, filled(2, size+1, 0), none, none},
		{"lorc_u only", codes, scales, good, u, none},
		{"lorc_v only", codes, scales, good, none, v},
		{"lorc_u with a row more", codes, scales, good, filled(3, 3, 1), v},
		{"lorc_v with a row more", codes, scales, good, u, filled(4, size, 1)},
		{"lorc_v with a column more", codes, scales, good, u, filled(3, size+1, 1)},
		{"factors of rank 0", codes, scales, good, spec.Matrix{Rows: 2}, spec.Matrix{Cols: size}},
		{"a NaN in scales", codes, spoiled(scales, nan), good, none, none},
		{"+Inf in scales", codes, spoiled(scales, inf), good, none, none},
		{"a NaN in residual", codes, scales, spoiled(good, nan), none, none},
		{"−Inf in residual", codes, scales, spoiled(good, -inf), none, none},
		{"a NaN in lorc_u", codes, scales, good, spoiled(u, nan), v},
		{"+Inf in lorc_v", codes, scales, good, u, spoiled(v, inf)},
	} {
		bad(w.what, "dequantize", w.codes, w.scales, w.residual, w.lorcU, w.lorcV)
	}
	if c.NBits == 4 {
		bad("a code above q_max", "dequantize", foreign(q+1), scales, good, none, none)
		bad("a code above q_max", "store", foreign(q+1), good)
	}

	bad("nothing", "store", []int8(nil), none)
	bad("a code too few", "store", codes[1:], good)
	bad("a code below −q_max", "store", foreign(-q-1), good)
	bad("less data than shape", "store", codes, short)
	bad("a negative shape", "store", codes, negative)
	bad("a NaN", "store", codes, spoiled(good, nan))
	bad("+Inf", "store", codes, spoiled(good, inf))

	packed, one := make([]uint8, c.CodeBytes(2*size)), []spec.Float16{0x3c00}
	n := int32(2 * size)
	restore := func(what string, codes []uint8, indices []int32, values []spec.Float16, rows, cols int) {
		bad(what, "restore", codes, indices, values, rows, cols)
	}
	restore("a byte too few", packed[1:], []int32{0}, one, 2, size)
	restore("a byte too many", append(slices.Clone(packed), 0), []int32{0}, one, 2, size)
	restore("a value too many", packed, nil, one, 2, size)
	restore("a value too few", packed, []int32{0}, nil, 2, size)
	restore("index −1", packed, []int32{-1}, one, 2, size)
	restore("an index behind the end", packed, []int32{n}, one, 2, size)
	restore("an index twice", packed, []int32{1, 1}, []spec.Float16{0x3c00, 0x3c00}, 2, size)
	restore("indices that descend", packed, []int32{1, 0}, []spec.Float16{0x3c00, 0x3c00}, 2, size)
	restore("value 0", packed, []int32{0}, []spec.Float16{0}, 2, size)
	restore("value −0", packed, []int32{0}, []spec.Float16{0x8000}, 2, size)
	restore("value +Inf", packed, []int32{0}, []spec.Float16{0x7c00}, 2, size)
	restore("a NaN", packed, []int32{0}, []spec.Float16{0xfe00}, 2, size)
	restore("no rows", nil, nil, nil, 0, size)
	restore("no columns", nil, nil, nil, 2, 0)
	restore("a negative shape", packed, nil, nil, -2, -size)
	restore("a shape whose size overflows", nil, nil, nil, math.MaxInt, math.MaxInt)
	restore("more elements than indices", packed, nil, nil, 1<<20, 1<<20)

	sized := func(what string, rows, cols, outliers int) { bad(what, "stored_bytes", rows, cols, outliers) }
	sized("rows 0", 0, size, 0)
	sized("rows −1", -1, size, 0)
	sized("cols 0", 1, 0, 0)
	sized("cols that are no multiple of a group", 1, size+1, 0)
	sized("outliers −1", 1, size, -1)
	sized("more outliers than elements", 2, size, 2*size+1)
	sized("more elements than indices", math.MaxInt, size, 0)
	return list
}

// zeroQuantized quantises with a new instance.
func zeroQuantized(t *trial, c spec.ZeroQuantV2Config, weights spec.Matrix) spec.ZeroQuantWeights {
	t.Helper()
	var w spec.ZeroQuantWeights
	t.must(open(t, t.impl.ZeroQuantV2, c).Quantize(&w, weights))
	wellFormedZeroQuant(t, c, weights, w)
	return w
}

func wellFormedZeroQuant(t *trial, c spec.ZeroQuantV2Config, weights spec.Matrix, w spec.ZeroQuantWeights) {
	t.Helper()
	rows, cols := weights.Rows, weights.Cols
	k := min(c.LorcRank, rows, cols)
	uRows, vCols := rows, cols
	if k == 0 {
		uRows, vCols = 0, 0
	}
	t.equal("number of codes ", len(w.Codes), rows*cols)
	for _, part := range []struct {
		name       string
		m          spec.Matrix
		rows, cols int
	}{
		{"scales", w.Scales, rows, cols / c.GroupSize}, {"residual", w.Residual, rows, cols},
		{"lorc_u", w.LorcU, uRows, k}, {"lorc_v", w.LorcV, k, vCols},
	} {
		t.holds(spec.CheckMatrix("", "", part.m, part.rows, part.cols) == nil, "%s: got shape (%d, %d) with %d elements, want (%d, %d)",
			part.name, part.m.Rows, part.m.Cols, len(part.m.Data), part.rows, part.cols)
		t.holds(spec.CheckFinite("", "", part.m.Data) == nil, "%s: got a number that is not finite", part.name)
	}
}

// A zeroGroup is one group of quantised weights.
type zeroGroup struct {
	index             int
	weights, residual []float32
	codes             []int8
	scale             float32
	threshold         float64 // above it are outliers
}

func zeroGroups(c spec.ZeroQuantV2Config, weights spec.Matrix, w spec.ZeroQuantWeights) []zeroGroup {
	var list []zeroGroup
	for i, scale := range w.Scales.Data {
		from, to := i*c.GroupSize, (i+1)*c.GroupSize
		g := zeroGroup{index: i, weights: weights.Data[from:to], residual: w.Residual.Data[from:to], codes: w.Codes[from:to], scale: scale}
		g.threshold = c.OutlierThreshold * floats.Norm(widened(g.weights), math.Inf(1))
		list = append(list, g)
	}
	return list
}

// near reports whether a weight is so near the threshold that a product of lower
// precision may decide otherwise.
func (g *zeroGroup) near(u float64, w float32) bool {
	return math.Abs(math.Abs(float64(w))-g.threshold) <= max(0x1p-20, 8*u)*g.threshold
}

// outliers asserts that the right weights are kept aside.
func (g *zeroGroup) outliers(t *trial) {
	t.Helper()
	for i, w := range g.weights {
		aside := math.Float32bits(g.residual[i]) != 0
		if w != 0 && !g.near(t.u, w) {
			t.holds(aside == (math.Abs(float64(w)) > g.threshold), "group %d, weight %v: got residual %v at threshold %v", g.index, w, g.residual[i], g.threshold)
		}
		if aside {
			t.sameBits(fmt.Sprintf("group %d, residual[%d]", g.index, i), g.residual[i], w)
			t.holds(g.codes[i] == 0, "group %d, outlier %v: got code %d, want 0", g.index, w, g.codes[i])
		}
	}
}

// rest is the largest magnitude among the weights that were not kept aside.
func (g *zeroGroup) rest() float64 {
	m := 0.0
	for i, w := range g.weights {
		if g.residual[i] == 0 {
			m = max(m, math.Abs(float64(w)))
		}
	}
	return m
}

// rightScale asserts that the scale is that of the rest.
func (g *zeroGroup) rightScale(t *trial, c spec.ZeroQuantV2Config) {
	t.Helper()
	q, m := float64(c.QMax()), g.rest()
	want := m / q
	if m == 0 || want < spacing(t.u) && g.scale > 1/(2*float32(q)) {
		want = 1 / q
	}
	t.within(fmt.Sprintf("scale of group %d", g.index), float64(g.scale), want, 2*t.u*want+spacing(t.u))
}

// rightCode asserts that a code is the nearest one.
func (g *zeroGroup) rightCode(t *trial, c spec.ZeroQuantV2Config, i int) {
	t.Helper()
	q, m := float64(c.QMax()), g.rest()
	code := float64(g.codes[i])
	t.holds(math.Abs(code) <= q, "group %d, codes[%d]: got %v, beyond ±%v", g.index, i, code, q)
	if g.residual[i] != 0 || m/q < spacing(t.u) {
		return
	}
	x := float64(g.weights[i]) * q / m
	t.holds(math.Abs(code-x) <= 0.5+max(0x1p-20, 8*t.u)*math.Abs(x), "group %d, weight %v of %v: got code %v, want %v rounded", g.index, g.weights[i], m, code, x)
}

// loss is weights − code × scale − residual.
func zeroQuantLoss(c spec.ZeroQuantV2Config, weights spec.Matrix, w spec.ZeroQuantWeights) *mat.Dense {
	e := mat.NewDense(weights.Rows, weights.Cols, nil)
	for i, x := range weights.Data {
		product := float64(w.Codes[i]) * float64(w.Scales.Data[i/c.GroupSize])
		e.Set(i/weights.Cols, i%weights.Cols, float64(x)-product-float64(w.Residual.Data[i]))
	}
	return e
}

// compensated is what lorc_u·lorc_v leaves of the loss.
func compensated(e *mat.Dense, w spec.ZeroQuantWeights) float64 {
	if w.LorcU.Cols == 0 {
		return mat.Norm(e, 2)
	}
	var product mat.Dense
	product.Mul(dense(w.LorcU), dense(w.LorcV))
	return frobeniusDistance(e, &product)
}

// lorcBudget is how far from the optimum a compensation may be for its rounding.
func lorcBudget(u float64, weights spec.Matrix, e *mat.Dense) float64 {
	return 16*u*mat.Norm(e, 2) + lossBudget(u, weights)
}

// lossBudget is the rounding of a loss that is computed in working precision.
func lossBudget(u float64, weights spec.Matrix) float64 {
	return 2*u*floats.Norm(widened(weights.Data), 2) + math.Sqrt(float64(len(weights.Data)))*spacing(u)
}

// isCompensated asserts that no product of that rank is nearer to the loss.
func isCompensated(t *trial, c spec.ZeroQuantV2Config, weights spec.Matrix, w spec.ZeroQuantWeights) {
	t.Helper()
	e := zeroQuantLoss(c, weights, w)
	optimum := floats.Norm(singularValues(e)[w.LorcU.Cols:], 2)
	t.within("compensated error", max(compensated(e, w), optimum), optimum, 1e-4*optimum+lorcBudget(t.u, weights, e))
}

// sameZeroQuant compares quantised weights. A group in which other weights were
// kept aside, all of them near the threshold, is held to its own choice, and so are
// codes that differ; the low-rank factors are held to the error of their own codes.
func sameZeroQuant(t *trial, config any, args []any, got, want any) {
	t.Helper()
	c, weights := config.(spec.ZeroQuantV2Config), args[0].(spec.Matrix)
	g, w := *got.(*spec.ZeroQuantWeights), *want.(*spec.ZeroQuantWeights)
	wellFormedZeroQuant(t, c, weights, g)
	wanted := zeroGroups(c, weights, w)
	for i, group := range zeroGroups(c, weights, g) {
		group.outliers(t)
		group.rightScale(t, c)
		if slices.Equal(group.residual, wanted[i].residual) && group.rest()/float64(c.QMax()) >= spacing(t.u) {
			scale := float64(wanted[i].scale)
			t.within(fmt.Sprintf("scale of group %d", i), float64(group.scale), scale, 2*t.u*scale+spacing(t.u))
		}
		for j, code := range group.codes {
			if code != wanted[i].codes[j] {
				group.rightCode(t, c, j)
			}
		}
	}
	if g.LorcU.Cols > 0 && len(weights.Data) <= jacobiElements {
		isCompensated(t, c, weights, g)
	}
}

// jacobiElements is the size up to which singular values are found in no time.
const jacobiElements = 1 << 12

// sameZeroQuantWeights compares dequantised weights.
func sameZeroQuantWeights(t *trial, config any, args []any, got, want any) {
	t.Helper()
	c := config.(spec.ZeroQuantV2Config)
	f := zeroQuantFactors{args[0].([]int8), args[1].(spec.Matrix), args[2].(spec.Matrix), args[3].(spec.Matrix), args[4].(spec.Matrix)}
	w := want.(*spec.Matrix)
	f.same(t, c, *got.(*spec.Matrix), func(i int) float64 { return float64(w.Data[i]) })
}

// same asserts that weights were dequantised to what they should be.
func (f *zeroQuantFactors) same(t *trial, c spec.ZeroQuantV2Config, got spec.Matrix, want func(i int) float64) {
	t.Helper()
	rows, cols, k := f.residual.Rows, f.residual.Cols, f.lorcU.Cols
	t.holds(spec.CheckMatrix("", "", got, rows, cols) == nil, "got (%d, %d) with %d elements, want (%d, %d)", got.Rows, got.Cols, len(got.Data), rows, cols)
	for i, x := range got.Data {
		magnitude := math.Abs(float64(f.codes[i])*float64(f.scales.Data[i/c.GroupSize])) + math.Abs(float64(f.residual.Data[i]))
		for j := range k {
			magnitude += math.Abs(float64(f.lorcU.Row(i / cols)[j]) * float64(f.lorcV.Row(j)[i%cols]))
		}
		t.holds(math.Abs(float64(x)) <= math.MaxFloat32, "weights[%d]: got %v, which is not finite", i, x)
		t.within(fmt.Sprintf("weights[%d]", i), float64(x), want(i), float64(k+3)*t.u*magnitude+float64(k+1)*spacing(t.u))
	}
}

// exact is element i in 400-bit floats, clamped to what float32 can hold.
func (f *zeroQuantFactors) exact(c spec.ZeroQuantV2Config, i int) float64 {
	product := func(a, b float32) *big.Float {
		p := new(big.Float).SetPrec(400).SetFloat64(float64(a))
		return p.Mul(p, big.NewFloat(float64(b)))
	}
	sum := product(float32(f.codes[i]), f.scales.Data[i/c.GroupSize])
	sum.Add(sum, big.NewFloat(float64(f.residual.Data[i])))
	for j := range f.lorcU.Cols {
		sum.Add(sum, product(f.lorcU.Row(i / f.residual.Cols)[j], f.lorcV.Row(j)[i%f.residual.Cols]))
	}
	x, _ := sum.Float64()
	return max(-math.MaxFloat32, min(math.MaxFloat32, x))
}

func zeroQuantOutliers(t *trial) {
	c := drawZeroQuantConfig(t)
	weights := drawZeroQuantWeights(t, c, anyStyles)
	for _, g := range zeroGroups(c, weights, zeroQuantized(t, c, weights)) {
		g.outliers(t)
	}
}

func zeroQuantScale(t *trial) {
	c := drawZeroQuantConfig(t)
	weights := drawZeroQuantWeights(t, c, anyStyles)
	for _, g := range zeroGroups(c, weights, zeroQuantized(t, c, weights)) {
		g.rightScale(t, c)
	}
}

func zeroQuantCodes(t *trial) {
	c := drawZeroQuantConfig(t)
	weights := drawZeroQuantWeights(t, c, anyStyles)
	for _, g := range zeroGroups(c, weights, zeroQuantized(t, c, weights)) {
		for i := range g.codes {
			g.rightCode(t, c, i)
		}
	}
}

// zeroQuantHalfEven draws groups whose step is a power of two, and weights halfway
// between codes. Beside them stands an outlier, and the largest of the rest.
func zeroQuantHalfEven(t *trial) {
	c := drawZeroQuantConfig(t)
	q := c.QMax()
	var ties []float32
	for k := range q {
		// However a code is computed, w/s, w·(1/s), w·q/m or w/m·q, these are exact.
		if tie := float32(k) + 0.5; tie/float32(q)*float32(q) == tie {
			ties = append(ties, tie)
		}
	}
	step := float32(math.Ldexp(1, rapid.IntRange(-20, 20).Draw(t.T, "exponent")))
	weights := spec.Matrix{Rows: 1, Cols: c.GroupSize, Data: []float32{4 * float32(q) * step, float32(q) * step}}
	want := []int8{0, int8(q)}
	for len(weights.Data) < c.GroupSize {
		tie := rapid.SampledFrom(ties).Draw(t.T, "tie")
		code := int8(math.Floor(float64(tie)))
		code += code & 1
		if rapid.Bool().Draw(t.T, "minus") {
			tie, code = -tie, -code
		}
		weights.Data, want = append(weights.Data, tie*step), append(want, code)
	}
	got := zeroQuantized(t, c, weights)
	if t.u <= 0x1p-24 {
		t.equal("codes", got.Codes, want)
	}
}

func zeroQuantHalfStep(t *trial) {
	c := drawZeroQuantConfig(t)
	weights := drawZeroQuantWeights(t, c, anyStyles)
	module := open(t, t.impl.ZeroQuantV2, c)
	var w spec.ZeroQuantWeights
	var back spec.Matrix
	t.must(module.Quantize(&w, weights))
	wellFormedZeroQuant(t, c, weights, w)
	t.must(module.Dequantize(&back, w.Codes, w.Scales, w.Residual, w.LorcU, w.LorcV))
	t.equal("number of weights ", len(back.Data), len(weights.Data))
	q := float64(c.QMax())
	for _, g := range zeroGroups(c, weights, w) {
		step := g.rest() / q
		bound := (0.5+max(0x1p-20, 8*t.u)*q)*step + q*spacing(t.u)
		for i, x := range g.weights {
			got := back.Data[g.index*c.GroupSize+i]
			if g.residual[i] != 0 {
				t.equal("an outlier ", got, x)
			} else {
				t.holds(math.Abs(float64(got)-float64(x)) <= bound, "group %d, weight %v: got %v, further than %v", g.index, x, got, bound)
			}
		}
	}
}

func zeroQuantGroups(t *trial) {
	c := drawZeroQuantConfig(t)
	weights := drawZeroQuantWeights(t, c, anyStyles)
	plain := zeroGroups(c, weights, zeroQuantized(t, c, weights))
	order := source(t, "order").Perm(len(plain))
	permuted := cloneAs(weights)
	for to, from := range order {
		copy(permuted.Data[to*c.GroupSize:], plain[from].weights)
	}
	for to, g := range zeroGroups(c, permuted, zeroQuantized(t, c, permuted)) {
		from := plain[order[to]]
		what := fmt.Sprintf("group %d, at %d: ", from.index, to)
		t.sameBits(what+"codes", g.codes, from.codes)
		t.sameBits(what+"scale", g.scale, from.scale)
		t.sameBits(what+"residual", g.residual, from.residual)
	}
}

func zeroQuantPowerOfTwo(t *trial) {
	c := drawZeroQuantConfig(t)
	weights := drawZeroQuantWeights(t, c, moderateStyles)
	k := rapid.IntRange(-40, 40).Draw(t.T, "k")
	sign := rapid.SampledFrom([]int8{1, -1}).Draw(t.T, "sign")
	times := func(x float32) float32 { return float32(sign) * float32(math.Ldexp(float64(x), k)) }
	scaled := cloneAs(weights)
	for i, w := range weights.Data {
		scaled.Data[i] = times(w)
		if math.Ldexp(float64(scaled.Data[i]), -k) != float64(sign)*float64(w) {
			t.Skip("the scaled weight is subnormal")
		}
	}
	plain := zeroGroups(c, weights, zeroQuantized(t, c, weights))
	for i, g := range zeroGroups(c, scaled, zeroQuantized(t, c, scaled)) {
		p := plain[i]
		const normal = 0x1p-126
		if m := p.rest(); m > 0 {
			if s := m / float64(c.QMax()); s < normal || math.Ldexp(s, k) < normal {
				t.Skip("the scale is subnormal")
			}
			t.equal(fmt.Sprintf("scale of group %d ", i), g.scale, float32(math.Ldexp(float64(p.scale), k)))
		}
		for j := range g.codes {
			t.equal(fmt.Sprintf("group %d, codes[%d] ", i, j), g.codes[j], sign*p.codes[j])
			t.equal(fmt.Sprintf("group %d, residual[%d] ", i, j), g.residual[j], times(p.residual[j]))
		}
	}
}

func zeroQuantNested(t *trial) {
	low := drawZeroQuantConfig(t)
	high := low
	high.OutlierThreshold += (1 - low.OutlierThreshold) * rapid.Float64Range(0, 0.99).Draw(t.T, "share of the way to 1")
	weights := drawZeroQuantWeights(t, low, anyStyles)
	many, few := zeroQuantized(t, low, weights), zeroQuantized(t, high, weights)
	for i, w := range weights.Data {
		t.holds(few.Residual.Data[i] == 0 || many.Residual.Data[i] != 0, "weight %v: an outlier at threshold %v but not at %v", w, high.OutlierThreshold, low.OutlierThreshold)
	}
}

func zeroQuantZeroGroups(t *trial) {
	c := drawZeroQuantConfig(t)
	weights := drawZeroQuantWeights(t, c, anyStyles)
	groups := len(weights.Data) / c.GroupSize
	at := rapid.IntRange(0, groups-1).Draw(t.T, "group of zeros") * c.GroupSize
	signs := source(t, "signs")
	for i := range c.GroupSize {
		weights.Data[at+i] = float32(math.Copysign(0, signs.NormFloat64()))
	}
	module := open(t, t.impl.ZeroQuantV2, c)
	var w spec.ZeroQuantWeights
	var back spec.Matrix
	t.must(module.Quantize(&w, weights))
	wellFormedZeroQuant(t, c, weights, w)
	t.must(module.Dequantize(&back, w.Codes, w.Scales, w.Residual, w.LorcU, w.LorcV))
	t.equal("number of weights ", len(back.Data), len(weights.Data))
	want := 1 / float64(c.QMax())
	t.within("scale", float64(w.Scales.Data[at/c.GroupSize]), want, 2*t.u*want)
	t.sameBits("codes", w.Codes[at:at+c.GroupSize], make([]int8, c.GroupSize))
	t.sameBits("residual", w.Residual.Data[at:at+c.GroupSize], make([]float32, c.GroupSize))
	t.sameBits("weights", back.Data[at:at+c.GroupSize], make([]float32, c.GroupSize))
}

func zeroQuantDequantize(t *trial) {
	c := drawZeroQuantConfig(t)
	f := drawZeroQuantFactors(t, c)
	var got spec.Matrix
	t.must(open(t, t.impl.ZeroQuantV2, c).Dequantize(&got, f.codes, f.scales, f.residual, f.lorcU, f.lorcV))
	f.same(t, c, got, func(i int) float64 { return f.exact(c, i) })
}

func drawZeroQuantLorc(t *trial) (spec.ZeroQuantV2Config, spec.Matrix) {
	c := drawZeroQuantConfig(t)
	c.LorcRank = drawZeroQuantRank(t)
	return c, drawZeroQuantWeights(t, c, anyStyles)
}

func zeroQuantLorc(t *trial) {
	c, weights := drawZeroQuantLorc(t)
	isCompensated(t, c, weights, zeroQuantized(t, c, weights))
}

func zeroQuantLorcFactors(t *trial) {
	c, weights := drawZeroQuantLorc(t)
	w := zeroQuantized(t, c, weights)
	σ := singularValues(zeroQuantLoss(c, weights, w))
	u, v := dense(w.LorcU), dense(w.LorcV)
	var uu, vv mat.Dense
	uu.Mul(u.T(), u)
	vv.Mul(v, v.T())
	k := w.LorcU.Cols
	budget := 64*t.u*math.Sqrt(float64(k))*σ[0] + 2*lossBudget(t.u, weights)
	for i := range k {
		for j := range k {
			want := 0.0
			if i == j {
				want = σ[i]
			}
			t.within(fmt.Sprintf("columns %d and %d of lorc_u", i, j), uu.At(i, j), want, budget)
			t.within(fmt.Sprintf("rows %d and %d of lorc_v", i, j), vv.At(i, j), want, budget)
		}
	}
}

func zeroQuantLorcMonotone(t *trial) {
	low, weights := drawZeroQuantLorc(t)
	low.LorcRank = size(t, 0, 3, "lower rank")
	high := low
	high.LorcRank += size(t, 1, 3, "more")
	far, near := zeroQuantized(t, low, weights), zeroQuantized(t, high, weights)
	t.sameBits("codes", near.Codes, far.Codes)
	t.sameBits("scales", near.Scales, far.Scales)
	t.sameBits("residual", near.Residual, far.Residual)
	e := zeroQuantLoss(low, weights, far)
	before, after := compensated(e, far), compensated(e, near)
	t.within("error of the higher rank", max(after, before), before, 1e-4*before+lorcBudget(t.u, weights, e))
}

func zeroQuantStats(t *trial) {
	c := drawZeroQuantConfig(t)
	q := open(t, t.impl.ZeroQuantV2, c)
	var want spec.ZeroQuantV2Stats
	for range size(t, 0, 3, "calls") {
		weights := drawZeroQuantWeights(t, c, anyStyles)
		var w spec.ZeroQuantWeights
		t.must(q.Quantize(&w, weights))
		want.Calls++
		want.Elements += len(weights.Data)
		for _, r := range w.Residual.Data {
			if r != 0 {
				want.Outliers++
			}
		}
		want.OutlierRate = float64(want.Outliers) / float64(want.Elements)
	}
	got := q.Stats()
	t.within("outlier_rate", got.OutlierRate, want.OutlierRate, 0x1p-50)
	got.OutlierRate = want.OutlierRate
	t.equal("stats", got, want)
}

// binary16 is every finite binary16 number that is not negative, at its bits.
var binary16 = func() []float64 {
	var table []float64
	for bits := range 0x7c00 {
		exponent, fraction := bits>>10, float64(bits&1023)
		if exponent == 0 {
			table = append(table, math.Ldexp(fraction, -24))
		} else {
			table = append(table, math.Ldexp(1024+fraction, exponent-25))
		}
	}
	return table
}()

// nearestBinary16 searches the nearest number, of two the one with even bits. What
// is beyond the largest is nearest to that.
func nearestBinary16(x float32) spec.Float16 {
	magnitude := math.Abs(float64(x))
	above := sort.SearchFloat64s(binary16, magnitude)
	nearest := min(above, len(binary16)-1)
	if 0 < above && above < len(binary16) {
		down, up := magnitude-binary16[above-1], binary16[above]-magnitude
		if down < up || down == up && above&1 == 1 {
			nearest = above - 1
		}
	}
	if math.Signbit(float64(x)) {
		nearest |= 1 << 15
	}
	return spec.Float16(nearest)
}

// packNibbles is the format of 4-bit codes by its definition.
func packNibbles(codes []int8) []uint8 {
	packed := make([]uint8, (len(codes)+1)/2)
	for i, code := range codes {
		packed[i/2] += uint8((int(code) + 16) % 16 << (4 * (i % 2)))
	}
	return packed
}

// stores draws what is stored, and stores and restores it.
func (t *trial) stores() (c spec.ZeroQuantV2Config, codes []int8, residual spec.Matrix, stored spec.ZeroQuantStored, restored spec.ZeroQuantRestored) {
	t.Helper()
	c = drawZeroQuantConfig(t)
	rows, cols := size(t, 1, 3, "rows"), size(t, 1, 11, "cols")
	codes, residual = drawZeroQuantCodes(t, c, rows*cols), drawZeroQuantResidual(t, rows, cols)
	storage := open(t, t.impl.ZeroQuantV2, c).(spec.ZeroQuantStorage)
	t.must(storage.Store(&stored, codes, residual))
	t.must(storage.Restore(&restored, stored.Codes, stored.Indices, stored.Values, rows, cols))
	return c, codes, residual, stored, restored
}

func zeroQuantStoredCodes(t *trial) {
	c, codes, _, stored, restored := t.stores()
	want := packNibbles(codes)
	if c.NBits == 8 {
		want = asBytes(codes)
	}
	t.equal("codes", stored.Codes, want)
	t.equal("quantized", restored.Codes, codes)
}

func zeroQuantStoredResidual(t *trial) {
	_, _, residual, stored, restored := t.stores()
	want := spec.Matrix{Rows: residual.Rows, Cols: residual.Cols, Data: make([]float32, len(residual.Data))}
	var indices []int32
	var values []spec.Float16
	for i, x := range residual.Data {
		h := nearestBinary16(x)
		if magnitude := binary16[h&0x7fff]; magnitude != 0 {
			indices, values = append(indices, int32(i)), append(values, h)
			want.Data[i] = float32(math.Copysign(magnitude, float64(x)))
		}
	}
	t.sameBits("indices", stored.Indices, indices)
	t.sameBits("values", stored.Values, values)
	t.sameBits("residual", restored.Residual, want)
}

func zeroQuantStoredBytes(t *trial) {
	c := drawZeroQuantConfig(t)
	c.LorcRank = rapid.SampledFrom([]int{0, 1, 2, 40, math.MaxInt}).Draw(t.T, "lorc_rank")
	weights := drawZeroQuantWeights(t, c, anyStyles)
	w := zeroQuantized(t, c, weights)
	storage := open(t, t.impl.ZeroQuantV2, c).(spec.ZeroQuantStorage)
	var stored spec.ZeroQuantStored
	var size int
	t.must(storage.Store(&stored, w.Codes, w.Residual))
	t.must(storage.StoredBytes(&size, weights.Rows, weights.Cols, len(stored.Indices)))
	t.equal("bytes ", size, len(stored.Codes)+4*len(w.Scales.Data)+4*len(stored.Indices)+2*len(stored.Values)+4*len(w.LorcU.Data)+4*len(w.LorcV.Data))
}

// zeroQuantStoredForeign tries every byte as the last one.
func zeroQuantStoredForeign(t *trial) {
	c := drawZeroQuantConfig(t)
	storage := open(t, t.impl.ZeroQuantV2, c).(spec.ZeroQuantStorage)
	n := size(t, 1, 3, "codes")
	var restored spec.ZeroQuantRestored
	restore := func(codes []uint8, indices []int32, values []spec.Float16) error {
		return storage.Restore(&restored, codes, indices, values, 1, n)
	}
	packed := make([]uint8, c.CodeBytes(n))
	for last := range 256 {
		packed[len(packed)-1] = uint8(last)
		legal := last != 0x80
		if c.NBits == 4 {
			legal = last&15 != 8 && last>>4 != 8 && (n%2 == 0 || last < 16)
		}
		if err := restore(packed, nil, nil); legal {
			t.must(err)
		} else {
			t.refused(fmt.Sprintf("a last byte %#02x of %d codes", last, n), err)
		}
	}
	packed[len(packed)-1] = 0
	for h := range 1 << 6 { // every sign and exponent, the least and a middle fraction
		for _, fraction := range []int{0, 1, 0x200} {
			bits := spec.Float16(h<<10 | fraction)
			err := restore(packed, []int32{int32(n - 1)}, []spec.Float16{bits})
			if h&31 == 31 || bits&0x7fff == 0 {
				t.refused(fmt.Sprintf("value %#04x", uint16(bits)), err)
			} else {
				t.must(err)
			}
		}
	}
	ones := []spec.Float16{0x3c00, 0x3c00}
	t.refused("an index before the start", restore(packed, []int32{-1}, ones[:1]))
	t.refused("an index behind the end", restore(packed, []int32{int32(n)}, ones[:1]))
	t.refused("an index twice", restore(packed, []int32{0, 0}, ones))
	t.refused("a byte too many", restore(append(slices.Clone(packed), 0), nil, nil))
	t.refused("a byte too few", restore(packed[1:], nil, nil))
}

// zeroQuantizedRow is what the row quantize comes to.
type zeroQuantizedRow struct {
	config    spec.ZeroQuantV2Config
	weights   spec.Matrix
	quantized spec.ZeroQuantWeights
}

func newZeroQuantizedRow(w spec.Workload) *zeroQuantizedRow {
	c := spec.DefaultZeroQuantV2Config()
	c.NBits, c.GroupSize = w.Int("n_bits", c.NBits), w.Int("group_size", c.GroupSize)
	c.OutlierThreshold = w.Float("outlier_threshold", c.OutlierThreshold)
	rows, cols := w.Int("rows", 256), w.Int("cols", 256)
	return &zeroQuantizedRow{config: c, weights: spec.Matrix{Rows: rows, Cols: cols, Data: gaussian(rows*cols, 24)}}
}

func zeroQuantizeRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	out := newZeroQuantizedRow(w)
	q, err := impl.ZeroQuantV2(out.config)
	return timing{
		calls:  1,
		call:   func(int) error { return q.Quantize(&out.quantized, out.weights) },
		result: func() (any, error) { return out, nil },
		note: func() string {
			lost := mat.Norm(zeroQuantLoss(out.config, out.weights, out.quantized), 2) / floats.Norm(widened(out.weights.Data), 2)
			return fmt.Sprintf("%.2f%% outliers, relative error %.2g", 100*q.Stats().OutlierRate, lost)
		},
	}, err
}

// zeroDequantizedRow is what the row dequantize comes to.
type zeroDequantizedRow struct {
	config spec.ZeroQuantV2Config
	zeroQuantFactors
	weights spec.Matrix
}

func (r *zeroDequantizedRow) args() []any {
	return []any{r.codes, r.scales, r.residual, r.lorcU, r.lorcV}
}

func zeroDequantizeRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	from := newZeroQuantizedRow(w)
	out := &zeroDequantizedRow{config: from.config}
	rows, cols := from.weights.Rows, from.weights.Cols
	out.residual = spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	perRow := cols / out.config.GroupSize
	out.scales = spec.Matrix{Rows: rows, Cols: perRow, Data: gaussian(rows*perRow, 25)}
	for i, x := range from.weights.Data {
		code := int8(math.RoundToEven(float64(20 * x)))
		if i%100 == 0 {
			code, out.residual.Data[i] = 0, x
		}
		out.codes = append(out.codes, code)
	}
	q, err := impl.ZeroQuantV2(out.config)
	return timing{
		calls: 1,
		call: func(int) error {
			return q.Dequantize(&out.weights, out.codes, out.scales, out.residual, out.lorcU, out.lorcV)
		},
		result: func() (any, error) { return out, nil },
	}, err
}

func zeroOutlierRateRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	out := newZeroQuantizedRow(w)
	q, err := impl.ZeroQuantV2(out.config)
	var percent float64
	return timing{
		calls: 1,
		call:  func(int) error { return q.Quantize(&out.quantized, out.weights) },
		result: func() (any, error) {
			percent = 100 * q.Stats().OutlierRate
			return &percent, nil
		},
	}, err
}
