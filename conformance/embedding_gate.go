package conformance

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var embeddingGate = spec.ModuleByName("embedding-gate")

var embeddingGateModule = &module{
	spec: embeddingGate,
	laws: map[string]func(*trial){
		"cosine":      gateCosine,
		"selected":    gateSelected,
		"scale-free":  gateScaleFree,
		"rows":        gateRows,
		"nested":      gateNested,
		"zero-rows":   gateZeroRows,
		"update":      gateUpdate,
		"weights":     gateWeights,
		"stats":       gateStats,
		"dot-squish6": gateDotSquish6,
	},
	program: gateProgram,
	badConfigs: map[string]any{
		"an unknown variant":        spec.EmbeddingGateConfig{Variant: "squish7", EmbedDim: 4, Threshold: 0.5, NRoutes: 2},
		"embed_dim 0":               gateConfig(spec.Documented, 0, 0.5),
		"embed_dim −4":              gateConfig(spec.Documented, -4, 0.5),
		"embed_dim beyond 2³⁰":      gateConfig(spec.Documented, 1<<30+1, 0.5),
		"the greatest embed_dim":    gateConfig(spec.Documented, math.MaxInt, 0.5),
		"threshold 0":               gateConfig(spec.Documented, 4, 0),
		"threshold −0.5":            gateConfig(spec.Documented, 4, -0.5),
		"threshold above 1":         gateConfig(spec.Documented, 4, 1.5),
		"threshold NaN":             gateConfig(spec.Documented, 4, math.NaN()),
		"threshold +Inf":            gateConfig(spec.Documented, 4, math.Inf(1)),
		"threshold 0 as squish6":    gateConfig(spec.Squish6, 4, 0),
		"threshold −1 as squish6":   gateConfig(spec.Squish6, 4, -1),
		"threshold NaN as squish6":  gateConfig(spec.Squish6, 4, math.NaN()),
		"threshold +Inf as squish6": gateConfig(spec.Squish6, 4, math.Inf(1)),
		"n_routes 1":                spec.EmbeddingGateConfig{EmbedDim: 4, Threshold: 0.5, NRoutes: 1},
		"n_routes 3":                spec.EmbeddingGateConfig{EmbedDim: 4, Threshold: 0.5, NRoutes: 3},
	},
	badSteps: gateBadSteps,
	// Weights and threshold are not among a call's arguments: rows near the threshold
	// are left out where they are drawn.
	equal: map[string]comparison{"gate": sameGated},
	rows: []row{
		{"embedding-gate/gate", gateRow, gateSameResult},
		{"embedding-gate/gate-best", gateRow, gateSameResult},
	},
}

func gateConfig(v spec.Variant, dim int, threshold float64) spec.EmbeddingGateConfig {
	return spec.EmbeddingGateConfig{Variant: v, EmbedDim: dim, Threshold: threshold, NRoutes: 2}
}

// sameGated compares routes, and rows but for the sign of zeros: that masked ones
// are +0 is a requirement of its own, which the recording does not meet.
func sameGated(t *trial, _ any, _ []any, got, want any) {
	t.Helper()
	g, w := got.(*spec.GatedEmbeddings), want.(*spec.GatedEmbeddings)
	t.equal("route", g.Route, w.Route)
	t.equal("masked.", g.Masked, w.Masked)
}

// A gateModel is what decides a route.
type gateModel struct {
	variant   spec.Variant
	weights   []float32
	threshold float64
}

// defaultWeights are those of a gate whose weights were not set.
func defaultWeights(dim int) []float32 {
	weights := make([]float32, dim)
	for i := range weights {
		weights[i] = float32(1 / float64(dim))
	}
	return weights
}

// score is |cos(x, w)| or |x·w|, in big floats, and how far off it may be computed.
func (m gateModel) score(x []float32, u float64) (score, margin float64) {
	dot, magnitude := bigNumber(0), bigNumber(0)
	xx, ww := bigNumber(0), bigNumber(0)
	add := func(sum *big.Float, a, b float32) *big.Float {
		product := new(big.Float).Mul(bigNumber(float64(a)), bigNumber(float64(b)))
		sum.Add(sum, product)
		return product
	}
	for i, w := range m.weights {
		magnitude.Add(magnitude, new(big.Float).Abs(add(dot, x[i], w)))
		add(xx, x[i], x[i])
		add(ww, w, w)
	}
	slack := u * float64(2*len(x)+16)
	dot.Abs(dot)
	if m.variant == spec.Squish6 {
		score, _ = dot.Float64()
		sum, _ := magnitude.Float64()
		return score, max(0x1p-20*m.threshold, slack*sum)
	}
	if xx.Sign() == 0 || ww.Sign() == 0 {
		return 0, 0
	}
	lengths := new(big.Float).SetPrec(bigPrecision).Sqrt(xx.Mul(xx, ww))
	score, _ = dot.Quo(dot, lengths).Float64()
	return score, max(0x1p-20*m.threshold, slack)
}

