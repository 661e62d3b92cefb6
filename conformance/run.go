package conformance

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

// Run is Check as a Go test: a subtest a module, in it one a requirement. What is
// not offered is skipped. The environment variables SQUISHSPEC_SEED and
// SQUISHSPEC_CHECKS override the options.
func Run(t *testing.T, impl spec.Implementation, opts ...Option) {
	t.Helper()
	results := map[string]Result{}
	defaults := []Option{
		Failures(t.ArtifactDir()),
		Reproduce(func(id string, seed uint64) string {
			return fmt.Sprintf("SQUISHSPEC_SEED=%d go test -run '^%s$/^%s$'", seed, t.Name(), strings.ReplaceAll(id, "/", "$/^"))
		}),
	}
	opts = append(append(defaults, opts...), environment(t)...)
	report := Check(impl, append(opts, Progress(func(r Result) { results[r.Requirement] = r }))...)
	if report.Misuse != nil {
		t.Fatal(report.Misuse)
	}
	for _, m := range spec.Modules() {
		t.Run(m.Name, func(t *testing.T) {
			for _, requirement := range m.Requirements {
				result, ok := results[requirement.ID]
				if !ok {
					continue
				}
				t.Run(strings.TrimPrefix(requirement.ID, m.Name+"/"), func(t *testing.T) { result.report(t) })
			}
		})
	}
	t.Log(report.Summary())
	if !report.OK() && !t.Failed() {
		t.Error("nothing that was offered passed")
	}
}

// report tells a result to its subtest.
func (r *Result) report(t *testing.T) {
	t.Attr("requirement", r.Requirement)
	t.Attr("status", string(r.Status))
	var why bytes.Buffer
	r.Explain(&why)
	switch r.Status {
	case Failed:
		t.Error(why.String())
	case Warning:
		t.Log(why.String())
	case Known:
		t.Skipf("known failure (%s): %s", r.Symptom, r.Known)
	case NotOffered:
		t.Skip("not offered")
	}
}

func environment(t *testing.T) []Option {
	t.Helper()
	var opts []Option
	if text, ok := os.LookupEnv("SQUISHSPEC_SEED"); ok {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("conformance: SQUISHSPEC_SEED: want a number above 0, got %q", text)
		}
		opts = append(opts, Seed(seed))
	}
	if text, ok := os.LookupEnv("SQUISHSPEC_CHECKS"); ok {
		checks, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("conformance: SQUISHSPEC_CHECKS: want a number of tries, got %q", text)
		}
		opts = append(opts, Checks(checks))
	}
	return opts
}
