package llama

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/spec"
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

// TestStories260KOnTheProtocol takes 20 to 40 seconds: the figures, which an
// independent float64 program measured, are of 300 paragraphs each. Where few tries
// are asked for, as under the race detector, ten are judged in both precisions.
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
	for _, row := range []struct {
		name   string
		change func(w spec.Matrix)
		digits int
		want   string
	}{
		{"as they are", func(spec.Matrix) {}, 5, "1.43528"},
		{"int8 a row", func(w spec.Matrix) { roundRows(w, 127) }, 5, "1.43579"},
		{"int4 a row", func(w spec.Matrix) { roundRows(w, 7) }, 5, "1.60282"},
		{"ternary", ternary, 3, "6.859"},
		{"2:4", func(w spec.Matrix) {
			for group := range slices.Chunk(w.Data, 4) {
				dropSmallest(group, 2)
			}
		}, 3, "4.664"},
		{"smallest 30% to zero", func(w spec.Matrix) { dropSmallest(w.Data, share(0.3, w)) }, 3, "1.748"},
		{"smallest 70% to zero", func(w spec.Matrix) { dropSmallest(w.Data, share(0.7, w)) }, 3, "5.857"},
	} {
		changed, err := m.Map(func(_ string, w spec.Matrix) (spec.Matrix, error) {
			w.Data = slices.Clone(w.Data)
			row.change(w)
			return w, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := MeasurePerplexity[float32](context.Background(), changed, v, all[:300], func() {})
		if err != nil {
			t.Fatal(err)
		}
		if nll := fmt.Sprintf("%.*f", row.digits, got.NLL); nll != row.want || got.Tokens != 29256 {
			t.Errorf("%s: NLL %s of %d tokens, want %s of 29256", row.name, nll, got.Tokens, row.want)
		}
	}
}

func magnitude(v float32) float64 { return math.Abs(float64(v)) }

// roundRows rounds each row to multiples of a level-th of its largest magnitude.
func roundRows(w spec.Matrix, levels float64) {
	for r := range w.Rows {
		top := 0.0
		for _, v := range w.Row(r) {
			top = max(top, magnitude(v))
		}
		for i, v := range w.Row(r) {
			w.Row(r)[i] = float32(math.RoundToEven(float64(v)/(top/levels)) * (top / levels))
		}
	}
}

// ternary leaves the sign of what is above half the mean magnitude, times that mean.
func ternary(w spec.Matrix) {
	mean := 0.0
	for _, v := range w.Data {
		mean += magnitude(v) / float64(len(w.Data))
	}
	for i, v := range w.Data {
		w.Data[i] = 0
		if magnitude(v) > mean/2 {
			w.Data[i] = float32(math.Copysign(mean, float64(v)))
		}
	}
}

func share(part float64, w spec.Matrix) int { return int(math.Round(part * float64(len(w.Data)))) }

// dropSmallest sets the n smallest magnitudes to zero, the first of equals first.
func dropSmallest(values []float32, n int) {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(magnitude(values[a]), magnitude(values[b])) })
	for _, i := range order[:n] {
		values[i] = 0
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
