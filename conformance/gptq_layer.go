package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var gptqLayer = spec.ModuleByName("gptq-layer")

var gptqLayerModule = &module{
	spec: gptqLayer,
	laws: map[string]func(*trial){
		"codes":           gptqCodes,
		"error-feedback":  gptqErrorFeedback,
		"scales":          gptqScales,
		"losses":          gptqLosses,
		"block-size":      gptqBlockSize,
		"diagonal":        gptqDiagonal,
		"on-grid":         gptqOnGrid,
		"rows":            gptqRows,
		"power-of-two":    gptqPowerOfTwo,
		"dead-inputs":     gptqDeadInputs,
		"act-order":       gptqActOrder,
		"below-nearest":   gptqBelowNearest,
		"damping":         gptqDamping,
		"escalation":      gptqEscalation,
		"stats":           gptqStats,
		"columns-squish6": gptqColumnsSquish6,
		"blocks-squish6":  gptqBlocksSquish6,
	},
	program: gptqProgram,
	badConfigs: map[string]any{
		"an unknown variant":            gptqConfig(func(c *spec.GPTQLayerConfig) { c.Variant = "squish7" }),
		"n_bits 0":                      gptqConfig(func(c *spec.GPTQLayerConfig) { c.NBits = 0 }),
		"n_bits 1":                      gptqConfig(func(c *spec.GPTQLayerConfig) { c.NBits = 1 }),
		"n_bits 5":                      gptqConfig(func(c *spec.GPTQLayerConfig) { c.NBits = 5 }),
		"n_bits 16":                     gptqConfig(func(c *spec.GPTQLayerConfig) { c.NBits = 16 }),
		"n_bits −4":                     gptqConfig(func(c *spec.GPTQLayerConfig) { c.NBits = -4 }),
		"block_size 0":                  gptqConfig(func(c *spec.GPTQLayerConfig) { c.BlockSize = 0 }),
		"block_size −1":                 gptqConfig(func(c *spec.GPTQLayerConfig) { c.BlockSize = -1 }),
		"damp_percent 0":                gptqConfig(func(c *spec.GPTQLayerConfig) { c.DampPercent = 0 }),
		"damp_percent −0.01":            gptqConfig(func(c *spec.GPTQLayerConfig) { c.DampPercent = -0.01 }),
		"damp_percent NaN":              gptqConfig(func(c *spec.GPTQLayerConfig) { c.DampPercent = math.NaN() }),
		"damp_percent +Inf":             gptqConfig(func(c *spec.GPTQLayerConfig) { c.DampPercent = math.Inf(1) }),
		"group_size −1":                 gptqConfig(func(c *spec.GPTQLayerConfig) { c.GroupSize = -1 }),
		"the least group_size":          gptqConfig(func(c *spec.GPTQLayerConfig) { c.GroupSize = math.MinInt }),
		"n_bits 5 as squish6":           gptqConfig(func(c *spec.GPTQLayerConfig) { c.Variant, c.NBits = spec.Squish6, 5 }),
		"block_size 0 as squish6":       gptqConfig(func(c *spec.GPTQLayerConfig) { c.Variant, c.BlockSize = spec.Squish6, 0 }),
		"damp_percent 0 as squish6":     gptqConfig(func(c *spec.GPTQLayerConfig) { c.Variant, c.DampPercent = spec.Squish6, 0 }),
		"damp_percent 1e999 as squish6": gptqConfig(func(c *spec.GPTQLayerConfig) { c.Variant, c.DampPercent = spec.Squish6, math.Inf(1) }),
	},
	badSteps: gptqBadSteps,
	equal: map[string]comparison{
		"calibrate": func(t *trial, config any, args []any, got, want any) {
			c, w, x := config.(spec.GPTQLayerConfig), args[0].(spec.Matrix), args[1].(spec.Matrix)
			g, q := got.(*spec.QuantizedLayer), want.(*spec.QuantizedLayer)
			if c.Variant == spec.Squish6 {
				sameGPTQSquish6(t, newGPTQSquish6(c, w, x), g.Weights, q.Weights)
				t.holds(len(g.Codes)+len(g.Scales.Data)+len(g.ZeroPoints)+len(g.Order)+len(g.Losses) == 0 && g.DampPercent == 0,
					"got more than weights: %v", g)
				return
			}
			sameGPTQLayer(t, newGPTQOracle(c, w, x), g, q)
		},
	},
	rows: []row{{"gptq-layer/calibrate", gptqRow, sameGPTQRow}},
}

