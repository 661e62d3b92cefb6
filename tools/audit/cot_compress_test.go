package audit

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/llama/tiny"
	"github.com/squishspec/squishspec/spec"
)

// solutionAudit is an audit with a tokenizer, and no fine-tune.
func solutionAudit(t *testing.T, impl spec.Implementation) *Audit {
	t.Helper()
	vocabulary, err := tiny.Vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	a := traceAudit(t, impl)
	a.Subject.Tokenizer = vocabulary
	return a
}

func solutionLine(question, answer string) string {
	line, err := json.Marshal(map[string]string{"question": question, "answer": answer})
	if err != nil {
		panic(err)
	}
	return string(line)
}

func TestWordsOfATrace(t *testing.T) {
	trace := inWords("Is it 1,200?", "It's 80*1.5=$1,200.\nIs it .5 or 12,34?", "\n")
	if want := []int64{1, 2, 3, 4}; !slices.Equal(trace.question, want) {
		t.Errorf("question %v, want %v", trace.question, want)
	}
	// It's 80 * 1.5 = $ 1,200 . \n Is it .5 or 12 , 34 ?
	if want := []int64{5, 6, 7, 8, 9, 10, 3, 11, 0, 1, 2, 12, 13, 14, 15, 16, 4}; !slices.Equal(trace.trace, want) {
		t.Errorf("trace %v, want %v", trace.trace, want)
	}
	for _, c := range []struct {
		places []int
		want   string
	}{
		{span(0, 17), "It's 80*1.5=$1,200.\nIs it .5 or 12,34?"}, {[]int{1, 3, 4, 6, 7}, "80 1.5= 1,200."}, {[]int{0, 1, 13, 15}, "It's 80 12 34"},
		{[]int{8, 9}, "\nIs"}, {nil, ""},
	} {
		if got, err := trace.text(c.places); err != nil || got != c.want {
			t.Errorf("%v: %q, %v; want %q", c.places, got, err, c.want)
		}
	}
}

// Digits whose neighbours go are another number, and digits that come together too.
func TestAModelsTokensOfATrace(t *testing.T) {
	vocabulary, err := tiny.Vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	trace := inPieces(vocabulary, "Ada", "18, 29\n")
	// A space, then bytes, of which none is a piece of this vocabulary: 1 8 , space 2 9 \n
	if len(trace.trace) != 8 || len(trace.question) != 1 {
		t.Fatalf("%v, %v", trace.question, trace.trace)
	}
	for _, c := range []struct {
		places []int
		want   string
	}{{span(0, 8), "18, 29\n"}, {[]int{1, 2, 5, 6}, "1829"}, {[]int{0, 2, 5}, "82"}} {
		if got, err := trace.text(c.places); err != nil || got != c.want {
			t.Errorf("%v: %q, %v; want %q", c.places, got, err, c.want)
		}
	}
	ends, err := lineEnds(vocabulary, []tokenTrace{trace, trace})
	if err != nil || !slices.Equal(ends, trace.trace[7:]) {
		t.Errorf("ends %v, %v; want %v", ends, err, trace.trace[7:])
	}
}

func TestPlacesOfKeptTokens(t *testing.T) {
	trace := []int64{5, 6, 5, 7, 6}
	for _, c := range []struct {
		kept  []int64
		want  []int
		found bool
	}{
		{[]int64{5, 5, 6}, []int{0, 2, 4}, true}, {[]int64{6, 7}, []int{1, 3}, true}, {trace, []int{0, 1, 2, 3, 4}, true}, {nil, nil, true},
		{[]int64{7, 5}, nil, false}, {[]int64{8}, nil, false}, {[]int64{6, 6, 6}, nil, false},
	} {
		if got, found := placesOf(trace, c.kept); !slices.Equal(got, c.want) || found != c.found {
			t.Errorf("%v: %v, %v; want %v", c.kept, got, found, c.want)
		}
	}
}

