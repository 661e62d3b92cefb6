package ref_test

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// A query that fits the keys of two documents alike takes the mean of their values.
func ExampleNewCrossDocAttn() {
	config := spec.DefaultCrossDocAttnConfig(2)
	config.NHeads = 1
	attention, err := ref.NewCrossDocAttn(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	row := func(data ...float32) spec.Heads {
		return spec.Heads{Heads: 1, Tokens: 1, Dim: 2, Stride: 2, Data: data}
	}
	var out spec.Heads
	err = attention.Forward(&out, row(1, 1), []spec.Heads{row(3, 0), row(0, 3)}, []spec.Heads{row(10, 0), row(20, 4)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(out.Data)
	fmt.Printf("%+v\n", attention.Stats())
	// Output:
	// [15 2]
	// {Calls:1 Docs:2 DocsPerCall:2}
}

// crossDocs are the arguments of one Forward.
type crossDocs struct {
	config       spec.CrossDocAttnConfig
	query        spec.Heads
	keys, values []spec.Heads
}

// An element of a query, a key or a value, that of token j and dimension i.
type element func(r *rand.Rand, j, i int) float64

func gaussian(scale float64) element {
	return func(r *rand.Rand, _, _ int) float64 { return r.NormFloat64() * scale }
}

func always(x float64) element {
	return func(*rand.Rand, int, int) float64 { return x }
}

func drawAttentionHeads(r *rand.Rand, heads, tokens, dim int, e element) spec.Heads {
	var x spec.Heads
	x.Resize(heads, tokens, dim)
	for n := range x.Data {
		x.Data[n] = float32(e(r, n/dim%tokens, n%dim))
	}
	return x
}

// drawCrossDocs draws 2 heads of 3 queries, and documents of so many tokens each.
func drawCrossDocs(seed uint64, query, key, value element, dim int, tokens ...int) crossDocs {
	r := rand.New(rand.NewPCG(seed, uint64(dim)))
	x := crossDocs{config: spec.DefaultCrossDocAttnConfig(dim), query: drawAttentionHeads(r, 2, 3, dim, query)}
	x.config.NHeads = 2
	for _, n := range tokens {
		x.keys = append(x.keys, drawAttentionHeads(r, 2, n, dim, key))
		x.values = append(x.values, drawAttentionHeads(r, 2, n, dim, value))
	}
	return x
}

func newCrossDocAttn(t *testing.T, config spec.CrossDocAttnConfig) spec.CrossDocAttn {
	t.Helper()
	a, err := ref.NewCrossDocAttn(config)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (x crossDocs) forward(t *testing.T) (out spec.Heads) {
	t.Helper()
	if err := newCrossDocAttn(t, x.config).Forward(&out, x.query, x.keys, x.values); err != nil {
		t.Fatal(err)
	}
	return out
}

// The outputs are those of big floats, rounded once to float32, but for the rounding
// errors of float64: dim + 4 a logit, two a key and some more in the sums.
func TestCrossDocAttnIsSoftmaxInBigFloats(t *testing.T) {
	spread := func(r *rand.Rand, _, _ int) float64 { return math.Ldexp(r.NormFloat64(), r.IntN(60)-50) }
	for _, style := range []struct {
		name              string
		query, key, value element
	}{
		{"gaussian", gaussian(1), gaussian(1), gaussian(1)},
		{"huge logits", gaussian(1e15), gaussian(1e15), gaussian(1)},
		{"logits beyond float32", gaussian(1e30), gaussian(1e30), gaussian(1)},
		{"huge values", gaussian(1), gaussian(1), gaussian(0x1p124)},
		{"tiny queries", gaussian(0x1p-140), gaussian(0x1p100), gaussian(1)},
		{"tiny values", gaussian(1), gaussian(1), gaussian(0x1p-145)},
		{"equal keys", gaussian(3), always(0.7), gaussian(1)},
		{"one-hot keys", gaussian(9), func(_ *rand.Rand, j, i int) float64 {
			if j == i {
				return 9
			}
			return 0
		}, gaussian(1)},
		{"cancelling products", always(100), func(r *rand.Rand, _, i int) float64 { return float64(i%2*200-100) + r.Float64() }, gaussian(1)},
		{"all exponents", spread, spread, spread},
	} {
		for seed, dim := range []int{1, 2, 9} {
			t.Run(fmt.Sprintf("%s, dim %d", style.name, dim), func(t *testing.T) {
				x := drawCrossDocs(uint64(seed), style.query, style.key, style.value, dim, 4, 1, 6)
				out := x.forward(t)
				for h := range out.Heads {
					for q := range out.Tokens {
						x.checkRow(t, h, q, out.Head(h).Row(q))
					}
				}
			})
		}
	}
}

func (x crossDocs) checkRow(t *testing.T, head, query int, got []float32) {
	t.Helper()
	var weights []*big.Float
	var values [][]float32
	magnitude := 0.0
	for doc := range x.keys {
		for j := range x.keys[doc].Tokens {
			logit, absolute := bigFloat(0), 0.0
			for i, k := range x.keys[doc].Head(head).Row(j) {
				product := bigFloat(0).Mul(bigFloat(float64(x.query.Head(head).Row(query)[i])), bigFloat(float64(k)))
				logit.Add(logit, product)
				p, _ := product.Float64()
				absolute += math.Abs(p)
			}
			weights = append(weights, logit.Mul(logit, bigFloat(x.config.SoftmaxScale)))
			values = append(values, x.values[doc].Head(head).Row(j))
			magnitude = max(magnitude, x.config.SoftmaxScale*absolute)
		}
	}
	largest, total := bigFloat(0).Set(slices.MaxFunc(weights, (*big.Float).Cmp)), bigFloat(0)
	for _, w := range weights {
		w.Set(bigExp(w.Sub(w, largest)))
		total.Add(total, w)
	}
	for i, g := range got {
		sum, most := bigFloat(0), 0.0
		for j, w := range weights {
			sum.Add(sum, bigFloat(0).Mul(w, bigFloat(float64(values[j][i]))))
			most = max(most, math.Abs(float64(values[j][i])))
		}
		want, _ := sum.Quo(sum, total).Float64()
		budget := 0x1p-24*math.Abs(want) + 0x1p-150 +
			0x1p-53*(float64(x.query.Dim+4)*magnitude+float64(2*len(weights)+16))*most
		if off := math.Abs(float64(g) - want); !(off <= budget) {
			t.Errorf("head %d, query %d, element %d: got %v, want %v, off by %.3g of what is allowed", head, query, i, g, want, off/budget)
		}
	}
}

// bigExp returns eˣ for x ≤ 0: the series of e^(x/2¹⁶), squared 16 times. Below
// e⁻⁸⁰⁰ it is 0.
func bigExp(x *big.Float) *big.Float {
	if x.Cmp(bigFloat(-800)) < 0 {
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

func TestCrossDocAttnReadsHeadsByTheirStride(t *testing.T) {
	x := drawCrossDocs(1, gaussian(1), gaussian(1), gaussian(1), 3, 2, 5)
	want := x.forward(t)
	for n, tensor := range []*spec.Heads{&x.query, &x.keys[0], &x.values[0], &x.keys[1], &x.values[1]} {
		roomy := *tensor
		roomy.Stride += n + 1
		roomy.Data = slices.Repeat([]float32{float32(math.NaN())}, roomy.Heads*roomy.Stride)
		for h := range roomy.Heads {
			copy(roomy.Head(h).Data, tensor.Head(h).Data)
		}
		*tensor = roomy
	}
	if got := x.forward(t); !slices.Equal(got.Data, want.Data) {
		t.Errorf("got %v, want %v", got.Data, want.Data)
	}
}

// A query row that is not finite has no finite output and changes no other row; a key
// or a value reaches its head and no other.
func TestCrossDocAttnConfinesWhatIsNotFinite(t *testing.T) {
	const head, token = 1, 2
	draw := func() crossDocs { return drawCrossDocs(2, gaussian(1), gaussian(1), gaussian(1), 3, 4, 5) }
	want := draw().forward(t)
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for part := range 3 {
			x := draw()
			spoilt := []spec.Heads{x.query, x.keys[1], x.values[0]}[part]
			spoilt.Head(head).Row(token)[0] = float32(bad)
			out := x.forward(t)
			for h := range out.Heads {
				for q := range out.Tokens {
					got, inQuery := out.Head(h).Row(q), part == 0
					reached := h == head && (!inQuery || q == token)
					if !reached && !slices.Equal(got, want.Head(h).Row(q)) {
						t.Errorf("%v in argument %d reaches head %d, query %d: %v", bad, part, h, q, got)
					}
					if reached && inQuery && spec.CheckFinite("", "", got[:1]) == nil {
						t.Errorf("%v in argument %d does not reach head %d, query %d: %v", bad, part, h, q, got)
					}
				}
			}
		}
	}
}

func TestCrossDocAttnErrorsChangeNothing(t *testing.T) {
	x := drawCrossDocs(3, gaussian(1), gaussian(1), gaussian(1), 3, 2, 5)
	x.config.MaxDocs = 2
	a := newCrossDocAttn(t, x.config)
	if got := a.Stats(); got != (spec.CrossDocAttnStats{}) {
		t.Errorf("got stats %+v before any call", got)
	}
	var out spec.Heads
	if err := a.Forward(&out, x.query, x.keys[:1], x.values[:1]); err != nil {
		t.Fatal(err)
	}
	three := []spec.Heads{x.keys[0], x.keys[0], x.keys[0]}
	for _, bad := range []struct {
		query        spec.Heads
		keys, values []spec.Heads
	}{
		{spec.Heads{}, x.keys, x.values},
		{x.query, nil, nil},
		{x.query, x.keys, x.values[:1]},
		{x.query, x.keys, []spec.Heads{x.values[0], x.values[0]}},
		{x.query, three, three},
	} {
		if err := a.Forward(&out, bad.query, bad.keys, bad.values); !errors.Is(err, spec.Invalid) {
			t.Errorf("%d keys, %d values: got error %v, want it invalid", len(bad.keys), len(bad.values), err)
		}
	}
	if got, want := a.Stats(), (spec.CrossDocAttnStats{Calls: 1, Docs: 1, DocsPerCall: 1}); got != want {
		t.Errorf("got stats %+v, want %+v", got, want)
	}
}

func TestCrossDocAttnOfLogitsBeyondFloat32(t *testing.T) {
	x := drawCrossDocs(4, always(1e30), always(1e30), gaussian(1), 3, 2, 5)
	for h := range x.config.NHeads {
		copy(x.keys[1].Head(h).Row(3), []float32{2e30, 2e30, 2e30})
	}
	out := x.forward(t)
	for h := range out.Heads {
		for q := range out.Tokens {
			if got, want := out.Head(h).Row(q), x.values[1].Head(h).Row(3); !slices.Equal(got, want) {
				t.Errorf("head %d, query %d: got %v, want %v", h, q, got, want)
			}
		}
	}
}
