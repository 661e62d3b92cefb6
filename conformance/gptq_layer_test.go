package conformance

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var gptqLayerMutants = []mutant{
	{"gptq-layer/codes", "gives codes without their zero point", onGPTQ(func(_ spec.GPTQLayerConfig, q *spec.QuantizedLayer) {
		clear(q.ZeroPoints)
	}), ""},
	{"gptq-layer/codes", "gives −0 for small negative weights", onGPTQOf(func(_ spec.GPTQLayerConfig, w, _ spec.Matrix, q *spec.QuantizedLayer) {
		for i, v := range w.Data {
			if v < 0 && q.Weights.Data[i] == 0 {
				q.Weights.Data[i] = float32(math.Copysign(0, -1))
			}
		}
	}), ""},
	{"gptq-layer/codes", "has q_max + 1 for a code at the end", onGPTQ(func(c spec.GPTQLayerConfig, q *spec.QuantizedLayer) {
		_, highest := (&gptqOracle{GPTQLayerConfig: c}).codeRange()
		for i, code := range q.Codes {
			if int(code) == highest {
				q.Codes[i]++
			}
		}
	}), ""},
	{"gptq-layer/codes", "publishes scales in bfloat16", onGPTQ(func(_ spec.GPTQLayerConfig, q *spec.QuantizedLayer) {
		toBfloat16(q.Scales.Data)
	}), ""},
	{"gptq-layer/error-feedback", "rounds to nearest", gptqToNearest, ""},
	{"gptq-layer/error-feedback", "moves later weights to the wrong side", gptqFaulty(addsErrors), ""},
	{"gptq-layer/error-feedback", "takes the rows of H⁻¹ for those of its factor", gptqFaulty(rowsOfInverse), ""},
	{"gptq-layer/error-feedback", "damps ten times as much as it says", gptqDampsMore, ""},
	{"gptq-layer/scales", "takes the scales of the weights as they were given", gptqFaulty(staticGrids), ""},
	{"gptq-layer/scales", "leaves pending updates of the block out of scales", gptqFaulty(forgetsPending), ""},
	{"gptq-layer/scales", "has ranges without 0", gptqFaulty(gridsWithoutZero), ""},
	{"gptq-layer/losses", "gives half of the loss", onGPTQ(func(_ spec.GPTQLayerConfig, q *spec.QuantizedLayer) {
		for r := range q.Losses {
			q.Losses[r] /= 2
		}
	}), ""},
	{"gptq-layer/losses", "measures the loss without the damping", onGPTQOf(func(c spec.GPTQLayerConfig, w, x spec.Matrix, q *spec.QuantizedLayer) {
		if c.Variant == spec.Documented {
			o := newGPTQOracle(c, w, x)
			for r := range q.Losses {
				q.Losses[r] = 2 / float64(x.Rows) * o.rowError(q.Weights, r)
			}
		}
	}), ""},
	{"gptq-layer/block-size", "lets no error leave its block", gptqFaulty(forgetsBlocks), ""},
	{"gptq-layer/block-size", "leaves pending updates of the block out of scales", gptqFaulty(forgetsPending), ""},
	{"gptq-layer/diagonal", "rounds halves away from 0", gptqFaulty(halfAway), ""},
	{"gptq-layer/diagonal", "has a level more than the codes", gptqFaulty(oneLevelMore), ""},
	{"gptq-layer/on-grid", "has a level more than the codes", gptqFaulty(oneLevelMore), ""},
	{"gptq-layer/on-grid", "gives weights that are a bit off", onGPTQ(func(_ spec.GPTQLayerConfig, q *spec.QuantizedLayer) {
		for i, v := range q.Weights.Data {
			q.Weights.Data[i] = v * (1 + 0x1p-23)
		}
	}), ""},
	{"gptq-layer/rows", "adds the first row to the others", before("calibrate", func(c *proxy.Call) {
		w := c.Args[0].(spec.Matrix)
		for r := 1; r < w.Rows && len(w.Data) == w.Rows*w.Cols; r++ {
			for i, v := range w.Row(0) {
				w.Row(r)[i] += v
			}
		}
	}), ""},
	{"gptq-layer/power-of-two", "damps by damp_percent, and not by that share of the mean", gptqFaulty(absoluteDamping), ""},
	{"gptq-layer/power-of-two", "adds 1e-8 to scales", onGPTQ(func(_ spec.GPTQLayerConfig, q *spec.QuantizedLayer) {
		for i := range q.Scales.Data {
			q.Scales.Data[i] += 1e-8
		}
	}), ""},
	{"gptq-layer/dead-inputs", "keeps the weights of dead inputs", gptqFaulty(keepsDead), ""},
	{"gptq-layer/act-order", "takes inputs as they are numbered", before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.GPTQLayerConfig)
		config.ActOrder = false
		c.Args[0] = config
	}), ""},
	{"gptq-layer/act-order", "puts the higher of equal inputs first", gptqFaulty(lastOfEquals), ""},
	{"gptq-layer/below-nearest", "rounds to nearest", gptqToNearest, ""},
	{"gptq-layer/below-nearest", "moves later weights to the wrong side", gptqFaulty(addsErrors), ""},
	{"gptq-layer/damping", "damps ten times as much from the beginning", before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.GPTQLayerConfig)
		config.DampPercent *= 10
		c.Args[0] = config
	}), ""},
	{"gptq-layer/damping", "says the damping that it was given", onGPTQ(func(c spec.GPTQLayerConfig, q *spec.QuantizedLayer) {
		q.DampPercent = c.DampPercent
	}), ""},
	{"gptq-layer/damping", "takes no damping below 1e-3", withGPTQConfig(func(config spec.GPTQLayerConfig, next proxy.Handler, c *proxy.Call) error {
		if config.DampPercent < 1e-3 {
			return spec.Reject(spec.Invalid, "gptq-layer", "activations", "none", "some")
		}
		return next(c)
	}), spec.Rejected},
	{"gptq-layer/damping", "never gives up", gptqNeverGivesUp, spec.Accepted},
	{"gptq-layer/escalation", "gives up at the first failure", withGPTQConfig(func(config spec.GPTQLayerConfig, next proxy.Handler, c *proxy.Call) error {
		err := next(c)
		if q := c.Dst.(*spec.QuantizedLayer); err == nil && config.Variant == spec.Documented && q.DampPercent > config.DampPercent {
			return spec.Reject(spec.Invalid, "gptq-layer", "activations", "an H with a Cholesky factor", "none")
		}
		return err
	}), spec.Rejected},
	{"gptq-layer/escalation", "says the damping that it was given", onGPTQ(func(c spec.GPTQLayerConfig, q *spec.QuantizedLayer) {
		q.DampPercent = c.DampPercent
	}), ""},
	{"gptq-layer/stats", "counts rows for columns", func(next proxy.Handler) proxy.Handler {
		rows := 0
		return func(c *proxy.Call) error {
			err := next(c)
			switch c.Op.Name {
			case "calibrate":
				rows += c.Args[0].(spec.Matrix).Rows
			case "stats":
				c.Dst.(*spec.GPTQLayerStats).Columns = rows
			}
			return err
		}
	}, ""},
	{"gptq-layer/columns-squish6", "takes all inputs for equally loud", before("calibrate", func(c *proxy.Call) {
		x := c.Args[1].(spec.Matrix)
		for i := range x.Data {
			x.Data[i] = 1
		}
	}), ""},
	{"gptq-layer/columns-squish6", "keeps 16 bits of a weight", onGPTQ(func(_ spec.GPTQLayerConfig, q *spec.QuantizedLayer) {
		toBfloat16(q.Weights.Data)
	}), ""},
	{"gptq-layer/blocks-squish6", "goes on over the ends of blocks", before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.GPTQLayerConfig)
		config.BlockSize = math.MaxInt
		c.Args[0] = config
	}), ""},
	{"gptq-layer/equivalence", "ignores groups", before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.GPTQLayerConfig)
		config.GroupSize = max(config.GroupSize, 1<<20)
		c.Args[0] = config
	}), ""},
	{"gptq-layer/equivalence", "moves later weights to the wrong side", gptqFaulty(addsErrors), ""},
	{"gptq-layer/equivalence-squish6", "answers as documented", onGPTQOf(func(c spec.GPTQLayerConfig, w, x spec.Matrix, q *spec.QuantizedLayer) {
		if c.Variant == spec.Squish6 {
			c.Variant = spec.Documented
			layer := new(spec.QuantizedLayer)
			if g, err := ref.NewGPTQLayer(c); err == nil && g.Calibrate(layer, transposed(w), x) == nil {
				q.Weights = transposed(layer.Weights)
			}
		}
	}), ""},
}

