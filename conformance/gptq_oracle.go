package conformance

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/squishspec/squishspec/spec"
)

// The oracle of gptq-layer knows no factor U. Once the inputs before k have their
// quantised values, with errors d = w − ŵ, the inputs from k on make up for them best
// at the minimum of the quadratic form of H, a least squares problem:
//
//	w + (H_FF)⁻¹·H_FQ·d, F the inputs from k on and Q those before
//
// GPTQ rounds the first of these numbers. The oracle asks that of an implementation
// given the values that the implementation has chosen itself: what follows a near tie
// is judged like everything else.

// A gptqOracle is the arguments of calibrate, and their undamped H.
type gptqOracle struct {
	spec.GPTQLayerConfig
	w, x spec.Matrix // dead inputs of w are 0
	h    *mat.SymDense
	dead []bool
}

func newGPTQOracle(c spec.GPTQLayerConfig, w, x spec.Matrix) *gptqOracle {
	o := &gptqOracle{GPTQLayerConfig: c, w: cloneAs(w), x: x, h: mat.NewSymDense(x.Cols, nil), dead: make([]bool, x.Cols)}
	wide := dense(x)
	o.h.SymOuterK(2/float64(x.Rows), wide.T())
	for i := range o.dead {
		if o.h.At(i, i) == 0 {
			o.dead[i] = true
			o.h.SetSym(i, i, 1)
			for r := range w.Rows {
				o.w.Row(r)[i] = 0
			}
		}
	}
	return o
}

func (o *gptqOracle) inputs() int { return o.w.Cols }

// groupSize is the number of inputs in a group, the last one excepted.
func (o *gptqOracle) groupSize() int {
	if o.GroupSize == 0 {
		return o.inputs()
	}
	return min(o.GroupSize, o.inputs())
}

func (o *gptqOracle) groups() int { return (o.inputs() + o.groupSize() - 1) / o.groupSize() }

// codeRange is what codes may be.
func (o *gptqOracle) codeRange() (lowest, highest int) {
	if o.Symmetric {
		highest = 1<<(o.NBits-1) - 1
		return -highest, highest
	}
	return 0, 1<<o.NBits - 1
}

// A gptqSystem is H, damped and in an order of the inputs, and the inverse of every
// part of it that is left when the first inputs are done.
type gptqSystem struct {
	order    []int32
	h        *mat.SymDense
	inverses []*mat.SymDense // [k] of the inputs from k on
	κ        float64         // Σ H_ii·(H⁻¹)_ii: at least n, and the condition of H scaled to a diagonal of ones
}

// system returns nil where H has no Cholesky factor in float64.
func (o *gptqOracle) system(order []int32, damping float64) *gptqSystem {
	n := o.inputs()
	mean := mat.Trace(o.h) / float64(n)
	s := &gptqSystem{order: order, h: mat.NewSymDense(n, nil)}
	for k := range n {
		for l := k; l < n; l++ {
			s.h.SetSym(k, l, o.h.At(int(order[k]), int(order[l])))
		}
		s.h.SetSym(k, k, s.h.At(k, k)+damping*mean)
	}
	for k := range n {
		var factor mat.Cholesky
		if !factor.Factorize(s.h.SliceSym(k, n)) {
			return nil
		}
		var inverse mat.SymDense
		factor.InverseTo(&inverse) // complains of what κ says
		s.inverses = append(s.inverses, &inverse)
	}
	for k := range n {
		s.κ += s.h.At(k, k) * s.inverses[0].At(k, k)
	}
	return s
}

// left returns where input m is best, given the errors of the inputs before k ≤ m.
func (s *gptqSystem) left(w, d []float64, k, m int) float64 {
	v := w[m]
	for l := k; l < len(w); l++ {
		for j := range k {
			v += s.inverses[k].At(m-k, l-k) * s.h.At(l, j) * d[j]
		}
	}
	return v
}

// root is U_kk.
func (s *gptqSystem) root(k int) float64 { return math.Sqrt(s.inverses[k].At(0, 0)) }

// spread is |U_jm|/U_jj: how far input m moves for an error of 1 of the weight of
// input j.
func (s *gptqSystem) spread(j, m int) float64 {
	return math.Abs(s.inverses[j].At(0, m-j)) / s.inverses[j].At(0, 0)
}

// A gptqNumber is a number that a result says, or that follows from it, and what
// it may be off what it should be.
type gptqNumber struct {
	what              string
	got, want, budget float64
}

