package llama

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/squishspec/squishspec/spec"
)

// A Model is a Config and the tensors that it asks for. Sessions share it: do not
// change it while one is in use.
type Model struct {
	Config    Config
	Embedding Matrix
	Layers    []Layer
	Norm      Matrix
	Head      Matrix // unset where it is the embedding
}

// A Layer holds the tensors of one layer.
type Layer struct {
	AttentionNorm                 Matrix
	Queries, Keys, Values, Output Matrix
	FeedForwardNorm               Matrix
	Gate, Down, Up                Matrix
	QueryBias, KeyBias, ValueBias Matrix // unset where Config.Bias is not
}

// Load loads a file of llama2.c, or a folder of Hugging Face.
func Load(path string) (*Model, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("llama: %w", err)
	}
	if info.IsDir() {
		return loadHuggingFace(path)
	}
	if strings.EqualFold(filepath.Ext(path), ".safetensors") {
		return nil, reject(path, "model", "a .bin file or the folder that has config.json", "one .safetensors file")
	}
	return loadLlama2C(path)
}

// A source gives a model's tensors. Its errors name file and tensor.
type source interface {
	tensor(r role, layer, rows, cols int) (Matrix, error)
}

// assemble reads all the tensors of a model. Layers are appended as they come: a
// config may promise more of them than a file has.
func assemble(c Config, s source) (*Model, error) {
	m := &Model{Config: c}
	read := func(r role, layer int) error {
		rows, cols := c.shape(r)
		t, err := s.tensor(r, layer, rows, cols)
		if err == nil {
			*m.at(r, layer) = t
		}
		return err
	}
	for r := range roles {
		if c.has(r) && !r.perLayer() {
			if err := read(r, 0); err != nil {
				return nil, err
			}
		}
	}
	for layer := range c.Layers {
		m.Layers = append(m.Layers, Layer{})
		for r := range roles {
			if c.has(r) && r.perLayer() {
				if err := read(r, layer); err != nil {
					return nil, err
				}
			}
		}
	}
	return m, nil
}

// at returns where a tensor stands.
func (m *Model) at(r role, layer int) *Matrix {
	switch r {
	case embedding:
		return &m.Embedding
	case finalNorm:
		return &m.Norm
	case head:
		return &m.Head
	}
	l := &m.Layers[layer]
	return [roles]*Matrix{
		attentionNorm: &l.AttentionNorm, queries: &l.Queries, keys: &l.Keys, values: &l.Values, output: &l.Output,
		feedForwardNorm: &l.FeedForwardNorm, gate: &l.Gate, down: &l.Down, up: &l.Up,
		queryBias: &l.QueryBias, keyBias: &l.KeyBias, valueBias: &l.ValueBias,
	}[r]
}

// check rejects a model whose tensors are not those of its config.
func (m *Model) check() error {
	if err := m.Config.validate("model"); err != nil {
		return err
	}
	if len(m.Layers) != m.Config.Layers {
		return reject("model", "layers", fmt.Sprint(m.Config.Layers), len(m.Layers))
	}
	for r := range roles {
		if !m.Config.has(r) {
			continue
		}
		rows, cols := m.Config.shape(r)
		for layer := range m.Layers {
			if t := m.at(r, layer); t.Rows != rows || t.Cols != cols || len(t.full)+len(t.half) != rows*cols {
				return reject("model", nameOf(llama2CNames, r, layer), fmt.Sprintf("shape (%d, %d)", rows, cols), fmt.Sprintf("(%d, %d)", t.Rows, t.Cols))
			}
		}
	}
	return nil
}

// Map returns a model in which the seven matrices of each layer are what change
// makes of them, and which shares all else with m. The name is llama2.c's, as
// "wq[3]". Change leaves what it gets as it is.
func (m *Model) Map(change func(name string, w spec.Matrix) (spec.Matrix, error)) (*Model, error) {
	changed := *m
	changed.Layers = append([]Layer{}, m.Layers...)
	for layer := range changed.Layers {
		for _, r := range mapped {
			name := nameOf(llama2CNames, r, layer)
			w, err := change(name, m.at(r, layer).Float32())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			t, err := NewMatrix(w)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			*changed.at(r, layer) = t
		}
	}
	return &changed, changed.check()
}

// nameOf returns a tensor's name in a format's table of names.
func nameOf(names [roles]string, r role, layer int) string {
	if r.perLayer() {
		return fmt.Sprintf(names[r], layer)
	}
	return names[r]
}
