package spec

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
)

// A Row is one figure of the page: the benchmark page of Squish, waves 23 and 24,
// measured there on Apple Silicon (M series) with numpy.
type Row struct {
	// ID is Module + "/" + Operation. Operation is the row's slug, not a name of
	// the operation table: "prune-best" is the module's prune again.
	ID        string `json:"id"`
	Module    string `json:"-"`
	Operation string `json:"-"`
	// Wave is 23 or 24.
	Wave int `json:"wave"`
	// Label and Note are the page's words; Caveat is ours, where its figure does
	// not mean what it says.
	Label  string `json:"label"`
	Note   string `json:"note"`
	Caveat string `json:"caveat"`
	// Value is the page's figure in Unit: "us" for a latency in microseconds, else
	// "ratio", "x" (times smaller) or "%".
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Page is what the page says was run, completed where it is silent, and Harness
	// what the script behind it ran.
	Page    Workload `json:"page"`
	Harness Workload `json:"harness"`
}

// A WorkloadName names one of a row's two workloads.
type WorkloadName string

const (
	// PageWorkload is run as the documented variant.
	PageWorkload WorkloadName = "page"
	// HarnessWorkload is run as squish6 where the module has that variant, so that
	// a peer does the same work.
	HarnessWorkload WorkloadName = "harness"
)

// WorkloadNames lists both.
var WorkloadNames = []WorkloadName{PageWorkload, HarnessWorkload}

// IsLatency reports whether the row's figure is a time.
func (r Row) IsLatency() bool { return r.Unit == "us" }

// Workload returns the workload of that name, nil for any other name.
func (r Row) Workload(name WorkloadName) Workload {
	switch name {
	case PageWorkload:
		return r.Page
	case HarnessWorkload:
		return r.Harness
	}
	return nil
}

// A Workload holds a row's parameters by name: a float64, a string, or a []any of
// float64. What it leaves out has the module's default.
type Workload map[string]any

// Float returns the number of that name, or missing where there is none.
func (w Workload) Float(name string, missing float64) float64 {
	if x, ok := w[name].(float64); ok {
		return x
	}
	return missing
}

// Int is Float for a whole number.
func (w Workload) Int(name string, missing int) int { return int(w.Float(name, float64(missing))) }

// Ints returns the list of whole numbers of that name, or nil where there is none.
func (w Workload) Ints(name string) []int {
	list, _ := w[name].([]any)
	var ints []int
	for _, v := range list {
		x, _ := v.(float64)
		ints = append(ints, int(x))
	}
	return ints
}

// Text returns the text of that name, or missing where there is none.
func (w Workload) Text(name, missing string) string {
	if s, ok := w[name].(string); ok {
		return s
	}
	return missing
}

// With returns a copy of w in which name has another value: a row at another
// size.
func (w Workload) With(name string, x float64) Workload {
	other := maps.Clone(w)
	if other == nil {
		other = Workload{}
	}
	other[name] = x
	return other
}

// A Claim is one line of the page's list of what the modules are good for. Claims
// are no requirements: an audit judges them.
type Claim struct {
	ID        string `json:"id"`
	Technique string `json:"technique"`
	// Text is the figure claimed and Basis what the page rests it on, in its words.
	Text   string `json:"text"`
	Module string `json:"module"`
	Basis  string `json:"basis"`
}

// An Accuracy is the page's accuracy baseline: scores of a model in percent.
type Accuracy struct {
	Model  string  `json:"model"`
	Scores []Score `json:"scores"`
}

// A Score is a model's score on a task, in percent.
type Score struct {
	Task   string  `json:"task"`
	Metric string  `json:"metric"`
	Score  float64 `json:"score"`
}

// Rows returns the page's 58 rows, in its order. They are shared: do not change
// them.
func Rows() []Row { return page().Rows }

// RowByID returns the row of that id, and whether there is one.
func RowByID(id string) (Row, bool) {
	for _, r := range Rows() {
		if r.ID == id {
			return r, true
		}
	}
	return Row{}, false
}

// Claims returns the page's 14 claims, in its order. They are shared: do not
// change them.
func Claims() []Claim { return page().Claims }

// AccuracyBaseline returns the page's accuracy baseline. It is shared: do not
// change it.
func AccuracyBaseline() Accuracy { return page().Accuracy }

//go:embed page.json
var pageJSON string

type pageData struct {
	Rows     []Row    `json:"rows"`
	Claims   []Claim  `json:"claims"`
	Accuracy Accuracy `json:"accuracy"`
}

// page decodes the page once. The file is part of the program, so that a failure
// is a programming error.
var page = sync.OnceValue(func() pageData {
	var p pageData
	decoder := json.NewDecoder(strings.NewReader(pageJSON))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		panic(fmt.Sprintf("spec: page.json: %v", err))
	}
	for i := range p.Rows {
		r := &p.Rows[i]
		r.Module, r.Operation, _ = strings.Cut(r.ID, "/")
	}
	return p
})