func (t *trial) gptqWithin(list []gptqNumber) {
	t.Helper()
	for _, a := range list {
		t.within(a.what, a.got, a.want, a.budget)
	}
}

// A gptqJudged is what judging a row of a result has found.
type gptqJudged struct {
	grids, codes, loss []gptqNumber
	tie                int       // the first input, in their order, that may be rounded either way, or whose zero point may
	scales             []float64 // what a group's scale may be off
}

// all asserts everything that was found.
func (row *gptqJudged) all(t *trial) {
	t.Helper()
	t.gptqWithin(row.grids)
	t.gptqWithin(row.codes)
	t.gptqWithin(row.loss)
}

// judgeGPTQ asserts what does not depend on numbers, and judges every row.
func judgeGPTQ(t *trial, o *gptqOracle, q *spec.QuantizedLayer) []gptqJudged {
	t.Helper()
	judgeGPTQCodes(t, o, q)
	judgeGPTQOrder(t, o, q.Order)
	judgeGPTQDamping(t, o, q.DampPercent)
	rows := make([]gptqJudged, o.w.Rows)
	s := o.system(q.Order, q.DampPercent)
	if s == nil {
		return rows // too near to singular for a code to be determined
	}
	for r := range rows {
		rows[r] = o.judgeRow(s, q, r, t.u)
	}
	return rows
}

// judgeGPTQCodes asserts shapes and ranges, and that weights are what codes say.
func judgeGPTQCodes(t *trial, o *gptqOracle, q *spec.QuantizedLayer) {
	t.Helper()
	outputs, groups := o.w.Rows, o.groups()
	t.holds(spec.CheckMatrix("", "", q.Weights, outputs, o.inputs()) == nil, "weights: got shape (%d, %d), want (%d, %d)", q.Weights.Rows, q.Weights.Cols, outputs, o.inputs())
	t.holds(spec.CheckMatrix("", "", q.Scales, outputs, groups) == nil, "scales: got shape (%d, %d), want (%d, %d)", q.Scales.Rows, q.Scales.Cols, outputs, groups)
	t.equal("number of codes ", len(q.Codes), len(o.w.Data))
	t.equal("number of zero points ", len(q.ZeroPoints), outputs*groups)
	t.equal("number of losses ", len(q.Losses), outputs)
	isGPTQOrder(t, q.Order, o.inputs())
	lowest, highest := o.codeRange()
	for i, z := range q.ZeroPoints {
		t.holds(int(z) >= max(lowest, 0) && (int(z) <= highest && !o.Symmetric || z == 0), "zero_points[%d]: got %d", i, z)
		scale := q.Scales.Data[i]
		t.holds(scale > 0 && !math.IsInf(float64(scale), 0), "scales[%d]: got %v, want a finite number above 0", i, scale)
	}
	for r := range outputs {
		for k, i := range q.Order {
			group := r*groups + k/o.groupSize()
			code, zero, scale := int(q.Codes[r*o.inputs()+int(i)]), int(q.ZeroPoints[group]), float64(q.Scales.Data[group])
			t.holds(code >= lowest && code <= highest, "codes[%d, %d]: got %d, want %d…%d", r, i, code, lowest, highest)
			got, want := q.Weights.Row(r)[i], scale*float64(code-zero)
			t.within(fmt.Sprintf("weights[%d, %d]", r, i), float64(got), want, 2*t.u*math.Abs(want)+spacing(t.u))
			t.holds(code != zero || math.Float32bits(got) == 0, "weights[%d, %d]: got %v for a code that is the zero point, want +0", r, i, got)
		}
	}
}

// isGPTQOrder asserts that every input has one place.
func isGPTQOrder(t *trial, order []int32, n int) {
	t.Helper()
	sorted := slices.Clone(order)
	slices.Sort(sorted)
	t.equal("number of inputs in order ", len(order), n)
	for i, got := range sorted {
		t.holds(int(got) == i, "order: got %v, want a permutation", order)
	}
}

