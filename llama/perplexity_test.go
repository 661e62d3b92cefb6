package llama

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

// letters is a tokenizer of the simplest kind: BOS, then a token a byte.
type letters struct{ size int }

func (l letters) Encode(text string) []int {
	tokens := []int{1}
	for _, b := range []byte(text) {
		tokens = append(tokens, int(b))
	}
	return tokens
}
func (l letters) Decode([]int) (string, error) { return "", errors.New("not asked for") }
func (l letters) Begin() (int, bool)           { return 1, true }
func (l letters) Size() int                    { return l.size }

func TestParagraphsAreBetweenBlankLines(t *testing.T) {
	for text, want := range map[string][]string{
		"":                           nil,
		" \n\n\t\n":                  nil,
		"a":                          {"a"},
		"a\nb\n\n\n\n c d \n\ne\n":   {"a\nb", "c d", "e"},
		"a\r\nb\r\n\r\nc\r\n\r\n":    {"a\nb", "c"},
		"a\n \nb":                    {"a\n \nb"}, // a line of spaces is not blank
		"\n\n\n\na\n\n\n\n\n\n\n\nb": {"a", "b"},
	} {
		if got := Paragraphs(text); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestPerplexityOfAModelThatKnowsNothingIsItsVocabulary(t *testing.T) {
	m := tiny(t, tinyConfigs["Llama"])
	m.Head = Matrix{Rows: m.Head.Rows, Cols: m.Head.Cols, dtype: m.Head.dtype, full: make([]float32, len(m.Head.full))}
	p, err := MeasurePerplexity[float32](context.Background(), m, letters{270}, []string{"hello", "you", "there, all of you"}, func() {})
	if err != nil || p.Tokens != 5+3+17 || !(math.Abs(p.Perplexity()-270) < 1e-9) || !(p.StdErr < 1e-12) {
		t.Errorf("got %+v, %v", p, err)
	}
}

// TestPerplexityIsTheMeanOverTokens compares with sums over logits of the formula.
func TestPerplexityIsTheMeanOverTokens(t *testing.T) {
	m := tiny(t, tinyConfigs["Qwen2"])
	paragraphs := []string{"ab", "hello", "x", strings.Repeat("long ", 40)} // the last is cut to the context
	var tokens [4]float64
	var sums [4]float64
	for i, p := range paragraphs {
		ids := letters{}.Encode(p)
		ids = ids[:min(len(ids), m.Config.Context)]
		logits := allLogits[float64](t, m, ids)
		for k, id := range ids[1:] {
			share := 0.0
			for _, v := range logits[k] {
				share += math.Exp(v - logits[k][id])
			}
			sums[i] += math.Log(share)
			tokens[i]++
		}
	}
	n, total := tokens[0]+tokens[1]+tokens[2]+tokens[3], sums[0]+sums[1]+sums[2]+sums[3]
	nll, squares := total/n, 0.0
	for i := range sums {
		squares += math.Pow(tokens[i]*(sums[i]/tokens[i]-nll), 2)
	}
	stderr := math.Sqrt(4.0/3*squares) / n
	calls := 0
	got, err := MeasurePerplexity[float64](context.Background(), m, letters{280}, paragraphs, func() { calls++ })
	if err != nil || got.Tokens != int(n) || !(math.Abs(got.NLL-nll) < 1e-12) || !(math.Abs(got.StdErr-stderr) < 1e-12) || calls != 4 {
		t.Errorf("got %+v, %v, %d calls, want %v tokens, nll %v ± %v", got, err, calls, n, nll, stderr)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	alone, err := MeasurePerplexity[float64](context.Background(), m, letters{280}, paragraphs, func() {})
	if err != nil || fmt.Sprint(alone) != fmt.Sprint(got) {
		t.Errorf("on one processor %+v, %v, want %+v", alone, err, got)
	}
	one, err := MeasurePerplexity[float64](context.Background(), m, letters{280}, paragraphs[:1], func() {})
	if err != nil || !math.IsNaN(one.StdErr) {
		t.Errorf("of one paragraph: %+v, %v", one, err)
	}
}

func TestNoPerplexityFromAPart(t *testing.T) {
	m := tiny(t, tinyConfigs["Qwen2"])
	measure := func(ctx context.Context, m *Model, tok Tokenizer, paragraphs ...string) error {
		p, err := MeasurePerplexity[float32](ctx, m, tok, paragraphs, func() {})
		if err == nil || p.Tokens != 0 || p.NLL != 0 {
			t.Errorf("got %+v, %v, want an error and no figure", p, err)
		}
		return err
	}
	for _, paragraphs := range [][]string{nil, {}, {""}} {
		oneLine(t, measure(context.Background(), m, letters{280}, paragraphs...), "text: want a paragraph with a token to predict")
	}
	oneLine(t, measure(context.Background(), m, letters{279}, "a"), "tokenizer: want the model's 280 tokens, got 279")
	huge, err := m.Map(func(_ string, w spec.Matrix) (spec.Matrix, error) {
		w.Data = slices.Repeat([]float32{math.MaxFloat32}, len(w.Data))
		return w, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := measure(context.Background(), huge, letters{280}, "a", "b", "c"); spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), "paragraph ") {
		t.Errorf("got %v", err)
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if err := measure(stopped, m, letters{280}, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
