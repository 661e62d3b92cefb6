package audit

import (
	"fmt"
	"math"
)

// A Verdict is what an audit says of a claim.
type Verdict string

const (
	Supported Verdict = "supported"
	Refuted   Verdict = "refuted"
	// Conditional is a claim that holds for one configuration or input and not for
	// another: the note says which.
	Conditional Verdict = "true only for this configuration"
	// Unmeasured is a claim that the inputs at hand cannot decide: the note says what
	// would.
	Unmeasured Verdict = "not measurable here"
)

// A Finding is the verdict on one claim, score or figure of the page.
type Finding struct {
	Type string `json:"type"` // "finding"
	// ID is the claim's, as "weight-size-ternary", "score/" and the task, or the row's.
	ID     string `json:"id"`
	Module string `json:"module,omitempty"`
	// Claim is the page's, in its words.
	Claim   string  `json:"claim"`
	Verdict Verdict `json:"verdict"`
	// Figure is what was measured, in Unit; nil where nothing was.
	Figure *float64 `json:"figure,omitempty"`
	Unit   string   `json:"unit,omitempty"`
	// Interval is the figure's; nil where the figure is exact, a count of bytes.
	Interval *Interval `json:"interval,omitempty"`
	Exact    bool      `json:"exact,omitempty"`
	// Note says what the figure is of, and what the verdict depends on.
	Note string `json:"note"`
	// Curve is what the figure is part of, where it depends on the input; nil else.
	Curve *Curve `json:"curve,omitempty"`
	// Evidence are the lines of the tables, or the files, that the verdict rests on.
	Evidence []string `json:"evidence,omitempty"`
	// Command gives this verdict again.
	Command string `json:"command"`
}

// A Curve is how figures depend on what the columns on its left say.
type Curve struct {
	Columns []string    `json:"columns"` // with units
	Rows    [][]float64 `json:"rows"`
}

func (c *Curve) add(row ...float64) { c.Rows = append(c.Rows, row) }

// Text prints the rows: whole numbers whole, others with four digits.
func (c *Curve) Text() (rows [][]string) {
	for _, row := range c.Rows {
		var cells []string
		for _, v := range row {
			if v == math.Trunc(v) {
				cells = append(cells, fmt.Sprintf("%.0f", v))
			} else {
				cells = append(cells, fmt.Sprintf("%.4g", v))
			}
		}
		rows = append(rows, cells)
	}
	return rows
}

// An Interval is a range that holds the true figure with some confidence.
type Interval struct {
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Confidence float64 `json:"confidence"` // 0.95
	// Method is how it was found: "bootstrap over paragraphs" or "Wilson".
	Method string `json:"method"`
}

// Holds reports whether x is inside.
func (i Interval) Holds(x float64) bool { return i.Low <= x && x <= i.High }

// Text prints the interval with a verb of fmt, as "%.3f".
func (i Interval) Text(verb string) string { return fmt.Sprintf(verb+"…"+verb, i.Low, i.High) }
