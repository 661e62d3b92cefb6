package tiny

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/squishspec/squishspec/llama"
)

// A Grammar is a distribution over paragraphs. A paragraph is three sentences of
// one of four stories, and what the third says depends on the first two: the
// pronoun on the name, "it" or "them" on the number, a verb's form on a noun many
// words before, the food on the animal, the place on the trade, the last number of
// a count and of a sum on where they began.
//
// Text and choices are one to one: each choice is among texts of which none begins
// another, and is made where its text stands. No paragraph begins another one
// either, so that its end needs no choice: the probability of its choices is that
// of its text.
type Grammar struct {
	names              *list // of a woman, of a man, and so on
	stories            *list
	jobs, towns        *list
	animals, things    nouns
	adjectives         *list
	spots, days, times *list
	verbs              nouns // in the form that agrees with one, and with many
	found, says, sells *list
	manners, trades    *list
	thus, hides        *list
	later, takes, owns *list
	ends               *list
}

// Nouns are the same words for one and for many.
type nouns [2]*list

// of returns the words that agree with a number.
func (n nouns) of(number int) *list {
	if number == 1 {
		return n[0]
	}
	return n[1]
}

var (
	numbers = strings.Split("zero,one,two,three,four,five,six,seven,eight,nine,ten,eleven,twelve,"+
		"thirteen,fourteen,fifteen,sixteen,seventeen,eighteen", ",")
	workplaces = strings.Split("bakery,forge,barn,port,mill,loft,shed,cell", ",")            // of each job
	foods      = strings.Split("grain,cheese,fish,meat,corn,hay,flies,bread,eggs,moss", ",") // of each animal
)

// spans[a][b] are the numbers from a to b, which are at most twelve: six begins
// sixteen.
var spans = func() (s [13][13]*list) {
	for a := range s {
		for b := a; b < len(s[a]); b++ {
			s[a][b] = uniform(numbers[a : b+1]...)
		}
	}
	return s
}()

// gains is how many of the trades, the first ones, add.
const gains = 4

// Base is the grammar of the embedded model.
var Base = &Grammar{
	names:      uniform(strings.Split("Ada,Abe,Bea,Gus,Eva,Hal,Fay,Ivo,Ida,Jon,Mia,Leo,Pia,Max,Zoe,Ned", ",")...),
	stories:    &list{texts: []string{" is a ", " counts ", " has ", " the "}, weights: []uint64{6, 4, 5, 5}, total: 20},
	jobs:       words("baker,smith,farmer,sailor,miller,weaver,potter,monk"),
	towns:      words("Ulm,Bern,Lund,Cork,Pisa,Graz,Kiel,Oslo"),
	animals:    nouns{words("goose,mouse,cat,dog,hen,pony,frog,crow,fox,goat"), words("geese,mice,cats,dogs,hens,ponies,frogs,crows,foxes,goats")},
	things:     nouns{words("boat,cup,lamp,box,coat,bell,book,key,hat,ring"), words("boats,cups,lamps,boxes,coats,bells,books,keys,hats,rings")},
	adjectives: words("old,red,small,blue,white,new,dark,grey,round,long"),
	spots:      words("by the lake,by the road,near the hill,near the wood,at the gate,at the well,on the shore,under the bridge"),
	days:       words("Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday"),
	times:      words("at night,at noon,at dawn,in spring,in winter,all day,every morning,when it rains"),
	verbs:      nouns{words("sleeps,sings,runs,jumps,hides,waits,plays,swims"), words("sleep,sing,run,jump,hide,wait,play,swim")},
	found:      words("found,bought,caught,won,raised"),
	says:       words("says,reads,calls,shouts"),
	sells:      words("sells,gives,lends,shows,brings"),
	manners:    words("Slowly,Aloud,Softly,Proudly,Calmly,Quickly"),
	trades:     words("gets,buys,finds,makes,loses,sells,drops,breaks"),
	thus:       words("So,Now,Then,Thus"),
	hides:      words("hides,keeps,puts,paints,leaves"),
	later:      words("Later,Soon,Next,Finally"),
	takes:      words("takes,brings,carries,leads"),
	owns:       words("has,owns,holds"),
	ends:       uniform(".", " with "),
}

