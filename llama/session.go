package llama

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/fast/elementary"
	"github.com/squishspec/squishspec/internal/ordered"
	"github.com/squishspec/squishspec/spec"
)

// A Session is a text that grows: the tokens so far, their keys and values. It is
// for one goroutine.
type Session[F Float] struct {
	Hooks[F]
	model  *Model
	layers []sessionLayer[F]
	norm   []F
	final  []F // normed state of each token, which the head reads
	length int

	// Scratch of a block of tokens.
	x, normed, q, heads, gate, up, projected []F
	scores, exps, row                        []F
	turns                                    []turn[F]
	vectors                                  vectors // float32's, of package fast
}

type sessionLayer[F Float] struct {
	attentionNorm, feedForwardNorm []F
	queryBias, keyBias, valueBias  []F // nil where there is none
	keys, values                   []F // token by token, KVHeads·HeadDim each
}

// A turn is a rotation by an angle.
type turn[F Float] struct{ cos, sin F }

// block is how many tokens are computed together, which bounds the scratch.
const block = 64

// NewSession returns an empty session.
func NewSession[F Float](m *Model) (*Session[F], error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	s := &Session[F]{model: m, norm: vector[F](&m.Norm), layers: make([]sessionLayer[F], len(m.Layers))}
	for i := range m.Layers {
		l := &m.Layers[i]
		s.layers[i] = sessionLayer[F]{attentionNorm: vector[F](&l.AttentionNorm), feedForwardNorm: vector[F](&l.FeedForwardNorm)}
		if m.Config.Bias {
			s.layers[i].queryBias, s.layers[i].keyBias, s.layers[i].valueBias =
				vector[F](&l.QueryBias), vector[F](&l.KeyBias), vector[F](&l.ValueBias)
		}
	}
	return s, nil
}

// vector returns a matrix of one row in F.
func vector[F Float](m *Matrix) []F {
	return append([]F(nil), row(m, 0, make([]F, m.Cols))...)
}

// Len returns the number of tokens.
func (s *Session[F]) Len() int { return s.length }

// Truncate forgets all but the first n tokens.
func (s *Session[F]) Truncate(n int) error {
	if n < 0 || n > s.length {
		return spec.Reject(spec.Range, "llama", "truncate", fmt.Sprintf("0 to %d tokens", s.length), n)
	}
	s.forget(n)
	return nil
}

// forget keeps the first n tokens alone, of which there are as many at least.
func (s *Session[F]) forget(n int) {
	c := s.model.Config
	s.length = n
	s.final = s.final[:n*c.Dim]
	for i := range s.layers {
		l := &s.layers[i]
		l.keys, l.values = l.keys[:n*c.KVHeads*c.HeadDim], l.values[:n*c.KVHeads*c.HeadDim]
	}
}

// Extend appends tokens. On an error nothing has changed.
func (s *Session[F]) Extend(tokens ...int) error {
	c := s.model.Config
	if len(tokens) > c.Context-s.length {
		return spec.Reject(spec.Capacity, "llama", "tokens", fmt.Sprintf("at most the context's %d", c.Context), s.length+len(tokens))
	}
	for i, t := range tokens {
		if t < 0 || t >= c.Vocab {
			return spec.Reject(spec.Range, "llama", fmt.Sprintf("tokens[%d]", i), fmt.Sprintf("0 to %d", c.Vocab-1), t)
		}
	}
	before := s.length
	for len(tokens) > 0 {
		n := min(block, len(tokens))
		if err := s.forward(tokens[:n]); err != nil {
			s.forget(before)
			return err
		}
		tokens = tokens[n:]
	}
	return nil
}

