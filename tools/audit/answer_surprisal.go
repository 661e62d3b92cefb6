package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// expectedAnswers says how little the fine-tune expects the answers of solutions
// behind what is kept of their traces, or, without real inputs, the last sentences of
// its language's paragraphs behind what is kept of the others.
func (a *Audit) expectedAnswers(ctx context.Context, solutions []workedSolution, words, models *shortened) (string, error) {
	if a.Subject.Tuned == nil {
		return "There is no fine-tune here to ask for the answers", nil
	}
	if a.Data == "" {
		solutions, traces := concluded(a.Subject.TunedEvaluation)
		shortened, err := a.shorten(traces, []int64{stepEnd}, spec.DefaultCotCompressConfig().CompressRatio)
		if err != nil {
			return "", err
		}
		said, err := a.surprise(ctx, solutions, shortened, nil, " ")
		return "Nats a token that the last sentence of its language's paragraphs, without a question, costs the fine-tune behind " + said, err
	}
	said, err := a.surprise(ctx, solutions, words, models.texts[0], "\n")
	return "Nats a token that the final answer costs the fine-tune behind the question and " + said, err
}

// concluded makes the last sentence of each paragraph the answer, and the others the
// trace.
func concluded(paragraphs []string) (solutions []workedSolution, traces []tokenTrace) {
	for _, p := range paragraphs {
		if at := strings.LastIndex(p, ". "); at >= 0 {
			solutions = append(solutions, workedSolution{trace: p[:at+1], answer: p[at+2:]})
			traces = append(traces, inWords("", p[:at+1], "."))
		}
	}
	return solutions, traces
}

// surprise says what an answer costs behind its question and each of some ways of a
// trace: the whole, words of it, the module's of the model's own tokens, where there is
// one, and none. Whether the judge knows answers at all, another one's cost behind the whole
// trace says.
func (a *Audit) surprise(ctx context.Context, solutions []workedSolution, words *shortened, own []string, behind string) (string, error) {
	whole, none := make([]string, len(solutions)), make([]string, len(solutions))
	for i, s := range solutions {
		whole[i] = s.trace
	}
	names, kept := []string{"whole", "whole"}, [][]string{whole, whole}
	for _, name := range []string{byPlace, byLot, "squish6", byModule} { // the first begin as the whole does
		if texts, found := words.of(name); found {
			names, kept = append(names, name), append(kept, texts)
		}
	}
	module, lot := len(names)-1, slices.Index(names, byLot)
	if own != nil {
		names, kept = append(names, byModule+" of the model's tokens"), append(kept, own)
	}
	names, kept = append(names, "no trace"), append(kept, none)

	const another = 1 // the way whose answer is another's
	texts := make([][]conclusion, len(solutions))
	for i, s := range solutions {
		for way, traces := range kept {
			c := conclusion{strings.TrimLeft(strings.TrimSpace(s.question+" "+traces[i])+behind, " "), s.answer}
			if way == another {
				c.end = rival(solutions, i)
			}
			texts[i] = append(texts[i], c)
		}
	}
	ways, err := surprisals(ctx, a.Subject.Tuned, a.Subject.Tokenizer, texts)
	if err != nil {
		return "", err
	}
	if len(ways) == 0 {
		return "its trace: not one of them fits the context", nil
	}
	more := func(way, other int) string {
		by, interval := (&Quality{Perplexity: llama.Perplexity{Paragraphs: ways[way]}}).worse(&Quality{Perplexity: llama.Perplexity{Paragraphs: ways[other]}}, a.Seed)
		return fmt.Sprintf("%+.3f (%s)", by, interval.Text("%+.3f"))
	}
	sum, tokens, known := 0.0, 0, 0
	for i, p := range ways[0] {
		sum, tokens = sum+p.NLL, tokens+p.Tokens
		if other := ways[another][i]; p.NLL*float64(other.Tokens) < other.NLL*float64(p.Tokens) {
			known++
		}
	}
	said := fmt.Sprintf("the whole trace: %.3f, %d of %d fit the context. ", sum/float64(tokens), len(ways[0]), len(texts))
	if texts[0][another].end != texts[0][0].end { // else all answers are alike
		said += fmt.Sprintf("Another's answer of like length costs more in %.1f%% of them (%s; by chance in half). ", 100*float64(known)/float64(len(ways[0])), wilson(known, len(ways[0])).percent())
	}
	said += "Beyond the whole trace"
	for way := another + 1; way < len(names); way++ {
		said += fmt.Sprintf(" %s %s,", names[way], more(way, 0))
	}
	return fmt.Sprintf("%s and %s beyond %s %s", said, byModule, byLot, more(module, lot)), nil
}

