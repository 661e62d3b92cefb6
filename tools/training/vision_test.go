package training

import (
	"bytes"
	"image"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/vision"
)

// smallVision is a shape that differs in its axes.
var smallVision = vision.Config{Patch: 2, Grid: 3, Dim: 12, Hidden: 10, Layers: 2, Heads: 3, Classes: 5}

// noise is a picture of it.
func noise(c vision.Config, seed uint64) *image.Gray {
	r := rand.New(rand.NewPCG(seed, 8))
	picture := image.NewGray(image.Rect(0, 0, c.Grid*c.Patch, c.Grid*c.Patch))
	for i := range picture.Pix {
		picture.Pix[i] = uint8(r.IntN(256))
	}
	return picture
}

func patchesOf[F float32 | float64](t *testing.T, c vision.Config, picture *image.Gray) (patches []F) {
	t.Helper()
	var m spec.Matrix
	if err := vision.Patches(&m, picture, c.Patch); err != nil {
		t.Fatal(err)
	}
	for _, v := range m.Data {
		patches = append(patches, F(v))
	}
	return patches
}

// TestGradientOfAPictureIsTheSlope compares with central differences, for every
// parameter.
func TestGradientOfAPictureIsTheSlope(t *testing.T) {
	l := newVisionLayout(smallVision)
	p := random(&l.layout)
	n := newVisionNetwork[float64](l)
	patches := patchesOf[float64](t, smallVision, noise(smallVision, 1))
	const class = 3
	gradient := make([]float64, l.size)
	for range 2 { // the second time with memory that was used
		clear(gradient)
		n.gradient(p, transposedOf(&l.layout, p), gradient, patches, class)
	}
	checkSlopes(t, &l.layout, p, gradient, 1e-3, func() float64 { return n.forward(p, patches, class) })
}

// TestLossIsThatOfPackageVision: what is trained is what runs, to the bit.
func TestLossIsThatOfPackageVision(t *testing.T) {
	l := newVisionLayout(smallVision)
	var p []float32
	for _, v := range random(&l.layout) {
		p = append(p, float32(v))
	}
	m, err := vision.New(smallVision, p)
	if err != nil {
		t.Fatal(err)
	}
	s, n := m.Session(), newVisionNetwork[float32](l)
	for seed := range uint64(3) {
		picture := noise(smallVision, seed)
		loss := n.forward(p, patchesOf[float32](t, smallVision, picture), 2)
		var x spec.Matrix
		if err := s.Embed(&x, picture); err != nil {
			t.Fatal(err)
		}
		for i := range m.Layers {
			s.Layer(&x, i)
		}
		sum, logits := 0.0, s.Logits(x)
		for _, v := range logits {
			sum += math.Exp(float64(v - logits[2]))
		}
		if want := math.Log(sum); !(math.Abs(loss-want) < 1e-6*(1+want)) {
			t.Errorf("got %v, want %v", loss, want)
		}
		for h, weights := range n.layers[1].weights {
			if weights != s.Attention.Data[h] {
				t.Fatalf("weight %d: %v, want %v", h, weights, s.Attention.Data[h])
			}
		}
	}
}

func TestEpochsShowEveryPictureOnce(t *testing.T) {
	pictures := make([]vision.Labelled, 7)
	for i := range pictures {
		pictures[i].Class = i
	}
	examples := Epochs(pictures, 1)
	var shown []int
	for step := range 7 {
		for _, e := range examples(step, 3) {
			shown = append(shown, e.Class)
		}
	}
	for epoch := range 3 {
		seen := map[int]bool{}
		for _, c := range shown[7*epoch : 7*epoch+7] {
			seen[c] = true
		}
		if len(seen) != 7 {
			t.Errorf("epoch %d: %v", epoch, shown[7*epoch:7*epoch+7])
		}
	}
	if slices.Equal(shown[:7], shown[7:14]) {
		t.Errorf("two epochs in one order: %v", shown[:7])
	}
	// From any step on, as a resumed training does.
	for i, e := range Epochs(pictures, 1)(5, 3) {
		if e.Class != shown[15+i] {
			t.Errorf("example %d of step 5 is %d, want %d", i, e.Class, shown[15+i])
		}
	}
}

func TestPicturesOfAnotherGridAreRefused(t *testing.T) {
	wide := smallVision
	wide.Grid++
	for _, e := range []vision.Labelled{{Picture: noise(wide, 1)}, {Picture: noise(smallVision, 1), Class: 5}, {Picture: noise(smallVision, 1), Class: -1}, {Picture: image.NewGray(image.Rect(0, 0, 5, 6))}} {
		tr, err := NewVision(smallVision, Recipe{Steps: 1, Batch: 1, Clip: 1}, func(int, int) []vision.Labelled { return []vision.Labelled{e} })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Next(); err == nil {
			t.Errorf("%v of class %d was learnt", e.Picture.Rect, e.Class)
		}
	}
	if _, err := NewVision(vision.Config{}, Recipe{}, nil); err == nil {
		t.Error("a shape of nothing was accepted")
	}
}

// shortVision is a training that takes milliseconds.
func shortVision(t *testing.T) *Trainer {
	t.Helper()
	tr, err := NewVision(smallVision, Recipe{Seed: 3, Steps: 12, Batch: 11, Peak: 1e-2, Warmup: 3, Decay: 0.1, Beta1: 0.9, Beta2: 0.98, Clip: 1}, func(step, n int) (examples []vision.Labelled) {
		for i := range n {
			examples = append(examples, vision.Labelled{Picture: noise(smallVision, uint64(step*n+i)), Class: i % smallVision.Classes})
		}
		return examples
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestResumedVisionIsUninterrupted(t *testing.T) {
	whole := shortVision(t)
	first := steps(t, whole, 1)
	if want := math.Log(float64(smallVision.Classes)); math.Abs(first.Loss-want) > 0.1 || first.Bound != 0 {
		t.Errorf("%+v, want a loss of %v and no bound", first, want)
	}
	steps(t, whole, 3)
	middle := state(t, whole)
	resumed := shortVision(t)
	if err := resumed.Resume(middle); err != nil {
		t.Fatal(err)
	}
	steps(t, whole, 4)
	func() {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		steps(t, resumed, 4)
	}()
	if !bytes.Equal(state(t, whole), state(t, resumed)) || !bytes.Equal(whole.File(), resumed.File()) {
		t.Error("the resumed training of one processor differs")
	}
	if m, err := vision.Parse("file", whole.File()); err != nil || m.Config != smallVision {
		t.Errorf("%v, %v", m, err)
	}
}
