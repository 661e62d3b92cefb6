package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/squishspec/squishspec/spec"
)

// What the page says goes, in percent of a trace's tokens, and the most that may be
// lost of answers and of results, in percent: as much as [tolerable] lets a method
// cost of perplexity.
const (
	leastRemoved, mostRemoved = 30, 50
	mostLost                  = 5
)

// traceReduction shortens worked solutions by the module's defaults, and looks for the
// numbers that matter in what is left, in words and in the model's own tokens. How much
// goes is configured. What the fine-tune says of the answer is told, and decides
// nothing: it is small.
func traceReduction(ctx context.Context, a *Audit, f *Finding) error {
	solutions, source := drawWorkedSolutions(a.Seed), "drawn problems"
	if a.Data != "" {
		var err error
		solutions, err = readWorkedSolutions(a.Data)
		if err != nil {
			return err
		}
		source = dataTunedText
		f.Evidence = append(f.Evidence, dataTunedText)
	}
	if len(solutions) < fewItems {
		f.Verdict, f.Note = Unmeasured, fmt.Sprintf("%s: %d worked solutions; %d at least would say something", source, len(solutions), fewItems)
		return nil
	}
	var traces, pieces []tokenTrace // in words, and in the model's own tokens
	var whole []string
	for _, s := range solutions {
		traces = append(traces, inWords(s.question, s.trace, "\n"))
		pieces = append(pieces, inPieces(a.Subject.Tokenizer, s.question, s.trace))
		whole = append(whole, s.trace)
	}
	stated := survivalOf(solutions, whole)
	if total(stated[0]) == 0 || total(stated[1]) == 0 {
		f.Verdict, f.Note = Unmeasured, source+": no answer, or no result of a step, is in the steps"
		return nil
	}
	ends, err := lineEnds(a.Subject.Tokenizer, pieces)
	if err != nil {
		return err
	}
	f.Curve = &Curve{}
	words, err := a.sweep(ctx, f.Curve, 0, traces, []int64{stepEnd}, solutions, stated, "no question", "squish6", byLot, byPlace, "last")
	if err != nil {
		return err
	}
	models, err := a.sweep(ctx, f.Curve, 1, pieces, ends, solutions, stated, byLot, "last")
	if err != nil {
		return err
	}

	said, err := a.expectedAnswers(ctx, solutions, words.shortened, models.shortened)
	if err != nil {
		return err
	}
	f.counted(words.removed, "% of word and number tokens removed")
	f.Verdict = verdictOf(words, models)
	defaults := spec.DefaultCotCompressConfig()
	f.Note = fmt.Sprintf("%s: %d worked solutions, without calculators' marks and the line of the final answer; %.0f of them state it in their steps, and the steps' results %.0f times. Lost is what no number of its own states any more. How much goes is configured: a compress_ratio of %v, and %d tokens stay at least. Words and numbers, which the figure is of: %s. The model's own tokens: %s. %s. %s",
		source, len(solutions), total(stated[0]), total(stated[1]), defaults.CompressRatio, defaults.MinTokens, words.note, models.note, failures(words, models), said)
	return nil
}

// verdictOf: the claim holds for one configuration where words lose what the page says,
// but few answers, and fewer than words that are drawn or come first do. It is supported
// where the same is true of the results of steps, and the model's own tokens lose few
// of both.
func verdictOf(words, models *swept) Verdict {
	both := [2]bool{true, true}
	switch claimed := leastRemoved <= words.removed && words.removed <= mostRemoved; {
	case claimed && words.left == both && words.ahead == both && models.left == both:
		return Supported
	case claimed && words.left[0] && words.ahead[0]:
		return Conditional
	}
	return Refuted
}

// A swept is what the module's default ratio makes of traces.
type swept struct {
	*shortened
	left  [2]bool // no more than mostLost is lost, the whole interval
	ahead [2]bool // more survives than of tokens that are drawn or come first
	note  string
}

// sweep shortens traces by each of some ratios, and adds a row a ratio to the curve. Its
// note tells by how much the module is ahead of some ways.
func (a *Audit) sweep(ctx context.Context, curve *Curve, kind float64, traces []tokenTrace, ends []int64, solutions []workedSolution, stated survival, told ...string) (result *swept, err error) {
	for _, ratio := range []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := a.shorten(traces, ends, ratio)
		if err != nil {
			return nil, err
		}
		survivals, columns, row := make([]survival, len(s.names)), []string{"0: words, 1: the model's", "compress_ratio", "removed %"}, []float64{kind, ratio, s.removed}
		for way, texts := range s.texts {
			survivals[way] = survivalOf(solutions, texts)
		}
		for of, what := range surviving {
			for way, name := range s.names {
				columns, row = append(columns, what+", "+name+" %"), append(row, 100*total(survivals[way][of])/total(stated[of]))
			}
		}
		curve.Columns = columns
		curve.add(row...)
		if ratio == spec.DefaultCotCompressConfig().CompressRatio {
			result = a.compare(s, survivals, stated, told)
		}
	}
	return result, nil
}

// compare holds what the module leaves against the whole and against other ways.
func (a *Audit) compare(s *shortened, survivals []survival, stated survival, told []string) *swept {
	result, module := &swept{shortened: s, ahead: [2]bool{true, true}}, survivals[0]
	var shares, against []string
	for of, what := range surviving {
		percent, interval := a.percentOf(module[of], stated[of])
		result.left[of] = interval.Low >= 100-mostLost
		shares = append(shares, fmt.Sprintf("%.1f%% of the %s (%s)", percent, what, interval.Text("%.1f")))
	}
	for way, name := range s.names[1:] {
		var points [2]string
		for of := range surviving {
			by, interval := a.pointsBeyond(module[of], survivals[1+way][of], stated[of])
			if name == byLot || name == byPlace {
				result.ahead[of] = result.ahead[of] && interval.Low > 0
			}
			points[of] = fmt.Sprintf("%+.1f (%s)", by, interval.Text("%+.1f"))
		}
		if slices.Contains(told, name) {
			against = append(against, fmt.Sprintf("%s %s and %s", name, points[0], points[1]))
		}
	}
	all, with := 0, 0
	for i, n := range stated[1] {
		if n == 0 {
			continue
		}
		with++
		if module[1][i] == n {
			all++
		}
	}
	result.note = fmt.Sprintf("%.1f%% go, %s survive, all of a solution's results in %.1f%% (%s); in points of answers and of results against %s", s.removed, strings.Join(shares, " and "),
		100*float64(all)/float64(with), wilson(all, with).percent(), strings.Join(against, ", "))
	return result
}

// failures says what keeps the claim from being supported.
func failures(words, models *swept) string {
	var lost, behind []string
	for of, what := range surviving {
		if !words.left[of] {
			lost = append(lost, what+" in words")
		}
		if !words.ahead[of] {
			behind = append(behind, what)
		}
	}
	for of, what := range surviving {
		if !models.left[of] {
			lost = append(lost, what+" in the model's tokens")
		}
	}
	text := fmt.Sprintf("No more than %d%% is lost", mostLost)
	if len(lost) > 0 {
		text = fmt.Sprintf("More than %d%% is lost, or may be, of %s", mostLost, strings.Join(lost, ", "))
	}
	if len(behind) > 0 {
		text += "; words that are drawn or come first are not seen to keep fewer " + strings.Join(behind, " and ")
	}
	return text
}