// judgeGPTQOrder asserts that inputs come in their order.
func judgeGPTQOrder(t *trial, o *gptqOracle, order []int32) {
	t.Helper()
	largest := 0.0
	for i := range order {
		largest = max(largest, o.h.At(i, i))
	}
	for k := 1; k < len(order); k++ {
		i, j := int(order[k-1]), int(order[k])
		if !o.ActOrder {
			t.holds(i < j, "order: got %v without act_order", order)
			continue
		}
		before, behind := o.h.At(i, i), o.h.At(j, j)
		t.within(fmt.Sprintf("H_%d,%d, which comes behind H_%d,%d,", j, j, i, i), max(behind, before), before,
			float64(2*o.x.Rows+4)*t.u*before+spacing(t.u)*largest)
		t.holds(i < j || !o.areAlike(i, j), "order: got input %d before %d, which are equal but for signs", i, j)
	}
}

// areAlike reports whether two inputs have the same H_ii for certain.
func (o *gptqOracle) areAlike(i, j int) bool {
	for s := range o.x.Rows {
		if row := o.x.Row(s); math.Abs(float64(row[i])) != math.Abs(float64(row[j])) {
			return false
		}
	}
	return true
}

// gptqEscalations is how often a damping may be taken times 10.
const gptqEscalations = 6

// dampings are the config's damping and what it may become.
func (o *gptqOracle) dampings() []float64 {
	list := []float64{o.DampPercent}
	for range gptqEscalations {
		list = append(list, 10*list[len(list)-1])
	}
	return list
}

// isWellConditioned reports whether H, damped so, has a Cholesky factor for certain,
// computed with that unit roundoff (Higham, theorem 10.7).
func (o *gptqOracle) isWellConditioned(damping, u float64) bool {
	natural := make([]int32, o.inputs())
	for i := range natural {
		natural[i] = int32(i)
	}
	s := o.system(natural, damping)
	n := o.inputs()
	return s != nil && 4*float64(n*(o.x.Rows+2*n))*u*s.κ < 1
}

// judgeGPTQDamping asserts that a damping is the config's times a power of 10, and no
// higher one than there is a reason for.
func judgeGPTQDamping(t *trial, o *gptqOracle, damping float64) {
	t.Helper()
	dampings := o.dampings()
	k := slices.IndexFunc(dampings, func(d float64) bool { return math.Abs(damping-d) <= 4*t.u*d })
	t.holds(k >= 0, "damp_percent: got %v, want %v times a power of 10 up to 10⁶", damping, o.DampPercent)
	t.holds(k == 0 || !o.isWellConditioned(dampings[k-1], t.u), "damp_percent: got %v, but H has a Cholesky factor at a tenth of it", damping)
}

// judgeRow judges the scales, codes and the loss of a row by the errors that the row
// has.
func (o *gptqOracle) judgeRow(s *gptqSystem, q *spec.QuantizedLayer, r int, u float64) gptqJudged {
	n, size := o.inputs(), o.groupSize()
	lowest, highest := o.codeRange()
	w, d := make([]float64, n), make([]float64, n)
	for k, i := range q.Order {
		w[k] = float64(o.w.Row(r)[i])
		d[k] = w[k] - float64(q.Weights.Row(r)[i])
	}
	row := gptqJudged{tie: n}
	off := make([]float64, n) // e_k·U_kk
	δ := make([]float64, n)
	inH := float64(o.x.Rows+2*n) * u // of an element of H, in units of √(H_ii·H_jj)
	// bound is how far the weight of input m may be off once the inputs before k are done.
	bound := func(k, m int) float64 {
		moves, passed, system := math.Abs(w[m]), 0.0, 0.0
		for j := range k {
			moves += math.Abs(off[j]) * s.spread(j, m)
			passed += δ[j] * s.spread(j, m)
			system += math.Abs(d[j]) * math.Sqrt(s.h.At(j, j)/s.h.At(m, m))
		}
		return float64(n+2)*(u*moves+4*spacing(u)) + passed + inH*s.κ*system
	}
	loss, slack := 0.0, 0.0
	for k, i := range q.Order {
		group := r*o.groups() + k/size
		scale, zero := float64(q.Scales.Data[group]), int(q.ZeroPoints[group])
		if k%size == 0 {
			least, most, margin := 0.0, 0.0, 0.0
			for m := k; m < min(k+size, n); m++ {
				v := s.left(w, d, k, m)
				least, most, margin = min(least, v), max(most, v), max(margin, bound(k, m))
			}
			grid, budget := o.judgeGrid(fmt.Sprintf("[%d, %d]", r, k/size), scale, zero, least, most, margin, u)
			if !o.Symmetric && gptqNearMiddle(-least/scale, lowest, highest, gptqZeroMargin(scale, least, margin, u)) {
				row.tie = min(row.tie, k)
			}
			row.grids, row.scales = append(row.grids, grid...), append(row.scales, budget)
		}
		v := s.left(w, d, k, k)
		δ[k] = bound(k, k)
		off[k] = v - (w[k] - d[k])
		code := int(q.Codes[r*n+int(i)])
		x, margin := v/scale, δ[k]/scale
		// A code at the end of its range is right for all that lies beyond.
		distance := x - float64(code-zero)
		if code == lowest {
			distance = max(distance, 0)
		}
		if code == highest {
			distance = min(distance, 0)
		}
		row.codes = append(row.codes, gptqNumber{
			fmt.Sprintf("distance of code %d, zero point %d, from weight [%d, %d], which stands at %.9g scales", code, zero, r, i, x),
			max(math.Abs(distance), 0.5), 0.5, margin,
		})
		if gptqNearMiddle(x+float64(zero), lowest, highest, margin) {
			row.tie = min(row.tie, k)
		}
		e, eOff := math.Abs(off[k])/s.root(k), δ[k]/s.root(k)
		loss += e * e
		slack += (2*e + eOff) * eOff
	}
	row.loss = []gptqNumber{{fmt.Sprintf("losses[%d]", r), q.Losses[r], s.form(d), slack + (4*u+inH*s.κ)*loss}}
	return row
}

