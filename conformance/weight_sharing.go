package conformance

import (
	"fmt"
	"math"
	"math/big"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var weightSharing = spec.ModuleByName("weight-sharing")

var weightSharingModule = &module{
	spec: weightSharing,
	laws: map[string]func(*trial){
		"effective":  sharingEffective,
		"shared":     sharingShared,
		"low-rank":   sharingLowRank,
		"isolation":  sharingIsolation,
		"factors":    sharingFactors,
		"absent":     sharingAbsent,
		"bytes":      sharingBytes,
		"saves":      sharingSaves,
		"fit-base":   sharingFitBase,
		"fit-deltas": sharingFitDeltas,
		"fit-whole":  sharingFitWhole,
		"stats":      sharingStats,
	},
	program: sharingProgram,
	badConfigs: map[string]any{
		"hidden_dim 0":                  sharingConfig(0, 2, 0),
		"hidden_dim −4":                 sharingConfig(-4, 2, 0),
		"n_shared_layers 0":             sharingConfig(4, 0, 1),
		"n_shared_layers −1":            sharingConfig(4, -1, 1),
		"rank −1":                       sharingConfig(4, 2, -1),
		"rank hidden_dim":               sharingConfig(4, 2, 4),
		"rank beyond hidden_dim":        sharingConfig(4, 2, math.MaxInt),
		"a base beyond 2³⁰ elements":    sharingConfig(1<<15+1, 1, 0),
		"deltas beyond 2³⁰ elements":    sharingConfig(1<<10, 1<<20, 1),
		"the greatest of dimensions":    sharingConfig(math.MaxInt, math.MaxInt, math.MaxInt-1),
		"layers beyond counting":        sharingConfig(4, math.MaxInt, 0),
		"a base of a row less":          sharingWith(func(c *spec.WeightSharingConfig) { c.Base = sharingZeros(3, 4) }),
		"a base of a column more":       sharingWith(func(c *spec.WeightSharingConfig) { c.Base = sharingZeros(4, 5) }),
		"a base without data":           sharingWith(func(c *spec.WeightSharingConfig) { c.Base.Data = nil }),
		"a NaN in the base":             sharingWith(func(c *spec.WeightSharingConfig) { c.Base.Data[7] = float32(math.NaN()) }),
		"u of a layer less":             sharingWith(func(c *spec.WeightSharingConfig) { c.U = c.U[1:] }),
		"u of a layer more":             sharingWith(func(c *spec.WeightSharingConfig) { c.U = append(c.U, c.U[0]) }),
		"v of a layer less":             sharingWith(func(c *spec.WeightSharingConfig) { c.V = c.V[1:] }),
		"u without v":                   sharingWith(func(c *spec.WeightSharingConfig) { c.V = nil }),
		"v without u":                   sharingWith(func(c *spec.WeightSharingConfig) { c.U = nil }),
		"u of another rank":             sharingWith(func(c *spec.WeightSharingConfig) { c.U[1] = sharingZeros(4, 3) }),
		"v of another rank":             sharingWith(func(c *spec.WeightSharingConfig) { c.V[1] = sharingZeros(3, 4) }),
		"u and v in each other's place": sharingWith(func(c *spec.WeightSharingConfig) { c.U, c.V = c.V, c.U }),
		"a +Inf in u":                   sharingWith(func(c *spec.WeightSharingConfig) { c.U[1].Data[7] = float32(math.Inf(1)) }),
		"a NaN in v":                    sharingWith(func(c *spec.WeightSharingConfig) { c.V[1].Data[0] = float32(math.NaN()) }),
	},
	badSteps: sharingBadSteps,
	equal: map[string]comparison{
		"get_effective_weight": func(t *trial, config any, args []any, got, want any) {
			w := dense(*want.(*spec.Matrix))
			sameSharedWeight(t, config.(spec.WeightSharingConfig), args[0].(int), *got.(*spec.Matrix), w)
		},
		"fit": func(t *trial, _ any, args []any, got, want any) {
			g, w := *got.(*spec.SharedWeights), *want.(*spec.SharedWeights)
			layers, rank := args[0].([]spec.Matrix), args[1].(int)
			sharingWellFitted(t, g, layers, rank)
			sameSharingBase(t, layers, g.Base, func(i int) float64 { return float64(w.Base.Data[i]) })
			sharingAreNearest(t, g, layers)
		},
	},
	rows: []row{
		{"weight-sharing/get-effective-weight", sharingWeightRow, func(t *trial, got, want any) {
			g, w := got.(*sharingAnswer), want.(*sharingAnswer)
			sameSharedWeight(t, w.config, w.layer, g.weight, dense(w.weight))
		}},
		{"weight-sharing/memory-ratio", sharingRatioRow, func(t *trial, got, want any) {
			g, w := *got.(*float64), *want.(*float64)
			t.within("ratio", g, w, 0x1p-50*w)
		}},
	},
	deviations: map[string]string{
		"weight-sharing/bad-rank (case 10)": "rank 0 is legal: the page's 4 layers → 1 copy is a base without deltas",
	},
}

func sharingConfig(dim, layers, rank int) spec.WeightSharingConfig {
	return spec.WeightSharingConfig{HiddenDim: dim, NSharedLayers: layers, Rank: rank}
}

func sharingZeros(rows, cols int) spec.Matrix {
	return spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
}

// sharingWith spoils a config of two layers with zeros for weights.
func sharingWith(spoil func(c *spec.WeightSharingConfig)) spec.WeightSharingConfig {
	c := sharingConfig(4, 2, 2)
	c.Base = sharingZeros(4, 4)
	for range c.NSharedLayers {
		c.U, c.V = append(c.U, sharingZeros(4, 2)), append(c.V, sharingZeros(2, 4))
	}
	spoil(&c)
	return c
}

// sharingFactorsOf returns base, U and V of a layer, zeros where they are not given.
func sharingFactorsOf(c spec.WeightSharingConfig, layer int) (base, u, v spec.Matrix) {
	d, r := c.HiddenDim, c.Rank
	base, u, v = sharingZeros(d, d), sharingZeros(d, r), sharingZeros(r, d)
	copy(base.Data, c.Base.Data)
	if len(c.U) > 0 {
		u, v = c.U[layer], c.V[layer]
	}
	return base, u, v
}

// sameSharedWeight compares an effective weight with what it should be.
func sameSharedWeight(t *trial, c spec.WeightSharingConfig, layer int, got spec.Matrix, want *mat.Dense) {
	t.Helper()
	d := c.HiddenDim
	t.holds(spec.CheckMatrix("", "", got, d, d) == nil, "got (%d, %d) with %d elements, want (%d, %d)", got.Rows, got.Cols, len(got.Data), d, d)
	base, u, v := sharingFactorsOf(c, layer)
	k := float64(c.Rank)
	for row := range d {
		for col, x := range got.Row(row) {
			magnitude := math.Abs(float64(base.Row(row)[col]))
			for i, x := range u.Row(row) {
				magnitude += math.Abs(float64(x) * float64(v.Row(i)[col]))
			}
			t.within(fmt.Sprintf("weight[%d, %d]", row, col), float64(x), want.At(row, col), (k+2)*t.u*magnitude+(k+1)*spacing(t.u))
		}
	}
}

// drawSharing draws a config with weights. Scaled ones reach products that overflow a
// float32, or are subnormal, where the weight itself is neither.
func drawSharing(t *trial) spec.WeightSharingConfig {
	d, n := size(t, 1, 9, "hidden_dim"), size(t, 1, 4, "n_shared_layers")
	c := sharingConfig(d, n, rapid.IntRange(0, d-1).Draw(t.T, "rank"))
	c.Base = matrix(t, d, d, moderateStyles, "base")
	exponent := rapid.SampledFrom([]int{0, 0, 0, 70, -70}).Draw(t.T, "exponent")
	for range n {
		c.U = append(c.U, scaled(matrix(t, d, c.Rank, moderateStyles, "u"), exponent))
		c.V = append(c.V, scaled(matrix(t, c.Rank, d, moderateStyles, "v"), -exponent))
	}
	return c
}

// drawSharingLayers draws layers to fit: of any kind, apart or alike.
func drawSharingLayers(t *trial, d int) []spec.Matrix {
	layers := []spec.Matrix{matrix(t, d, d, moderateStyles, "layer")}
	for range size(t, 0, 3, "more layers") {
		next := cloneAs(layers[0])
		if rapid.IntRange(0, 3).Draw(t.T, "alike") > 0 {
			next = matrix(t, d, d, moderateStyles, "layer")
		}
		layers = append(layers, next)
	}
	exponent := rapid.SampledFrom([]int{0, 0, 0, 70, -70, -130}).Draw(t.T, "exponent")
	for i := range layers {
		layers[i] = scaled(layers[i], exponent)
	}
	return layers
}

func sharingProgram(t *trial, _ spec.Variant) program {
	c := drawSharing(t)
	p := program{config: c}
	for range size(t, 1, 3, "rounds") {
		p.steps = append(p.steps, call(weightSharing, "get_effective_weight", rapid.IntRange(0, c.NSharedLayers-1).Draw(t.T, "layer_idx")))
		if rapid.IntRange(0, 2).Draw(t.T, "fit") == 0 {
			p.steps = append(p.steps, call(weightSharing, "fit", drawSharingLayers(t, c.HiddenDim), rapid.IntRange(0, c.HiddenDim-1).Draw(t.T, "rank of the fit")))
		}
	}
	return p
}

func sharingBadSteps(t *trial, config any) []badStep {
	c := config.(spec.WeightSharingConfig)
	d := c.HiddenDim
	var list []badStep
	for _, layer := range []int{-1, c.NSharedLayers, c.NSharedLayers + 1, math.MaxInt, math.MinInt} {
		list = append(list, badStep{fmt.Sprintf("layer %d", layer), call(weightSharing, "get_effective_weight", layer), spec.Range})
	}
	bad := func(what string, layers []spec.Matrix, rank int) {
		list = append(list, badStep{what, call(weightSharing, "fit", layers, rank), spec.Invalid})
	}
	at := rapid.IntRange(0, d*d-1).Draw(t.T, "at")
	spoiled := func(x float64) spec.Matrix {
		m := sharingZeros(d, d)
		m.Data[at] = float32(x)
		return m
	}
	good := sharingZeros(d, d)
	bad("no layers", nil, 0)
	bad("an empty layer", []spec.Matrix{good, {}}, 0)
	bad("a layer of a row more", []spec.Matrix{good, sharingZeros(d+1, d)}, 0)
	bad("a layer of a column less", []spec.Matrix{sharingZeros(d, d-1), good}, 0)
	bad("a layer without data", []spec.Matrix{{Rows: d, Cols: d}}, 0)
	bad("a layer of negative shape", []spec.Matrix{{Rows: -d, Cols: -d, Data: make([]float32, d*d)}}, 0)
	for _, x := range nonFinite {
		bad(fmt.Sprintf("a %v", x), []spec.Matrix{good, spoiled(x)}, 0)
	}
	bad("rank −1", []spec.Matrix{good}, -1)
	bad("rank hidden_dim", []spec.Matrix{good}, d)
	bad("the greatest rank", []spec.Matrix{good}, math.MaxInt)
	if d > 1 {
		huge, opposite := sharingZeros(d, d), sharingZeros(d, d)
		for i := range huge.Data {
			huge.Data[i], opposite.Data[i] = math.MaxFloat32, -math.MaxFloat32
		}
		bad("a singular value beyond float32", []spec.Matrix{huge, opposite}, 1)
	}
	return list
}

// sharedWeight asks a new instance.
func sharedWeight(t *trial, c spec.WeightSharingConfig, layer int) (weight spec.Matrix) {
	t.Helper()
	t.must(open(t, t.impl.WeightSharing, c).GetEffectiveWeight(&weight, layer))
	t.holds(spec.CheckMatrix("", "", weight, c.HiddenDim, c.HiddenDim) == nil, "got shape (%d, %d), want hidden_dim %d", weight.Rows, weight.Cols, c.HiddenDim)
	return weight
}

func drawSharingLayer(t *trial, c spec.WeightSharingConfig) int {
	return rapid.IntRange(0, c.NSharedLayers-1).Draw(t.T, "layer_idx")
}

func sharingEffective(t *trial) {
	c := drawSharing(t)
	layer := drawSharingLayer(t, c)
	base, u, v := sharingFactorsOf(c, layer)
	want := mat.NewDense(c.HiddenDim, c.HiddenDim, nil)
	want.Apply(func(row, col int, _ float64) float64 {
		sum := bigNumber(float64(base.Row(row)[col]))
		for i, x := range u.Row(row) {
			sum.Add(sum, new(big.Float).Mul(bigNumber(float64(x)), bigNumber(float64(v.Row(i)[col]))))
		}
		element, _ := sum.Float64()
		return element
	}, want)
	sameSharedWeight(t, c, layer, sharedWeight(t, c, layer), want)
}

func sharingShared(t *trial) {
	c := sharingConfig(size(t, 1, 9, "hidden_dim"), size(t, 1, 4, "n_shared_layers"), 0)
	c.Base = matrix(t, c.HiddenDim, c.HiddenDim, anyStyles, "base")
	if rapid.Bool().Draw(t.T, "empty factors") {
		for range c.NSharedLayers {
			c.U, c.V = append(c.U, sharingZeros(c.HiddenDim, 0)), append(c.V, sharingZeros(0, c.HiddenDim))
		}
	}
	for layer := range c.NSharedLayers {
		weight := sharedWeight(t, c, layer)
		if t.u <= 0x1p-24 {
			t.sameBits(fmt.Sprintf("weight of layer %d ", layer), weight, c.Base)
			continue
		}
		for i, b := range c.Base.Data {
			t.within(fmt.Sprintf("element %d of layer %d", i, layer), float64(weight.Data[i]), float64(b), t.u*(math.Abs(float64(b))+0x1p-126))
		}
	}
}

func sharingLowRank(t *trial) {
	c := drawSharing(t)
	layer := drawSharingLayer(t, c)
	base, u, v := sharingFactorsOf(c, layer)
	var Δ mat.Dense
	Δ.Sub(dense(sharedWeight(t, c, layer)), dense(base))
	k := float64(c.Rank)
	budget := (k+3)*t.u*(floats.Norm(widened(base.Data), 2)+floats.Norm(widened(u.Data), 2)*floats.Norm(widened(v.Data), 2)) +
		float64(c.HiddenDim)*(k+1)*spacing(t.u)
	for i, σ := range singularValues(&Δ)[c.Rank:] {
		t.within(fmt.Sprintf("singular value %d of the delta", c.Rank+i), σ, 0, budget)
	}
}

func sharingIsolation(t *trial) {
	c := drawSharing(t)
	layer := drawSharingLayer(t, c)
	want := sharedWeight(t, c, layer)
	changed := cloneAs(c)
	for other := range c.NSharedLayers {
		if other != layer {
			changed.U[other] = matrix(t, c.HiddenDim, c.Rank, moderateStyles, "another u")
			changed.V[other] = matrix(t, c.Rank, c.HiddenDim, moderateStyles, "another v")
		}
	}
	t.sameBits("weight ", sharedWeight(t, changed, layer), want)
}

func sharingFactors(t *trial) {
	c := drawSharing(t)
	r := source(t, "integers")
	c.Base = integerMatrix(r, c.HiddenDim, c.HiddenDim, 9)
	turned := cloneAs(c)
	for layer := range c.NSharedLayers {
		c.U[layer], c.V[layer] = integerMatrix(r, c.HiddenDim, c.Rank, 3), integerMatrix(r, c.Rank, c.HiddenDim, 3)
		for from, to := range r.Perm(c.Rank) {
			scale := float32(math.Ldexp(float64(2*r.IntN(2)-1), r.IntN(41)-20))
			for row := range c.HiddenDim {
				turned.U[layer].Row(row)[to] = scale * c.U[layer].Row(row)[from]
			}
			for col, x := range c.V[layer].Row(from) {
				turned.V[layer].Row(to)[col] = x / scale
			}
		}
	}
	turned.Base = c.Base
	layer := drawSharingLayer(t, c)
	t.equal("weight ", sharedWeight(t, turned, layer), sharedWeight(t, c, layer))
}

func sharingAbsent(t *trial) {
	given := drawSharing(t)
	absent := given
	if rapid.Bool().Draw(t.T, "no base") {
		given.Base, absent.Base = sharingZeros(given.HiddenDim, given.HiddenDim), spec.Matrix{}
	}
	if rapid.Bool().Draw(t.T, "no deltas") {
		given.U, given.V, absent.U, absent.V = nil, nil, nil, nil
		for range given.NSharedLayers {
			given.U = append(given.U, sharingZeros(given.HiddenDim, given.Rank))
			given.V = append(given.V, sharingZeros(given.Rank, given.HiddenDim))
		}
	}
	layer := drawSharingLayer(t, given)
	t.equal("weight ", sharedWeight(t, absent, layer), sharedWeight(t, given, layer))
}

// drawSharingSizes draws a config of sizes alone, now and then large ones.
func drawSharingSizes(t *trial) spec.WeightSharingConfig {
	d := size(t, 1, 12, "hidden_dim")
	return sharingConfig(d, rapid.SampledFrom([]int{1, 2, 3, 4, 7, 1000, 1 << 20}).Draw(t.T, "n_shared_layers"), rapid.IntRange(0, d-1).Draw(t.T, "rank"))
}

func sharingBytes(t *trial) {
	c := drawSharingSizes(t)
	w := open(t, t.impl.WeightSharing, c)
	elements := func(factors ...int) *big.Int {
		product := big.NewInt(4)
		for _, n := range factors {
			product.Mul(product, big.NewInt(int64(n)))
		}
		return product
	}
	d, n := c.HiddenDim, c.NSharedLayers
	shared := new(big.Int).Add(elements(d, d), elements(n, 2, d, c.Rank))
	own := elements(n, d, d)
	t.equal("memory_bytes", int64(w.MemoryBytes()), shared.Int64())
	t.equal("dense_memory_bytes", int64(w.DenseMemoryBytes()), own.Int64())
	want, _ := new(big.Rat).SetFrac(shared, own).Float64()
	t.within("memory_ratio", w.MemoryRatio(), want, 0x1p-50*want)
}

func sharingSaves(t *trial) {
	c := drawSharingSizes(t)
	if rapid.Bool().Draw(t.T, "at the edge") {
		// 2·n·rank = d·(n−1) at rank = k·(n−1) and d = 2·k·n.
		n, k := size(t, 1, 5, "n_shared_layers"), size(t, 1, 2, "k")
		c = sharingConfig(2*k*n, n, min(k*(n-1)+size(t, 0, 1, "more"), 2*k*n-1))
	}
	ratio := open(t, t.impl.WeightSharing, c).MemoryRatio()
	saves := 2*c.NSharedLayers*c.Rank < c.HiddenDim*(c.NSharedLayers-1)
	t.holds((ratio < 1) == saves, "%d layers of %d with rank %d: got the ratio %v, want it below 1: %v", c.NSharedLayers, c.HiddenDim, c.Rank, ratio, saves)
}

// sharingFitted fits with a new instance, of other sizes but the dimension.
func sharingFitted(t *trial, layers []spec.Matrix, rank int) (fit spec.SharedWeights) {
	t.Helper()
	w := open(t, t.impl.WeightSharing, sharingConfig(layers[0].Rows, 1, 0))
	t.must(w.(spec.WeightSharingFit).Fit(&fit, layers, rank))
	sharingWellFitted(t, fit, layers, rank)
	return fit
}

// sharingWellFitted asserts that a fit makes a config.
func sharingWellFitted(t *trial, fit spec.SharedWeights, layers []spec.Matrix, rank int) {
	t.Helper()
	err := sharingConfigOf(fit, rank).Validate()
	t.holds(err == nil && len(fit.Base.Data) > 0, "the fit makes no config: %v", err)
	t.equal("number of factors", len(fit.U), len(layers))
	t.equal("hidden_dim of the fit", fit.Base.Rows, layers[0].Rows)
}

func sharingConfigOf(fit spec.SharedWeights, rank int) spec.WeightSharingConfig {
	c := sharingConfig(fit.Base.Rows, len(fit.U), rank)
	c.Base, c.U, c.V = fit.Base, fit.U, fit.V
	return c
}

// sameSharingBase asserts that a base is the mean of the layers.
func sameSharingBase(t *trial, layers []spec.Matrix, base spec.Matrix, want func(i int) float64) {
	t.Helper()
	n := float64(len(layers))
	for i, b := range base.Data {
		magnitude := 0.0
		for _, layer := range layers {
			magnitude += math.Abs(float64(layer.Data[i])) / n
		}
		t.within(fmt.Sprintf("base[%d]", i), float64(b), want(i), (n+2)*t.u*magnitude+(n+1)*spacing(t.u))
	}
}

// sharingAreNearest asserts that every delta is as near to its layer's difference from the
// base as any of its rank.
func sharingAreNearest(t *trial, fit spec.SharedWeights, layers []spec.Matrix) {
	t.Helper()
	for i, layer := range layers {
		Δ := delta{fit.Base, layer}.difference()
		rank := fit.U[i].Cols
		off := mat.Norm(Δ, 2)
		if rank > 0 {
			var product mat.Dense
			product.Mul(dense(fit.U[i]), dense(fit.V[i]))
			off = frobeniusDistance(Δ, &product)
		}
		optimum := floats.Norm(singularValues(Δ)[rank:], 2)
		t.within(fmt.Sprintf("error of delta %d", i), max(off, optimum), optimum, 1e-4*optimum+approximationBudget(t.u, mat.Norm(Δ, 2), rank+1))
	}
}

func sharingFitBase(t *trial) {
	d := size(t, 1, 8, "hidden_dim")
	layers := drawSharingLayers(t, d)
	fit := sharingFitted(t, layers, rapid.IntRange(0, d-1).Draw(t.T, "rank"))
	sameSharingBase(t, layers, fit.Base, func(i int) float64 {
		sum := bigNumber(0)
		for _, layer := range layers {
			sum.Add(sum, bigNumber(float64(layer.Data[i])))
		}
		mean, _ := sum.Quo(sum, bigNumber(float64(len(layers)))).Float64()
		return mean
	})
}

func sharingFitDeltas(t *trial) {
	d := size(t, 1, 8, "hidden_dim")
	layers := drawSharingLayers(t, d)
	sharingAreNearest(t, sharingFitted(t, layers, rapid.IntRange(0, d-1).Draw(t.T, "rank")), layers)
}

// sharingFitWhole draws layers in pairs, on either side of a base.
func sharingFitWhole(t *trial) {
	d := size(t, 2, 8, "hidden_dim")
	rank := rapid.IntRange(1, d-1).Draw(t.T, "rank")
	r := source(t, "integers")
	base := integerMatrix(r, d, d, 1000)
	var layers []spec.Matrix
	for range size(t, 1, 2, "pairs") {
		u, v := integerMatrix(r, d, rank, 4), integerMatrix(r, rank, d, 4)
		above, below := cloneAs(base), cloneAs(base)
		for row := range d {
			for col := range d {
				for i, x := range u.Row(row) {
					above.Row(row)[col] += x * v.Row(i)[col]
					below.Row(row)[col] -= x * v.Row(i)[col]
				}
			}
		}
		layers = append(layers, above, below)
	}
	fit := sharingFitted(t, layers, rank)
	t.unfrozen = true // a config is made of the fit
	k := float64(rank)
	for i, layer := range layers {
		Δ := mat.Norm(delta{base, layer}.difference(), 2)
		weight := sharedWeight(t, sharingConfigOf(fit, rank), i)
		budget := 16*t.u*Δ + (k+2)*t.u*(floats.Norm(widened(base.Data), 2)+math.Sqrt(k)*Δ) + float64(d)*(k+1)*spacing(t.u)
		t.within(fmt.Sprintf("distance of layer %d", i), frobeniusDistance(dense(weight), dense(layer)), 0, budget)
	}
}

func sharingStats(t *trial) {
	c := drawSharing(t)
	w := open(t, t.impl.WeightSharing, c)
	want := spec.WeightSharingStats{HiddenDim: c.HiddenDim, NSharedLayers: c.NSharedLayers, Rank: c.Rank}
	for range size(t, 0, 4, "calls") {
		var weight spec.Matrix
		t.must(w.GetEffectiveWeight(&weight, drawSharingLayer(t, c)))
		want.Calls++
	}
	got := w.Stats()
	t.within("memory_ratio", got.MemoryRatio, 1/float64(c.NSharedLayers)+2*float64(c.Rank)/float64(c.HiddenDim), 0x1p-50*got.MemoryRatio)
	got.MemoryRatio = 0
	t.equal("stats", got, want)
}

// sharingAnswer is what the row comes to.
type sharingAnswer struct {
	config spec.WeightSharingConfig
	layer  int
	weight spec.Matrix
}

func sharingRowConfig(w spec.Workload) spec.WeightSharingConfig {
	c := sharingConfig(w.Int("hidden_dim", 512), w.Int("layers", 4), w.Int("rank", 8))
	d := c.HiddenDim
	c.Base = spec.Matrix{Rows: d, Cols: d, Data: gaussian(d*d, 24)}
	for i := range c.NSharedLayers {
		c.U = append(c.U, spec.Matrix{Rows: d, Cols: c.Rank, Data: gaussian(d*c.Rank, uint64(25+2*i))})
		c.V = append(c.V, spec.Matrix{Rows: c.Rank, Cols: d, Data: gaussian(d*c.Rank, uint64(26+2*i))})
	}
	return c
}

func sharingWeightRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	c := sharingRowConfig(w)
	s, err := impl.WeightSharing(c)
	out := sharingAnswer{config: c}
	return timing{
		calls: c.NSharedLayers,
		call: func(i int) error {
			out.layer = i
			return s.GetEffectiveWeight(&out.weight, i)
		},
		result: func() (any, error) { return &out, nil },
	}, err
}

func sharingRatioRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	s, err := impl.WeightSharing(sharingRowConfig(w))
	var ratio float64
	return timing{
		calls: 1,
		call: func(int) error {
			ratio = s.MemoryRatio()
			return nil
		},
		result: func() (any, error) { return &ratio, nil },
	}, err
}
