package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/spec/wire"
)

// writeModel writes a llama2.c model of one layer with its tokenizer and a text,
// and returns their paths. The model's weights are all the same number, so that no
// token is likelier than another: with a vocabulary of 270, its perplexity is 270.
func writeModel(t *testing.T, weight float32) (model, tokenizer, text string) {
	t.Helper()
	const dim, hidden, heads, vocab, context = 4, 6, 2, 270, 64
	var file bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			if err := binary.Write(&file, binary.LittleEndian, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	put([]int32{dim, hidden, 1, heads, heads, vocab, context})
	for range vocab*dim + 4*dim*dim + 3*dim*hidden + 3*dim + context*dim/heads {
		put(weight)
	}
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	model = write("m.bin", bytes.Clone(file.Bytes()))
	file.Reset()
	put(int32(8))
	for i := range vocab {
		piece := fmt.Sprintf("<%d>", i)
		put(float32(0), int32(len(piece)), []byte(piece))
	}
	return model, write("tokenizer.bin", file.Bytes()), write("text", []byte("one\n\ntwo three\n\nfour\n"))
}

func TestPerplexityEndsWithItsFigures(t *testing.T) {
	model, tokenizer, text := writeModel(t, 0.5)
	for args, want := range map[string]string{ // a space before each paragraph, then a token a byte
		"":                 "tokens=19 nll=5.59842 ppl=270.0000",
		"--paragraphs 2":   "tokens=14 nll=5.59842 ppl=270.0000",
		"--paragraphs 0":   "tokens=19 nll=5.59842 ppl=270.0000",
		"--float64":        "tokens=19 nll=5.59842 ppl=270.0000",
		"--paragraphs 999": "tokens=19 nll=5.59842 ppl=270.0000",
	} {
		all := append([]string{"perplexity", "--model", model, "--text", text}, strings.Fields(args)...)
		code, out, stderr := conform(t, all...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if code != exitOK || lines[len(lines)-1] != want {
			t.Errorf("%s: exit code %d, %q, %q; want %q at the end", args, code, out, stderr, want)
		}
		if !regexp.MustCompile(`^standard error of nll: 0\.0000`).MatchString(lines[len(lines)-2]) {
			t.Errorf("%s: %q before the last line, want the standard error", args, lines[len(lines)-2])
		}
	}
	_, out, _ := conform(t, "perplexity", "--model", model, "--tokenizer", tokenizer, "--text", text, "--paragraphs", "1")
	if !strings.Contains(out, "unknown from one paragraph\ntokens=4 ") {
		t.Errorf("got %q", out)
	}
	if math.Log(270)-5.59842 > 1e-5 {
		t.Error("the figures above are not those of 270 equal tokens")
	}
}

func TestPerplexityRefusesWithALine(t *testing.T) {
	model, tokenizer, text := writeModel(t, 0.5)
	overflows, _, _ := writeModel(t, 3e38)
	nan, _, _ := writeModel(t, float32(math.NaN()))
	data, err := os.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	torn, empty := write("torn.bin", data[:len(data)-1]), write("empty", nil)
	for words, args := range map[string][]string{
		"missing flags":    {"--model", model},
		"gone":             {"--model", model + ".gone", "--text", text},
		"no such file":     {"--model", model, "--text", text + ".gone"},
		"torn.bin: size":   {"--model", torn, "--tokenizer", tokenizer, "--text", text},
		"empty: header":    {"--model", empty, "--tokenizer", tokenizer, "--text", text},
		"want a paragraph": {"--model", model, "--text", empty},
		"--paragraphs":     {"--model", model, "--text", text, "--paragraphs", "-1"},
		"config.json":      {"--model", dir, "--text", text},
		"want a tokenizer.bin or a tokenizer.json beside the weights, got neither": {"--model", write("alone.bin", data), "--text", text},
		"text: token 0":      {"--model", model, "--tokenizer", text, "--text", text},
		"m.bin: paragraph 1": {"--model", overflows, "--text", text},
		"finite number":      {"--model", nan, "--text", text},
	} {
		code, out, stderr := conform(t, append([]string{"perplexity"}, args...)...)
		if code != exitMisuse || out != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, words) {
			t.Errorf("exit code %d, stdout %q, stderr %q; want 2 and a line with %q", code, out, stderr, words)
		}
	}
}

// A folder is a Hugging Face folder whose tokens, bytes and a few words that are no
// rows of its embedding, are all equally likely, 270 of them.
type folder struct {
	config, tokenizer string
	tensors           []wire.Tensor
	cut               int // bytes missing at the end of the weights
}

func newFolder() *folder {
	f := &folder{config: `{"architectures":["Qwen2ForCausalLM"],"hidden_size":4,"intermediate_size":6,"num_hidden_layers":1,
		"num_attention_heads":2,"vocab_size":270,"tie_word_embeddings":true}`}
	add := func(name string, shape ...int) {
		n := 1
		for _, axis := range shape {
			n *= axis
		}
		f.tensors = append(f.tensors, wire.Tensor{Name: name, DType: wire.BF16, Shape: shape, Data: bytes.Repeat([]byte{0, 0x3f}, n)}) // 0.5
	}
	add("model.embed_tokens.weight", 270, 4)
	add("model.norm.weight", 4)
	for _, name := range []string{"input_layernorm", "post_attention_layernorm"} {
		add("model.layers.0."+name+".weight", 4)
	}
	for _, name := range []string{"q", "k", "v", "o"} {
		add("model.layers.0.self_attn."+name+"_proj.weight", 4, 4)
		if name != "o" {
			add("model.layers.0.self_attn."+name+"_proj.bias", 4)
		}
	}
	add("model.layers.0.mlp.gate_proj.weight", 6, 4)
	add("model.layers.0.mlp.up_proj.weight", 6, 4)
	add("model.layers.0.mlp.down_proj.weight", 4, 6)

	var pieces []string
	next := 0x100
	for b := range 256 {
		letter := b
		if b <= ' ' || b > '~' && b < 0xa1 || b == 0xad {
			letter, next = next, next+1
		}
		pieces = append(pieces, fmt.Sprintf("%q:%d", string(rune(letter)), b))
	}
	f.tokenizer = `{"added_tokens":[{"id":257,"content":"<|endoftext|>"}],"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[
		{"type":"Split","pattern":{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated"},
		{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]},"post_processor":{"type":"ByteLevel"},
		"model":{"type":"BPE","vocab":{` + strings.Join(pieces, ",") + `,"on":256},"merges":["o n"]}}`
	return f
}

func (f *folder) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var weights bytes.Buffer
	if err := wire.Write(&weights, &wire.Frame{Tensors: f.tensors}); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"config.json": []byte(f.config), "tokenizer.json": []byte(f.tokenizer), "model.safetensors": weights.Bytes()[:weights.Len()-f.cut],
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestPerplexityOfAHuggingFaceFolder: "one" is on e, and without BOS the first
// token of a paragraph is not predicted.
func TestPerplexityOfAHuggingFaceFolder(t *testing.T) {
	_, _, text := writeModel(t, 0.5)
	code, out, stderr := conform(t, "perplexity", "--model", newFolder().write(t), "--text", text)
	if want := "tokens=12 nll=5.59842 ppl=270.0000\n"; code != exitOK || !strings.HasSuffix(out, want) {
		t.Errorf("exit code %d, %q, %q; want %q at the end", code, out, stderr, want)
	}
}

func TestPerplexityRefusesADamagedFolder(t *testing.T) {
	_, _, text := writeModel(t, 0.5)
	const bias = "model.layers.0.self_attn.q_proj.bias"
	config := func(old, new string) func(*folder) {
		return func(f *folder) { f.config = strings.Replace(f.config, old, new, 1) }
	}
	tokenizer := func(old, new string) func(*folder) {
		return func(f *folder) { f.tokenizer = strings.Replace(f.tokenizer, old, new, 1) }
	}
	tensor := func(change func(*wire.Tensor)) func(*folder) {
		return func(f *folder) {
			for i := range f.tensors {
				if f.tensors[i].Name == bias {
					change(&f.tensors[i])
				}
			}
		}
	}
	for words, damage := range map[string]func(*folder){
		"config.json: unexpected end": func(f *folder) { f.config = f.config[:40] },
		`config.json: architectures: want LlamaForCausalLM or Qwen2ForCausalLM, got "M\n"`: config("Qwen2ForCausalLM", `M\n`),
		"config.json: KV heads: want a divisor":                                            config(`"vocab_size"`, `"num_key_value_heads":3,"vocab_size"`),
		"embed_tokens.weight: want shape [1000000 4], got [270 4]":                         config("270", "1000000"),
		"model.safetensors: " + bias + ": want shape [4], got [2 2]":                       tensor(func(x *wire.Tensor) { x.Shape = []int{2, 2} }),
		bias + ": want a tensor of shape [4], got none":                                    tensor(func(x *wire.Tensor) { x.Name = "bias" }),
		`model.safetensors: "bi\nas": want tensors of the architecture only`: func(f *folder) {
			f.tensors = append(f.tensors, wire.Tensor{Name: "bi\nas", DType: wire.U8, Shape: []int{1}, Data: []byte{1}})
		},
		bias + ": dtype: want F32, F16 or BF16, got I8":                                            tensor(func(x *wire.Tensor) { x.DType, x.Data = wire.I8, x.Data[:4] }),
		bias + ": element 3: want a finite number":                                                 tensor(func(x *wire.Tensor) { x.Data[7] = 0xff; x.Data[6] = 0xff }),
		"model.safetensors: frame: read ":                                                          func(f *folder) { f.cut = 1 },
		"tokenizer.json: unexpected end":                                                           func(f *folder) { f.tokenizer = f.tokenizer[:90] },
		"tokenizer.json: model.type: want BPE, got Unigram":                                        tokenizer("BPE", "Unigram"),
		"tokenizer.json: merges[0]: want two pieces":                                               tokenizer("o n", "o o"),
		"tokenizer.json: added_tokens[0]: want an id of the model's vocabulary, 0 to 269, got 270": tokenizer(`"id":257`, `"id":270`),
	} {
		f := newFolder()
		damage(f)
		code, out, stderr := conform(t, "perplexity", "--model", f.write(t), "--text", text)
		if code != exitMisuse || out != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, words) {
			t.Errorf("exit code %d, stdout %q, stderr %q; want 2 and a line with %q", code, out, stderr, words)
		}
	}
}

func TestInterruptedPerplexityHasNoFigure(t *testing.T) {
	model, _, text := writeModel(t, 0.5)
	ctx, stop := context.WithCancel(context.Background())
	stop()
	var out, stderr bytes.Buffer
	code := run(ctx, []string{"perplexity", "--model", model, "--text", text}, strings.NewReader(""), &out, &stderr)
	if code != exitFailed || strings.Contains(out.String(), "nll=") || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("exit code %d, %q, %q", code, out.String(), stderr.String())
	}
}