// form is d·H·dᵀ.
func (s *gptqSystem) form(d []float64) float64 {
	v := mat.NewVecDense(len(d), d)
	return mat.Inner(v, s.h, v)
}

// gptqNearMiddle reports whether x lies so near to the middle between two codes that
// either may be taken.
func gptqNearMiddle(x float64, lowest, highest int, margin float64) bool {
	middle := math.Floor(x) + 0.5
	if x < float64(lowest) {
		middle = float64(lowest) + 0.5
	}
	if x > float64(highest) {
		middle = float64(highest) - 0.5
	}
	return math.Abs(x-middle) <= margin
}

// judgeGrid judges a grid by the range of the weights that it is for, which may be off
// by the margin, and returns what the scale may be off.
func (o *gptqOracle) judgeGrid(where string, scale float64, zero int, least, most, margin, u float64) (found []gptqNumber, budget float64) {
	_, highest := o.codeRange()
	span := most - least
	if o.Symmetric {
		span = max(most, -least)
	}
	want := span / float64(highest)
	budget = 2*u*want + 2*margin/float64(highest) + spacing(u)
	if isNothing := float32(want) == 0; isNothing && margin == 0 || scale == 1 && want <= budget {
		want = 1
	}
	found = append(found, gptqNumber{"scales" + where, scale, want, budget})
	if o.Symmetric {
		return found, budget
	}
	distance := float64(zero) + least/scale
	if zero == highest {
		distance = max(distance, 0)
	}
	return append(found, gptqNumber{
		fmt.Sprintf("distance of zero point%s %d from 0, which stands at %.9g scales", where, zero, -least/scale),
		max(math.Abs(distance), 0.5), 0.5, gptqZeroMargin(scale, least, margin, u),
	}), budget
}

// gptqZeroMargin is what −least/scale may be off.
func gptqZeroMargin(scale, least, margin, u float64) float64 {
	return margin/scale + 4*u*math.Abs(least/scale)
}

// sameGPTQLayer holds a result to the oracle, and to another result row by row up to
// where that row may have been rounded otherwise.
func sameGPTQLayer(t *trial, o *gptqOracle, got, want *spec.QuantizedLayer) {
	t.Helper()
	rows := judgeGPTQ(t, o, got)
	for _, row := range rows {
		row.all(t)
	}
	if !slices.Equal(got.Order, want.Order) || math.Abs(got.DampPercent-want.DampPercent) > 4*t.u*want.DampPercent {
		return // as far as they may, which has been judged
	}
	for r, row := range rows {
		sameGPTQLayerRow(t, o, &row, r, got, r, want)
	}
}

