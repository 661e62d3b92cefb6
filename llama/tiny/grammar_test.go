package tiny

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/llama"
)

var grammars = map[string]*Grammar{"base": Base, "variant": Variant}

// A watch notes the choices of another chooser, and checks that each is
// unambiguous.
type watch struct {
	chooser
	t       *testing.T
	choices []int
}

func (w *watch) choose(l *list, except int) int {
	for i, a := range l.texts {
		for j, b := range l.texts {
			if i != j && strings.HasPrefix(b, a) {
				w.t.Fatalf("%q begins %q", a, b)
			}
		}
	}
	w.choices = append(w.choices, w.chooser.choose(l, except))
	return w.choices[len(w.choices)-1]
}

func TestReadingRecoversTheChoices(t *testing.T) {
	for name, g := range grammars {
		drawn := &writer{random: rand.New(rand.NewPCG(1, 1))}
		for range 300 {
			drawn.text = drawn.text[:0]
			w := &watch{chooser: drawn, t: t}
			g.paragraph(w)
			r := &reader{text: string(drawn.text)}
			read := &watch{chooser: r, t: t}
			g.paragraph(read)
			if r.err != nil || r.at != len(r.text) || !slices.Equal(w.choices, read.choices) {
				t.Fatalf("%s: %q: drawn %v, read %v, %v", name, drawn.text, w.choices, read.choices, r.err)
			}
		}
	}
}

func TestNothingElseIsRead(t *testing.T) {
	for _, p := range Base.Paragraphs(2, 20) {
		for n := 1; n < len(p); n++ {
			for _, changed := range []string{p[:n], p[:n] + "~" + p[n:], p[:n] + p[n+1:]} {
				if changed = strings.TrimSpace(changed); changed == p {
					continue
				}
				if l, err := LogProb(changed); err == nil {
					t.Fatalf("%q: %v", changed, l)
				} else if !strings.HasPrefix(err.Error(), "tiny: byte ") || strings.Contains(err.Error(), "\n") {
					t.Fatalf("%q: %v", changed, err)
				}
			}
		}
		if _, err := LogProb(p + " " + p); err == nil {
			t.Errorf("%q twice", p)
		}
	}
	if l, err := LogProb(""); l != 0 || err != nil {
		t.Errorf("an empty text: %v, %v", l, err)
	}
}

// An every chooser goes through all choices, as one counts.
type every struct {
	writer
	path, sizes []int
	at          int
	probability float64
}

func (e *every) choose(l *list, except int) int {
	if e.at == len(e.path) {
		first := 0
		if except == 0 {
			first = 1
		}
		e.path, e.sizes = append(e.path, first), append(e.sizes, len(l.texts))
	}
	i := e.path[e.at]
	if i == except { // counted onto it
		i++
		e.path[e.at] = i
	}
	if e.at++; i >= len(l.texts) {
		e.probability = 0
		return 0
	}
	sum := 0.0
	for k, w := range l.weights {
		if k != except {
			sum += float64(w)
		}
	}
	e.probability *= float64(l.weights[i]) / sum
	e.say(l.texts[i])
	return i
}

// TestProbabilitiesOfAllParagraphsAreOne goes through a grammar of few words: all
// paragraphs, no two alike, none the beginning of another, and LogProb says what
// adds up to 1.
func TestProbabilitiesOfAllParagraphsAreOne(t *testing.T) {
	few := func(l *list, n int) *list {
		cut := &list{texts: l.texts[:n], weights: l.weights[:n]}
		for _, w := range cut.weights {
			cut.total += w
		}
		return cut
	}
	g := *Base
	g.names, g.jobs = few(g.names, 3), few(g.jobs, 2)
	g.animals = nouns{few(g.animals[0], 2), few(g.animals[1], 2)}
	for _, l := range []**list{&g.towns, &g.things[0], &g.things[1], &g.adjectives, &g.spots, &g.days, &g.times, &g.verbs[0], &g.verbs[1],
		&g.found, &g.says, &g.sells, &g.manners, &g.thus, &g.hides, &g.later, &g.takes, &g.owns} {
		*l = few(*l, 1)
	}
	e := &every{}
	var texts []string
	sum := 0.0
	for {
		e.text, e.at, e.probability = e.text[:0], 0, 1
		g.paragraph(e)
		if e.probability > 0 {
			text := string(e.text)
			l, err := g.LogProb(text)
			if err != nil || !(math.Abs(math.Exp(l)-e.probability) < 1e-12*e.probability) {
				t.Fatalf("%q: log-probability %v, %v, want that of %v", text, l, err, e.probability)
			}
			texts, sum = append(texts, text), sum+math.Exp(l)
		}
		last := e.at - 1
		for ; last >= 0; last-- {
			if e.path[last]++; e.path[last] < e.sizes[last] {
				break
			}
		}
		if last < 0 {
			break
		}
		e.path, e.sizes = e.path[:last+1], e.sizes[:last+1]
	}
	if !(math.Abs(sum-1) < 1e-12) || len(texts) < 500 {
		t.Errorf("%d paragraphs have %v", len(texts), sum)
	}
	slices.Sort(texts)
	for i := range texts[1:] {
		if strings.HasPrefix(texts[i+1], texts[i]) {
			t.Fatalf("%q begins %q", texts[i], texts[i+1])
		}
	}
}

