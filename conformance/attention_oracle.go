package conformance

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/squishspec/squishspec/spec"
)

// An attentionRow is one query row over all keys and values of its head: what
// modules that attend must come to, in big floats, and how far off they may be.
type attentionRow struct {
	query        []float32
	keys, values spec.Matrix
	scale        float64
}

// eachAttentionRow calls visit for every query row of every head.
func eachAttentionRow(query, keys, values spec.Heads, scale float64, visit func(h, q int, a attentionRow)) {
	for h := range query.Heads {
		for q := range query.Tokens {
			visit(h, q, attentionRow{query.Head(h).Row(q), keys.Head(h), values.Head(h), scale})
		}
	}
}

// An attentionInput is what an attention is computed from.
type attentionInput struct {
	query, keys, values spec.Heads
	scale               float64
}

// eachOutput calls visit for every output of out: element i of a query row.
func (x attentionInput) eachOutput(out spec.Heads, visit func(where string, a attentionRow, i int, got float64)) {
	eachAttentionRow(x.query, x.keys, x.values, x.scale, func(h, q int, a attentionRow) {
		for i, got := range out.Head(h).Row(q) {
			visit(outputAt(h, q, i), a, i, float64(got))
		}
	})
}

// eachRow calls visit for every query row.
func (x attentionInput) eachRow(visit func(h, q int, a attentionRow)) {
	eachAttentionRow(x.query, x.keys, x.values, x.scale, visit)
}

// sameOutputs asserts that two outputs that should be the same differ by no more
// than each of them may be off.
func sameOutputs(t *trial, x attentionInput, outX spec.Heads, y attentionInput, outY spec.Heads) {
	t.Helper()
	var allowed, want []float64
	x.eachOutput(outX, func(_ string, a attentionRow, i int, got float64) {
		want = append(want, got)
		allowed = append(allowed, a.budget(t.u, i))
	})
	n := 0
	y.eachOutput(outY, func(where string, a attentionRow, i int, got float64) {
		t.within(where, got, want[n], allowed[n]+a.budget(t.u, i))
		n++
	})
}

// outputs is softmax(query · keysᵀ · scale) · values. All numbers are finite.
func (a attentionRow) outputs() []float64 {
	weights := bigSoftmax(a.logits())
	out := make([]float64, a.values.Cols)
	for i := range out {
		sum := bigNumber(0)
		for j, w := range weights {
			sum.Add(sum, new(big.Float).Mul(w, bigNumber(float64(a.values.Row(j)[i]))))
		}
		out[i], _ = sum.Float64()
	}
	return out
}

// logits are scale · query · key, for every key.
func (a attentionRow) logits() []*big.Float {
	logits := make([]*big.Float, a.keys.Rows)
	for j := range logits {
		sum := bigNumber(0)
		for i, x := range a.query {
			sum.Add(sum, new(big.Float).Mul(bigNumber(float64(x)), bigNumber(float64(a.keys.Row(j)[i]))))
		}
		logits[j] = sum.Mul(sum, bigNumber(a.scale))
	}
	return logits
}

// dotMagnitude is the greatest Σ|qᵢkᵢ| over the keys. Times the scale it is |logit|₁,
// which rounding errors of a logit are relative to.
func (a attentionRow) dotMagnitude() float64 {
	largest := 0.0
	for j := range a.keys.Rows {
		sum := 0.0
		for i, k := range a.keys.Row(j) {
			sum += math.Abs(float64(a.query[i]) * float64(k))
		}
		largest = max(largest, sum)
	}
	return largest
}

// largest is the greatest |value| that output i is made of.
func (a attentionRow) largest(i int) float64 {
	largest := 0.0
	for j := range a.values.Rows {
		largest = max(largest, math.Abs(float64(a.values.Row(j)[i])))
	}
	return largest
}

