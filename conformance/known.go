package conformance

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/squishspec/squishspec/spec"
)

// A KnownFailure is a requirement that an implementation is known to fail. It is
// run all the same. It fails the run once it passes, or fails with another
// symptom.
type KnownFailure struct {
	Requirement string
	Symptom     spec.Symptom
	Reason      string
}

// ParseKnownFailures reads lines "id symptom # reason". Empty lines and lines
// that begin with # are skipped.
func ParseKnownFailures(r io.Reader) ([]KnownFailure, error) {
	var list []KnownFailure
	scanner := bufio.NewScanner(r)
	for line := 1; scanner.Scan(); line++ {
		text := strings.TrimSpace(scanner.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		entry, reason, _ := strings.Cut(text, "#")
		fields := strings.Fields(entry)
		if len(fields) != 2 {
			return nil, spec.Reject(spec.Invalid, "known failures", fmt.Sprintf("line %d", line), "id symptom # reason", fmt.Sprintf("%q", text))
		}
		k := KnownFailure{fields[0], spec.Symptom(fields[1]), strings.TrimSpace(reason)}
		if err := k.validate(); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if knownFailure(list, k.Requirement) != nil {
			return nil, spec.Reject(spec.Invalid, "known failures", fmt.Sprintf("line %d", line), "one line a requirement", k.Requirement+" again")
		}
		list = append(list, k)
	}
	return list, scanner.Err()
}

func (k KnownFailure) validate() error {
	if !slices.ContainsFunc(spec.Requirements(), func(r spec.Requirement) bool { return r.ID == k.Requirement }) {
		return spec.Reject(spec.Invalid, "known failures", "id", "the id of a requirement", fmt.Sprintf("%q", k.Requirement))
	}
	if !slices.Contains(spec.Symptoms, k.Symptom) {
		return spec.Reject(spec.Invalid, "known failures", k.Requirement, fmt.Sprintf("one of %q", spec.Symptoms), fmt.Sprintf("%q", string(k.Symptom)))
	}
	if k.Reason == "" {
		return spec.Reject(spec.Invalid, "known failures", k.Requirement, "a reason after #", "none")
	}
	return nil
}

func knownFailure(list []KnownFailure, id string) *KnownFailure {
	for i := range list {
		if list[i].Requirement == id {
			return &list[i]
		}
	}
	return nil
}
