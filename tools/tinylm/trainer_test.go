package main

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/llama/tiny"
)

func readModel(t *testing.T, data []byte) *llama.Model {
	t.Helper()
	m, err := llama.ReadLlama2C("test", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// short is a training of a narrow model that takes milliseconds.
func short(t *testing.T, seed uint64) *trainer {
	t.Helper()
	v, err := tiny.Vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	c := shape
	c.Dim, c.Hidden, c.Layers, c.Heads, c.KVHeads, c.HeadDim = 8, 12, 1, 2, 1, 4
	l := newLayout(c)
	return newTrainer(l, l.initial(1), recipe{Seed: seed, Steps: 12, Batch: 11, Peak: 1e-2, Warmup: 3, Decay: 0.1, Beta1: 0.9, Beta2: 0.98, Clip: 1}, tiny.Base, v)
}

func steps(t *testing.T, tr *trainer, n int) (last result) {
	t.Helper()
	for range n {
		r, err := tr.next()
		if err != nil {
			t.Fatal(err)
		}
		last = r
	}
	return last
}

func state(t *testing.T, tr *trainer) []byte {
	t.Helper()
	data, err := tr.checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestResumedIsUninterrupted(t *testing.T) {
	whole := short(t, 1)
	steps(t, whole, 4)
	middle := state(t, whole)
	steps(t, whole, 4)
	resumed := short(t, 1)
	if err := resumed.resume(middle); err != nil {
		t.Fatal(err)
	}
	steps(t, resumed, 4)
	if !bytes.Equal(state(t, whole), state(t, resumed)) {
		t.Error("the resumed training differs")
	}
	if bytes.Equal(state(t, whole), middle) {
		t.Error("four steps changed nothing")
	}
}

func TestProcessorsChangeNothing(t *testing.T) {
	several := short(t, 2)
	func() {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(5))
		steps(t, several, 3)
	}()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	alone := short(t, 2)
	steps(t, alone, 3)
	if !bytes.Equal(state(t, several), state(t, alone)) {
		t.Error("one processor trains another model than five")
	}
}

func TestAnInterruptedRunGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	stopped, stop := context.WithCancel(context.Background())
	stop()
	var out strings.Builder
	interrupted := short(t, 3)
	if err := run(stopped, interrupted, 12, 5, path, &out); err == nil || interrupted.step != 1 {
		t.Fatalf("at step %d: %v", interrupted.step, err)
	}
	resumed, whole := short(t, 3), short(t, 3)
	if err := errors.Join(run(context.Background(), resumed, 12, 5, path, &out), run(context.Background(), whole, 12, 5, path+"2", &out)); err != nil {
		t.Fatal(err)
	}
	if resumed.step != 12 || !bytes.Equal(state(t, resumed), state(t, whole)) {
		t.Errorf("step %d, or another model", resumed.step)
	}
	if !strings.Contains(out.String(), "step 12: loss ") {
		t.Errorf("got %q", &out)
	}
}

// TestTrainWritesFiles takes the first step of the tuning, twice: most of a second.
func TestTrainWritesFiles(t *testing.T) {
	dir := t.TempDir()
	if err := train(context.Background(), options{Out: dir, Tune: true, Steps: 1, Every: 1}, new(strings.Builder)); err != nil {
		t.Fatal(err)
	}
	m, err := llama.Load(filepath.Join(dir, "tuned.bin"))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := beginTuning()
	if err != nil {
		t.Fatal(err)
	}
	steps(t, whole, 1)
	if _, weights := parametersOf(m); !bytes.Equal(bytesOf(weights), bytesOf(whole.weights)) {
		t.Error("other weights than those of one step")
	}
	if _, err := os.Stat(filepath.Join(dir, "tuning.ckpt")); err != nil {
		t.Error("it is not at its end, and has no checkpoint")
	}
	for _, o := range []options{{Every: 0}, {Every: 1, Steps: -1}} {
		if err := train(context.Background(), o, new(strings.Builder)); err == nil || !strings.HasPrefix(err.Error(), "--every") {
			t.Errorf("%+v: got %v", o, err)
		}
	}
}

func TestACheckpointOfAnotherTrainingIsRefused(t *testing.T) {
	one, data := short(t, 4), state(t, short(t, 5))
	before := state(t, one)
	other := short(t, 4)
	c := other.config
	c.Hidden++
	l := newLayout(c)
	wider := state(t, newTrainer(l, l.initial(1), other.recipe, tiny.Base, other.vocabulary))
	for name, damaged := range map[string][]byte{"another recipe": data, "another shape": wider, "cut": before[:len(before)-1], "empty": nil} {
		if err := one.resume(damaged); err == nil || !strings.HasPrefix(err.Error(), "checkpoint: ") {
			t.Errorf("%s: got %v", name, err)
		}
		if !bytes.Equal(state(t, one), before) {
			t.Errorf("%s: it changed the training", name)
		}
	}
	path := filepath.Join(t.TempDir(), "c")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(context.Background(), one, 1, 1, path, new(strings.Builder)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want the file's name", err)
	}
}

func TestTheBoundIsThatOfTheText(t *testing.T) {
	tr := short(t, 6)
	r := steps(t, tr, 1)
	paragraphs := tr.grammar.Paragraphs(6, tr.recipe.Batch)
	tokens := 0
	for _, p := range paragraphs {
		tokens += len(tr.vocabulary.Encode(p)) // without BOS, with the end
	}
	logProb, err := tiny.LogProb(strings.Join(paragraphs, "\n\n"))
	if err != nil || !(math.Abs(r.bound+logProb/float64(tokens)) < 1e-12) {
		t.Errorf("got %v, want %v, %v", r.bound, -logProb/float64(tokens), err)
	}
	// An untrained model knows little more than the number of tokens.
	if !(r.loss > 0.9*math.Log(512) && r.loss < 1.2*math.Log(512)) {
		t.Errorf("the first loss is %v", r.loss)
	}
}

func TestRateRisesAndFalls(t *testing.T) {
	tr := short(t, 7)
	for step, want := range map[int]float64{0: 1e-2 / 3, 2: 1e-2, 3: 1e-2, 12: 0} {
		tr.step = step
		if got := tr.rate(); math.Abs(got-want) > 1e-15 {
			t.Errorf("step %d: got %v, want %v", step, got, want)
		}
	}
}

// TestAdamWOfOneParameter compares two steps with the paper's formulas in float64.
func TestAdamWOfOneParameter(t *testing.T) {
	tr := short(t, 8)
	tr.recipe.Clip = math.Inf(1)
	matrix, norm := tr.embedding.at, tr.norm.at
	want := map[int]float64{matrix: float64(tr.weights[matrix]), norm: 1}
	var m, v float64
	gradient := make([]float32, tr.size)
	for i, g := range []float64{0.5, -0.25} {
		gradient[matrix], gradient[norm] = float32(2*g), float32(2*g)
		m, v = 0.9*m+0.1*g, 0.98*v+0.02*g*g
		rate, n := 1e-2*float64(i+1)/3, float64(i+1)
		delta := rate * m / (1 - math.Pow(0.9, n)) / (math.Sqrt(v/(1-math.Pow(0.98, n))) + 1e-8)
		want[matrix] = want[matrix]*(1-rate*0.1) - delta
		want[norm] -= delta
		tr.update(gradient, 0.5)
		tr.step++
	}
	for i, w := range want {
		if got := float64(tr.weights[i]); math.Abs(got-w) > 1e-6*math.Abs(w) {
			t.Errorf("parameter %d: got %v, want %v", i, got, w)
		}
	}
}

func TestClippedGradientHasTheLargestNorm(t *testing.T) {
	clipped, whole := short(t, 9), short(t, 9)
	whole.recipe.Clip = math.Inf(1)
	large, scaled := make([]float32, clipped.size), make([]float32, clipped.size)
	large[0], large[5] = 30, 40
	scaled[0], scaled[5] = 0.6, 0.8
	clipped.update(large, 1)
	whole.update(scaled, 1)
	for _, i := range []int{0, 5} {
		if a, b := float64(clipped.first[i]), float64(whole.first[i]); math.Abs(a-b) > 1e-6 {
			t.Errorf("parameter %d: mean gradient %v, want %v", i, a, b)
		}
	}
}