// Every way keeps as many tokens of a trace: the module's own, drawn ones, the first
// and the last.
func TestShortenings(t *testing.T) {
	a := solutionAudit(t, fast.Implementation())
	line := "so it is and so on"
	trace := strings.Repeat(line+" \n ", 6) + "9 it is"
	traces := []tokenTrace{inWords("Why?", trace, "\n"), inWords("Why?", "1 and 2", "\n")}
	s, err := a.shorten(traces, []int64{stepEnd}, 0.4)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{byModule, "no question", "squish6", byLot, byPlace, "last"}; !slices.Equal(s.names, want) {
		t.Fatalf("%v, want %v", s.names, want)
	}
	if want := 100 * 18. / (45 + 3); math.Abs(s.removed-want) > 1e-12 { // of 45 tokens 18 go, of 3 none
		t.Errorf("%v%% removed, want %v", s.removed, want)
	}
	for way, texts := range s.texts {
		if n := len(wordPattern.FindAllString(texts[0], -1)); n != 27 || texts[1] != "1 and 2" {
			t.Errorf("%s: %d of %q", s.names[way], n, texts)
		}
	}
	for name, is := range map[string]func(s, end string) bool{byPlace: strings.HasPrefix, "last": strings.HasSuffix} {
		if texts, found := s.of(name); !found || !is(trace, texts[0]) {
			t.Errorf("%s: %q", name, texts)
		}
	}
	for _, name := range []string{byModule, "no question", "squish6"} {
		if texts, _ := s.of(name); !strings.Contains(texts[0], "9") {
			t.Errorf("%s: the rarest word went: %q", name, texts[0])
		}
	}
	// "9" comes once, and, on and the line's end six times, it and is seven, so twelve.
	if rare, _ := s.of("squish6"); rare[0] != strings.Repeat("it is and on \n ", 4)+strings.Repeat("and on \n ", 2)+"9" {
		t.Errorf("squish6: %q", rare[0])
	}
	lot, _ := s.of(byLot)
	for way, texts := range s.texts {
		if s.names[way] != byLot && texts[0] == lot[0] {
			t.Errorf("%s is drawn: %q", s.names[way], lot[0])
		}
	}
	ways, err := a.shortenings([]int64{stepEnd}, 0.4)
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := ways[slices.Index(s.names, byLot)].keep(&traces[0], 27)
	if err != nil || len(slices.Compact(drawn)) != 27 || !slices.IsSorted(drawn) {
		t.Errorf("drawn %v, %v", drawn, err)
	}
	a.Implementation.Offers = []string{"cot-compress"}
	if s, err = a.shorten(traces, []int64{stepEnd}, 0.4); err != nil || slices.Contains(s.names, "squish6") {
		t.Errorf("%v, %v: a variant that is not offered", s.names, err)
	}
}

// Of words that are alike but for the question, those stay that it has.
func TestTheQuestionIsAskedFor(t *testing.T) {
	a := solutionAudit(t, fast.Implementation())
	trace := inWords("t s r", "a b c d e f g h i j k l m n o p q r s t", "\n")
	s, err := a.shorten([]tokenTrace{trace}, []int64{stepEnd}, 0.4) // 16 stay, at least
	if err != nil {
		t.Fatal(err)
	}
	asked, _ := s.of(byModule)
	other, _ := s.of("no question")
	if want := "a b c d e f g h i j k l m r s t"; asked[0] != want {
		t.Errorf("%q, want %q", asked[0], want)
	}
	if want := "a b c d e f g h i j k l m n o p"; other[0] != want {
		t.Errorf("without the question %q, want %q", other[0], want)
	}
}

func TestSurvivalIsCountedAndCompared(t *testing.T) {
	a := solutionAudit(t, fast.Implementation())
	solutions := []workedSolution{{answer: "4", results: []string{"2", "4"}}, {answer: "9", results: []string{"9"}}, {answer: "7"}}
	got := survivalOf(solutions, []string{"2, 4", "8", "7"})
	if !slices.Equal(got[0], []float64{1, 0, 1}) || !slices.Equal(got[1], []float64{2, 0, 0}) {
		t.Errorf("%v", got)
	}
	percent, interval := a.percentOf(got[1], []float64{2, 1, 0})
	if math.Abs(percent-100*2./3) > 1e-12 || interval.Low != 0 || interval.High != 100 {
		t.Errorf("%v%%, %v", percent, interval)
	}
	if points, _ := a.pointsBeyond([]float64{2, 0, 0}, []float64{0, 1, 0}, []float64{2, 1, 1}); points != 25 {
		t.Errorf("%v points, want 25", points)
	}
}

