package training

import (
	"math"

	"github.com/squishspec/squishspec/internal/ordered"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/vision"
)

// A visionNetwork computes the loss of a picture and its gradient, as package vision
// computes the model. It is for one goroutine.
type visionNetwork[F ordered.Float] struct {
	*visionLayout
	linear[F]
	positions []F
	layers    []visionState[F]
	final     normState[F]
	shares    []F // of tokens in their mean
	mean      []F
	logits    []F

	q, k, v, head, square, turned                 []F // of one head
	x, dx, dy, dq, dk, dv, dheads, dhidden, dmean []F
}

// A visionState is what the backward pass needs of a layer.
type visionState[F ordered.Float] struct {
	attention, feedForward normState[F]
	q, k, v, heads         []F
	weights                []F // of attention: heads, tokens, tokens
	hidden                 []F // behind the ReLU
}

func newVisionNetwork[F ordered.Float](l *visionLayout) *visionNetwork[F] {
	c := l.config
	n := &visionNetwork[F]{visionLayout: l, layers: make([]visionState[F], c.Layers)}
	for _, v := range c.Positions(c.Grid, c.Grid).Data {
		n.positions = append(n.positions, F(v))
	}
	return n
}

// forward returns the negative log-likelihood of a class.
func (n *visionNetwork[F]) forward(parameters, patches []F, class int) float64 {
	c := n.config
	count, dim := c.Grid*c.Grid, c.Dim/c.Heads
	n.x, n.dy = append(n.x[:0], n.positions...), spec.Resize(n.dy, count*c.Dim)
	x, y := n.x, n.dy
	ordered.Product(x, patches, of(n.embedding, parameters), count, c.Dim, c.Patch*c.Patch, true)
	scale := F(1 / math.Sqrt(float64(dim)))
	for i := range n.layers {
		s, l := &n.layers[i], &n.visionLayout.layers[i]
		s.attention.forward(x, of(l.attentionNorm, parameters), vision.Epsilon)
		for _, p := range []struct {
			dst *[]F
			t   tensor
		}{{&s.q, l.queries}, {&s.k, l.keys}, {&s.v, l.values}} {
			*p.dst = spec.Resize(*p.dst, count*c.Dim)
			ordered.Product(*p.dst, s.attention.out, of(p.t, parameters), count, c.Dim, c.Dim, false)
		}
		s.weights, s.heads = spec.Resize(s.weights, c.Heads*count*count), spec.Resize(s.heads, count*c.Dim)
		for h := range c.Heads {
			weights := n.take(s, h, count)
			ordered.Product(weights, n.q, n.k, count, count, dim, false)
			for t := range count {
				row := weights[t*count:][:count]
				for i := range row {
					row[i] *= scale
				}
				ordered.Softmax(row)
			}
			ordered.Transpose(n.turned, n.v, count, dim)
			ordered.Product(n.head, weights, n.turned[:count*dim], count, dim, count, false)
			ordered.SetColumns(s.heads, n.head, count, c.Dim, h*dim, dim)
		}
		ordered.Product(y, s.heads, of(l.output, parameters), count, c.Dim, c.Dim, false)
		ordered.AddScaled(x, 1, y)

		s.feedForward.forward(x, of(l.feedForwardNorm, parameters), vision.Epsilon)
		s.hidden = spec.Resize(s.hidden, count*c.Hidden)
		ordered.Product(s.hidden, s.feedForward.out, of(l.up, parameters), count, c.Hidden, c.Dim, false)
		for i, v := range s.hidden {
			s.hidden[i] = max(v, 0)
		}
		ordered.Product(y, s.hidden, of(l.down, parameters), count, c.Dim, c.Hidden, false)
		ordered.AddScaled(x, 1, y)
	}
	n.final.forward(x, of(n.norm, parameters), vision.Epsilon)
	n.shares, n.mean, n.logits = spec.Resize(n.shares, count), spec.Resize(n.mean, c.Dim), spec.Resize(n.logits, c.Classes)
	ordered.Product(n.shares, n.final.out, of(n.query, parameters), count, 1, c.Dim, false)
	ordered.Softmax(n.shares)
	clear(n.mean)
	for t, share := range n.shares {
		ordered.AddScaled(n.mean, share, n.final.out[t*c.Dim:][:c.Dim])
	}
	ordered.Product(n.logits, n.mean, of(n.classes, parameters), 1, c.Classes, c.Dim, false)
	ordered.Softmax(n.logits)
	return -math.Log(float64(n.logits[class]))
}