// TestWordsComeAsOftenAsTheirProbability, over seeds and within one.
func TestWordsComeAsOftenAsTheirProbability(t *testing.T) {
	const n = 20_000
	overSeeds := make([]string, n)
	for i := range overSeeds {
		overSeeds[i] = Base.Paragraphs(uint64(i), 1)[0]
	}
	for name, paragraphs := range map[string][]string{"one seed": Base.Paragraphs(3, n), "seeds": overSeeds} {
		for _, l := range []*list{Base.names, Base.stories} {
			for i, text := range l.texts {
				want := n * float64(l.weights[i]) / float64(l.total)
				got := 0.0
				for _, p := range paragraphs {
					// The first verb follows the first name.
					if first, rest, _ := strings.Cut(p, " "); first == text || l == Base.stories && strings.HasPrefix(" "+rest, text) {
						got++
					}
				}
				if math.Abs(got-want) > 5*math.Sqrt(want) { // five standard deviations
					t.Errorf("%s: %q: %v of %v, want about %v", name, text, got, n, want)
				}
			}
		}
	}
}

// TestTheThirdSentenceAgrees looks at texts with other means than the grammar.
func TestTheThirdSentenceAgrees(t *testing.T) {
	number := func(word string) int { return slices.Index(numbers, word) }
	pronoun := func(name string) string {
		if slices.Index(Base.names.texts, name)%2 == 0 {
			return "She"
		}
		return "He"
	}
	form := func(sentence string, args ...*string) bool {
		pattern := "^" + strings.NewReplacer("*", `([\w ]+)`, "_", `(\w+)`, ".", `\.`).Replace(sentence) + "$"
		m := regexp.MustCompile(pattern).FindStringSubmatch
		found := m(*args[0])
		for i := range found {
			if i > 0 {
				*args[i] = found[i]
			}
		}
		return found != nil
	}
	seen := map[string]int{}
	for _, p := range Base.Paragraphs(4, 500) {
		var name, job, n, nouns, verb, she, them, place, food, a, b, c, rest, of, last string
		text := p
		switch {
		case form("_ is a _ in _ with _ _ _. The _ that * on _ _ *. _ keeps _ in the _ and gives _ _ *.",
			&text, &name, &job, &rest, &n, &rest, &nouns, &of, &rest, &rest, &verb, &rest, &she, &them, &place, &last, &food, &rest):
			seen["keeping"]++
			k := slices.Index(Base.animals.of(number(n)).texts, nouns)
			if nouns != of || (n == "one") != strings.HasSuffix(verb, "s") || (n == "one") != (them == "it") || them != last ||
				she != pronoun(name) || workplaces[slices.Index(Base.jobs.texts, job)] != place || foods[k] != food {
				t.Errorf("%q", p)
			}
		case strings.Contains(p, " make ") || strings.Contains(p, " leave"):
			seen["reckoning"]++
			sentences := strings.SplitAfter(p, ". ")
			form("_ has _ _ and _ *", ptr(strings.TrimSuffix(sentences[0], ". ")), &name, &a, &nouns, &rest, &of)
			form("_ _ _ _ _ _", ptr(strings.TrimSuffix(sentences[1], ". ")), &rest, &n, &them, &b, &verb, &c)
			form("_ _ _ _ _ _ *", ptr(strings.TrimSuffix(sentences[2], ".")), &she, &rest, &of, &last, &food, &place, &job)
			sum := number(a) + number(b)
			if them == "less" {
				sum = number(a) - number(b)
			}
			if n != a || number(c) != sum || last != c || she != pronoun(name) || (c == "one") == (place == nouns) || (verb == "leaves") != (c == "one") {
				t.Errorf("%q", p)
			}
		case strings.Contains(p, " counts "):
			seen["counting"]++
			words := strings.Fields(strings.NewReplacer(",", "", ".", "").Replace(p))
			from, to := number(words[slices.Index(words, "from")+1]), number(words[slices.Index(words, "to")+1])
			if !strings.Contains(p, " "+strings.Join(numbers[from:to+1], ", ")+". On ") || !strings.Contains(p, " number "+numbers[to]+",") ||
				!strings.Contains(p, strings.ToLower(" "+pronoun(words[0]))+" ") {
				t.Errorf("%q", p)
			}
		default:
			seen["meeting"]++
			sentences := strings.SplitAfter(p, ". ")
			who := strings.Fields(sentences[2])[1]
			m := regexp.MustCompile(`^\w+ the (\w+) meets \w+ `).FindStringSubmatch(sentences[0])
			owned := regexp.MustCompile(who + ` \w+ (\w+) from`).FindStringSubmatch(sentences[1])
			if m == nil || owned == nil || !strings.Contains(sentences[0], who) || !strings.Contains(sentences[2], map[string]string{"She": " her ", "He": " his "}[pronoun(who)]+owned[1]+" to the "+workplaces[slices.Index(Base.jobs.texts, m[1])]+" ") {
				t.Errorf("%q", p)
			}
		}
	}
	for _, s := range []string{"keeping", "counting", "reckoning", "meeting"} {
		if seen[s] < 50 {
			t.Errorf("%s: %d times", s, seen[s])
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestParagraphsAreThreeSentences(t *testing.T) {
	for name, g := range grammars {
		for _, p := range llama.Paragraphs(g.Text(5, 200)) {
			if len(strings.SplitAfter(p, ". ")) != 3 || !strings.HasSuffix(p, ".") {
				t.Errorf("%s: %q", name, p)
			}
		}
	}
}

func TestTextIsThatOfItsSeed(t *testing.T) {
	long, again := Text(1, 50), Text(1, 50)
	if long != again || !strings.HasPrefix(long, Text(1, 7)+"\n\n") || Text(1, 5) == Text(2, 5) {
		t.Error("a text is not decided by its seed")
	}
	if Text(1, 0) != "" || len(llama.Paragraphs(Text(1, 5000))) != 5000 {
		t.Error("a text has another number of paragraphs than asked for")
	}
	both, err := LogProb(Text(1, 2))
	first, err2 := LogProb(Text(1, 1))
	second, err3 := LogProb(Base.Paragraphs(1, 2)[1])
	if err != nil || err2 != nil || err3 != nil || math.Abs(both-first-second) > 1e-12 {
		t.Errorf("%v is not %v and %v", both, first, second)
	}
	if _, err := LogProb(Variant.Text(1, 40)); err == nil {
		t.Error("Base reads a text with names of Variant")
	}
}

// TestFewParagraphsAreAlike: the chance that two paragraphs are the same is the mean
// probability of a paragraph.
func TestFewParagraphsAreAlike(t *testing.T) {
	for name, g := range grammars {
		mean := 0.0
		const n = 3000
		for _, p := range g.Paragraphs(6, n) {
			l, err := g.LogProb(p)
			if err != nil {
				t.Fatal(err)
			}
			mean += math.Exp(l) / n
		}
		if !(mean < 1e-11) {
			t.Errorf("%s: %v", name, mean)
		}
	}
}

func ExampleText() {
	fmt.Println(Text(1, 2))
	// Output:
	// Mia is a miller in Ulm with five new mice. The mice that she found near the wood on Sunday play at noon. She keeps them in the mill and gives them cheese in spring.
	//
	// Zoe is a baker in Bern with four old mice. The mice that she found on the shore on Tuesday sleep at night. She keeps them in the bakery and gives them cheese all day.
}