// forward appends a block of tokens. An error is a hook's: keys and values may then
// have been appended.
func (s *Session[F]) forward(tokens []int) error {
	m, c, n := s.model, s.model.Config, len(tokens)
	qDim, kvDim := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	s.x, s.normed, s.projected = spec.Resize(s.x, n*c.Dim), spec.Resize(s.normed, n*c.Dim), spec.Resize(s.projected, n*c.Dim)
	s.q, s.heads = spec.Resize(s.q, n*qDim), spec.Resize(s.heads, n*qDim)
	s.gate, s.up = spec.Resize(s.gate, n*c.Hidden), spec.Resize(s.up, n*c.Hidden)
	s.row = spec.Resize(s.row, max(c.Dim, qDim, c.Hidden))
	s.turn(n)

	for i, t := range tokens {
		copy(s.x[i*c.Dim:], row(&m.Embedding, t, s.row[:c.Dim]))
	}
	for i := range m.Layers {
		w, l := &m.Layers[i], &s.layers[i]
		rmsNorm(s.normed, s.x, l.attentionNorm, c.Epsilon)
		past := len(l.keys)
		l.keys, l.values = grow(l.keys, n*kvDim), grow(l.values, n*kvDim)
		k, v := l.keys[past:], l.values[past:]
		s.tap(i, AttentionInput, s.normed)
		s.product(s.q, s.normed, n, &w.Queries)
		s.product(k, s.normed, n, &w.Keys)
		s.product(v, s.normed, n, &w.Values)
		addBias(s.q, l.queryBias)
		addBias(k, l.keyBias)
		addBias(v, l.valueBias)
		s.rotate(s.q, c.Heads)
		s.rotate(k, c.KVHeads)
		for t := range n {
			out, q, seen := s.heads[t*qDim:][:qDim], s.q[t*qDim:][:qDim], s.length+t+1
			if s.Attend == nil {
				s.attend(out, q, l, seen)
			} else if err := s.Attend(i, out, q, l.keys[:seen*kvDim], l.values[:seen*kvDim]); err != nil {
				return fmt.Errorf("llama: attention of layer %d: %w", i, err)
			}
		}
		s.tap(i, HeadsOutput, s.heads)
		s.product(s.projected, s.heads, n, &w.Output)
		add(s.x, s.projected)

		rmsNorm(s.normed, s.x, l.feedForwardNorm, c.Epsilon)
		s.tap(i, FeedForwardInput, s.normed)
		s.product(s.gate, s.normed, n, &w.Gate)
		s.product(s.up, s.normed, n, &w.Up)
		s.activate()
		s.tap(i, HiddenOutput, s.gate)
		s.product(s.projected, s.gate, n, &w.Down)
		add(s.x, s.projected)
	}
	s.final = grow(s.final, n*c.Dim)
	rmsNorm(s.final[s.length*c.Dim:], s.x, s.norm, c.Epsilon)
	s.length += n
	return nil
}

// grow returns s with n more elements, which are unspecified.
func grow[F Float](s []F, n int) []F {
	length := len(s) + n
	if length > cap(s) {
		s = append(make([]F, 0, max(length, 2*cap(s))), s...)
	}
	return s[:length]
}

// rmsNorm scales each row of x to a root mean square of 1, then by the weights.
func rmsNorm[F Float](dst, x, weights []F, epsilon float64) {
	dim := len(weights)
	for ; len(x) > 0; dst, x = dst[dim:], x[dim:] {
		sum := 0.0
		for _, v := range x[:dim] {
			sum += float64(float64(v) * float64(v))
		}
		scale := F(1 / math.Sqrt(sum/float64(dim)+epsilon))
		for i, w := range weights {
			dst[i] = F(x[i]*scale) * w
		}
	}
}

func addBias[F Float](x, bias []F) {
	if bias == nil {
		return
	}
	for ; len(x) > 0; x = x[len(bias):] {
		add(x, bias)
	}
}

// activate writes silu(gate)·up over the gates, silu(x) being x/(1 + e⁻ˣ). For x far
// below 0 the exponential overflows to +Inf and the result is −0, as it should.
func (s *Session[F]) activate() {
	s.exps = spec.Resize(s.exps, len(s.gate))
	for i, x := range s.gate {
		s.exps[i] = -x
	}
	exp(s.exps)
	for i, x := range s.gate {
		s.gate[i] = F(x/(1+s.exps[i])) * s.up[i]
	}
}

// exp turns x into eˣ.
func exp[F Float](x []F) {
	if narrow, ok := any(x).([]float32); ok {
		elementary.Exp(&narrow, narrow)
		return
	}
	for i, v := range x {
		x[i] = F(math.Exp(float64(v)))
	}
}

