package conformance

import (
	"math"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

// A float32GPTQ is GPTQ as libraries run it: H, its factors and the updates in
// float32, where squares neither over- nor underflow there.
type float32GPTQ struct {
	config spec.GPTQLayerConfig
	stats  spec.GPTQLayerStats
	// elsewhere is asked where squares might.
	elsewhere func(dst *spec.QuantizedLayer, weights, activations spec.Matrix) error
	fault     gptqFault
}

// A gptqFault is one thing that a float32GPTQ does wrong.
type gptqFault int

const (
	noFault          gptqFault = iota
	addsErrors                 // moves weights to the wrong side
	rowsOfInverse              // takes H⁻¹ for its factor
	forgetsBlocks              // errors do not leave their block
	staticGrids                // grids are those of the weights as they were given
	forgetsPending             // grids lack the updates of the block at hand
	gridsWithoutZero           // asymmetric ranges do not include 0
	oneLevelMore               // symmetric scales are max|w|/2^(b−1)
	halfAway                   // rounds halves away from 0
	keepsDead                  // dead inputs keep their weights
	absoluteDamping            // damps by damp_percent, and not by that share of the mean
	lastOfEquals               // act_order puts the higher of equal inputs first
)

// TestGPTQInFloat32Conforms proves the tolerances wide enough for an honest
// implementation in working precision: it fails nothing but what float32 cannot do.
func TestGPTQInFloat32Conforms(t *testing.T) {
	impl := spec.Implementation{Name: "float32", GPTQLayer: func(c spec.GPTQLayerConfig) (spec.GPTQLayer, error) {
		if err := c.Validate(); err != nil {
			return nil, err
		}
		elsewhere, err := ref.NewGPTQLayer(c)
		if err != nil {
			return nil, err
		}
		return &float32GPTQ{config: c, elsewhere: elsewhere.Calibrate}, nil
	}}
	largest := 0.0
	for _, result := range Check(impl, Modules("gptq-layer"), Seed(32), Shrink(0)).Results {
		largest = max(largest, result.BudgetUsed)
		switch failed := result.Status == Failed || result.Status == Warning; result.Requirement {
		case "gptq-layer/escalation":
			if !failed {
				t.Error("float32 has the range of float64")
			}
		case "gptq-layer/power-of-two": // may lead from one arithmetic to the other
		default:
			if failed {
				t.Errorf("%s: %s\n%s\n%s", result.Requirement, result.Status, result.Message, result.Input)
			}
		}
	}
	t.Logf("at most %.2f of a budget used", largest)
}

// gptqFaulty is a layer that calibrates with a fault, as variant squish6 without.
func gptqFaulty(fault gptqFault) proxy.Layer {
	return withGPTQConfig(func(config spec.GPTQLayerConfig, next proxy.Handler, c *proxy.Call) error {
		weights, activations := c.Args[0].(spec.Matrix), c.Args[1].(spec.Matrix)
		err := next(c) // counts, and refuses
		if err != nil || config.Variant != spec.Documented {
			return err
		}
		g := &float32GPTQ{config: config, fault: fault, elsewhere: func(*spec.QuantizedLayer, spec.Matrix, spec.Matrix) error { return nil }}
		return g.Calibrate(c.Dst.(*spec.QuantizedLayer), weights, activations)
	})
}

// withGPTQConfig is a layer that has another way to calibrate, which knows the config.
func withGPTQConfig(calibrate func(config spec.GPTQLayerConfig, next proxy.Handler, c *proxy.Call) error) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		var config spec.GPTQLayerConfig
		return func(c *proxy.Call) error {
			if c.Op == proxy.New {
				config = c.Args[0].(spec.GPTQLayerConfig)
			}
			if c.Op.Name == "calibrate" {
				return calibrate(config, next, c)
			}
			return next(c)
		}
	}
}

func (g *float32GPTQ) Stats() spec.GPTQLayerStats { return g.stats }