// route is 1 or 0, and whether the score is too near the threshold to tell.
func (m gateModel) route(x []float32, u float64) (route int32, unclear bool) {
	score, margin := m.score(x, u)
	if score >= m.threshold {
		route = 1
	}
	return route, math.Abs(score-m.threshold) <= margin && margin > 0
}

// clear returns the rows of x that are not near the threshold; at least one, of
// zeros if need be.
func (m gateModel) clear(x spec.Matrix, u float64) spec.Matrix {
	out := spec.Matrix{Cols: x.Cols}
	for r := range x.Rows {
		if _, unclear := m.route(x.Row(r), u); !unclear {
			out.Data = append(out.Data, x.Row(r)...)
			out.Rows++
		}
	}
	if out.Rows == 0 {
		out.Rows, out.Data = 1, make([]float32, x.Cols)
	}
	return out
}

func drawGateConfig(t *trial, v spec.Variant) spec.EmbeddingGateConfig {
	thresholds := []float64{0.5, 0.1, 0.25, 0.9, 1, 0.01}
	if v == spec.Squish6 {
		thresholds = append(thresholds, 3)
	}
	return gateConfig(v, size(t, 1, 12, "embed_dim"), rapid.SampledFrom(thresholds).Draw(t.T, "threshold"))
}

// drawEmbeddings draws rows of any style, some of them along the default weights,
// whose cosines are large.
func drawEmbeddings(t *trial, dim int) spec.Matrix {
	x := matrix(t, size(t, 1, 6, "rows"), dim, anyStyles, "embeddings")
	along := source(t, "along")
	for r := range x.Rows {
		if along.IntN(2) == 0 {
			offset := float32(along.NormFloat64())
			for i := range x.Row(r) {
				if sum := x.Row(r)[i] + offset; areFinite(sum) {
					x.Row(r)[i] = sum
				}
			}
		}
	}
	return x
}

func gateProgram(t *trial, v spec.Variant) program {
	c := drawGateConfig(t, v)
	m := gateModel{c.Variant, defaultWeights(c.EmbedDim), c.Threshold}
	p := program{config: c}
	settable := t.impl.OffersOperation(embeddingGate, "set_weights")
	for range size(t, 1, 4, "calls") {
		switch rapid.IntRange(0, 3).Draw(t.T, "call") {
		case 0:
			m.threshold = drawGateConfig(t, v).Threshold
			p.steps = append(p.steps, call(embeddingGate, "update_threshold", m.threshold))
		case 1:
			if settable {
				m.weights = numbers(t, c.EmbedDim, moderateStyles, "weights")
				p.steps = append(p.steps, call(embeddingGate, "set_weights", m.weights))
			}
		}
		p.steps = append(p.steps, call(embeddingGate, "gate", m.clear(drawEmbeddings(t, c.EmbedDim), t.u)))
	}
	return p
}

func gateBadSteps(t *trial, config any) []badStep {
	c := config.(spec.EmbeddingGateConfig)
	d := c.EmbedDim
	spoiled := func(v float64) spec.Matrix {
		x := spec.Matrix{Rows: 2, Cols: d, Data: make([]float32, 2*d)}
		x.Data[rapid.IntRange(0, 2*d-1).Draw(t.T, "at")] = float32(v)
		return x
	}
	shaped := func(rows, cols int) spec.Matrix {
		return spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	}
	var list []badStep
	bad := func(what string, s step) { list = append(list, badStep{what, s, spec.Invalid}) }
	for _, wrong := range []struct {
		what string
		x    spec.Matrix
	}{
		{"nothing", spec.Matrix{}},
		{"no rows", spec.Matrix{Cols: d}},
		{"rows of one more", shaped(2, d+1)},
		{"rows of one less", shaped(2, d-1)},
		{"less data than shape", spec.Matrix{Rows: 2, Cols: d, Data: make([]float32, 2*d-1)}},
		{"a negative shape", spec.Matrix{Rows: -2, Cols: -d, Data: make([]float32, 2*d)}},
		{"countless rows", spec.Matrix{Rows: math.MaxInt, Cols: d, Data: make([]float32, d)}},
		{"a NaN", spoiled(math.NaN())},
		{"+Inf", spoiled(math.Inf(1))},
		{"−Inf", spoiled(math.Inf(-1))},
		{"countless empty rows", spec.Matrix{Rows: math.MaxInt}},
		{"a row count too small", spec.Matrix{Rows: 1, Cols: d, Data: make([]float32, 2*d)}},
	} {
		bad(wrong.what, call(embeddingGate, "gate", wrong.x))
	}
	for _, threshold := range []float64{0, -1, math.NaN(), math.Inf(1), math.Inf(-1)} {
		bad(fmt.Sprint(threshold), call(embeddingGate, "update_threshold", threshold))
	}
	if c.Variant == spec.Documented {
		bad("a threshold above 1", call(embeddingGate, "update_threshold", 1.25))
	}
	bad("no weights", call(embeddingGate, "set_weights", []float32(nil)))
	bad("a weight too few", call(embeddingGate, "set_weights", make([]float32, d-1)))
	bad("a weight too many", call(embeddingGate, "set_weights", make([]float32, d+1)))
	for _, weight := range nonFinite {
		weights := make([]float32, d)
		weights[d-1] = float32(weight)
		bad(fmt.Sprintf("weight %v", weight), call(embeddingGate, "set_weights", weights))
	}
	return list
}

