package main

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/squishspec/squishspec/llama"
)

// A tensor is where a parameter stands in the vector of all of them.
type tensor struct {
	at         int
	rows, cols int // one row: a norm
}

func (t tensor) size() int { return t.rows * t.cols }

func of[T any](t tensor, parameters []T) []T { return parameters[t.at:][:t.size()] }

// A layout orders the parameters of a model as llama2.c's file does, so that the
// vector of them is the file's body.
type layout struct {
	config    llama.Config
	embedding tensor
	layers    []layerLayout
	norm      tensor
	size      int
}

type layerLayout struct {
	attentionNorm, queries, keys, values, output, feedForwardNorm, gate, down, up tensor
}

func newLayout(c llama.Config) *layout {
	l := &layout{config: c, layers: make([]layerLayout, c.Layers)}
	next := func(rows, cols int) tensor {
		t := tensor{l.size, rows, cols}
		l.size += t.size()
		return t
	}
	kv := c.KVHeads * c.HeadDim
	l.embedding = next(c.Vocab, c.Dim)
	for _, part := range []struct {
		field      func(*layerLayout) *tensor
		rows, cols int
	}{
		{func(y *layerLayout) *tensor { return &y.attentionNorm }, 1, c.Dim},
		{func(y *layerLayout) *tensor { return &y.queries }, c.Dim, c.Dim},
		{func(y *layerLayout) *tensor { return &y.keys }, kv, c.Dim},
		{func(y *layerLayout) *tensor { return &y.values }, kv, c.Dim},
		{func(y *layerLayout) *tensor { return &y.output }, c.Dim, c.Dim},
		{func(y *layerLayout) *tensor { return &y.feedForwardNorm }, 1, c.Dim},
		{func(y *layerLayout) *tensor { return &y.gate }, c.Hidden, c.Dim},
		{func(y *layerLayout) *tensor { return &y.down }, c.Dim, c.Hidden},
		{func(y *layerLayout) *tensor { return &y.up }, c.Hidden, c.Dim},
	} {
		for i := range l.layers {
			*part.field(&l.layers[i]) = next(part.rows, part.cols)
		}
	}
	l.norm = next(1, c.Dim)
	return l
}

// tensors returns all of them, in order.
func (l *layout) tensors() []tensor {
	all := []tensor{l.embedding}
	for _, y := range l.layers {
		all = append(all, y.attentionNorm, y.queries, y.keys, y.values, y.output, y.feedForwardNorm, y.gate, y.down, y.up)
	}
	return append(all, l.norm)
}

// initial draws parameters: norms of 1, matrices that keep the size of what they are
// given, those that add to the residual stream smaller the more of them there are.
func (l *layout) initial(seed uint64) []float32 {
	p := make([]float32, l.size)
	r := rand.New(rand.NewPCG(seed, 0x77656967687473))
	draw := func(t tensor, deviation float64) {
		for i := range of(t, p) {
			of(t, p)[i] = float32(deviation * r.NormFloat64())
		}
	}
	ones := func(t tensor) {
		for i := range of(t, p) {
			of(t, p)[i] = 1
		}
	}
	in := func(t tensor) float64 { return 1 / math.Sqrt(float64(t.cols)) }
	less := 1 / math.Sqrt(float64(2*len(l.layers)))
	draw(l.embedding, 0.05)
	for _, y := range l.layers {
		ones(y.attentionNorm)
		ones(y.feedForwardNorm)
		for _, t := range []tensor{y.queries, y.keys, y.values, y.gate, y.up} {
			draw(t, in(t))
		}
		draw(y.output, less*in(y.output))
		draw(y.down, less*in(y.down))
	}
	ones(l.norm)
	return p
}

// file returns a file of llama2.c. Its tables for RoPE, which no reader of ours
// reads, are zeros.
func (l *layout) file(parameters []float32) []byte {
	c := l.config
	var out []byte
	for _, v := range []int{c.Dim, c.Hidden, c.Layers, c.Heads, c.KVHeads, c.Vocab, c.Context} {
		out = binary.LittleEndian.AppendUint32(out, uint32(v))
	}
	out = append(out, bytesOf(parameters)...)
	return append(out, make([]byte, 4*c.Context*c.HeadDim)...)
}

// parametersOf returns the parameters of a model whose head is its embedding.
func parametersOf(m *llama.Model) (*layout, []float32) {
	l := newLayout(m.Config)
	p := make([]float32, l.size)
	set := func(t tensor, from *llama.Matrix) { copy(of(t, p), from.Float32().Data) }
	set(l.embedding, &m.Embedding)
	for i, y := range l.layers {
		w := &m.Layers[i]
		set(y.attentionNorm, &w.AttentionNorm)
		set(y.queries, &w.Queries)
		set(y.keys, &w.Keys)
		set(y.values, &w.Values)
		set(y.output, &w.Output)
		set(y.feedForwardNorm, &w.FeedForwardNorm)
		set(y.gate, &w.Gate)
		set(y.down, &w.Down)
		set(y.up, &w.Up)
	}
	set(l.norm, &m.Norm)
	return l, p
}

func bytesOf(values []float32) []byte {
	out := make([]byte, 0, 4*len(values))
	for _, v := range values {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

func float32sOf(data []byte) []float32 {
	out := make([]float32, len(data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}
