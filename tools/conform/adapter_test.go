package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/squishspec/squishspec/golden"
	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec/adapter"
)

// program builds conform once, for the tests that run it as an adapter.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "conform")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "conform")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// dyingAdapter tells this test binary to be an adapter that dies.
const dyingAdapter = "CONFORM_TEST_DYING_ADAPTER"

func TestMain(m *testing.M) {
	if os.Getenv(dyingAdapter) != "" {
		fmt.Fprintln(os.Stderr, adapter.Serve(io.LimitReader(os.Stdin, 2000), os.Stdout, ref.Implementation()))
		os.Exit(3)
	}
	code := m.Run()
	if path, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// server is the command line of our implementation as an adapter.
func server(t *testing.T, impl string) []string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return []string{path, "serve", "--impl", impl}
}

// TestServeConforms runs conform check -- conform serve, both as they are built.
func TestServeConforms(t *testing.T) {
	for _, impl := range []string{"ref", "fast"} {
		serve := server(t, impl)
		args := append([]string{"check", "--checks", "4", "--validate", "--failures", t.TempDir(), "--"}, serve...)
		out, err := exec.Command(serve[0], args...).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", impl, err, out)
		}
		if !regexp.MustCompile(`\d+ calls over the pipe, \d+ a second\n`).Match(out) {
			t.Errorf("%s: no calls a second in\n%s", impl, out)
		}
	}
}

func TestAdapterThatCannotRunIsALineOfMisuse(t *testing.T) {
	for want, command := range map[string][]string{
		"executable file not found": {"squishspec-no-such-program"},
		"permission denied":         {"./main.go"},
		"not a frame":               {"sh", "-c", "echo a banner of mylib; cat"},
		"it ended with exit status": {"false"},
	} {
		for _, verb := range [][]string{{"check"}, {"replay", "."}} {
			code, _, stderr := conform(t, append(append(verb, "--"), command...)...)
			if code != exitMisuse || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, want) {
				t.Errorf("%s %q: exit code %d, %q; want 2 and a line with %q", verb[0], command, code, stderr, want)
			}
		}
	}
}

func TestReplayOnAnAdapter(t *testing.T) {
	entry := golden.ReadIndex().Vectors[0]
	path := filepath.Join("..", "..", "golden", filepath.FromSlash(entry.Path))
	code, out, stderr := conform(t, append([]string{"replay", path, "--validate", "--"}, server(t, "fast")...)...)
	if code != exitOK || !strings.Contains(out, "fast: 1 passed, 0 failed") {
		t.Errorf("exit code %d: %s%s", code, out, stderr)
	}
}

func TestBenchWithAPeer(t *testing.T) {
	code, out, stderr := conform(t, "bench", "--impl", "fast", "--module", "ternary-quant", "--time", "1ms", "--peer", strings.Join(server(t, "ref"), " "))
	if code != exitOK || strings.Count(out, " as fast as the peer (") != 4 || !strings.Contains(out, " as fast as the peer in the geometric mean of 2 rows; ") {
		t.Errorf("exit code %d: %s%s; want 4 rows beside the peer's, and the mean of 2", code, out, stderr)
	}
}

func TestReproducingCommandIsQuoted(t *testing.T) {
	if got, want := shellQuoted([]string{"python3", "my adapter.py", "it's", ""}), `python3 'my adapter.py' 'it'\''s' ''`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestKnownFailuresOfAnAdapter: a line for what passes fails the run, as it does for
// our implementations.
func TestKnownFailuresOfAnAdapter(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known")
	if err := os.WriteFile(file, []byte("ternary-quant/scale differs # it does not\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	code, out, _ := conform(t, append([]string{"check", "--requirement", "ternary-quant/scale", "--known-failures", file, "--"}, server(t, "ref")...)...)
	if code != exitFailed || !strings.Contains(out, "take it off the list") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// TestAdapterThatDiesFailsWithWhatReproducesIt runs this test binary as an adapter
// that stops reading after the smoke test.
func TestAdapterThatDiesFailsWithWhatReproducesIt(t *testing.T) {
	code, out, stderr := conform(t, "check", "--requirement", "ternary-quant/alphabet", "--failures", t.TempDir(), "--", "env", dyingAdapter+"=yes", os.Args[0])
	if code != exitFailed {
		t.Fatalf("exit code %d: %s%s", code, out, stderr)
	}
	for _, want := range []string{"ternary-quant/alphabet (MUST, law): crashed", "reproduce: conform check --requirement ternary-quant/alphabet --seed 1 --checks 100 -- env " + dyingAdapter + "=yes "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
