package spec_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/squishspec/squishspec/spec"
)

func TestPageHas58RowsAnd14Claims(t *testing.T) {
	if n := len(spec.Rows()); n != 58 {
		t.Errorf("%d rows, want 58", n)
	}
	if n := len(spec.Claims()); n != 14 {
		t.Errorf("%d claims, want 14", n)
	}
	latencies := 0
	for _, r := range spec.Rows() {
		if r.IsLatency() {
			latencies++
		}
	}
	if latencies != 53 {
		t.Errorf("%d latency rows, want 53", latencies)
	}
}

func TestRowsCoverTheModulesInTheirOrder(t *testing.T) {
	var modules []string
	for _, r := range spec.Rows() {
		modules = append(modules, r.Module)
	}
	if diff := cmp.Diff(spec.ModuleNames, slices.Compact(modules)); diff != "" {
		t.Errorf("modules of the rows (-want +got):\n%s", diff)
	}
	if n := len(spec.ModuleNames); n != 28 {
		t.Errorf("%d module names, want 28", n)
	}
}

func TestRowsAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range spec.Rows() {
		if seen[r.ID] {
			t.Errorf("%s: comes twice", r.ID)
		}
		seen[r.ID] = true
		if r.ID != r.Module+"/"+r.Operation || r.Operation == "" {
			t.Errorf("%s: module %q, operation %q", r.ID, r.Module, r.Operation)
		}
		if wave := 23 + slices.Index(spec.ModuleNames, r.Module)/14; r.Wave != wave {
			t.Errorf("%s: wave %d, want %d", r.ID, r.Wave, wave)
		}
		if r.Label == "" || r.Note == "" || !(r.Value > 0) {
			t.Errorf("%s: label %q, note %q, value %v", r.ID, r.Label, r.Note, r.Value)
		}
		if !slices.Contains([]string{"us", "ratio", "x", "%"}, r.Unit) {
			t.Errorf("%s: unit %q", r.ID, r.Unit)
		}
		for _, name := range spec.WorkloadNames {
			if len(r.Workload(name)) == 0 {
				t.Errorf("%s: no %s workload", r.ID, name)
			}
		}
		if got, ok := spec.RowByID(r.ID); !ok || !cmp.Equal(got, r) {
			t.Errorf("RowByID(%q) = %v, %v", r.ID, got, ok)
		}
	}
	for _, id := range []string{"", "ternary-quant", "ternary-quant/", "ternary-quant/no-such"} {
		if r, ok := spec.RowByID(id); ok {
			t.Errorf("RowByID(%q) = %v, want none", id, r)
		}
	}
}

func TestClaimsNameModules(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range spec.Claims() {
		if c.ID == "" || seen[c.ID] {
			t.Errorf("%q: comes twice or is empty", c.ID)
		}
		seen[c.ID] = true
		if !slices.Contains(spec.ModuleNames, c.Module) {
			t.Errorf("%s: no module %q", c.ID, c.Module)
		}
		if c.Technique == "" || c.Text == "" {
			t.Errorf("%s: technique %q, text %q", c.ID, c.Technique, c.Text)
		}
	}
}

func TestWorkloadAccessors(t *testing.T) {
	w := spec.Workload{"rows": 128.0, "sparsity": 0.3, "format": "csr", "max_concurrent": []any{32.0, 16.0, 8.0}}
	if got := w.Int("rows", 1); got != 128 {
		t.Errorf("rows %d, want 128", got)
	}
	if got := w.Float("sparsity", 0); got != 0.3 {
		t.Errorf("sparsity %v, want 0.3", got)
	}
	if got := w.Text("format", "nm"); got != "csr" {
		t.Errorf("format %q, want csr", got)
	}
	if got := w.Ints("max_concurrent"); !slices.Equal(got, []int{32, 16, 8}) {
		t.Errorf("max_concurrent %v, want 32, 16, 8", got)
	}
	// What is missing, or of another type, has the default.
	if i, x, s, l := w.Int("format", 7), w.Float("cols", 0.5), w.Text("rows", "nm"), w.Ints("rows"); i != 7 || x != 0.5 || s != "nm" || l != nil {
		t.Errorf("defaults %v, %v, %q, %v", i, x, s, l)
	}
	larger := w.With("rows", 256)
	if larger.Int("rows", 1) != 256 || larger.Text("format", "") != "csr" || w.Int("rows", 1) != 128 {
		t.Errorf("With(rows, 256) = %v, of %v", larger, w)
	}
	if got := spec.Workload(nil).With("rows", 2).Int("rows", 1); got != 2 {
		t.Errorf("With on nothing gives %d, want 2", got)
	}
}

func TestUnknownWorkloadIsNone(t *testing.T) {
	r, _ := spec.RowByID("ternary-quant/quantize")
	if w := r.Workload("warm-up"); w != nil {
		t.Errorf("workload %v, want none", w)
	}
}

// pageSource is the project's own copy of the page beside the checkout.
const pageSource = "../../shared/page/rows.json"

func TestPageIsTheSourceFieldByField(t *testing.T) {
	blob, err := os.ReadFile(pageSource)
	if err != nil {
		t.Skipf("NOT COMPARED with the page's rows: %v", err)
	}
	var source struct {
		Rows []struct {
			ID, Module, Operation, Label, Unit, Note, Caveat string
			Wave                                             int
			Value                                            float64
			Page                                             spec.Workload `json:"page_workload"`
			Harness                                          spec.Workload `json:"harness_workload"`
		}
		Claims []struct{ ID, Technique, Claim, Module, Basis string }

		Accuracy struct {
			Model string
			Tasks []spec.Score
		} `json:"accuracy_baseline"`
	}
	if err := json.Unmarshal(blob, &source); err != nil {
		t.Fatal(err)
	}
	var rows []spec.Row
	for _, r := range source.Rows {
		rows = append(rows, spec.Row{
			ID: r.ID, Module: r.Module, Operation: r.Operation, Wave: r.Wave, Label: r.Label, Note: r.Note,
			Caveat: r.Caveat, Value: r.Value, Unit: r.Unit, Page: r.Page, Harness: r.Harness,
		})
	}
	if diff := cmp.Diff(rows, spec.Rows()); diff != "" {
		t.Errorf("rows (-source +ours):\n%s", diff)
	}
	var claims []spec.Claim
	for _, c := range source.Claims {
		claims = append(claims, spec.Claim{ID: c.ID, Technique: c.Technique, Text: c.Claim, Module: c.Module, Basis: c.Basis})
	}
	if diff := cmp.Diff(claims, spec.Claims()); diff != "" {
		t.Errorf("claims (-source +ours):\n%s", diff)
	}
	accuracy := spec.Accuracy{Model: source.Accuracy.Model, Scores: source.Accuracy.Tasks}
	if diff := cmp.Diff(accuracy, spec.AccuracyBaseline()); diff != "" {
		t.Errorf("accuracy (-source +ours):\n%s", diff)
	}
}

func TestAccuracyBaselineIsInPercent(t *testing.T) {
	a := spec.AccuracyBaseline()
	if a.Model == "" || len(a.Scores) != 4 {
		t.Fatalf("model %q with %d scores, want 4", a.Model, len(a.Scores))
	}
	for _, s := range a.Scores {
		if s.Task == "" || s.Metric == "" || !(s.Score > 1 && s.Score < 100) {
			t.Errorf("score %+v", s)
		}
	}
}
