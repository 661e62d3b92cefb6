package attn

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/spec"
)

// u is the unit roundoff of float32.
const u = 0x1p-24

// styles of a query, of key j and of a value, element by element.
var styles = []struct {
	name              string
	query, key, value func(r *rand.Rand, j, i int) float64
}{
	{"gaussian", gaussian(1), gaussian(1), gaussian(1)},
	{"huge logits", gaussian(1e15), gaussian(1e15), gaussian(1)},
	{"huge values", gaussian(1), gaussian(1), gaussian(0x1p124)},
	{"tiny queries", gaussian(0x1p-140), gaussian(0x1p60), gaussian(1)},
	{"tiny values", gaussian(1), gaussian(1), gaussian(0x1p-145)},
	{"logits in steps down", constant(4), func(_ *rand.Rand, j, _ int) float64 { return -float64(j) }, gaussian(1)},
	{"logits in steps up", constant(4), func(_ *rand.Rand, j, _ int) float64 { return float64(j) }, gaussian(1)},
	{"equal keys", gaussian(3), constant(0.7), gaussian(1)},
	{"one-hot keys", gaussian(9), func(_ *rand.Rand, j, i int) float64 {
		if j == i {
			return 9
		}
		return 0
	}, gaussian(1)},
	{"cancelling products", constant(100), func(r *rand.Rand, _, i int) float64 { return float64(i%2*200-100) + r.Float64() }, gaussian(1)},
	{"all exponents", spread, spread, spread},
}

func gaussian(scale float64) func(*rand.Rand, int, int) float64 {
	return func(r *rand.Rand, _, _ int) float64 { return r.NormFloat64() * scale }
}

func constant(x float64) func(*rand.Rand, int, int) float64 {
	return func(*rand.Rand, int, int) float64 { return x }
}

func spread(r *rand.Rand, _, _ int) float64 { return math.Ldexp(r.NormFloat64(), r.IntN(60)-50) }

func draw(r *rand.Rand, rows, cols int, element func(r *rand.Rand, j, i int) float64) spec.Matrix {
	var m spec.Matrix
	m.Resize(rows, cols)
	for n := range m.Data {
		m.Data[n] = float32(element(r, n/cols, n%cols))
	}
	return m
}

// rowsBetween returns rows from … to−1; they share m's memory.
func rowsBetween(m spec.Matrix, from, to int) spec.Matrix {
	return spec.Matrix{Rows: to - from, Cols: m.Cols, Data: m.Data[from*m.Cols : to*m.Cols]}
}

// heads is a tensor of one head.
func heads(m spec.Matrix) spec.Heads {
	return spec.Heads{Heads: 1, Tokens: m.Rows, Dim: m.Cols, Stride: len(m.Data), Data: m.Data}
}

// attend attends to the keys in documents that end at the cuts and at the last key,
// with an Attention that has seen nothing but NaNs so far. A cut at the end of a
// document makes none.
func attend(queries, keys, values spec.Matrix, scale float64, cuts ...int) (out spec.Matrix) {
	out.Resize(queries.Rows, queries.Cols)
	nans := heads(draw(nil, queries.Rows, queries.Cols, constant(math.NaN())))
	var a Attention
	a.Attend(heads(out), nans, []spec.Heads{nans}, []spec.Heads{nans}, scale)

	var k, v []spec.Heads
	from := 0
	for _, to := range append(cuts, keys.Rows) {
		if to > from {
			k, v = append(k, heads(rowsBetween(keys, from, to))), append(v, heads(rowsBetween(values, from, to)))
		}
		from = to
	}
	a.Attend(heads(out), heads(queries), k, v, scale)
	return out
}

// eachTier runs a test in every tier that this machine has.
func eachTier(t *testing.T, test func(t *testing.T)) {
	for _, tier := range kern.Tiers() {
		t.Run(string(tier), func(t *testing.T) {
			defer kern.Force(tier)()
			test(t)
		})
	}
}

// The bound is that of the requirement cross-doc-attn/joined.
func TestAttendIsSoftmaxInBigFloats(t *testing.T) {
	for s, style := range styles {
		for _, size := range []struct{ dim, keys int }{{1, 1}, {3, 2}, {8, 13}, {257, 19}} {
			t.Run(fmt.Sprintf("%s, %d keys of %d", style.name, size.keys, size.dim), func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(s), uint64(size.dim)))
				queries := draw(r, 2, size.dim, style.query)
				keys, values := draw(r, size.keys, size.dim, style.key), draw(r, size.keys, size.dim, style.value)
				scale := 1 / math.Sqrt(float64(size.dim))
				eachTier(t, func(t *testing.T) {
					got := attend(queries, keys, values, scale, size.keys/3)
					for q := range queries.Rows {
						checkRow(t, got.Row(q), expect(queries.Row(q), keys, values, scale))
					}
				})
			})
		}
	}
}

