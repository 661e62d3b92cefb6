package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/squishspec/squishspec/conformance"
	"github.com/squishspec/squishspec/golden"
	"github.com/squishspec/squishspec/spec"
)

type exportCommand struct {
	Dir    string   `arg:"" help:"Folder to write, which must not be there yet."`
	Module []string `help:"Only this module (may be repeated)." placeholder:"NAME"`
	Seed   string   `help:"Seed of all random inputs, or \"random\"." default:"1"`
	Tries  int      `help:"Tries of a check whose calls are written." default:"20"`
}

// An exportIndex lists what was exported, with how to get the same again.
type exportIndex struct {
	Seed         uint64         `json:"seed"`
	Tries        int            `json:"tries"`
	Requirements map[string]int `json:"requirements"` // number of vectors
	golden.Index
}

// Run writes beside the folder, under another name, and renames it in the end: what
// is there under the name is whole.
func (c *exportCommand) Run(s *session) (err error) {
	seed, err := parseSeed(c.Seed)
	if err != nil {
		return err
	}
	switch _, err := os.Lstat(c.Dir); {
	case err == nil:
		return misuse{spec.Reject(spec.Invalid, "export", "DIR", "a folder that is not there yet", c.Dir+", which is")}
	case !errors.Is(err, fs.ErrNotExist):
		return misuse{err}
	}
	dir := filepath.Clean(c.Dir)
	partial, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".partial-")
	if err != nil {
		return misuse{err}
	}
	defer os.RemoveAll(partial)
	budget := conformance.ExportBudget
	budget.Programs = budget.Programs * c.Tries / budget.Tries
	budget.Tries = c.Tries
	index := exportIndex{seed, c.Tries, map[string]int{}, golden.Index{Spec: spec.Version}}
	err = conformance.Freeze(seed, budget, c.Module, func(v conformance.Frozen) error {
		index.Add(v.Path, v.Module, v.Requirement, v.Data)
		index.Requirements[v.Requirement]++
		path := filepath.Join(partial, filepath.FromSlash(v.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, v.Data, 0o644); err != nil {
			return err
		}
		return s.ctx.Err()
	})
	if spec.KindOf(err) == spec.Invalid {
		return misuse{err}
	}
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(index, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(partial, "index.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	if err := os.Chmod(partial, 0o755); err != nil { // MkdirTemp's is for its owner only
		return err
	}
	if err := os.Rename(partial, dir); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "%d vectors of %d requirements, %.1f MB, in %s\n", index.Count, len(index.Requirements), float64(index.Bytes)/1e6, dir)
	return err
}
