package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

// recorded is the folder of the recording of Squish 6.0.0, which is not part of
// this module.
var recorded = filepath.Join("..", "..", "shared", "vectors")

func needRecording(t *testing.T) {
	if _, err := os.Stat(recorded); err != nil {
		t.Skipf("SKIPPED: THE RECORDING OF SQUISH 6.0.0 IS NOT REPLAYED: it is not here (%v)", err)
	}
}

func TestRecordingReplays(t *testing.T) {
	needRecording(t)
	for _, impl := range []spec.Implementation{ref.Implementation(), fast.Implementation()} {
		report, err := Replay(impl, recorded)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range report.Failures {
			t.Errorf("%s: %s", impl.Name, line)
		}
		if report.Passed < 100 {
			t.Errorf("%s: only %s", impl.Name, report.Summary())
		}
		t.Logf("%s: %s", impl.Name, report.Summary())
	}
}

func TestWrongImplementationFailsTheReplay(t *testing.T) {
	needRecording(t)
	report, err := Replay(proxy.Wrap(ref.Implementation(), addOne), recorded)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range spec.Modules() {
		if !strings.Contains(strings.Join(report.Failures, "\n"), m.Name) {
			t.Errorf("%s: results that are 1 off pass", m.Name)
		}
	}
}

func TestUnreadableRecordingsAreRefused(t *testing.T) {
	write := func(name, text string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for what, path := range map[string]string{
		"no folder":            filepath.Join(t.TempDir(), "missing"),
		"an empty folder":      t.TempDir(),
		"torn JSON":            write("ternary-quant.json", `{"module": "ternary-quant", "tens`),
		"no module":            write("x.json", `{}`),
		"a module of no page":  write("x.json", `{"module": "nonsense"}`),
		"no tensors":           write("ternary-quant.json", `{"module": "ternary-quant", "tensors": "gone.safetensors", "cases": []}`),
		"tensors elsewhere":    write("ternary-quant.json", `{"module": "ternary-quant", "tensors": "../x.safetensors", "cases": []}`),
		"a torn vector":        write("x.safetensors", "\x10\x00\x00\x00\x00\x00\x00\x00{}"),
		"a vector of no frame": write("x.safetensors", "hello, world"),
	} {
		report, err := Replay(ref.Implementation(), path)
		if err == nil || report.Passed+report.Failed > 0 {
			t.Errorf("%s: got %s, want an error", what, report.Summary())
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than a line: %v", what, err)
		}
	}
}