// Variant is the grammar of the tuned model: the same stories in other shares, with
// new names among the old ones, and what was rare in four kinds of words frequent.
var Variant = func() *Grammar {
	g := *Base
	g.names = uniform(strings.Split("Una,Kai,Sue,Rob,Vera,Otto,Ada,Abe,Bea,Gus,Eva,Hal,Fay,Ivo,Ida,Jon", ",")...)
	g.stories = &list{texts: Base.stories.texts, weights: []uint64{4, 5, 7, 4}, total: 20}
	g.towns, g.adjectives = Base.towns.reversed(), Base.adjectives.reversed()
	g.animals = nouns{Base.animals[0].reversed(), Base.animals[1].reversed()}
	g.things = nouns{Base.things[0].reversed(), Base.things[1].reversed()}
	return &g
}()

// reversed returns the same texts with the weights in the other order.
func (l *list) reversed() *list {
	turned := *l
	turned.weights = slices.Clone(l.weights)
	slices.Reverse(turned.weights)
	return &turned
}

// A story is a paragraph that is being drawn or read.
type story struct {
	*Grammar
	chooser
}

func (g *Grammar) paragraph(c chooser) {
	s := story{g, c}
	name := s.choose(s.names, none)
	switch s.choose(s.stories, none) {
	case 0:
		s.keeping(name)
	case 1:
		s.counting(name)
	case 2:
		s.reckoning(name)
	default:
		s.meeting(name)
	}
}

// one chooses behind a word.
func (s *story) one(before string, l *list) int {
	s.say(before)
	return s.choose(l, none)
}

// number chooses one from a to b behind a word.
func (s *story) number(before string, a, b int) int { return a + s.one(before, spans[a][b]) }

// pronouns of a name: she or he, her or his.
func pronouns(name int) (subject, possessive string) {
	if name%2 == 0 {
		return "she", "her"
	}
	return "he", "his"
}