// gated gates with a new instance.
func gated(t *trial, c spec.EmbeddingGateConfig, x spec.Matrix) spec.GatedEmbeddings {
	t.Helper()
	return gatedBy(t, open(t, t.impl.EmbeddingGate, c), x)
}

func gatedBy(t *trial, g spec.EmbeddingGate, x spec.Matrix) spec.GatedEmbeddings {
	t.Helper()
	var out spec.GatedEmbeddings
	t.must(g.Gate(&out, x))
	t.equal("number of routes ", len(out.Route), x.Rows)
	t.holds(spec.CheckMatrix("", "", out.Masked, x.Rows, x.Cols) == nil, "masked: got shape (%d, %d)", out.Masked.Rows, out.Masked.Cols)
	return out
}

func gateCosine(t *trial) { gateScores(t, spec.Documented) }

func gateDotSquish6(t *trial) { gateScores(t, spec.Squish6) }

func gateScores(t *trial, v spec.Variant) {
	c := drawGateConfig(t, v)
	x := drawEmbeddings(t, c.EmbedDim)
	m := gateModel{c.Variant, defaultWeights(c.EmbedDim), c.Threshold}
	out := gated(t, c, x)
	for r := range x.Rows {
		if route, unclear := m.route(x.Row(r), t.u); !unclear {
			score, _ := m.score(x.Row(r), t.u)
			t.holds(out.Route[r] == route, "route[%d]: got %d, want %d: score %v, threshold %v", r, out.Route[r], route, score, c.Threshold)
		}
	}
}

func gateSelected(t *trial) {
	c := drawGateConfig(t, spec.Documented)
	x := drawEmbeddings(t, c.EmbedDim)
	out := gated(t, c, x)
	for r := range x.Rows {
		want := make([]float32, x.Cols)
		if out.Route[r] == 1 {
			want = x.Row(r)
		} else {
			t.equal(fmt.Sprintf("route[%d]", r), out.Route[r], int32(0))
		}
		t.sameBits(fmt.Sprintf("row %d of masked", r), out.Masked.Row(r), want)
	}
}

func gateScaleFree(t *trial) {
	c := drawGateConfig(t, spec.Documented)
	x := matrix(t, size(t, 1, 6, "rows"), c.EmbedDim, moderateStyles, "embeddings")
	scale := math.Ldexp(rapid.SampledFrom([]float64{1, -1}).Draw(t.T, "sign"), rapid.IntRange(-40, 40).Draw(t.T, "k"))
	y := cloneAs(x)
	for i, v := range x.Data {
		y.Data[i] = float32(float64(v) * scale)
		if float64(y.Data[i]) != float64(v)*scale {
			t.Skip("the scaled number is subnormal")
		}
	}
	t.equal("route", gated(t, c, y).Route, gated(t, c, x).Route)
}

func gateRows(t *trial) {
	c := drawGateConfig(t, spec.Documented)
	m := gateModel{c.Variant, defaultWeights(c.EmbedDim), c.Threshold}
	x := m.clear(drawEmbeddings(t, c.EmbedDim), t.u)
	together := gated(t, c, x)
	for r := range x.Rows {
		alone := gated(t, c, spec.Matrix{Rows: 1, Cols: x.Cols, Data: x.Row(r)})
		t.holds(alone.Route[0] == together.Route[r], "row %d: got route %d among others and %d alone", r, together.Route[r], alone.Route[0])
	}
}

func gateNested(t *trial) {
	low := drawGateConfig(t, spec.Documented)
	high := low
	high.Threshold = min(1, low.Threshold*rapid.Float64Range(1, 4).Draw(t.T, "factor"))
	x := drawEmbeddings(t, low.EmbedDim)
	many, few := gated(t, low, x), gated(t, high, x)
	for r := range x.Rows {
		t.holds(few.Route[r] <= many.Route[r], "route[%d]: %d at threshold %v and %d at %v", r, many.Route[r], low.Threshold, few.Route[r], high.Threshold)
	}
}

