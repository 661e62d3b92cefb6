package fast

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/squishspec/squishspec/fast/internal/axpy"
	"github.com/squishspec/squishspec/fast/internal/dots"
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
// factorisation's work, and dot products for updates.
func NewGPTQLayer(c spec.GPTQLayerConfig) (spec.GPTQLayer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &gptqLayer{config: c}, nil
}

type gptqLayer struct {
	config spec.GPTQLayerConfig
	stats  spec.GPTQLayerStats

	x        []float64 // activations, in the order of the inputs
	diagonal []float64 // of H, undamped
	dead     []bool    // by input, as it is numbered
	t        []float64 // T below the diagonal and on it, H above it
	scratch  []float64 // a column of t or x
	w, d     []float64 // gptqTile rows each: weights and w − ŵ, in the order of the inputs
	earlier  []float64 // gptqTile sums for each input of a block: Σ d_j·T_kj over earlier blocks
	grids    []gptqGrid

	taken []float64 // squish6: what earlier columns of the block take off a row
	gain  []float64
	share []float64
}

// gptqTile is the number of rows that share each load of T.
const gptqTile = 4

func (g *gptqLayer) Calibrate(dst *spec.QuantizedLayer, weights, activations spec.Matrix) error {
	if err := g.config.CheckLayer(weights, activations); err != nil {
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

func (g *gptqLayer) Stats() spec.GPTQLayerStats { return g.stats }

func (g *gptqLayer) calibrate(dst *spec.QuantizedLayer, weights, activations spec.Matrix) error {
	outputs, inputs := weights.Rows, weights.Cols
	dst.Order = spec.Resize(dst.Order, inputs)
	g.orderInputs(dst.Order, activations)
	g.formHessian(dst.Order, activations)
	damping, ok := g.factor(inputs)
	if !ok {
		return spec.Reject(spec.Invalid, "gptq-layer", "activations",
			fmt.Sprintf("an H with a Cholesky factor at a damping of at most %v", damping), "none")
	}
	dst.DampPercent = damping
	size := g.groupSize(inputs)
	groups := (inputs-1)/size + 1
	dst.Weights.Resize(outputs, inputs)
	dst.Codes = spec.Resize(dst.Codes, outputs*inputs)
	dst.Scales.Resize(outputs, groups)
	dst.ZeroPoints = spec.Resize(dst.ZeroPoints, outputs*groups)
	dst.Losses = spec.Resize(dst.Losses, outputs)
	clear(dst.Losses)
	g.quantize(dst, weights, size)
	return gptqCheck(dst)
}

// orderInputs finds the diagonal of H and the dead inputs, and writes the order.
func (g *gptqLayer) orderInputs(order []int32, x spec.Matrix) {
	g.diagonal = spec.Resize(g.diagonal, x.Cols)
	g.dead = spec.Resize(g.dead, x.Cols)
	clear(g.diagonal)
	for s := range x.Rows {
		for i, v := range x.Row(s) {
			g.diagonal[i] += float64(v) * float64(v)
		}
	}
	for i, sum := range g.diagonal {
		order[i] = int32(i)
		g.dead[i] = sum == 0
		g.diagonal[i] = 2 * sum / float64(x.Rows)
		if g.dead[i] {
			g.diagonal[i] = 1
		}
	}
	if g.config.ActOrder {
		slices.SortStableFunc(order, func(i, j int32) int { return cmp.Compare(g.diagonal[j], g.diagonal[i]) })
	}
}

// formHessian writes H, in the order of the inputs, above the diagonal of t, and the
// diagonal into diagonal.
func (g *gptqLayer) formHessian(order []int32, x spec.Matrix) {
	n := x.Cols
	g.t = spec.Resize(g.t, n*n)
	g.x = spec.Resize(g.x, x.Rows*n)
	g.scratch = spec.Resize(g.scratch, max(n, x.Rows))
	permuted := g.scratch[:n]
	for k, i := range order {
		permuted[k] = g.diagonal[i]
	}
	copy(g.diagonal, permuted)
	for s := range x.Rows {
		row := x.Row(s)
		for k, i := range order {
			g.x[s*n+k] = float64(row[i])
		}
	}
	column := g.scratch[:x.Rows]
	for k := range n - 1 {
		for s := range column {
			column[s] = 2 * g.x[s*n+k]
		}
		above := g.t[k*n+k+1 : (k+1)*n]
		clear(above)
		axpy.Rows(above, column, g.x[k+1:], n)
		for j := range above {
			above[j] /= float64(x.Rows)
		}
	}
}

const (
	// gptqEscalations is how often a damping that is too small is taken times 10.
	gptqEscalations = 6
	// gptqLostPivot is the share of its diagonal element below which a pivot is rounding.
	gptqLostPivot = 0x1p-44
)

// factor writes T of the damped H below the diagonal of t and on it, and returns the
// damping that it took, and whether there is one.
func (g *gptqLayer) factor(n int) (damping float64, ok bool) {
	mean := 0.0
	for _, h := range g.diagonal {
		mean += h
	}
	mean /= float64(n)
	damping = g.config.DampPercent
	for attempt := 0; ; attempt++ {
		for k := range n {
			row := g.t[k*n:][:k+1]
			for j := range k {
				row[j] = g.t[j*n+k]
			}
			row[k] = g.diagonal[k] + damping*mean
		}
		if ok = ulfactor.Factor(g.t, n, gptqLostPivot, g.scratch); ok || attempt == gptqEscalations {
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

// quantize rounds gptqTile rows at a time, and in them block by block: the groups
// are the blocks, where there are several.
func (g *gptqLayer) quantize(dst *spec.QuantizedLayer, weights spec.Matrix, size int) {
	outputs, n := weights.Rows, weights.Cols
	width := size
	if size == n {
		width = min(g.config.BlockSize, n)
	}
	g.w, g.d = spec.Resize(g.w, gptqTile*n), spec.Resize(g.d, gptqTile*n)
	g.earlier = spec.Resize(g.earlier, gptqTile*width)
	g.grids = spec.Resize(g.grids, gptqTile)
	for first := 0; first < outputs; first += gptqTile {
		rows := min(gptqTile, outputs-first)
		clear(g.d) // rows that are not there count as 0
		for r := range rows {
			row := weights.Row(first + r)
			for k, i := range dst.Order {
				g.w[r*n+k] = 0
				if !g.dead[i] {
					g.w[r*n+k] = float64(row[i])
				}
			}
		}
		for from := 0; from < n; from += width {
			to := min(from+width, n)
			g.sumEarlier(n, from, to)
			if from%size == 0 {
				g.fitGrids(dst, first, rows, n, from, min(from+size, n), from/size)
			}
			g.roundBlock(dst, first, rows, n, from, to)
		}
	}
}

// sumEarlier sums d_j·T_kj over the inputs before a block, for its every input k.
func (g *gptqLayer) sumEarlier(n, from, to int) {
	d := g.d
	for k := from; k < to; k++ {
		e := g.earlier[gptqTile*(k-from):][:gptqTile]
		e[0], e[1], e[2], e[3] = dots.Four(g.t[k*n:][:from], d, d[n:], d[2*n:], d[3*n:])
	}
}

// updates returns how far the weights of input k have moved for the inputs before it,
// those of its block among them.
func (g *gptqLayer) updates(n, from, k int) (moved [gptqTile]float64) {
	e, t, d := g.earlier[gptqTile*(k-from):][:gptqTile], g.t[k*n:][:k+1], g.d[from:]
	moved[0], moved[1], moved[2], moved[3] = dots.Four(t[from:k], d, d[n:], d[2*n:], d[3*n:])
	for r := range moved {
		moved[r] = (moved[r] + e[r]) / t[k]
	}
	return moved
}

// fitGrids fits a grid a row to the weights of a group as they are at its first
// input. Weights that take on their updates as they are leave no error: a d that is
// minus the update makes the updates of the inputs behind it right.
func (g *gptqLayer) fitGrids(dst *spec.QuantizedLayer, first, rows, n, from, to, group int) {
	var least, most [gptqTile]float64
	for k := from; k < to; k++ {
		var moved [gptqTile]float64
		if from > 0 {
			moved = g.updates(n, from, k)
		}
		for r := range rows {
			v := g.w[r*n+k] + moved[r]
			least[r], most[r] = min(least[r], v), max(most[r], v)
			g.d[r*n+k] = -moved[r]
		}
	}
	for r := range rows {
		g.grids[r] = newGPTQGrid(g.config, least[r], most[r])
		dst.Scales.Row(first + r)[group] = g.grids[r].scale
		dst.ZeroPoints[(first+r)*dst.Scales.Cols+group] = int16(g.grids[r].zero)
	}
}

func (g *gptqLayer) roundBlock(dst *spec.QuantizedLayer, first, rows, n, from, to int) {
	for k := from; k < to; k++ {
		moved := g.updates(n, from, k)
		i, root := int(dst.Order[k]), g.t[k*n+k]
		for r := range rows {
			w := g.w[r*n+k]
			code, value := g.grids[r].round(w + moved[r])
			dst.Codes[(first+r)*n+i] = int16(code)
			dst.Weights.Data[(first+r)*n+i] = value
			d := w - float64(value)
			g.d[r*n+k] = d
			e := (d + moved[r]) * root
			dst.Losses[first+r] += e * e
		}
	}
}

// A gptqGrid is the numbers scale·(code − zero) with a code in [lowest, highest].
type gptqGrid struct {
	scale                 float32
	zero, lowest, highest float64
}

// newGPTQGrid covers least ≤ 0 to most ≥ 0.
func newGPTQGrid(c spec.GPTQLayerConfig, least, most float64) gptqGrid {
	levels := float64(int(1)<<c.NBits - 1)
	grid := gptqGrid{highest: levels}
	span := most - least
	if c.Symmetric {
		grid.highest = float64(int(1)<<(c.NBits-1) - 1)
		grid.lowest = -grid.highest
		span, levels = max(-least, most), grid.highest
	}
	if grid.scale = float32(span / levels); grid.scale == 0 {
		grid.scale = 1
	}
	if !c.Symmetric {
		grid.zero = min(math.RoundToEven(-least/float64(grid.scale)), grid.highest)
	}
	return grid
}

func (g *gptqGrid) round(w float64) (code int, value float32) {
	c := math.RoundToEven(w/float64(g.scale)) + g.zero
	c = max(g.lowest, min(c, g.highest))
	return int(c), float32(float64(g.scale) * (c - g.zero))
}

// gptqCheck rejects results that float32, or for losses float64, does not hold.
func gptqCheck(q *spec.QuantizedLayer) error {
	// A product with 0 is 0, but for what is not finite, and stays NaN in a sum.
	var f32 float32
	f64 := 0.0
	for _, x := range q.Weights.Data {
		f32 += x * 0
	}
	for _, x := range q.Scales.Data {
		f32 += x * 0
	}
	for _, x := range q.Losses {
		f64 += x * 0
	}
	if f32 != 0 || f64 != 0 {
		return spec.Reject(spec.Invalid, "gptq-layer", "weights", "weights whose scales, quantised values and losses are finite", "others")
	}
	return nil
}

// calibrateSquish6 keeps what the columns of a block take off each row in a sum, so
// that a column is touched once, and not once for every earlier one.
func (g *gptqLayer) calibrateSquish6(dst *spec.QuantizedLayer, weights, activations spec.Matrix) error {
	const smallest, floor, ε = 1e-12, 1e-8, 1e-8
	rows, cols := weights.Rows, weights.Cols
	dst.Weights.Resize(rows, cols)
	dst.Codes, dst.ZeroPoints, dst.Order, dst.Losses = dst.Codes[:0], dst.ZeroPoints[:0], dst.Order[:0], dst.Losses[:0]
	dst.Scales.Resize(0, 0)
	dst.DampPercent = 0

	g.gain, g.share, g.taken = spec.Resize(g.gain, rows), spec.Resize(g.share, rows), spec.Resize(g.taken, rows)
	g.diagonal = spec.Resize(g.diagonal, rows)
	clear(g.diagonal)
	for s := range activations.Rows {
		for r, v := range activations.Row(s) {
			g.diagonal[r] += float64(v) * float64(v)
		}
	}
	mean := 0.0
	for r := range g.diagonal {
		g.diagonal[r] /= float64(activations.Rows)
		mean += g.diagonal[r]
	}
	mean /= float64(rows)
	for r, h := range g.diagonal {
		h += g.config.DampPercent * mean
		g.gain[r] = math.Sqrt(max(h, floor))
		g.share[r] = h / (h + ε)
	}
	highest := float64(int(1)<<(g.config.NBits-1) - 1)
	for c := range cols {
		if c%g.config.BlockSize == 0 {
			clear(g.taken)
		}
		largest := 0.0
		for r, taken := range g.taken {
			largest = max(largest, math.Abs(float64(weights.Data[r*cols+c])-taken)*g.gain[r])
		}
		scale := largest / highest
		for r, taken := range g.taken {
			w := float64(weights.Data[r*cols+c]) - taken
			rounded := w
			if largest >= smallest {
				code := math.RoundToEven(w * g.gain[r] / scale)
				rounded = max(-highest, min(code, highest)) * scale / g.gain[r]
			}
			g.taken[r] += (w - rounded) * g.share[r]
			dst.Weights.Data[r*cols+c] = float32(rounded)
		}
	}
	return gptqCheck(dst)
}
