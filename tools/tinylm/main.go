// Tinylm trains the models that packages tiny and shapes embed, and makes tiny's
// tokenizer.
//
//	go run ./tools/tinylm --out llama/tiny                 tokenizer.bin and model.bin
//	go run ./tools/tinylm --out llama/tiny --tune          tuned.bin, from the embedded model
//	go run ./tools/tinylm --out vision/shapes --vision     model.bin, of package shapes
//
// The same flags give the same files, bit by bit, on amd64, whatever the number of
// processors. A training that was interrupted goes on from its checkpoint.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/alecthomas/kong"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/llama/tiny"
	"github.com/squishspec/squishspec/tools/training"
	"github.com/squishspec/squishspec/vision"
	"github.com/squishspec/squishspec/vision/shapes"
)

// shape is that of the embedded models: 143,808 parameters. The matrices' axes are
// multiples of 32, as those of models that quantisers are made for.
var shape = llama.Config{
	Dim: 64, Hidden: 128, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 16, Vocab: 512, Context: 256,
	RoPE: llama.Interleaved, RoPEBase: 10000, Epsilon: 1e-5, Tied: true,
}

// modelRecipe is that of the embedded model, tuningRecipe that of the tuned one.
// Their texts are those of seeds that begin at 2³² and at 2³³.
var (
	modelRecipe  = training.Recipe{Seed: 1 << 32, Steps: 5000, Batch: 32, Peak: 6e-3, Warmup: 200, Decay: 0.05, Beta1: 0.9, Beta2: 0.98, Clip: 1}
	tuningRecipe = training.Recipe{Seed: 1 << 33, Steps: 400, Batch: 32, Peak: 1e-3, Warmup: 20, Decay: 0.05, Beta1: 0.9, Beta2: 0.98, Clip: 1}
)

// visionRecipe is that of package shapes' model. Its pictures are those of seeds that
// begin at 2³².
var visionRecipe = training.Recipe{Seed: 1 << 32, Steps: 5000, Batch: 32, Peak: 4e-3, Warmup: 200, Decay: 0.05, Beta1: 0.9, Beta2: 0.98, Clip: 1}

// visionShape is that of package shapes' model.
var visionShape = vision.Config{Patch: 4, Grid: shapes.Side / 4, Dim: 32, Hidden: 64, Layers: 4, Heads: 4, Classes: len(shapes.Names)}

type options struct {
	Out        string `help:"The folder to write to." default:"." placeholder:"DIR"`
	Tune       bool   `help:"Tune the embedded model on the other grammar."`
	Vision     bool   `help:"Train the vision transformer of drawn shapes."`
	Steps      int    `help:"Stop there, and write the model as it is then (0: at the end)." default:"0"`
	Every      int    `help:"Steps from checkpoint to checkpoint." default:"100"`
	Checkpoint string `help:"The checkpoint (default training.ckpt, tuning.ckpt or vision.ckpt, in the folder)." placeholder:"FILE"`
}

