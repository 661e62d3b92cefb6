package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// A Task is a file of multiple-choice items, scored as lm-evaluation-harness does.
type Task struct {
	Name   string // the page's: ARC-Easy, HellaSwag, WinoGrande, PIQA
	Metric string // acc, or acc_norm: log-probabilities divided by the bytes of the choice
	File   string // below the data folder
	// Partial is WinoGrande's evaluation: contexts differ and the continuation is the
	// same, whose log-probability is compared.
	Partial bool
}

// Tasks are the page's, with the files that have them.
func Tasks() []Task {
	files := map[string]string{"ARC-Easy": "arc_easy.jsonl", "HellaSwag": "hellaswag_small.jsonl", "WinoGrande": "winogrande.jsonl", "PIQA": "piqa.jsonl"}
	var tasks []Task
	for _, s := range spec.AccuracyBaseline().Scores {
		tasks = append(tasks, Task{Name: s.Task, Metric: s.Metric, File: filepath.Join("mc", files[s.Task]), Partial: s.Task == "WinoGrande"})
	}
	return tasks
}

// An Item is a question of a task.
type Item struct {
	Contexts, Continuations []string // pairs: one of the two lists has one element for all
	Gold                    int
}

func (i *Item) choices() int { return max(len(i.Contexts), len(i.Continuations)) }

func (i *Item) choice(n int) (context, continuation string) {
	return i.Contexts[min(n, len(i.Contexts)-1)], i.Continuations[min(n, len(i.Continuations)-1)]
}

// Items reads the task's file. Every line is checked: a task with a wrong one is
// refused whole.
func (t *Task) Items(r io.Reader) (items []Item, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for number := 1; lines.Scan(); number++ {
		item, err := t.item(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", t.File, number, err)
		}
		items = append(items, item)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", t.File, err)
	}
	if len(items) == 0 {
		return nil, reject(t.File, "a line for each item", "none")
	}
	return items, nil
}

func (t *Task) item(line []byte) (item Item, err error) {
	var fields struct {
		Query        *string  `json:"query"`
		Choices      []string `json:"choices"`
		Contexts     []string `json:"context_options"`
		Continuation *string  `json:"continuation"`
		Gold         *int     `json:"gold"`
	}
	if err := json.Unmarshal(line, &fields); err != nil {
		return item, reject("item", "a JSON object with the task's fields", err)
	}
	if t.Partial {
		if fields.Contexts == nil || fields.Continuation == nil {
			return item, reject("item", "the fields context_options, continuation and gold", "others")
		}
		item.Contexts, item.Continuations = fields.Contexts, []string{*fields.Continuation}
	} else {
		if fields.Query == nil || fields.Choices == nil {
			return item, reject("item", "the fields query, choices and gold", "others")
		}
		query := strings.TrimRight(*fields.Query, " \n")
		if strings.HasPrefix(query, "Question: ") {
			query += "\nAnswer:"
		}
		item.Contexts, item.Continuations = []string{query}, fields.Choices
	}
	if fields.Gold == nil || *fields.Gold < 0 || *fields.Gold >= item.choices() {
		got := "none"
		if fields.Gold != nil {
			got = fmt.Sprint(*fields.Gold)
		}
		return item, reject("gold", fmt.Sprintf("0 to %d, one of the choices", item.choices()-1), got)
	}
	if item.choices() < 2 {
		return item, reject("item", "two choices at least", item.choices())
	}
	for n := range item.choices() {
		if context, continuation := item.choice(n); context == "" || strings.TrimSpace(continuation) == "" {
			return item, reject(fmt.Sprintf("choice %d", n), "a text", "none")
		}
	}
	item.Gold = *fields.Gold
	return item, nil
}

// read opens the task's file in a data folder. One that is not there is
// fs.ErrNotExist.
func (t *Task) read(dir string) ([]Item, error) {
	f, err := os.Open(filepath.Join(dir, t.File))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return t.Items(f)
}

// choose returns which items the model answers rightly: by the sum of the
// continuation's log-probabilities, divided by its bytes for acc_norm, the first of
// equals. A text longer than the context loses its beginning.
func (t *Task) choose(ctx context.Context, v *Variation, tok llama.Tokenizer, items []Item) ([]bool, error) {
	return parallelSessions(ctx, v, len(items), func(s *llama.Session[float32], i int) (bool, error) {
		item, best, most := &items[i], -1, math.Inf(-1)
		for n := range item.choices() {
			context, continuation := item.choice(n)
			sum, err := continuationScore(s, tok, context, continuation)
			if err != nil {
				return false, fmt.Errorf("choice %d: %w", n, err)
			}
			if t.Metric == "acc_norm" {
				sum /= float64(len(continuation))
			}
			if sum > most {
				best, most = n, sum
			}
		}
		return best == item.Gold, nil
	})
}

// continuationScore is the log-probability of " continuation" behind context.
func continuationScore(s *llama.Session[float32], tok llama.Tokenizer, context, continuation string) (float64, error) {
	before, behind := tok.Encode(context), llama.ContinueWord(tok, continuation)
	room := s.Room()
	if over := len(before) + len(behind) - room; over > 0 {
		kept := 0 // the token that begins a text stays
		if _, ok := tok.Begin(); ok {
			kept = 1
		}
		before = append(before[:kept:kept], before[kept+over:]...)
	}
	if err := s.Truncate(0); err != nil {
		return 0, err
	}
	if err := s.Extend(before...); err != nil {
		return 0, err
	}
	scores, err := s.Score(behind)
	sum := 0.0
	for _, v := range scores {
		sum += v
	}
	return sum, err
}

// fitting returns the items all of whose continuations leave room for a token before
// them in the model's context.
func fitting(items []Item, tok llama.Tokenizer, room int) (fit []Item) {
	for _, item := range items {
		fits := true
		for _, c := range item.Continuations {
			fits = fits && len(llama.ContinueWord(tok, c)) < room
		}
		if fits {
			fit = append(fit, item)
		}
	}
	return fit
}

// chance is the accuracy of guessing.
func chance(items []Item) float64 {
	sum := 0.0
	for i := range items {
		sum += 1 / float64(items[i].choices())
	}
	return sum / float64(len(items))
}

// needed returns how many items each of two models must answer, on items of their
// own, so that a difference of one point is seen at 95% with a power of 80%.
func needed(accuracy float64) int {
	const z = 1.959963984540054 + 0.8416212335729143 // normal quantiles of 0.975 and 0.8
	return int(math.Ceil(2 * accuracy * (1 - accuracy) * z * z / (0.01 * 0.01)))
}
