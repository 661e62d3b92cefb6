package vision

import (
	"image"
	"math"

	"github.com/squishspec/squishspec/internal/ordered"
	"github.com/squishspec/squishspec/spec"
)

// A Session runs a model layer by layer. It keeps memory between calls, and is for one
// goroutine.
type Session struct {
	model *Model
	// Attention is that of the layer that ran last: (heads, tokens, tokens), query by
	// key, rows that sum to 1. The next layer overwrites it.
	Attention spec.Heads

	positions    spec.Matrix
	across, down int // of positions

	patches                                         spec.Matrix
	normed, q, k, v, heads, joined                  []float32
	query, key, value, mean, hidden, shares, logits []float32
}

// Session returns a new session.
func (m *Model) Session() *Session { return &Session{model: m} }

// Embed writes the tokens of a picture, (patches, dim): what the first layer gets.
func (s *Session) Embed(dst *spec.Matrix, picture *image.Gray) error {
	c := s.model.Config
	if err := Patches(&s.patches, picture, c.Patch); err != nil {
		return err
	}
	across, down := picture.Rect.Dx()/c.Patch, picture.Rect.Dy()/c.Patch
	if across != s.across || down != s.down {
		s.positions, s.across, s.down = c.Positions(across, down), across, down
	}
	dst.Resize(s.patches.Rows, c.Dim)
	copy(dst.Data, s.positions.Data)
	ordered.Product(dst.Data, s.patches.Data, s.model.Embedding, dst.Rows, c.Dim, s.patches.Cols, true)
	return nil
}

// Layer runs a layer on tokens (tokens, dim), in place. There may be any number of them,
// even none.
func (s *Session) Layer(x *spec.Matrix, layer int) {
	c, l, n := s.model.Config, &s.model.Layers[layer], x.Rows
	dim := c.Dim / c.Heads
	size := n * c.Dim
	s.q, s.k, s.v, s.heads, s.joined = spec.Resize(s.q, size), spec.Resize(s.k, size), spec.Resize(s.v, size), spec.Resize(s.heads, size), spec.Resize(s.joined, size)
	s.norm(x, l.AttentionNorm)
	ordered.Product(s.q, s.normed, l.Queries, n, c.Dim, c.Dim, false)
	ordered.Product(s.k, s.normed, l.Keys, n, c.Dim, c.Dim, false)
	ordered.Product(s.v, s.normed, l.Values, n, c.Dim, c.Dim, false)
	s.Attention.Resize(c.Heads, n, n)
	s.query, s.key, s.value, s.mean = spec.Resize(s.query, n*dim), spec.Resize(s.key, n*dim), spec.Resize(s.value, n*dim), spec.Resize(s.mean, n*dim)
	scale := float32(1 / math.Sqrt(float64(dim)))
	for h := range c.Heads {
		weights := s.Attention.Head(h)
		ordered.Columns(s.query, s.q, n, c.Dim, h*dim, dim)
		ordered.Columns(s.key, s.k, n, c.Dim, h*dim, dim)
		ordered.Columns(s.mean, s.v, n, c.Dim, h*dim, dim)
		ordered.Transpose(s.value, s.mean, n, dim)
		ordered.Product(weights.Data, s.query, s.key, n, n, dim, false)
		for t := range n {
			row := weights.Row(t)
			for i := range row {
				row[i] *= scale
			}
			ordered.Softmax(row)
		}
		ordered.Product(s.mean, weights.Data, s.value, n, dim, n, false)
		ordered.SetColumns(s.heads, s.mean, n, c.Dim, h*dim, dim)
	}
	ordered.Product(s.joined, s.heads, l.Output, n, c.Dim, c.Dim, false)
	ordered.AddScaled(x.Data, 1, s.joined)

	s.norm(x, l.FeedForwardNorm)
	s.hidden = spec.Resize(s.hidden, n*c.Hidden)
	ordered.Product(s.hidden, s.normed, l.Up, n, c.Hidden, c.Dim, false)
	for i, v := range s.hidden {
		s.hidden[i] = max(v, 0)
	}
	ordered.Product(s.joined, s.hidden, l.Down, n, c.Dim, c.Hidden, false)
	ordered.AddScaled(x.Data, 1, s.joined)
}

// Logits are of the classes, from tokens behind the last layer: a learnt query says
// which share each has in their mean. All are 0 where there are no tokens. The next call
// overwrites them.
func (s *Session) Logits(x spec.Matrix) []float32 {
	c := s.model.Config
	s.norm(&x, s.model.Norm)
	s.shares, s.mean, s.logits = spec.Resize(s.shares, x.Rows), spec.Resize(s.mean, c.Dim), spec.Resize(s.logits, c.Classes)
	clear(s.mean)
	if x.Rows > 0 {
		ordered.Product(s.shares, s.normed, s.model.Query, x.Rows, 1, c.Dim, false)
		ordered.Softmax(s.shares)
	}
	for t, share := range s.shares {
		ordered.AddScaled(s.mean, share, s.normed[t*c.Dim:][:c.Dim])
	}
	ordered.Product(s.logits, s.mean, s.model.Head, 1, c.Classes, c.Dim, false)
	return s.logits
}

func (s *Session) norm(x *spec.Matrix, weights []float32) {
	s.normed = spec.Resize(s.normed, len(x.Data))
	for t := range x.Rows {
		ordered.Norm(s.normed[t*x.Cols:][:x.Cols], x.Row(t), weights, Epsilon)
	}
}

// Epsilon is what RMSNorm adds to a mean square.
const Epsilon = 1e-5