// gptqConfig is the default config with a change.
func gptqConfig(change func(*spec.GPTQLayerConfig)) spec.GPTQLayerConfig {
	c := spec.DefaultGPTQLayerConfig()
	change(&c)
	return c
}

// A gptqRowResult is a row's answer and what it was asked.
type gptqRowResult struct {
	config spec.GPTQLayerConfig
	w, x   spec.Matrix
	layer  spec.QuantizedLayer
}

// gptqRow quantises Gaussian weights for Gaussian activations. As squish6 the
// activations are as wide as the weights are high.
func gptqRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	c := spec.DefaultGPTQLayerConfig()
	c.Variant = rowVariant(gptqLayer, name)
	c.NBits = w.Int("n_bits", c.NBits)
	c.BlockSize = w.Int("block_size", c.BlockSize)
	rows, cols, samples := w.Int("rows", 64), w.Int("cols", 64), w.Int("samples", 128)
	width := cols
	if c.Variant == spec.Squish6 {
		width = rows
	}
	out := &gptqRowResult{
		config: c,
		w:      spec.Matrix{Rows: rows, Cols: cols, Data: gaussian(rows*cols, 24)},
		x:      spec.Matrix{Rows: samples, Cols: width, Data: gaussian(samples*width, 25)},
	}
	g, err := impl.GPTQLayer(c)
	return timing{
		calls:  1,
		call:   func(int) error { return g.Calibrate(&out.layer, out.w, out.x) },
		result: func() (any, error) { return out, nil },
		note: func() string {
			return fmt.Sprintf("squared output error %.3g × round-to-nearest's", out.againstNearest())
		},
	}, err
}

// againstNearest is the squared output error over that of rounding to nearest.
func (g *gptqRowResult) againstNearest() float64 {
	own, nearest := g.relativeErrors()
	return own / nearest
}

// relativeErrors are the squared errors of the outputs on the activations, and those of
// rounding to nearest, over the squared outputs.
func (g *gptqRowResult) relativeErrors() (own, nearest float64) {
	w, q := g.w, g.layer.Weights
	if g.config.Variant == spec.Squish6 {
		w, q = transposed(w), transposed(q)
	}
	o := newGPTQOracle(g.config, w, g.x)
	outputs := o.outputError(gptqZeros(w.Rows, w.Cols))
	return o.outputError(q) / outputs, o.outputError(o.nearest()) / outputs
}

// sameGPTQRow holds a large layer to its own losses, and those to the reference's: of
// thousands of codes some are near ties.
func sameGPTQRow(t *trial, got, want any) {
	t.Helper()
	g, w := got.(*gptqRowResult), want.(*gptqRowResult)
	if g.config.Variant == spec.Squish6 {
		sameGPTQSquish6(t, newGPTQSquish6(w.config, w.w, w.x), g.layer.Weights, w.layer.Weights)
		return
	}
	o := newGPTQOracle(w.config, w.w, w.x)
	judgeGPTQCodes(t, o, &g.layer)
	judgeGPTQDamping(t, o, g.layer.DampPercent)
	s := o.system(g.layer.Order, g.layer.DampPercent)
	total, reference := 0.0, 0.0
	for r, loss := range g.layer.Losses {
		d := make([]float64, o.inputs())
		for k, i := range g.layer.Order {
			d[k] = float64(o.w.Row(r)[i]) - float64(g.layer.Weights.Row(r)[i])
		}
		form := s.form(d)
		t.within(fmt.Sprintf("losses[%d]", r), loss, form, 0x1p-10*form)
		total += loss
		reference += w.layer.Losses[r]
	}
	t.within("sum of losses", total, reference, 0.01*reference)
}

func drawGPTQConfig(t *trial, v spec.Variant) spec.GPTQLayerConfig {
	return spec.GPTQLayerConfig{
		Variant:     v,
		NBits:       rapid.SampledFrom([]int{4, 3, 2, 8}).Draw(t.T, "n_bits"),
		BlockSize:   rapid.SampledFrom([]int{128, 1, 2, 3, 4, 5}).Draw(t.T, "block_size"),
		DampPercent: rapid.SampledFrom([]float64{0.01, 0.1, 1, 0.03, 1e-3}).Draw(t.T, "damp_percent"),
		GroupSize:   rapid.SampledFrom([]int{0, 0, 1, 2, 3, 4, 5, 7, 128}).Draw(t.T, "group_size"),
		Symmetric:   rapid.Bool().Draw(t.T, "symmetric"),
		ActOrder:    rapid.Bool().Draw(t.T, "act_order"),
	}
}

