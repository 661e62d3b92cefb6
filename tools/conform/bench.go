package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/squishspec/squishspec/conformance"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/adapter"
)

type benchCommand struct {
	ours
	Module []string      `help:"Only this module (may be repeated)." placeholder:"NAME"`
	Time   time.Duration `help:"Time for a row." default:"200ms"`
	Peer   string        `help:"An adapter to time beside ours, as a shell reads it; its time is taken inside it." placeholder:"CMD"`
	JSON   string        `name:"json" help:"Write the rows as lines of JSON; - is standard output." placeholder:"FILE"`
}

func (c *benchCommand) Run(s *session) error {
	if c.Time <= 0 {
		return misuse{spec.Reject(spec.Invalid, "bench", "--time", "a time above 0", c.Time)}
	}
	out := s.stdout
	record := func(conformance.RowResult) error { return nil }
	if c.JSON != "" {
		file, err := s.create(c.JSON)
		if err != nil {
			return err
		}
		defer file.Close()
		encoder := json.NewEncoder(file)
		record = func(r conformance.RowResult) error { return encoder.Encode(r) }
		if c.JSON == "-" {
			out = s.stderr
		}
	}
	const line = "%-34s %-8s %-5s %11s %10s %10s %7s  %s\n" // rows come one by one: no column waits for the widest
	fmt.Fprintf(out, line, "row", "workload", "impl", "measured", "page", "ratio", "allocs", "")
	noisy := 0
	var failed error
	var subjects []subject
	if c.Peer != "" {
		peer, err := s.adapter([]string{"sh", "-c", c.Peer}, adapter.Options{Timeout: adapter.DefaultTimeout})
		if err != nil {
			return err
		}
		defer peer.process.Close()
		subjects = append(subjects, peer)
	}
	for _, impl := range c.selected() {
		subjects = append(subjects, subject{Implementation: impl})
	}
	type workload struct {
		id   string
		name spec.WorkloadName
	}
	peers := map[workload]float64{}
	for _, impl := range subjects {
		err := conformance.Bench(s.ctx, impl.Implementation, impl.clock(), c.Time, c.Module, func(r conformance.RowResult) {
			remarks := r.Note
			allocs := fmt.Sprintf("%.1f", r.Allocs)
			own := workload{r.ID, r.Workload}
			if impl.process != nil {
				allocs = "-"
				peers[own] = r.Value()
			} else if peer, ok := peers[own]; ok {
				r.PeerRatio = r.Value() / peer
				remarks = strings.TrimPrefix(fmt.Sprintf("%s, %.3g of the peer's", remarks, r.PeerRatio), ", ")
			}
			if r.NS != nil && r.NS.Noisy() {
				remarks = strings.TrimPrefix(remarks+", noisy", ", ")
				noisy++
			}
			fmt.Fprintf(out, line, r.ID, r.Workload, r.Implementation, measured(r), fmt.Sprintf("%v %s", r.Page, r.Unit),
				fmt.Sprintf("%.3g", r.PageRatio), allocs, remarks)
			failed = errors.Join(failed, record(r))
		})
		if spec.KindOf(err) == spec.Invalid {
			return misuse{err}
		}
		if err != nil {
			return err
		}
	}
	if c.Peer != "" {
		fmt.Fprintln(out, "the peer's times were taken inside it, without the pipe; its allocations are not known here.")
	}
	fmt.Fprintln(out, "ratio: measured over the page's figure. Times are medians of one run on this machine; the page's come from another. Outputs were compared with ref's.")
	if noisy > 0 {
		fmt.Fprintf(out, "%d rows are noisy: their median is more than 10%% above their minimum\n", noisy)
	}
	return failed
}

func measured(r conformance.RowResult) string {
	if r.NS == nil {
		return fmt.Sprintf("%.4g %s", *r.Figure, r.Unit)
	}
	return fmt.Sprintf("%.4g us", r.NS.Median/1e3)
}
