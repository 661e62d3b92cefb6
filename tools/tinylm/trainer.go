package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/llama/tiny"
	"github.com/squishspec/squishspec/spec/wire"
)

// A recipe is all that decides the weights, with those it begins from.
type recipe struct {
	Seed   uint64  // of step s, Seed + s: its text
	Steps  int     // of optimisation
	Batch  int     // paragraphs a step
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

// endOfText is the token behind a text: llama2.c's BOS, which begins the next one.
const endOfText = 1

// A trainer is a training at some step.
type trainer struct {
	*layout
	recipe     recipe
	grammar    *tiny.Grammar
	vocabulary *llama.Vocabulary

	step                   int
	weights, first, second []float32 // parameters, means of gradients and of their squares

	networks   [shards]*network[float32]
	gradients  [shards][]float32
	losses     [shards]float64
	transposed []float32
	matrix     []bool // whether a parameter is of one, which decays
}

func newTrainer(l *layout, weights []float32, r recipe, g *tiny.Grammar, v *llama.Vocabulary) *trainer {
	t := &trainer{layout: l, recipe: r, grammar: g, vocabulary: v, weights: weights}
	t.first, t.second, t.transposed, t.matrix = make([]float32, l.size), make([]float32, l.size), make([]float32, l.size), make([]bool, l.size)
	for i := range shards {
		t.networks[i], t.gradients[i] = newNetwork[float32](l), make([]float32, l.size)
	}
	for _, m := range l.tensors() {
		for i := range of(m, t.matrix) {
			of(m, t.matrix)[i] = m.rows > 1
		}
	}
	return t
}

// A result is of one step: the mean negative log-likelihood of a token, and what the
// grammar itself would have had.
type result struct{ loss, bound float64 }

// next takes a step.
func (t *trainer) next() (result, error) {
	paragraphs := t.grammar.Paragraphs(t.recipe.Seed+uint64(t.step), t.recipe.Batch)
	texts, count, logProb := make([][]int, len(paragraphs)), 0, 0.0
	for i, p := range paragraphs {
		texts[i] = append(t.vocabulary.Encode(p), endOfText)
		count += len(texts[i]) - 1
		if len(texts[i]) > t.config.Context+1 {
			return result{}, fmt.Errorf("step %d: a paragraph has %d tokens, more than the context", t.step, len(texts[i]))
		}
		l, err := t.grammar.LogProb(p)
		if err != nil {
			return result{}, err
		}
		logProb += l
	}
	for _, m := range t.tensors() {
		transpose(of(m, t.transposed), of(m, t.weights), m.rows, m.cols)
	}
	var taken atomic.Int64
	var rest sync.WaitGroup
	for range min(shards, runtime.GOMAXPROCS(0)) {
		rest.Go(func() {
			for i := int(taken.Add(1)) - 1; i < shards; i = int(taken.Add(1)) - 1 {
				clear(t.gradients[i])
				t.losses[i] = 0
				for _, text := range texts[i*len(texts)/shards : (i+1)*len(texts)/shards] {
					t.losses[i] += t.networks[i].gradient(t.weights, t.transposed, t.gradients[i], text)
				}
			}
		})
	}
	rest.Wait()
	loss := t.losses[0]
	for i := 1; i < shards; i++ {
		loss += t.losses[i]
		addScaled(t.gradients[0], 1, t.gradients[i])
	}
	r := result{loss / float64(count), -logProb / float64(count)}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return r, fmt.Errorf("step %d: the loss is %v", t.step, loss)
	}
	t.update(t.gradients[0], 1/float64(count))
	t.step++
	return r, nil
}

// rate is the learning rate of the step to take.
func (t *trainer) rate() float64 {
	r := t.recipe
	if t.step < r.Warmup {
		return r.Peak * float64(t.step+1) / float64(r.Warmup)
	}
	return r.Peak / 2 * (1 + math.Cos(math.Pi*float64(t.step-r.Warmup)/float64(max(1, r.Steps-r.Warmup))))
}

// update is AdamW's, of the scaled gradient.
func (t *trainer) update(gradient []float32, scale float64) {
	r := t.recipe
	squares := 0.0
	for _, g := range gradient {
		squares += float64(float64(g) * float64(g))
	}
	if norm := scale * math.Sqrt(squares); norm > r.Clip {
		scale *= r.Clip / norm
	}
	rate := t.rate()
	b1, b2, s := float32(r.Beta1), float32(r.Beta2), float32(scale)
	size := float32(rate / (1 - math.Pow(r.Beta1, float64(t.step+1))))
	correct := float32(1 / (1 - math.Pow(r.Beta2, float64(t.step+1))))
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

// checkpoint returns a frame from which resume goes on as if nothing had happened.
func (t *trainer) checkpoint() ([]byte, error) {
	about, err := json.Marshal(t.recipe)
	if err != nil {
		return nil, err
	}
	f := &wire.Frame{Metadata: map[string]string{"recipe": string(about), "step": strconv.Itoa(t.step)}}
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

func (t *trainer) parts() []part {
	return []part{{"weights", t.weights}, {"first", t.first}, {"second", t.second}}
}

// resume restores a checkpoint of the same recipe and the same layout. On an error
// nothing has changed.
func (t *trainer) resume(data []byte) error {
	f, err := wire.Read(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	about, err := json.Marshal(t.recipe)
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
	t.step = step
	return nil
}