// take copies queries, keys and values of a head together, and returns its weights.
func (n *visionNetwork[F]) take(s *visionState[F], h, count int) []F {
	c := n.config
	dim := c.Dim / c.Heads
	n.q, n.k, n.v, n.head = spec.Resize(n.q, count*dim), spec.Resize(n.k, count*dim), spec.Resize(n.v, count*dim), spec.Resize(n.head, count*dim)
	n.square, n.turned = spec.Resize(n.square, count*count), spec.Resize(n.turned, count*max(count, dim))
	ordered.Columns(n.q, s.q, count, c.Dim, h*dim, dim)
	ordered.Columns(n.k, s.k, count, c.Dim, h*dim, dim)
	ordered.Columns(n.v, s.v, count, c.Dim, h*dim, dim)
	return s.weights[h*count*count:][:count*count]
}

// attendBackward computes the gradients of queries, keys and values.
func (n *visionNetwork[F]) attendBackward(s *visionState[F], count int) {
	c := n.config
	dim := c.Dim / c.Heads
	scale := F(1 / math.Sqrt(float64(dim)))
	n.dq, n.dk, n.dv = spec.Resize(n.dq, count*c.Dim), spec.Resize(n.dk, count*c.Dim), spec.Resize(n.dv, count*c.Dim)
	for h := range c.Heads {
		weights := n.take(s, h, count)
		// of computes a (count, count) times b (count, dim) into columns of dst.
		of := func(dst, a, b []F) {
			n.left = spec.Resize(n.left, count*dim)
			ordered.Transpose(n.left, b, count, dim)
			ordered.Product(n.right[:count*dim], a, n.left, count, dim, count, false)
			ordered.SetColumns(dst, n.right, count, c.Dim, h*dim, dim)
		}
		n.right = spec.Resize(n.right, count*dim)
		ordered.Columns(n.head, n.dheads, count, c.Dim, h*dim, dim)
		ordered.Transpose(n.turned, weights, count, count)
		of(n.dv, n.turned[:count*count], n.head)
		ordered.Product(n.square, n.head, n.v, count, count, dim, false)
		for t := range count {
			row, d := weights[t*count:][:count], n.square[t*count:][:count]
			mean := ordered.Dot(row, d)
			for j, w := range row {
				d[j] = F(F(w*(d[j]-mean)) * scale)
			}
		}
		of(n.dq, n.square, n.k)
		ordered.Transpose(n.turned, n.square, count, count)
		of(n.dk, n.turned[:count*count], n.q)
	}
}

