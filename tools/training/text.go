package training

import (
	"math"

	"github.com/squishspec/squishspec/internal/ordered"
	"github.com/squishspec/squishspec/spec"
)

// A textNetwork computes the loss of texts and its gradient, as package llama computes
// the model: RMSNorm, rotations of neighbours, grouped heads, SwiGLU, tied head.
// It is for one goroutine.
type textNetwork[F ordered.Float] struct {
	*textLayout
	linear[F]
	layers []textState[F]
	final  normState[F]
	turns  []turn[F] // by position, then pair
	logits []F

	// Of the backward pass: gradients of the residual stream, of a sum that joins it,
	// and of what a layer computed.
	dx, dy, dq, dk, dv, dheads, dgate, dup, dweights []F
}

type turn[F ordered.Float] struct{ cos, sin F }

// A textState is what the backward pass needs of a layer.
type textState[F ordered.Float] struct {
	attention, feedForward normState[F]
	q, k, v                []F // rotated
	weights                []F // of attention: heads, tokens, tokens; 0 above the diagonal
	heads                  []F
	gate, up, hidden       []F
}

func newTextNetwork[F ordered.Float](l *textLayout) *textNetwork[F] {
	c := l.config
	n := &textNetwork[F]{textLayout: l, layers: make([]textState[F], c.Layers)}
	for position := range c.Context {
		for i := range c.HeadDim / 2 {
			sin, cos := math.Sincos(float64(position) * math.Pow(c.RoPEBase, -2*float64(i)/float64(c.HeadDim)))
			n.turns = append(n.turns, turn[F]{F(cos), F(sin)})
		}
	}
	return n
}

// rotate turns the heads of rows of tokens from position 0 on, by the angles or, the
// other way, by their opposites.
func (n *textNetwork[F]) rotate(x []F, width, direction int) {
	half := n.config.HeadDim / 2
	for t := 0; t*width < len(x); t++ {
		for at := t * width; at < (t+1)*width; at += 2 * half {
			for i, r := range n.turns[t*half:][:half] {
				a, b, sin := x[at+2*i], x[at+2*i+1], r.sin*F(direction)
				x[at+2*i], x[at+2*i+1] = F(a*r.cos)-F(b*sin), F(a*sin)+F(b*r.cos)
			}
		}
	}
}

// gradient adds the gradient of the sum of a text's negative log-likelihoods, of
// every token after the first, and returns the sum. Transposed holds the matrices of
// parameters transposed.
func (n *textNetwork[F]) gradient(parameters, transposed, gradient []F, tokens []int) float64 {
	loss := n.forward(parameters, tokens)
	n.backward(parameters, transposed, gradient, tokens)
	return loss
}

func (n *textNetwork[F]) forward(parameters []F, tokens []int) float64 {
	c, count := n.config, len(tokens)-1
	kv := c.KVHeads * c.HeadDim
	x, y := spec.Resize(n.dx, count*c.Dim), spec.Resize(n.dy, count*c.Dim)
	n.dx, n.dy = x, y
	for i, t := range tokens[:count] {
		copy(x[i*c.Dim:], of(n.embedding, parameters)[t*c.Dim:][:c.Dim])
	}
	for i := range n.layers {
		s, l := &n.layers[i], &n.textLayout.layers[i]
		s.q, s.k, s.v = spec.Resize(s.q, count*c.Dim), spec.Resize(s.k, count*kv), spec.Resize(s.v, count*kv)
		s.attention.forward(x, of(l.attentionNorm, parameters), c.Epsilon)
		ordered.Product(s.q, s.attention.out, of(l.queries, parameters), count, c.Dim, c.Dim, false)
		ordered.Product(s.k, s.attention.out, of(l.keys, parameters), count, kv, c.Dim, false)
		ordered.Product(s.v, s.attention.out, of(l.values, parameters), count, kv, c.Dim, false)
		n.rotate(s.q, c.Dim, 1)
		n.rotate(s.k, kv, 1)
		n.attend(s, count)
		ordered.Product(y, s.heads, of(l.output, parameters), count, c.Dim, c.Dim, false)
		ordered.AddScaled(x, 1, y)

		s.feedForward.forward(x, of(l.feedForwardNorm, parameters), c.Epsilon)
		s.gate, s.up, s.hidden = spec.Resize(s.gate, count*c.Hidden), spec.Resize(s.up, count*c.Hidden), spec.Resize(s.hidden, count*c.Hidden)
		ordered.Product(s.gate, s.feedForward.out, of(l.gate, parameters), count, c.Hidden, c.Dim, false)
		ordered.Product(s.up, s.feedForward.out, of(l.up, parameters), count, c.Hidden, c.Dim, false)
		for i, g := range s.gate {
			s.hidden[i] = F(g*sigmoid(g)) * s.up[i]
		}
		ordered.Product(y, s.hidden, of(l.down, parameters), count, c.Dim, c.Hidden, false)
		ordered.AddScaled(x, 1, y)
	}
	n.final.forward(x, of(n.norm, parameters), c.Epsilon)
	n.logits = spec.Resize(n.logits, count*c.Vocab)
	ordered.Product(n.logits, n.final.out, of(n.embedding, parameters), count, c.Vocab, c.Dim, false)
	loss := 0.0
	for i, t := range tokens[1:] {
		shares := n.logits[i*c.Vocab:][:c.Vocab]
		ordered.Softmax(shares)
		loss -= math.Log(float64(shares[t]))
	}
	return loss
}