// gptqExponents scale weights and activations: mostly not at all, and now and then to
// where squares leave float32, or weights are subnormal.
var gptqExponents = []int{0, 0, 0, 0, 0, -9, 12, -60, 100, -125}

// drawGPTQWeights draws weights whose updates stay in float32.
func drawGPTQWeights(t *trial, rows, cols int) spec.Matrix {
	w := matrix(t, rows, cols, moderateStyles, "weights")
	switch rapid.IntRange(0, 9).Draw(t.T, "weights end") {
	case 8: // a row of zeros
		clear(w.Row(source(t, "row of zeros").IntN(rows)))
	case 9:
		w = scaled(w, rapid.SampledFrom(gptqExponents).Draw(t.T, "weights exponent"))
	}
	return w
}

// drawGPTQActivations draws activations of inputs that go together, as those of a
// model do, some of them dead or equal.
func drawGPTQActivations(t *trial, inputs int) spec.Matrix {
	x := matrix(t, size(t, 1, 14, "samples"), inputs, moderateStyles, "activations")
	r := source(t, "mixture")
	if rapid.Bool().Draw(t.T, "correlated") {
		share := r.Float64()
		for s := range x.Rows {
			common := r.NormFloat64()
			for i := range x.Row(s) {
				x.Row(s)[i] += float32(share * common)
			}
		}
	}
	switch rapid.IntRange(0, 9).Draw(t.T, "activations end") {
	case 6:
		gptqSilence(x, r.IntN(inputs))
	case 7: // equal but for signs
		i, j := r.IntN(inputs), r.IntN(inputs)
		for s := range x.Rows {
			x.Row(s)[i] = float32(math.Copysign(float64(x.Row(s)[j]), r.NormFloat64()))
		}
	case 8:
		x = scaled(x, rapid.SampledFrom(gptqExponents[:9]).Draw(t.T, "activations exponent"))
	case 9:
		clear(x.Data)
	}
	return x
}

func gptqZeros(rows, cols int) spec.Matrix {
	return spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
}

// gptqSilence makes an input dead.
func gptqSilence(x spec.Matrix, input int) {
	for s := range x.Rows {
		x.Row(s)[input] = float32(math.Copysign(0, float64(s%2)-0.5))
	}
}

// gptqWake sees to it that no input is dead.
func gptqWake(x spec.Matrix) {
	for i := range x.Cols {
		if !slices.ContainsFunc(gptqColumns(x, i, i+1).Data, func(v float32) bool { return v != 0 }) {
			x.Row(0)[i] = 1
		}
	}
}

// drawGPTQLayer draws the arguments of calibrate.
func drawGPTQLayer(t *trial, v spec.Variant) (w, x spec.Matrix) {
	w = drawGPTQWeights(t, size(t, 1, 4, "rows"), size(t, 1, 9, "cols"))
	if v == spec.Squish6 {
		return w, drawGPTQActivations(t, w.Rows)
	}
	return w, drawGPTQActivations(t, w.Cols)
}

func gptqProgram(t *trial, v spec.Variant) program {
	p := program{config: drawGPTQConfig(t, v)}
	for range size(t, 1, 2, "calls") {
		w, x := drawGPTQLayer(t, v)
		p.steps = append(p.steps, call(gptqLayer, "calibrate", w, x))
	}
	return p
}