func main() {
	var o options
	kong.Parse(&o, kong.Description("Tinylm trains the models that packages tiny and shapes embed, and makes tiny's tokenizer."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := train(ctx, o, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "tinylm:", err)
		os.Exit(1)
	}
}

// train writes what the options ask for. A training that has come to its end leaves
// no checkpoint, so that the next one begins anew.
func train(ctx context.Context, o options, progress io.Writer) error {
	if o.Every < 1 || o.Steps < 0 {
		return fmt.Errorf("--every, --steps: want at least 1 and 0, got %d and %d", o.Every, o.Steps)
	}
	name, checkpoint, begin := "model.bin", "training.ckpt", beginTraining
	switch {
	case o.Tune && o.Vision:
		return errors.New("--tune, --vision: want one of them at most")
	case o.Vision:
		checkpoint, begin = "vision.ckpt", beginVision
	case o.Tune:
		name, checkpoint, begin = "tuned.bin", "tuning.ckpt", beginTuning
	}
	if o.Checkpoint != "" {
		checkpoint = o.Checkpoint
	} else {
		checkpoint = filepath.Join(o.Out, checkpoint)
	}
	t, err := begin()
	if err != nil {
		return err
	}
	steps := t.Recipe.Steps
	if o.Steps > 0 {
		steps = min(steps, o.Steps)
	}
	if err := run(ctx, t, steps, o.Every, checkpoint, progress); err != nil {
		return err
	}
	if !o.Tune && !o.Vision {
		if err := write(filepath.Join(o.Out, "tokenizer.bin"), tiny.VocabularyBytes()); err != nil {
			return err
		}
	}
	if err := write(filepath.Join(o.Out, name), t.File()); err != nil {
		return err
	}
	if t.Step < t.Recipe.Steps {
		return nil
	}
	return os.Remove(checkpoint)
}

// beginTraining returns the training of the embedded model. It makes the tokenizer,
// in place of the embedded one, which it may be about to replace.
func beginTraining() (*training.Trainer, error) {
	v, err := llama.ParseVocabulary("tokenizer", tiny.VocabularyBytes())
	if err != nil {
		return nil, err
	}
	return training.NewText(shape, modelRecipe, tiny.Base, v), nil
}

// beginTuning returns the training of the tuned model, from the embedded one.
func beginTuning() (*training.Trainer, error) {
	v, err := tiny.Vocabulary()
	if err != nil {
		return nil, err
	}
	m, err := tiny.Model()
	if err != nil {
		return nil, err
	}
	return training.TuneText(m, tuningRecipe, tiny.Variant, v), nil
}

// beginVision returns the training of the model of drawn shapes.
func beginVision() (*training.Trainer, error) {
	return training.NewVision(visionShape, visionRecipe, func(step, n int) []vision.Labelled {
		return shapes.Draw(visionRecipe.Seed+uint64(step), n)
	})
}

// run resumes a training from its checkpoint, if there is one, and takes the steps
// that are left. Interrupted, it leaves a checkpoint and returns an error.
func run(ctx context.Context, t *training.Trainer, steps, every int, checkpoint string, progress io.Writer) error {
	data, err := os.ReadFile(checkpoint)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := t.Resume(data); err != nil {
			return fmt.Errorf("%s: %w", checkpoint, err)
		}
	}
	save := func() error {
		data, err := t.Checkpoint()
		if err == nil {
			err = write(checkpoint, data)
		}
		return err
	}
	var bar *progressbar.ProgressBar
	if f, ok := progress.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		bar = progressbar.NewOptions(steps, progressbar.OptionSetWriter(progress), progressbar.OptionShowCount(),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetElapsedTime(true), progressbar.OptionSetPredictTime(true))
		bar.Set(t.Step)
	}
	var sum training.Result
	for since := t.Step; t.Step < steps; {
		r, err := t.Next()
		if err != nil {
			return err
		}
		sum.Loss, sum.Bound = sum.Loss+r.Loss, sum.Bound+r.Bound
		if bar != nil {
			bar.Add(1)
		}
		if ctx.Err() != nil || t.Step%every == 0 || t.Step == steps {
			if err := save(); err != nil {
				return err
			}
			n := float64(t.Step - since)
			line := fmt.Sprintf("step %d: loss %.4f", t.Step, sum.Loss/n)
			if sum.Bound > 0 {
				line += fmt.Sprintf(", %.4f above the grammar's own", (sum.Loss-sum.Bound)/n)
			}
			if bar != nil {
				bar.Describe(line)
			} else {
				fmt.Fprintln(progress, line)
			}
			since, sum = t.Step, training.Result{}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: the same command goes on from step %d", t.Step)
		}
	}
	if bar != nil {
		bar.Finish()
	}
	return nil
}

// write replaces a file at once, so that an interruption leaves the old or the new.
func write(path string, data []byte) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, data, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