// gradient adds the gradient of a picture's negative log-likelihood, and returns that.
func (n *visionNetwork[F]) gradient(parameters, transposed, gradient, patches []F, class int) float64 {
	loss := n.forward(parameters, patches, class)
	c := n.config
	count := c.Grid * c.Grid
	n.logits[class]--
	n.dheads = spec.Resize(n.dheads, count*c.Dim)
	n.dmean = spec.Resize(n.dmean, c.Dim)
	n.through(n.dmean, n.logits, n.mean, n.classes, transposed, gradient, 1, false)
	clear(n.dy)
	along := ordered.Dot(n.dmean, n.mean)
	for t, share := range n.shares {
		out, dout := n.final.out[t*c.Dim:][:c.Dim], n.dy[t*c.Dim:][:c.Dim]
		dscore := F(share * (ordered.Dot(n.dmean, out) - along))
		ordered.AddScaled(dout, share, n.dmean)
		ordered.AddScaled(dout, dscore, of(n.query, parameters))
		ordered.AddScaled(of(n.query, gradient), dscore, out)
	}
	n.dx = spec.Resize(n.dx, count*c.Dim)
	clear(n.dx)
	n.final.backward(n.dx, n.dy, of(n.norm, parameters), of(n.norm, gradient))
	for i := len(n.layers) - 1; i >= 0; i-- {
		s, l := &n.layers[i], &n.visionLayout.layers[i]
		n.dhidden = spec.Resize(n.dhidden, count*c.Hidden)
		n.through(n.dhidden, n.dx, s.hidden, l.down, transposed, gradient, count, false)
		for i, v := range s.hidden {
			if v == 0 {
				n.dhidden[i] = 0
			}
		}
		n.through(n.dy, n.dhidden, s.feedForward.out, l.up, transposed, gradient, count, false)
		s.feedForward.backward(n.dx, n.dy, of(l.feedForwardNorm, parameters), of(l.feedForwardNorm, gradient))

		n.through(n.dheads, n.dx, s.heads, l.output, transposed, gradient, count, false)
		n.attendBackward(s, count)
		n.through(n.dy, n.dq, s.attention.out, l.queries, transposed, gradient, count, false)
		n.through(n.dy, n.dk, s.attention.out, l.keys, transposed, gradient, count, true)
		n.through(n.dy, n.dv, s.attention.out, l.values, transposed, gradient, count, true)
		s.attention.backward(n.dx, n.dy, of(l.attentionNorm, parameters), of(l.attentionNorm, gradient))
	}
	n.left, n.right = spec.Resize(n.left, count*c.Dim), spec.Resize(n.right, count*c.Patch*c.Patch)
	ordered.Transpose(n.left, n.dx, count, c.Dim)
	ordered.Transpose(n.right, patches, count, c.Patch*c.Patch)
	ordered.Product(of(n.embedding, gradient), n.left, n.right, c.Dim, c.Patch*c.Patch, count, true)
	return loss
}

// A visionLayout orders the parameters of a model as its file does.
type visionLayout struct {
	layout
	config    vision.Config
	embedding tensor
	layers    []visionLayer
	norm      tensor
	query     tensor
	classes   tensor
}

type visionLayer struct {
	attentionNorm, queries, keys, values, output, feedForwardNorm, up, down tensor
}

func newVisionLayout(c vision.Config) *visionLayout {
	l := &visionLayout{config: c}
	l.embedding = l.next(c.Dim, c.Patch*c.Patch)
	for range c.Layers {
		l.layers = append(l.layers, visionLayer{
			attentionNorm: l.next(1, c.Dim), queries: l.next(c.Dim, c.Dim), keys: l.next(c.Dim, c.Dim), values: l.next(c.Dim, c.Dim), output: l.next(c.Dim, c.Dim),
			feedForwardNorm: l.next(1, c.Dim), up: l.next(c.Hidden, c.Dim), down: l.next(c.Dim, c.Hidden),
		})
	}
	l.norm, l.query, l.classes = l.next(1, c.Dim), l.next(1, c.Dim), l.next(c.Classes, c.Dim)
	return l
}

// initial draws parameters: norms of 1, and a query of 0, to which all tokens are alike.
func (l *visionLayout) initial(seed uint64) []float32 {
	s := l.begin(seed)
	s.keeping(l.embedding)
	for _, y := range l.layers {
		s.ones(y.attentionNorm, y.feedForwardNorm)
		s.keeping(y.queries, y.keys, y.values, y.up)
		s.joining(len(l.layers), y.output, y.down)
	}
	s.ones(l.norm)
	s.draw(l.classes, 0.02)
	return s.parameters
}
