package fast

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/parallel"
	"github.com/squishspec/squishspec/fast/internal/ulfactor"
	"github.com/squishspec/squishspec/spec"
)

// NewGPTQLayer returns the optimised spec.GPTQLayer, or an error of kind spec.Invalid
// for a config out of range.
//
// It finds the same codes as Babai's nearest plane algorithm does: with H = TᵀT, T
// lower triangular, the weight of input k to be rounded is
//
//	w_k + Σ_{j<k} d_j·T_kj/T_kk, where d = w − ŵ
//
// which takes neither the inverse of H nor a write to later weights: a third of the
// factorisation's work. The factor 2/samples of H is left out of T, where it does not
// matter, and comes in again with the losses. Weights lie on their side, so that a
// vector holds one input of several outputs: sums over earlier inputs are matrix
// products, block by block, and rounding is the same for all.
//
// Outputs are quantised 128 at a time, which the cores share. Memory is that of T, 8
// bytes an element of H, some 16 bytes an input and output of those in work, and 128
// samples in float64.
func NewGPTQLayer(c spec.GPTQLayerConfig) (spec.GPTQLayer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	g := &gptqLayer{config: c}
	g.hessian.g, g.rounding.g, g.columns.g = g, g, g
	return g, nil
}

type gptqLayer struct {
	config spec.GPTQLayerConfig
	stats  spec.GPTQLayerStats

	diagonal []float64 // of xᵀx, by input, for an order by it
	dead     []bool    // by input, as it is numbered
	t        []float64 // the lower triangle of xᵀx, in the order of the inputs, and then T
	stride   int       // of t's rows
	factors  ulfactor.Factorizer
	hessian  gptqHessian
	rounding gptqRounding
	columns  gptqColumns // squish6
}

// gptqStride is the distance of rows of n float64s: an odd number of cache lines, so
// that a column does not fall on a few of the cache's sets.
func gptqStride(n int) int { return ((n+7)/8 | 1) * 8 }

func (g *gptqLayer) Calibrate(dst *spec.QuantizedLayer, weights, activations spec.Matrix) error {
	if err := g.check(weights, activations); err != nil {
		return err
	}
	var err error
	if g.config.Variant == spec.Squish6 {
		err = g.calibrateSquish6(dst, weights, activations)
	} else {
		err = g.calibrate(dst, weights, activations)
	}
	if err != nil {
		return err
	}
	g.stats.Calls++
	g.stats.Columns += weights.Cols
	return nil
}

func (g *gptqLayer) check(weights, activations spec.Matrix) error {
	if err := g.config.CheckLayerShapes(weights, activations); err != nil {
		return err
	}
	if !kern.AllFinite(weights.Data) || !kern.AllFinite(activations.Data) {
		return g.config.CheckLayer(weights, activations) // which element?
	}
	return nil
}

func (g *gptqLayer) Stats() spec.GPTQLayerStats { return g.stats }

func (g *gptqLayer) calibrate(dst *spec.QuantizedLayer, weights, activations spec.Matrix) error {
	outputs, inputs := weights.Rows, weights.Cols
	dst.Order = spec.Resize(dst.Order, inputs)
	g.orderInputs(dst.Order, activations)
	damping, ok := g.factor(dst.Order, activations)
	if !ok {
		return spec.Reject(spec.Invalid, "gptq-layer", "activations",
			fmt.Sprintf("an H with a Cholesky factor at a damping of at most %v", damping), "none")
	}
	dst.DampPercent = damping
	r := &g.rounding
	r.size = g.groupSize(inputs)
	groups := (inputs-1)/r.size + 1
	dst.Weights.Resize(outputs, inputs)
	dst.Codes = spec.Resize(dst.Codes, outputs*inputs)
	dst.Scales.Resize(outputs, groups)
	dst.ZeroPoints = spec.Resize(dst.ZeroPoints, outputs*groups)
	dst.Losses = spec.Resize(dst.Losses, outputs)
	r.run(dst, weights, 2/float64(activations.Rows))
	return gptqCheck(dst)
}

