package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/llama/tiny"
	"github.com/squishspec/squishspec/tools/training"
)

// short is a training of a narrow model that takes milliseconds.
func short(t *testing.T, seed uint64) *training.Trainer {
	t.Helper()
	v, err := tiny.Vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	c := shape
	c.Dim, c.Hidden, c.Layers, c.Heads, c.KVHeads, c.HeadDim = 8, 12, 1, 2, 1, 4
	return training.NewText(c, training.Recipe{Seed: seed, Steps: 12, Batch: 11, Peak: 1e-2, Warmup: 3, Decay: 0.1, Beta1: 0.9, Beta2: 0.98, Clip: 1}, tiny.Base, v)
}

func state(t *testing.T, tr *training.Trainer) []byte {
	t.Helper()
	data, err := tr.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAnInterruptedRunGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	stopped, stop := context.WithCancel(context.Background())
	stop()
	var out strings.Builder
	interrupted := short(t, 3)
	if err := run(stopped, interrupted, 12, 5, path, &out); err == nil || interrupted.Step != 1 {
		t.Fatalf("at step %d: %v", interrupted.Step, err)
	}
	resumed, whole := short(t, 3), short(t, 3)
	if err := errors.Join(run(context.Background(), resumed, 12, 5, path, &out), run(context.Background(), whole, 12, 5, path+"2", &out)); err != nil {
		t.Fatal(err)
	}
	if resumed.Step != 12 || !bytes.Equal(state(t, resumed), state(t, whole)) {
		t.Errorf("step %d, or another model", resumed.Step)
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
	whole, err := beginTuning()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := whole.Next(); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "tuned.bin")); err != nil || !bytes.Equal(data, whole.File()) {
		t.Errorf("%v, or another model than that of one step", err)
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

func TestACheckpointOfAnotherTrainingIsNamed(t *testing.T) {
	one, data := short(t, 4), state(t, short(t, 5))
	path := filepath.Join(t.TempDir(), "c")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(context.Background(), one, 1, 1, path, new(strings.Builder)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want the file's name", err)
	}
}

// TestTrainWritesTheVisionModel takes the first step of 32 pictures.
func TestTrainWritesTheVisionModel(t *testing.T) {
	dir := t.TempDir()
	if err := train(context.Background(), options{Out: dir, Vision: true, Steps: 1, Every: 1}, new(strings.Builder)); err != nil {
		t.Fatal(err)
	}
	whole, err := beginVision()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := whole.Next(); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "model.bin")); err != nil || !bytes.Equal(data, whole.File()) {
		t.Errorf("%v, or another model than that of one step", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 2 || filepath.Base(files[1]) != "vision.ckpt" {
		t.Errorf("%v, %v; want a model and a checkpoint", files, err)
	}
	if err := train(context.Background(), options{Out: dir, Vision: true, Tune: true, Every: 1}, new(strings.Builder)); err == nil || !strings.HasPrefix(err.Error(), "--tune, --vision") {
		t.Errorf("got %v", err)
	}
}
