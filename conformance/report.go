package conformance

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/klauspost/cpuid/v2"

	"github.com/squishspec/squishspec/spec"
)

// A Status is the verdict on one requirement.
type Status string

const (
	Passed     Status = "passed"
	Failed     Status = "failed"        // a MUST was not met
	Warning    Status = "warning"       // a SHOULD or a MAY was not met
	Known      Status = "known-failure" // failed as it was known to
	NotOffered Status = "not-offered"   // never called
)

// A Result is the verdict on one requirement, and why.
type Result struct {
	Requirement string       `json:"requirement"`
	Level       spec.Level   `json:"level"`
	Kind        spec.Kind    `json:"kind"`
	Status      Status       `json:"status"`
	Symptom     spec.Symptom `json:"symptom,omitempty"`
	// Message says what was got and what was wanted.
	Message string `json:"message,omitempty"`
	// Known is the reason why a known failure fails.
	Known string `json:"known,omitempty"`
	// Input is the shrunk input: configs and calls.
	Input string `json:"input,omitempty"`
	// Vectors are the files that replay it, one an instance.
	Vectors []string `json:"vectors,omitempty"`
	// Reproduce is the command that reproduces it.
	Reproduce string `json:"reproduce,omitempty"`
	Seed      uint64 `json:"seed"`
	// Tries and Assertions count what was checked before a failure.
	Tries      int `json:"tries"`
	Assertions int `json:"assertions"`
	// BudgetUsed is the largest share of its tolerance that any result used: 1 is
	// all of it.
	BudgetUsed float64       `json:"budget_used"`
	Elapsed    time.Duration `json:"elapsed_ns"`
}

// A Report is the outcome of a run.
type Report struct {
	Implementation spec.Implementation
	Seed           uint64
	Checks         int
	Results        []Result
	// Complete is false for a filtered or an interrupted run.
	Complete bool
	// Misuse says why nothing was run.
	Misuse error
}

func newReport(impl spec.Implementation, o *options) Report {
	return Report{Implementation: impl, Seed: o.seed, Checks: o.checks, Complete: !o.filtered()}
}

// Counts are the numbers of requirements by status.
type Counts struct {
	Requirements  int `json:"requirements"`
	Passed        int `json:"passed"`
	Failed        int `json:"failed"`
	KnownFailures int `json:"known_failures"`
	NotOffered    int `json:"not_offered"`
	Warnings      int `json:"warnings"`
	// Modules is the number of modules with a requirement that was run.
	Modules int `json:"modules"`
}

// Counts counts the results.
func (r *Report) Counts() Counts {
	c := Counts{Requirements: len(r.Results)}
	run := map[string]bool{}
	for _, result := range r.Results {
		switch result.Status {
		case Passed:
			c.Passed++
		case Failed:
			c.Failed++
		case Known:
			c.KnownFailures++
		case NotOffered:
			c.NotOffered++
		case Warning:
			c.Warnings++
		}
		if result.Status != NotOffered {
			module, _, _ := strings.Cut(result.Requirement, "/")
			run[module] = true
		}
	}
	c.Modules = len(run)
	return c
}

// OK reports whether every MUST that was run is met, or known not to be, and
// something was run at all.
func (r *Report) OK() bool {
	c := r.Counts()
	return r.Misuse == nil && c.Failed == 0 && c.Passed > 0
}

// Summary is the run in a line.
func (r *Report) Summary() string {
	c := r.Counts()
	line := fmt.Sprintf("%d requirements: %d passed, %d failed, %d known failures, %d not offered",
		c.Requirements, c.Passed, c.Failed, c.KnownFailures, c.NotOffered)
	if c.Warnings > 0 {
		line += fmt.Sprintf(", %d warnings", c.Warnings)
	}
	return line + fmt.Sprintf("; %d of %d modules", c.Modules, len(spec.ModuleNames))
}

// Explain writes why a result is what it is, for a person to read.
func (r *Result) Explain(w io.Writer) {
	requirement := requirementByID(r.Requirement)
	symptom := r.Symptom
	if symptom == "" {
		symptom = "passed"
	}
	fmt.Fprintf(w, "%s (%s, %s): %s\n", r.Requirement, r.Level, r.Kind, symptom)
	if requirement != nil {
		fmt.Fprintf(w, "  clause:    %s\n", requirement.Text)
		fmt.Fprintf(w, "  tolerance: %s (%s)\n", requirement.Tolerance, requirement.Why)
	}
	if r.Input != "" {
		fmt.Fprintf(w, "  input:\n%s", indent(r.Input, "    "))
	}
	fmt.Fprintf(w, "  found:\n%s", indent(r.Message, "    "))
	if r.Reproduce != "" {
		fmt.Fprintf(w, "  reproduce: %s\n", r.Reproduce)
	}
	for _, v := range r.Vectors {
		fmt.Fprintf(w, "  vector:    %s\n", v)
	}
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+by) + "\n"
}

func requirementByID(id string) *spec.Requirement {
	module, _, _ := strings.Cut(id, "/")
	if m := spec.ModuleByName(module); m != nil {
		return m.Requirement(id)
	}
	return nil
}

// ResultsSchema is the JSON Schema of a line of WriteNDJSON.
//
//go:embed results.schema.json
var ResultsSchema []byte

// WriteNDJSON writes the report as lines of JSON: a header, a line a result, a
// footer with counts.
func (r *Report) WriteNDJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	impl := &r.Implementation
	header := struct {
		Type           string   `json:"type"`
		Implementation string   `json:"implementation"`
		Version        string   `json:"version"`
		Language       string   `json:"language"`
		Offers         []string `json:"offers,omitempty"`
		UnitRoundoff   float64  `json:"unit_roundoff"`
		Spec           string   `json:"spec"`
		CPU            string   `json:"cpu"`
		OS             string   `json:"os"`
		Arch           string   `json:"arch"`
		Go             string   `json:"go"`
		Seed           uint64   `json:"seed"`
		Checks         int      `json:"checks"`
		Complete       bool     `json:"complete"`
	}{"header", impl.Name, impl.Version, impl.Language, impl.Offers, impl.Roundoff(), spec.Version,
		cpuid.CPU.BrandName, runtime.GOOS, runtime.GOARCH, runtime.Version(), r.Seed, r.Checks, r.Complete}
	if err := encoder.Encode(header); err != nil {
		return err
	}
	for _, result := range r.Results {
		if err := encoder.Encode(struct {
			Type string `json:"type"`
			Result
		}{"result", result}); err != nil {
			return err
		}
	}
	return encoder.Encode(struct {
		Type string `json:"type"`
		Counts
		Complete bool `json:"complete"`
	}{"footer", r.Counts(), r.Complete})
}