// orderInputs writes the order of the inputs.
func (g *gptqLayer) orderInputs(order []int32, x spec.Matrix) {
	for i := range order {
		order[i] = int32(i)
	}
	if !g.config.ActOrder {
		return
	}
	g.diagonal = spec.Resize(g.diagonal, x.Cols)
	clear(g.diagonal)
	kern.AddSquares(g.diagonal, x.Data)
	for i, sum := range g.diagonal {
		if sum == 0 { // dead: H_ii is 1
			g.diagonal[i] = float64(x.Rows) / 2
		}
	}
	slices.SortStableFunc(order, func(i, j int32) int { return cmp.Compare(g.diagonal[j], g.diagonal[i]) })
}

const (
	// gptqEscalations is how often a damping that is too small is taken times 10.
	gptqEscalations = 6
	// gptqLostPivot is the share of its diagonal element below which a pivot is rounding.
	gptqLostPivot = 0x1p-44
)

// factor makes t T of the damped xᵀx, finds the dead inputs, and returns the damping
// that it took, and whether there is one. A failure is rare, and costs H again.
func (g *gptqLayer) factor(order []int32, x spec.Matrix) (damping float64, ok bool) {
	n := x.Cols
	g.stride = gptqStride(n)
	g.t = spec.Resize(g.t, n*g.stride)
	g.dead = spec.Resize(g.dead, n)
	damping = g.config.DampPercent
	for attempt := 0; ; attempt++ {
		g.hessian.form(order, x)
		sum := 0.0
		for k, i := range order {
			h := &g.t[k*g.stride+k]
			if g.dead[i] = *h == 0; g.dead[i] {
				*h = float64(x.Rows) / 2
			}
			sum += *h
		}
		for k := range order {
			g.t[k*g.stride+k] += damping * (sum / float64(n))
		}
		if ok = g.factors.Factor(g.t, n, g.stride, gptqLostPivot); ok || attempt == gptqEscalations {
			return damping, ok
		}
		damping *= 10
	}
}

func (g *gptqLayer) groupSize(inputs int) int {
	if g.config.GroupSize == 0 {
		return inputs
	}
	return min(g.config.GroupSize, inputs)
}

// A gptqHessian forms the lower triangle of xᵀx, some samples at a time.
type gptqHessian struct {
	g       *gptqLayer
	x       []float64 // samples in float64, in the order of the inputs
	samples int
	first   bool // nothing is in t so far
}

// gptqSamples is how many samples are widened at a time.
const gptqSamples = 128

func (h *gptqHessian) form(order []int32, x spec.Matrix) {
	n, stride := x.Cols, h.g.stride
	h.x = spec.Resize(h.x, min(gptqSamples, x.Rows)*stride)
	rows := ulfactor.BlockRows(n)
	for from := 0; from < x.Rows; from += gptqSamples {
		h.samples, h.first = min(gptqSamples, x.Rows-from), from == 0
		for s := range h.samples {
			row, wide := x.Row(from+s), h.x[s*stride:][:n]
			if !h.g.config.ActOrder {
				kern.Widen(wide, row)
				continue
			}
			for k, i := range order {
				wide[k] = float64(row[i])
			}
		}
		blocks := (n + rows - 1) / rows
		parallel.Run(h, (blocks+1)/2, float64(rows*n*h.samples)/gptqMultiplications)
	}
}

// gptqMultiplications take about a nanosecond.
const gptqMultiplications = 20

// Part does some blocks of rows, and as many from the other end, where rows are longer.
func (h *gptqHessian) Part(_, lo, hi int) {
	rows, n := ulfactor.BlockRows(len(h.g.dead)), len(h.g.dead)
	blocks := (n + rows - 1) / rows
	for b := lo; b < hi; b++ {
		h.rows(b*rows, min((b+1)*rows, n))
		if other := blocks - 1 - b; other != b {
			h.rows(other*rows, min((other+1)*rows, n))
		}
	}
}

func (h *gptqHessian) rows(from, to int) {
	stride := h.g.stride
	c := h.g.t[from*stride:]
	so := c
	if h.first {
		so = nil
	}
	kern.GemmDouble(c, stride, so, stride, h.x[from:], 1, stride, h.x, stride, to-from, to, h.samples)
}

