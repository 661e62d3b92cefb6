package vision

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/squishspec/squishspec/spec"
)

// A Config is the shape of a model.
type Config struct {
	Patch   int // pixels along a side of a patch
	Grid    int // patches along a side of the pictures that it is trained on
	Dim     int // of a token, a multiple of 4 and of the heads
	Hidden  int // of the feed-forward layers
	Layers  int
	Heads   int
	Classes int
}

// largest is what any number of a config may be: products of three fit an int.
const largest = 1 << 16

func (c Config) fields() []int {
	return []int{c.Patch, c.Grid, c.Dim, c.Hidden, c.Layers, c.Heads, c.Classes}
}

// Validate returns an error that names what is out of range.
func (c Config) Validate() error {
	for i, v := range c.fields() {
		if v < 1 || v > largest {
			return reject([]string{"patch", "grid", "dim", "hidden", "layers", "heads", "classes"}[i], fmt.Sprintf("1 to %d", largest), v)
		}
	}
	if c.Dim%4 != 0 {
		return reject("dim", "a multiple of 4", c.Dim)
	}
	if c.Dim%c.Heads != 0 {
		return reject("heads", fmt.Sprintf("a divisor of dim %d", c.Dim), c.Heads)
	}
	return nil
}

func reject(name, want string, got any) error {
	return spec.Reject(spec.Invalid, "vision", name, want, got)
}

// Parameters is how many numbers a model has.
func (c Config) Parameters() int {
	layer := 2*c.Dim + 4*c.Dim*c.Dim + 2*c.Dim*c.Hidden
	return c.Dim*c.Patch*c.Patch + c.Layers*layer + 2*c.Dim + c.Classes*c.Dim
}

// A Model is the weights of a vision transformer: RMSNorm before attention and before
// a feed-forward layer of one ReLU, no biases. Matrices are (out, in).
type Model struct {
	Config     Config
	Parameters []float32 // all of them, as they are stored: what is below is inside

	Embedding []float32 // (dim, patch²)
	Layers    []Layer
	Norm      []float32 // (dim)
	Query     []float32 // (dim): what each token's share in the picture is by
	Head      []float32 // (classes, dim)
}

// A Layer is the weights of one layer.
type Layer struct {
	AttentionNorm, Queries, Keys, Values, Output []float32 // (dim), then (dim, dim)
	FeedForwardNorm, Up, Down                    []float32 // (dim), (hidden, dim), (dim, hidden)
}

// New returns a model of parameters, which it keeps.
func New(c Config, parameters []float32) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(parameters) != c.Parameters() {
		return nil, reject("parameters", fmt.Sprint(c.Parameters()), len(parameters))
	}
	if err := spec.CheckFinite("vision", "parameters", parameters); err != nil {
		return nil, err
	}
	m := &Model{Config: c, Parameters: parameters, Layers: make([]Layer, c.Layers)}
	rest := parameters
	next := func(n int) (part []float32) {
		part, rest = rest[:n:n], rest[n:]
		return part
	}
	m.Embedding = next(c.Dim * c.Patch * c.Patch)
	for i := range m.Layers {
		l := &m.Layers[i]
		l.AttentionNorm = next(c.Dim)
		for _, w := range []*[]float32{&l.Queries, &l.Keys, &l.Values, &l.Output} {
			*w = next(c.Dim * c.Dim)
		}
		l.FeedForwardNorm = next(c.Dim)
		l.Up, l.Down = next(c.Hidden*c.Dim), next(c.Dim*c.Hidden)
	}
	m.Norm, m.Query, m.Head = next(c.Dim), next(c.Dim), next(c.Classes*c.Dim)
	return m, nil
}

// magic begins a file: "ViT" and the format's number.
const magic = 'V' | 'i'<<8 | 'T'<<16 | 1<<24

// Bytes is a model's file: the magic number and the config as uint32, then all
// parameters as float32, little-endian.
func (m *Model) Bytes() []byte {
	out := binary.LittleEndian.AppendUint32(nil, magic)
	for _, v := range m.Config.fields() {
		out = binary.LittleEndian.AppendUint32(out, uint32(v))
	}
	for _, v := range m.Parameters {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

// Parse reads a file. The name begins its errors.
func Parse(name string, data []byte) (*Model, error) {
	const header = 4 * 8
	if len(data) < header {
		return nil, reject(name, fmt.Sprintf("a header of %d bytes", header), len(data))
	}
	field := func(i int) int { return int(binary.LittleEndian.Uint32(data[4*i:])) }
	if field(0) != magic {
		return nil, reject(name, fmt.Sprintf("the magic number %#x", magic), fmt.Sprintf("%#x", field(0)))
	}
	c := Config{field(1), field(2), field(3), field(4), field(5), field(6), field(7)}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if want := header + 4*c.Parameters(); len(data) != want {
		return nil, reject(name, fmt.Sprintf("the %d bytes that its header asks for", want), len(data))
	}
	parameters := make([]float32, c.Parameters())
	for i := range parameters {
		parameters[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[header+4*i:]))
	}
	m, err := New(c, parameters)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}
