package conformance

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/sebdah/goldie/v2"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

// texts compares with the files of golden/texts, which change only with a reason
// that the commit gives: go test ./conformance ./tools/conform -update writes them.
func texts(t *testing.T) *goldie.Goldie {
	dir, err := filepath.Abs(filepath.Join("..", "golden", "texts"))
	if err != nil {
		t.Fatal(err)
	}
	return goldie.New(t, goldie.WithFixtureDir(dir), goldie.WithDiffEngine(goldie.ColoredDiff))
}

// TestRequirementsStay fails when a requirement vanishes or changes: ids are never
// reused, and a report of last year must mean the same today.
func TestRequirementsStay(t *testing.T) {
	var table bytes.Buffer
	for _, r := range spec.Requirements() {
		fmt.Fprintf(&table, "%s  %s %s  %s\n    within %s\n", r.ID, r.Level, r.Kind, r.Text, r.Tolerance)
	}
	texts(t).Assert(t, "requirements", table.Bytes())
}

func TestFailureText(t *testing.T) {
	golden := texts(t)
	t.Chdir(t.TempDir())
	var text bytes.Buffer
	for _, mutant := range ternaryQuantMutants[:3] {
		report := Check(proxy.Wrap(ref.Implementation(), mutant.layer), Requirements(mutant.requirement), Failures("failures"), Shrink(shrinkFully),
			Reproduce(func(id string, seed uint64) string {
				return fmt.Sprintf("conform check --requirement %s --seed %d", id, seed)
			}))
		report.Results[0].Explain(&text)
		fmt.Fprintln(&text)
	}
	golden.Assert(t, "failure", text.Bytes())
	for i := range 3 {
		id := filepath.Base(ternaryQuantMutants[i].requirement)
		replayed, err := Replay(proxy.Wrap(ref.Implementation(), ternaryQuantMutants[i].layer), "failures/ternary-quant-"+id+"-1.safetensors")
		if err != nil || replayed.Failed != 1 {
			t.Errorf("the vector of %s on its mutant: got %s, %v; want it failed", id, replayed.Summary(), err)
		}
		replayed, err = Replay(ref.Implementation(), "failures/ternary-quant-"+id+"-1.safetensors")
		if err != nil || replayed.Passed != 1 {
			t.Errorf("the vector of %s on ref: got %s, %v; want it passed", id, replayed.Summary(), err)
		}
	}
}

// shrinkFully is long enough to shrink to the end on a busy machine: the text
// would differ otherwise.
const shrinkFully = 1 << 36
