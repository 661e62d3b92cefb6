package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/klauspost/cpuid/v2"

	"github.com/squishspec/squishspec/conformance"
	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/fast/machine"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/adapter"
)

type benchCommand struct {
	ours
	Module []string      `help:"Only this module (may be repeated)." placeholder:"NAME"`
	Time   time.Duration `help:"Time for a row." default:"100ms"`
	Peer   string        `help:"An adapter to time in turn with ours, as a shell reads it; its time is taken inside it." placeholder:"CMD"`
	Growth bool          `help:"Time fast's operations on weights and its attentions at up to 256 times their row's size instead."`
	Vs     string        `help:"Compare with an older run's JSON." placeholder:"OLD"`
	JSON   string        `name:"json" help:"Write the rows as lines of JSON; - is standard output." placeholder:"FILE"`
}

func (c *benchCommand) Run(s *session) error {
	if c.Time <= 0 {
		return misuse{spec.Reject(spec.Invalid, "bench", "--time", "a time above 0", c.Time)}
	}
	var old *conformance.BenchFile
	if c.Vs != "" {
		var err error
		if old, err = readBench(c.Vs); err != nil {
			return misuse{err}
		}
	}
	options := conformance.BenchOptions{Modules: c.Module, Budget: c.Time}
	if c.Peer != "" {
		peer, err := s.adapter([]string{"sh", "-c", c.Peer}, adapter.Options{Timeout: adapter.DefaultTimeout})
		if err != nil {
			return err
		}
		defer peer.process.Close()
		options.Peer = &conformance.Peer{Implementation: peer.Implementation, Time: peer.process.Time}
	}
	out := s.stdout
	record := func(any) error { return nil }
	if c.JSON != "" {
		file, err := s.create(c.JSON)
		if err != nil {
			return err
		}
		defer file.Close()
		record = json.NewEncoder(file).Encode
		if c.JSON == "-" {
			out = s.stderr
		}
	}
	here := thisMachine(min(c.Time, 20*time.Millisecond))
	if options.Peer != nil {
		here.Peer = options.Peer.Name + " " + options.Peer.Version
	}
	options.Limits = here.InForce()
	writeMachine(out, &here)
	if old != nil {
		writeOtherMachine(out, &here, &old.Machine)
	}
	failed := record(here)
	if c.Growth {
		if c.Peer != "" || c.Vs != "" || len(c.Impl) > 0 {
			return misuse{spec.Reject(spec.Invalid, "bench", "--growth", "neither --impl nor --peer nor --vs", "both")}
		}
		return errors.Join(failed, c.growth(s, out, record))
	}
	fmt.Fprintf(out, benchLine, "row", "workload", "impl", "measured", "page", "ratio", "limit", "allocs", "")
	var rows []conformance.RowResult
	for _, impl := range c.selected() {
		err := conformance.Bench(s.ctx, impl, options, func(r conformance.RowResult) {
			rows = append(rows, r)
			writeRow(out, &r, old)
			failed = errors.Join(failed, record(r))
		})
		if spec.KindOf(err) == spec.Invalid {
			return misuse{err}
		}
		if err != nil {
			return err
		}
	}
	footer := conformance.BenchFooter{Type: "footer", Rows: len(rows)}
	for _, r := range rows {
		if r.Noisy {
			footer.Noisy++
		}
	}
	c.writeClosing(out, rows, footer.Noisy)
	return errors.Join(failed, record(footer))
}