func gptqBadSteps(t *trial, config any) []badStep {
	c := config.(spec.GPTQLayerConfig)
	outputs, inputs, samples := size(t, 1, 3, "outputs"), size(t, 1, 3, "inputs"), size(t, 1, 3, "samples")
	filled := func(rows, cols int) spec.Matrix {
		return spec.Matrix{Rows: rows, Cols: cols, Data: slices.Repeat([]float32{1}, rows*cols)}
	}
	// oriented has the inputs where the variant has them.
	oriented := func(outputs, inputs int) spec.Matrix {
		if c.Variant == spec.Squish6 {
			outputs, inputs = inputs, outputs
		}
		return filled(outputs, inputs)
	}
	w, x := oriented(outputs, inputs), filled(samples, inputs)
	spoiled := func(m spec.Matrix, v float64) spec.Matrix {
		m = cloneAs(m)
		m.Data[rapid.IntRange(0, len(m.Data)-1).Draw(t.T, "at")] = float32(v)
		return m
	}
	list := []badStep{}
	bad := func(what string, w, x spec.Matrix) {
		list = append(list, badStep{what, call(gptqLayer, "calibrate", w, x), spec.Invalid})
	}
	bad("nothing", spec.Matrix{}, spec.Matrix{})
	bad("no weights", spec.Matrix{}, x)
	bad("no activations", w, spec.Matrix{})
	bad("no samples", w, spec.Matrix{Cols: inputs})
	bad("no outputs", oriented(0, inputs), x)
	bad("no inputs", oriented(outputs, 0), spec.Matrix{Rows: samples})
	bad("an input more in activations", w, filled(samples, inputs+1))
	bad("an input more in weights", oriented(outputs, inputs+1), x)
	bad("activations on their side", w, filled(inputs, inputs+1))
	bad("weights with less data than their shape", spec.Matrix{Rows: w.Rows, Cols: w.Cols, Data: w.Data[1:]}, x)
	bad("activations with less data than their shape", w, spec.Matrix{Rows: samples, Cols: inputs, Data: x.Data[1:]})
	bad("weights of a negative shape", spec.Matrix{Rows: -w.Rows, Cols: -w.Cols, Data: w.Data}, x)
	bad("activations of a negative shape", w, spec.Matrix{Rows: -samples, Cols: -inputs, Data: x.Data})
	bad("countless weights", spec.Matrix{Rows: math.MaxInt, Cols: math.MaxInt, Data: w.Data}, x)
	bad("countless samples", w, spec.Matrix{Rows: math.MaxInt, Cols: inputs, Data: x.Data})
	bad("more inputs than an H can have", oriented(1, 1<<15+1), filled(1, 1<<15+1))
	for _, v := range nonFinite {
		bad(fmt.Sprintf("weight %v", v), spoiled(w, v), x)
		bad(fmt.Sprintf("activation %v", v), w, spoiled(x, v))
	}
	return list
}

// quantizedLayer quantises with a new instance.
func quantizedLayer(t *trial, c spec.GPTQLayerConfig, w, x spec.Matrix) *spec.QuantizedLayer {
	t.Helper()
	q := new(spec.QuantizedLayer)
	t.must(open(t, t.impl.GPTQLayer, c).Calibrate(q, w, x))
	return q
}

func gptqCodes(t *trial) {
	c := drawGPTQConfig(t, spec.Documented)
	w, x := drawGPTQLayer(t, c.Variant)
	judgeGPTQCodes(t, newGPTQOracle(c, w, x), quantizedLayer(t, c, w, x))
}

func gptqErrorFeedback(t *trial) {
	c := drawGPTQConfig(t, spec.Documented)
	w, x := drawGPTQLayer(t, c.Variant)
	for _, row := range judgeGPTQ(t, newGPTQOracle(c, w, x), quantizedLayer(t, c, w, x)) {
		t.gptqWithin(row.codes)
	}
}

// gptqScales draws groups that begin inside of blocks.
func gptqScales(t *trial) {
	c := drawGPTQConfig(t, spec.Documented)
	c.GroupSize = size(t, 1, 5, "group_size")
	w, x := drawGPTQLayer(t, c.Variant)
	for _, row := range judgeGPTQ(t, newGPTQOracle(c, w, x), quantizedLayer(t, c, w, x)) {
		t.gptqWithin(row.grids)
	}
}

func gptqLosses(t *trial) {
	c := drawGPTQConfig(t, spec.Documented)
	w, x := drawGPTQLayer(t, c.Variant)
	for _, row := range judgeGPTQ(t, newGPTQOracle(c, w, x), quantizedLayer(t, c, w, x)) {
		t.gptqWithin(row.loss)
	}
}

func gptqBlockSize(t *trial) {
	c := drawGPTQConfig(t, spec.Documented)
	w, x := drawGPTQLayer(t, c.Variant)
	whole := quantizedLayer(t, c, w, x)
	c.BlockSize = rapid.SampledFrom([]int{1, 2, 3, 4, 5, 9, math.MaxInt}).Draw(t.T, "other block_size")
	sameGPTQLayer(t, newGPTQOracle(c, w, x), quantizedLayer(t, c, w, x), whole)
}