// turn computes the rotations of the next n tokens: element i of a head turns by
// position·base^(−2i/HeadDim). Angles are float64 in both precisions.
func (s *Session[F]) turn(n int) {
	c := s.model.Config
	half := c.HeadDim / 2
	s.turns = spec.Resize(s.turns, n*half)
	for i := range half {
		frequency := math.Pow(c.RoPEBase, -2*float64(i)/float64(c.HeadDim))
		for t := range n {
			sin, cos := math.Sincos(float64(s.length+t) * frequency)
			s.turns[t*half+i] = turn[F]{F(cos), F(sin)}
		}
	}
}

// rotate applies the block's rotations to so many heads a token.
func (s *Session[F]) rotate(x []F, heads int) {
	c := s.model.Config
	half := c.HeadDim / 2
	next, step := 1, 2 // of the interleaved layout
	if c.RoPE == HalfSplit {
		next, step = half, 1
	}
	for turns := s.turns; len(turns) > 0; turns = turns[half:] {
		for range heads {
			for i, t := range turns[:half] {
				a, b := x[i*step], x[i*step+next]
				x[i*step], x[i*step+next] = F(a*t.cos)-F(b*t.sin), F(a*t.sin)+F(b*t.cos)
			}
			x = x[c.HeadDim:]
		}
	}
}

// attend computes causal attention of one token, the last of those that it sees.
func (s *Session[F]) attend(dst, q []F, l *sessionLayer[F], tokens int) {
	c := s.model.Config
	kvDim, group := c.KVHeads*c.HeadDim, c.Heads/c.KVHeads
	scale := F(1 / math.Sqrt(float64(c.HeadDim)))
	for kv := range c.KVHeads {
		query, out := q[kv*group*c.HeadDim:][:group*c.HeadDim], dst[kv*group*c.HeadDim:][:group*c.HeadDim]
		keys, values := l.keys[kv*c.HeadDim:], l.values[kv*c.HeadDim:]
		s.scores = spec.Resize(s.scores, group*tokens)
		s.scoreKeys(s.scores, query, keys, tokens, kvDim)
		for i := range group {
			s.softmax(s.scores[i*tokens:][:tokens], scale)
		}
		s.addValues(out, s.scores, values, tokens, kvDim)
	}
}

// scoreKeys computes the dot products of the queries of a group with each key.
func (s *Session[F]) scoreKeys(scores, queries, keys []F, tokens, down int) {
	if narrow, ok := any(scores).([]float32); ok {
		s.vectors.scoreKeys(narrow, any(queries).([]float32), any(keys).([]float32), tokens, down, s.model.Config.HeadDim)
		return
	}
	dim := s.model.Config.HeadDim
	for i := range scores {
		scores[i] = ordered.Dot(queries[i/tokens*dim:][:dim], keys[i%tokens*down:][:dim])
	}
}

// softmax turns scores into weights that sum to 1.
func (s *Session[F]) softmax(scores []F, scale F) {
	top := F(math.Inf(-1))
	for i, score := range scores {
		scores[i] = F(score * scale)
		top = max(top, scores[i])
	}
	for i := range scores {
		scores[i] -= top
	}
	exp(scores)
	var sum F
	for _, weight := range scores {
		sum += weight
	}
	for i := range scores {
		scores[i] /= sum
	}
}

// addValues computes the sums of the values under the weights of each query of a
// group.
func (s *Session[F]) addValues(out, weights, values []F, tokens, down int) {
	if narrow, ok := any(out).([]float32); ok {
		s.vectors.addValues(narrow, any(weights).([]float32), any(values).([]float32), tokens, down, s.model.Config.HeadDim)
		return
	}
	dim := s.model.Config.HeadDim
	clear(out)
	for i, weight := range weights {
		for k, v := range values[i%tokens*down:][:dim] {
			out[i/tokens*dim+k] += F(weight * v)
		}
	}
}

// Room returns how many tokens the context takes in all.
func (s *Session[F]) Room() int { return s.model.Config.Context }
