package audit

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
)

// A workedSolution is a question with the steps that lead to its answer.
type workedSolution struct {
	question string
	trace    string   // the solution's lines, without marks and without the answer's own
	answer   string   // a number, as it is written
	results  []string // of the trace's steps, as their marks have them
}

// questionAndAnswer reads a line of GSM8K.
func questionAndAnswer(line []byte) (question, answer string, err error) {
	var item struct{ Question, Answer *string }
	if err := json.Unmarshal(line, &item); err != nil {
		return "", "", reject("solution", "a JSON object with the fields question and answer", err)
	}
	switch {
	case item.Question == nil || item.Answer == nil:
		return "", "", reject("solution", "the fields question and answer", "others")
	case strings.TrimSpace(*item.Question) == "":
		return "", "", reject("question", "a text", "none")
	case strings.TrimSpace(*item.Answer) == "":
		return "", "", reject("answer", "a text", "none")
	}
	return *item.Question, *item.Answer, nil
}

// readWorkedSolutions reads GSM8K's, all of them.
func readWorkedSolutions(dir string) (all []workedSolution, err error) {
	err = eachLine(dir, dataTunedText, func(_ int, line []byte) error {
		question, answer, err := questionAndAnswer(line)
		if err != nil {
			return err
		}
		s, err := workedOut(question, answer)
		all = append(all, s)
		return err
	})
	return all, err
}

// A number has digits, commas between thousands, and a fraction; a calculation stands
// between marks before its result: <<3*5=15>>.
const number = `\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+`

var (
	anyNumber    = regexp.MustCompile(number)
	wholeNumber  = regexp.MustCompile(`^-?(?:` + number + `)$`)
	calculations = regexp.MustCompile(`<<([^<>]*)>>`)
)

// workedOut takes an answer in GSM8K's form apart: lines of steps, and a last one of
// #### and the final answer.
func workedOut(question, answer string) (workedSolution, error) {
	trace, final, found := strings.Cut(answer, "\n#### ")
	if !found || !wholeNumber.MatchString(final) {
		return workedSolution{}, reject("answer", "lines of steps and a last one of #### and a number", fmt.Sprintf("%.60q", answer[strings.LastIndex(answer, "\n")+1:]))
	}
	s := workedSolution{question: question, trace: calculations.ReplaceAllString(trace, ""), answer: final}
	if strings.Contains(s.trace, "<<") || strings.Contains(s.trace, ">>") {
		return workedSolution{}, reject("answer", "<< and >> in pairs", fmt.Sprintf("%.60q", s.trace))
	}
	if strings.TrimSpace(s.trace) == "" {
		return workedSolution{}, reject("answer", "steps before the final answer", "none")
	}
	for _, c := range calculations.FindAllStringSubmatch(trace, -1) {
		at := strings.LastIndex(c[1], "=")
		if at < 1 || at+1 == len(c[1]) {
			return workedSolution{}, reject("step", "a calculation, = and its result", fmt.Sprintf("%.60q", c[1]))
		}
		s.results = append(s.results, c[1][at+1:])
	}
	return s, nil
}

// plain is the one form of equal numbers: 16 of 16.00, 1200 of 1,200, 0.5 of .50. The
// sign is left out, which a text has as a hyphen too.
func plain(number string) string {
	number = strings.ReplaceAll(strings.TrimPrefix(number, "-"), ",", "")
	whole, fraction, _ := strings.Cut(number, ".")
	whole, fraction = strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")
	if whole == "" {
		whole = "0"
	}
	if fraction == "" {
		return whole
	}
	return whole + "." + fraction
}

// stated says what a text has, as numbers of their own, of the solution's answer and
// of the results of its steps.
func (s *workedSolution) stated(text string) (answer bool, results int) {
	has := map[string]bool{}
	for _, n := range anyNumber.FindAllString(text, -1) {
		has[plain(n)] = true
	}
	for _, r := range s.results {
		if has[plain(r)] {
			results++
		}
	}
	return has[plain(s.answer)], results
}

// drawnSolutions is how many are drawn.
const drawnSolutions = 300

// drawWorkedSolutions draws stories of somebody who has things, in two to six steps,
// with solutions in GSM8K's form. What follows a step's result is now and then a
// repetition of it, as there.
func drawWorkedSolutions(seed uint64) (all []workedSolution) {
	r := rand.New(rand.NewPCG(seed, 0x650b))
	pick := func(words string) string {
		list := strings.Split(words, ",")
		return list[r.IntN(len(list))]
	}
	for range drawnSolutions {
		name, thing := pick("Ada,Ben,Carla,Dan,Eva,Finn,Greta,Hugo"), pick("apples,books,stamps,coins,eggs,cards,pencils,shells")
		have := 4 + r.IntN(90)
		question := fmt.Sprintf("%s has %d %s.", name, have, thing)
		var steps []string
		for range 2 + r.IntN(5) {
			place, other := pick("market,school,fair,harbour,shop,station"), pick("neighbour,sister,teacher,cousin,friend")
			by, sign, result := 2+r.IntN(40), "+", 0
			var story, after string
			switch divisor := 2 + r.IntN(4); {
			case have%divisor == 0 && r.IntN(2) == 0:
				by, sign, result = divisor, "/", have/divisor
				story, after = fmt.Sprintf("At the %s they are shared by %d people.", place, by), "a share"
			case have > 3 && r.IntN(2) == 0:
				by, sign = 1+r.IntN(have-2), "-"
				result = have - by
				story, after = fmt.Sprintf("Then %d go to a %s.", by, other), "left"
			case have < 200 && r.IntN(3) == 0:
				by, sign = 2+r.IntN(3), "*"
				result = have * by
				story, after = fmt.Sprintf("A %s has %d times as many and swaps.", other, by), "from the "+other
			default:
				result = have + by
				story, after = fmt.Sprintf("Another %d come from the %s.", by, place), "with those from the "+place
			}
			question += " " + story
			step := fmt.Sprintf("%d %s %d = <<%d%s%d=%d>>%d %s %s.", have, sign, by, have, sign, by, result, result, thing, after)
			steps = append(steps, pick("That makes ,There are ,So "+name+" has ,This is ,Now it is ")+step)
			have = result
		}
		question += fmt.Sprintf(" How many %s does %s have?", thing, name)
		s, err := workedOut(question, fmt.Sprintf("%s\n#### %d", strings.Join(steps, "\n"), have))
		if err != nil {
			panic(err) // a solution that is drawn is in the form
		}
		all = append(all, s)
	}
	return all
}
