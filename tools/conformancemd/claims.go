package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"slices"
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

What `+"`conform audit`"+` says of the page's claims, scores and figures, and, where the page has no figure of what a module is
for, of that. The first table has the verdicts on embedded and on real inputs; the tables below it what they rest on, with a
command that gives each again. A claim that depends on its input has a curve.

Bytes are those of what was serialised and read back, scales, zero points and indices included. Nats are by how much a
token's negative log-likelihood grew against the model as it is, on the same paragraphs; cloze is the share of four-way
questions answered rightly; the last column compares with round-to-nearest of about as many bytes: below 0 the method is the
better one. Intervals are of 95%: a bootstrap over what is drawn, as paragraphs, pictures, topics or gates, Wilson's, or of
the median of runs by order statistics. A figure without an interval is counted.

`)
	var read []*audit.Report
	for _, data := range reports {
		r, err := audit.ReadNDJSON(bytes.NewReader(data))
		if err != nil {
			return fmt.Errorf("an audit: %w", err)
		}
		if !r.Header.Complete {
			return fmt.Errorf("the audit of %s: want a complete one", r.Header.Subject)
		}
		if len(read) > 0 && !slices.EqualFunc(read[0].Findings, r.Findings, func(f, g *audit.Finding) bool { return f.ID == g.ID }) {
			return fmt.Errorf("the audit of %s: want the claims that the one of %s has", r.Header.Subject, read[0].Header.Subject)
		}
		read = append(read, r)
	}
	verdicts(w, read)
	for _, r := range read {
		report(w, r)
	}
	return nil
}

// verdicts writes a line a claim, with a column a report. All are of the same claims.
func verdicts(w io.Writer, reports []*audit.Report) {
	fmt.Fprint(w, "| claim |")
	for _, r := range reports {
		fmt.Fprintf(w, " on %s |", r.Header.Subject)
	}
	fmt.Fprintf(w, "\n|%s\n", strings.Repeat("---|", 1+len(reports)))
	for i, f := range reports[0].Findings {
		fmt.Fprintf(w, "| `%s`: %s |", f.ID, cell(f.Claim))
		for _, r := range reports {
			f := r.Findings[i]
			fmt.Fprintf(w, " **%s**", f.Verdict)
			if f.Figure != nil {
				fmt.Fprintf(w, ", %s", cell(figure(f)))
			}
			fmt.Fprint(w, " |")
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
}

// figure is what was measured, with its interval.
func figure(f *audit.Finding) string {
	if f.Figure == nil {
		return ""
	}
	text := fmt.Sprintf("%.4g %s", *f.Figure, strings.TrimSpace(f.Unit))
	switch {
	case f.Interval != nil:
		text += fmt.Sprintf(" (%s)", f.Interval.Text("%.4g"))
	case f.Exact:
		text += ", counted"
	}
	return text
}

func report(w io.Writer, r *audit.Report) {
	h := &r.Header
	fmt.Fprintf(w, "### On %s\n\n%d parameters in the matrices that methods change; %s %s on %s (%s, %s), seed %d. As it is: %.5f ± %.5f nats a token over %d tokens of %d paragraphs, perplexity %.4f; cloze %s of %d questions. Calibrated on %d other tokens.\n\n",
		h.Subject, h.Parameters, h.Implementation, h.Version, h.CPU, h.Arch, h.SIMD, h.Seed,
		h.NLL, h.StdErr, h.Tokens, h.Paragraphs, h.Perplexity, percent(h.Cloze), h.Questions, h.Calibration)
	fmt.Fprint(w, "| claim | verdict | measured | what it rests on | command |\n|---|---|---|---|---|\n")
	for _, f := range r.Findings {
		fmt.Fprintf(w, "| `%s`: %s | %s | %s | %s | `%s` |\n", f.ID, cell(f.Claim), f.Verdict, cell(figure(f)), cell(f.Note), f.Command)
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
