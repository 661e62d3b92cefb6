package training

import (
	"bytes"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/llama/tiny"
)

// short is a training of a narrow model that takes milliseconds.
func short(t *testing.T, seed uint64) *Trainer {
	t.Helper()
	v, err := tiny.Vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	c := shape
	c.Dim, c.Hidden, c.Layers, c.Heads, c.KVHeads, c.HeadDim = 8, 12, 1, 2, 1, 4
	l := newTextLayout(c)
	return newText(l, l.initial(1), Recipe{Seed: seed, Steps: 12, Batch: 11, Peak: 1e-2, Warmup: 3, Decay: 0.1, Beta1: 0.9, Beta2: 0.98, Clip: 1}, tiny.Base, v)
}

func steps(t *testing.T, tr *Trainer, n int) (last Result) {
	t.Helper()
	for range n {
		r, err := tr.Next()
		if err != nil {
			t.Fatal(err)
		}
		last = r
	}
	return last
}

func state(t *testing.T, tr *Trainer) []byte {
	t.Helper()
	data, err := tr.Checkpoint()
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
	if err := resumed.Resume(middle); err != nil {
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

func TestACheckpointOfAnotherTrainingIsRefused(t *testing.T) {
	one, data := short(t, 4), state(t, short(t, 5))
	before := state(t, one)
	other := short(t, 4)
	c := other.task.(*text).config
	c.Hidden++
	l := newTextLayout(c)
	wider := state(t, newText(l, l.initial(1), other.Recipe, tiny.Base, other.task.(*text).vocabulary))
	for name, damaged := range map[string][]byte{"another recipe": data, "another shape": wider, "cut": before[:len(before)-1], "empty": nil} {
		if err := one.Resume(damaged); err == nil || !strings.HasPrefix(err.Error(), "checkpoint: ") {
			t.Errorf("%s: got %v", name, err)
		}
		if !bytes.Equal(state(t, one), before) {
			t.Errorf("%s: it changed the training", name)
		}
	}
}

func TestTheBoundIsThatOfTheText(t *testing.T) {
	tr := short(t, 6)
	r := steps(t, tr, 1)
	paragraphs := tr.task.(*text).grammar.Paragraphs(6, tr.Recipe.Batch)
	tokens := 0
	for _, p := range paragraphs {
		tokens += len(tr.task.(*text).vocabulary.Encode(p)) // without BOS, with the end
	}
	logProb, err := tiny.LogProb(strings.Join(paragraphs, "\n\n"))
	if err != nil || !(math.Abs(r.Bound+logProb/float64(tokens)) < 1e-12) {
		t.Errorf("got %v, want %v, %v", r.Bound, -logProb/float64(tokens), err)
	}
	// An untrained model knows little more than the number of tokens.
	if !(r.Loss > 0.9*math.Log(512) && r.Loss < 1.2*math.Log(512)) {
		t.Errorf("the first loss is %v", r.Loss)
	}
}

func TestRateRisesAndFalls(t *testing.T) {
	tr := short(t, 7)
	for step, want := range map[int]float64{0: 1e-2 / 3, 2: 1e-2, 3: 1e-2, 12: 0} {
		tr.Step = step
		if got := tr.rate(); math.Abs(got-want) > 1e-15 {
			t.Errorf("step %d: got %v, want %v", step, got, want)
		}
	}
}

// TestAdamWOfOneParameter compares two steps with the paper's formulas in float64.
func TestAdamWOfOneParameter(t *testing.T) {
	tr := short(t, 8)
	tr.Recipe.Clip = math.Inf(1)
	matrix, norm := tr.task.(*text).embedding.at, tr.task.(*text).norm.at
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
		tr.Step++
	}
	for i, w := range want {
		if got := float64(tr.weights[i]); math.Abs(got-w) > 1e-6*math.Abs(w) {
			t.Errorf("parameter %d: got %v, want %v", i, got, w)
		}
	}
}

func TestClippedGradientHasTheLargestNorm(t *testing.T) {
	clipped, whole := short(t, 9), short(t, 9)
	whole.Recipe.Clip = math.Inf(1)
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
