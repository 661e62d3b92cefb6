package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// Options are what an audit runs with.
type Options struct {
	Subject        *Subject
	Implementation spec.Implementation
	Seed           uint64
	// Data is the folder of real inputs; "" where there is none.
	Data string
	// Pictures is the folder that pictures of what is kept are written to; "" for none.
	Pictures string
	// Questions is how many cloze questions are asked.
	Questions int
	// Arguments are those of the command line that chose model and data: every
	// finding's command has them.
	Arguments string
	// Progress is told of each step when it is done. It may be nil.
	Progress func(step string, done, all int)
}

// An Audit judges methods and claims, each once however often it is asked for.
type Audit struct {
	Options
	job       *job
	questions []Question
	base      *Quality // of the model
	tuned     *Quality // of its fine-tune, on what that was tuned on
	rows      map[string]*Row
	nearest   map[string]*rounded
	scores    map[string]*Score
}

// New prepares an audit: it calibrates, and judges the model as it is.
func New(ctx context.Context, o Options) (*Audit, error) {
	s := o.Subject
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if err := o.Implementation.Validate(); err != nil {
		return nil, err
	}
	a := &Audit{Options: o, rows: map[string]*Row{}, nearest: map[string]*rounded{}, scores: map[string]*Score{}}
	activations, err := collect(s)
	if err != nil {
		return nil, err
	}
	a.job = &job{s, o.Implementation, activations}
	a.questions = Questions(s.Clozes, o.Questions, o.Seed)
	if len(a.questions) == 0 {
		return nil, reject("evaluation text", fmt.Sprintf("%d paragraphs of three sentences", candidates), "fewer")
	}
	if a.base, err = judge(ctx, &Variation{Model: s.Model}, s.Tokenizer, s.Evaluation, a.questions); err != nil {
		return nil, err
	}
	if s.Tuned != nil {
		if a.tuned, err = judge(ctx, &Variation{Model: s.Tuned}, s.Tokenizer, s.TunedEvaluation, nil); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// A Row is what a method costs in quality and saves in bytes.
type Row struct {
	Type    string       `json:"type"` // "method"
	Method  string       `json:"method"`
	Module  string       `json:"module"`
	Variant spec.Variant `json:"variant,omitempty"`
	// Skipped says why the method was not judged: nothing else is then set.
	Skipped string `json:"skipped,omitempty"`

	Weights       int     `json:"weights,omitempty"` // that the bytes stand for
	Bytes         int     `json:"bytes,omitempty"`   // of what was serialised
	Formula       int     `json:"formula_bytes,omitempty"`
	BitsPerWeight float64 `json:"bits_per_weight,omitempty"`
	RatioToFP16   float64 `json:"ratio_to_fp16,omitempty"`

	NLL        float64 `json:"nll,omitempty"` // nats a token
	Perplexity float64 `json:"perplexity,omitempty"`
	// Worse is by how much NLL exceeds that of the model itself.
	Worse *Difference `json:"worse,omitempty"`
	// Cloze is the share of questions answered rightly, MoreRight the difference to the
	// model's.
	Cloze     *Share      `json:"cloze,omitempty"`
	MoreRight *Difference `json:"more_right,omitempty"`

	// Nearest is round-to-nearest of about as many bytes, and NearestWorse by how much
	// the method's NLL exceeds its: below 0, the method is the better one.
	Nearest      string      `json:"nearest,omitempty"`
	NearestBytes int         `json:"nearest_bytes,omitempty"`
	NearestWorse *Difference `json:"worse_than_nearest,omitempty"`
	Note         string      `json:"note,omitempty"`
}

// A Difference is a paired difference with its interval.
type Difference struct {
	By       float64  `json:"by"`
	Interval Interval `json:"interval"`
}

// A Share is a share of trials with its interval.
type Share struct {
	Of       int      `json:"of"`
	Share    float64  `json:"share"`
	Interval Interval `json:"interval"`
}

func share(right []bool) *Share {
	n := count(right)
	return &Share{len(right), float64(n) / float64(len(right)), wilson(n, len(right))}
}

// Row judges the method of that id.
func (a *Audit) Row(ctx context.Context, id string) (*Row, error) {
	if row := a.rows[id]; row != nil {
		return row, nil
	}
	methods := Methods()
	i := slices.IndexFunc(methods, func(m Method) bool { return m.ID == id })
	if i < 0 {
		return nil, reject("method", "one that conform audit --list names", fmt.Sprintf("%q", id))
	}
	row, err := a.measure(ctx, &methods[i])
	if err != nil {
		return nil, err
	}
	a.rows[id] = row
	return row, nil
}

func (a *Audit) measure(ctx context.Context, m *Method) (*Row, error) {
	row := &Row{Type: "method", Method: m.ID, Module: m.Module, Variant: m.Variant}
	v, err := m.run(ctx, a.job)
	var absent errNotHere
	if errors.As(err, &absent) {
		row.Skipped = absent.why
		return row, nil
	}
	if spec.KindOf(err) == spec.Unsupported {
		row.Skipped = "not offered"
		return row, nil
	}
	if err != nil {
		return nil, err
	}
	row.Weights, row.Bytes, row.Formula, row.Note = v.Weights, v.Bytes, v.Formula, v.Note
	row.BitsPerWeight, row.RatioToFP16 = v.BitsPerWeight(), v.RatioToFP16()

	s := a.Subject
	model, base, paragraphs, questions := s.Model, a.base, s.Evaluation, a.questions
	if v.Tuned {
		model, base, paragraphs, questions = s.Tuned, a.tuned, s.TunedEvaluation, nil
	}
	q, err := judge(ctx, v, s.Tokenizer, paragraphs, questions)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.ID, err)
	}
	row.NLL, row.Perplexity = q.Perplexity.NLL, q.Perplexity.Perplexity()
	row.Worse = a.worse(q, base)
	if len(questions) > 0 {
		row.Cloze = share(q.Right)
		by, interval := q.moreRight(base, a.Seed)
		row.MoreRight = &Difference{by, interval}
	}
	if v.NoNearest {
		return row, nil
	}
	places := v.Changed
	if places == nil {
		places = model.Places()
	}
	n := sameBytes(places, v.Bytes)
	other, err := a.roundedToNearest(ctx, n, model, places, paragraphs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n, err)
	}
	row.Nearest, row.NearestBytes, row.NearestWorse = n.String(), other.bytes, a.worse(q, other.quality)
	return row, nil
}

