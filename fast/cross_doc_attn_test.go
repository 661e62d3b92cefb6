package fast

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// crossDocs are the arguments of one Forward.
type crossDocs struct {
	config       spec.CrossDocAttnConfig
	query        spec.Heads
	keys, values []spec.Heads
}

// drawCrossDocs draws documents of so many tokens each. Their elements are normal.
func drawCrossDocs(seed uint64, heads, queries, dim int, tokens ...int) crossDocs {
	r := rand.New(rand.NewPCG(seed, 0))
	x := crossDocs{config: spec.DefaultCrossDocAttnConfig(dim)}
	x.config.NHeads = heads
	x.query = drawHeads(r, heads, queries, dim)
	for _, n := range tokens {
		x.keys, x.values = append(x.keys, drawHeads(r, heads, n, dim)), append(x.values, drawHeads(r, heads, n, dim))
	}
	return x
}

func drawHeads(r *rand.Rand, heads, tokens, dim int) spec.Heads {
	var x spec.Heads
	x.Resize(heads, tokens, dim)
	for i := range x.Data {
		x.Data[i] = float32(r.NormFloat64())
	}
	return x
}

func newCrossDocAttn(t *testing.T, config spec.CrossDocAttnConfig) spec.CrossDocAttn {
	t.Helper()
	a, err := NewCrossDocAttn(config)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (x crossDocs) forward(t *testing.T) (out spec.Heads) {
	t.Helper()
	x.forwardOn(t, newCrossDocAttn(t, x.config), &out)
	return out
}

func (x crossDocs) forwardOn(t *testing.T, a spec.CrossDocAttn, out *spec.Heads) {
	t.Helper()
	if err := a.Forward(out, x.query, x.keys, x.values); err != nil {
		t.Fatal(err)
	}
}

// budget is the tolerance of cross-doc-attn/joined, for all outputs of a head: u is
// the unit roundoff of float32.
func (x crossDocs) budget(head int) float64 {
	const u = 0x1p-24
	magnitude, largest, keys := 0.0, 0.0, 0
	for doc := range x.keys {
		k, v := x.keys[doc].Head(head), x.values[doc].Head(head)
		keys += k.Rows
		for j := range k.Rows {
			for q := range x.query.Tokens {
				sum := 0.0
				for i, e := range x.query.Head(head).Row(q) {
					sum += math.Abs(float64(e) * float64(k.Row(j)[i]))
				}
				magnitude = max(magnitude, x.config.SoftmaxScale*sum)
			}
			for _, e := range v.Row(j) {
				largest = max(largest, math.Abs(float64(e)))
			}
		}
	}
	return u*(float64(x.query.Dim+10)*magnitude+8*float64(keys)+16)*largest + float64(keys+1)*0x1p-149
}

func TestCrossDocAttnAgreesWithRef(t *testing.T) {
	for i, x := range []crossDocs{
		drawCrossDocs(1, 1, 1, 1, 1),
		drawCrossDocs(2, 3, 5, 7, 2, 300, 1),
		drawCrossDocs(3, 2, 4, 64, 31, 32, 33, 100),
		drawCrossDocs(4, 2, 3, 130, 9, 40),
		drawCrossDocs(5, 1, 2, 2500, 6, 3),
	} {
		for _, scale := range []float64{x.config.SoftmaxScale, 50, 0x1p90, 0x1p-90} {
			x.config.SoftmaxScale = scale
			got := x.forward(t)
			reference, err := ref.NewCrossDocAttn(x.config)
			if err != nil {
				t.Fatal(err)
			}
			var want spec.Heads
			x.forwardOn(t, reference, &want)
			for h := range got.Heads {
				budget := x.budget(h)
				for n, g := range got.Head(h).Data {
					if w := want.Head(h).Data[n]; !(math.Abs(float64(g)-float64(w)) <= budget) {
						t.Fatalf("case %d, scale %v, head %d, element %d: got %v, want %v ± %v", i, scale, h, n, g, w, budget)
					}
				}
			}
		}
	}
}

// Logits near 1e30 that differ by more than their rounding errors choose one key.
func TestCrossDocAttnOfHugeLogits(t *testing.T) {
	x := drawCrossDocs(6, 2, 3, 4, 5, 40)
	for _, tensor := range append([]spec.Heads{x.query}, x.keys...) {
		for i := range tensor.Data {
			tensor.Data[i] = 1e15
		}
	}
	for h := range x.keys[1].Heads {
		for i := range x.keys[1].Head(h).Row(17) {
			x.keys[1].Head(h).Row(17)[i] = 2e15
		}
	}
	out := x.forward(t)
	for h := range out.Heads {
		for q := range out.Tokens {
			if got, want := out.Head(h).Row(q), x.values[1].Head(h).Row(17); !slices.Equal(got, want) {
				t.Errorf("head %d, query %d: got %v, want %v", h, q, got, want)
			}
		}
	}
}

// withStride returns x with room for more tokens a head, full of NaNs.
func withStride(x spec.Heads, spare int) spec.Heads {
	y := x
	y.Stride += spare
	y.Data = slices.Repeat([]float32{float32(math.NaN())}, x.Heads*y.Stride)
	for h := range x.Heads {
		copy(y.Head(h).Data, x.Head(h).Data)
	}
	return y
}

func TestCrossDocAttnReadsHeadsByTheirStride(t *testing.T) {
	x := drawCrossDocs(7, 3, 4, 6, 5, 33)
	want := x.forward(t)
	x.query = withStride(x.query, 1)
	for doc := range x.keys {
		x.keys[doc], x.values[doc] = withStride(x.keys[doc], 6*doc+3), withStride(x.values[doc], 17)
	}
	if got := x.forward(t); !slices.Equal(got.Data, want.Data) {
		t.Errorf("got %v, want %v", got.Data, want.Data)
	}
}

func TestCrossDocAttnReadsNothingOfDst(t *testing.T) {
	x := drawCrossDocs(8, 2, 3, 5, 4, 40)
	want := x.forward(t)
	for _, spare := range []int{0, 100} {
		dst := withStride(drawCrossDocs(9, 3, 3, 5, 1).query, spare)
		memory := &dst.Data[0]
		x.forwardOn(t, newCrossDocAttn(t, x.config), &dst)
		if !slices.Equal(dst.Data, want.Data) || dst.Stride != want.Stride {
			t.Errorf("spare %d: got %v, want %v", spare, dst, want)
		}
		if &dst.Data[0] != memory {
			t.Errorf("spare %d: dst's memory was not reused", spare)
		}
	}
}

// What a NaN or an infinity does not reach is the same to the bit, in the call and in
// the next one.
func TestCrossDocAttnConfinesWhatIsNotFinite(t *testing.T) {
	const head, token, heads = 1, 2, 3
	clean := drawCrossDocs(10, heads, 6, 5, 4, 40)
	want := clean.forward(t)
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for part, spoil := range map[string]func(x crossDocs) spec.Heads{
			"query":  func(x crossDocs) spec.Heads { return x.query },
			"keys":   func(x crossDocs) spec.Heads { return x.keys[1] },
			"values": func(x crossDocs) spec.Heads { return x.values[0] },
		} {
			x := drawCrossDocs(10, heads, 6, 5, 4, 40)
			spoil(x).Head(head).Row(token)[3] = float32(bad)
			a := newCrossDocAttn(t, x.config)
			var out spec.Heads
			x.forwardOn(t, a, &out)
			for h := range heads {
				for q := range out.Tokens {
					reached := h == head && (part != "query" || q == token)
					switch got := out.Head(h).Row(q); {
					case !reached && !slices.Equal(got, want.Head(h).Row(q)):
						t.Errorf("%v in %s reaches head %d, query %d: %v", bad, part, h, q, got)
					case reached && part == "query" && spec.CheckFinite("", "", got[:1]) == nil:
						t.Errorf("%v in %s does not reach head %d, query %d: %v", bad, part, h, q, got)
					}
				}
			}
			clean.forwardOn(t, a, &out)
			if !slices.Equal(out.Data, want.Data) {
				t.Errorf("%v in %s reaches the next call", bad, part)
			}
		}
	}
}