func TestTraceReductionOfDrawnProblems(t *testing.T) {
	sequential(t)
	f, again := &Finding{}, &Finding{}
	for _, f := range []*Finding{f, again} {
		if err := traceReduction(context.Background(), solutionAudit(t, fast.Implementation()), f); err != nil {
			t.Fatal(err)
		}
	}
	if f.Verdict != Conditional || !strings.Contains(f.Note, "More than 5% is lost, or may be, of results in words, answers in the model's tokens, results in the model's tokens.") || !f.Exact || len(f.Curve.Rows) != 14 || f.Note != again.Note || !strings.Contains(f.Note, "no fine-tune") {
		t.Errorf("%+v", f)
	}
	removed := 0.0
	for i, row := range f.Curve.Rows {
		if i == 7 {
			removed = 0
		}
		if len(row) != len(f.Curve.Columns) || row[2] <= removed || row[2] > 100*row[1] {
			t.Errorf("row %d of %d columns: %v", i, len(f.Curve.Columns), row)
		}
		removed = row[2]
		if row[1] == 0.4 && row[0] == 0 && row[2] != *f.Figure {
			t.Errorf("%v, the figure is %v", row, *f.Figure)
		}
	}
}

func TestTheReductionVerdictNeedsAllOfIt(t *testing.T) {
	all := func() (words, models *swept) {
		yes := [2]bool{true, true}
		return &swept{shortened: &shortened{removed: 40}, left: yes, ahead: yes}, &swept{shortened: &shortened{}, left: yes}
	}
	for i, c := range []struct {
		spoil func(words, models *swept)
		want  Verdict
	}{
		{func(words, models *swept) {}, Supported},
		{func(words, models *swept) { words.removed = 30 }, Supported}, {func(words, models *swept) { words.removed = 29.9 }, Refuted},
		{func(words, models *swept) { words.removed = 50 }, Supported}, {func(words, models *swept) { words.removed = 50.1 }, Refuted},
		{func(words, models *swept) { words.left[0] = false }, Refuted}, {func(words, models *swept) { words.ahead[0] = false }, Refuted},
		{func(words, models *swept) { words.left[1] = false }, Conditional}, {func(words, models *swept) { words.ahead[1] = false }, Conditional},
		{func(words, models *swept) { models.left[0] = false }, Conditional}, {func(words, models *swept) { models.left[1] = false }, Conditional},
		{func(words, models *swept) { models.ahead = [2]bool{} }, Supported},
	} {
		words, models := all()
		c.spoil(words, models)
		if got := verdictOf(words, models); got != c.want {
			t.Errorf("case %d: %v, want %v", i, got, c.want)
		}
	}
}

