package audit

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/llama/tiny"
	"github.com/squishspec/squishspec/spec"
)

// dataBook is a book below a data folder.
const dataBook = "text/moby-dick.txt"

// mostText is how many bytes a text may have: a longer one is not read.
const mostText = 1 << 24

// readText reads the paragraphs of a text below a data folder, lines joined. Its errors
// name the file; one that is not there is fs.ErrNotExist.
func readText(dir, name string) (paragraphs []string, err error) {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostText+1))
	if err != nil {
		return nil, reject(name, "a text that can be read", err)
	}
	if len(text) > mostText {
		return nil, reject(name, fmt.Sprintf("at most %d bytes", mostText), "more")
	}
	if !utf8.Valid(text) {
		return nil, reject(name, "a text in UTF-8", "other bytes")
	}
	for _, p := range llama.Paragraphs(string(text)) {
		paragraphs = append(paragraphs, strings.Join(strings.Fields(p), " "))
	}
	return paragraphs, nil
}

// A textSource is text of one kind.
type textSource struct {
	name       string
	paragraphs []string
}

// readSources are a book, stories, and sums with their solutions.
func readSources(dir string) ([]textSource, error) {
	book, err := readText(dir, dataBook)
	if err != nil {
		return nil, err
	}
	stories, err := readText(dir, dataText)
	if err != nil {
		return nil, err
	}
	sums, err := solutions(dir)
	if err != nil {
		return nil, err
	}
	return []textSource{{dataBook, book}, {dataText, stories}, {dataTunedText, sums}}, nil
}

// drawnSources are the embedded language, that of its fine-tune, and bare sums.
func drawnSources(seed uint64) []textSource {
	const paragraphs = 1200
	r := rand.New(rand.NewPCG(seed, 0x50b5))
	var sums []string
	for range 3 * paragraphs {
		x, y := r.IntN(100), r.IntN(100)
		sums = append(sums, fmt.Sprintf("%d and %d are %d.", x, y, x+y))
	}
	return []textSource{{"the language", tiny.Base.Paragraphs(seed, paragraphs)}, {"its variant", tiny.Variant.Paragraphs(seed, paragraphs)}, {"sums", sums}}
}

// A joined text is tokens of several pieces, and where all but the first begin. A token is
// a row of the table.
type joined struct {
	table      spec.Matrix
	tokens     []int
	boundaries []int
}

func (j *joined) embeddings() spec.Matrix {
	x := spec.Matrix{Rows: len(j.tokens), Cols: j.table.Cols, Data: make([]float32, 0, len(j.tokens)*j.table.Cols)}
	for _, t := range j.tokens {
		x.Data = append(x.Data, j.table.Row(t)...)
	}
	return x
}

// joinTexts joins pieces of 6 to 8 windows' tokens, any number between, into texts of so
// many pieces. Neighbours are of different sources, and each source is read on from
// piece to piece, and again from its beginning where it ends.
func joinTexts(s *Subject, sources []textSource, texts, pieces, window int, seed uint64) ([]joined, error) {
	r := rand.New(rand.NewPCG(seed, 0x101d))
	embedding := s.Model.Embedding.Float32()
	tokens, read := make([][]int, len(sources)), make([]int, len(sources))
	for i, source := range sources {
		for _, p := range source.paragraphs {
			if len(tokens[i]) > 8*window*texts*pieces {
				break
			}
			tokens[i] = append(tokens[i], llama.Continue(s.Tokenizer, p)...)
		}
		if len(tokens[i]) < 8*window {
			return nil, reject(source.name, fmt.Sprintf("a text of %d tokens", 8*window), len(tokens[i]))
		}
	}
	all := make([]joined, texts)
	for n := range all {
		j, from := &all[n], -1
		j.table = embedding
		for range pieces {
			if from < 0 {
				from = r.IntN(len(sources))
			} else {
				j.boundaries = append(j.boundaries, len(j.tokens))
				from = (from + 1 + r.IntN(len(sources)-1)) % len(sources)
			}
			for range 6*window + r.IntN(2*window+1) {
				j.tokens = append(j.tokens, tokens[from][read[from]%len(tokens[from])])
				read[from]++
			}
		}
	}
	return all, nil
}

// plantedTopics are topics of so many windows each, an axis a topic, and Gaussian noise
// on every token.
func plantedTopics(topics, windows, window, dim int, seed uint64) (j joined) {
	const noise = 0.1
	r := rand.New(rand.NewPCG(seed, 0x709))
	axes := r.Perm(dim)[:topics]
	j.table = gaussian(topics*windows*window, dim, seed)
	for i := range j.table.Data {
		j.table.Data[i] *= noise
	}
	for t := range j.table.Rows {
		topic := t / (windows * window)
		j.table.Row(t)[axes[topic]]++
		j.tokens = append(j.tokens, t)
		if t%(windows*window) == 0 && t > 0 {
			j.boundaries = append(j.boundaries, t)
		}
	}
	return j
}