func (a *Audit) worse(q, other *Quality) *Difference {
	by, interval := q.worse(other, a.Seed)
	return &Difference{by, interval}
}

// A rounded is round-to-nearest of some matrices of a model, judged.
type rounded struct {
	quality *Quality
	bytes   int
}

// roundedToNearest judges a format on some matrices of a model.
func (a *Audit) roundedToNearest(ctx context.Context, n nearest, m *llama.Model, places []llama.Place, paragraphs []string) (*rounded, error) {
	key := fmt.Sprint(n, m == a.Subject.Tuned)
	for _, p := range places {
		key += " " + p.Name
	}
	if r := a.nearest[key]; r != nil {
		return r, nil
	}
	v, err := n.on(m, places)
	if err != nil {
		return nil, err
	}
	q, err := judge(ctx, v, a.Subject.Tokenizer, paragraphs, nil)
	if err != nil {
		return nil, err
	}
	a.nearest[key] = &rounded{q, v.Bytes}
	return a.nearest[key], nil
}

// A Score is a model's accuracy on a task.
type Score struct {
	Type   string `json:"type"` // "score"
	Task   string `json:"task"`
	Metric string `json:"metric"`
	Items  int    `json:"items"`
	// TooLong items do not fit the model's context, and are left out.
	TooLong  int      `json:"too_long,omitempty"`
	Accuracy float64  `json:"accuracy"`
	Interval Interval `json:"interval"`
	Chance   float64  `json:"chance"`
	// Needed is how many items two models must answer so that one point is seen.
	Needed int `json:"needed_for_one_point"`
	// Tuned is by how much the share of right answers of the fine-tune exceeds the
	// model's, on the same items.
	Tuned *Difference `json:"tuned_more_right,omitempty"`
}

