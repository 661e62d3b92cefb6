package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/squishspec/squishspec/conformance"
	"github.com/squishspec/squishspec/spec"
)

// benchFile is the measurement that the tables show: what conform bench --impl fast
// --peer … --json wrote.
//
//go:embed bench.ndjson
var benchFile []byte

// measured is the implementation that the tables show.
const measured = "fast"

// A target is what rows are meant to come to.
type target struct {
	name, text string
	workload   spec.WorkloadName
	// applies chooses latency rows.
	applies func(spec.Row) bool
	// miss is the figure of a row that misses it, and "" for one that does not.
	miss func(*conformance.BenchFile, *conformance.RowResult) string
}

// targets are all there are for single rows.
var targets = []target{
	{
		"peer", "at least 3× as fast as the peer, or within 1.3× of the limit where memory alone decides", spec.HarnessWorkload,
		func(spec.Row) bool { return true },
		func(f *conformance.BenchFile, r *conformance.RowResult) string {
			switch {
			case r.PeerRatio == nil:
				return "no time of the peer's: " + strings.TrimPrefix(r.PeerNote, r.ID+": ")
			case 1/r.PeerRatio.Median >= conformance.PeerTarget || memoryDecides(f, r) && r.LimitShare >= 1/1.3:
				return ""
			}
			return times(1/r.PeerRatio.Median) + " as fast"
		},
	},
	{
		"svd", "rank-16 SVD at least 15× as fast as the peer", spec.HarnessWorkload, among("delta-compress/compress"),
		func(_ *conformance.BenchFile, r *conformance.RowResult) string {
			if r.PeerRatio != nil && 1/r.PeerRatio.Median >= 15 {
				return ""
			} else if r.PeerRatio == nil {
				return "no time of the peer's"
			}
			return times(1/r.PeerRatio.Median) + " as fast"
		},
	},
	{
		"limit", "floating-point rows within 1.5× of their limit, and within 1.3× where memory alone decides", spec.HarnessWorkload,
		among("image-token-prune/prune", "cross-modal-attn/forward", "cross-doc-attn/forward", "binary-attn/forward",
			"ternary-quant/quantize", "ternary-quant/dequantize", "structured-prune/prune", "layer-fusion/cosine-similarity", "layer-fusion/fuse",
			"weight-sharing/get-effective-weight", "quant-calib/calibrate-minmax", "sparse-weight/compress", "sparse-weight/decompress",
			"delta-compress/decompress", "zero-quant-v2/quantize", "zero-quant-v2/dequantize", "gptq-layer/calibrate",
			"awq-v2/calibrate", "awq-v2/quantize", "iter-prune/prune-step-5", "iter-prune/prune-step-10"),
		func(f *conformance.BenchFile, r *conformance.RowResult) string {
			within := 1.5
			if memoryDecides(f, r) {
				within = 1.3
			}
			if r.LimitShare == 0 || r.LimitShare >= 1/within {
				return ""
			}
			return fmt.Sprintf("%s its limit, want %v×", times(1/r.LimitShare), within)
		},
	},
	{
		"bookkeeping", "bookkeeping under 100 ns, without SHA-256", spec.HarnessWorkload,
		among("vision-kv-fuse/append", "vision-kv-fuse/get-kv", "rag-prefetch/record-access", "multimodal-batch/add-request",
			"multimodal-batch/next-batch", "hierarchical-kv/put", "hierarchical-kv/get-hit", "hierarchical-kv/get-miss",
			"modality-router/route-complete", "modality-router/route-best", "model-surgery/plan", "model-surgery/estimate-reduction"),
		func(f *conformance.BenchFile, r *conformance.RowResult) string {
			ns := r.NS.Median
			if limits := f.Machine.InForce(); limits != nil {
				row, _ := spec.RowByID(r.ID)
				ns -= limits.Time(spec.Cost{HashBlocks: row.Cost(r.Workload).HashBlocks})
			}
			if ns < 100 {
				return ""
			}
			return fmt.Sprintf("%.0f ns", ns)
		},
	},
	{
		"page", "under the page's own figure", spec.PageWorkload, func(spec.Row) bool { return true },
		func(_ *conformance.BenchFile, r *conformance.RowResult) string {
			if r.PageRatio < 1 {
				return ""
			}
			return times(r.PageRatio) + " the page's time"
		},
	},
	allocations(spec.PageWorkload),
	allocations(spec.HarnessWorkload),
}

