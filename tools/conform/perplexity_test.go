package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// writeModel writes a llama2.c model of one layer with its tokenizer and a text,
// and returns their paths. The model's weights are all the same number, so that no
// token is likelier than another: with a vocabulary of 270, its perplexity is 270.
func writeModel(t *testing.T, weight float32) (model, tokenizer, text string) {
	t.Helper()
	const dim, hidden, heads, vocab, context = 4, 6, 2, 270, 64
	var file bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			if err := binary.Write(&file, binary.LittleEndian, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	put([]int32{dim, hidden, 1, heads, heads, vocab, context})
	for range vocab*dim + 4*dim*dim + 3*dim*hidden + 3*dim + context*dim/heads {
		put(weight)
	}
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	model = write("m.bin", bytes.Clone(file.Bytes()))
	file.Reset()
	put(int32(8))
	for i := range vocab {
		piece := fmt.Sprintf("<%d>", i)
		put(float32(0), int32(len(piece)), []byte(piece))
	}
	return model, write("tokenizer.bin", file.Bytes()), write("text", []byte("one\n\ntwo three\n\nfour\n"))
}

func TestPerplexityEndsWithItsFigures(t *testing.T) {
	model, tokenizer, text := writeModel(t, 0.5)
	for args, want := range map[string]string{ // a space before each paragraph, then a token a byte
		"":                 "tokens=19 nll=5.59842 ppl=270.0000",
		"--paragraphs 2":   "tokens=14 nll=5.59842 ppl=270.0000",
		"--paragraphs 0":   "tokens=19 nll=5.59842 ppl=270.0000",
		"--float64":        "tokens=19 nll=5.59842 ppl=270.0000",
		"--paragraphs 999": "tokens=19 nll=5.59842 ppl=270.0000",
	} {
		all := append([]string{"perplexity", "--model", model, "--text", text}, strings.Fields(args)...)
		code, out, stderr := conform(t, all...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if code != exitOK || lines[len(lines)-1] != want {
			t.Errorf("%s: exit code %d, %q, %q; want %q at the end", args, code, out, stderr, want)
		}
		if !regexp.MustCompile(`^standard error of nll: 0\.0000`).MatchString(lines[len(lines)-2]) {
			t.Errorf("%s: %q before the last line, want the standard error", args, lines[len(lines)-2])
		}
	}
	_, out, _ := conform(t, "perplexity", "--model", model, "--tokenizer", tokenizer, "--text", text, "--paragraphs", "1")
	if !strings.Contains(out, "unknown from one paragraph\ntokens=4 ") {
		t.Errorf("got %q", out)
	}
	if math.Log(270)-5.59842 > 1e-5 {
		t.Error("the figures above are not those of 270 equal tokens")
	}
}

func TestPerplexityRefusesWithALine(t *testing.T) {
	model, tokenizer, text := writeModel(t, 0.5)
	overflows, _, _ := writeModel(t, 3e38)
	nan, _, _ := writeModel(t, float32(math.NaN()))
	data, err := os.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	torn, empty := write("torn.bin", data[:len(data)-1]), write("empty", nil)
	for words, args := range map[string][]string{
		"missing flags":    {"--model", model},
		"gone":             {"--model", model + ".gone", "--text", text},
		"no such file":     {"--model", model, "--text", text + ".gone"},
		"torn.bin: size":   {"--model", torn, "--tokenizer", tokenizer, "--text", text},
		"empty: header":    {"--model", empty, "--tokenizer", tokenizer, "--text", text},
		"want a paragraph": {"--model", model, "--text", empty},
		"--paragraphs":     {"--model", model, "--text", text, "--paragraphs", "-1"},
		"config.json":      {"--model", dir, "--text", text},
		"a tokenizer.json is not read), got none at ": {"--model", write("alone.bin", data), "--text", text},
		"text: token 0":      {"--model", model, "--tokenizer", text, "--text", text},
		"m.bin: paragraph 1": {"--model", overflows, "--text", text},
		"finite number":      {"--model", nan, "--text", text},
	} {
		code, out, stderr := conform(t, append([]string{"perplexity"}, args...)...)
		if code != exitMisuse || out != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, words) {
			t.Errorf("exit code %d, stdout %q, stderr %q; want 2 and a line with %q", code, out, stderr, words)
		}
	}
}

func TestInterruptedPerplexityHasNoFigure(t *testing.T) {
	model, _, text := writeModel(t, 0.5)
	ctx, stop := context.WithCancel(context.Background())
	stop()
	var out, stderr bytes.Buffer
	code := run(ctx, []string{"perplexity", "--model", model, "--text", text}, strings.NewReader(""), &out, &stderr)
	if code != exitFailed || strings.Contains(out.String(), "nll=") || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("exit code %d, %q, %q", code, out.String(), stderr.String())
	}
}
