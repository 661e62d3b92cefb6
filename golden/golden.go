// Package golden holds the frozen vectors: inputs with the answers that they must
// get, one file a program, <module>/<requirement>/<case>.safetensors.
//
// The files are written by tools/goldengen only, and change only with a reason
// that the commit gives. Package conformance replays them.
package golden

//go:generate go run ../tools/goldengen

import (
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"sync"
)

//go:embed index.json */*/*.safetensors
var files embed.FS

// An Entry is a line of the index.
type Entry struct {
	Path        string `json:"path"`
	Module      string `json:"module"`
	Requirement string `json:"requirement"`
	Bytes       int    `json:"bytes"`
	SHA256      string `json:"sha256"`
}

// An Index lists the vectors.
type Index struct {
	Spec    string  `json:"spec"`
	Count   int     `json:"count"`
	Bytes   int     `json:"bytes"`
	Vectors []Entry `json:"vectors"`
}

// Add adds a vector to the index.
func (i *Index) Add(path, module, requirement string, data []byte) {
	i.Count++
	i.Bytes += len(data)
	i.Vectors = append(i.Vectors, Entry{path, module, requirement, len(data), fmt.Sprintf("%x", sha256.Sum256(data))})
}

// ReadIndex returns the index, in the order of its paths. It is shared: do not
// change it.
var ReadIndex = sync.OnceValue(func() Index {
	var index Index
	data, err := files.ReadFile("index.json")
	if err == nil {
		err = json.Unmarshal(data, &index)
	}
	if err != nil {
		panic("golden: index.json: " + err.Error()) // it is part of the program
	}
	return index
})

// Read returns a vector of the index.
func Read(path string) ([]byte, error) { return files.ReadFile(path) }
