package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/squishspec/squishspec/conformance"
	"github.com/squishspec/squishspec/spec"
)

type checkCommand struct {
	ours
	theirs
	Module        []string `help:"Only this module (may be repeated). The report is then incomplete." placeholder:"NAME"`
	Requirement   []string `help:"Only this requirement (may be repeated). The report is then incomplete." placeholder:"ID"`
	Checks        int      `help:"Tries of a check." default:"100"`
	Seed          string   `help:"Seed of all random inputs, or \"random\"." default:"1"`
	KnownFailures string   `help:"File of lines \"id symptom # reason\"." placeholder:"FILE"`
	JSON          string   `name:"json" help:"Write the results as lines of JSON; - is standard output." placeholder:"FILE"`
	Failures      string   `help:"Folder for the vectors that replay failures (default conform-failures)." default:"conform-failures" placeholder:"DIR"`
}

func (c *checkCommand) Run(s *session) (err error) {
	seed, err := parseSeed(c.Seed)
	if err != nil {
		return err
	}
	known, err := c.knownFailures()
	if err != nil {
		return err
	}
	out := s.stdout
	var results func(*conformance.Report) error
	if c.JSON != "" {
		file, err := s.create(c.JSON)
		if err != nil {
			return err
		}
		defer file.Close()
		results = func(r *conformance.Report) error { return r.WriteNDJSON(file) }
		if c.JSON == "-" {
			out = s.stderr
		}
	}
	subjects, end, err := s.subjects(c.ours, c.theirs)
	if err != nil {
		return err
	}
	defer end()
	verdict := error(nil)
	for _, impl := range subjects {
		before, after := impl.arguments(c.theirs)
		progress := newProgress(out, c.count())
		report := conformance.Check(impl.Implementation,
			conformance.Modules(c.Module...), conformance.Requirements(c.Requirement...),
			conformance.Checks(c.Checks), conformance.Seed(seed), conformance.Timeout(impl.timeout),
			conformance.KnownFailures(known...), conformance.Failures(c.Failures),
			conformance.Context(s.ctx), conformance.Progress(progress.result),
			conformance.Reproduce(func(id string, seed uint64) string {
				return fmt.Sprintf("conform check%s --requirement %s --seed %d --checks %d%s", before, id, seed, c.Checks, after)
			}))
		if report.Misuse != nil {
			return misuse{report.Misuse}
		}
		progress.close()
		fmt.Fprintf(out, "%s, specification %s, unit roundoff %.3g, seed %d\n", strings.TrimSpace(impl.Name+" "+impl.Version), spec.Version, impl.Roundoff(), seed)
		for _, result := range report.Results {
			switch result.Status {
			case conformance.Failed, conformance.Warning:
				result.Explain(out)
			case conformance.Known:
				fmt.Fprintf(out, "%s: known failure (%s): %s\n", result.Requirement, result.Symptom, result.Known)
			}
		}
		if !report.Complete {
			fmt.Fprintln(out, "incomplete: this run is no verdict on the whole")
		}
		if impl.process != nil {
			fmt.Fprintln(out, impl.process.Traffic())
		}
		fmt.Fprintln(out, report.Summary())
		if results != nil {
			if err := results(&report); err != nil {
				return err
			}
		}
		if !report.OK() {
			verdict = errFailed
		}
		if s.ctx.Err() != nil {
			return errFailed
		}
	}
	return verdict
}

// count returns the number of requirements that a run will judge.
func (c *checkCommand) count() int {
	n := 0
	for _, m := range spec.Modules() {
		for _, r := range m.Requirements {
			if contains(c.Module, m.Name) && contains(c.Requirement, r.ID) {
				n++
			}
		}
	}
	return n
}

// contains reports whether a filter lets a name pass; an empty one lets all.
func contains(filter []string, name string) bool {
	for _, f := range filter {
		if f == name {
			return true
		}
	}
	return len(filter) == 0
}

func (c *checkCommand) knownFailures() ([]conformance.KnownFailure, error) {
	if c.KnownFailures == "" {
		return nil, nil
	}
	file, err := os.Open(c.KnownFailures)
	if err != nil {
		return nil, misuse{err}
	}
	defer file.Close()
	known, err := conformance.ParseKnownFailures(file)
	if err != nil {
		return nil, misuse{fmt.Errorf("%s: %w", c.KnownFailures, err)}
	}
	return known, nil
}

func parseSeed(text string) (uint64, error) {
	if text == "random" {
		return rand.Uint64() | 1, nil
	}
	var seed uint64
	if n, err := fmt.Sscanf(text, "%d", &seed); n != 1 || err != nil || seed == 0 || fmt.Sprint(seed) != text {
		return 0, misuse{spec.Reject(spec.Invalid, "check", "--seed", "a number above 0 or random", fmt.Sprintf("%q", text))}
	}
	return seed, nil
}
