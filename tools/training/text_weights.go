package training

import (
	"encoding/binary"

	"github.com/squishspec/squishspec/llama"
)

// A textLayout orders the parameters of a model as llama2.c's file does, so that the
// vector of them is the file's body.
type textLayout struct {
	layout
	config    llama.Config
	embedding tensor
	layers    []textLayer
	norm      tensor
}

type textLayer struct {
	attentionNorm, queries, keys, values, output, feedForwardNorm, gate, down, up tensor
}

func newTextLayout(c llama.Config) *textLayout {
	l := &textLayout{config: c, layers: make([]textLayer, c.Layers)}
	kv := c.KVHeads * c.HeadDim
	l.embedding = l.next(c.Vocab, c.Dim)
	for _, part := range []struct {
		field      func(*textLayer) *tensor
		rows, cols int
	}{
		{func(y *textLayer) *tensor { return &y.attentionNorm }, 1, c.Dim},
		{func(y *textLayer) *tensor { return &y.queries }, c.Dim, c.Dim},
		{func(y *textLayer) *tensor { return &y.keys }, kv, c.Dim},
		{func(y *textLayer) *tensor { return &y.values }, kv, c.Dim},
		{func(y *textLayer) *tensor { return &y.output }, c.Dim, c.Dim},
		{func(y *textLayer) *tensor { return &y.feedForwardNorm }, 1, c.Dim},
		{func(y *textLayer) *tensor { return &y.gate }, c.Hidden, c.Dim},
		{func(y *textLayer) *tensor { return &y.down }, c.Dim, c.Hidden},
		{func(y *textLayer) *tensor { return &y.up }, c.Hidden, c.Dim},
	} {
		for i := range l.layers {
			*part.field(&l.layers[i]) = l.next(part.rows, part.cols)
		}
	}
	l.norm = l.next(1, c.Dim)
	return l
}

// initial draws parameters: norms of 1, a small embedding, which is the head too.
func (l *textLayout) initial(seed uint64) []float32 {
	s := l.begin(seed)
	s.draw(l.embedding, 0.05)
	for _, y := range l.layers {
		s.ones(y.attentionNorm, y.feedForwardNorm)
		s.keeping(y.queries, y.keys, y.values, y.gate, y.up)
		s.joining(len(l.layers), y.output, y.down)
	}
	s.ones(l.norm)
	return s.parameters
}

// file returns a file of llama2.c. Its tables for RoPE, which no reader of ours
// reads, are zeros.
func (l *textLayout) file(parameters []float32) []byte {
	c := l.config
	var out []byte
	for _, v := range []int{c.Dim, c.Hidden, c.Layers, c.Heads, c.KVHeads, c.Vocab, c.Context} {
		out = binary.LittleEndian.AppendUint32(out, uint32(v))
	}
	out = append(out, bytesOf(parameters)...)
	return append(out, make([]byte, 4*c.Context*c.HeadDim)...)
}

// parametersOf returns the parameters of a model whose head is its embedding.
func parametersOf(m *llama.Model) (*textLayout, []float32) {
	l := newTextLayout(m.Config)
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
