package tiny

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/llama"
)

// A trained model, with the grammar that it was trained on.
type trained struct {
	name    string
	load    func() (*llama.Model, error)
	bytes   []byte
	sha256  string
	grammar *Grammar
	above   float64 // at most so much above the bound is its perplexity, as a share
}

var models = []trained{
	{"model", Model, modelBin, "31a19d15d603df35dadcb672c2f3bf08d2aba71df2f4de9f858d1bc065ee44f1", Base, 0.01},
	{"tuned", Tuned, tunedBin, "7b0fd8d265d3a28feada8e88cec5e1c8826510cc65139043e6de64e68aebe0da", Variant, 0.02},
}

func (m trained) model(t *testing.T) *llama.Model {
	t.Helper()
	loaded, err := m.load()
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func TestTheWeightsAreThoseThatWereMeasured(t *testing.T) {
	size := 0
	for _, m := range models {
		if got := fmt.Sprintf("%x", sha256.Sum256(m.bytes)); got != m.sha256 {
			t.Errorf("%s: SHA-256 %s, want %s", m.name, got, m.sha256)
		}
		size += len(m.bytes)
	}
	if size > 2<<20 {
		t.Errorf("%d bytes of weights, want at most 2 MiB", size)
	}
}

// perplexity returns a model's on paragraphs, and the best that any model can have.
func (m trained) perplexity(t *testing.T, paragraphs []string) (model, bound float64) {
	t.Helper()
	p, err := llama.MeasurePerplexity[float32](context.Background(), m.model(t), vocabulary(t), paragraphs, func() {})
	if err != nil {
		t.Fatal(err)
	}
	logProb, err := m.grammar.LogProb(strings.Join(paragraphs, "\n\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p.Perplexity(), math.Exp(-logProb / float64(p.Tokens))
}

// full reports whether TINYLM_FULL asks for the figures of the package's comment, on
// more text than a test of every day reads.
func full() bool {
	asked, _ := strconv.ParseBool(os.Getenv("TINYLM_FULL"))
	return asked
}

// TestPerplexityIsNearTheBound on text that no training has seen: most of a second,
// for 3,000 tokens of each model. With fewer, chance would decide.
func TestPerplexityIsNearTheBound(t *testing.T) {
	paragraphs := 50
	if full() {
		paragraphs = 2000
	}
	for _, m := range models {
		model, bound := m.perplexity(t, m.grammar.Paragraphs(1000, paragraphs))
		t.Logf("%s: perplexity %.4f, bound %.4f: %+.2f%%", m.name, model, bound, 100*(model/bound-1))
		if !(model < (1+m.above)*bound && model > bound) {
			t.Errorf("%s: perplexity %.4f, want within %.0f%% above %.4f", m.name, model, 100*m.above, bound)
		}
	}
}

// TestThePairDiffersByTuning: what is tuned reads Variant better and Base worse, and
// is near the model.
func TestThePairDiffersByTuning(t *testing.T) {
	base, tuned := models[0], models[1]
	for _, g := range grammars {
		tuned.grammar, base.grammar = g, g
		paragraphs := g.Paragraphs(1003, 10)
		before, bound := base.perplexity(t, paragraphs)
		after, _ := tuned.perplexity(t, paragraphs)
		t.Logf("perplexity %.4f, tuned %.4f, bound %.4f", before, after, bound)
		if (after < before) != (g == Variant) {
			t.Errorf("perplexity %.4f, tuned %.4f", before, after)
		}
	}
	a, b := base.model(t), tuned.model(t)
	for i := range a.Layers {
		var square, change float64
		for k, v := range a.Layers[i].Down.Float32().Data {
			d := float64(b.Layers[i].Down.Float32().Data[k] - v)
			square, change = square+float64(v)*float64(v), change+d*d
		}
		share := math.Sqrt(change / square)
		t.Logf("w2[%d]: changed by %.1f%%", i, 100*share)
		if !(share > 0.005 && share < 0.5) {
			t.Errorf("w2[%d]: changed by %.1f%%", i, 100*share)
		}
	}
}

// TestTheModelKnowsTheThirdSentence: of the third sentences of four paragraphs, the
// one that belongs to the first two has the best mean log-probability a token.
func TestTheModelKnowsTheThirdSentence(t *testing.T) {
	items := 12
	if full() {
		items = 1000
	}
	paragraphs := Base.Paragraphs(1001, items)
	sentences := make([][]string, items)
	for i, p := range paragraphs {
		sentences[i] = strings.SplitAfter(p, ". ")
	}
	v, r := vocabulary(t), rand.New(rand.NewPCG(1001, 0))
	s, err := llama.NewSession[float32](models[0].model(t))
	if err != nil {
		t.Fatal(err)
	}
	model, grammar := 0, 0
	for i, own := range sentences {
		candidates := []string{own[2]}
		for len(candidates) < 4 {
			if k := r.IntN(items); k != i {
				candidates = append(candidates, sentences[k][2])
			}
		}
		context := v.Encode(own[0] + strings.TrimSuffix(own[1], " "))
		scores, exact := make([]float64, 4), make([]float64, 4)
		for k, c := range candidates {
			whole := own[0] + own[1] + c
			tokens := v.Encode(whole)
			rest := tokens[len(context):]
			if !slices.Equal(tokens[:len(context)], context) {
				t.Fatalf("%q: the context has other tokens", whole)
			}
			if err := s.Truncate(0); err != nil {
				t.Fatal(err)
			}
			if err := s.Extend(context...); err != nil {
				t.Fatal(err)
			}
			each, err := s.Score(rest)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range each {
				scores[k] += l / float64(len(rest))
			}
			exact[k] = math.Inf(-1)
			if l, err := LogProb(whole); err == nil {
				exact[k] = l / float64(len(rest))
			}
		}
		if slices.Max(scores[1:]) < scores[0] {
			model++
		}
		if slices.Max(exact[1:]) < exact[0] {
			grammar++
		}
	}
	t.Logf("of %d: model %d, grammar %d", items, model, grammar)
	if model*10 < items*9 || grammar*10 < items*9 {
		t.Errorf("of %d: model %d, grammar %d", items, model, grammar)
	}
}

// TestGreedyTextIsOfTheGrammar: the model goes on from a first sentence until it ends
// the text with BOS.
func TestGreedyTextIsOfTheGrammar(t *testing.T) {
	texts := 12
	if full() {
		texts = 500
	}
	v := vocabulary(t)
	for _, m := range models {
		s, err := llama.NewSession[float32](m.model(t))
		if err != nil {
			t.Fatal(err)
		}
		good := 0
		for _, p := range m.grammar.Paragraphs(1002, texts) {
			first, _, _ := strings.Cut(p, ". ")
			tokens := v.Encode(first + ".")
			if err := s.Truncate(0); err != nil {
				t.Fatal(err)
			}
			if err := s.Extend(tokens...); err != nil {
				t.Fatal(err)
			}
			for len(tokens) < 120 && (len(tokens) == 1 || tokens[len(tokens)-1] != 1) {
				next, err := s.Greedy(1)
				if err != nil {
					t.Fatal(err)
				}
				tokens = append(tokens, next...)
			}
			text, err := v.Decode(tokens[:len(tokens)-1])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.grammar.LogProb(text); err == nil {
				good++
			} else {
				t.Logf("%s: %q: %v", m.name, text, err)
			}
		}
		t.Logf("%s: %d of %d texts are of the grammar", m.name, good, texts)
		if good*3 < texts*2 {
			t.Errorf("%s: %d of %d texts are of the grammar", m.name, good, texts)
		}
	}
}
