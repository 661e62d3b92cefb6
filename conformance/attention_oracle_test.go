package conformance

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestBigExpIsTheExponential(t *testing.T) {
	for _, x := range []float64{0, -0x1p-60, -0x1p-11, -0.1, -1, -math.Ln2, -10, -100, -700} {
		got, _ := bigExp(bigNumber(x)).Float64()
		if want := math.Exp(x); math.Abs(got-want) > 0x1p-51*want {
			t.Errorf("e^%v: got %v, want %v", x, got, want)
		}
	}
	// e^-1 to 50 digits (OEIS A068985).
	want, _, _ := big.ParseFloat("0.36787944117144232159552377016146086744581113103177", 10, bigPrecision, big.ToNearestEven)
	if off := new(big.Float).Sub(bigExp(bigNumber(-1)), want); off.Abs(off).Cmp(big.NewFloat(1e-50)) > 0 {
		t.Errorf("e^-1 is off by %v", off)
	}
}

func TestBigExpTurnsSumsIntoProducts(t *testing.T) {
	for _, x := range []float64{-0x1p-30, -0.3, -7.7, -123.4, -499} {
		for _, y := range []float64{-0.001, -2, -64, -500} {
			sum := bigExp(new(big.Float).Add(bigNumber(x), bigNumber(y)))
			product := new(big.Float).Mul(bigExp(bigNumber(x)), bigExp(bigNumber(y)))
			off := new(big.Float).Sub(sum, product)
			if off.Abs(off).Cmp(product.Mul(product, big.NewFloat(0x1p-168))) > 0 {
				t.Errorf("e^(%v%v) is not the product", x, y)
			}
		}
	}
}

func TestBigSoftmaxOfLogarithmsIsTheirShare(t *testing.T) {
	// Logits n·ln 2 have weights in proportion to 2ⁿ, however large the logits are.
	for _, base := range []float64{0, 1e6, -1e6} {
		var logits []*big.Float
		for n := range 4 {
			logits = append(logits, bigNumber(base+float64(n)*math.Ln2))
		}
		for n, w := range bigSoftmax(logits) {
			got, _ := w.Float64()
			if want := math.Ldexp(1, n) / 15; math.Abs(got-want) > 1e-9*want {
				t.Errorf("weight %d at %v: got %v, want %v", n, base, got, want)
			}
		}
	}
}

// onlineSoftmax32 is attention in float32 throughout, key by key, with a rescaling
// whenever the maximum rises, and a change of base: the most roundings that the
// budget speaks of.
func onlineSoftmax32(a attentionRow) []float32 {
	out := make([]float32, a.values.Cols)
	largest, sum := float32(math.Inf(-1)), float32(0)
	exp := func(x float32) float32 { return float32(math.Exp2(float64(x * math.Log2E))) }
	for j := range a.keys.Rows {
		dot := float32(0)
		for i, k := range a.keys.Row(j) {
			dot += float32(a.query[i] * k)
		}
		logit := dot * float32(a.scale)
		if logit > largest {
			rescale := exp(largest - logit)
			sum *= rescale
			for i := range out {
				out[i] *= rescale
			}
			largest = logit
		}
		w := exp(logit - largest)
		sum += w
		for i, v := range a.values.Row(j) {
			out[i] += float32(w * v)
		}
	}
	reciprocal := 1 / sum
	for i := range out {
		out[i] *= reciprocal
	}
	return out
}

func TestAttentionBudgetCoversOnlineSoftmaxInFloat32(t *testing.T) {
	const u = 0x1p-24
	r := rand.New(rand.NewPCG(1, 2))
	used := 0.0
	for range 300 {
		dim, keys := 1+r.IntN(8), 1+r.IntN(60)
		a := attentionRow{query: make([]float32, dim), scale: r.ExpFloat64()}
		a.keys.Resize(keys, dim)
		a.values.Resize(keys, dim)
		styles := attentionStyles
		styles[r.IntN(len(styles))].fill(r, a.query)
		styles[r.IntN(len(styles))].fill(r, a.keys.Data)
		valueStyles[r.IntN(len(valueStyles))].fill(r, a.values.Data)
		if r.IntN(2) == 0 {
			// Ascending logits: every key raises the maximum.
			for i := range a.query {
				a.query[i] = 1
			}
			for j := range keys {
				for i := range dim {
					a.keys.Row(j)[i] = float32(j) / float32(1+r.IntN(3)*keys+dim)
				}
			}
		}
		got, want := onlineSoftmax32(a), a.outputs()
		for i := range got {
			off := math.Abs(float64(got[i]) - want[i])
			if off > a.budget(u, i) {
				t.Fatalf("output %d of %d keys of %d elements: got %v, want %v: %.3g × the budget", i, keys, dim, got[i], want[i], off/a.budget(u, i))
			}
			if off > 0 {
				used = max(used, off/a.budget(u, i))
			}
		}
	}
	t.Logf("used %.2f of the budget", used)
	if used < 0.01 {
		t.Errorf("used %.3g of the budget: it bounds nothing", used)
	}
}

func TestSumBudgetCoversAnyWeights(t *testing.T) {
	const u = 0x1p-24
	a := attentionRow{query: []float32{1}, scale: 1}
	a.keys.Resize(50, 1)
	a.values.Resize(50, 1)
	r := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		for j := range a.keys.Data {
			a.keys.Data[j], a.values.Data[j] = float32(1e6*r.NormFloat64()), 0.1
		}
		got := onlineSoftmax32(a)[0]
		if off := math.Abs(float64(got) - float64(float32(0.1))); off > a.sumBudget(u, 0) {
			t.Fatalf("got %v for values of 0.1: %.3g × the budget", got, off/a.sumBudget(u, 0))
		}
	}
}

func TestFiniteRowsBelowTheLimitAreAsked(t *testing.T) {
	row := func(q, k, v float32, scale float64) attentionRow {
		one := func(x float32) spec.Matrix { return spec.Matrix{Rows: 1, Cols: 1, Data: []float32{x}} }
		return attentionRow{[]float32{q}, one(k), one(v), scale}
	}
	for _, c := range []struct {
		what string
		row  attentionRow
		want bool
	}{
		{"ordinary numbers", row(1, 2, 3, 1), true},
		{"a product below the limit", row(0x1p60, 0x1p39, 1, 1), true},
		{"a product at the limit", row(0x1p60, 0x1p40, 1, 0x1p-20), false},
		{"a logit at the limit", row(0x1p40, -0x1p40, 1, 0x1p20), false},
		{"a value at the limit", row(1, 1, -0x1p100, 1), false},
		{"a scale at the limit", row(0, 0, 1, 0x1p100), false},
		{"a query beyond the limit, whose product is not", row(0x1p120, 0x1p-120, 1, 1), false},
		{"a key beyond the limit, whose product is not", row(0, 0x1p120, 1, 1), false},
		{"a query beyond the limit times the scale", row(0x1p60, 0x1p-60, 1, 0x1p50), false},
		{"a NaN query", row(float32(math.NaN()), 1, 1, 1), false},
		{"an infinite value", row(1, 1, float32(math.Inf(1)), 1), false},
	} {
		if got := c.row.isAsked(); got != c.want {
			t.Errorf("%s: got asked = %v", c.what, got)
		}
	}
}
