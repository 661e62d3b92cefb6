package audit

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/klauspost/cpuid/v2"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/spec"
)

// A Header says what a report is of. It has no time in it: the same audit on the same
// machine writes the same file, but for what is said of expert-routing-overhead.
type Header struct {
	Type           string `json:"type"` // "audit"
	Spec           string `json:"spec"`
	Implementation string `json:"implementation"`
	Version        string `json:"version"`
	Seed           uint64 `json:"seed"`
	Arch           string `json:"arch"`
	SIMD           string `json:"simd"`
	CPU            string `json:"cpu"`
	Go             string `json:"go"`

	Subject     string  `json:"subject"`
	Parameters  int     `json:"parameters"` // of the matrices that methods change
	Tokens      int     `json:"tokens"`     // judged
	Paragraphs  int     `json:"paragraphs"`
	Questions   int     `json:"questions"`
	Calibration int     `json:"calibration_tokens"`
	NLL         float64 `json:"nll"`
	StdErr      float64 `json:"nll_standard_error"`
	Perplexity  float64 `json:"perplexity"`
	Cloze       *Share  `json:"cloze"`
	// Complete is false where only some methods or claims were asked for.
	Complete bool `json:"complete"`
}

// A Report is what an audit found.
type Report struct {
	Header   Header
	Rows     []*Row
	Scores   []*Score
	Findings []*Finding
}

// Header describes the audit.
func (a *Audit) header() Header {
	h := Header{
		Type: "audit", Spec: spec.Version, Implementation: a.Implementation.Name, Version: a.Implementation.Version, Seed: a.Seed,
		Arch: runtime.GOARCH, SIMD: fast.SIMD(), CPU: cpuid.CPU.BrandName, Go: runtime.Version(),
		Subject: a.Subject.Name, Tokens: a.base.Perplexity.Tokens, Paragraphs: len(a.Subject.Evaluation), Questions: len(a.questions),
		Calibration: a.job.activations[0][0].Rows,
		NLL:         a.base.Perplexity.NLL, StdErr: a.base.Perplexity.StdErr, Perplexity: a.base.Perplexity.Perplexity(), Cloze: share(a.base.Right),
	}
	for _, p := range a.Subject.Model.Places() {
		h.Parameters += p.Rows * p.Cols
	}
	return h
}

// WriteNDJSON writes the report as lines of JSON: the header, methods, scores and
// findings.
func (r *Report) WriteNDJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(r.Header); err != nil {
		return err
	}
	for _, row := range r.Rows {
		if err := e.Encode(row); err != nil {
			return err
		}
	}
	for _, s := range r.Scores {
		if err := e.Encode(s); err != nil {
			return err
		}
	}
	for _, f := range r.Findings {
		if err := e.Encode(f); err != nil {
			return err
		}
	}
	return nil
}

