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
	difference := func(times []int) float64 {
		sum, tokens := 0.0, 0
		for i, n := range times {
			sum += float64(float64(n) * (mine[i].NLL - theirs[i].NLL))
			tokens += n * mine[i].Tokens
		}
		return sum / float64(tokens)
	}
	once := make([]int, len(mine))
	for i := range once {
		once[i] = 1
	}
	return difference(once), bootstrap(len(mine), seed, "paragraphs", difference)
}

// moreRight returns by how much the share of right answers of q exceeds that of the
// other on the same questions, with its interval.
func (q *Quality) moreRight(other *Quality, seed uint64) (float64, Interval) {
	difference := func(times []int) float64 {
		sum, all := 0, 0
		for i, n := range times {
			all += n
			if q.Right[i] {
				sum += n
			}
			if other.Right[i] {
				sum -= n
			}
		}
		return float64(sum) / float64(all)
	}
	once := make([]int, len(q.Right))
	for i := range once {
		once[i] = 1
	}
	return difference(once), bootstrap(len(once), seed, "questions", difference)
}
