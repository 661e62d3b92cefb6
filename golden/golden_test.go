package golden

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

func TestIndexListsTheFilesAndTheirHashes(t *testing.T) {
	index := ReadIndex()
	listed := map[string]bool{}
	total := 0
	for _, e := range index.Vectors {
		data, err := Read(e.Path)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) != e.Bytes || fmt.Sprintf("%x", sha256.Sum256(data)) != e.SHA256 {
			t.Errorf("%s is not the file that the index lists: vectors are written by go generate only", e.Path)
		}
		if !strings.HasPrefix(e.Path, e.Requirement+"/") || !strings.HasPrefix(e.Requirement, e.Module+"/") {
			t.Errorf("%s lies in the wrong folder for %s of %s", e.Path, e.Requirement, e.Module)
		}
		listed[e.Path] = true
		total += len(data)
	}
	if index.Count != len(index.Vectors) || index.Bytes != total {
		t.Errorf("the index counts %d vectors of %d bytes, and there are %d of %d", index.Count, index.Bytes, len(index.Vectors), total)
	}
	fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			t.Error(err)
		} else if strings.HasSuffix(path, ".safetensors") && !listed[path] {
			t.Errorf("%s is not in the index", path)
		}
		return nil
	})
}

func TestTreeStaysUnderTwoMegabytes(t *testing.T) {
	if size := ReadIndex().Bytes; size >= 2<<20 {
		t.Errorf("the vectors take %d bytes, want less than 2 MiB", size)
	}
}