// A gptqRounding rounds the weights of all outputs, once there is T.
type gptqRounding struct {
	g       *gptqLayer
	dst     *spec.QuantizedLayer
	weights spec.Matrix
	size    int     // of a group
	factor  float64 // of the losses
	parts   []gptqPart
}

// A gptqPart is some outputs, side by side in rows of gptqOutputs elements or less, a
// multiple of 8.
type gptqPart struct {
	weights     []float32 // an input a row; values take their place
	codes       []float32
	taken       []float64 // w − ŵ, in the order of the inputs
	sums        []float64 // for the inputs of a block: Σ d_j·T_kj over earlier blocks
	sum         []float64 // for an input: over all earlier ones
	losses      []float64
	least, most []float64 // of a group
	grid        kern.Grid
	padded      int
}

const (
	// gptqOutputs is how many outputs are quantised at a time.
	gptqOutputs = 128
	// gptqBlock is how many inputs are a block where they are all one group, at least.
	// The config's block size does not show.
	gptqBlock = 24
)

func (r *gptqRounding) run(dst *spec.QuantizedLayer, weights spec.Matrix, factor float64) {
	r.dst, r.weights, r.factor = dst, weights, factor
	chunks, n := (weights.Rows+gptqOutputs-1)/gptqOutputs, weights.Cols
	ns := float64(n*n*gptqOutputs/2) / gptqMultiplications
	if parts := parallel.Parts(chunks, ns); len(r.parts) < parts {
		r.parts = append(r.parts, make([]gptqPart, parts-len(r.parts))...)
	}
	parallel.Run(r, chunks, ns)
	r.dst, r.weights = nil, spec.Matrix{}
}

// Part quantises some chunks of outputs.
func (r *gptqRounding) Part(number, lo, hi int) {
	for chunk := lo; chunk < hi; chunk++ {
		first := chunk * gptqOutputs
		r.outputs(&r.parts[number], first, min(first+gptqOutputs, r.weights.Rows))
	}
}

func (r *gptqRounding) outputs(p *gptqPart, first, end int) {
	n := r.weights.Cols
	rows := end - first
	width := r.size
	if width == n {
		width = min(max(gptqBlock, ulfactor.BlockRows(n)), n)
	}
	p.begin(n, rows, width)
	weights := kern.Rows(r.weights.Data, r.weights.Rows, n, n).Block(first, end, 0, n)
	kern.Transpose(kern.Rows(p.weights, n, rows, p.padded), weights)
	for i, dead := range r.g.dead {
		row := p.weights[i*p.padded:][:p.padded]
		if dead {
			clear(row)
		}
		clear(row[rows:])
	}
	p.grid.Lowest, p.grid.Highest = gptqCodes(r.g.config)
	for from := 0; from < n; from += width {
		to := min(from+width, n)
		kern.GemmDouble(p.sums, p.padded, nil, 0, r.g.t[from*r.g.stride:], r.g.stride, 1, p.taken, p.padded, to-from, p.padded, from)
		if from%r.size == 0 {
			r.fitGrids(p, first, rows, from, min(from+r.size, n))
		}
		for k := from; k < to; k++ {
			i, root := int(r.dst.Order[k]), r.g.t[k*r.g.stride+k]
			w := p.weights[i*p.padded:][:p.padded]
			p.grid.Round(p.taken[k*p.padded:], p.losses, w, p.codes[i*p.padded:], w, r.sum(p, from, k), 1/root, root)
		}
	}
	out := kern.Rows(r.dst.Weights.Data, r.weights.Rows, n, n).Block(first, end, 0, n)
	kern.Transpose(out, kern.Rows(p.codes, n, rows, p.padded))
	for i, code := range out.Data {
		r.dst.Codes[first*n+i] = int16(code)
	}
	kern.Transpose(out, kern.Rows(p.weights, n, rows, p.padded))
	for row := range rows {
		r.dst.Losses[first+row] = p.losses[row] * r.factor
	}
}