func allocations(name spec.WorkloadName) target {
	return target{
		string("allocs-" + name), "no allocation in the steady state", name, func(spec.Row) bool { return true },
		func(_ *conformance.BenchFile, r *conformance.RowResult) string {
			if r.Allocs == 0 {
				return ""
			}
			return fmt.Sprintf("%.3g a call", r.Allocs)
		},
	}
}

func among(ids ...string) func(spec.Row) bool {
	return func(r spec.Row) bool { return slices.Contains(ids, r.ID) }
}

// memoryDecides reports whether a row's bytes outlast its operations.
func memoryDecides(f *conformance.BenchFile, r *conformance.RowResult) bool {
	limits := f.Machine.InForce()
	if limits == nil {
		return false
	}
	row, _ := spec.RowByID(r.ID)
	c := row.Cost(r.Workload)
	return limits.Time(spec.Cost{Bytes: c.Bytes, Reread: c.Reread}) >= limits.Time(c)
}

// meanTarget is how many times as fast as the peer all rows are in the geometric
// mean; a miss of it is of the row meanRow.
const (
	meanTarget = 30
	meanName   = "mean"
	meanText   = "30× as fast as the peer in the geometric mean"
	meanRow    = "all rows"
)

// A missed target is one of a row's.
type missed struct{ target, row, figure, reason string }

// A reason says why rows miss a target.
type reason struct {
	target string
	rows   []string
	text   string
}

// speed writes the section of a measurement. It wants every latency row to have been
// timed and checked, a reason for every missed target, and a miss for every reason.
func speed(w io.Writer, data []byte, reasons []reason) error {
	f, err := conformance.ReadBench(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("the measurement: %w", err)
	}
	f.Rows = slices.DeleteFunc(f.Rows, func(r conformance.RowResult) bool { return r.Implementation != measured })
	for _, row := range latencies() {
		for _, name := range spec.WorkloadNames {
			if r := f.Row(row.ID, name, measured); r == nil || r.NS == nil || !r.Checked {
				return fmt.Errorf("the measurement: want %s, %s workload, timed and checked", row.ID, name)
			}
		}
	}
	summary := conformance.SummarizePeer(f.Rows)
	misses, err := explained(allMisses(f, summary), reasons)
	if err != nil {
		return err
	}
	m := &f.Machine
	fmt.Fprintf(w, `## Speed

Measured on %s by `+"`conform bench --peer`"+`: package %s on %s (%s, %s, %s), with the instructions of tier
%s. Each median is of samples taken in turn with the peer's, %s, in one run; every output was compared with
ref's. The page's times come from another machine. A limit is the least time that a row's operations and bytes take
on this core, whichever is longer, at the rates that the same run measured; "call" stands where it is below what any
call costs. A row whose median is more than 10%% above its least sample is marked noisy.

`, m.Date, measured, m.CPU, m.OS, m.Arch, m.Go, m.Tier, peer(m))
	if limits := m.InForce(); limits != nil {
		fmt.Fprintf(w, "One core does %.0f float32 flops, %.2g exponentials, %.0f integer operations and %.2g blocks of SHA-256 a nanosecond, at most, and reads",
			2*limits.MulAdds, limits.Exps, limits.Logic, limits.HashBlocks)
		for i, level := range limits.Memory {
			if i > 0 {
				fmt.Fprint(w, ",")
			}
			fmt.Fprintf(w, " %.0f bytes of %s", level.Read, level.Level)
		}
		fmt.Fprint(w, ".\n\n")
	}
	fmt.Fprint(w, "| row | workload | median | of the page's | peer | × the peer | of the limit | |\n|---|---|---|---|---|---|---|---|\n")
	for _, row := range latencies() {
		for _, name := range spec.WorkloadNames {
			writeRow(w, f.Row(row.ID, name, measured))
		}
	}
	fmt.Fprintf(w, "\nIn the geometric mean of the %d rows of the harness workloads that the peer could run it is %s as fast as the peer; %d of them are at least %d× as fast.\n\n",
		summary.Rows, times(1/summary.Mean), summary.Rows-len(summary.Slow), conformance.PeerTarget)
	writeTargets(w, f, misses)
	return nil
}

func latencies() []spec.Row {
	return slices.DeleteFunc(slices.Clone(spec.Rows()), func(r spec.Row) bool { return !r.IsLatency() })
}

