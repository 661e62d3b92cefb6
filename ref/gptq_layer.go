package ref

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
	"gonum.org/v1/gonum/mat"
)

// NewGPTQLayer returns the reference of spec.GPTQLayer, or an error of kind
// spec.Invalid for a config out of range. U is the Cholesky factor of the inverse of
// H, as in algorithm 1 of the paper (arXiv 2210.17323), both by gonum.
func NewGPTQLayer(c spec.GPTQLayerConfig) (spec.GPTQLayer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &gptqLayer{config: c}, nil
}

type gptqLayer struct {
	config spec.GPTQLayerConfig
	stats  spec.GPTQLayerStats
}

func (g *gptqLayer) Calibrate(dst *spec.QuantizedLayer, weights, activations spec.Matrix) error {
	if err := g.config.CheckLayer(weights, activations); err != nil {
		return err
	}
	calibrate := g.calibrate
	if g.config.Variant == spec.Squish6 {
		calibrate = g.calibrateSquish6
	}
	if err := calibrate(dst, weights, activations); err != nil {
		return err
	}
	g.stats.Calls++
	g.stats.Columns += weights.Cols
	return nil
}

func (g *gptqLayer) Stats() spec.GPTQLayerStats { return g.stats }

func (g *gptqLayer) calibrate(dst *spec.QuantizedLayer, weights, activations spec.Matrix) error {
	h := gptqHessian(activations)
	dead := gptqRevive(h)
	order := g.inputOrder(h)
	u, damping, ok := g.inverseFactor(gptqPermuted(h, order))
	if !ok {
		return spec.Reject(spec.Invalid, "gptq-layer", "activations",
			fmt.Sprintf("an H with a Cholesky factor at a damping of at most %v", damping), "none")
	}
	outputs, inputs := weights.Rows, weights.Cols
	size := g.groupSize(inputs)
	groups := (inputs + size - 1) / size
	dst.Weights.Resize(outputs, inputs)
	dst.Codes = spec.Resize(dst.Codes, outputs*inputs)
	dst.Scales.Resize(outputs, groups)
	dst.ZeroPoints = spec.Resize(dst.ZeroPoints, outputs*groups)
	dst.Order = spec.Resize(dst.Order, inputs)
	dst.Losses = spec.Resize(dst.Losses, outputs)
	dst.DampPercent = damping
	for k, i := range order {
		dst.Order[k] = int32(i)
	}
	for r := range outputs {
		w := make([]float64, inputs)
		for k, i := range order {
			if !dead[i] {
				w[k] = float64(weights.Row(r)[i])
			}
		}
		row := g.quantizeRow(w, u)
		for k, i := range order {
			grid := row.grids[k/size]
			dst.Codes[r*inputs+i] = int16(row.codes[k])
			dst.Weights.Row(r)[i] = grid.value(row.codes[k])
		}
		for j, grid := range row.grids {
			dst.Scales.Row(r)[j] = grid.scale
			dst.ZeroPoints[r*groups+j] = int16(grid.zero)
		}
		dst.Losses[r] = row.loss
	}
	return gptqCheck(dst)
}

// gptqHessian returns 2·xᵀx/samples: the second derivatives of the mean squared error
// of one output by its weights.
func gptqHessian(x spec.Matrix) *mat.SymDense {
	h := mat.NewSymDense(x.Cols, nil)
	for i := range x.Cols {
		for j := i; j < x.Cols; j++ {
			sum := 0.0
			for s := range x.Rows {
				sum += float64(float64(x.Row(s)[i]) * float64(x.Row(s)[j]))
			}
			h.SetSym(i, j, 2*sum/float64(x.Rows))
		}
	}
	return h
}

// gptqRevive sets H_ii of inputs that are always 0 to 1, and returns which they are.
func gptqRevive(h *mat.SymDense) []bool {
	dead := make([]bool, h.SymmetricDim())
	for i := range dead {
		if h.At(i, i) == 0 {
			dead[i] = true
			h.SetSym(i, i, 1)
		}
	}
	return dead
}