// score judges the model, and its fine-tune, on a task of the data folder.
func (a *Audit) score(ctx context.Context, t *Task, items []Item) (*Score, error) {
	if s := a.scores[t.Name]; s != nil {
		return s, nil
	}
	all := len(items)
	if items = fitting(items, a.Subject.Tokenizer, a.Subject.Model.Config.Context); len(items) == 0 {
		return nil, reject(t.Name, fmt.Sprintf("items of at most %d tokens, the model's context", a.Subject.Model.Config.Context), "longer ones alone")
	}
	right, err := t.choose(ctx, &Variation{Model: a.Subject.Model}, a.Subject.Tokenizer, items)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	n := count(right)
	s := &Score{Type: "score", Task: t.Name, Metric: t.Metric, Items: len(items), TooLong: all - len(items), Accuracy: float64(n) / float64(len(items)),
		Interval: wilson(n, len(items)), Chance: chance(items)}
	s.Needed = needed(s.Accuracy)
	if a.Subject.Tuned != nil {
		tuned, err := t.choose(ctx, &Variation{Model: a.Subject.Tuned}, a.Subject.Tokenizer, items)
		if err != nil {
			return nil, fmt.Errorf("%s, the fine-tune: %w", t.Name, err)
		}
		by, interval := (&Quality{Right: tuned}).moreRight(&Quality{Right: right}, a.Seed)
		s.Tuned = &Difference{by, interval}
	}
	a.scores[t.Name] = s
	return s, nil
}

// known rejects ids that there are not, before anything is measured.
func known(methods, claims []string) error {
	for _, id := range methods {
		if !slices.ContainsFunc(Methods(), func(m Method) bool { return m.ID == id }) {
			return reject("method", "one that conform audit --list names", fmt.Sprintf("%q", id))
		}
	}
	for _, id := range claims {
		if !slices.Contains(IDs(), id) {
			return reject("claim", "one that conform audit --list names", fmt.Sprintf("%q", id))
		}
	}
	return nil
}

// Run judges methods and then claims, by their ids: all of them where there are
// none. Scores are those that the claims rest on.
func (a *Audit) Run(ctx context.Context, methods, claims []string) (*Report, error) {
	if err := known(methods, claims); err != nil {
		return nil, err
	}
	r := &Report{Header: a.header()}
	r.Header.Complete = len(methods) == 0 && len(claims) == 0
	if r.Header.Complete {
		claims = IDs()
		for _, m := range Methods() {
			methods = append(methods, m.ID)
		}
	}
	step, all := 0, len(methods)+len(claims)
	done := func(name string) {
		step++
		if a.Progress != nil {
			a.Progress(name, step, all)
		}
	}
	for _, id := range methods {
		row, err := a.Row(ctx, id)
		if err != nil {
			return nil, err
		}
		r.Rows = append(r.Rows, row)
		done(id)
	}
	for _, id := range claims {
		f, err := a.Find(ctx, id)
		if err != nil {
			return nil, err
		}
		r.Findings = append(r.Findings, f)
		done(id)
	}
	for _, t := range Tasks() {
		if s := a.scores[t.Name]; s != nil {
			r.Scores = append(r.Scores, s)
		}
	}
	return r, nil
}

// Apply returns what a method makes of a model, calibrated on paragraphs.
func Apply(ctx context.Context, impl spec.Implementation, m *llama.Model, t llama.Tokenizer, calibration []string, method string) (*Variation, error) {
	if err := known([]string{method}, nil); err != nil {
		return nil, err
	}
	s := &Subject{Model: m, Tokenizer: t, Calibration: calibration}
	activations, err := collect(s)
	if err != nil {
		return nil, err
	}
	methods := Methods()
	i := slices.IndexFunc(methods, func(m Method) bool { return m.ID == method })
	v, err := methods[i].run(ctx, &job{Subject: s, impl: impl, activations: activations})
	var absent errNotHere
	if errors.As(err, &absent) {
		err = reject("method "+method, "what it needs", absent.why)
	}
	return v, err
}