// budget bounds how far output i may be off, whatever order sums are taken in and
// however often an online softmax rescales: by wrong weights, here, and by what
// [attentionRow.sumBudget] says.
//
// In units of u, the logarithm of a weight is off by (dim + 10)·|logit|₁ + 4·keys: by
// dim for the dot product, 2 for rounding its factors to working precision, 2 for the
// scale, and, since |s − m| ≤ 2·|logit|₁, 2 for subtracting the maximum and 4 for a
// change of base to 2; rescaling from one maximum to the next subtracts no more than
// that in all, for maxima ascend. And by 4 for each exponential, the weight's own and
// one for each later key that raises the maximum. Weights that sum to 1, and whose
// logarithms are off by at most δ, are off by at most 2·tanh(δ/2) ≤ δ in all, and the
// output by δ·max|v|.
func (a attentionRow) budget(u float64, i int) float64 {
	δ := a.logitBudget(u) + u*4*float64(a.keys.Rows)
	return a.sumBudget(u, i) + δ*a.largest(i)
}

// logitBudget bounds how far a logit, less the maximum, may be off.
func (a attentionRow) logitBudget(u float64) float64 {
	return u * float64(len(a.query)+10) * a.scale * a.dotMagnitude()
}

// sumBudget bounds how far output i may be off where the weights are right, or do not
// matter.
//
// In units of u·max|v|, each key costs numerator and denominator an addition and a
// rescaling, 4 in all. Once come the rounding of the value, its product with the
// weight, the division or a reciprocal and a product, and the rounding of the result
// and of the one that it is compared with; 16 leaves room for a division that is not
// quite accurate and for products of errors. Where products and rescalings underflow,
// each costs half the least subnormal, u·2⁻¹²⁵, and so does each of two results.
func (a attentionRow) sumBudget(u float64, i int) float64 {
	keys := float64(a.keys.Rows)
	return u * ((4*keys+16)*a.largest(i) + (keys+1)*0x1p-125)
}

// standsOut reports whether a key's logit is above all others by more than 200 and
// the rounding errors of two logits.
func (a attentionRow) standsOut(u float64, key int) bool {
	logits := a.logits()
	margin := bigNumber(200 + 2*a.logitBudget(u))
	for j, logit := range logits {
		if j != key && new(big.Float).Sub(logits[key], logit).Cmp(margin) <= 0 {
			return false
		}
	}
	return true
}

// isMasked reports whether a key's logit is below another one by more than 200 and
// the rounding errors of two logits.
func (a attentionRow) isMasked(u float64, key int) bool {
	logits := a.logits()
	largest := slices.MaxFunc(logits, (*big.Float).Cmp)
	return new(big.Float).Sub(largest, logits[key]).Cmp(bigNumber(200+2*a.logitBudget(u))) > 0
}

// attentionLimit is where numbers, and what they are multiplied to, must stay below,
// or an implementation in float32 may overflow.
const attentionLimit = 0x1p100

// isAsked reports whether scale and values, and queries, keys and Σ|qᵢkᵢ| alone and
// times the scale, stay below attentionLimit.
func (a attentionRow) isAsked() bool {
	limit := attentionLimit / max(1, a.scale)
	return a.scale < attentionLimit && areBelow(attentionLimit, a.values.Data) &&
		areBelow(limit, a.query) && areBelow(limit, a.keys.Data) && a.dotMagnitude() < limit
}

// areBelow reports whether all magnitudes are below a limit. That of NaN is not.
func areBelow(limit float64, values []float32) bool {
	for _, v := range values {
		if !(math.Abs(float64(v)) < limit) {
			return false
		}
	}
	return true
}

// sameAttention compares attention with ref's. Rows that a non-finite key or value
// reaches are excused, and so are those beyond attentionLimit; of a non-finite query
// row only that is asked which ref cannot compute either.
func sameAttention(t *trial, got, want, query, keys, values spec.Heads, scale float64) {
	t.Helper()
	t.hasShape(got, want.Heads, want.Tokens, want.Dim)
	eachAttentionRow(query, keys, values, scale, func(h, q int, a attentionRow) {
		isAsked := a.isAsked()
		isSpoiled := !areFinite(a.query...) && areFinite(a.keys.Data...) && areFinite(a.values.Data...)
		for i, w := range want.Head(h).Row(q) {
			g := got.Head(h).Row(q)[i]
			switch {
			case isAsked:
				t.within(outputAt(h, q, i), float64(g), float64(w), a.budget(t.u, i))
			case isSpoiled && !areFinite(w):
				t.holds(!areFinite(g), "%s of a query row that is not finite: got %v, want %v", outputAt(h, q, i), g, w)
			}
		}
	})
}