// onGPTQ spoils what a layer was quantised to.
func onGPTQ(spoil func(c spec.GPTQLayerConfig, q *spec.QuantizedLayer)) proxy.Layer {
	return onGPTQOf(func(c spec.GPTQLayerConfig, _, _ spec.Matrix, q *spec.QuantizedLayer) { spoil(c, q) })
}

func onGPTQOf(spoil func(c spec.GPTQLayerConfig, w, x spec.Matrix, q *spec.QuantizedLayer)) proxy.Layer {
	return withGPTQConfig(func(config spec.GPTQLayerConfig, next proxy.Handler, c *proxy.Call) error {
		err := next(c)
		if err == nil {
			spoil(config, c.Args[0].(spec.Matrix), c.Args[1].(spec.Matrix), c.Dst.(*spec.QuantizedLayer))
		}
		return err
	})
}

// gptqToNearest keeps the sums of squares of the activations, and loses what inputs
// have in common.
var gptqToNearest = before("calibrate", func(c *proxy.Call) {
	x := c.Args[1].(spec.Matrix)
	if spec.CheckMatrix("", "", x, -1, -1) != nil || len(x.Data) == 0 {
		return
	}
	apart := gptqZeros(x.Cols, x.Cols)
	for i := range x.Cols {
		square := 0.0
		for s := range x.Rows {
			square += float64(x.Row(s)[i]) * float64(x.Row(s)[i])
		}
		apart.Row(i)[i] = float32(math.Sqrt(square * float64(x.Cols) / float64(x.Rows)))
	}
	c.Args[1] = apart
})