func readBench(path string) (*conformance.BenchFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	rows, err := conformance.ReadBench(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rows, nil
}

// thisMachine measures the machine, each limit for so long.
func thisMachine(each time.Duration) conformance.Machine {
	return conformance.Machine{
		Type: "machine", Date: time.Now().UTC().Format(time.DateOnly), Spec: spec.Version,
		CPU: cpuid.CPU.BrandName, OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		Tier: fast.SIMD(), Limits: machine.Measure(each),
	}
}

func writeMachine(out io.Writer, m *conformance.Machine) {
	fmt.Fprintf(out, "%s, %s/%s, %s, GOMAXPROCS %d, tier %s. One core a nanosecond, at most:\n", m.CPU, m.OS, m.Arch, m.Go, m.GOMAXPROCS, m.Tier)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "tier\tflops\texp\tinteger\tSHA-256 blocks")
	if here := m.InForce(); here != nil {
		for _, level := range here.Memory {
			fmt.Fprintf(w, "\t%s bytes read, written", level.Level)
		}
	}
	fmt.Fprintln(w, "\t")
	for _, l := range m.Limits {
		fmt.Fprintf(w, "%s\t%.0f\t%.2g\t%.0f\t%.2g", l.Tier, 2*l.MulAdds, l.Exps, l.Logic, l.HashBlocks)
		for _, level := range l.Memory {
			fmt.Fprintf(w, "\t%.0f, %.0f", level.Read, level.Write)
		}
		fmt.Fprintln(w, "\t")
	}
	w.Flush()
}

// writeOtherMachine says what makes an older run no fair comparison.
func writeOtherMachine(out io.Writer, here, old *conformance.Machine) {
	for _, part := range []struct{ what, now, then string }{
		{"machine", here.CPU, old.CPU}, {"tier", here.Tier, old.Tier}, {"Go", here.Go, old.Go},
		{"GOMAXPROCS", fmt.Sprint(here.GOMAXPROCS), fmt.Sprint(old.GOMAXPROCS)},
	} {
		if part.now != part.then {
			fmt.Fprintf(out, "another %s: %s now, %s in the older run of %s\n", part.what, part.now, part.then, old.Date)
		}
	}
}

// benchLine is a row in the table. Rows come one by one: no column waits for the widest.
const benchLine = "%-34s %-8s %-5s %11s %10s %8s %6s %7s  %s\n"

func writeRow(out io.Writer, r *conformance.RowResult, old *conformance.BenchFile) {
	var remarks []string
	remark := func(format string, a ...any) { remarks = append(remarks, fmt.Sprintf(format, a...)) }
	measured, page, limit := "", "", ""
	if r.NS != nil {
		measured, page = duration(r.NS.Median), fmt.Sprintf("%v us", r.PageUS)
		switch {
		case r.LimitShare > 0:
			limit = fmt.Sprintf("%.0f%%", 100*r.LimitShare)
		case r.LimitNS > 0:
			limit = "call" // the limit is below what any call costs
		}
	} else {
		measured, page = fmt.Sprintf("%.4g %s", *r.Figure, r.Unit), fmt.Sprintf("%v %s", r.Page, r.Unit)
	}
	if r.PeerRatio != nil {
		remark("%s as fast as the peer (%s to %s; %s)", times(r.PeerRatio.Median), times(r.PeerRatio.Q3), times(r.PeerRatio.Q1), duration(r.PeerNS.Median))
	}
	if r.PeerNote != "" {
		remark("no peer: %s", r.PeerNote)
	}
	if old != nil {
		if then := old.Row(r.ID, r.Workload, r.Implementation); then == nil || (then.NS == nil) != (r.NS == nil) {
			remark("not in the older run")
		} else if r.NS != nil {
			change := fmt.Sprintf("%.3g of the older run's", r.NS.Median/then.NS.Median)
			if r.NS.Differs(then.NS) {
				change += map[bool]string{true: ", SLOWER", false: ", faster"}[r.NS.Median > then.NS.Median]
			}
			remark("%s", change)
		}
	}
	if r.Noisy {
		remark("noisy")
	}
	if r.Note != "" {
		remark("%s", r.Note)
	}
	fmt.Fprintf(out, benchLine, r.ID, r.Workload, r.Implementation, measured, page,
		fmt.Sprintf("%.3g", r.PageRatio), limit, fmt.Sprintf("%.4g", r.Allocs), strings.Join(remarks, "; "))
}

func duration(ns float64) string {
	for _, unit := range []struct {
		name string
		ns   float64
	}{{"s", 1e9}, {"ms", 1e6}, {"us", 1e3}} {
		if ns >= unit.ns {
			return fmt.Sprintf("%.4g %s", ns/unit.ns, unit.name)
		}
	}
	return fmt.Sprintf("%.3g ns", ns)
}