func peer(m *conformance.Machine) string {
	if m.Peer == "" {
		return "which there was none of"
	}
	return m.Peer
}

func writeRow(w io.Writer, r *conformance.RowResult) {
	theirs, ratio, limit, remarks := "", "", "", []string{}
	if r.PeerRatio != nil {
		theirs = duration(r.PeerNS.Median)
		ratio = fmt.Sprintf("%s (%s to %s)", times(1/r.PeerRatio.Median), times(1/r.PeerRatio.Q3), times(1/r.PeerRatio.Q1))
	}
	switch {
	case r.LimitShare > 0:
		limit = fmt.Sprintf("%.0f%%", 100*r.LimitShare)
	case r.LimitNS > 0:
		limit = "call"
	}
	if r.Noisy {
		remarks = append(remarks, "noisy")
	}
	if r.Note != "" {
		remarks = append(remarks, r.Note)
	}
	fmt.Fprintf(w, "| `%s` | %s | %s | %.3g | %s | %s | %s | %s |\n", r.ID, r.Workload, duration(r.NS.Median), r.PageRatio, theirs, ratio, limit, cell(strings.Join(remarks, "; ")))
}

// allMisses are the targets that rows miss, without reasons.
func allMisses(f *conformance.BenchFile, summary conformance.PeerSummary) (list []missed) {
	for _, t := range targets {
		for _, row := range latencies() {
			if !t.applies(row) {
				continue
			}
			if figure := t.miss(f, f.Row(row.ID, t.workload, measured)); figure != "" {
				list = append(list, missed{t.name, row.ID, figure, ""})
			}
		}
	}
	if mean := 1 / summary.Mean; summary.Rows == 0 || mean < meanTarget {
		list = append(list, missed{meanName, meanRow, times(mean) + " as fast", ""})
	}
	return list
}

// explained gives every miss its reason. A reason that is left over, or a miss without
// one, is an error.
func explained(list []missed, reasons []reason) ([]missed, error) {
	used := map[[2]string]bool{}
	for _, r := range reasons {
		for _, row := range r.rows {
			key := [2]string{r.target, row}
			i := slices.IndexFunc(list, func(m missed) bool { return m.target == r.target && m.row == row })
			switch {
			case used[key]:
				return nil, fmt.Errorf("two reasons for %s missing the target %s", row, r.target)
			case i < 0:
				return nil, fmt.Errorf("a reason for %s missing the target %s, which it does not", row, r.target)
			}
			used[key] = true
			list[i].reason = r.text
		}
	}
	for _, m := range list {
		if m.reason == "" {
			return nil, fmt.Errorf("no reason for %s missing the target %s: %s", m.row, m.target, m.figure)
		}
	}
	return list, nil
}

func writeTargets(w io.Writer, f *conformance.BenchFile, misses []missed) {
	fmt.Fprint(w, "| target | what | workload | rows | met by |\n|---|---|---|---|---|\n")
	count := func(name string) int {
		n := 0
		for _, m := range misses {
			if m.target == name {
				n++
			}
		}
		return n
	}
	for _, t := range targets {
		rows := 0
		for _, row := range latencies() {
			if t.applies(row) {
				rows++
			}
		}
		fmt.Fprintf(w, "| %s | %s | %s | %d | %d |\n", t.name, t.text, t.workload, rows, rows-count(t.name))
	}
	fmt.Fprintf(w, "| %s | %s | %s | %d | %d |\n\n", meanName, meanText, spec.HarnessWorkload, 1, 1-count(meanName))
	if len(misses) == 0 {
		return
	}
	fmt.Fprint(w, "What is missed, and why:\n\n| target | row | measured | reason |\n|---|---|---|---|\n")
	for _, m := range misses {
		row := m.row
		if m.target != meanName {
			row = "`" + row + "`"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", m.target, row, cell(m.figure), cell(m.reason))
	}
	fmt.Fprintln(w)
}

// times prints a factor with two digits or more, none of them behind the point from 10
// on.
func times(x float64) string {
	if math.Abs(x) >= 10 {
		return fmt.Sprintf("%.0f×", x)
	}
	return fmt.Sprintf("%.2g×", x)
}

func duration(ns float64) string {
	switch {
	case ns >= 1e6:
		return fmt.Sprintf("%.3g ms", ns/1e6)
	case ns >= 1e3:
		return fmt.Sprintf("%.3g µs", ns/1e3)
	}
	return fmt.Sprintf("%.3g ns", ns)
}
