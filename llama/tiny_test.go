package llama

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/wire"
)

// tinyConfigs are small models that differ in all that a config can say.
var tinyConfigs = map[string]Config{
	"llama2.c": {Dim: 12, Hidden: 10, Layers: 2, Heads: 6, KVHeads: 3, HeadDim: 2, Vocab: 300, Context: 160,
		RoPE: Interleaved, RoPEBase: llama2CBase, Epsilon: llama2CEpsilon, Tied: true},
	"llama2.c, one KV head, head of its own": {Dim: 16, Hidden: 7, Layers: 1, Heads: 2, KVHeads: 1, HeadDim: 8, Vocab: 261, Context: 40,
		RoPE: Interleaved, RoPEBase: llama2CBase, Epsilon: llama2CEpsilon},
	"Llama": {Dim: 12, Hidden: 20, Layers: 2, Heads: 2, KVHeads: 2, HeadDim: 10, Vocab: 270, Context: 90,
		RoPE: HalfSplit, RoPEBase: 500000, Epsilon: 1e-6},
	"Qwen2": {Dim: 16, Hidden: 24, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 4, Vocab: 280, Context: 100,
		RoPE: HalfSplit, RoPEBase: 1e6, Epsilon: 1e-6, Tied: true, Bias: true},
}

// tiny returns a model of random weights whose attention and logits are far from
// uniform.
func tiny(t testing.TB, c Config) *Model {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 0x11a3a))
	m, err := assemble(c, randomSource{r})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

type randomSource struct{ *rand.Rand }

func (s randomSource) tensor(r role, _, rows, cols int) (Matrix, error) {
	data := make([]float32, rows*cols)
	for i := range data {
		switch {
		case r.vector():
			data[i] = float32(1 + s.NormFloat64()/4)
		case r == embedding:
			data[i] = float32(s.NormFloat64())
		default:
			data[i] = float32(2 * s.NormFloat64() / math.Sqrt(float64(cols)))
		}
	}
	return NewMatrix(spec.Matrix{Rows: rows, Cols: cols, Data: data})
}

// someTokens returns n tokens of the vocabulary.
func someTokens(c Config, n int) []int {
	r := rand.New(rand.NewPCG(9, 9))
	tokens := make([]int, n)
	for i := range tokens {
		tokens[i] = r.IntN(c.Vocab)
	}
	return tokens
}

// allLogits feeds tokens at once and returns the logits of every one.
func allLogits[F Float](t testing.TB, m *Model, tokens []int) [][]F {
	t.Helper()
	s, err := NewSession[F](m)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Extend(tokens...); err != nil {
		t.Fatal(err)
	}
	logits := make([][]F, len(tokens))
	for i := range tokens {
		if logits[i], err = s.Logits(nil, i); err != nil {
			t.Fatal(err)
		}
	}
	return logits
}

// distance returns the largest difference of logits.
func distance[F, G Float](a [][]F, b [][]G) float64 {
	worst := 0.0
	for i := range a {
		for k := range a[i] {
			worst = max(worst, math.Abs(float64(a[i][k])-float64(b[i][k])))
		}
	}
	return worst
}

// llama2CBytes writes a model as llama2.c does.
func llama2CBytes(m *Model) []byte {
	c := m.Config
	vocab := c.Vocab
	if !c.Tied {
		vocab = -vocab
	}
	var out []byte
	for _, v := range []int{c.Dim, c.Hidden, c.Layers, c.Heads, c.KVHeads, vocab, c.Context} {
		out = binary.LittleEndian.AppendUint32(out, uint32(int32(v)))
	}
	tables := make([]byte, 4*c.Context*c.HeadDim)
	for i := range tables {
		tables[i] = 0xff // NaN: nobody reads them
	}
	for r := range roles {
		if r == head {
			out = append(out, tables...)
		}
		if !c.has(r) {
			continue
		}
		for layer := range m.Layers {
			if layer == 0 || r.perLayer() {
				out = append(out, float32Bytes(m.at(r, layer).Float32().Data)...)
			}
		}
	}
	return out
}