// Of a hundred solutions with an answer and two results each, the module leaves 99 and
// a result less of every second one.
func TestReductionsAreCompared(t *testing.T) {
	a := solutionAudit(t, fast.Implementation())
	survivalOf := func(answers, results func(i int) float64) (s survival) {
		for i := range 100 {
			s[0], s[1] = append(s[0], answers(i)), append(s[1], results(i))
		}
		return s
	}
	below := func(n int) func(i int) float64 {
		return func(i int) float64 {
			if i < n {
				return 1
			}
			return 0
		}
	}
	stated := survivalOf(below(100), func(int) float64 { return 2 })
	stated[1][0] = 0 // one has no results
	module := survivalOf(below(99), func(i int) float64 { return float64(1 + i%2) })
	module[1][0] = 0
	near := survivalOf(below(98), func(i int) float64 { return module[1][i] })
	near[1][1]--
	poor := survivalOf(below(50), func(int) float64 { return 1 })
	middling := survivalOf(below(50), func(int) float64 { return 2 })
	for _, c := range []struct {
		lot, place survival
		ahead      [2]bool
	}{{poor, poor, [2]bool{true, true}}, {near, poor, [2]bool{}}, {module, poor, [2]bool{}}, {poor, module, [2]bool{}}, {middling, poor, [2]bool{true, false}}, {poor, middling, [2]bool{true, false}}} {
		s := &shortened{removed: 40, names: []string{byModule, byLot, byPlace, "last"}}
		got := a.compare(s, []survival{module, c.lot, c.place, stated}, stated, []string{"last"})
		// 99 of 100 are more than 95, within the interval; three of four are not.
		if got.left != [2]bool{true, false} || got.ahead != c.ahead {
			t.Errorf("%v, %v; want %v: %s", got.left, got.ahead, c.ahead, got.note)
		}
		for _, want := range []string{"40.0% go, 99.0% of the answers (", "75.3% of the results (", "all of a solution's results in 50.5% (40.8…60.1%)", "in points of answers and of results against last -1.0 ("} {
			if !strings.Contains(got.note, want) || strings.Contains(got.note, byLot) {
				t.Errorf("no %q in %s", want, got.note)
			}
		}
	}
}

// A broken module keeps as many tokens of a trace, chosen by its own rule.
type broken struct {
	spec.CotCompress
	keep func(tokens []int64, n int) []int64
}

func (b broken) Compress(dst *[]int64, tokens, query []int64) error {
	if err := b.CotCompress.Compress(dst, tokens, query); err != nil {
		return err
	}
	*dst = b.keep(tokens, len(*dst))
	return nil
}

func breaking(keep func(tokens []int64, n int) []int64) spec.Implementation {
	impl := fast.Implementation()
	honest := impl.CotCompress
	impl.CotCompress = func(config spec.CotCompressConfig) (spec.CotCompress, error) {
		c, err := honest(config)
		return broken{c, keep}, err
	}
	return impl
}

// commonest keeps the tokens that occur most often, or where turned the least often.
func commonest(turned bool) func([]int64, int) []int64 {
	return func(tokens []int64, n int) (kept []int64) {
		times := map[int64]int{}
		for _, id := range tokens {
			times[id]++
		}
		order := span(0, len(tokens))
		slices.SortStableFunc(order, func(i, k int) int {
			if turned {
				i, k = k, i
			}
			return times[tokens[k]] - times[tokens[i]]
		})
		order = order[:n]
		slices.Sort(order)
		for _, i := range order {
			kept = append(kept, tokens[i])
		}
		return kept
	}
}

// Traces of a few words that come again and again, and of a number in each line that
// does not.
func clearProblems() string {
	var lines strings.Builder
	for n := range 120 {
		var steps []string
		for digit := range 3 {
			word := strings.Repeat("so it is so it is so it is so it is ", 3)
			steps = append(steps, word+"<<0+"+string(rune('1'+(n+digit)%9))+"="+string(rune('1'+(n+digit)%9))+">>"+string(rune('1'+(n+digit)%9)))
		}
		lines.WriteString(solutionLine("And?", strings.Join(steps, "\n")+"\n#### "+string(rune('1'+(n+2)%9))) + "\n")
	}
	return lines.String()
}