func TestCrossDocAttnErrorsChangeNothing(t *testing.T) {
	x := drawCrossDocs(11, 2, 3, 4, 5, 6)
	x.config.MaxDocs = 2
	a := newCrossDocAttn(t, x.config)
	var out spec.Heads
	x.forwardOn(t, a, &out)
	want := spec.CrossDocAttnStats{Calls: 1, Docs: 2, DocsPerCall: 2}
	tooMany := x
	tooMany.keys, tooMany.values = append(x.keys, x.keys[0]), append(x.values, x.values[0])
	unequal := x
	unequal.values = []spec.Heads{x.values[0], x.values[0]}
	for _, bad := range []crossDocs{tooMany, unequal, {}} {
		if err := a.Forward(&out, bad.query, bad.keys, bad.values); !errors.Is(err, spec.Invalid) {
			t.Errorf("got error %v, want it invalid", err)
		}
		if got := a.Stats(); got != want {
			t.Errorf("got stats %+v, want %+v", got, want)
		}
	}
	if got := newCrossDocAttn(t, x.config).Stats(); got != (spec.CrossDocAttnStats{}) {
		t.Errorf("got stats %+v before any call", got)
	}
}

func TestCrossDocAttnAllocatesNothingInTheSteadyState(t *testing.T) {
	x, y := drawCrossDocs(12, 2, 7, 5, 40, 1, 33), drawCrossDocs(13, 2, 3, 5, 2)
	a := newCrossDocAttn(t, x.config)
	var out spec.Heads
	if n := testing.AllocsPerRun(20, func() {
		x.forwardOn(t, a, &out)
		y.forwardOn(t, a, &out)
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}