// times says how many times as fast a ratio of times is.
func times(ratio float64) string { return fmt.Sprintf("%.3g×", 1/ratio) }

func (c *benchCommand) writeClosing(out io.Writer, rows []conformance.RowResult, noisy int) {
	fmt.Fprintln(out, "ratio: measured over the page's figure. limit: share of this machine's limit; \"call\" where that is below the price of a call.")
	fmt.Fprintln(out, "Times are medians of one run on this machine; the page's come from another. Outputs were compared with ref's.")
	if c.Peer != "" {
		fmt.Fprintln(out, "The peer was timed in turn with ours, inside its process, without the pipe. Its outputs were compared too.")
		for _, impl := range c.selected() {
			var own []conformance.RowResult
			for _, r := range rows {
				if r.Implementation == impl.Name {
					own = append(own, r)
				}
			}
			writePeer(out, impl.Name, conformance.SummarizePeer(own))
		}
	}
	if noisy > 0 {
		fmt.Fprintf(out, "This machine is noisy: of %d rows %d have a median more than 10%% above their minimum.\n", len(rows), noisy)
	}
}

func writePeer(out io.Writer, impl string, s conformance.PeerSummary) {
	if s.Rows > 0 {
		fmt.Fprintf(out, "%s, harness workloads: %s as fast as the peer in the geometric mean of %d rows; %d are at least %d× as fast",
			impl, times(s.Mean), s.Rows, s.Rows-len(s.Slow), conformance.PeerTarget)
		if len(s.Slow) > 0 {
			fmt.Fprintf(out, ", not: %s", strings.Join(s.Slow, ", "))
		}
		fmt.Fprintln(out)
	}
	if len(s.Missing) > 0 {
		fmt.Fprintf(out, "%s, harness workloads: no time of the peer for %s\n", impl, strings.Join(s.Missing, ", "))
	}
}

// growthLine is a size in the table of growth.
const growthLine = "%-36s %-8s %-10s %10s %11s %11s %8s %9s %7s %7s  %s\n"

func (c *benchCommand) growth(s *session, out io.Writer, record func(any) error) error {
	fmt.Fprintf(out, growthLine, "operation", "workload", "size", "operations", "one core", "all cores", "speed-up", "ns/op", "memory", "allocs", "")
	var failed error
	n := 0
	err := conformance.MeasureGrowth(s.ctx, fast.Implementation(), c.Module, func(g conformance.Growth) {
		n++
		for _, size := range g.Sizes {
			checked := "not checked"
			if size.Checked {
				checked = "checked"
			}
			fmt.Fprintf(out, growthLine, g.ID, g.Workload, size.Sides, fmt.Sprintf("%.3g", float64(size.Operations)), duration(size.NS), duration(size.AllNS),
				fmt.Sprintf("%.2f×", size.Speedup), fmt.Sprintf("%.3g", size.PerOperation), fmt.Sprintf("%.2f×", size.Memory), fmt.Sprintf("%.4g", size.Allocs), checked)
		}
		closing := fmt.Sprintf("exponent %.2f", g.Exponent)
		if g.Goroutines > 0 {
			closing += fmt.Sprintf("; %d goroutines were left behind", g.Goroutines)
		}
		if g.Stopped != "" {
			closing += "; " + g.Stopped
		}
		fmt.Fprintf(out, "%-36s %-8s %s\n", "", "", closing)
		failed = errors.Join(failed, record(g))
	})
	if spec.KindOf(err) == spec.Invalid {
		return misuse{err}
	}
	if err != nil {
		return err
	}
	if n == 0 {
		return misuse{spec.Reject(spec.Invalid, "bench", "--module", "one with operations on weights or an attention", c.Module)}
	}
	fmt.Fprintln(out, "exponent: the slope of log time over log operations on one core; 1 is a time that grows as the operations do.")
	fmt.Fprintln(out, "memory: what a new instance's first call allocates, result and scratch, over the input as float32. Outputs are checked at the row's own size.")
	return errors.Join(failed, record(conformance.BenchFooter{Type: "footer", Rows: n}))
}
