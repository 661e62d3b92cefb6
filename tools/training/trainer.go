package training

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/squishspec/squishspec/internal/ordered"
	"github.com/squishspec/squishspec/spec/wire"
)

// A Recipe is all that decides the weights, with those it begins from.
type Recipe struct {
	Seed   uint64  // of step s, Seed + s: its examples
	Steps  int     // of optimisation
	Batch  int     // examples a step
	Peak   float64 // learning rate: linear from 0 to here, then half a cosine down to 0
	Warmup int     // steps
	Decay  float64 // of matrices, in units of the learning rate
	Beta1  float64 // of the mean gradient
	Beta2  float64 // of the mean square
	Clip   float64 // the largest norm of a gradient
}

// shards is into how many parts a batch is split. Each sums its own gradient, and the
// sums are added in order: the number of processors changes nothing.
const shards = 8

// A task is what is learnt, and computes one step's examples at a time.
type task interface {
	// draw makes the examples of a step.
	draw(r Recipe, step int) (batch, error)
	// gradient adds the gradient of an example's loss, computed with what a shard has,
	// and returns the loss. Transposed holds the matrices of parameters transposed.
	gradient(shard int, parameters, transposed, gradient []float32, example int) float64
	// file is what a model's parameters are stored as.
	file(parameters []float32) []byte
}

// A batch is how many examples a step has, how many terms their losses are sums of,
// and what the best model's would be, 0 where nobody knows.
type batch struct {
	examples, terms int
	bound           float64
}

// A Trainer is a training at some step.
type Trainer struct {
	Recipe Recipe
	Step   int
	task   task
	*layout

	weights, first, second []float32 // parameters, means of gradients and of their squares

	gradients  [shards][]float32
	losses     [shards]float64
	transposed []float32
	matrix     []bool // whether a parameter is of one, which decays
}

func newTrainer(k task, l *layout, weights []float32, r Recipe) *Trainer {
	t := &Trainer{Recipe: r, task: k, layout: l, weights: weights}
	t.first, t.second, t.transposed, t.matrix = make([]float32, l.size), make([]float32, l.size), make([]float32, l.size), make([]bool, l.size)
	for i := range shards {
		t.gradients[i] = make([]float32, l.size)
	}
	for _, m := range l.tensors {
		for i := range of(m, t.matrix) {
			of(m, t.matrix)[i] = m.rows > 1
		}
	}
	return t
}

// File is what the model is stored as, as it is now.
func (t *Trainer) File() []byte { return t.task.file(t.weights) }

// A Result is of one step: the mean loss of a term, a token or an image, and what the
// best model would have had, 0 where nobody knows.
type Result struct{ Loss, Bound float64 }

// Next takes a step.
func (t *Trainer) Next() (Result, error) {
	drawn, err := t.task.draw(t.Recipe, t.Step)
	if err != nil {
		return Result{}, fmt.Errorf("step %d: %w", t.Step, err)
	}
	for _, m := range t.tensors {
		ordered.Transpose(of(m, t.transposed), of(m, t.weights), m.rows, m.cols)
	}
	var taken atomic.Int64
	var rest sync.WaitGroup
	for range min(shards, runtime.GOMAXPROCS(0)) {
		rest.Go(func() {
			for i := int(taken.Add(1)) - 1; i < shards; i = int(taken.Add(1)) - 1 {
				clear(t.gradients[i])
				t.losses[i] = 0
				for example := i * drawn.examples / shards; example < (i+1)*drawn.examples/shards; example++ {
					t.losses[i] += t.task.gradient(i, t.weights, t.transposed, t.gradients[i], example)
				}
			}
		})
	}
	rest.Wait()
	loss := t.losses[0]
	for i := 1; i < shards; i++ {
		loss += t.losses[i]
		ordered.AddScaled(t.gradients[0], 1, t.gradients[i])
	}
	r := Result{loss / float64(drawn.terms), drawn.bound / float64(drawn.terms)}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return r, fmt.Errorf("step %d: the loss is %v", t.Step, loss)
	}
	t.update(t.gradients[0], 1/float64(drawn.terms))
	t.Step++
	return r, nil
}