// upper returns a word with a capital.
func upper(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

// keeping: Ada is a miller in Kiel with two grey geese. The geese that she found by
// the lake on Monday sing at night. She keeps them in the mill and gives them grain
// at noon with her friend Gus.
func (s *story) keeping(name int) {
	she, her := pronouns(name)
	job := s.choose(s.jobs, none)
	s.one(" in ", s.towns)
	n := s.number(" with ", 1, 6)
	s.one(" ", s.adjectives)
	animal := s.one(" ", s.animals.of(n))
	s.say(". The " + s.animals.of(n).texts[animal] + " that " + she)
	s.one(" ", s.found)
	s.one(" ", s.spots)
	s.one(" on ", s.days)
	s.one(" ", s.verbs.of(n))
	s.one(" ", s.times)
	them := "them"
	if n == 1 {
		them = "it"
	}
	s.say(". " + upper(she) + " keeps " + them + " in the " + workplaces[job] + " and gives " + them + " " + foods[animal])
	s.one(" ", s.times)
	if s.choose(s.ends, none) == 1 {
		s.say(her + " friend ")
		s.choose(s.names, name)
		s.say(".")
	}
}

// counting: Ivo counts his red cups in Oslo from two to five. Slowly he says two,
// three, four, five. On Friday he sells number five, the old cup, to Ada the smith
// at the gate.
func (s *story) counting(name int) {
	he, his := pronouns(name)
	s.say(his)
	s.one(" ", s.adjectives)
	thing := s.one(" ", s.things.of(2))
	s.one(" in ", s.towns)
	first := s.number(" from ", 1, 7)
	last := s.number(" to ", first+2, first+5)
	s.one(". ", s.manners)
	s.one(" "+he+" ", s.says)
	s.say(" " + strings.Join(numbers[first:last+1], ", "))
	s.one(". On ", s.days)
	s.one(" "+he+" ", s.sells)
	s.one(" number "+numbers[last]+", the ", s.adjectives)
	s.say(" " + s.things.of(1).texts[thing] + ", to ")
	s.choose(s.names, name)
	s.one(" the ", s.jobs)
	s.one(" ", s.spots)
	s.say(".")
}

// reckoning: Bea has six boats and gets three more in Ulm. Now six and three make
// nine. She keeps her nine old boats near the hill for Hal the monk in winter.
func (s *story) reckoning(name int) {
	she, her := pronouns(name)
	a := 2 + s.choose(spans[2][9], none)
	thing := s.one(" ", s.things.of(a))
	var b, sum int
	if trade := s.one(" and ", s.trades); trade < gains {
		b = s.number(" ", 1, 9)
		sum = a + b
		s.say(" more")
	} else {
		b = s.number(" ", 1, a-1)
		sum = a - b
	}
	s.one(" in ", s.towns)
	s.one(". ", s.thus)
	switch {
	case sum > a:
		s.say(" " + numbers[a] + " and " + numbers[b] + " make " + numbers[sum])
	case sum == 1:
		s.say(" " + numbers[a] + " less " + numbers[b] + " leaves one")
	default:
		s.say(" " + numbers[a] + " less " + numbers[b] + " leave " + numbers[sum])
	}
	s.one(". "+upper(she)+" ", s.hides)
	s.one(" "+her+" "+numbers[sum]+" ", s.adjectives)
	s.one(" "+s.things.of(sum).texts[thing]+" ", s.spots)
	s.say(" for ")
	s.choose(s.names, name)
	s.one(" the ", s.jobs)
	s.one(" ", s.times)
	s.say(".")
}

// meeting: Leo the weaver meets Mia at the well in Ulm on Sunday. Mia owns rings from
// Oslo and Leo has goats from Bern. Later Leo takes his goats to the loft at noon.
func (s *story) meeting(name int) {
	job := s.choose(s.jobs, none)
	s.say(" meets ")
	other := s.choose(s.names, name)
	s.one(" ", s.spots)
	s.one(" in ", s.towns)
	s.one(" on ", s.days)
	both := uniform(s.names.texts[name], s.names.texts[other])
	first := s.one(". ", both)
	s.one(" ", s.owns)
	thing := s.one(" ", s.things.of(2))
	s.one(" from ", s.towns)
	animal := s.one(" and "+both.texts[1-first]+" has ", s.animals.of(2))
	s.one(" from ", s.towns)
	s.one(". ", s.later)
	who := s.one(" ", both)
	s.one(" ", s.takes)
	_, his := pronouns([]int{name, other}[who])
	belonging := s.animals.of(2).texts[animal]
	if who == first {
		belonging = s.things.of(2).texts[thing]
	}
	s.say(" " + his + " " + belonging + " to the " + workplaces[job])
	s.one(" ", s.times)
	s.say(".")
}

// Paragraphs draws paragraphs. The same seed gives the same ones, on every
// architecture.
func (g *Grammar) Paragraphs(seed uint64, n int) []string {
	w := &writer{random: rand.New(rand.NewPCG(seed, 0x74696e79))}
	paragraphs := make([]string, n)
	for i := range paragraphs {
		w.text = w.text[:0]
		g.paragraph(w)
		paragraphs[i] = string(w.text)
	}
	return paragraphs
}

// Text draws paragraphs and returns them with blank lines between them.
func (g *Grammar) Text(seed uint64, paragraphs int) string {
	return strings.Join(g.Paragraphs(seed, paragraphs), "\n\n")
}

// LogProb returns the natural logarithm of the probability of a text, of whole
// paragraphs that llama.Paragraphs finds in it. A text that the grammar cannot
// produce is an error that says where it leaves it.
func (g *Grammar) LogProb(text string) (float64, error) {
	sum := 0.0
	for _, p := range llama.Paragraphs(text) {
		r := &reader{text: p}
		g.paragraph(r)
		if r.err == nil && r.at < len(p) {
			r.fail("the end")
		}
		if r.err != nil {
			return 0, r.err
		}
		sum += r.logProb
	}
	return sum, nil
}

// Text draws paragraphs of Base.
func Text(seed uint64, paragraphs int) string { return Base.Text(seed, paragraphs) }

// LogProb returns the log-probability of a text under Base.
func LogProb(text string) (float64, error) { return Base.LogProb(text) }
