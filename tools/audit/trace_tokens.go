package audit

import (
	"regexp"
	"slices"
	"strings"

	"github.com/squishspec/squishspec/llama"
)

// A tokenTrace is a question and a trace in tokens, and what some of them read as.
type tokenTrace struct {
	question, trace []int64
	// text is what the trace's tokens at those places, which ascend, read as.
	text func(places []int) (string, error)
}

// A word is a number, letters with the apostrophes between them, the end of a line, or
// any other character that is seen.
var wordPattern = regexp.MustCompile(number + `|\p{L}+(?:['’]\p{L}+)*|\n|\S`)

// stepEnd is the id of the word that ends a step.
const stepEnd = 0

// inWords cuts question and trace into words, whose ids are by first appearance in the
// two. Where words between two were dropped, a space stands: numbers do not join.
func inWords(question, trace, end string) tokenTrace {
	ids := map[string]int64{end: stepEnd}
	numbered := func(text string) (list []int64) {
		for _, w := range wordPattern.FindAllString(text, -1) {
			if _, known := ids[w]; !known {
				ids[w] = int64(len(ids))
			}
			list = append(list, ids[w])
		}
		return list
	}
	at := wordPattern.FindAllStringIndex(trace, -1)
	return tokenTrace{numbered(question), numbered(trace), func(places []int) (string, error) {
		var text strings.Builder
		for i, p := range places {
			if i > 0 && p == places[i-1]+1 {
				text.WriteString(trace[at[p-1][1]:at[p][0]])
			} else if i > 0 {
				text.WriteByte(' ')
			}
			text.WriteString(trace[at[p][0]:at[p][1]])
		}
		return text.String(), nil
	}}
}

// inPieces encodes question and trace as a model's tokens. Those that are kept read as
// they follow each other: digits that come together are one number.
func inPieces(tok llama.Tokenizer, question, trace string) tokenTrace {
	tokens := llama.ContinueWord(tok, trace)
	return tokenTrace{asIDs(llama.Continue(tok, question)), asIDs(tokens), func(places []int) (string, error) {
		kept := make([]int, len(places))
		for i, p := range places {
			kept[i] = tokens[p]
		}
		text, err := tok.Decode(kept)
		return strings.TrimPrefix(text, " "), err
	}}
}

// lineEnds are the tokens of traces in a model's tokens that have an end of line in
// them.
func lineEnds(tok llama.Tokenizer, traces []tokenTrace) (ends []int64, err error) {
	seen := map[int64]bool{}
	for _, t := range traces {
		for _, id := range t.trace {
			if seen[id] {
				continue
			}
			seen[id] = true
			piece, err := tok.Decode([]int{int(id)})
			if err != nil {
				return nil, err
			}
			if strings.Contains(piece, "\n") {
				ends = append(ends, id)
			}
		}
	}
	return ends, nil
}

func asIDs(tokens []int) []int64 {
	list := make([]int64, len(tokens))
	for i, t := range tokens {
		list[i] = int64(t)
	}
	return list
}

// span are the places from one to another, which is left out.
func span(from, to int) []int {
	places := make([]int, to-from)
	for i := range places {
		places[i] = from + i
	}
	return places
}

// placesOf finds kept tokens in a trace, in their order, each as early as can be.
func placesOf(trace, kept []int64) (places []int, found bool) {
	next := 0
	for _, id := range kept {
		at := slices.Index(trace[next:], id)
		if at < 0 {
			return nil, false
		}
		places = append(places, next+at)
		next += at + 1
	}
	return places, true
}
