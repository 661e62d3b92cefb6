package adapters

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A language is one that adapters are written in here.
type language struct {
	name string
	// folder has its library.
	folder string
	// tool returns the program that runs or compiles it, or what is missing.
	tool func() (path, missing string)
	// extension of its sources, and of those that are compiled first.
	extension string
	compiled  bool
}

var (
	python = &language{name: "Python", folder: "python", tool: sync.OnceValues(findPython), extension: ".py"}
	js     = &language{name: "JavaScript", folder: "js", tool: program("node", "Node 20"), extension: ".js"}
	cpp    = &language{name: "C++", folder: "cpp", tool: program("g++", "g++"), extension: ".cpp", compiled: true}

	languages = []*language{python, js, cpp}
)

func program(name, what string) func() (string, string) {
	return func() (string, string) {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", what + " is not installed: " + err.Error()
		}
		return path, ""
	}
}

// findPython returns a Python that has numpy. A python3 in front of the system's,
// as pyenv puts there, often has none.
func findPython() (string, string) {
	for _, candidate := range []string{os.Getenv("SQUISHSPEC_PYTHON"), "python3", "/usr/bin/python3"} {
		if path, err := exec.LookPath(candidate); err == nil && exec.Command(path, "-c", "import numpy").Run() == nil {
			return path, ""
		}
	}
	return "", "no python3 with numpy: apt-get install python3-numpy, or name one in SQUISHSPEC_PYTHON"
}

// need returns the language's program, and skips the test where there is none.
func (l *language) need(t *testing.T) string {
	t.Helper()
	path, missing := l.tool()
	if missing == "" {
		return path
	}
	if os.Getenv("SQUISHSPEC_LANGUAGES") == "required" {
		t.Fatalf("%s is required and missing: %s", l.name, missing)
	}
	t.Skipf("NOT TESTED: %s is missing: %s", l.name, missing)
	return ""
}

// library is the absolute folder of the language's library.
func (l *language) library(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(l.folder)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// command returns the command that runs a source file, compiled where that is
// needed.
func (l *language) command(t *testing.T, source string) []string {
	t.Helper()
	tool := l.need(t)
	if !l.compiled {
		return []string{tool, source}
	}
	binary := filepath.Join(built, strings.TrimSuffix(filepath.Base(source), l.extension))
	if _, err := os.Stat(binary); err != nil {
		run(t, ".", nil, tool, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-I", l.folder, "-o", binary, source).succeeds(t)
	}
	return []string{binary}
}

// An ending is how a command ended.
type ending struct {
	command        []string
	exit           int
	stdout, stderr string
}

func (e *ending) succeeds(t *testing.T) {
	t.Helper()
	if e.exit != 0 {
		t.Fatalf("%.300s: exit code %d\n%s%s", strings.Join(e.command, " "), e.exit, last(e.stdout), last(e.stderr))
	}
}

// last returns the end of a long text.
func last(text string) string { return text[max(0, len(text)-4000):] }

// run runs a command in a folder with more variables in its environment, to its end
// or for two minutes.
func run(t *testing.T, folder string, environment []string, command ...string) *ending {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), environment...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("%s: %v %v", strings.Join(command, " "), err, ctx.Err())
	}
	return &ending{command, cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// built is the folder of what the tests build, each program once.
var built string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if built, err = os.MkdirTemp("", "adapters"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(built)
		return m.Run()
	}())
}

// conform is the path of the command.
var conform = sync.OnceValues(func() (string, error) {
	path := filepath.Join(built, "conform")
	if out, err := exec.Command("go", "build", "-o", path, "../conform").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func needConform(t *testing.T) string {
	t.Helper()
	path, err := conform()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
