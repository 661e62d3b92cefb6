package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"strings"

	"github.com/squishspec/squishspec/tools/audit"
)

// What conform audit --json wrote, on the embedded model and on a folder of real
// inputs.
var (
	//go:embed audit-embedded.ndjson
	embeddedAudit []byte
	//go:embed audit-data.ndjson
	dataAudit []byte
)

// claims writes the section of the audits. Reports that are not complete are refused.
func claims(w io.Writer, reports ...[]byte) error {
	fmt.Fprint(w, `## Claims

What `+"`conform audit`"+` says of the page's claims, scores and figures. A verdict rests on what was measured on the model and
the texts named; its command gives it again. Bytes are those of what was serialised and read back, scales, zero points and
indices included. Nats are by how much a token's negative log-likelihood grew against the model as it is, on the same
paragraphs; cloze is the share of four-way questions answered rightly; the last column compares with round-to-nearest of
about as many bytes: below 0 the method is the better one. Intervals are of 95%: by bootstrap over paragraphs or
conversations, Wilson's, or of the median of runs by order statistics. A claim that depends on its input has a curve below
the table.

`)
	for _, data := range reports {
		r, err := audit.ReadNDJSON(bytes.NewReader(data))
		if err != nil {
			return fmt.Errorf("an audit: %w", err)
		}
		if !r.Header.Complete {
			return fmt.Errorf("the audit of %s: want a complete one", r.Header.Subject)
		}
		report(w, r)
	}
	return nil
}

func report(w io.Writer, r *audit.Report) {
	h := &r.Header
	fmt.Fprintf(w, "### On %s\n\n%d parameters in the matrices that methods change; %s %s on %s (%s, %s), seed %d. As it is: %.5f ± %.5f nats a token over %d tokens of %d paragraphs, perplexity %.4f; cloze %s of %d questions. Calibrated on %d other tokens.\n\n",
		h.Subject, h.Parameters, h.Implementation, h.Version, h.CPU, h.Arch, h.SIMD, h.Seed,
		h.NLL, h.StdErr, h.Tokens, h.Paragraphs, h.Perplexity, percent(h.Cloze), h.Questions, h.Calibration)
	fmt.Fprint(w, "| claim | verdict | measured | what it rests on | command |\n|---|---|---|---|---|\n")
	for _, f := range r.Findings {
		figure := ""
		if f.Figure != nil {
			figure = fmt.Sprintf("%.4g %s", *f.Figure, strings.TrimSpace(f.Unit))
			switch {
			case f.Interval != nil:
				figure += fmt.Sprintf(" (%s)", f.Interval.Text("%.4g"))
			case f.Exact:
				figure += ", counted"
			}
		}
		fmt.Fprintf(w, "| `%s`: %s | %s | %s | %s | `%s` |\n", f.ID, cell(f.Claim), f.Verdict, cell(figure), cell(f.Note), f.Command)
	}
	for _, f := range r.Findings {
		if f.Curve == nil {
			continue
		}
		fmt.Fprintf(w, "\n`%s`:\n\n| %s |\n%s|\n", f.ID, strings.Join(f.Curve.Columns, " | "), strings.Repeat("|---:", len(f.Curve.Columns)))
		for _, row := range f.Curve.Text() {
			fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		}
	}
	fmt.Fprint(w, "\n| method | bytes = formula | bits a weight | × FP16 | perplexity | nats | cloze | against round-to-nearest | |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, m := range r.Rows {
		if m.Skipped != "" {
			fmt.Fprintf(w, "| `%s` | | | | | | | | not judged: %s |\n", m.Method, cell(m.Skipped))
			continue
		}
		nearest := ""
		if m.NearestWorse != nil {
			nearest = fmt.Sprintf("%+.3f (%s), %s", m.NearestWorse.By, m.NearestWorse.Interval.Text("%+.3f"), strings.TrimPrefix(m.Nearest, "round-to-nearest/"))
		}
		fmt.Fprintf(w, "| `%s` | %d = %d | %.3f | %.2f | %.4g | %+.3f (%s) | %s | %s | %s |\n", m.Method, m.Bytes, m.Formula, m.BitsPerWeight, m.RatioToFP16, m.Perplexity,
			m.Worse.By, m.Worse.Interval.Text("%+.3f"), percent(m.Cloze), nearest, cell(m.Note))
	}
	fmt.Fprintln(w)
}

func percent(s *audit.Share) string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("%.1f%% (%.1f…%.1f)", 100*s.Share, 100*s.Interval.Low, 100*s.Interval.High)
}