func (g *float32GPTQ) Calibrate(dst *spec.QuantizedLayer, weights, activations spec.Matrix) error {
	if err := g.config.CheckLayer(weights, activations); err != nil {
		return err
	}
	g.stats.Calls++
	g.stats.Columns += weights.Cols
	n, x := weights.Cols, activations
	for _, numbers := range [][]float32{newGPTQOracle(g.config, weights, x).w.Data, x.Data} {
		for _, v := range numbers {
			if v := math.Abs(float64(v)); v != 0 && v < 0x1p-40 || v > 0x1p60 {
				return g.elsewhere(dst, weights, x)
			}
		}
	}
	h := make([][]float32, n)
	dead := make([]bool, n)
	for i := range h {
		h[i] = make([]float32, n)
		for j := range h[i] {
			for s := range x.Rows {
				h[i][j] += x.Row(s)[i] * x.Row(s)[j] * 2 / float32(x.Rows)
			}
		}
		dead[i] = true
		for s := range x.Rows {
			dead[i] = dead[i] && x.Row(s)[i] == 0
		}
		if dead[i] {
			h[i][i] = 1
		}
	}
	order := make([]int32, n)
	for k := range order {
		order[k] = int32(k)
		for l := k; l > 0 && g.config.ActOrder && g.isAhead(h[order[l]][order[l]], h[order[l-1]][order[l-1]]); l-- {
			order[l-1], order[l] = order[l], order[l-1]
		}
	}
	u, damping := g.factor(h, order)
	if u == nil {
		return spec.Reject(spec.Invalid, "gptq-layer", "activations", "an H with a Cholesky factor", "none")
	}
	size := g.config.GroupSize
	if size == 0 || size > n {
		size = n
	}
	groups := (n + size - 1) / size
	*dst = spec.QuantizedLayer{
		Codes: make([]int16, weights.Rows*n), ZeroPoints: make([]int16, weights.Rows*groups),
		Order: order, Losses: make([]float64, weights.Rows), DampPercent: damping,
	}
	dst.Weights.Resize(weights.Rows, n)
	dst.Scales.Resize(weights.Rows, groups)
	lowest, highest := (&gptqOracle{GPTQLayerConfig: g.config}).codeRange()
	for r := range weights.Rows {
		w := make([]float32, n)
		for k, i := range order {
			if !dead[i] || g.fault == keepsDead {
				w[k] = weights.Row(r)[i]
			}
		}
		given := slices.Clone(w)
		var settled []float32 // w as it was when the block began
		for k, i := range order {
			if k%g.config.BlockSize == 0 {
				settled = slices.Clone(w)
			}
			if k%size == 0 {
				from := w
				switch g.fault {
				case staticGrids:
					from = given
				case forgetsPending:
					from = settled
				}
				dst.Scales.Row(r)[k/size], dst.ZeroPoints[r*groups+k/size] = g.grid(from[k:min(k+size, n)])
			}
			scale, zero := dst.Scales.Row(r)[k/size], float32(dst.ZeroPoints[r*groups+k/size])
			code := float32(math.RoundToEven(float64(w[k] / scale)))
			if g.fault == halfAway {
				code = float32(math.Round(float64(w[k] / scale)))
			}
			code = max(float32(lowest), min(code+zero, float32(highest)))
			dst.Codes[r*n+int(i)] = int16(code)
			quantized := scale * (code - zero)
			dst.Weights.Row(r)[i] = quantized
			e := (w[k] - quantized) / u[k][k]
			dst.Losses[r] += float64(e) * float64(e)
			if g.fault == addsErrors {
				e = -e
			}
			for l := k + 1; l < n; l++ {
				if g.fault != forgetsBlocks || l/g.config.BlockSize == k/g.config.BlockSize {
					w[l] -= e * u[k][l]
				}
			}
		}
	}
	return nil
}

func (g *float32GPTQ) isAhead(h, other float32) bool {
	return h > other || h == other && g.fault == lastOfEquals
}

func (g *float32GPTQ) grid(w []float32) (scale float32, zero int16) {
	least, most := float32(0), float32(0)
	if g.fault == gridsWithoutZero {
		least, most = w[0], w[0]
	}
	for _, v := range w {
		least, most = min(least, v), max(most, v)
	}
	levels := float32(int(1)<<g.config.NBits - 1)
	if g.config.Symmetric {
		highest := int(1)<<(g.config.NBits-1) - 1
		if g.fault == oneLevelMore {
			highest++
		}
		scale = max(most, -least) / float32(highest)
	} else {
		scale = most/levels - least/levels
	}
	if scale == 0 {
		return 1, 0
	}
	if !g.config.Symmetric {
		zero = int16(max(0, min(levels, float32(math.RoundToEven(float64(-least/scale))))))
	}
	return scale, zero
}

func (g *float32GPTQ) factor(h [][]float32, order []int32) (u [][]float32, damping float64) {
	n := len(h)
	mean := float32(0)
	for i := range h {
		mean += h[i][i] / float32(n)
	}
	if g.fault == absoluteDamping {
		mean = 1
	}
	damping = g.config.DampPercent
	for range 1 + gptqEscalations {
		damped := make([][]float32, n)
		for k := range damped {
			damped[k] = make([]float32, n)
			for l := range damped[k] {
				damped[k][l] = h[order[k]][order[l]]
			}
			damped[k][k] += float32(damping) * mean
		}
		if lower := float32Cholesky(damped); lower != nil {
			inverse := float32Inverse(lower)
			if g.fault == rowsOfInverse {
				return inverse, damping
			}
			if factor := float32Cholesky(inverse); factor != nil {
				for k := range factor { // transpose
					for l := range k {
						factor[l][k], factor[k][l] = factor[k][l], 0
					}
				}
				return factor, damping
			}
		}
		damping *= 10
	}
	return nil, damping
}

// float32Cholesky returns the lower factor of a, or nil.
func float32Cholesky(a [][]float32) [][]float32 {
	lower := make([][]float32, len(a))
	for i := range a {
		lower[i] = make([]float32, len(a))
		for j := range i + 1 {
			sum := a[i][j]
			for k := range j {
				sum -= lower[i][k] * lower[j][k]
			}
			if i == j {
				if !(sum > 0) {
					return nil
				}
				lower[i][i] = float32(math.Sqrt(float64(sum)))
			} else {
				lower[i][j] = sum / lower[j][j]
			}
		}
	}
	return lower
}

// float32Inverse returns the inverse of lower·lowerᵀ.
func float32Inverse(lower [][]float32) [][]float32 {
	n := len(lower)
	inverse := make([][]float32, n) // of lower
	for i := range n {
		inverse[i] = make([]float32, n)
		for j := range i + 1 {
			sum := float32(0)
			if i == j {
				sum = 1
			}
			for k := j; k < i; k++ {
				sum -= lower[i][k] * inverse[k][j]
			}
			inverse[i][j] = sum / lower[i][i]
		}
	}
	product := make([][]float32, n)
	for i := range n {
		product[i] = make([]float32, n)
		for j := range n {
			for k := max(i, j); k < n; k++ {
				product[i][j] += inverse[k][i] * inverse[k][j]
			}
		}
	}
	return product
}