// begin makes room for so many inputs and outputs.
func (p *gptqPart) begin(n, rows, width int) {
	p.padded = (rows + 7) &^ 7
	p.weights, p.codes = spec.Resize(p.weights, n*p.padded), spec.Resize(p.codes, n*p.padded)
	p.taken = spec.Resize(p.taken, n*p.padded)
	p.sums, p.sum = spec.Resize(p.sums, width*p.padded), spec.Resize(p.sum, p.padded)
	p.least, p.most = spec.Resize(p.least, p.padded), spec.Resize(p.most, p.padded)
	p.losses = spec.Resize(p.losses, p.padded)
	clear(p.losses)
	p.grid.Scales, p.grid.Zeros = spec.Resize(p.grid.Scales, p.padded), spec.Resize(p.grid.Zeros, p.padded)
	for r := rows; r < p.padded; r++ { // outputs that are not there have weights of 0
		p.grid.Scales[r], p.grid.Zeros[r] = 1, 0
	}
}

// sum returns Σ d_j·T_kj over all inputs before k, whose block begins at from.
func (r *gptqRounding) sum(p *gptqPart, from, k int) []float64 {
	sums := p.sums[(k-from)*p.padded:][:p.padded]
	if k == from {
		return sums
	}
	kern.GemmDouble(p.sum, 0, sums, 0, r.g.t[k*r.g.stride+from:], 0, 1, p.taken[from*p.padded:], p.padded, 1, p.padded, k-from)
	return p.sum
}

// fitGrids fits a grid a row to the weights of a group as they are at its first
// input. Weights that take on their updates as they are leave no error: a d that is
// minus the update makes the updates of the inputs behind it right.
func (r *gptqRounding) fitGrids(p *gptqPart, first, rows, from, to int) {
	clear(p.least)
	clear(p.most)
	for k := from; k < to; k++ {
		w := p.weights[int(r.dst.Order[k])*p.padded:][:p.padded]
		sum := p.sums[:p.padded] // 0 if nothing is before the group
		if from > 0 {
			sum = r.sum(p, from, k)
		}
		kern.GridRange(p.least, p.most, p.taken[k*p.padded:], w, sum, 1/r.g.t[k*r.g.stride+k])
	}
	scales, group := r.dst.Scales, from/r.size
	for row := range rows {
		scale, zero := gptqGrid(r.g.config, p.least[row], p.most[row])
		p.grid.Scales[row], p.grid.Zeros[row] = float64(scale), zero
		scales.Row(first + row)[group] = scale
		r.dst.ZeroPoints[(first+row)*scales.Cols+group] = int16(zero)
	}
}

// gptqCodes returns the lowest and the highest code.
func gptqCodes(c spec.GPTQLayerConfig) (lowest, highest float64) {
	if c.Symmetric {
		highest = float64(int(1)<<(c.NBits-1) - 1)
		return -highest, highest
	}
	return 0, float64(int(1)<<c.NBits - 1)
}

// gptqGrid returns the scale and the zero point that cover least ≤ 0 to most ≥ 0.
func gptqGrid(c spec.GPTQLayerConfig, least, most float64) (scale float32, zero float64) {
	_, highest := gptqCodes(c)
	span := most - least
	if c.Symmetric {
		span = max(most, -least)
	}
	if scale = float32(span / highest); scale == 0 {
		scale = 1
	}
	if !c.Symmetric {
		zero = min(math.RoundToEven(-least/float64(scale)), highest)
	}
	return scale, zero
}

// gptqCheck rejects results that float32, or for losses float64, does not hold.
func gptqCheck(q *spec.QuantizedLayer) error {
	zero := 0.0
	for _, x := range q.Losses {
		zero += x * 0 // 0, but for what is not finite
	}
	if zero != 0 || !kern.AllFinite(q.Weights.Data) || !kern.AllFinite(q.Scales.Data) {
		return spec.Reject(spec.Invalid, "gptq-layer", "weights", "weights whose scales, quantised values and losses are finite", "others")
	}
	return nil
}

// A gptqColumns is squish6, which rounds column by column. It keeps what the columns of
// a block take off each row in a sum, so that a column is touched once, and not once for
// every earlier one. Blocks of columns have nothing to do with each other.
type gptqColumns struct {
	g               *gptqLayer
	dst, weights    spec.Matrix
	padded          int // rows, as a multiple of 8
	gains, inverses []float64
	shares          []float64
	parts           []gptqColumnsPart
	highest         float64
}