// hasShape asserts that a tensor has a shape, and data for it.
func (t *trial) hasShape(x spec.Heads, heads, tokens, dim int) {
	t.Helper()
	err := spec.CheckHeads("result", "shape", x, heads, tokens, dim)
	t.holds(err == nil, "%v", err)
}

// spreadsNoFurther asserts that outputs which a spoiled number does not reach are
// those of the clean input, and so are all of the next call.
func (s spoiler) spreadsNoFurther(t *trial, clean, spoiled, later spec.Heads) {
	t.Helper()
	for h := range clean.Heads {
		for q := range clean.Tokens {
			if !s.reaches(h, q) {
				t.sameBits(fmt.Sprintf("output (%d, %d), which is not reached, ", h, q), spoiled.Head(h).Row(q), clean.Head(h).Row(q))
			}
		}
	}
	for h := range clean.Heads {
		t.sameBits(fmt.Sprintf("head %d of the next call", h), later.Head(h), clean.Head(h))
	}
}

func areFinite(values ...float32) bool { return spec.CheckFinite("", "", values) == nil }

func outputAt(head, query, i int) string {
	return fmt.Sprintf("output (%d, %d, %d)", head, query, i)
}

// attentionStyles stay below attentionLimit, as queries and keys and as values.
var (
	attentionStyles = slices.DeleteFunc(slices.Clone(anyStyles), func(s style) bool { return strings.Contains(s.name, "huge") })
	valueStyles     = append(slices.Clone(attentionStyles),
		style{"large", each(func(r *rand.Rand) float64 { return (r.Float64() - 0.5) * attentionLimit })})
)

// bigPrecision is the precision in bits of a big float. A logit below attentionLimit
// is then off by less than 2⁻⁹⁰, and so, of itself, is its weight.
const bigPrecision = 200

func bigNumber(x float64) *big.Float { return new(big.Float).SetPrec(bigPrecision).SetFloat64(x) }

// bigSoftmax returns weights in proportion to e^logit that sum to 1.
func bigSoftmax(logits []*big.Float) []*big.Float {
	largest := slices.MaxFunc(logits, (*big.Float).Cmp)
	weights := make([]*big.Float, len(logits))
	sum := bigNumber(0)
	for j, logit := range logits {
		weights[j] = bigExp(new(big.Float).Sub(logit, largest))
		sum.Add(sum, weights[j])
	}
	for _, w := range weights {
		w.Quo(w, sum)
	}
	return weights
}

// bigExp returns eˣ for x ≤ 0, to 2⁻¹⁷⁰ of itself. Below e⁻¹⁰⁰⁰ < 2⁻¹⁴⁰⁰ it is 0.
//
// It is the Taylor series of x·2⁻²⁰, squared 20 times: |x·2⁻²⁰| < 2⁻¹⁰, so that terms
// from (2⁻¹⁰)¹⁸/18! < 2⁻²³⁰ on do not matter, and each squaring doubles the error.
func bigExp(x *big.Float) *big.Float {
	if x.Cmp(bigNumber(-1000)) < 0 {
		return bigNumber(0)
	}
	const halvings, terms = 20, 17
	small := new(big.Float).SetMantExp(x, -halvings)
	sum := bigNumber(1)
	for n := terms; n > 0; n-- {
		sum.Mul(sum, small)
		sum.Quo(sum, bigNumber(float64(n)))
		sum.Add(sum, bigNumber(1))
	}
	for range halvings {
		sum.Mul(sum, sum)
	}
	return sum
}
