package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

func TestReadText(t *testing.T) {
	sequential(t)
	dir := t.TempDir()
	if _, err := readText(dir, dataBook); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	spoil(t, dir, dataBook, "One  line\nand another.\n\n\n Two.\n")
	if got, err := readText(dir, dataBook); err != nil || !slices.Equal(got, []string{"One line and another.", "Two."}) {
		t.Errorf("%q, %v", got, err)
	}
	for _, c := range []struct{ text, want string }{{"a\xff", "UTF-8"}, {strings.Repeat("a ", mostText/2+1), "at most"}} {
		spoil(t, dir, dataBook, c.text)
		_, err := readText(dir, dataBook)
		if spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), dataBook) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want one line on %s", err, c.want)
		}
	}
}

func TestAFolderIsNoText(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, dataBook), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := readText(dir, dataBook); spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), dataBook) {
		t.Error(err)
	}
	spoil(t, dir, dataClips, "")
	if _, err := readClips(dir); spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), dataClips) {
		t.Error(err)
	}
}

func TestReadSources(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{dataBook, dataText, dataTunedText} {
		if _, err := readSources(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without %s: %v", name, err)
		}
		spoil(t, dir, name, `{"question": "How many?", "answer": "<<1+1=2>>2 #### 2"}`)
	}
	sources, err := readSources(dir)
	if err != nil || len(sources) != 3 || sources[0].name != dataBook || !slices.Equal(sources[2].paragraphs, []string{"How many? 2 2"}) {
		t.Errorf("%q, %v", sources, err)
	}
	spoil(t, dir, dataTunedText, "{}")
	if _, err := readSources(dir); spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), "line 1") {
		t.Error(err)
	}
}

// letters has a token for each letter, and none that begins a text.
type letters struct{}

func (letters) Encode(text string) (tokens []int) {
	for _, c := range text {
		tokens = append(tokens, int(c-'a'))
	}
	return tokens
}
func (letters) Begin() (int, bool)           { return 0, false }
func (letters) Decode([]int) (string, error) { return "", fmt.Errorf("letters are not decoded") }
func (letters) Size() int                    { return 3 }

// lettersSubject is a model that has a token's number in its embedding.
func lettersSubject(t *testing.T) *Subject {
	embedding, err := llama.NewMatrix(spec.Matrix{Rows: 3, Cols: 1, Data: []float32{0, 1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	return &Subject{Model: &llama.Model{Embedding: embedding}, Tokenizer: letters{}}
}

func TestTextsAreJoined(t *testing.T) {
	const window, pieces = 4, 30
	long := []textSource{{"as", []string{strings.Repeat("a", 40)}}, {"bs", []string{strings.Repeat("b", 16), strings.Repeat("b", 16)}}, {"cs", []string{strings.Repeat("c", 50)}}}
	texts, err := joinTexts(lettersSubject(t), long, 2, pieces, window, 1)
	if err != nil {
		t.Fatal(err)
	}
	again, err := joinTexts(lettersSubject(t), long, 2, pieces, window, 1)
	if err != nil || !slices.Equal(texts[1].tokens, again[1].tokens) {
		t.Errorf("two of one seed differ: %v", err)
	}
	lengths := map[int]bool{}
	for _, j := range texts {
		x := j.embeddings()
		if len(x.Data) != x.Rows || x.Cols != 1 || len(j.boundaries) != pieces-1 {
			t.Fatalf("%d×%d, %d boundaries", x.Rows, x.Cols, len(j.boundaries))
		}
		at := 0
		for _, b := range append(j.boundaries, x.Rows) {
			lengths[b-at] = true
			if b-at < 6*window || b-at > 8*window || b < x.Rows && x.Data[b] == x.Data[b-1] {
				t.Errorf("a piece from %d to %d", at, b)
			}
			for i := at; i < b; i++ {
				if x.Data[i] != x.Data[at] {
					t.Fatalf("token %d is of another source than %d", i, at)
				}
			}
			at = b
		}
	}
	if len(lengths) != 2*window+1 {
		t.Errorf("pieces of %v tokens", lengths)
	}
	long[1].paragraphs = long[1].paragraphs[1:]
	if _, err := joinTexts(lettersSubject(t), long, 2, pieces, window, 1); spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), "bs") {
		t.Error(err)
	}
}

// Each source is read on, and again from its beginning.
func TestSourcesAreReadOn(t *testing.T) {
	sources := []textSource{{"one", []string{"aab", "baabbab"}}, {"two", []string{"cccccccc"}}}
	texts, err := joinTexts(lettersSubject(t), sources, 2, 6, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	var one strings.Builder
	for _, j := range texts {
		for _, v := range j.embeddings().Data {
			if v < 2 {
				one.WriteByte("ab"[int(v)])
			}
		}
	}
	if got := one.String(); len(got) < 30 || got != strings.Repeat("aabbaabbab", 9)[:len(got)] {
		t.Error(got)
	}
}

func TestPlantedTopics(t *testing.T) {
	j := plantedTopics(3, 2, 4, 16, 1)
	x := j.embeddings()
	if x.Rows != 24 || !slices.Equal(j.boundaries, []int{8, 16}) {
		t.Fatalf("%d tokens, %v", x.Rows, j.boundaries)
	}
	axes := map[int]bool{}
	for topic := range 3 {
		axis := -1
		for token := range 8 {
			for i, v := range x.Row(topic*8 + token) {
				if v > 0.5 {
					if token > 0 && i != axis {
						t.Errorf("topic %d: axes %d and %d", topic, axis, i)
					}
					axis = i
				}
			}
		}
		axes[axis] = true
	}
	if len(axes) != 3 || axes[-1] {
		t.Errorf("axes %v", axes)
	}
}
