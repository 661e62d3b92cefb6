package audit

import (
	"context"
	"math/rand/v2"
	"regexp"
	"strings"

	"github.com/squishspec/squishspec/llama"
)

// A Question gives a context and asks which of the candidates follows it.
type Question struct {
	Context    string
	Candidates []string
	Right      int
}

// candidates of a question: the true one and others.
const candidates = 4

// sentenceEnd is where a sentence ends: behind its mark, and a closing quote.
var sentenceEnd = regexp.MustCompile(`[.!?]["'”’]?\s+`)

// sentences returns the first n sentences of a paragraph, trimmed, and whether there
// are as many.
func sentences(paragraph string, n int) ([]string, bool) {
	var list []string
	for len(list) < n && paragraph != "" {
		end := sentenceEnd.FindStringIndex(paragraph)
		if end == nil {
			list = append(list, paragraph)
			break
		}
		list = append(list, paragraph[:end[0]+len(strings.TrimSpace(paragraph[end[0]:end[1]]))])
		paragraph = paragraph[end[1]:]
	}
	return list, len(list) == n
}

// Questions builds n questions of the paragraphs that have three sentences: the
// first two are the context, and its third and those of three others, drawn by
// seed, are the candidates. Fewer usable paragraphs make fewer questions.
func Questions(paragraphs []string, n int, seed uint64) []Question {
	type usable struct{ context, third string }
	var all []usable
	for _, p := range paragraphs {
		if s, ok := sentences(p, 3); ok {
			all = append(all, usable{s[0] + " " + s[1], s[2]})
		}
	}
	r := rand.New(rand.NewPCG(seed, 0xc102e))
	var questions []Question
	for _, i := range r.Perm(len(all)) {
		if len(questions) == n {
			break
		}
		q := Question{Context: all[i].context, Candidates: []string{all[i].third}}
		// A few tries: many paragraphs may share a third sentence.
		for tries := 0; len(q.Candidates) < candidates && tries < 100; tries++ {
			other := all[r.IntN(len(all))].third
			fresh := true
			for _, c := range q.Candidates {
				fresh = fresh && c != other
			}
			if fresh {
				q.Candidates = append(q.Candidates, other)
			}
		}
		if len(q.Candidates) < candidates {
			continue
		}
		q.Right = r.IntN(candidates)
		q.Candidates[0], q.Candidates[q.Right] = q.Candidates[q.Right], q.Candidates[0]
		questions = append(questions, q)
	}
	return questions
}

// answer reports for each question whether the model finds the right candidate: the
// one of the greatest mean log-probability a token, the first of equals. The context
// is computed once a question.
func answer(ctx context.Context, v *Variation, t llama.Tokenizer, questions []Question) ([]bool, error) {
	return parallelSessions(ctx, v, len(questions), func(s *llama.Session[float32], i int) (bool, error) {
		return questions[i].ask(s, t)
	})
}

func (q *Question) ask(s *llama.Session[float32], t llama.Tokenizer) (bool, error) {
	if err := s.Truncate(0); err != nil {
		return false, err
	}
	if err := s.Extend(t.Encode(q.Context)...); err != nil {
		return false, err
	}
	before, best, most := s.Len(), -1, 0.0
	for i, c := range q.Candidates {
		scores, err := s.Score(llama.ContinueWord(t, c))
		if err != nil {
			return false, err
		}
		if err := s.Truncate(before); err != nil {
			return false, err
		}
		sum := 0.0
		for _, v := range scores {
			sum += v
		}
		if mean := sum / float64(len(scores)); best < 0 || mean > most {
			best, most = i, mean
		}
	}
	return best == q.Right, nil
}