func gateZeroRows(t *trial) {
	c := drawGateConfig(t, spec.Documented)
	c.Threshold = rapid.SampledFrom([]float64{c.Threshold, 1e-300, 0x1p-1074}).Draw(t.T, "threshold")
	x := spec.Matrix{Rows: size(t, 1, 4, "rows"), Cols: c.EmbedDim}
	x.Data = make([]float32, x.Rows*x.Cols)
	signs := source(t, "signs")
	for i := range x.Data {
		x.Data[i] = float32(math.Copysign(0, signs.NormFloat64()))
	}
	t.sameBits("gated ", gated(t, c, x), spec.GatedEmbeddings{
		Route: make([]int32, x.Rows), Masked: spec.Matrix{Rows: x.Rows, Cols: x.Cols, Data: make([]float32, len(x.Data))},
	})
}

func gateUpdate(t *trial) {
	old, now := drawGateConfig(t, spec.Documented), drawGateConfig(t, spec.Documented)
	now.EmbedDim = old.EmbedDim
	x := drawEmbeddings(t, old.EmbedDim)
	g := open(t, t.impl.EmbeddingGate, old)
	gatedBy(t, g, x)
	t.must(g.UpdateThreshold(now.Threshold))
	t.sameBits("gated ", gatedBy(t, g, x), gated(t, now, x))
}

func gateWeights(t *trial) {
	c := drawGateConfig(t, spec.Documented)
	c.Threshold = min(c.Threshold, 0.5)
	c.EmbedDim++ // so that there is another axis
	axis := rapid.IntRange(0, c.EmbedDim-1).Draw(t.T, "axis")
	weights := make([]float32, c.EmbedDim)
	weights[axis] = rapid.SampledFrom([]float32{1, -1, 3, 0x1p-60, 0x1p60}).Draw(t.T, "weight")
	g := open(t, t.impl.EmbeddingGate, c)
	t.must(g.(spec.EmbeddingGateWeights).SetWeights(weights))
	r := source(t, "rows")
	x := spec.Matrix{Rows: size(t, 1, 6, "rows"), Cols: c.EmbedDim}
	x.Data = make([]float32, x.Rows*x.Cols)
	want := make([]int32, x.Rows)
	for row := range x.Rows {
		if want[row] = int32(r.IntN(2)); want[row] == 1 {
			x.Row(row)[axis] = nonZero(r)
			continue
		}
		for i := range x.Row(row) {
			if i != axis {
				x.Row(row)[i] = nonZero(r)
			}
		}
	}
	t.equal("route", gatedBy(t, g, x).Route, want)
}

func nonZero(r *rand.Rand) float32 {
	return float32(math.Copysign(1+r.Float64(), r.NormFloat64()))
}

func gateStats(t *trial) {
	c := drawGateConfig(t, spec.Documented)
	g := open(t, t.impl.EmbeddingGate, c)
	var want spec.EmbeddingGateStats
	for range size(t, 0, 4, "calls") {
		out := gatedBy(t, g, drawEmbeddings(t, c.EmbedDim))
		want.Calls++
		for _, route := range out.Route {
			want.Vision += int(route)
			want.Text += 1 - int(route)
		}
		want.VisionFraction = float64(want.Vision) / float64(want.Vision+want.Text)
	}
	got := g.Stats()
	t.within("vision_fraction", got.VisionFraction, want.VisionFraction, 0x1p-50)
	got.VisionFraction = want.VisionFraction
	t.equal("stats", got, want)
}

// gateRow gates Gaussian embeddings, half of them moved along the default weights.
func gateRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	c := spec.DefaultEmbeddingGateConfig()
	c.Variant = rowVariant(embeddingGate, name)
	c.EmbedDim = w.Int("embed_dim", c.EmbedDim)
	c.Threshold = w.Float("threshold", c.Threshold)
	x := spec.Matrix{Rows: w.Int("tokens", 1), Cols: c.EmbedDim}
	x.Data = gaussian(x.Rows*x.Cols, 23)
	for r := 0; r < x.Rows; r += 2 {
		for i := range x.Row(r) {
			x.Row(r)[i] += 2
		}
	}
	g, err := impl.EmbeddingGate(c)
	var out spec.GatedEmbeddings
	return timing{
		calls:  1,
		call:   func(int) error { return g.Gate(&out, x) },
		result: func() (any, error) { return &out, nil },
	}, err
}

func gateSameResult(t *trial, got, want any) { sameGated(t, nil, nil, got, want) }
