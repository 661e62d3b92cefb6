package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/squishspec/squishspec/conformance"
)

// A progress shows how far a run is: a bar on a terminal, elsewhere a line a
// module.
type progress struct {
	bar bar
	out io.Writer

	module        string
	began         time.Time
	passed, total int
}

func newProgress(out io.Writer, requirements int) *progress {
	return &progress{bar: newBar(out, requirements), out: out, began: time.Now()}
}

// A bar is a progress bar on a terminal, and nothing elsewhere.
type bar struct{ *progressbar.ProgressBar }

func newBar(out io.Writer, steps int) bar {
	if !isTerminal(out) {
		return bar{}
	}
	return bar{progressbar.NewOptions(steps, progressbar.OptionSetWriter(out), progressbar.OptionShowCount(),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetElapsedTime(true), progressbar.OptionSetPredictTime(true))}
}

func (b bar) shown() bool { return b.ProgressBar != nil }

func (b bar) one() {
	if b.shown() {
		b.Add(1)
	}
}

func (b bar) finish() {
	if b.shown() {
		b.Finish()
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (p *progress) result(r conformance.Result) {
	module, _, _ := strings.Cut(r.Requirement, "/")
	if p.bar.shown() {
		p.bar.Describe(module)
		p.bar.one()
		return
	}
	if module != p.module {
		p.line()
		p.module, p.began, p.passed, p.total = module, time.Now().Add(-r.Elapsed), 0, 0
	}
	switch r.Status {
	case conformance.NotOffered:
		return
	case conformance.Passed:
		p.passed++
	}
	p.total++
}

func (p *progress) line() {
	switch {
	case p.module == "":
	case p.total == 0:
		fmt.Fprintf(p.out, "%-18s not offered\n", p.module)
	default:
		fmt.Fprintf(p.out, "%-18s %2d of %2d passed  %.1fs\n", p.module, p.passed, p.total, time.Since(p.began).Seconds())
	}
}

func (p *progress) close() {
	if p.bar.shown() {
		p.bar.finish()
		return
	}
	p.line()
}
