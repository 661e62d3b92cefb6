package llama

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/spec/wire"
)

func loadFolder(t testing.TB, f *folder) *Model {
	t.Helper()
	m, err := Load(f.write(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFolderOfTheSameWeightsGivesTheSameLogits(t *testing.T) {
	eachTiny(t, func(t *testing.T, m *Model) {
		read := loadFolder(t, huggingFace(m, wire.F32))
		want := m.Config
		want.RoPE = HalfSplit
		if read.Config != want {
			t.Errorf("got %+v, want %+v", read.Config, want)
		}
		tokens := someTokens(m.Config, 20)
		// RoPE's layout only changes the order of sums within a head.
		if d := distance(allLogits[float64](t, read, tokens), allLogits[float64](t, m, tokens)); !(d < 1e-11) {
			t.Errorf("logits differ by %g", d)
		}
		if a, b := greedy[float32](t, read, 1, 30), greedy[float32](t, m, 1, 30); !slices.Equal(a, b) {
			t.Errorf("got %v, want %v", a, b)
		}
	})
}

func TestShardsAreTheWhole(t *testing.T) {
	m := tiny(t, tinyConfigs["Qwen2"])
	f := huggingFace(m, wire.F32)
	f.shards = 3
	tokens := someTokens(m.Config, 12)
	if d := distance(allLogits[float32](t, loadFolder(t, f), tokens), allLogits[float32](t, m, tokens)); d != 0 {
		t.Errorf("logits differ by %g", d)
	}
}

// allocated returns how many bytes a call allocates, in all.
func allocated(call func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// TestAModelTakesTheMemoryOfItsFile bounds all that loading allocates, kept or not,
// by the weights as they are stored and a constant: a second copy, of one tensor
// even, would be above it.
func TestAModelTakesTheMemoryOfItsFile(t *testing.T) {
	f := huggingFace(tiny(t, Config{Dim: 128, Hidden: 256, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 32, Vocab: 8000, Context: 64,
		RoPE: HalfSplit, RoPEBase: 10000, Epsilon: 1e-6, Tied: true, Bias: true}), wire.BF16)
	f.shards = 3
	dir := f.write(t)
	weights := 0
	for _, x := range f.tensors {
		weights += len(x.Data)
	}
	const rest = 1 << 20
	got := allocated(func() {
		if _, err := Load(dir); err != nil {
			t.Fatal(err)
		}
	})
	if got < weights || got > weights+rest || weights < 2*rest {
		t.Errorf("loading %d bytes of weights allocates %d", weights, got)
	}
}

// TestLiesTakeNoMemory: what a file says of its size is compared before it is
// believed.
func TestLiesTakeNoMemory(t *testing.T) {
	const most = 2 << 20 // a header of 1 MiB may be read before it is seen to be short
	for what, damage := range map[string]func(*folder){
		"a huge vocabulary": func(f *folder) { f.config["vocab_size"] = 1 << 30 },
		"as many layers":    func(f *folder) { f.config["num_hidden_layers"] = 1 << 30 },
		"a wide model":      func(f *folder) { f.config["hidden_size"] = 1 << 30 },
		"a long context":    func(f *folder) { f.config["max_position_embeddings"] = 1 << 30; f.config["vocab_size"] = 281 },
		"a long header":     func(f *folder) { f.files["model.safetensors"] = []byte("\x00\x00\x10\x00\x00\x00\x00\x00{}") },
		"a longer header":   func(f *folder) { f.files["model.safetensors"] = []byte("\xff\xff\xff\xff\xff\xff\xff\x7f{}") },
		"a tensor beyond it": func(f *folder) {
			f.files["model.safetensors"] = []byte("\x4a\x00\x00\x00\x00\x00\x00\x00" + `{"a":{"dtype":"BF16","shape":[1073741824],"data_offsets":[0,2147483648]}}`)
		},
	} {
		f := huggingFace(tiny(t, tinyConfigs["Qwen2"]), wire.BF16)
		damage(f)
		dir := f.write(t)
		if got := allocated(func() {
			_, err := Load(dir)
			oneLine(t, err, dir)
		}); got > most {
			t.Errorf("%s: %d bytes allocated", what, got)
		}
	}
	data := llama2CBytes(tiny(t, tinyConfigs["llama2.c"]))
	for field := range 7 {
		lie := slices.Clone(data)
		binary.LittleEndian.PutUint32(lie[4*field:], 1<<30)
		if got := allocated(func() {
			_, err := read2C(lie)
			oneLine(t, err, "m.bin")
		}); got > most {
			t.Errorf("llama2.c, header field %d: %d bytes allocated", field, got)
		}
	}
}

// TestHalvesAreTheirValues compares a folder of 16-bit weights with one of the same
// values in F32.
func TestHalvesAreTheirValues(t *testing.T) {
	m := tiny(t, tinyConfigs["Qwen2"])
	tokens := someTokens(m.Config, 12)
	exact := allLogits[float32](t, m, tokens)
	for _, dtype := range []wire.DType{wire.BF16, wire.F16} {
		halves := huggingFace(m, dtype)
		halves.shards = 2
		wide := huggingFace(m, dtype)
		for i := range wide.tensors {
			x := &wide.tensors[i]
			var values []float32
			for at := 0; at < len(x.Data); at += 2 {
				bits := binary.LittleEndian.Uint16(x.Data[at:])
				v := math.Float32frombits(uint32(bits) << 16)
				if dtype == wire.F16 {
					v = float32(math.Copysign(math.Ldexp(float64(bits&0x3ff|0x400), int(bits>>10&31)-25), float64(int16(bits))))
					if bits&0x7fff == 0 {
						v = 0
					}
				}
				values = append(values, v)
			}
			x.DType, x.Data = wire.F32, float32Bytes(values)
		}
		got := allLogits[float32](t, loadFolder(t, halves), tokens)
		if d := distance(got, allLogits[float32](t, loadFolder(t, wide), tokens)); d != 0 {
			t.Errorf("%s: logits differ by %g from those of the same values in F32", dtype, d)
		}
		if d := distance(got, exact); d == 0 {
			t.Errorf("%s: logits as of weights that were not rounded", dtype)
		}
	}
}

func TestWhatAConfigMayLeaveOut(t *testing.T) {
	c := Config{Dim: 8, Hidden: 8, Layers: 1, Heads: 2, KVHeads: 2, HeadDim: 4, Vocab: 270, Context: 2048,
		RoPE: HalfSplit, RoPEBase: 10000, Epsilon: 1e-6}
	f := huggingFace(tiny(t, c), wire.F32)
	for _, key := range []string{"hidden_act", "head_dim", "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_theta", "tie_word_embeddings"} {
		delete(f.config, key)
	}
	f.tensors = append(f.tensors, wire.Tensor{Name: "model.layers.0.self_attn.rotary_emb.inv_freq", DType: wire.F32, Shape: []int{2}, Data: make([]byte, 8)})
	if got := loadFolder(t, f).Config; got != c {
		t.Errorf("got %+v, want %+v", got, c)
	}
	f.config["rope_parameters"] = map[string]any{"rope_type": "default", "rope_theta": 77}
	if got := loadFolder(t, f).Config; got.RoPEBase != 77 {
		t.Errorf("got RoPE base %v, want 77", got.RoPEBase)
	}
}

func TestDamagedFolders(t *testing.T) {
	const q1 = "model.layers.1.self_attn.q_proj.weight"
	set := func(key string, value any) func(*folder) { return func(f *folder) { f.config[key] = value } }
	file := func(name string, data string) func(*folder) { return func(f *folder) { f.files[name] = []byte(data) } }
	config := "config.json: "
	for _, d := range []struct {
		what   string
		damage func(*folder)
		words  []string
	}{
		{"config is no JSON", file("config.json", "{"), []string{config}},
		{"config of a wrong type", set("hidden_size", "16"), []string{config, "hidden_size"}},
		{"unknown architecture", set("architectures", []string{"GPT2LMHeadModel"}), []string{config, "architectures: want LlamaForCausalLM or Qwen2ForCausalLM, got GPT2LMHeadModel"}},
		{"no architecture", set("architectures", nil), []string{config, "architectures: want one"}},
		{"another activation", set("hidden_act", "gelu"), []string{config, "hidden_act: want silu, got gelu"}},
		{"attention bias of Llama", set("attention_bias", true), []string{config, "attention_bias"}},
		{"MLP bias", set("mlp_bias", true), []string{config, "mlp_bias"}},
		{"sliding window", set("use_sliding_window", true), []string{config, "use_sliding_window"}},
		{"quantised", set("quantization_config", map[string]any{"bits": 4}), []string{config, "quantization_config"}},
		{"scaled RoPE", set("rope_scaling", map[string]any{"rope_type": "llama3"}), []string{config, "rope_type: want default", "got llama3"}},
		{"scaled RoPE, older name", set("rope_scaling", map[string]any{"type": "linear"}), []string{config, "got linear"}},
		{"no dim", set("hidden_size", 0), []string{config, "dim: want 1 to "}},
		{"negative layers", set("num_hidden_layers", -1), []string{config, "layers: want 1 to "}},
		{"zero heads", set("num_attention_heads", 0), []string{config, "heads: want 1 to "}},
		{"odd head", set("head_dim", 3), []string{config, "head dim: want an even number"}},
		{"KV heads that divide not", set("num_key_value_heads", 3), []string{config, "KV heads: want a divisor"}},
		{"too many layers", set("num_hidden_layers", 1<<29), []string{"model.layers.3.input_layernorm.weight: want a tensor of shape [16], got none"}},
		{"too few layers", set("num_hidden_layers", 2), []string{"model.safetensors: model.layers.2.", "want tensors of the architecture only"}},
		{"another dim", set("hidden_size", 32), []string{"model.safetensors: model.embed_tokens.weight: want shape [280 32], got [280 16]"}},
		{"a huge vocabulary", set("vocab_size", 1<<30), []string{"model.embed_tokens.weight: want shape [1073741824 16], got [280 16]"}},
		{"head not tied, and none", set("tie_word_embeddings", false), []string{"lm_head.weight: want a tensor of shape [280 16], got none"}},
		{"no bias", func(f *folder) {
			f.tensors = slices.DeleteFunc(f.tensors, func(x wire.Tensor) bool { return x.Name == "model.layers.0.self_attn.k_proj.bias" })
		},
			[]string{"model.layers.0.self_attn.k_proj.bias: want a tensor of shape [8], got none"}},
		{"renamed", func(f *folder) { f.tensor(q1).Name = "q" }, []string{q1 + ": want a tensor of shape [16 16], got none"}},
		{"too much", func(f *folder) {
			f.tensors = append(f.tensors, wire.Tensor{Name: "lora", DType: wire.U8, Shape: []int{1}, Data: []byte{1}})
		},
			[]string{"model.safetensors: lora: want tensors of the architecture only"}},
		{"another shape", func(f *folder) { f.tensor(q1).Shape = []int{8, 32} }, []string{"model.safetensors: " + q1 + ": want shape [16 16], got [8 32]"}},
		{"flat", func(f *folder) { f.tensor(q1).Shape = []int{256} }, []string{q1 + ": want shape [16 16], got [256]"}},
		{"another dtype", func(f *folder) { f.tensor(q1).DType = wire.I32 }, []string{"model.safetensors: " + q1 + ": dtype: want F32, F16 or BF16, got I32"}},
		{"NaN", func(f *folder) { copy(f.tensor(q1).Data[20:], "\x00\x00\xc0\x7f") }, []string{"model.safetensors: " + q1 + ": element 5: want a finite number"}},
		{"no frame", file("model.safetensors", "hello, world"), []string{"model.safetensors: not a frame"}},
		{"empty file", file("model.safetensors", ""), []string{"model.safetensors: ", "header length"}},
		{"index is no JSON", file("model.safetensors.index.json", "[]"), []string{"index.json: "}},
		{"index of nothing", file("model.safetensors.index.json", "{}"), []string{"index.json: weight_map: want tensors"}},
		{"index that climbs", file("model.safetensors.index.json", `{"weight_map":{"a":"../../etc/passwd"}}`), []string{"index.json: weight_map: want names of files in the same folder"}},
		{"index of a missing file", file("model.safetensors.index.json", `{"weight_map":{"a":"gone.safetensors"}}`), []string{"gone.safetensors"}},
		{"index of a missing tensor", file("model.safetensors.index.json", `{"weight_map":{"a":"model.safetensors"}}`), []string{"model.safetensors: a: want the tensor that the index says is there"}},
	} {
		t.Run(d.what, func(t *testing.T) {
			f := huggingFace(tiny(t, tinyConfigs["Qwen2"]), wire.F32)
			d.damage(f)
			dir := f.write(t)
			_, err := Load(dir)
			oneLine(t, err, append(d.words, dir)...)
		})
	}
}

func TestDamagedShards(t *testing.T) {
	f := huggingFace(tiny(t, tinyConfigs["Llama"]), wire.F32)
	f.shards = 2
	dir := f.write(t)
	shard := filepath.Join(dir, "model-b.safetensors")
	data, err := os.ReadFile(shard)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 7, 8, 100, len(data) / 2, len(data) - 1} {
		if err := os.WriteFile(shard, data[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Load(dir)
		oneLine(t, err, shard, "read ", " bytes")
	}
	other, err := os.ReadFile(filepath.Join(dir, "model-a.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(shard, other, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Load(dir)
	oneLine(t, err, shard, "want it in one file")
	if err := os.Remove(shard); err != nil {
		t.Fatal(err)
	}
	_, err = Load(dir)
	oneLine(t, err, shard)
	_, err = Load(filepath.Join(dir, "model-a.safetensors"))
	oneLine(t, err, "want a .bin file or the folder")
	if err := os.Remove(filepath.Join(dir, "config.json")); err != nil {
		t.Fatal(err)
	}
	_, err = Load(dir)
	oneLine(t, err, "config.json")
}

// FuzzHuggingFace: whatever the two files, an error or a model that runs.
func FuzzHuggingFace(f *testing.F) {
	for _, name := range []string{"Llama", "Qwen2"} {
		dir := huggingFace(tiny(f, tinyConfigs[name]), wire.BF16).write(f)
		config, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if err != nil {
			f.Fatal(err)
		}
		weights, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(config, weights)
	}
	f.Fuzz(func(t *testing.T, config, weights []byte) {
		dir := t.TempDir()
		for name, data := range map[string][]byte{"config.json": config, "model.safetensors": weights} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		m, err := Load(dir)
		if err != nil {
			oneLine(t, err, dir)
			return
		}
		runs(t, m)
	})
}

// FuzzIndex: whatever the index of two shards, an error or the model.
func FuzzIndex(f *testing.F) {
	folder := huggingFace(tiny(f, tinyConfigs["Qwen2"]), wire.BF16)
	folder.shards = 2
	dir := folder.write(f)
	path := filepath.Join(dir, "model.safetensors.index.json")
	index, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(index)
	f.Add([]byte(`{"weight_map":{"a\nb":"model-a.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"a\nb"}}`))
	f.Fuzz(func(t *testing.T, index []byte) {
		if err := os.WriteFile(path, index, 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := Load(dir)
		if err != nil {
			oneLine(t, err, dir)
			return
		}
		runs(t, m)
	})
}