func sigmoid[F ordered.Float](x F) F { return 1 / F(1+math.Exp(-float64(x))) }

// attend computes causal attention of all heads.
func (n *textNetwork[F]) attend(s *textState[F], count int) {
	c := n.config
	kv, d := c.KVHeads*c.HeadDim, c.HeadDim
	scale := F(1 / math.Sqrt(float64(d)))
	s.weights, s.heads = spec.Resize(s.weights, c.Heads*count*count), spec.Resize(s.heads, count*c.Dim)
	clear(s.heads)
	for h := range c.Heads {
		at := h / (c.Heads / c.KVHeads) * d
		for t := range count {
			query, weights := s.q[t*c.Dim+h*d:][:d], s.weights[(h*count+t)*count:][:t+1]
			for j := range weights {
				weights[j] = F(ordered.Dot(query, s.k[j*kv+at:][:d]) * scale)
			}
			ordered.Softmax(weights)
			out := s.heads[t*c.Dim+h*d:][:d]
			for j, w := range weights {
				ordered.AddScaled(out, w, s.v[j*kv+at:][:d])
			}
		}
	}
}

// attendBackward computes the gradients of rotated queries and keys, and of values.
func (n *textNetwork[F]) attendBackward(s *textState[F], count int) {
	c := n.config
	kv, d := c.KVHeads*c.HeadDim, c.HeadDim
	scale := F(1 / math.Sqrt(float64(d)))
	n.dq, n.dk, n.dv = spec.Resize(n.dq, count*c.Dim), spec.Resize(n.dk, count*kv), spec.Resize(n.dv, count*kv)
	n.dweights = spec.Resize(n.dweights, count)
	clear(n.dq)
	clear(n.dk)
	clear(n.dv)
	for h := range c.Heads {
		at := h / (c.Heads / c.KVHeads) * d
		for t := range count {
			weights, dweights := s.weights[(h*count+t)*count:][:t+1], n.dweights[:t+1]
			dout, query, dquery := n.dheads[t*c.Dim+h*d:][:d], s.q[t*c.Dim+h*d:][:d], n.dq[t*c.Dim+h*d:][:d]
			var mean F
			for j, w := range weights {
				ordered.AddScaled(n.dv[j*kv+at:][:d], w, dout)
				dweights[j] = ordered.Dot(dout, s.v[j*kv+at:][:d])
				mean += F(w * dweights[j])
			}
			for j, w := range weights {
				g := F(F(w*(dweights[j]-mean)) * scale)
				ordered.AddScaled(dquery, g, s.k[j*kv+at:][:d])
				ordered.AddScaled(n.dk[j*kv+at:][:d], g, query)
			}
		}
	}
}

func (n *textNetwork[F]) backward(parameters, transposed, gradient []F, tokens []int) {
	c, count := n.config, len(tokens)-1
	for i, t := range tokens[1:] {
		n.logits[i*c.Vocab+t]--
	}
	n.dx, n.dy = spec.Resize(n.dx, count*c.Dim), spec.Resize(n.dy, count*c.Dim)
	clear(n.dx)
	n.through(n.dy, n.logits, n.final.out, n.embedding, transposed, gradient, count, false)
	n.final.backward(n.dx, n.dy, of(n.norm, parameters), of(n.norm, gradient))
	for i := len(n.layers) - 1; i >= 0; i-- {
		s, l := &n.layers[i], &n.textLayout.layers[i]
		n.dgate, n.dup = spec.Resize(n.dgate, count*c.Hidden), spec.Resize(n.dup, count*c.Hidden)
		n.through(n.dgate, n.dx, s.hidden, l.down, transposed, gradient, count, false)
		for i, d := range n.dgate {
			g := s.gate[i]
			share := sigmoid(g)
			n.dup[i] = F(d * F(g*share))
			n.dgate[i] = F(F(d*s.up[i]) * F(share*(1+F(g*(1-share)))))
		}
		n.through(n.dy, n.dgate, s.feedForward.out, l.gate, transposed, gradient, count, false)
		n.through(n.dy, n.dup, s.feedForward.out, l.up, transposed, gradient, count, true)
		s.feedForward.backward(n.dx, n.dy, of(l.feedForwardNorm, parameters), of(l.feedForwardNorm, gradient))

		n.dheads = spec.Resize(n.dheads, count*c.Dim)
		n.through(n.dheads, n.dx, s.heads, l.output, transposed, gradient, count, false)
		n.attendBackward(s, count)
		n.rotate(n.dq, c.Dim, -1)
		n.rotate(n.dk, c.KVHeads*c.HeadDim, -1)
		n.through(n.dy, n.dq, s.attention.out, l.queries, transposed, gradient, count, false)
		n.through(n.dy, n.dk, s.attention.out, l.keys, transposed, gradient, count, true)
		n.through(n.dy, n.dv, s.attention.out, l.values, transposed, gradient, count, true)
		s.attention.backward(n.dx, n.dy, of(l.attentionNorm, parameters), of(l.attentionNorm, gradient))
	}
	for i, t := range tokens[:count] {
		ordered.AddScaled(of(n.embedding, gradient)[t*c.Dim:][:c.Dim], 1, n.dx[i*c.Dim:][:c.Dim])
	}
}