// rate is the learning rate of the step to take.
func (t *Trainer) rate() float64 {
	r := t.Recipe
	if t.Step < r.Warmup {
		return r.Peak * float64(t.Step+1) / float64(r.Warmup)
	}
	return r.Peak / 2 * (1 + math.Cos(math.Pi*float64(t.Step-r.Warmup)/float64(max(1, r.Steps-r.Warmup))))
}

// update is AdamW's, of the scaled gradient.
func (t *Trainer) update(gradient []float32, scale float64) {
	r := t.Recipe
	squares := 0.0
	for _, g := range gradient {
		squares += float64(float64(g) * float64(g))
	}
	if norm := scale * math.Sqrt(squares); norm > r.Clip {
		scale *= r.Clip / norm
	}
	rate := t.rate()
	b1, b2, s := float32(r.Beta1), float32(r.Beta2), float32(scale)
	size := float32(rate / (1 - math.Pow(r.Beta1, float64(t.Step+1))))
	correct := float32(1 / (1 - math.Pow(r.Beta2, float64(t.Step+1))))
	shrink := float32(1 - rate*r.Decay)
	const epsilon = 1e-8
	for i, g := range gradient {
		g *= s
		t.first[i] = float32(b1*t.first[i]) + float32((1-b1)*g)
		t.second[i] = float32(b2*t.second[i]) + float32(float32((1-b2)*g)*g)
		if t.matrix[i] {
			t.weights[i] *= shrink
		}
		t.weights[i] -= float32(size * t.first[i] / float32(float32(math.Sqrt(float64(t.second[i]*correct)))+epsilon))
	}
}

// Checkpoint returns a frame from which Resume goes on as if nothing had happened.
func (t *Trainer) Checkpoint() ([]byte, error) {
	about, err := json.Marshal(t.Recipe)
	if err != nil {
		return nil, err
	}
	f := &wire.Frame{Metadata: map[string]string{"recipe": string(about), "step": strconv.Itoa(t.Step)}}
	for _, part := range t.parts() {
		f.Tensors = append(f.Tensors, wire.Tensor{Name: part.name, DType: wire.F32, Shape: []int{t.size}, Data: bytesOf(part.values)})
	}
	var out bytes.Buffer
	err = wire.Write(&out, f)
	return out.Bytes(), err
}

type part struct {
	name   string
	values []float32
}

func (t *Trainer) parts() []part {
	return []part{{"weights", t.weights}, {"first", t.first}, {"second", t.second}}
}

// Resume restores a checkpoint of the same recipe and the same layout. On an error
// nothing has changed.
func (t *Trainer) Resume(data []byte) error {
	f, err := wire.Read(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	about, err := json.Marshal(t.Recipe)
	if err != nil {
		return err
	}
	if got := f.Metadata["recipe"]; got != string(about) {
		return fmt.Errorf("checkpoint: recipe: want %s, got %s", about, got)
	}
	step, err := strconv.Atoi(f.Metadata["step"])
	if err != nil {
		return fmt.Errorf("checkpoint: step: %w", err)
	}
	stored := map[string]wire.Tensor{}
	for _, s := range f.Tensors {
		stored[s.Name] = s
	}
	for _, p := range t.parts() {
		if s := stored[p.name]; s.DType != wire.F32 || len(s.Data) != 4*t.size {
			return fmt.Errorf("checkpoint: %s: want %d elements of F32, got %d bytes of %q", p.name, t.size, len(s.Data), s.DType)
		}
	}
	for _, p := range t.parts() {
		copy(p.values, float32sOf(stored[p.name].Data))
	}
	t.Step = step
	return nil
}