// sameGPTQLayerRow compares row r of got, as it was judged, with a row of another result.
func sameGPTQLayerRow(t *trial, o *gptqOracle, judged *gptqJudged, r int, got *spec.QuantizedLayer, other int, want *spec.QuantizedLayer) {
	t.Helper()
	n, groups := o.inputs(), o.groups()
	for k, i := range got.Order {
		if j := k / o.groupSize(); k%o.groupSize() == 0 && k <= judged.tie && j < len(judged.scales) {
			g, w := float64(got.Scales.Row(r)[j]), float64(want.Scales.Row(other)[j])
			if g != 1 && w != 1 { // else a group may be within its budget of zeros
				t.within(fmt.Sprintf("scales[%d, %d] beside the other's", r, j), g, w, 2*judged.scales[j])
			}
		}
		if k >= judged.tie {
			return
		}
		code := int(got.Codes[r*n+int(i)]) - int(got.ZeroPoints[r*groups+k/o.groupSize()])
		wanted := int(want.Codes[other*n+int(i)]) - int(want.ZeroPoints[other*groups+k/o.groupSize()])
		t.holds(code == wanted, "codes[%d, %d]: got %d above the zero point, want %d", r, i, code, wanted)
	}
}

// A gptqSquish6 is the arguments of calibrate as variant squish6, and what a column
// that is quantised takes off the others.
type gptqSquish6 struct {
	spec.GPTQLayerConfig
	w           spec.Matrix
	samples     int
	gain, share []float64 // a row each: √max(h, 1e-8) and h/(h + 1e-8)
}

func newGPTQSquish6(c spec.GPTQLayerConfig, w, x spec.Matrix) *gptqSquish6 {
	o := &gptqSquish6{GPTQLayerConfig: c, w: w, samples: x.Rows}
	h, mean := make([]float64, w.Rows), 0.0
	for r := range h {
		column := mat.Col(nil, r, dense(x))
		h[r] = mat.Dot(mat.NewVecDense(x.Rows, column), mat.NewVecDense(x.Rows, column)) / float64(x.Rows)
		mean += h[r] / float64(w.Rows)
	}
	for r := range h {
		damped := h[r] + c.DampPercent*mean
		o.gain = append(o.gain, math.Sqrt(max(damped, 1e-8)))
		o.share = append(o.share, damped/(damped+1e-8))
	}
	return o
}

// sameGPTQSquish6 holds quantised weights to what they follow from, column by column given
// the columns before, and to other ones block by block up to a near tie.
func sameGPTQSquish6(t *trial, o *gptqSquish6, got, want spec.Matrix) {
	t.Helper()
	t.holds(spec.CheckMatrix("", "", got, o.w.Rows, o.w.Cols) == nil, "weights: got shape (%d, %d), want (%d, %d)", got.Rows, got.Cols, o.w.Rows, o.w.Cols)
	for from := 0; from < o.w.Cols; from += min(o.BlockSize, o.w.Cols) {
		o.sameBlock(t, from, min(from+min(o.BlockSize, o.w.Cols), o.w.Cols), got, want)
	}
}

func (o *gptqSquish6) sameBlock(t *trial, from, to int, got, want spec.Matrix) {
	t.Helper()
	taken := make([]float64, o.w.Rows)
	largestTerm := 0.0 // M
	tied := false
	highest := float64(int(1)<<(o.NBits-1) - 1)
	k := float64(2*o.samples+2*min(o.BlockSize, o.w.Cols)+16) * t.u
	for c := from; c < to; c++ {
		largest := 0.0 // m
		for r := range taken {
			w := float64(o.w.Row(r)[c])
			largest = max(largest, math.Abs(w-taken[r])*o.gain[r])
			largestTerm = max(largestTerm, (math.Abs(w)+math.Abs(taken[r]))*o.gain[r])
		}
		if math.Abs(largest-1e-12) <= 0x1p-20*1e-12+k*largestTerm {
			return
		}
		scale := largest / highest
		margin := 2 * k * highest * largestTerm / largest
		for r := range taken {
			w := float64(o.w.Row(r)[c]) - taken[r]
			budget := k*largestTerm/o.gain[r] + spacing(t.u)
			g := float64(got.Row(r)[c])
			expected := w
			if largest >= 1e-12 {
				x := w * o.gain[r] / scale
				code := max(-highest, min(math.RoundToEven(x), highest))
				if gptqNearMiddle(x, int(-highest), int(highest), margin) {
					tied = true
					if code = math.Floor(x); g*o.gain[r]/scale > math.Floor(x)+0.5 {
						code++
					}
				}
				expected = code * scale / o.gain[r]
			}
			where := fmt.Sprintf("weights[%d, %d]", r, c)
			t.within(where, g, expected, budget)
			if !tied {
				t.within(where+" beside the other's", g, float64(want.Row(r)[c]), 2*budget)
			}
			taken[r] += (w - g) * o.share[r]
		}
	}
}
