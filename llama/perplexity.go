package llama

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/squishspec/squishspec/spec"
)

// ProtocolTokens is the most tokens of a paragraph that are judged, with the first.
const ProtocolTokens = 512

// Paragraphs splits a text at blank lines, trims the pieces, and drops empty ones.
// A line of spaces is not blank.
func Paragraphs(text string) []string {
	var paragraphs []string
	for p := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
		if p = strings.TrimSpace(p); p != "" {
			paragraphs = append(paragraphs, p)
		}
	}
	return paragraphs
}

// A Perplexity is how well a model predicts a text.
type Perplexity struct {
	Tokens int     // that were predicted
	NLL    float64 // mean negative log-likelihood of a token, in nats
	// StdErr is the standard error of NLL with paragraphs as clusters, since the tokens
	// of one are not independent: that of a ratio of two sums over paragraphs. NaN where
	// there is one paragraph.
	StdErr float64

	Paragraphs []ParagraphNLL // for paired comparisons
}

// A ParagraphNLL is the sum over a paragraph's predicted tokens.
type ParagraphNLL struct {
	Tokens int
	NLL    float64
}

// Perplexity returns e^NLL.
func (p Perplexity) Perplexity() float64 { return math.Exp(p.NLL) }

// MeasurePerplexity encodes each paragraph, cuts it to ProtocolTokens tokens and to
// the context, and averages the negative log-likelihood of every token but the
// first, which nothing predicts: with most tokenizers that is BOS. It calls done
// for each paragraph, one at a time. Sums are in the order of the paragraphs,
// whatever the number of processors. An error is no figure from the rest.
func MeasurePerplexity[F Float](ctx context.Context, m *Model, t Tokenizer, paragraphs []string, done func()) (Perplexity, error) {
	return MeasureHooked[F](ctx, m, nil, t, paragraphs, done)
}

// MeasureHooked is [MeasurePerplexity] of sessions with hooks: a goroutine each has
// those of one call. Nil is none.
func MeasureHooked[F Float](ctx context.Context, m *Model, hooks func() Hooks[F], t Tokenizer, paragraphs []string, done func()) (Perplexity, error) {
	if t.Size() != m.Config.Vocab {
		return Perplexity{}, spec.Reject(spec.Invalid, "llama", "tokenizer", fmt.Sprintf("the model's %d tokens", m.Config.Vocab), t.Size())
	}
	result := Perplexity{Paragraphs: make([]ParagraphNLL, len(paragraphs))}
	var mutex sync.Mutex
	err := Each(ctx, m, hooks, len(paragraphs), func(s *Session[F], i int) (err error) {
		if result.Paragraphs[i], err = s.judge(t.Encode(paragraphs[i])); err != nil {
			err = fmt.Errorf("paragraph %d: %w", i+1, err)
		}
		mutex.Lock()
		defer mutex.Unlock()
		done()
		return err
	})
	if err != nil {
		return Perplexity{}, err
	}
	return result, result.average()
}

// judge sums over the tokens of one paragraph.
func (s *Session[F]) judge(tokens []int) (ParagraphNLL, error) {
	tokens = tokens[:min(len(tokens), ProtocolTokens, s.model.Config.Context)]
	if len(tokens) < 2 {
		return ParagraphNLL{}, nil
	}
	if err := s.Truncate(0); err != nil {
		return ParagraphNLL{}, err
	}
	if err := s.Extend(tokens[0]); err != nil {
		return ParagraphNLL{}, err
	}
	scores, err := s.Score(tokens[1:])
	sum := 0.0
	for _, v := range scores {
		sum -= v
	}
	return ParagraphNLL{len(scores), sum}, err
}

func (p *Perplexity) average() error {
	sum := 0.0
	for _, q := range p.Paragraphs {
		p.Tokens += q.Tokens
		sum += q.NLL
	}
	if p.Tokens == 0 {
		return spec.Reject(spec.Invalid, "llama", "text", "a paragraph with a token to predict", "none")
	}
	p.NLL = sum / float64(p.Tokens)
	squares, n := 0.0, float64(len(p.Paragraphs))
	if n < 2 {
		p.StdErr = math.NaN()
		return nil
	}
	for _, q := range p.Paragraphs {
		residual := q.NLL - float64(float64(q.Tokens)*p.NLL)
		squares += float64(residual * residual)
	}
	p.StdErr = math.Sqrt(squares*n/(n-1)) / float64(p.Tokens)
	return nil
}
