package llama

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/squishspec/squishspec/spec/wire"
)

// huggingFaceNames are the tensors' names in Hugging Face's files.
var huggingFaceNames = [roles]string{
	embedding: "model.embed_tokens.weight", attentionNorm: "model.layers.%d.input_layernorm.weight",
	queries: "model.layers.%d.self_attn.q_proj.weight", keys: "model.layers.%d.self_attn.k_proj.weight",
	values: "model.layers.%d.self_attn.v_proj.weight", output: "model.layers.%d.self_attn.o_proj.weight",
	feedForwardNorm: "model.layers.%d.post_attention_layernorm.weight", gate: "model.layers.%d.mlp.gate_proj.weight",
	down: "model.layers.%d.mlp.down_proj.weight", up: "model.layers.%d.mlp.up_proj.weight",
	finalNorm: "model.norm.weight", head: "lm_head.weight", queryBias: "model.layers.%d.self_attn.q_proj.bias",
	keyBias: "model.layers.%d.self_attn.k_proj.bias", valueBias: "model.layers.%d.self_attn.v_proj.bias",
}

// architectures that are run, and whether queries, keys and values have a bias.
var architectures = map[string]bool{"LlamaForCausalLM": false, "Qwen2ForCausalLM": true}

// maxConfig bounds the JSON files of a folder.
const maxConfig = 64 << 20

// A huggingFaceConfig is what config.json says. Pointers are what may be absent.
type huggingFaceConfig struct {
	Architectures     []string `json:"architectures"`
	HiddenSize        int      `json:"hidden_size"`
	IntermediateSize  int      `json:"intermediate_size"`
	NumHiddenLayers   int      `json:"num_hidden_layers"`
	NumHeads          int      `json:"num_attention_heads"`
	NumKVHeads        *int     `json:"num_key_value_heads"`
	HeadDim           *int     `json:"head_dim"`
	VocabSize         int      `json:"vocab_size"`
	MaxPositions      *int     `json:"max_position_embeddings"`
	RMSNormEps        *float64 `json:"rms_norm_eps"`
	RoPETheta         *float64 `json:"rope_theta"`
	TieWordEmbeddings bool     `json:"tie_word_embeddings"`
	HiddenAct         *string  `json:"hidden_act"`
	AttentionBias     bool     `json:"attention_bias"`
	MLPBias           bool     `json:"mlp_bias"`
	UseSlidingWindow  bool     `json:"use_sliding_window"`

	RoPEScaling        *ropeParameters `json:"rope_scaling"`
	RoPEParameters     *ropeParameters `json:"rope_parameters"` // in place of both since Transformers 5
	QuantizationConfig any             `json:"quantization_config"`
}

type ropeParameters struct {
	RoPEType  string   `json:"rope_type"`
	Type      string   `json:"type"` // the older name
	RoPETheta *float64 `json:"rope_theta"`
}

func readHuggingFaceConfig(path string) (Config, error) {
	var h huggingFaceConfig
	if err := readJSON(path, &h); err != nil {
		return Config{}, err
	}
	if len(h.Architectures) != 1 {
		return Config{}, reject(path, "architectures", "one", h.Architectures)
	}
	bias, known := architectures[h.Architectures[0]]
	switch {
	case !known:
		return Config{}, reject(path, "architectures", "LlamaForCausalLM or Qwen2ForCausalLM", h.Architectures[0])
	case or(h.HiddenAct, "silu") != "silu":
		return Config{}, reject(path, "hidden_act", "silu", *h.HiddenAct)
	case h.AttentionBias || h.MLPBias:
		return Config{}, reject(path, "attention_bias and mlp_bias", "false", true)
	case h.UseSlidingWindow:
		return Config{}, reject(path, "use_sliding_window", "false", true)
	case h.QuantizationConfig != nil:
		return Config{}, reject(path, "quantization_config", "weights that are not quantised", h.QuantizationConfig)
	}
	base := or(h.RoPETheta, llama2CBase)
	for _, p := range []*ropeParameters{h.RoPEScaling, h.RoPEParameters} {
		if p == nil {
			continue
		}
		for _, kind := range []string{p.RoPEType, p.Type} {
			if kind != "" && kind != "default" {
				return Config{}, reject(path, "rope_type", "default: scaled positions are not offered", kind)
			}
		}
		base = or(p.RoPETheta, base)
	}
	c := Config{
		Dim: h.HiddenSize, Hidden: h.IntermediateSize, Layers: h.NumHiddenLayers, Heads: h.NumHeads, KVHeads: or(h.NumKVHeads, h.NumHeads),
		Vocab: h.VocabSize, Context: or(h.MaxPositions, 2048), RoPE: HalfSplit, RoPEBase: base, Epsilon: or(h.RMSNormEps, 1e-6),
		Tied: h.TieWordEmbeddings, Bias: bias,
	}
	if h.HeadDim != nil {
		c.HeadDim = *h.HeadDim
	} else if c.Heads > 0 {
		c.HeadDim = c.Dim / c.Heads
		if c.Dim%c.Heads != 0 {
			return Config{}, reject(path, "num_attention_heads", fmt.Sprintf("a divisor of hidden_size %d", c.Dim), c.Heads)
		}
	}
	return c, c.validate(path)
}

// or returns what a field says, or its default.
func or[T any](field *T, otherwise T) T {
	if field == nil {
		return otherwise
	}
	return *field
}