func (g *gptqLayer) inputOrder(h *mat.SymDense) []int {
	order := make([]int, h.SymmetricDim())
	for i := range order {
		order[i] = i
	}
	if g.config.ActOrder {
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(h.At(j, j), h.At(i, i)) })
	}
	return order
}

func gptqPermuted(h *mat.SymDense, order []int) *mat.SymDense {
	p := mat.NewSymDense(len(order), nil)
	for i := range order {
		for j := i; j < len(order); j++ {
			p.SetSym(i, j, h.At(order[i], order[j]))
		}
	}
	return p
}

// gptqEscalations is how often a damping that is too small is taken times 10.
const gptqEscalations = 6

// inverseFactor returns the upper triangular U with UᵀU the inverse of the damped H,
// the damping that it took, and whether there is one.
func (g *gptqLayer) inverseFactor(h *mat.SymDense) (u *mat.TriDense, damping float64, ok bool) {
	mean := mat.Trace(h) / float64(h.SymmetricDim())
	damping = g.config.DampPercent
	for attempt := 0; ; attempt++ {
		damped := mat.NewSymDense(h.SymmetricDim(), nil)
		damped.CopySym(h)
		for i := range h.SymmetricDim() {
			damped.SetSym(i, i, h.At(i, i)+float64(damping*mean))
		}
		if u, ok = gptqFactorOfInverse(damped); ok || attempt == gptqEscalations {
			return u, damping, ok
		}
		damping *= 10
	}
}

// gptqLostPivot is the share of its diagonal element below which a pivot is rounding
// more than number: n·2⁻⁵³ of it is.
const gptqLostPivot = 0x1p-44

func gptqFactorOfInverse(h *mat.SymDense) (*mat.TriDense, bool) {
	var factor mat.Cholesky
	if !factor.Factorize(h) {
		return nil, false
	}
	var u mat.TriDense
	factor.UTo(&u)
	for i := range h.SymmetricDim() {
		if pivot := u.At(i, i) * u.At(i, i); !(pivot > gptqLostPivot*h.At(i, i)) || math.IsInf(pivot, 0) {
			return nil, false
		}
	}
	var inverse mat.SymDense
	factor.InverseTo(&inverse) // complains of a condition that the pivots have been judged for
	if !factor.Factorize(&inverse) {
		return nil, false
	}
	u.Reset()
	factor.UTo(&u)
	return &u, true
}

// A gptqRow is a row of weights, in the order in which they were quantised.
type gptqRow struct {
	codes []int
	grids []gptqGrid // one a group
	loss  float64
}

// quantizeRow rounds the weights of one output one after another; w is its own.
func (g *gptqLayer) quantizeRow(w []float64, u *mat.TriDense) gptqRow {
	n, size := len(w), g.groupSize(len(w))
	row := gptqRow{codes: make([]int, n)}
	e := make([]float64, n)
	for start := 0; start < n; start += min(g.config.BlockSize, n) {
		end := min(start+min(g.config.BlockSize, n), n)
		for i := start; i < end; i++ {
			if i%size == 0 {
				group := slices.Clone(w[i:min(i+size, n)])
				for k := max(i, end); k < i+len(group); k++ {
					for j := start; j < i; j++ { // pending: this block's errors have not reached it yet
						group[k-i] -= float64(e[j] * u.At(j, k))
					}
				}
				row.grids = append(row.grids, g.gridOf(group))
			}
			grid := row.grids[len(row.grids)-1]
			row.codes[i] = grid.code(w[i])
			e[i] = (w[i] - float64(grid.value(row.codes[i]))) / u.At(i, i)
			row.loss += float64(e[i] * e[i])
			for j := i + 1; j < end; j++ {
				w[j] -= float64(e[i] * u.At(i, j))
			}
		}
		for j := end; j < n; j++ {
			for i := start; i < end; i++ {
				w[j] -= float64(e[i] * u.At(i, j))
			}
		}
	}
	return row
}

func (g *gptqLayer) groupSize(inputs int) int {
	if g.config.GroupSize == 0 {
		return inputs
	}
	return min(g.config.GroupSize, inputs)
}

// A gptqGrid is the numbers scale·(code − zero) with a code in [lowest, highest].
type gptqGrid struct {
	scale                 float32
	zero, lowest, highest int
}