// gptqDampsMore is ref with another damping than it says.
var gptqDampsMore = withGPTQConfig(func(config spec.GPTQLayerConfig, next proxy.Handler, c *proxy.Call) error {
	err := next(c)
	if err != nil || config.Variant != spec.Documented {
		return err
	}
	more := config
	more.DampPercent *= 10
	q := c.Dst.(*spec.QuantizedLayer)
	g, err := ref.NewGPTQLayer(more)
	if err == nil {
		err = g.Calibrate(q, c.Args[0].(spec.Matrix), c.Args[1].(spec.Matrix))
		q.DampPercent = config.DampPercent
	}
	return err
})

// gptqNeverGivesUp takes the default damping in the end, and says another.
var gptqNeverGivesUp = withGPTQConfig(func(config spec.GPTQLayerConfig, next proxy.Handler, c *proxy.Call) error {
	err := next(c)
	if err == nil || config.DampPercent > 1e-24 {
		return err
	}
	dampings := (&gptqOracle{GPTQLayerConfig: config}).dampings()
	config.DampPercent = spec.DefaultGPTQLayerConfig().DampPercent
	g, err := ref.NewGPTQLayer(config)
	if err == nil {
		err = g.Calibrate(c.Dst.(*spec.QuantizedLayer), c.Args[0].(spec.Matrix), c.Args[1].(spec.Matrix))
		c.Dst.(*spec.QuantizedLayer).DampPercent = dampings[gptqEscalations]
	}
	return err
})

