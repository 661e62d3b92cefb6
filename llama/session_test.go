package llama

import (
	"fmt"
	"math"
	"math/cmplx"
	"reflect"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

// formula computes the logits of the last token from the definition, in float64:
// without a cache, a column of the matrix at a time, rotations as products of
// complex numbers. It shares no line with Session.
func formula(m *Model, tokens []int) []float64 {
	c := m.Config
	times := func(w Matrix, x []float64) []float64 {
		full, y := w.Float32(), make([]float64, w.Rows)
		for j, v := range x {
			for i := range y {
				y[i] += v * float64(full.Data[i*w.Cols+j])
			}
		}
		return y
	}
	norm := func(x []float64, w Matrix) []float64 {
		y, mean := make([]float64, len(x)), 0.0
		for _, v := range x {
			mean += v * v / float64(len(x))
		}
		for i, v := range x {
			y[i] = v / math.Sqrt(mean+c.Epsilon) * float64(w.Float32().Data[i])
		}
		return y
	}
	plus := func(x, y []float64) []float64 {
		sum := slices.Clone(x)
		for i, v := range y {
			sum[i] += v
		}
		return sum
	}
	rotated := func(x []float64, position int) []float64 {
		y := slices.Clone(x)
		for at := 0; at < len(x); at += c.HeadDim {
			for i := range c.HeadDim / 2 {
				a, b := at+2*i, at+2*i+1
				if c.RoPE == HalfSplit {
					a, b = at+i, at+i+c.HeadDim/2
				}
				angle := float64(position) / math.Pow(c.RoPEBase, float64(2*i)/float64(c.HeadDim))
				z := complex(x[a], x[b]) * cmplx.Rect(1, angle)
				y[a], y[b] = real(z), imag(z)
			}
		}
		return y
	}
	states := make([][]float64, len(tokens))
	for i, t := range tokens {
		for k := range c.Dim {
			states[i] = append(states[i], float64(m.Embedding.Float32().Row(t)[k]))
		}
	}
	for _, l := range m.Layers {
		var q, k, v [][]float64
		for i, x := range states {
			h := norm(x, l.AttentionNorm)
			qi, ki, vi := times(l.Queries, h), times(l.Keys, h), times(l.Values, h)
			if c.Bias {
				one := []float64{1}
				column := func(b Matrix) Matrix { b.Rows, b.Cols = b.Cols, 1; return b }
				qi, ki, vi = plus(qi, times(column(l.QueryBias), one)), plus(ki, times(column(l.KeyBias), one)), plus(vi, times(column(l.ValueBias), one))
			}
			q, k, v = append(q, rotated(qi, i)), append(k, rotated(ki, i)), append(v, vi)
		}
		for i := range states {
			mixed := make([]float64, c.Heads*c.HeadDim)
			for at := range mixed {
				h, d := at/c.HeadDim, at%c.HeadDim
				kv := h * c.KVHeads / c.Heads * c.HeadDim
				above, below := 0.0, 0.0
				for j := range i + 1 {
					product := 0.0
					for e := range c.HeadDim {
						product += q[i][h*c.HeadDim+e] * k[j][kv+e]
					}
					weight := math.Exp(product / math.Sqrt(float64(c.HeadDim)))
					above, below = above+weight*v[j][kv+d], below+weight
				}
				mixed[at] = above / below
			}
			x := plus(states[i], times(l.Output, mixed))
			h := norm(x, l.FeedForwardNorm)
			g, u := times(l.Gate, h), times(l.Up, h)
			for e := range g {
				g[e] *= u[e] / (1 + math.Exp(-g[e]))
			}
			states[i] = plus(x, times(l.Down, g))
		}
	}
	w := m.Head
	if c.Tied {
		w = m.Embedding
	}
	return times(w, norm(states[len(tokens)-1], m.Norm))
}

func eachTiny(t *testing.T, test func(t *testing.T, m *Model)) {
	for name, c := range tinyConfigs {
		t.Run(name, func(t *testing.T) { test(t, tiny(t, c)) })
	}
}

func TestFloat64PathIsTheFormula(t *testing.T) {
	eachTiny(t, func(t *testing.T, m *Model) {
		tokens := someTokens(m.Config, 9)
		got := allLogits[float64](t, m, tokens)
		for n := range tokens {
			// Sums of fewer than 100 terms of size 1 or so, through 3 layers.
			if d := distance(got[n:n+1], [][]float64{formula(m, tokens[:n+1])}); !(d < 1e-11) {
				t.Errorf("token %d: logits differ by %g", n, d)
			}
		}
	})
}

func TestFloat32PathIsNearTheFloat64Path(t *testing.T) {
	eachTiny(t, func(t *testing.T, m *Model) {
		tokens := someTokens(m.Config, m.Config.Context)
		d := distance(allLogits[float32](t, m, tokens), allLogits[float64](t, m, tokens))
		if !(d > 0 && d < 5e-4) {
			t.Errorf("logits differ by %g, want rounding only, and some", d)
		}
	})
}

func TestOneByOneIsAtOnce(t *testing.T) {
	eachTiny(t, func(t *testing.T, m *Model) {
		tokens := someTokens(m.Config, min(m.Config.Context, block+7))
		want := allLogits[float32](t, m, tokens)
		s, err := NewSession[float32](m)
		if err != nil {
			t.Fatal(err)
		}
		for i, token := range tokens {
			if err := s.Extend(token); err != nil {
				t.Fatal(err)
			}
			got, err := s.Logits(nil, i)
			if err != nil || !slices.Equal(got, want[i]) {
				t.Fatalf("token %d: other bits than at once (%v)", i, err)
			}
		}
	})
}

func TestGreedyTextIsTheSameInBothPrecisions(t *testing.T) {
	eachTiny(t, func(t *testing.T, m *Model) {
		a, b := greedy[float32](t, m, 1, 60), greedy[float64](t, m, 1, 60)
		if !slices.Equal(a, b) || len(a) != min(60, m.Config.Context-1) {
			t.Errorf("float32 %v\nfloat64 %v", a, b)
		}
		// Each is the likeliest by the formula.
		logits := formula(m, []int{1, a[0], a[1]})
		if best := slices.Index(logits, slices.Max(logits)); a[2] != best {
			t.Errorf("got %d, want %d", a[2], best)
		}
	})
}

func greedy[F Float](t testing.TB, m *Model, first, n int) []int {
	t.Helper()
	s, err := NewSession[F](m)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Extend(first); err != nil {
		t.Fatal(err)
	}
	tokens, err := s.Greedy(n)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestScoresAreLogSoftmax(t *testing.T) {
	m := tiny(t, tinyConfigs["Qwen2"])
	tokens := someTokens(m.Config, 40)
	logits := allLogits[float64](t, m, tokens)
	s, _ := NewSession[float64](m)
	if err := s.Extend(tokens[0]); err != nil {
		t.Fatal(err)
	}
	// The same continuation again after another one: the context is evaluated once.
	for _, round := range []string{"first", "again"} {
		got, err := s.Score(tokens[1:])
		if err != nil {
			t.Fatal(err)
		}
		for i, token := range tokens[1:] {
			sum := 0.0
			for _, v := range logits[i] {
				sum += math.Exp(v)
			}
			if want := logits[i][token] - math.Log(sum); !(math.Abs(got[i]-want) < 1e-12*math.Abs(want)+1e-13) {
				t.Fatalf("%s: token %d: got %v, want %v", round, i+1, got[i], want)
			}
		}
		if err := s.Truncate(1); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Score([]int{5, 6, 7}); err != nil {
			t.Fatal(err)
		}
		if err := s.Truncate(1); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsRefusedChangesNothing(t *testing.T) {
	m := tiny(t, tinyConfigs["Llama"])
	s, err := NewSession[float32](m)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(want spec.ErrorKind, err error) {
		t.Helper()
		if spec.KindOf(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	_, err = s.Score([]int{1})
	refused(spec.State, err)
	_, err = s.Logits(nil, 0)
	refused(spec.Range, err)
	_, err = s.Greedy(1)
	refused(spec.Range, err)
	if err := s.Extend(1, 2, 3); err != nil {
		t.Fatal(err)
	}
	before, _ := s.Logits(nil, 2)
	refused(spec.Range, s.Extend(4, m.Config.Vocab))
	refused(spec.Range, s.Extend(4, -1))
	refused(spec.Capacity, s.Extend(make([]int, m.Config.Context-2)...))
	refused(spec.Range, s.Truncate(4))
	refused(spec.Range, s.Truncate(-1))
	_, err = s.Score([]int{4, m.Config.Vocab})
	refused(spec.Range, err)
	if after, err := s.Logits(nil, 2); s.Len() != 3 || err != nil || !slices.Equal(before, after) {
		t.Errorf("%d tokens, %v", s.Len(), err)
	}
}

func TestOverflowIsNoScore(t *testing.T) {
	m := tiny(t, tinyConfigs["Llama"])
	huge, err := m.Map(func(name string, w spec.Matrix) (spec.Matrix, error) {
		w.Data = slices.Repeat([]float32{math.MaxFloat32}, len(w.Data))
		return w, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := NewSession[float32](huge)
	if err := s.Extend(1); err != nil {
		t.Fatal(err)
	}
	if scores, err := s.Score([]int{2, 3}); spec.KindOf(err) != spec.Invalid || s.Len() != 1 {
		t.Errorf("got %v, %v, %d tokens", scores, err, s.Len())
	}
}

func TestMapChangesTheSevenMatricesOnly(t *testing.T) {
	m := tiny(t, tinyConfigs["Qwen2"])
	var names []string
	changed, err := m.Map(func(name string, w spec.Matrix) (spec.Matrix, error) {
		names = append(names, name)
		w.Data = make([]float32, len(w.Data))
		return w, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := 7 * m.Config.Layers; len(names) != want || names[7] != "wq[1]" {
		t.Errorf("got %d names %v, want %d", len(names), names, want)
	}
	for r := range roles {
		if !m.Config.has(r) {
			continue
		}
		zero := !slices.ContainsFunc(changed.at(r, 1).Float32().Data, func(v float32) bool { return v != 0 })
		if seven := r >= queries && r <= up && !r.vector(); zero != seven {
			t.Errorf("%s: zero is %v, want %v", nameOf(llama2CNames, r, 1), zero, seven)
		}
		if reflect.DeepEqual(m.at(r, 1).Float32().Data, make([]float32, len(m.at(r, 1).full))) {
			t.Errorf("%s of the original has changed", nameOf(llama2CNames, r, 1))
		}
	}
	for _, wrong := range []spec.Matrix{{Rows: 1, Cols: 1, Data: []float32{1}}, {Rows: 2, Cols: 2}, {Rows: 16, Cols: 16, Data: slices.Repeat([]float32{float32(math.NaN())}, 256)}} {
		if _, err := m.Map(func(string, spec.Matrix) (spec.Matrix, error) { return wrong, nil }); err == nil {
			t.Errorf("%d × %d accepted", wrong.Rows, wrong.Cols)
		}
	}
}

func TestAModelThatIsNotItsConfigIsRefused(t *testing.T) {
	for what, damage := range map[string]func(m *Model){
		"layers": func(m *Model) { m.Layers = m.Layers[1:] }, "wq[1]": func(m *Model) { m.Layers[1].Queries = m.Layers[1].Output },
		"wcls": func(m *Model) { m.Head = Matrix{} }, "head dim": func(m *Model) { m.Config.HeadDim = 5 },
		"KV heads": func(m *Model) { m.Config.KVHeads = 3 }, "RoPE base": func(m *Model) { m.Config.RoPEBase = math.NaN() },
		"epsilon": func(m *Model) { m.Config.Epsilon = -1 }, "RoPE": func(m *Model) { m.Config.RoPE = 7 },
		"vocabulary": func(m *Model) { m.Config.Vocab = 0 }, "bq[0]": func(m *Model) { m.Config.Bias = true },
	} {
		m := tiny(t, tinyConfigs["Llama"])
		damage(m)
		_, err := NewSession[float32](m)
		if want := fmt.Sprintf("llama: model: %s: want ", what); err == nil || err.Error()[:min(len(want), len(err.Error()))] != want {
			t.Errorf("got %v, want %s…", err, want)
		}
	}
}
