package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/conformance"
	"github.com/squishspec/squishspec/spec"
)

// measurement is one of every row, twice as slow as its limit allows and a hundredth
// of the peer's time, changed.
func measurement(t *testing.T, change func(*conformance.RowResult)) []byte {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.Encode(conformance.Machine{Type: "machine", CPU: "a processor", Tier: "go", Date: "2026-01-02", Peer: "numbers 1", Limits: []spec.Limits{
		{Tier: "go", MulAdds: 1, Exps: 1, Logic: 1, HashBlocks: 1, Memory: []spec.Bandwidth{{Level: "DRAM", Read: 1}}},
	}})
	rows := 0
	for _, row := range spec.Rows() {
		for _, name := range spec.WorkloadNames {
			r := conformance.RowResult{Type: "row", ID: row.ID, Workload: name, Implementation: "fast", Checked: true, PageRatio: 0.5}
			if row.IsLatency() {
				r.NS = &conformance.Spread{Median: 10}
				r.PeerNS, r.PeerRatio = &conformance.Spread{Median: 1000}, &conformance.Spread{Min: 0.01, Q1: 0.01, Median: 0.01, Q3: 0.01, Max: 0.01}
				r.LimitNS, r.LimitShare = 9, 0.9
			} else {
				r.Figure = new(float64)
			}
			change(&r)
			if r.ID != "" {
				encoder.Encode(r)
				rows++
			}
		}
	}
	encoder.Encode(conformance.BenchFooter{Type: "footer", Rows: rows})
	return b.Bytes()
}

// only changes one row of the harness workload.
func only(id string, change func(*conformance.RowResult)) func(*conformance.RowResult) {
	return func(r *conformance.RowResult) {
		if r.ID == id && r.Workload == spec.HarnessWorkload {
			change(r)
		}
	}
}

func TestSpeedOfRowsThatMissNothing(t *testing.T) {
	var out strings.Builder
	if err := speed(&out, measurement(t, func(*conformance.RowResult) {}), nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"## Speed\n", "Measured on 2026-01-02 by `conform bench --peer`", "a processor", "numbers 1",
		"| `ternary-quant/quantize` | harness | 10 ns | 0.5 | 1 µs | 100× (100× to 100×) | 90% |  |\n",
		"of the 53 rows", "100× as fast as the peer; 53 of them", "| page | under the page's own figure | page | 53 | 53 |\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "What is missed") {
		t.Errorf("something is missed in\n%s", out.String())
	}
}

func TestEveryMissNeedsItsReason(t *testing.T) {
	const row = "ternary-quant/quantize"
	for _, c := range []struct {
		what, target, row string
		change            func(*conformance.RowResult)
	}{
		{"slower than a third of the peer", "peer", "sparse-moe/route", only("sparse-moe/route", func(r *conformance.RowResult) { r.PeerRatio.Median = 0.4 })},
		{"slow beside the peer, and not at the limit of memory", "peer", "stream-rag/inject", only("stream-rag/inject", func(r *conformance.RowResult) { r.PeerRatio.Median, r.LimitShare = 0.4, 0.7 })},
		{"without the peer", "peer", row, only(row, func(r *conformance.RowResult) { r.PeerRatio = nil })},
		{"a slow decomposition", "svd", "delta-compress/compress", only("delta-compress/compress", func(r *conformance.RowResult) { r.PeerRatio.Median = 0.1 })},
		{"far from the limit", "limit", row, only(row, func(r *conformance.RowResult) { r.LimitShare = 0.6 })},
		{"far from what memory allows", "limit", "layer-fusion/fuse", only("layer-fusion/fuse", func(r *conformance.RowResult) { r.LimitShare = 0.7 })},
		{"slow bookkeeping", "bookkeeping", "model-surgery/plan", only("model-surgery/plan", func(r *conformance.RowResult) { r.NS.Median = 101 })},
		{"slower than the page", "page", row, func(r *conformance.RowResult) {
			if r.ID == row && r.Workload == spec.PageWorkload {
				r.PageRatio = 1.1
			}
		}},
		{"an allocation", "allocs-harness", row, only(row, func(r *conformance.RowResult) { r.Allocs = 1 })},
		{"a mean", "mean", "all rows", func(r *conformance.RowResult) {
			if r.PeerRatio != nil {
				r.PeerRatio.Median = 1. / 29
			}
		}},
	} {
		data := measurement(t, c.change)
		var out strings.Builder
		if err := speed(&out, data, nil); err == nil || !strings.Contains(err.Error(), "no reason for "+c.row+" missing the target "+c.target+": ") {
			t.Errorf("%s: got %v", c.what, err)
		}
		why := reason{c.target, []string{c.row}, "because"}
		out.Reset()
		if err := speed(&out, data, []reason{why}); err != nil || !strings.Contains(out.String(), " | because |\n") {
			t.Errorf("%s, with its reason: %v", c.what, err)
		}
		if err := speed(&out, data, []reason{why, why}); err == nil {
			t.Errorf("%s: two reasons were accepted", c.what)
		}
		if err := speed(&out, measurement(t, func(*conformance.RowResult) {}), []reason{why}); err == nil || !strings.Contains(err.Error(), "which it does not") {
			t.Errorf("%s: a reason for a target that is met: got %v", c.what, err)
		}
	}
}

// A row that is slow beside the peer is at its limit where memory alone decides, and
// SHA-256 is no bookkeeping.
func TestWhatIsNoMiss(t *testing.T) {
	for id, change := range map[string]func(*conformance.RowResult){
		"layer-fusion/fuse":          func(r *conformance.RowResult) { r.PeerRatio.Median, r.LimitShare = 0.9, 0.8 },
		"cross-modal-attn/forward":   func(r *conformance.RowResult) { r.LimitShare = 0.68 },
		"rag-prefetch/record-access": func(r *conformance.RowResult) { r.NS.Median = 104 },
		"sparse-moe/route":           func(r *conformance.RowResult) { r.LimitShare = 0.1 },
	} {
		if err := speed(&strings.Builder{}, measurement(t, only(id, change)), nil); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestSpeedWantsEveryRowChecked(t *testing.T) {
	whole := measurement(t, func(*conformance.RowResult) {})
	for what, data := range map[string][]byte{
		"a row is missing": measurement(t, only("sparse-moe/route", func(r *conformance.RowResult) { r.ID = "" })),
		"not checked":      measurement(t, only("sparse-moe/route", func(r *conformance.RowResult) { r.Checked = false })),
		"of another":       measurement(t, only("sparse-moe/route", func(r *conformance.RowResult) { r.Implementation = "ref" })),
		"cut off":          whole[:len(whole)-20],
		"nothing":          nil,
	} {
		if err := speed(&strings.Builder{}, data, nil); err == nil || !strings.HasPrefix(err.Error(), "the measurement: ") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
