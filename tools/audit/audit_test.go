package audit

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// sequential skips a test that takes long with the race detector, and has nothing for
// it to see, where few tries are asked for.
func sequential(t *testing.T) {
	t.Helper()
	if os.Getenv("SQUISHSPEC_CHECKS") != "" {
		t.Skip("few tries are asked for, and nothing here is concurrent")
	}
}

func TestCodesOfAnyWidthComeBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for bits := 1; bits <= 8; bits++ {
		for n := range 40 {
			codes := make([]uint8, n)
			for i := range codes {
				codes[i] = uint8(r.IntN(1 << bits))
			}
			var record Record
			record.addCodes("codes", codes, bits)
			if want := (n*bits + 7) / 8; record.Bytes() != want {
				t.Errorf("%d codes of %d bits: %d bytes, want %d", n, bits, record.Bytes(), want)
			}
			again, err := record.reread()
			if err != nil {
				t.Fatal(err)
			}
			if got := again.codes("codes", n, bits); !slices.Equal(got, codes) {
				t.Fatalf("%d bits: %v, want %v", bits, got, codes)
			}
		}
	}
}

func TestTernaryCodesComeBack(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for n := range 40 {
		codes := make([]uint8, n)
		for i := range codes {
			codes[i] = uint8(r.IntN(3))
		}
		if got := unpackTernary(packTernary(codes), n); !slices.Equal(got, codes) {
			t.Errorf("%v, want %v", got, codes)
		}
	}
}

func TestHalvesAreRoundedAndClamped(t *testing.T) {
	var record Record
	record.addHalf("h", []float32{1, -0.333251953125, 1e30, float32(math.Pi), 0x1p-24})
	want := []float32{1, -0.333251953125, 65504, 3.140625, 0x1p-24}
	if got := record.half("h"); !slices.Equal(got, want) || record.Bytes() != 10 {
		t.Errorf("%v of %d bytes, want %v of 10", got, record.Bytes(), want)
	}
}

// Every format of round-to-nearest takes what its formula says, and is off by half a
// step at most.
func TestNearestIsWithinHalfAStep(t *testing.T) {
	for _, n := range nearestGrid() {
		w := gaussian(5, 43, 7)
		w.Data[3] = 0
		clear(w.Row(2))
		p := llama.Place{Rows: w.Rows, Cols: w.Cols}
		v := &Variation{}
		got, err := v.through(n.codec(), matrix{Place: p, weights: w})
		if err != nil {
			t.Fatal(err)
		}
		if v.Bytes != v.Formula {
			t.Errorf("%s: %d bytes, the formula says %d", n, v.Bytes, v.Formula)
		}
		at := 0
		n.eachGroup(w, func(group []float32, _ int) {
			largest := 0.0
			for _, x := range group {
				largest = max(largest, math.Abs(float64(x)))
			}
			step := largest / float64(n.largest()) * (1 + 0x1p-10) // float16 scales
			for _, x := range group {
				// The largest may be clipped, where rounding made the scale smaller.
				if d := math.Abs(float64(got.Data[at]) - float64(x)); d > step/2+largest*0x1p-10 {
					t.Errorf("%s: weight %d is off by %v, half a step is %v", n, at, d, step/2)
				}
				at++
			}
		})
	}
}

func TestSameBytesIsTheNearestFormat(t *testing.T) {
	places := []llama.Place{{Rows: 64, Cols: 64}, {Rows: 64, Cols: 172}}
	for _, n := range nearestGrid() {
		bytes := 0
		for _, p := range places {
			bytes += n.bytes(p.Rows, p.Cols)
		}
		got, size := sameBytes(places, bytes), 0
		for _, p := range places {
			size += got.bytes(p.Rows, p.Cols)
		}
		if size != bytes {
			t.Errorf("%s takes %d bytes, and for these was given %s of %d", n, bytes, got, size)
		}
	}
}

// Wilson's interval of 81 in 263 is a textbook's.
func TestWilson(t *testing.T) {
	i := wilson(81, 263)
	if math.Abs(i.Low-0.2553) > 5e-5 || math.Abs(i.High-0.3662) > 5e-5 {
		t.Errorf("%v, want 0.2553…0.3662", i)
	}
	if i := wilson(0, 10); i.Low != 0 || !(i.High > 0.2) {
		t.Errorf("of none: %v", i)
	}
}

// A bootstrap of a mean is about its normal interval, and the same for a seed.
func TestBootstrapOfAMean(t *testing.T) {
	x := gaussian(1, 400, 3).Data
	mean := func(times []int) float64 {
		sum, n := 0.0, 0
		for i, k := range times {
			sum += float64(k) * float64(x[i])
			n += k
		}
		return sum / float64(n)
	}
	i := bootstrap(len(x), 1, "numbers", mean)
	sum, squares := 0.0, 0.0
	for _, v := range x {
		sum += float64(v) / 400
	}
	for _, v := range x {
		squares += (float64(v) - sum) * (float64(v) - sum) / 399
	}
	half := 1.96 * math.Sqrt(squares/400)
	if math.Abs(i.Low-(sum-half)) > half/10 || math.Abs(i.High-(sum+half)) > half/10 {
		t.Errorf("%v…%v, want about %v…%v", i.Low, i.High, sum-half, sum+half)
	}
	if again := bootstrap(len(x), 1, "numbers", mean); again != i {
		t.Errorf("again: %v, want %v", again, i)
	}
}