// gptqDiagonal draws samples in which one input occurs, and weights of which some are
// exactly in the middle between two codes.
func gptqDiagonal(t *trial) {
	c := drawGPTQConfig(t, spec.Documented)
	r := source(t, "layer")
	inputs := size(t, 1, 9, "inputs")
	x := gptqZeros(size(t, 1, 20, "samples"), inputs)
	for s := range x.Rows {
		x.Row(s)[r.IntN(inputs)] = float32(r.NormFloat64())
	}
	w := drawGPTQWeights(t, size(t, 1, 4, "rows"), inputs)
	_, highest := (&gptqOracle{GPTQLayerConfig: c}).codeRange()
	if rapid.Bool().Draw(t.T, "middles") {
		for i := range w.Data {
			w.Data[i] = float32(r.IntN(2*highest)-highest) + 0.5
		}
		for row := range w.Rows {
			w.Row(row)[r.IntN(inputs)] = float32(highest)
		}
		w = scaled(w, r.IntN(20)-10)
	}
	q, o := quantizedLayer(t, c, w, x), newGPTQOracle(c, w, x)
	judgeGPTQCodes(t, o, q)
	for row := range w.Rows {
		for k, i := range q.Order {
			group := row*o.groups() + k/o.groupSize()
			if k%o.groupSize() == 0 {
				least, most := 0.0, 0.0
				for _, j := range q.Order[k:min(k+o.groupSize(), inputs)] {
					v := float64(o.w.Row(row)[j])
					least, most = min(least, v), max(most, v)
				}
				grid, _ := o.judgeGrid(fmt.Sprintf("[%d, %d]", row, k/o.groupSize()), float64(q.Scales.Data[group]), int(q.ZeroPoints[group]), least, most, 0, t.u)
				t.gptqWithin(grid)
			}
			t.isGPTQNearest(o, fmt.Sprintf("codes[%d, %d]", row, i), float64(o.w.Row(row)[i]), float64(q.Scales.Data[group]),
				int(q.Codes[row*inputs+int(i)]), int(q.ZeroPoints[group]))
		}
	}
}

// isGPTQNearest asserts that a weight was rounded to nearest, half to even.
func (t *trial) isGPTQNearest(o *gptqOracle, what string, w, scale float64, code, zero int) {
	t.Helper()
	lowest, highest := o.codeRange()
	want := max(lowest, min(int(max(-1e6, min(math.RoundToEven(w/scale), 1e6)))+zero, highest))
	if code == want {
		t.asserted++
		return
	}
	fraction, _ := math.Frexp(scale)
	isMiddle := w/scale-math.Floor(w/scale) == 0.5 && fraction == 0.5
	t.holds(!isMiddle && gptqNearMiddle(w/scale+float64(zero), lowest, highest, 4*t.u*math.Abs(w/scale)),
		"%s: got %d for %v scales and zero point %d, want %d", what, code, w/scale, zero, want)
}

func gptqOnGrid(t *trial) {
	c := drawGPTQConfig(t, spec.Documented)
	if c.ActOrder {
		c.GroupSize = 0 // else nobody knows the groups in advance
	}
	w, _ := drawGPTQLayer(t, c.Variant)
	x := drawGPTQActivations(t, w.Cols)
	gptqWake(x) // a dead input would take an end from its group
	o := newGPTQOracle(c, w, x)
	r := source(t, "grids")
	lowest, highest := o.codeRange()
	for row := range w.Rows {
		for from := 0; from < w.Cols; from += o.groupSize() {
			group := w.Row(row)[from:min(from+o.groupSize(), w.Cols)]
			scale := math.Ldexp(float64(1+r.IntN(255)), r.IntN(40)-20)
			zero := 0
			if !c.Symmetric && len(group) > 1 {
				zero = r.IntN(highest + 1)
			}
			for i := range group {
				group[i] = float32(scale * float64(lowest+r.IntN(highest-lowest+1)-zero))
			}
			ends := r.Perm(len(group))
			group[ends[0]] = float32(scale * float64(highest-zero))
			if len(group) > 1 {
				group[ends[1]] = float32(scale * float64(lowest-zero))
			}
		}
	}
	q := quantizedLayer(t, c, w, x)
	judgeGPTQCodes(t, newGPTQOracle(c, w, x), q)
	for i, v := range w.Data {
		t.holds(q.Weights.Data[i] == v, "weights[%d, %d]: got %v, want %v back", i/w.Cols, i%w.Cols, q.Weights.Data[i], v)
	}
	for row, loss := range q.Losses {
		t.holds(loss == 0, "losses[%d]: got %v, want 0", row, loss)
	}
}

