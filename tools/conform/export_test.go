package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/golden"
)

// tree reads the files of a folder.
func tree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestExportIsReproducibleAndReplays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "vectors")
	again := dir + "-again"
	for _, d := range []string{dir, again} {
		if code, out, stderr := conform(t, "export", d, "--module", "ternary-quant", "--module", "delta-compress", "--tries", "3"); code != exitOK {
			t.Fatalf("exit code %d: %s%s", code, out, stderr)
		}
	}
	files, same := tree(t, dir), tree(t, again)
	for name, data := range files {
		if !bytes.Equal(data, same[name]) {
			t.Errorf("%s: another file in the second run", name)
		}
	}
	if len(files) != len(same) {
		t.Errorf("%d files, then %d", len(files), len(same))
	}
	var index struct {
		golden.Index
		Requirements map[string]int
	}
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	contents := map[string]bool{}
	for _, e := range index.Vectors {
		data := files[e.Path]
		if hash := fmt.Sprintf("%x", sha256.Sum256(data)); hash != e.SHA256 || len(data) != e.Bytes {
			t.Errorf("%s is not what the index says", e.Path)
		}
		contents[e.SHA256] = true
		index.Requirements[e.Requirement]--
	}
	if len(contents) != index.Count || index.Count != len(files)-1 || index.Count < 50 {
		t.Errorf("%d files of %d contents, and the index counts %d; want as many of each, and more", len(files)-1, len(contents), index.Count)
	}
	for id, n := range index.Requirements {
		if n != 0 {
			t.Errorf("%s: the index counts %d vectors too many", id, n)
		}
	}
	code, out, stderr := conform(t, "replay", "--impl", "fast", dir)
	if want := fmt.Sprintf("fast: %d passed, 0 failed", index.Count); code != exitOK || !strings.Contains(out, want) {
		t.Errorf("exit code %d, want %q: %s%s", code, want, out, stderr)
	}
}

// TestExportLeavesNothingTorn: what is there stays as it is, and what was broken off
// is not there.
func TestExportLeavesNothingTorn(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "vectors")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := tree(t, base)
	code, _, stderr := conform(t, "export", dir, "--module", "ternary-quant", "--tries", "1")
	if code != exitMisuse || !strings.Contains(stderr, "want a folder that is not there yet") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	interrupted, cancel := context.WithCancel(context.Background())
	cancel()
	var out, errs bytes.Buffer
	if code := run(interrupted, []string{"export", filepath.Join(base, "other")}, strings.NewReader(""), &out, &errs); code != exitFailed {
		t.Errorf("interrupted: exit code %d", code)
	}
	if after := tree(t, base); len(after) != 1 || !bytes.Equal(after["vectors/index.json"], before["vectors/index.json"]) {
		t.Errorf("left %d files", len(after))
	}
	if entries, _ := os.ReadDir(base); len(entries) != 1 {
		t.Errorf("left %v", entries)
	}
}