// Who keeps other tokens gets another verdict, and who keeps none of the trace's is
// refused.
func TestTheReductionVerdictIsMeasured(t *testing.T) {
	sequential(t)
	lines := clearProblems()
	for _, c := range []struct {
		name string
		impl spec.Implementation
		want Verdict
	}{
		{"the module", fast.Implementation(), Supported},
		{"the rarest", breaking(commonest(true)), Supported},
		{"the commonest", breaking(commonest(false)), Refuted},
		{"the first", breaking(func(tokens []int64, n int) []int64 { return tokens[:n] }), Refuted},
		{"all", breaking(func(tokens []int64, n int) []int64 { return tokens }), Refuted},
		{"few", breaking(func(tokens []int64, n int) []int64 { return commonest(true)(tokens, n/2) }), Refuted},
		// The answers alone: what comes last.
		{"the last", breaking(func(tokens []int64, n int) []int64 { return tokens[len(tokens)-n:] }), Conditional},
	} {
		a := solutionAudit(t, c.impl)
		a.Data = t.TempDir()
		spoil(t, a.Data, dataTunedText, lines)
		f := &Finding{}
		if err := traceReduction(context.Background(), a, f); err != nil || f.Verdict != c.want {
			t.Errorf("%s: %v, %v; want %v: %s", c.name, f.Verdict, err, c.want, f.Note)
		}
	}
	for name, keep := range map[string]func(tokens []int64, n int) []int64{
		"another order": func(tokens []int64, n int) []int64 {
			kept := slices.Clone(tokens[:n])
			slices.Reverse(kept)
			return kept
		},
		"other tokens": func(_ []int64, n int) []int64 { return make([]int64, n) },
	} {
		f := &Finding{}
		err := traceReduction(context.Background(), solutionAudit(t, breaking(keep)), f)
		if err == nil || !strings.Contains(err.Error(), "cannot be trusted") || f.Verdict != "" {
			t.Errorf("%s: %v, %v", name, err, f.Verdict)
		}
	}
}

func TestTailOfTokens(t *testing.T) {
	vocabulary, err := tiny.Vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text, end string
		want      int
	}{{"Ada has 18", "18", 2}, {"Ada\n18", "18", 2}, {"Ada Gus", "Gus", 1}, {"Ada", "Ada", 1}} {
		if got, err := tail(vocabulary, vocabulary.Encode(c.text), c.end); err != nil || got != c.want {
			t.Errorf("%q of %q: %d, %v; want %d", c.end, c.text, got, err, c.want)
		}
	}
	if _, err := tail(vocabulary, vocabulary.Encode("Ada"), "Gus"); err == nil {
		t.Error("an end that is not there is found")
	}
}