func gptqRows(t *trial) {
	c := drawGPTQConfig(t, spec.Documented)
	w := drawGPTQWeights(t, size(t, 2, 5, "rows"), size(t, 1, 9, "cols"))
	x := drawGPTQActivations(t, w.Cols)
	together, o := quantizedLayer(t, c, w, x), newGPTQOracle(c, w, x)
	order := source(t, "order").Perm(w.Rows)
	some := spec.Matrix{Cols: w.Cols}
	for _, r := range order[:size(t, 1, 2, "some")] {
		some.Rows++
		some.Data = append(some.Data, w.Row(r)...)
	}
	apart := quantizedLayer(t, c, some, x)
	own := newGPTQOracle(c, some, x)
	t.equal("order", apart.Order, together.Order)
	t.equal("damp_percent ", apart.DampPercent, together.DampPercent)
	for r, row := range judgeGPTQ(t, own, apart) {
		sameGPTQLayerRow(t, o, &row, r, apart, order[r], together)
	}
}

func gptqPowerOfTwo(t *trial) {
	c := drawGPTQConfig(t, spec.Documented)
	w := matrix(t, size(t, 1, 4, "rows"), size(t, 1, 9, "cols"), moderateStyles, "weights")
	x := matrix(t, size(t, 1, 14, "samples"), w.Cols, moderateStyles, "activations")
	for _, numbers := range [][]float32{w.Data, x.Data} {
		for i, v := range numbers {
			if math.Abs(float64(v)) < 0x1p-60 { // its scale might be subnormal
				numbers[i] = 0
			}
		}
	}
	gptqWake(x)
	k, l := rapid.IntRange(-20, 20).Draw(t.T, "k"), rapid.IntRange(-20, 20).Draw(t.T, "l")
	plain, times := quantizedLayer(t, c, w, x), quantizedLayer(t, c, scaled(w, k), scaled(x, l))
	t.equal("codes", times.Codes, plain.Codes)
	t.equal("order", times.Order, plain.Order)
	t.equal("zero_points", times.ZeroPoints, plain.ZeroPoints)
	t.equal("damp_percent ", times.DampPercent, plain.DampPercent)
	for i, scale := range plain.Scales.Data {
		want := float32(math.Ldexp(float64(scale), k))
		if isEmpty := scale == 1 && times.Scales.Data[i] == 1; !isEmpty {
			t.holds(times.Scales.Data[i] == want, "scales[%d]: got %v, want %v", i, times.Scales.Data[i], want)
		}
	}
	for r, loss := range plain.Losses {
		t.holds(times.Losses[r] == math.Ldexp(loss, 2*(k+l)), "losses[%d]: got %v, want %v·4^%d", r, times.Losses[r], loss, k+l)
	}
}

func gptqDeadInputs(t *trial) {
	c := drawGPTQConfig(t, spec.Documented)
	w, x := drawGPTQLayer(t, c.Variant)
	r := source(t, "dead")
	other := cloneAs(w)
	var dead []int
	for _, i := range r.Perm(w.Cols)[:size(t, 1, w.Cols, "dead inputs")] {
		dead = append(dead, i)
		gptqSilence(x, i)
		for row := range w.Rows {
			other.Row(row)[i] = float32(100 * r.NormFloat64())
		}
	}
	q, changed := quantizedLayer(t, c, w, x), quantizedLayer(t, c, other, x)
	judgeGPTQCodes(t, newGPTQOracle(c, w, x), q)
	t.sameBits("layer with other weights for dead inputs: ", *changed, *q)
	for _, i := range dead {
		for row := range w.Rows {
			t.holds(math.Float32bits(q.Weights.Row(row)[i]) == 0, "weights[%d, %d]: got %v for a dead input, want +0", row, i, q.Weights.Row(row)[i])
		}
	}
}

func gptqActOrder(t *trial) {
	c := drawGPTQConfig(t, spec.Documented)
	c.ActOrder = true
	w, x := drawGPTQLayer(t, c.Variant)
	q, o := quantizedLayer(t, c, w, x), newGPTQOracle(c, w, x)
	rows := judgeGPTQ(t, o, q)
	c.ActOrder = false
	numbered := quantizedLayer(t, c, gptqInOrder(w, q.Order), gptqInOrder(x, q.Order))
	if math.Abs(numbered.DampPercent-q.DampPercent) > 4*t.u*q.DampPercent {
		return // judged
	}
	// back is numbered as q is.
	back := *q
	back.Codes = make([]int16, len(q.Codes))
	for r := range w.Rows {
		for k, i := range q.Order {
			back.Codes[r*w.Cols+int(i)] = numbered.Codes[r*w.Cols+k]
		}
	}
	back.Scales, back.ZeroPoints = numbered.Scales, numbered.ZeroPoints
	for r, row := range rows {
		sameGPTQLayerRow(t, o, &row, r, q, r, &back)
	}
}

