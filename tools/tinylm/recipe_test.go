package main

import (
	"math"
	"testing"

	"github.com/squishspec/squishspec/llama/tiny"
	"github.com/squishspec/squishspec/tools/training"
	"github.com/squishspec/squishspec/vision/shapes"
)

// TestNoTextOfATrainingIsEvaluated draws all text of both trainings, which takes most
// of a second, and texts of other seeds: no paragraph is in two of them.
func TestNoTextOfATrainingIsEvaluated(t *testing.T) {
	seeds := map[string]uint64{} // by paragraph
	note := func(paragraphs []string, seed uint64) {
		for _, p := range paragraphs {
			if other, twice := seeds[p]; twice && other != seed {
				t.Errorf("seeds %d and %d: %q", other, seed, p)
			}
			seeds[p] = seed
		}
	}
	for seed := range uint64(10) {
		note(tiny.Base.Paragraphs(seed, 500), seed)
		note(tiny.Base.Paragraphs(1000+seed, 500), 1000+seed)
		note(tiny.Variant.Paragraphs(seed, 500), seed)
		note(tiny.Variant.Paragraphs(1000+seed, 500), 1000+seed)
	}
	for _, tr := range []struct {
		training.Recipe
		*tiny.Grammar
	}{{modelRecipe, tiny.Base}, {tuningRecipe, tiny.Variant}} {
		for step := range uint64(tr.Steps) {
			for _, p := range tr.Paragraphs(tr.Seed+step, tr.Batch) {
				if seed, twice := seeds[p]; twice {
					t.Errorf("seed %d, and step %d of a training: %q", seed, step, p)
				}
			}
		}
	}
}

// TestStepsFromTheEmbeddedWeights takes 50 steps of one paragraph each on the other
// grammar, with a new optimiser: a second, in place of the hour that a training
// takes. What the last ten have lost was measured on amd64. The last bits of
// math.Exp, which another processor may compute otherwise, move it by far less than
// the tolerance, a wrong gradient or rate by more.
func TestStepsFromTheEmbeddedWeights(t *testing.T) {
	const want, tolerance = 0.84472, 1e-3
	tr, err := beginTuning()
	if err != nil {
		t.Fatal(err)
	}
	tr.Recipe = training.Recipe{Seed: 1 << 34, Steps: 50, Batch: 1, Peak: 3e-3, Warmup: 5, Decay: 0.05, Beta1: 0.9, Beta2: 0.98, Clip: 1}
	sum := 0.0
	for tr.Step < 50 {
		r, err := tr.Next()
		if err != nil {
			t.Fatal(err)
		}
		if tr.Step > 40 {
			sum += r.Loss / 10
		}
	}
	t.Logf("%.6f", sum)
	if !(math.Abs(sum-want) < tolerance) {
		t.Errorf("the last steps lost %.5f nats a token, want %.5f ± %v", sum, want, tolerance)
	}
}

// TestStepsOfShapes takes 30 steps of 8 pictures, with another rate: most of a second.
// What the last ten have lost was measured as that of the text is.
func TestStepsOfShapes(t *testing.T) {
	const want, tolerance = 2.19246, 1e-3
	tr, err := beginVision()
	if err != nil {
		t.Fatal(err)
	}
	tr.Recipe = training.Recipe{Steps: 30, Batch: 8, Peak: 1e-2, Warmup: 3, Decay: 0.05, Beta1: 0.9, Beta2: 0.98, Clip: 1}
	sum := 0.0
	for tr.Step < 30 {
		r, err := tr.Next()
		if err != nil {
			t.Fatal(err)
		}
		if tr.Step > 20 {
			sum += r.Loss / 10
		}
	}
	t.Logf("%.6f", sum)
	if !(math.Abs(sum-want) < tolerance) {
		t.Errorf("the last steps lost %.5f nats a picture, want %.5f ± %v", sum, want, tolerance)
	}
}

func TestTheEmbeddedModelIsOfTheRecipesShape(t *testing.T) {
	m, err := shapes.Model()
	if err != nil || m.Config != visionShape {
		t.Errorf("%v, %v", m, err)
	}
}

// No picture of the training is one of a seed below 2³²: each begins with other noise.
func TestNoPictureOfATrainingIsEvaluated(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(300) {
		for _, d := range shapes.Draw(seed, 1) {
			seen[string(d.Picture.Pix)] = true
		}
	}
	for step := range uint64(visionRecipe.Steps) / 10 {
		for _, d := range shapes.Draw(visionRecipe.Seed+step, 1) {
			if seen[string(d.Picture.Pix)] {
				t.Errorf("step %d: the picture is also of another seed", step)
			}
		}
	}
}
