package audit

import (
	"context"

	"github.com/squishspec/squishspec/llama"
)

// A Quality is what a model is worth: how well it predicts paragraphs, and which
// questions it answers rightly.
type Quality struct {
	Perplexity llama.Perplexity
	Right      []bool
}

func count(flags []bool) (n int) {
	for _, f := range flags {
		if f {
			n++
		}
	}
	return n
}

func oneIf(set bool) float64 {
	if set {
		return 1
	}
	return 0
}

// more is 1 where a flag is set and the other is not, and −1 the other way round.
func more(flags, other []bool) []float64 {
	list := make([]float64, len(flags))
	for i, f := range flags {
		list[i] = oneIf(f) - oneIf(other[i])
	}
	return list
}

// judge measures a variation on paragraphs and questions.
func judge(ctx context.Context, v *Variation, t llama.Tokenizer, paragraphs []string, questions []Question) (*Quality, error) {
	p, err := llama.MeasureHooked(ctx, v.Model, v.Hooks, t, paragraphs, func() {})
	if err != nil {
		return nil, err
	}
	right, err := answer(ctx, v, t, questions)
	return &Quality{p, right}, err
}

// worse returns by how much the mean negative log-likelihood of q exceeds that of
// the other on the same paragraphs, in nats a token, with its interval.
func (q *Quality) worse(other *Quality, seed uint64) (float64, Interval) {
	mine, theirs := q.Perplexity.Paragraphs, other.Perplexity.Paragraphs
	more, tokens := make([]float64, len(mine)), make([]float64, len(mine))
	for i, p := range mine {
		more[i], tokens[i] = p.NLL-theirs[i].NLL, float64(p.Tokens)
	}
	return ratio(1, more, tokens, seed, "paragraphs")
}

// moreRight returns by how much the share of right answers of q exceeds that of the
// other on the same questions, with its interval.
func (q *Quality) moreRight(other *Quality, seed uint64) (float64, Interval) {
	return average(1, more(q.Right, other.Right), seed, "questions")
}
