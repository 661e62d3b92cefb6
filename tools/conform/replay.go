package main

import (
	"fmt"

	"github.com/squishspec/squishspec/conformance"
)

type replayCommand struct {
	ours
	Path string `arg:"" help:"A folder with a recording, a folder of vectors, or one vector."`
	theirs
}

func (c *replayCommand) Run(s *session) error {
	subjects, end, err := s.subjects(c.ours, c.theirs)
	if err != nil {
		return err
	}
	defer end()
	verdict := error(nil)
	for _, impl := range subjects {
		report, err := conformance.Replay(impl.Implementation, c.Path, conformance.Timeout(impl.timeout), conformance.Context(s.ctx))
		if err != nil {
			return misuse{err}
		}
		for _, line := range report.Skipped {
			fmt.Fprintf(s.stdout, "%s: skipped: %s\n", impl.Name, line)
		}
		for _, line := range report.Deviations {
			fmt.Fprintf(s.stdout, "%s: known deviation: %s\n", impl.Name, line)
		}
		for _, line := range report.Failures {
			fmt.Fprintf(s.stdout, "%s: %s\n", impl.Name, line)
		}
		fmt.Fprintf(s.stdout, "%s: %s\n", impl.Name, report.Summary())
		if report.Failed > 0 || report.Passed == 0 {
			verdict = errFailed
		}
	}
	return verdict
}
