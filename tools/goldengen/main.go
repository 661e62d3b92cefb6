// Goldengen writes the frozen vectors of package golden and their index. It runs
// in golden, by go generate. Vectors that it would not write are removed.
package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/squishspec/squishspec/conformance"
	"github.com/squishspec/squishspec/golden"
	"github.com/squishspec/squishspec/spec"
)

// seed is that of the frozen vectors. Another one makes other vectors: it changes
// with a reason only.
const seed = 2026

func main() {
	log.SetFlags(0)
	log.SetPrefix("goldengen: ")
	if dir, err := os.Getwd(); err != nil || filepath.Base(dir) != "golden" || len(os.Args) > 1 {
		log.Fatal("takes no arguments, and runs in golden only: go generate ./golden")
	}
	index := golden.Index{Spec: spec.Version}
	written := map[string]bool{}
	err := conformance.Freeze(seed, conformance.GoldenBudget, nil, func(v conformance.Frozen) error {
		index.Add(v.Path, v.Module, v.Requirement, v.Data)
		written[filepath.FromSlash(v.Path)] = true
		if err := os.MkdirAll(filepath.Dir(v.Path), 0o755); err != nil {
			return err
		}
		return write(v.Path, v.Data)
	})
	if err != nil {
		log.Fatal(err)
	}
	text, err := json.MarshalIndent(index, "", " ")
	if err != nil {
		log.Fatal(err)
	}
	if err := write("index.json", append(text, '\n')); err != nil {
		log.Fatal(err)
	}
	removeOthers(written)
}

// write leaves a file alone that has the content already.
func write(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	return os.WriteFile(path, data, 0o644)
}

func removeOthers(written map[string]bool) {
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".safetensors") && !written[path] {
			err = os.Remove(path)
		}
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
}
