package training

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/squishspec/squishspec/internal/ordered"
	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/llama/tiny"
)

// small is a shape that differs in all its axes.
var small = llama.Config{Dim: 12, Hidden: 10, Layers: 2, Heads: 3, KVHeads: 1, HeadDim: 4, Vocab: 17, Context: 16, RoPEBase: 10000, Epsilon: 1e-5, Tied: true}

// random returns parameters of which none is near 0 for a whole tensor: norms are
// not 1, attention and logits are far from uniform.
func random(l *layout) []float64 {
	r := rand.New(rand.NewPCG(5, 5))
	p := make([]float64, l.size)
	for _, t := range l.tensors {
		for i := range of(t, p) {
			if t.rows == 1 {
				of(t, p)[i] = 1 + r.NormFloat64()/4
			} else {
				of(t, p)[i] = 1.5 * r.NormFloat64() / math.Sqrt(float64(t.cols))
			}
		}
	}
	return p
}

func transposedOf[F ordered.Float](l *layout, p []F) []F {
	out := make([]F, len(p))
	for _, t := range l.tensors {
		ordered.Transpose(of(t, out), of(t, p), t.rows, t.cols)
	}
	return out
}

var someTokens = []int{1, 5, 9, 5, 16, 0, 3, 3, 9, 2, 1}

// checkSlopes compares a gradient with central differences of a loss of parameters. Each
// tensor must have an element of at least some size.
func checkSlopes(t *testing.T, l *layout, p, gradient []float64, least float64, loss func() float64) {
	t.Helper()
	const step = 1e-5
	for kind, where := range l.tensors {
		largest := 0.0
		for i := where.at; i < where.at+where.size(); i++ {
			was := p[i]
			p[i] = was + step
			above := loss()
			p[i] = was - step
			below := loss()
			p[i] = was
			// The error is step² times a third derivative, and rounding of a loss of
			// some 50 over the step.
			if slope := (above - below) / (2 * step); !(math.Abs(slope-gradient[i]) < 1e-7*(1+math.Abs(slope))) {
				t.Fatalf("tensor %d, element %d: got %v, slope %v", kind, i-where.at, gradient[i], slope)
			}
			largest = max(largest, math.Abs(gradient[i]))
		}
		if largest < least {
			t.Errorf("tensor %d: the largest gradient is %v: nothing was compared", kind, largest)
		}
	}
}

// TestGradientIsTheSlope compares with central differences, for every parameter.
func TestGradientIsTheSlope(t *testing.T) {
	l := newTextLayout(small)
	p := random(&l.layout)
	n := newTextNetwork[float64](l)
	gradient := make([]float64, l.size)
	n.gradient(p, transposedOf(&l.layout, p), gradient, someTokens)
	checkSlopes(t, &l.layout, p, gradient, 1e-2, func() float64 { return n.forward(p, someTokens) })
}

func TestGradientsOfTextsAddUp(t *testing.T) {
	l := newTextLayout(small)
	p := random(&l.layout)
	transposed := transposedOf(&l.layout, p)
	both, apart := make([]float64, l.size), make([]float64, l.size)
	n := newTextNetwork[float64](l)
	n.gradient(p, transposed, both, someTokens)
	n.gradient(p, transposed, both, someTokens[:4])
	newTextNetwork[float64](l).gradient(p, transposed, apart, someTokens[:4]) // with no trace of the longer one
	once := make([]float64, l.size)
	newTextNetwork[float64](l).gradient(p, transposed, once, someTokens)
	for i := range both {
		if d := math.Abs(both[i] - once[i] - apart[i]); !(d < 1e-12*(1+math.Abs(both[i]))) {
			t.Fatalf("parameter %d: %v, want %v", i, both[i], once[i]+apart[i])
		}
	}
}

// shape is that of the embedded models.
var shape = llama.Config{
	Dim: 64, Hidden: 128, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 16, Vocab: 512, Context: 256,
	RoPE: llama.Interleaved, RoPEBase: 10000, Epsilon: 1e-5, Tied: true,
}

// TestLossIsThatOfPackageLlama: what is trained is what runs.
func TestLossIsThatOfPackageLlama(t *testing.T) {
	l := newTextLayout(shape)
	p := l.initial(3)
	r := rand.New(rand.NewPCG(6, 6))
	for i := range p {
		p[i] += float32(0.2 * r.NormFloat64())
	}
	m := readModel(t, l.file(p))
	v, err := tiny.Vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	for _, paragraph := range tiny.Base.Paragraphs(8, 3) {
		tokens := v.Encode(paragraph)
		s, err := llama.NewSession[float64](m)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Extend(tokens[0]); err != nil {
			t.Fatal(err)
		}
		scores, err := s.Score(tokens[1:])
		if err != nil {
			t.Fatal(err)
		}
		want := 0.0
		for _, v := range scores {
			want -= v
		}
		wide := make([]float64, len(p))
		for i, v := range p {
			wide[i] = float64(v)
		}
		if got := newTextNetwork[float64](l).forward(wide, tokens); !(math.Abs(got-want) < 1e-10*want) {
			t.Errorf("float64: got %v, want %v", got, want)
		}
		if got := newTextNetwork[float32](l).forward(p, tokens); !(math.Abs(got-want) < 1e-5*want) {
			t.Errorf("float32: got %v, want %v", got, want)
		}
	}
}

func TestParametersAreThoseOfTheFile(t *testing.T) {
	l := newTextLayout(shape)
	p := l.initial(4)
	same, back := parametersOf(readModel(t, l.file(p)))
	if same.config != l.config || l.size != 143_808 || len(back) != len(p) {
		t.Fatalf("got %d parameters of %+v", len(back), same.config)
	}
	for i := range p {
		if back[i] != p[i] {
			t.Fatalf("parameter %d: got %v, want %v", i, back[i], p[i])
		}
	}
}

// TestTheEmbeddedModelsAreOfTheTrainersShape, and what the trainer writes of them is
// read as the same weights.
func TestTheEmbeddedModelsAreOfTheTrainersShape(t *testing.T) {
	for _, load := range []func() (*llama.Model, error){tiny.Model, tiny.Tuned} {
		m, err := load()
		if err != nil {
			t.Fatal(err)
		}
		l, weights := parametersOf(m)
		if l.config != shape {
			t.Errorf("got %+v, want %+v", l.config, shape)
		}
		_, again := parametersOf(readModel(t, l.file(weights)))
		if !bytes.Equal(bytesOf(weights), bytesOf(again)) {
			t.Error("other weights")
		}
	}
}

func readModel(t *testing.T, data []byte) *llama.Model {
	t.Helper()
	m, err := llama.ReadLlama2C("test", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}