// An expectation is an output and how far off it may be, element by element.
type expectation struct{ want, budget []float64 }

func expect(query []float32, keys, values spec.Matrix, scale float64) (e expectation) {
	weights, magnitude := bigWeights(query, keys, scale)
	dim, n := float64(keys.Cols), float64(keys.Rows)
	for i := range values.Cols {
		want, largest := bigFloat(0), 0.0
		for j, w := range weights {
			v := float64(values.Row(j)[i])
			want.Add(want, bigFloat(0).Mul(w, bigFloat(v)))
			largest = max(largest, math.Abs(v))
		}
		w, _ := want.Float64()
		e.want, e.budget = append(e.want, w), append(e.budget, u*((dim+10)*magnitude+8*n+16)*largest+(n+1)*0x1p-149)
	}
	return e
}

func checkRow(t *testing.T, got []float32, e expectation) {
	t.Helper()
	for i, g := range got {
		if off := math.Abs(float64(g) - e.want[i]); !(off <= e.budget[i]) {
			t.Errorf("element %d: got %v, want %v, off by %.3g of what is allowed", i, g, e.want[i], off/e.budget[i])
		}
	}
}

// bigWeights returns the softmax weights of the keys, in floats of 200 bits, and
// the greatest scale·Σ|qᵢkᵢ|.
func bigWeights(query []float32, keys spec.Matrix, scale float64) (weights []*big.Float, magnitude float64) {
	for j := range keys.Rows {
		logit, absolute := bigFloat(0), 0.0
		for i, k := range keys.Row(j) {
			logit.Add(logit, bigFloat(0).Mul(bigFloat(float64(query[i])), bigFloat(float64(k))))
			absolute += math.Abs(float64(query[i]) * float64(k))
		}
		weights = append(weights, logit.Mul(logit, bigFloat(scale)))
		magnitude = max(magnitude, scale*absolute)
	}
	largest := bigFloat(0).Set(slices.MaxFunc(weights, (*big.Float).Cmp))
	total := bigFloat(0)
	for _, w := range weights {
		w.Set(bigExp(w.Sub(w, largest)))
		total.Add(total, w)
	}
	for _, w := range weights {
		w.Quo(w, total)
	}
	return weights, magnitude
}

// bigExp returns eˣ for x ≤ 0: the series of e^(x/2¹⁶), squared 16 times. Below
// e⁻⁴⁰⁰ it is 0.
func bigExp(x *big.Float) *big.Float {
	if x.Cmp(bigFloat(-400)) < 0 {
		return bigFloat(0)
	}
	small := bigFloat(0).SetMantExp(x, -16)
	sum := bigFloat(1)
	for n := 24.0; n > 0; n-- {
		sum.Mul(sum, small).Quo(sum, bigFloat(n)).Add(sum, bigFloat(1))
	}
	for range 16 {
		sum.Mul(sum, sum)
	}
	return sum
}

func bigFloat(x float64) *big.Float { return new(big.Float).SetPrec(200).SetFloat64(x) }

// Documents that end anywhere, and blocks that end inside of them.
func TestEveryCutOfTheKeysIsWithinTheBound(t *testing.T) {
	const dim, scale = 30, 0.2
	r := rand.New(rand.NewPCG(5, 6))
	keys := draw(r, 2*blockKeys+1, dim, gaussian(1))
	values := draw(r, keys.Rows, dim, gaussian(1))
	queries := draw(r, 1, dim, gaussian(1))
	want := expect(queries.Data, keys, values, scale)
	eachTier(t, func(t *testing.T) {
		for cut := range keys.Rows {
			checkRow(t, attend(queries, keys, values, scale, cut).Data, want)
		}
	})
}

// Tiles of queries and heads, on any number of cores, give what one query alone gets
// to within rounding: its lane does not matter by a bit, only what is summed how.
func TestTilesAndCoresDoNotMatter(t *testing.T) {
	const heads, dim, keys, scale = 3, 20, 150, 0.3
	r := rand.New(rand.NewPCG(7, 8))
	make := func(tokens int) spec.Heads {
		m := draw(r, heads*tokens, dim, gaussian(1))
		return spec.Heads{Heads: heads, Tokens: tokens, Dim: dim, Stride: tokens * dim, Data: m.Data}
	}
	k, v := []spec.Heads{make(keys)}, []spec.Heads{make(keys)}
	eachTier(t, func(t *testing.T) {
		for _, queries := range []int{1, 5, 63, 64, 65, 130, 700} {
			q, got, again := make(queries), make(queries), make(queries)
			var a Attention
			a.Attend(got, q, k, v, scale)
			procs := runtime.GOMAXPROCS(3)
			a.Attend(again, q, k, v, scale)
			runtime.GOMAXPROCS(procs)
			if !slices.Equal(got.Data, again.Data) {
				t.Errorf("%d queries: another number of cores gives another answer", queries)
			}
			for range 3 {
				h, i := r.IntN(heads), r.IntN(queries)
				one := func(x spec.Heads, from, to int) spec.Matrix { return rowsBetween(x.Head(h), from, to) }
				want := expect(one(q, i, i+1).Data, one(k[0], 0, keys), one(v[0], 0, keys), scale)
				checkRow(t, one(got, i, i+1).Data, want)
			}
		}
	})
}

