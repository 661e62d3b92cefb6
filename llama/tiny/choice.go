package tiny

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/squishspec/squishspec/spec"
)

// A list is texts to choose from, each with its weight. No text of a list is
// another's beginning: what follows in a paragraph says which one was chosen.
type list struct {
	texts   []string
	weights []uint64
	total   uint64
}

// none excludes nothing from a choice.
const none = -1

// uniform returns a list of equal weights.
func uniform(texts ...string) *list {
	l := &list{texts: texts}
	for range texts {
		l.weights = append(l.weights, 1)
	}
	l.total = uint64(len(texts))
	return l
}

// words returns a list of words between commas, whose weights fall as those of a
// language's words do: the i-th has 1/(i+3).
func words(text string) *list {
	l := &list{texts: strings.Split(text, ",")}
	for i := range l.texts {
		w := uint64(5040 / (i + 3))
		l.weights, l.total = append(l.weights, w), l.total+w
	}
	return l
}

// among returns the sum of weights without the excluded text's.
func (l *list) among(except int) uint64 {
	if except == none {
		return l.total
	}
	return l.total - l.weights[except]
}

// A chooser stands between the grammar, which asks, and a text. Grammar.paragraph
// runs the same way whether a text is drawn or read, so that what is drawn is what
// is read.
type chooser interface {
	say(text string)                // what comes next has no alternative
	choose(l *list, except int) int // what comes next is one of these
}

// A writer draws a paragraph.
type writer struct {
	random *rand.Rand
	text   []byte
}

func (w *writer) say(text string) { w.text = append(w.text, text...) }

func (w *writer) choose(l *list, except int) int {
	at, chosen := w.random.Uint64N(l.among(except)), 0
	for i, weight := range l.weights {
		if i == except {
			continue
		}
		if at < weight {
			chosen = i
			break
		}
		at -= weight
	}
	w.say(l.texts[chosen])
	return chosen
}

// A reader recovers the choices of a paragraph, and sums their log-probabilities.
// Once the text has left the grammar it makes any choice: the paragraph ends.
type reader struct {
	text    string
	at      int
	logProb float64
	err     error
}

func (r *reader) say(text string) {
	if r.err != nil {
		return
	}
	if !strings.HasPrefix(r.text[r.at:], text) {
		r.fail(fmt.Sprintf("%q", text))
		return
	}
	r.at += len(text)
}

func (r *reader) choose(l *list, except int) int {
	for i, text := range l.texts {
		if i != except && r.err == nil && strings.HasPrefix(r.text[r.at:], text) {
			r.at += len(text)
			r.logProb += math.Log(float64(l.weights[i]) / float64(l.among(except)))
			return i
		}
	}
	r.fail(fmt.Sprintf("one of %q", l.texts))
	if except == 0 {
		return 1
	}
	return 0
}

func (r *reader) fail(want string) {
	if r.err == nil {
		rest := r.text[r.at:]
		r.err = spec.Reject(spec.Invalid, "tiny", fmt.Sprintf("byte %d of a paragraph", r.at), want, fmt.Sprintf("%q", rest[:min(len(rest), 20)]))
	}
}
