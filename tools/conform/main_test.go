package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sebdah/goldie/v2"

	"github.com/squishspec/squishspec/conformance"
	"github.com/squishspec/squishspec/fast"
)

// conform runs the command and returns its exit code and what it wrote.
func conform(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

func TestHelp(t *testing.T) {
	golden := goldie.New(t, goldie.WithFixtureDir(filepath.Join("..", "..", "golden", "texts")))
	var all strings.Builder
	for _, args := range [][]string{{}, {"check", "--help"}, {"replay", "--help"}, {"bench", "--help"},
		{"serve", "--help"}, {"export", "--help"}, {"audit", "--help"}, {"perplexity", "--help"}, {"list", "--help"}} {
		code, out, _ := conform(t, args...)
		if code != exitOK {
			t.Errorf("%v: exit code %d", args, code)
		}
		all.WriteString(out)
	}
	golden.Assert(t, "help", []byte(all.String()))
}

func TestCheckEndsWithCounts(t *testing.T) {
	code, out, _ := conform(t, "check", "--impl", "ref", "--module", "ternary-quant", "--checks", "5")
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if last := lines[len(lines)-1]; !strings.HasSuffix(last, " 0 failed, 0 known failures, 0 not offered; 1 of 28 modules") {
		t.Errorf("the last line is %q", last)
	}
}

// Who forces vector instructions that are not there must not take a run for one of
// theirs.
func TestVectorInstructionsThatAreNotThereAreMisuse(t *testing.T) {
	t.Setenv(fast.SIMDVariable, "avx3")
	code, _, stderr := conform(t, "list", "modules")
	if want := fast.SIMDVariable + ": want one of"; code != exitMisuse || !strings.Contains(stderr, want) {
		t.Errorf("exit code %d, %q; want %d, %q", code, stderr, exitMisuse, want)
	}
}

func TestListSIMDEndsWithGo(t *testing.T) {
	if code, out, _ := conform(t, "list", "simd"); code != exitOK || !strings.HasSuffix(out, "go\n") {
		t.Errorf("exit code %d, %q", code, out)
	}
}

func TestCheckWritesResults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.ndjson")
	if code, _, stderr := conform(t, "check", "--module", "ternary-quant", "--checks", "2", "--json", file); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]int{}
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		var entry struct{ Type string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		types[entry.Type]++
	}
	if types["header"] != 2 || types["footer"] != 2 || types["result"] < 20 {
		t.Errorf("got %v, want a header, results and a footer of each implementation", types)
	}
}

func TestKnownFailureThatPassesFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known")
	if err := os.WriteFile(file, []byte("ternary-quant/scale differs # it does not\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	code, out, _ := conform(t, "check", "--impl", "ref", "--requirement", "ternary-quant/scale", "--known-failures", file)
	if code != exitFailed || !strings.Contains(out, "take it off the list") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

func TestMisuseExitsWith2AndALine(t *testing.T) {
	torn := filepath.Join(t.TempDir(), "torn")
	if err := os.WriteFile(torn, []byte("nonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"nonsense"},
		{"check", "--nonsense"},
		{"check", "--impl", "nonsense"},
		{"check", "--module", "nonsense"},
		{"check", "--requirement", "nonsense"},
		{"check", "--checks", "0"},
		{"check", "--checks", "many"},
		{"check", "--seed", "0"},
		{"check", "--seed", "-1"},
		{"check", "--seed", "1x"},
		{"check", "--timeout", "soon"},
		{"check", "--known-failures", torn},
		{"check", "--known-failures", torn + "-missing"},
		{"check", "--json", filepath.Join(torn, "x")},
		{"replay"},
		{"replay", torn + "-missing"},
		{"replay", torn},
		{"bench", "--module", "nonsense", "--time", "1ms"},
		{"bench", "--time", "-1s"},
		{"bench", "--peer", "exit 3"},
		{"bench", "--vs", torn},
		{"bench", "--vs", torn + "-missing"},
		{"bench", "--growth", "--impl", "fast"},
		{"bench", "--growth", "--time", "1ms", "--module", "nonsense"},
		{"bench", "--growth", "--time", "1ms", "--module", "cot-compress"},
		{"check", "--impl", "ref", "--", "cat"},
		{"check", "--timeout", "-1s", "--", "cat"},
		{"serve", "--impl", "nonsense"},
		{"export"},
		{"export", torn},
		{"export", filepath.Dir(torn)},
		{"export", filepath.Join(torn, "below")},
		{"export", torn + "-missing", "--module", "nonsense"},
		{"export", torn + "-missing", "--tries", "0"},
		{"list", "nonsense"},
	} {
		code, _, stderr := conform(t, args...)
		if code != exitMisuse || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit code %d, stderr %q; want 2 and a line", args, code, stderr)
		}
	}
}

func TestBenchMeasuresTheRows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rows.ndjson")
	code, out, stderr := conform(t, "bench", "--module", "ternary-quant", "--time", "1ms", "--json", file)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	got, err := readBench(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 8 {
		t.Errorf("got %d rows, want 2 of 2 workloads on 2 implementations:\n%s", len(got.Rows), out)
	}
	for _, row := range got.Rows {
		if !row.Checked || row.NS == nil || row.NS.Median <= 0 || row.PageUS <= 0 || row.PageRatio <= 0 || row.LimitNS <= 0 {
			t.Errorf("not measured: %+v", row)
		}
	}
	if m := got.Machine; m.CPU == "" || m.GOMAXPROCS < 1 || m.InForce() == nil || len(m.Date) != len("2006-01-02") {
		t.Errorf("the machine is not described: %+v", m)
	}
	if !strings.Contains(out, "tier "+got.Machine.Tier+".") || !strings.Contains(out, "DRAM bytes read, written") {
		t.Errorf("the machine is not printed:\n%s", out)
	}
}

// TestBenchComparesWithAnOlderRun: with one that took a thousandth of the time, on
// another machine.
func TestBenchComparesWithAnOlderRun(t *testing.T) {
	old, text := filepath.Join(t.TempDir(), "old.ndjson"), new(strings.Builder)
	args := []string{"bench", "--impl", "fast", "--module", "ternary-quant", "--time", "1ms"}
	if code, _, stderr := conform(t, append(args, "--json", old)...); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	rows, err := readBench(old)
	if err != nil {
		t.Fatal(err)
	}
	rows.Machine.Tier = "abacus"
	encoder := json.NewEncoder(text)
	encoder.Encode(rows.Machine)
	for _, r := range rows.Rows {
		for _, x := range []*float64{&r.NS.Min, &r.NS.Q1, &r.NS.Median, &r.NS.Q3, &r.NS.Max} {
			*x /= 1000
		}
		encoder.Encode(r)
	}
	encoder.Encode(conformance.BenchFooter{Type: "footer", Rows: len(rows.Rows)})
	if err := os.WriteFile(old, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := conform(t, append(args, "--vs", old)...)
	if code != exitOK || strings.Count(out, " of the older run's, SLOWER") != 4 || !strings.Contains(out, "another tier: ") || strings.Contains(out, "another machine: ") {
		t.Errorf("exit code %d: %s%s", code, out, stderr)
	}
	if err := os.WriteFile(old, []byte(text.String()[:text.Len()-9]), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := conform(t, append(args, "--vs", old)...); code != exitMisuse || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "line 6: ") {
		t.Errorf("cut off: exit code %d: %q; want 2 and a line", code, stderr)
	}
}

func TestListKnowsAllModules(t *testing.T) {
	if _, out, _ := conform(t, "list"); strings.Count(out, "\n") != 28 {
		t.Errorf("got\n%s", out)
	}
	if _, out, _ := conform(t, "list", "rows"); strings.Count(out, "\n") != 58 {
		t.Errorf("got\n%s", out)
	}
}