func TestSentences(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{`One day, Tim ran. "Look!" he said. It was big.`, []string{"One day, Tim ran.", `"Look!"`, "he said."}},
		{"A. B! C? D.", []string{"A.", "B!", "C?"}},
		{"Two of them. That is all.", nil},
		{"no end", nil},
	} {
		got, ok := sentences(c.text, 3)
		if ok != (c.want != nil) || ok && !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %t; want %q", c.text, got, ok, c.want)
		}
	}
}

func TestQuestionsHaveOneRightCandidate(t *testing.T) {
	var paragraphs []string
	thirds := map[string]string{}
	for _, n := range strings.Fields("one two three four five six seven eight nine ten") {
		context := "This is " + n + ". It is here."
		thirds[context] = "Goodbye " + n + "."
		paragraphs = append(paragraphs, context+" "+thirds[context])
	}
	questions := Questions(paragraphs, 8, 1)
	if len(questions) != 8 {
		t.Fatalf("%d questions, want 8", len(questions))
	}
	places := map[int]bool{}
	for _, q := range questions {
		if q.Candidates[q.Right] != thirds[q.Context] {
			t.Errorf("%q: candidate %d of %q is called right", q.Context, q.Right, q.Candidates)
		}
		places[q.Right] = true
		seen := slices.Clone(q.Candidates)
		slices.Sort(seen)
		if len(slices.Compact(seen)) != candidates {
			t.Errorf("%q: %q are not four", q.Context, q.Candidates)
		}
	}
	if len(places) < 2 {
		t.Error("the right candidate is always in the same place")
	}
	if same := Questions([]string{paragraphs[0], paragraphs[0], paragraphs[0], paragraphs[0]}, 8, 1); len(same) != 0 {
		t.Errorf("%d questions of one third sentence, want none", len(same))
	}
}

func TestACalibrationParagraphMustNotJudge(t *testing.T) {
	s := &Subject{Calibration: []string{"a", "b"}, Evaluation: []string{"c"}, Clozes: []string{"d", "b"}}
	err := s.Validate()
	if spec.KindOf(err) != spec.Invalid || !strings.Contains(err.Error(), "cloze paragraph 2") {
		t.Errorf("got %v", err)
	}
}

func TestTaskLinesAreChecked(t *testing.T) {
	choice, partial := Tasks()[0], Tasks()[2]
	if !partial.Partial || choice.Partial {
		t.Fatalf("tasks %v", Tasks())
	}
	good := `{"query": "Question: How?", "choices": ["so", "not so"], "gold": 1}`
	items, err := choice.Items(strings.NewReader(good + "\n" + good))
	if err != nil || len(items) != 2 || items[0].Gold != 1 || items[0].Contexts[0] != "Question: How?\nAnswer:" {
		t.Errorf("%+v, %v", items, err)
	}
	items, err = partial.Items(strings.NewReader(`{"context_options": ["a", "b"], "continuation": "c", "gold": 0}`))
	if err != nil || items[0].choices() != 2 {
		t.Errorf("%+v, %v", items, err)
	}
	if context, continuation := items[0].choice(1); context != "b" || continuation != "c" {
		t.Errorf("choice 1: %q, %q", context, continuation)
	}
	for _, bad := range []string{
		``, `{`, `[]`, `{"query": "q", "choices": ["a", "b"]}`, `{"query": "q", "choices": ["a", "b"], "gold": 2}`, `{"query": "q", "choices": ["a", "b"], "gold": -1}`,
		`{"query": "q", "choices": ["a"], "gold": 0}`, `{"choices": ["a", "b"], "gold": 0}`, `{"query": "", "choices": ["a", "b"], "gold": 0}`,
		`{"query": "q", "choices": ["a", " "], "gold": 0}`, `{"context_options": ["a", "b"], "continuation": "c", "gold": 0}`, `{"query": "q", "choices": "ab", "gold": 0}`,
	} {
		if items, err := choice.Items(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), choice.File) {
			t.Errorf("%s: %v, %v", bad, items, err)
		}
	}
}

// About 39,000 items tell 50% from 51%.
func TestNeededForOnePoint(t *testing.T) {
	if got := needed(0.5); got < 39_000 || got > 39_500 {
		t.Errorf("needed(0.5) = %d", got)
	}
}

// What is wanting is said, and nothing that was measured before it is left.
func TestWhatIsWantingIsUnmeasured(t *testing.T) {
	a := &Audit{Options: Options{Data: t.TempDir()}}
	for _, c := range []struct {
		err  error
		want string
	}{
		{&fs.PathError{Op: "open", Path: filepath.Join(a.Data, "video", "x.raw"), Err: fs.ErrNotExist}, "the data folder has no video/x.raw"},
		{fmt.Errorf("fit: %w", spec.Unsupported), "not offered: fit: unsupported"},
	} {
		f := &Finding{}
		err := claimJudge(func(_ context.Context, _ *Audit, f *Finding) error {
			f.counted(1, "%")
			f.Evidence, f.Curve = []string{"x"}, &Curve{}
			return c.err
		}).run(context.Background(), a, f)
		if err != nil || f.Verdict != Unmeasured || f.Note != c.want || f.Figure != nil || f.Exact || f.Curve != nil || f.Evidence != nil {
			t.Errorf("%v: %v, %+v", c.err, err, f)
		}
	}
	refused := reject("x", "a", "b")
	if err := claimJudge(func(context.Context, *Audit, *Finding) error { return refused }).run(context.Background(), a, &Finding{}); err != refused {
		t.Errorf("%v", err)
	}
}