// ReadNDJSON reads what WriteNDJSON wrote.
func ReadNDJSON(r io.Reader) (*Report, error) {
	report := &Report{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for number := 1; lines.Scan(); number++ {
		var line struct{ Type string }
		err := json.Unmarshal(lines.Bytes(), &line)
		if err == nil {
			switch line.Type {
			case "audit":
				err = json.Unmarshal(lines.Bytes(), &report.Header)
			case "method":
				err = readLine(lines.Bytes(), &report.Rows)
			case "score":
				err = readLine(lines.Bytes(), &report.Scores)
			case "finding":
				err = readLine(lines.Bytes(), &report.Findings)
			default:
				err = reject("type", "audit, method, score or finding", fmt.Sprintf("%q", line.Type))
			}
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if report.Header.Type == "" {
		return nil, reject("report", "a line of type audit", "none")
	}
	return report, nil
}

func readLine[T any](line []byte, list *[]*T) error {
	value := new(T)
	*list = append(*list, value)
	return json.Unmarshal(line, value)
}

// WriteText writes the report for a person.
func (r *Report) WriteText(w io.Writer) error {
	h := r.Header
	fmt.Fprintf(w, "%s, %s %s, %s with %s, seed %d\n", h.Subject, h.Implementation, h.Version, h.Arch, h.SIMD, h.Seed)
	fmt.Fprintf(w, "as it is: nll %.5f ± %.5f of %d tokens, perplexity %.4f; cloze %.1f%% (%s) of %d questions\n",
		h.NLL, h.StdErr, h.Tokens, h.Perplexity, 100*h.Cloze.Share, h.Cloze.Interval.percent(), h.Questions)
	if len(r.Rows) > 0 {
		fmt.Fprintln(w, "\nIntervals are of 95%. nats: by how much a token's negative log-likelihood grew; against nearest: beyond round-to-nearest of as many bytes.")
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(t, "method\tbytes = formula\tbits\t× FP16\tperplexity\tnats\tcloze\tagainst nearest\t")
		for _, row := range r.Rows {
			if row.Skipped != "" {
				fmt.Fprintf(t, "%s\t\t\t\t\tskipped: %s\t\t\t\n", row.Method, row.Skipped)
				continue
			}
			cloze, nearest := "", ""
			if row.Cloze != nil {
				cloze = fmt.Sprintf("%.1f%% (%s)", 100*row.Cloze.Share, row.Cloze.Interval.percent())
			}
			if row.NearestWorse != nil {
				nearest = fmt.Sprintf("%+.3f (%s) %s", row.NearestWorse.By, row.NearestWorse.Interval.Text("%+.3f"), strings.TrimPrefix(row.Nearest, "round-to-nearest/"))
			}
			fmt.Fprintf(t, "%s\t%d = %d\t%.3f\t%.2f\t%.4g\t%+.3f (%s)\t%s\t%s\t\n", row.Method, row.Bytes, row.Formula, row.BitsPerWeight, row.RatioToFP16, row.Perplexity,
				row.Worse.By, row.Worse.Interval.Text("%+.3f"), cloze, nearest)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(r.Scores) > 0 {
		fmt.Fprintln(w)
		for _, s := range r.Scores {
			fmt.Fprintf(w, "%s, %s: %.1f%% (%s) of %d items, chance %.1f%%", s.Task, s.Metric, 100*s.Accuracy, s.Interval.percent(), s.Items, 100*s.Chance)
			if s.Tuned != nil {
				fmt.Fprintf(w, "; the fine-tune %+.1f points (%s)", 100*s.Tuned.By, s.Tuned.Interval.percent())
			}
			fmt.Fprintln(w)
		}
	}
	for _, f := range r.Findings {
		fmt.Fprintf(w, "\n%s: %s\n  %s", f.ID, f.Claim, strings.ToUpper(string(f.Verdict)))
		if f.Figure != nil {
			fmt.Fprintf(w, ": %.4g %s", *f.Figure, strings.TrimSpace(f.Unit))
		}
		switch {
		case f.Interval != nil:
			fmt.Fprintf(w, " (%s, %s)", f.Interval.Text("%.4g"), f.Interval.Method)
		case f.Exact:
			fmt.Fprint(w, " (counted)")
		}
		fmt.Fprintf(w, "\n  %s\n", f.Note)
		if err := f.Curve.writeText(w); err != nil {
			return err
		}
		fmt.Fprintf(w, "  %s\n", f.Command)
	}
	return nil
}

// writeText writes nothing of no curve.
func (c *Curve) writeText(w io.Writer) error {
	if c == nil {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\t%s\t\n", strings.Join(c.Columns, "\t"))
	for _, row := range c.Text() {
		fmt.Fprintf(t, "\t%s\t\n", strings.Join(row, "\t"))
	}
	return t.Flush()
}

// percent prints an interval of a share.
func (i Interval) percent() string { return fmt.Sprintf("%.1f…%.1f%%", 100*i.Low, 100*i.High) }