// TestGPTQOracleAgreesWithTheFactor holds the least squares problems of the oracle to
// the factor U that they do without: w − ŵ = E·U with e_k what the oracle finds.
func TestGPTQOracleAgreesWithTheFactor(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		w, x := drawGPTQCorrelated(r)
		o := newGPTQOracle(gptqConfig(func(c *spec.GPTQLayerConfig) { c.ActOrder = true }), w, x)
		n := o.inputs()
		order := make([]int32, n)
		for k, i := range r.Perm(n) {
			order[k] = int32(i)
		}
		s := o.system(order, 0.01)
		var factor mat.Cholesky
		if !factor.Factorize(s.inverses[0]) {
			t.Fatal("the inverse has no factor")
		}
		var u mat.TriDense
		factor.UTo(&u)
		weights, d, e := make([]float64, n), make([]float64, n), make([]float64, n)
		for k := range n {
			weights[k], d[k] = r.NormFloat64(), r.NormFloat64()
		}
		square := 0.0
		for k := range n {
			e[k] = (s.left(weights, d, k, k) - (weights[k] - d[k])) / s.root(k)
			square += e[k] * e[k]
			if off := math.Abs(s.root(k)/u.At(k, k) - 1); off > 1e-10 {
				t.Errorf("U_%d,%d: got %v, want %v", k, k, s.root(k), u.At(k, k))
			}
			for m := k; m < n; m++ {
				if want := math.Abs(u.At(k, m)) / u.At(k, k); math.Abs(s.spread(k, m)-want) > 1e-10 {
					t.Errorf("|U_%d,%d|/U_%d,%d: got %v, want %v", k, m, k, k, s.spread(k, m), want)
				}
			}
		}
		for m := range n {
			sum := 0.0
			for k := range m + 1 {
				sum += e[k] * u.At(k, m)
			}
			if math.Abs(sum-d[m]) > 1e-10 {
				t.Errorf("(E·U)_%d: got %v, want %v", m, sum, d[m])
			}
		}
		if form := s.form(d); math.Abs(form-square) > 1e-10*square {
			t.Errorf("d·H·dᵀ: got %v, want Σ e² = %v", form, square)
		}
	}
}

// TestGPTQSquish6IsFarWorseThanRoundingToNearest measures the recorded variant by what
// quantisation is for.
func TestGPTQSquish6IsFarWorseThanRoundingToNearest(t *testing.T) {
	for _, bits := range []float64{3, 4} {
		for _, name := range spec.WorkloadNames { // documented, then squish6
			timing, err := gptqRow(ref.Implementation(), name, spec.Workload{"rows": 64.0, "cols": 64.0, "n_bits": bits, "samples": 128.0, "block_size": 64.0})
			if err != nil {
				t.Fatal(err)
			}
			if err := timing.call(0); err != nil {
				t.Fatal(err)
			}
			result, err := timing.result()
			if err != nil {
				t.Fatal(err)
			}
			own, nearest := result.(*gptqRowResult).relativeErrors()
			variant := rowVariant(gptqLayer, name)
			t.Logf("%v bits, variant %q: relative squared output error %.4f, rounded to nearest %.4f", bits, variant, own, nearest)
			if variant == spec.Squish6 && own < 20*nearest {
				t.Errorf("squish6: want at least 20 times the error of rounding to nearest")
			}
			if variant == spec.Documented && own > nearest {
				t.Errorf("documented: want no more error than rounded to nearest")
			}
		}
	}
}

// TestGPTQSquish6TurnedRoundFailsItsPurpose gives the recorded variant its weights as it
// wants them, on their side: it is below-nearest that it fails then, by its outputs.
func TestGPTQSquish6TurnedRoundFailsItsPurpose(t *testing.T) {
	turned := withGPTQConfig(func(config spec.GPTQLayerConfig, _ proxy.Handler, c *proxy.Call) error {
		config.Variant = spec.Squish6
		g, err := ref.NewGPTQLayer(config)
		if err != nil {
			return err
		}
		q := c.Dst.(*spec.QuantizedLayer)
		err = g.Calibrate(q, transposed(c.Args[0].(spec.Matrix)), c.Args[1].(spec.Matrix))
		q.Weights = transposed(q.Weights)
		return err
	})
	result := Check(proxy.Wrap(ref.Implementation(), turned), Requirements("gptq-layer/below-nearest"), Shrink(0)).Results[0]
	if result.Status != Failed || result.Symptom != spec.Differs || !strings.Contains(result.Message, "output error") {
		t.Errorf("%s of %s: %s", result.Status, result.Symptom, result.Message)
	}
}