func float32Bytes(values []float32) []byte {
	var out []byte
	for _, v := range values {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

// A folder is a Hugging Face folder that a test writes.
type folder struct {
	config  map[string]any
	tensors []wire.Tensor
	files   map[string][]byte // written as they are
	shards  int               // above 1: with an index
}

// huggingFace returns a model in Hugging Face's layout, its weights rounded to a
// dtype.
func huggingFace(m *Model, dtype wire.DType) *folder {
	c := m.Config
	architecture := "LlamaForCausalLM"
	if c.Bias {
		architecture = "Qwen2ForCausalLM"
	}
	f := &folder{shards: 1, files: map[string][]byte{}, config: map[string]any{
		"architectures": []string{architecture}, "hidden_act": "silu", "hidden_size": c.Dim, "intermediate_size": c.Hidden,
		"num_hidden_layers": c.Layers, "num_attention_heads": c.Heads, "num_key_value_heads": c.KVHeads, "head_dim": c.HeadDim,
		"vocab_size": c.Vocab, "max_position_embeddings": c.Context, "rms_norm_eps": c.Epsilon, "rope_theta": c.RoPEBase,
		"tie_word_embeddings": c.Tied, "rope_scaling": nil, "torch_dtype": "bfloat16",
	}}
	for r := range roles {
		for layer := range m.Layers {
			if !c.has(r) || layer > 0 && !r.perLayer() {
				continue
			}
			w := m.at(r, layer).Float32()
			if c.RoPE == Interleaved {
				switch r {
				case queries:
					w = halves(w, c.Heads)
				case keys:
					w = halves(w, c.KVHeads)
				}
			}
			shape := []int{w.Rows, w.Cols}
			if r.vector() {
				shape = shape[1:]
			}
			f.tensors = append(f.tensors, wire.Tensor{Name: nameOf(huggingFaceNames, r, layer), DType: dtype, Shape: shape, Data: stored(w.Data, dtype)})
		}
	}
	return f
}

// halves moves the rows 2i and 2i+1 of each head to i and i + half.
func halves(w spec.Matrix, heads int) spec.Matrix {
	out := spec.Matrix{Rows: w.Rows, Cols: w.Cols, Data: make([]float32, len(w.Data))}
	dim := w.Rows / heads
	for h := range heads {
		for i := range dim {
			copy(out.Row(h*dim+i%2*dim/2+i/2), w.Row(h*dim+i))
		}
	}
	return out
}

// stored rounds to a dtype. To F16 it cuts, which is as good here: what matters is
// what is read.
func stored(values []float32, dtype wire.DType) []byte {
	if dtype == wire.F32 {
		return float32Bytes(values)
	}
	var out []byte
	for _, v := range values {
		bits := math.Float32bits(v)
		half := uint16(bits >> 16)
		if dtype == wire.F16 {
			half = uint16(bits >> 16 & 0x8000)
			if exponent := int(bits>>23&0xff) - 127 + 15; exponent > 0 {
				half |= uint16(exponent<<10) | uint16(bits>>13&0x3ff)
			}
		}
		out = binary.LittleEndian.AppendUint16(out, half)
	}
	return out
}

func (f *folder) tensor(name string) *wire.Tensor {
	for i := range f.tensors {
		if f.tensors[i].Name == name {
			return &f.tensors[i]
		}
	}
	panic(name)
}

// write writes the folder and returns its path.
func (f *folder) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, data []byte, err error) {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(f.config)
	put("config.json", text, err)
	weightMap := map[string]string{}
	for shard := range f.shards {
		frame, name := &wire.Frame{Metadata: map[string]string{"format": "pt"}}, "model.safetensors"
		if f.shards > 1 {
			name = "model-" + string(rune('a'+shard)) + ".safetensors"
		}
		for i, tensor := range f.tensors {
			if i%f.shards == shard {
				frame.Tensors = append(frame.Tensors, tensor)
				weightMap[tensor.Name] = name
			}
		}
		var out bytes.Buffer
		put(name, nil, wire.Write(&out, frame))
		put(name, out.Bytes(), nil)
	}
	if f.shards > 1 {
		text, err := json.Marshal(map[string]any{"weight_map": weightMap, "metadata": map[string]any{"total_size": 1}})
		put("model.safetensors.index.json", text, err)
	}
	for name, data := range f.files {
		put(name, data, nil)
	}
	return dir
}