// rival is another answer, of those that are nearest in length the next one's; the
// answer itself where all are alike.
func rival(solutions []workedSolution, i int) string {
	own, best := solutions[i].answer, ""
	away := func(answer string) int { return max(len(answer)-len(own), len(own)-len(answer)) }
	for n := 1; n < len(solutions) && (best == "" || away(best) > 0); n++ {
		if other := solutions[(i+n)%len(solutions)].answer; other != own && (best == "" || away(other) < away(best)) {
			best = other
		}
	}
	if best == "" {
		return own
	}
	return best
}

// A conclusion is the end of a text that has one.
type conclusion struct{ before, end string }

// surprisals returns how little a model expects the ends of texts, each in some ways:
// [way][text], of the texts all of whose ways fit the model's context.
func surprisals(ctx context.Context, m *llama.Model, tok llama.Tokenizer, texts [][]conclusion) (ways [][]llama.ParagraphNLL, err error) {
	found := make([][]llama.ParagraphNLL, len(texts)) // [text][way], nil where one does not fit
	err = llama.Each(ctx, m, nil, len(texts), func(s *llama.Session[float32], i int) (err error) {
		if found[i], err = surprisal(s, tok, texts[i]); err != nil {
			err = fmt.Errorf("conclusion %d: %w", i+1, err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		for way, nll := range f {
			if way == len(ways) {
				ways = append(ways, nil)
			}
			ways[way] = append(ways[way], nll)
		}
	}
	return ways, nil
}

// surprisal is of the tokens of the ends alone. What two ways that follow each other
// begin with is computed once.
func surprisal(s *llama.Session[float32], tok llama.Tokenizer, ways []conclusion) (nll []llama.ParagraphNLL, err error) {
	var texts [][]int
	for _, c := range ways {
		tokens := tok.Encode(c.before + c.end)
		if len(tokens) > s.Room() {
			return nil, nil
		}
		texts = append(texts, tokens)
	}
	var had []int
	if err := s.Truncate(0); err != nil {
		return nil, err
	}
	for way, tokens := range texts {
		n, err := tail(tok, tokens, ways[way].end)
		if err != nil {
			return nil, err
		}
		before, common := tokens[:len(tokens)-n], 0
		for common < min(len(had), len(before)) && had[common] == before[common] {
			common++
		}
		if err := s.Truncate(common); err != nil {
			return nil, err
		}
		if err := s.Extend(before[common:]...); err != nil {
			return nil, err
		}
		scores, err := s.Score(tokens[len(before):])
		if err != nil {
			return nil, err
		}
		nll, had = append(nll, llama.ParagraphNLL{Tokens: n, NLL: -total(scores)}), tokens
	}
	return nll, nil
}

// tail returns how many of the last tokens a text's end takes.
func tail(tok llama.Tokenizer, tokens []int, end string) (int, error) {
	for n := 1; n <= len(tokens); n++ {
		text, err := tok.Decode(tokens[len(tokens)-n:])
		if err != nil {
			return 0, err
		}
		if strings.HasSuffix(text, end) {
			return n, nil
		}
	}
	return 0, reject("tokenizer", fmt.Sprintf("tokens that end in %q", end), "others")
}
