package llama

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/spec"
)

// headBlock is how many tokens the head serves at once: a vocabulary is large.
const headBlock = 16

// logits returns the head's answers for n tokens from position on.
func (s *Session[F]) logits(dst []F, position, n int) []F {
	c := s.model.Config
	dst = spec.Resize(dst, n*c.Vocab)
	s.row = spec.Resize(s.row, c.Dim)
	w := &s.model.Head
	if c.Tied {
		w = &s.model.Embedding
	}
	s.product(dst, s.final[position*c.Dim:], n, w)
	return dst
}

// Logits returns what the token at a position predicts of the next one: a score for
// each of the vocabulary.
func (s *Session[F]) Logits(dst []F, position int) ([]F, error) {
	if position < 0 || position >= s.length {
		return nil, spec.Reject(spec.Range, "llama", "position", fmt.Sprintf("one of the session's %d tokens", s.length), position)
	}
	return s.logits(dst, position, 1), nil
}

// Score appends tokens and returns the log-probability of each, given all before
// it. The session is not empty: something must predict the first. On an error
// nothing has changed.
func (s *Session[F]) Score(tokens []int) ([]float64, error) {
	if s.length == 0 {
		return nil, spec.Reject(spec.State, "llama", "score", "a session with a token in it", "an empty one")
	}
	first := s.length
	if err := s.Extend(tokens...); err != nil {
		return nil, err
	}
	vocab := s.model.Config.Vocab
	scores := make([]float64, len(tokens))
	var logits []F
	for i := 0; i < len(tokens); i += headBlock {
		n := min(headBlock, len(tokens)-i)
		logits = s.logits(logits, first-1+i, n)
		for k := range n {
			scores[i+k] = logProbability(logits[k*vocab:][:vocab], tokens[i+k])
			if math.IsNaN(scores[i+k]) || math.IsInf(scores[i+k], 0) {
				err := spec.Reject(spec.Invalid, "llama", fmt.Sprintf("log-probability of token %d", first+i+k), "a finite number", scores[i+k])
				s.Truncate(first)
				return nil, err
			}
		}
	}
	return scores, nil
}

// logProbability returns the logarithm of a token's share in the softmax.
func logProbability[F Float](logits []F, token int) float64 {
	top := logits[0]
	for _, v := range logits {
		top = max(top, v) // of a NaN, NaN
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - float64(top))
	}
	return float64(logits[token]) - float64(top) - math.Log(sum)
}

// Greedy appends n tokens, each the likeliest after those before it, the first of
// equals, and returns them. It stops where the context ends.
func (s *Session[F]) Greedy(n int) ([]int, error) {
	var tokens []int
	var logits []F
	for n = min(n, s.model.Config.Context-s.length); len(tokens) < n; {
		var err error
		if logits, err = s.Logits(logits, s.length-1); err != nil {
			return tokens, err
		}
		best := 0
		for i, v := range logits {
			if v > logits[best] {
				best = i
			}
		}
		tokens = append(tokens, best)
		if err := s.Extend(best); err != nil {
			return tokens, err
		}
	}
	return tokens, nil
}
