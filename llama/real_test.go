package llama

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/spec/wire"
)

// realData returns the path of a real input: beside the checkout, or where
// SQUISHSPEC_DATA says. Where there are none, the test is skipped.
func realData(t testing.TB, path ...string) string {
	t.Helper()
	dir, given := os.LookupEnv("SQUISHSPEC_DATA")
	if !given {
		dir = filepath.Join("..", "..", "shared", "data")
	}
	if _, err := os.Stat(dir); err != nil {
		if given {
			t.Fatalf("SQUISHSPEC_DATA: %v", err)
		}
		t.Skipf("SKIPPED: NOT RUN ON A REAL MODEL: its data is not here, and SQUISHSPEC_DATA names no other folder (%v)", err)
	}
	return filepath.Join(append([]string{dir}, path...)...)
}

func stories(t testing.TB) (*Model, *Vocabulary) {
	t.Helper()
	m, err := Load(realData(t, "stories260K", "stories260K.bin"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := LoadVocabulary(realData(t, "stories260K", "tok512.bin"))
	if err != nil {
		t.Fatal(err)
	}
	return m, v
}

// TestStories260KOnTheProtocol takes seconds: the figure, which an independent
// float64 program measured, is of 300 paragraphs. Where few tries are asked for, as
// under the race detector, the first ten are judged, by comparison of both
// precisions alone.
func TestStories260KOnTheProtocol(t *testing.T) {
	m, v := stories(t)
	text, err := os.ReadFile(realData(t, "text", "tinystories_val_794k.txt"))
	if err != nil {
		t.Fatal(err)
	}
	all := Paragraphs(string(text))
	if len(all) != 4300 {
		t.Errorf("%d paragraphs, want 4300", len(all))
	}
	few := all[:10]
	narrow, err := MeasurePerplexity[float32](context.Background(), m, v, few, func() {})
	if err != nil {
		t.Fatal(err)
	}
	wide, err := MeasurePerplexity[float64](context.Background(), m, v, few, func() {})
	if d := narrow.NLL - wide.NLL; err != nil || !(d > -1e-6 && d < 1e-6) {
		t.Errorf("float32 %v, float64 %v, %v", narrow.NLL, wide.NLL, err)
	}
	if os.Getenv("SQUISHSPEC_CHECKS") != "" {
		return
	}
	got, err := MeasurePerplexity[float32](context.Background(), m, v, all[:300], func() {})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%d %.5f %.4f", got.Tokens, got.NLL, got.Perplexity()); text != "29256 1.43528 4.2008" {
		t.Errorf("tokens, NLL and perplexity are %s, want 29256 1.43528 4.2008", text)
	}
}

func TestStories260KTellsTheSameStoryInBothPrecisionsAndLayouts(t *testing.T) {
	m, v := stories(t)
	want := greedy[float64](t, m, bos, 200)
	if got := greedy[float32](t, m, bos, 200); !slices.Equal(got, want) {
		t.Errorf("float32 %v\nfloat64 %v", got, want)
	}
	if text, err := v.Decode(append([]int{bos}, want...)); err != nil || !strings.HasPrefix(text, "Once upon a time, there was a") {
		t.Errorf("the story is %q, %v", text, err)
	}
	f := huggingFace(m, wire.F32)
	f.shards = 2
	read := loadFolder(t, f)
	if got := greedy[float32](t, read, bos, 200); !slices.Equal(got, want) {
		t.Errorf("Hugging Face's layout: %v, want %v", got, want)
	}
	// llama2.c's epsilon and base are in config.json: logits differ by the order of
	// sums within a head of 8.
	if d := distance(allLogits[float64](t, read, want[:40]), allLogits[float64](t, m, want[:40])); !(d < 1e-11) {
		t.Errorf("Hugging Face's layout: logits differ by %g", d)
	}
}