func (g *gptqLayer) gridOf(values []float64) gptqGrid {
	least, most := min(slices.Min(values), 0), max(slices.Max(values), 0)
	levels := 1<<g.config.NBits - 1
	if g.config.Symmetric {
		highest := levels / 2
		return gptqGrid{scale: gptqScale(max(-least, most), highest), lowest: -highest, highest: highest}
	}
	scale := gptqScale(most-least, levels)
	zero := math.RoundToEven(-least / float64(scale))
	return gptqGrid{scale: scale, zero: int(min(zero, float64(levels))), highest: levels}
}

// gptqScale is span/levels as a float32, and 1 where that is 0.
func gptqScale(span float64, levels int) float32 {
	scale := float32(span / float64(levels))
	if scale == 0 {
		return 1
	}
	return scale
}

func (g gptqGrid) code(w float64) int {
	code := math.RoundToEven(w/float64(g.scale)) + float64(g.zero)
	return int(max(float64(g.lowest), min(code, float64(g.highest))))
}

func (g gptqGrid) value(code int) float32 {
	if code == g.zero {
		return 0
	}
	return float32(float64(g.scale) * float64(code-g.zero))
}

// gptqCheck rejects results that float32, or for losses float64, does not hold.
func gptqCheck(q *spec.QuantizedLayer) error {
	largest := 0.0
	for _, numbers := range [][]float32{q.Weights.Data, q.Scales.Data} {
		for _, x := range numbers {
			largest = max(largest, math.Abs(float64(x)))
		}
	}
	for _, loss := range q.Losses {
		largest = max(largest, loss)
	}
	if !(largest <= math.MaxFloat64) {
		return spec.Reject(spec.Invalid, "gptq-layer", "weights", "weights whose scales, quantised values and losses are finite", largest)
	}
	return nil
}

// calibrateSquish6 rounds column by column, all rows at a time, and takes the error
// of a column off the later ones of its block: off other outputs, which cannot make up
// for it.
func (g *gptqLayer) calibrateSquish6(dst *spec.QuantizedLayer, weights, activations spec.Matrix) error {
	const smallest, floor, ε = 1e-12, 1e-8, 1e-8
	h := g.dampedDiagonal(activations)
	rows, cols := weights.Rows, weights.Cols
	*dst = spec.QuantizedLayer{Weights: dst.Weights}
	dst.Weights.Resize(rows, cols)
	w := mat.NewDense(rows, cols, nil)
	for r := range rows {
		for c := range cols {
			w.Set(r, c, float64(weights.Row(r)[c]))
		}
	}
	gain := make([]float64, rows)
	for r := range rows {
		gain[r] = math.Sqrt(max(h[r], floor))
	}
	highest := float64(int(1)<<(g.config.NBits-1) - 1)
	for c := range cols {
		end := min(c-c%g.config.BlockSize+min(g.config.BlockSize, cols), cols)
		largest := 0.0
		for r := range rows {
			largest = max(largest, math.Abs(w.At(r, c)*gain[r]))
		}
		scale := largest / highest
		for r := range rows {
			rounded := w.At(r, c)
			if largest >= smallest {
				code := math.RoundToEven(rounded * gain[r] / scale)
				rounded = max(-highest, min(code, highest)) * scale / gain[r]
			}
			off := (w.At(r, c) - rounded) * h[r] / (h[r] + ε)
			for k := c + 1; k < end; k++ {
				w.Set(r, k, w.At(r, k)-off)
			}
			dst.Weights.Row(r)[c] = float32(rounded)
		}
	}
	return gptqCheck(dst)
}

// dampedDiagonal is diag(xᵀx/samples) + damp_percent·mean(diag).
func (g *gptqLayer) dampedDiagonal(x spec.Matrix) []float64 {
	h := make([]float64, x.Cols)
	mean := 0.0
	for i := range h {
		for s := range x.Rows {
			h[i] += float64(float64(x.Row(s)[i]) * float64(x.Row(s)[i]))
		}
		h[i] /= float64(x.Rows)
		mean += h[i] / float64(x.Cols)
	}
	for i := range h {
		h[i] += float64(g.config.DampPercent * mean)
	}
	return h
}