type gptqColumnsPart struct {
	columns []float32 // some, a row each; values take the place of weights
	taken   []float64
}

// gptqTurned is how many columns are turned on their side at a time.
const gptqTurned = 64

func (g *gptqLayer) calibrateSquish6(dst *spec.QuantizedLayer, weights, activations spec.Matrix) error {
	const floor, ε = 1e-8, 1e-8
	rows, cols := weights.Rows, weights.Cols
	dst.Weights.Resize(rows, cols)
	dst.Codes, dst.ZeroPoints, dst.Order, dst.Losses = dst.Codes[:0], dst.ZeroPoints[:0], dst.Order[:0], dst.Losses[:0]
	dst.Scales.Resize(0, 0)
	dst.DampPercent = 0

	c := &g.columns
	c.dst, c.weights, c.padded = dst.Weights, weights, (rows+7)&^7
	c.highest = float64(int(1)<<(g.config.NBits-1) - 1)
	g.diagonal = spec.Resize(g.diagonal, rows)
	clear(g.diagonal)
	kern.AddSquares(g.diagonal, activations.Data)
	mean := 0.0
	for r := range g.diagonal {
		g.diagonal[r] /= float64(activations.Rows)
		mean += g.diagonal[r]
	}
	mean /= float64(rows)
	c.gains, c.inverses, c.shares = spec.Resize(c.gains, c.padded), spec.Resize(c.inverses, c.padded), spec.Resize(c.shares, c.padded)
	for r := range c.padded {
		h := 0.0 // rows that are not there have weights of 0
		if r < rows {
			h = g.diagonal[r] + g.config.DampPercent*mean
		}
		c.gains[r], c.shares[r] = math.Sqrt(max(h, floor)), h/(h+ε)
		c.inverses[r] = 1 / c.gains[r]
	}
	block := min(g.config.BlockSize, cols)
	blocks, ns := (cols+block-1)/block, float64(block*rows)*2
	if parts := parallel.Parts(blocks, ns); len(c.parts) < parts {
		c.parts = append(c.parts, make([]gptqColumnsPart, parts-len(c.parts))...)
	}
	parallel.Run(c, blocks, ns)
	c.dst, c.weights = spec.Matrix{}, spec.Matrix{}
	return gptqCheck(dst)
}

// Part does some blocks of columns.
func (c *gptqColumns) Part(number, lo, hi int) {
	p, cols := &c.parts[number], c.weights.Cols
	block := min(c.g.config.BlockSize, cols)
	p.columns = spec.Resize(p.columns, min(gptqTurned, block)*c.padded)
	p.taken = spec.Resize(p.taken, c.padded)
	for b := lo; b < hi; b++ {
		clear(p.taken)
		end := min((b+1)*block, cols)
		for from := b * block; from < end; from += gptqTurned {
			c.round(p, from, min(from+gptqTurned, end))
		}
	}
}

// round rounds some columns of a block.
func (c *gptqColumns) round(p *gptqColumnsPart, from, to int) {
	const smallest = 1e-12
	rows, cols := c.weights.Rows, c.weights.Cols
	turned := kern.Rows(p.columns, to-from, rows, c.padded)
	kern.Transpose(turned, kern.Rows(c.weights.Data, rows, cols, cols).Block(0, rows, from, to))
	column := func(k int) []float32 { return p.columns[k*c.padded:][:c.padded] }
	for k := range to - from {
		clear(column(k)[rows:])
	}
	peak := kern.Amplitude(column(0), p.taken, c.gains)
	for k := range to - from {
		now, next := column(k), column(min(k+1, to-from-1))
		if peak >= smallest {
			peak = kern.AmplitudeRound(now, p.taken, now, next, c.gains, c.inverses, c.shares, peak/c.highest, c.highest)
			continue
		}
		for r, w := range now { // left alone
			now[r] = float32(float64(w) - p.taken[r])
		}
		peak = kern.Amplitude(next, p.taken, c.gains)
	}
	kern.Transpose(kern.Rows(c.dst.Data, rows, cols, cols).Block(0, rows, from, to), turned)
}