// gptqInOrder returns the columns of m in an order.
func gptqInOrder(m spec.Matrix, order []int32) spec.Matrix {
	var out spec.Matrix
	out.Resize(m.Rows, m.Cols)
	for r := range m.Rows {
		for k, i := range order {
			out.Row(r)[k] = m.Row(r)[i]
		}
	}
	return out
}

// gptqLayers is how many layers the median is taken over.
const gptqLayers = 21

func gptqBelowNearest(t *trial) {
	c := drawGPTQConfig(t, spec.Documented)
	c.NBits = rapid.SampledFrom([]int{4, 3}).Draw(t.T, "n_bits")
	c.GroupSize = rapid.SampledFrom([]int{0, 6, 8}).Draw(t.T, "group_size") // of small ones most weights attain an end
	c.DampPercent = 0.01
	g := open(t, t.impl.GPTQLayer, c)
	r := source(t, "layers")
	worse := 0
	var q spec.QuantizedLayer
	for range gptqLayers {
		w, x := drawGPTQCorrelated(r)
		t.must(g.Calibrate(&q, w, x))
		o := newGPTQOracle(c, w, x)
		t.holds(spec.CheckMatrix("", "", q.Weights, w.Rows, w.Cols) == nil, "weights: got shape (%d, %d)", q.Weights.Rows, q.Weights.Cols)
		if o.outputError(q.Weights) >= o.outputError(o.nearest()) {
			worse++
		}
	}
	t.holds(worse <= gptqLayers/2, "%d of %d layers have no less output error than rounded to nearest", worse, gptqLayers)
}

// drawGPTQCorrelated returns a layer whose inputs share a few causes, as the
// activations of a model do.
func drawGPTQCorrelated(r *rand.Rand) (w, x spec.Matrix) {
	const outputs, inputs, samples, causes = 4, 12, 24, 3
	var mixture [causes][inputs]float64
	for c := range mixture {
		for i := range inputs {
			mixture[c][i] = r.NormFloat64()
		}
	}
	w.Resize(outputs, inputs)
	for i := range w.Data {
		w.Data[i] = float32(r.NormFloat64())
	}
	x.Resize(samples, inputs)
	for s := range samples {
		row := x.Row(s)
		for i := range row {
			row[i] = float32(0.5 * r.NormFloat64())
		}
		for c := range mixture {
			strength := r.NormFloat64()
			for i := range row {
				row[i] += float32(strength * mixture[c][i])
			}
		}
	}
	return w, x
}

// nearest is w rounded to nearest, on grids for the weights as they were given.
func (o *gptqOracle) nearest() spec.Matrix {
	lowest, highest := o.codeRange()
	out := cloneAs(o.w)
	for r := range out.Rows {
		for group := range slices.Chunk(out.Row(r), o.groupSize()) {
			least, most := min(0, float64(slices.Min(group))), max(0, float64(slices.Max(group)))
			span, zero := most-least, 0.0
			if o.Symmetric {
				span = max(most, -least)
			}
			scale := span / float64(highest)
			if scale == 0 {
				continue
			}
			if !o.Symmetric {
				zero = math.RoundToEven(-least / scale)
			}
			for i, v := range group {
				code := max(float64(lowest), min(math.RoundToEven(float64(v)/scale)+zero, float64(highest)))
				group[i] = float32(scale * (code - zero))
			}
		}
	}
	return out
}

// outputError is Σ ((w − ŵ)·x)² over all outputs and samples, and rowError over one
// output.
func (o *gptqOracle) outputError(q spec.Matrix) float64 {
	total := 0.0
	for r := range q.Rows {
		total += o.rowError(q, r)
	}
	return total
}

func (o *gptqOracle) rowError(q spec.Matrix, r int) float64 {
	total := 0.0
	for s := range o.x.Rows {
		off := 0.0
		for i, v := range o.x.Row(s) {
			off += (float64(o.w.Row(r)[i]) - float64(q.Row(r)[i])) * float64(v)
		}
		total += off * off
	}
	return total
}