// The surprisal of an end is what is left of the whole text's without its beginning,
// whatever was computed before it.
func TestSurprisalIsOfTheEnd(t *testing.T) {
	model, err := tiny.Tuned()
	if err != nil {
		t.Fatal(err)
	}
	vocabulary, err := tiny.Vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	paragraphs := tiny.Variant.Paragraphs(9, 2)
	solutions, _ := concluded(paragraphs)
	var ways []conclusion
	for _, s := range solutions {
		ways = append(ways, conclusion{s.trace + " ", s.answer}, conclusion{s.trace[:20] + " ", s.answer}, conclusion{"", s.answer})
	}
	long := conclusion{strings.Repeat("Ada ", model.Config.Context-1), "Ada"} // a token a word, behind BOS
	fits := conclusion{strings.Repeat("Ada ", model.Config.Context-2), "Ada"}
	got, err := surprisals(context.Background(), model, vocabulary, [][]conclusion{append(slices.Clone(ways[1:]), long), ways, ways})
	if err != nil || len(got) != len(ways) || len(got[0]) != 2 {
		t.Fatalf("%v, %v: a text that does not fit is left out, the others are not", got, err)
	}
	for way, c := range ways {
		s, err := llama.NewSession[float32](model)
		if err != nil {
			t.Fatal(err)
		}
		tokens := vocabulary.Encode(c.before + c.end)
		if err := s.Extend(tokens[0]); err != nil {
			t.Fatal(err)
		}
		scores, err := s.Score(tokens[1:])
		if err != nil {
			t.Fatal(err)
		}
		behind := len(llama.Continue(vocabulary, c.end))
		want := -total(scores[len(scores)-behind:])
		if nll := got[way][0]; nll.Tokens != behind || math.Abs(nll.NLL-want) > 1e-4*want || nll != got[way][1] {
			t.Errorf("way %d: %+v, want %v of %d tokens", way, nll, want, behind)
		}
	}
	if got, err := surprisals(context.Background(), model, vocabulary, [][]conclusion{{fits}}); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := surprisals(context.Background(), model, vocabulary, [][]conclusion{{long}}); err != nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestRival(t *testing.T) {
	list := []workedSolution{{answer: "18"}, {answer: "5"}, {answer: "18"}, {answer: "100"}, {answer: "27"}}
	for i, want := range []string{"27", "18", "27", "27", "18"} {
		if got := rival(list, i); got != want {
			t.Errorf("%s: %s, want %s", list[i].answer, got, want)
		}
	}
	if got := rival(list[:1], 0); got != "18" {
		t.Errorf("of one: %s", got)
	}
}

// The fine-tune knows the last sentence of its own language from another one, and
// expects it behind the whole more than behind a part.
func TestTheFineTuneIsAsked(t *testing.T) {
	a := solutionAudit(t, fast.Implementation())
	var err error
	if a.Subject.Tuned, err = tiny.Tuned(); err != nil {
		t.Fatal(err)
	}
	a.Subject.TunedEvaluation = tiny.Variant.Paragraphs(11, 30)
	said, err := a.expectedAnswers(context.Background(), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"30 of 30 fit", "costs more in 100.0% of them", "first +", "random +", "squish6 +", "documented +", "no trace +", "documented beyond random +"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in %s", want, said)
		}
	}
	// With real inputs, the answer stands behind the solution's question, on a line of its own.
	a.Data = t.TempDir()
	solutions, traces := concluded(a.Subject.TunedEvaluation)
	if s, sentence := solutions[0], traces[0].trace; s.trace+" "+s.answer != a.Subject.TunedEvaluation[0] || sentence[len(sentence)-1] != stepEnd || slices.Index(sentence, stepEnd) == len(sentence)-1 {
		t.Errorf("%+v, %v", s, sentence) // the trace has two sentences
	}
	s, err := a.shorten(traces, []int64{stepEnd}, 0.4)
	if err != nil {
		t.Fatal(err)
	}
	want, err := a.surprise(context.Background(), solutions, s, s.texts[0], "\n")
	if err != nil {
		t.Fatal(err)
	}
	if said, err = a.expectedAnswers(context.Background(), solutions, s, s); err != nil || !strings.HasSuffix(said, want) || !strings.Contains(said, "documented of the model's tokens") {
		t.Errorf("%s, %v; want %s", said, err, want)
	}
	a.Subject.TunedEvaluation, a.Data = nil, ""
	if said, err = a.expectedAnswers(context.Background(), nil, nil, nil); err != nil || !strings.Contains(said, "not one of them fits") {
		t.Errorf("%s, %v", said, err)
	}
}

// The shares are an independent program's.
func TestGSM8K(t *testing.T) {
	sequential(t)
	all, err := readWorkedSolutions(dataDir(t))
	if err != nil {
		t.Fatal(err)
	}
	a := solutionAudit(t, fast.Implementation())
	var traces []tokenTrace
	var whole []string
	for _, s := range all {
		traces, whole = append(traces, inWords(s.question, s.trace, "\n")), append(whole, s.trace)
	}
	s, err := a.shorten(traces, []int64{stepEnd}, 0.4)
	if err != nil {
		t.Fatal(err)
	}
	stated := survivalOf(all, whole)
	if len(all) != 1319 || total(stated[0]) != 1314 || total(stated[1]) != 4281 || math.Abs(s.removed-39.18) > 0.02 {
		t.Errorf("%d solutions, %v answers, %v results, %v%% removed", len(all), total(stated[0]), total(stated[1]), s.removed)
	}
	for name, want := range map[string][2]float64{byModule: {94.825, 78.416}, byPlace: {9.741, 57.697}, "last": {100, 96.216}} {
		texts, _ := s.of(name)
		for of, n := range survivalOf(all, texts) {
			if got := 100 * total(n) / total(stated[of]); math.Abs(got-want[of]) > 0.06 {
				t.Errorf("%s: %.3f%% of the %s, want %.3f%%", name, got, surviving[of], want[of])
			}
		}
	}
}