// Signs are dot products of ±1, whatever the tile.
func TestAttendSignsIsAttentionOfSigns(t *testing.T) {
	const heads, keys, scale = 2, 150, 0.1
	r := rand.New(rand.NewPCG(9, 10))
	eachTier(t, func(t *testing.T) {
		for _, dim := range []int{1, 31, 64, 70} {
			for _, queries := range []int{1, 9, 100} {
				make := func(tokens int) spec.Heads {
					m := draw(r, heads*tokens, dim, gaussian(1))
					return spec.Heads{Heads: heads, Tokens: tokens, Dim: dim, Stride: tokens * dim, Data: m.Data}
				}
				q, k, v, got, want := make(queries), make(keys), make(keys), make(queries), make(queries)
				words := func(x spec.Heads) []uint32 {
					out := slices.Repeat([]uint32{0}, x.Heads*x.Tokens*kern.SignWords(dim))
					kern.Signs(out, x.Data, dim)
					for i, e := range x.Data {
						x.Data[i] = float32(math.Copysign(1, float64(e)))
					}
					return out
				}
				var a Attention
				a.AttendSigns(got, words(q), words(k), []spec.Heads{v}, scale)
				a.Attend(want, q, []spec.Heads{k}, []spec.Heads{v}, scale)
				if !slices.Equal(got.Data, want.Data) {
					t.Errorf("%d queries of dimension %d: got %v, want %v", queries, dim, got.Data, want.Data)
				}
			}
		}
	})
}

func TestOutputsDoNotGrowWithTheKeys(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		const most = math.MaxFloat32 / 2
		keys, values := draw(nil, 100, 2, constant(1)), draw(nil, 100, 2, constant(most))
		out := attend(draw(nil, 1, 2, constant(1)), keys, values, 1, 10, 50)
		for _, got := range out.Data {
			if off := math.Abs(float64(got) - most); !(off <= u*(4*100+16)*most) {
				t.Errorf("got %v, want %v", got, most)
			}
		}
	})
}

func TestScalesBeyondFloat32(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		one := draw(nil, 1, 1, constant(1))
		keys, values := spec.Matrix{Rows: 2, Cols: 1, Data: []float32{0, 1}}, spec.Matrix{Rows: 2, Cols: 1, Data: []float32{3, 5}}
		for scale, want := range map[float64]float32{
			math.SmallestNonzeroFloat64: 4,
			0x1p-200:                    4,
			0x1p200:                     5,
			math.MaxFloat64:             5,
		} {
			if got := attend(one, keys, values, scale, 1).Data[0]; got != want {
				t.Errorf("scale %v: got %v, want %v", scale, got, want)
			}
		}
	})
}

// A logit of −Inf has the weight 0, wherever it comes; nothing but such weights is
// no answer.
func TestLogitsOfMinusInfinityHaveNoWeight(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		none := float32(math.Inf(-1))
		query := draw(nil, 1, 1, constant(2))
		values := spec.Matrix{Rows: 3, Cols: 1, Data: []float32{7, 8, 9}}
		for _, test := range []struct {
			keys []float32
			want float64
		}{
			{[]float32{none, none, 1}, 9},
			{[]float32{1, none, none}, 7},
			{[]float32{none, -1e38, none}, 8},
			{[]float32{none, none, none}, math.NaN()},
		} {
			keys := spec.Matrix{Rows: 3, Cols: 1, Data: test.keys}
			for cut := range 3 {
				got := float64(attend(query, keys, values, 1, cut).Data[0])
				if got != test.want && !(math.IsNaN(got) && math.IsNaN(test.want)) {
					t.Errorf("keys %v, cut at %d: got %v, want %v", test.keys, cut, got, test.want)
				}
			}
		}
	})
}

func TestNaNsAndInfinitiesStay(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		query, values := draw(nil, 1, 1, constant(1)), draw(nil, 5, 1, constant(1))
		for _, bad := range []float64{math.NaN(), math.Inf(1)} {
			for at := range 5 {
				keys := draw(nil, 5, 1, constant(1))
				keys.Data[at] = float32(bad)
				for cut := range 5 {
					if got := attend(query, keys, values, 1, cut).Data[0]; got == got {
						t.Errorf("key %d is %v, cut at %d: got %v", at, bad, cut, got)
					}
				}
			}
		}
	})
}
