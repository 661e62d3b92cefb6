package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
)

func TestASolutionIsTakenApart(t *testing.T) {
	s, err := workedOut("Q?", "She sells 16 - 3 = <<16-3=13=13>>13 eggs.\nThat is 2*13=$<<2*13=26>>26.00, or .50 of <<26/.5=52>>52.\n#### 1,026")
	if err != nil {
		t.Fatal(err)
	}
	if want := "She sells 16 - 3 = 13 eggs.\nThat is 2*13=$26.00, or .50 of 52."; s.question != "Q?" || s.trace != want || s.answer != "1,026" || !slices.Equal(s.results, []string{"13", "26", "52"}) {
		t.Errorf("%+v", s)
	}
}

func TestPlainNumbers(t *testing.T) {
	for number, want := range map[string]string{"16.00": "16", "1,200": "1200", ".50": "0.5", "-10": "10", "007": "7", "0": "0", "0.0": "0", "100": "100", "1.25": "1.25", "3/4": "3/4"} {
		if got := plain(number); got != want {
			t.Errorf("%s: %s, want %s", number, got, want)
		}
	}
}

// A number is stated where it stands on its own, in whatever form.
func TestStated(t *testing.T) {
	s := workedSolution{answer: "18", results: []string{"9", "18", "0.5", "3/4", "1200"}}
	for _, c := range []struct {
		text    string
		answer  bool
		results int
	}{
		{"9 * 2 = $18 every day", true, 2}, {"180 and 218 and 19", false, 0}, {"$18.00, 9.", true, 2}, {"1 8", false, 0}, {"18.5", false, 0},
		{".50 of 1,200", false, 2}, {"a18b", true, 1}, {"3/4", false, 0}, {"", false, 0}, {"-18", true, 1},
	} {
		if answer, results := s.stated(c.text); answer != c.answer || results != c.results {
			t.Errorf("%q: %v and %d, want %v and %d", c.text, answer, results, c.answer, c.results)
		}
	}
}

// Every step of a solution that is drawn is right, and the next goes on with it.
func TestDrawnSolutions(t *testing.T) {
	all := drawWorkedSolutions(1)
	for _, s := range all {
		lines := strings.Split(s.trace, "\n")
		if answer, results := s.stated(s.trace); len(s.results) != len(lines) || !answer || results != len(s.results) || s.results[len(s.results)-1] != s.answer {
			t.Fatalf("%+v", s)
		}
		had := ""
		for i, line := range lines {
			var a, b, c int
			var sign string
			calculation := line[strings.IndexAny(line, "0123456789"):]
			if _, err := fmt.Sscanf(calculation, "%d %s %d = %d ", &a, &sign, &b, &c); err != nil || had != "" && fmt.Sprint(a) != had {
				t.Fatalf("%q behind %s: %v", line, had, err)
			}
			if right := map[string]bool{"+": a+b == c, "-": a-b == c, "*": a*b == c, "/": b*c == a}[sign]; !right || c < 1 || s.results[i] != fmt.Sprint(c) {
				t.Fatalf("%q, result %s", line, s.results[i])
			}
			had = s.results[i]
		}
	}
	if len(all) != drawnSolutions || fmt.Sprint(all) != fmt.Sprint(drawWorkedSolutions(1)) || fmt.Sprint(all) == fmt.Sprint(drawWorkedSolutions(2)) {
		t.Errorf("%d solutions, or not those of the seed", len(all))
	}
}

func TestSolutionsAreChecked(t *testing.T) {
	a := solutionAudit(t, fast.Implementation())
	a.Data = t.TempDir()
	f := &Finding{}
	if err := claimJudge(traceReduction).run(context.Background(), a, f); err != nil || f.Verdict != Unmeasured || !strings.Contains(f.Note, dataTunedText) {
		t.Errorf("no file: %v, %v, %s", err, f.Verdict, f.Note)
	}
	good := solutionLine("a?", "1+1=<<1+1=2>>2\n#### 2")
	for _, c := range []struct{ line, want string }{
		{"", "a JSON object"}, {good[:20], "a JSON object"}, {"[]", "a JSON object"}, {`{"question": 1, "answer": "b"}`, "a JSON object"},
		{`{"question": "a"}`, "the fields question and answer"}, {`{"answer": "a"}`, "the fields question and answer"},
		{solutionLine(" ", "1\n#### 1"), "question: want a text"}, {solutionLine("a?", ""), "answer: want a text"},
		{solutionLine("a?", "1+1=<<1+1=2>>2"), "a last one of ####"}, {solutionLine("a?", "1+1=2\n#### two"), "a last one of ####"},
		{solutionLine("a?", "1+1=2\n#### "), "a last one of ####"}, {solutionLine("a?", "1+1=2\n#### 2\n#### 2"), "a last one of ####"},
		{solutionLine("a?", "1+1=2\n#### 2 "), "a last one of ####"}, {solutionLine("a?", "#### 2"), "a last one of ####"},
		{solutionLine("a?", "\n#### 2"), "steps before"}, {solutionLine("a?", "<<1+1=2>>\n#### 2"), "steps before"},
		{solutionLine("a?", "1+1=<<1+1=2\n#### 2"), "<< and >> in pairs"}, {solutionLine("a?", "1+1=2>>\n#### 2"), "<< and >> in pairs"},
		{solutionLine("a?", "1+1=<<2>>2\n#### 2"), "a calculation, ="}, {solutionLine("a?", "1+1=<<1+1=>>2\n#### 2"), "a calculation, ="},
		{solutionLine("a?", "1+1=<<=2>>2\n#### 2"), "a calculation, ="},
	} {
		spoil(t, a.Data, dataTunedText, good+"\n"+c.line+"\n"+good+"\n")
		f := &Finding{}
		err := traceReduction(context.Background(), a, f)
		refused(t, f, err, dataTunedText+", line 2: ")
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 250 {
			t.Errorf("%.60s: %v, want %q", c.line, err, c.want)
		}
	}
	spoil(t, a.Data, dataTunedText, "")
	f = &Finding{}
	refused(t, f, traceReduction(context.Background(), a, f), dataTunedText)

	spoil(t, a.Data, dataTunedText, solutionLine("a?", "1+1=<<1+1=2>>two\n#### 2")+"\n")
	f = &Finding{}
	if err := claimJudge(traceReduction).run(context.Background(), a, f); err != nil || f.Verdict != Unmeasured || f.Figure != nil {
		t.Errorf("nothing is stated: %v, %+v", err, f)
	}
}

// The fine-tune is judged on the first ones, as text has them.
func TestSolutionsAsText(t *testing.T) {
	dir := t.TempDir()
	spoil(t, dir, dataTunedText, strings.Repeat(solutionLine("a?", "1+1=<<1+1=2>>2\n#### 2")+"\n", judged+1))
	got, err := solutions(dir)
	if err != nil || len(got) != judged || got[0] != "a? 1+1=2\n2" {
		t.Errorf("%d, %q, %v", len(got), got[:1], err)
	}
	spoil(t, dir, dataTunedText, strings.Repeat(solutionLine("a?", "b")+"\n", judged)+"{}")
	if _, err := solutions(dir); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s, line %d: audit: solution: want the fields", dataTunedText, judged+1)) {
		t.Errorf("%v", err)
	}
}