// readSmall reads a file that is one of a folder's JSON files.
func readSmall(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("llama: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("llama: %w", err)
	}
	if len(text) > maxConfig {
		return nil, reject(path, "size", fmt.Sprintf("at most %d bytes", maxConfig), "more")
	}
	return text, nil
}

func readJSON(path string, value any) error {
	text, err := readSmall(path)
	if err != nil {
		return err
	}
	return parseJSON(path, text, value)
}

func parseJSON(name string, text []byte, value any) error {
	if err := json.Unmarshal(text, value); err != nil {
		return fmt.Errorf("llama: %s: %s", name, quoted(err.Error())) // which may hold a number of any length
	}
	return nil
}

// loadHuggingFace loads a folder: config.json and model.safetensors, or the shards
// that model.safetensors.index.json lists. Tensors are read one after the other.
func loadHuggingFace(folder string) (*Model, error) {
	c, err := readHuggingFaceConfig(filepath.Join(folder, "config.json"))
	if err != nil {
		return nil, err
	}
	s, err := openShards(folder)
	if err != nil {
		return nil, err
	}
	defer s.close()
	m, err := assemble(c, s)
	if err != nil {
		return nil, err
	}
	return m, s.allUsed(c)
}

// shards are the safetensors files of a folder.
type shards struct {
	folder  string
	files   []*os.File
	entries map[string]shardEntry
	names   []string // of the entries, in the order of the files
	used    map[string]bool
}

type shardEntry struct {
	wire.Entry
	file *os.File
}

func openShards(folder string) (s *shards, err error) {
	s = &shards{folder: folder, entries: map[string]shardEntry{}, used: map[string]bool{}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	index := filepath.Join(folder, "model.safetensors.index.json")
	if _, err := os.Stat(index); err != nil { // one file
		return s, s.open("model.safetensors")
	}
	var list struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := readJSON(index, &list); err != nil {
		return s, err
	}
	if len(list.WeightMap) == 0 {
		return s, reject(index, "weight_map", "tensors and their files", "none")
	}
	tensors := make([]string, 0, len(list.WeightMap))
	var files []string
	for tensor, file := range list.WeightMap {
		tensors = append(tensors, tensor)
		if !slices.Contains(files, file) {
			files = append(files, file)
		}
	}
	slices.Sort(files)
	slices.Sort(tensors)
	for _, file := range files {
		if file == "" || file != filepath.Base(file) || strings.ContainsAny(file, `/\`) || quoted(file) != file {
			return s, reject(index, "weight_map", "names of files in the same folder", fmt.Sprintf("%q", file))
		}
		if err := s.open(file); err != nil {
			return s, err
		}
	}
	for _, tensor := range tensors {
		e, ok := s.entries[tensor]
		if !ok {
			return s, reject(filepath.Join(folder, list.WeightMap[tensor]), tensor, "the tensor that the index says is there", "none")
		}
		if want := filepath.Join(folder, list.WeightMap[tensor]); e.file.Name() != want {
			return s, reject(index, tensor, "it in "+want, e.file.Name())
		}
	}
	return s, nil
}

// open reads the header of a shard.
func (s *shards) open(name string) error {
	path := filepath.Join(s.folder, name)
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("llama: %w", err)
	}
	s.files = append(s.files, file)
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("llama: %w", err)
	}
	index, err := wire.ReadIndex(file, info.Size())
	if err != nil {
		return fmt.Errorf("llama: %s: %w", path, err)
	}
	for _, e := range index.Tensors {
		if other, twice := s.entries[e.Name]; twice {
			return reject(path, e.Name, "it in one file", "it in "+other.file.Name()+" too")
		}
		s.entries[e.Name] = shardEntry{e, file}
		s.names = append(s.names, e.Name)
	}
	return nil
}

func (s *shards) close() {
	for _, f := range s.files {
		f.Close()
	}
}

func (s *shards) tensor(r role, layer, rows, cols int) (Matrix, error) {
	name := nameOf(huggingFaceNames, r, layer)
	want := []int{rows, cols}
	if r.vector() {
		want = []int{cols}
	}
	e, ok := s.entries[name]
	if !ok {
		return Matrix{}, reject(s.folder, name, fmt.Sprintf("a tensor of shape %v", want), "none")
	}
	if !slices.Equal(e.Shape, want) {
		return Matrix{}, reject(e.file.Name(), name, fmt.Sprintf("shape %v", want), e.Shape)
	}
	s.used[name] = true
	m, err := readMatrix(e.file, e.Offset, e.DType, rows, cols)
	if err != nil {
		return Matrix{}, fmt.Errorf("llama: %s: %s: %w", e.file.Name(), name, err)
	}
	return m, nil
}

// allUsed rejects tensors that the model has no place for: what they do is not
// known, so that no figure of the model without them is its figure. RoPE's
// frequencies, as old files have them, are computed here, and a tied head is the
// embedding again.
func (s *shards) allUsed(c Config) error {
	for _, name := range s.names {
		computed := strings.HasSuffix(name, ".rotary_emb.inv_freq") || c.Tied && name == huggingFaceNames[head]
		if !s.used[name] && !computed {
			return reject(s.entries[name].file.Name(), name, "tensors of the architecture only", "one that it has not")
		}
	}
	return nil
}