// drawGPTQSingular draws activations with an H of 0 and ±4ˡ, exactly, in which at least
// two inputs are equal but for signs: a Cholesky factorisation meets a pivot of
// exactly 0.
func drawGPTQSingular(t *trial) (w, x spec.Matrix) {
	inputs := size(t, 2, 6, "inputs")
	r := source(t, "singular")
	x = gptqZeros(2, inputs)
	for i := range inputs {
		x.Row(r.IntN(2))[i] = float32(2*r.IntN(2) - 1)
	}
	for s := range 2 {
		x.Row(s)[0] = float32(1 - s)
		x.Row(s)[1] = float32(s - 1)
	}
	return drawGPTQWeights(t, size(t, 1, 3, "rows"), inputs), scaled(x, rapid.IntRange(-20, 20).Draw(t.T, "exponent"))
}

func gptqDamping(t *trial) {
	c := drawGPTQConfig(t, spec.Documented)
	c.GroupSize = 0 // weights that an almost singular H has moved far have grids beyond float32
	c.DampPercent = math.Pow(10, -float64(rapid.IntRange(0, 32).Draw(t.T, "damp_percent exponent")))
	singular := rapid.Bool().Draw(t.T, "singular")
	w, x := drawGPTQLayer(t, c.Variant)
	if singular {
		w, x = drawGPTQSingular(t)
	}
	o := newGPTQOracle(c, w, x)
	dampings := o.dampings()
	var q spec.QuantizedLayer
	err := open(t, t.impl.GPTQLayer, c).Calibrate(&q, w, x)
	switch {
	case singular && dampings[gptqEscalations] < 0x1p-54:
		t.refused("an H without a Cholesky factor at any damping", err)
	case slices.ContainsFunc(dampings, func(d float64) bool { return o.isWellConditioned(d, t.u) }):
		t.must(err)
		fallthrough
	case err == nil:
		judgeGPTQDamping(t, o, q.DampPercent)
		t.holds(!singular || q.DampPercent >= 0x1p-54, "damp_percent: got %v, at which H has no Cholesky factor", q.DampPercent)
	}
}

// gptqEscalation is what float64 can do.
func gptqEscalation(t *trial) {
	c := drawGPTQConfig(t, spec.Documented)
	c.GroupSize = 0
	c.DampPercent = rapid.SampledFrom([]float64{1e-17, 1e-18}).Draw(t.T, "damp_percent")
	w, x := drawGPTQSingular(t)
	q := quantizedLayer(t, c, w, x)
	t.holds(q.DampPercent >= 0x1p-54 && q.DampPercent <= 1e-11, "damp_percent: got %v, want 2⁻⁵⁴…10⁻¹¹", q.DampPercent)
	judgeGPTQDamping(t, newGPTQOracle(c, w, x), q.DampPercent)
}

func gptqStats(t *trial) {
	c := drawGPTQConfig(t, spec.Documented)
	g := open(t, t.impl.GPTQLayer, c)
	var want spec.GPTQLayerStats
	for range size(t, 0, 4, "calls") {
		w, x := drawGPTQLayer(t, c.Variant)
		var q spec.QuantizedLayer
		t.must(g.Calibrate(&q, w, x))
		want.Calls++
		want.Columns += w.Cols
	}
	t.equal("stats", g.Stats(), want)
}

func gptqColumnsSquish6(t *trial) {
	c := drawGPTQConfig(t, spec.Squish6)
	c.BlockSize = 1
	w, x := drawGPTQLayer(t, c.Variant)
	if rapid.Bool().Draw(t.T, "column of zeros") {
		for r := range w.Rows {
			w.Row(r)[0] = 0
		}
	}
	q := quantizedLayer(t, c, w, x).Weights
	sameGPTQSquish6(t, newGPTQSquish6(c, w, x), q, q)
}

func gptqBlocksSquish6(t *trial) {
	c := drawGPTQConfig(t, spec.Squish6)
	w := drawGPTQWeights(t, size(t, 1, 4, "rows"), size(t, 1, 9, "cols"))
	x := drawGPTQActivations(t, w.Rows)
	together := quantizedLayer(t, c, w, x).Weights
	for from := 0; from < w.Cols; from += min(c.BlockSize, w.Cols) {
		to := min(from+min(c.BlockSize, w.Cols), w.Cols)
		alone := gptqColumns(w, from, to)
		sameGPTQSquish6(t, newGPTQSquish6(c, alone, x), quantizedLayer(t, c, alone, x).Weights, gptqColumns(together, from, to))
	}
}

// gptqColumns returns some columns of m.
func gptqColumns(m spec.Matrix, from, to int) spec.Matrix {
	out := spec.Matrix{Rows: m.Rows, Cols: to - from}
	for r := range m.Rows {
		out.Data = append(out.Data, m.Row(r)[from:to]...)
	}
	return out
}
