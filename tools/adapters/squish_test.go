package adapters

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/wire"
)

// standIn writes a package that has the names of squish 6.0.0, without some files,
// and returns the environment in which it is found.
func standIn(t *testing.T, without ...string) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/squish.txt")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "squish"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), "\n-- ")[1:] {
		name, code, _ := strings.Cut(part, " --\n")
		if !slices.Contains(without, name) {
			write(t, filepath.Join(folder, "squish", name), code+"\n")
		}
	}
	return []string{"PYTHONPATH=" + folder}
}

func squishAdapter(t *testing.T, args ...string) []string {
	return append(python.command(t, "python/squish_adapter.py"), args...)
}

// floats is a tensor of so many ones, at least one axis.
func floats(name string, shape ...int) wire.Tensor {
	var data []byte
	n := 1
	for _, axis := range shape {
		n *= axis
	}
	for range n {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(1))
	}
	return wire.Tensor{Name: name, DType: wire.F32, Shape: shape, Data: data}
}

func TestSquishOffers(t *testing.T) {
	p := start(t, standIn(t), squishAdapter(t)...)
	answer := p.ask(map[string]string{"cmd": "hello", "protocol": "1", "spec": spec.Version})
	p.has(answer, "ok", "")
	if answer.Metadata["name"] != "squish" || answer.Metadata["version"] != "6.0.0" {
		t.Errorf("hello: %v", answer.Metadata)
	}
	var offers []string
	if err := json.Unmarshal([]byte(answer.Metadata["offers"]), &offers); err != nil {
		t.Fatal(err)
	}
	var modules []string
	for _, entry := range offers {
		name, variant, has := strings.Cut(entry, ":")
		modules = append(modules, name)
		if m := spec.ModuleByName(name); m != nil && has != (len(m.Variants) > 0) {
			t.Errorf("%s: want the variant squish6 exactly where there is one", entry)
		}
		if has && variant != string(spec.Squish6) {
			t.Errorf("%s: no such variant", entry)
		}
	}
	slices.Sort(modules)
	if want := slices.Sorted(slices.Values(spec.ModuleNames)); !slices.Equal(modules, want) {
		t.Errorf("offers %v, want all of %v", modules, want)
	}
}

func TestSquishMissing(t *testing.T) {
	t.Run("package", func(t *testing.T) {
		result := run(t, ".", []string{"PYTHONPATH="}, squishAdapter(t)...)
		if result.exit != 1 || result.stdout != "" || strings.Count(result.stderr, "\n") != 1 || !strings.Contains(result.stderr, "squish, version 6.0.0, cannot be imported") {
			t.Errorf("%+v", result)
		}
	})
	t.Run("all modules", func(t *testing.T) {
		folder := t.TempDir()
		write(t, filepath.Join(folder, "squish.py"), "")
		result := run(t, ".", []string{"PYTHONPATH=" + folder}, squishAdapter(t)...)
		if result.exit != 1 || result.stdout != "" || !strings.HasSuffix(result.stderr, "is it version 6.0.0?\n") {
			t.Errorf("%+v", result)
		}
	})
	t.Run("one module", func(t *testing.T) {
		p := start(t, standIn(t, "cot_compress.py"), squishAdapter(t)...)
		answer := p.ask(map[string]string{"cmd": "hello", "protocol": "1", "spec": spec.Version})
		if offers := answer.Metadata["offers"]; strings.Contains(offers, "cot-compress") || !strings.Contains(offers, "ternary-quant") {
			t.Errorf("offers %s", offers)
		}
		p.stdin.Close()
		p.ends(0) // only then is all of stderr here
		if !strings.Contains(p.stderr.String(), "cot-compress is not offered: No module named 'squish.cot_compress'\n") {
			t.Errorf("stderr: %s", p.stderr)
		}
	})
	t.Run("unknown name", func(t *testing.T) {
		result := run(t, ".", standIn(t), squishAdapter(t, "ternary-quants")...)
		if result.exit != 1 || strings.Count(result.stderr, "\n") != 1 || !strings.HasSuffix(result.stderr, "got ternary-quants\n") {
			t.Errorf("%+v", result)
		}
	})
}

// Every operation is called by the package's names, and its results come by the
// wire's.
func TestSquishCalls(t *testing.T) {
	p := start(t, standIn(t), squishAdapter(t)...)
	x := floats("x", 2, 2)
	v := floats("v", 2)
	type call struct{ op, args, out string }
	for _, c := range []struct {
		module, config string
		calls          []call
	}{
		{"vision-kv-fuse", `{"text_capacity": 1}`, []call{
			{"append", `{"modality": "text", "key": {"tensor": "x"}, "value": {"tensor": "v"}}`, `{}`},
			{"get_kv", `{"modality": "text"}`, `{"keys": {"tensor": "keys"}, "values": {"tensor": "values"}}`},
			{"text_len", `{}`, `{"text_len": 1}`},
			{"memory_ratio", `{}`, `{"memory_ratio": 0.0}`},
			{"reset", `{}`, `{}`}, {"reset", `{"modality": "both"}`, `{}`}, {"reset", `{"modality": "text"}`, `{}`},
			{"stats", `{}`, `{"total_resets": 3}`},
		}},
		{"image-token-prune", `{"variant": "squish6", "eps": 1e-9}`, []call{{"prune", `{"attn_weights": {"tensor": "x"}}`, `{"kept": {"tensor": "kept"}, "pruned": {"tensor": "pruned"}}`}}},
		{"rag-prefetch", `{"window": 0}`, []call{
			{"record_access", `{"doc_tokens": {"tensor": "x"}}`, `{"digest": "digest"}`},
			{"get_warmup_candidates", `{}`, `{"candidates": ["a", "b"]}`},
		}},
		{"cot-compress", `{"variant": "squish6", "step_tokens": 16, "alpha": 0.5}`, []call{{"compress", `{"token_ids": {"tensor": "x"}, "query_ids": {"tensor": "v"}}`, `{"kept": {"tensor": "kept"}}`}}},
		{"multimodal-batch", `{"max_wait_rounds": 0}`, []call{
			{"add_request", `{"req_id": 4, "modality": "text", "text_len": 5, "vision_tokens": 6, "priority": 0}`, `{}`},
			{"next_batch", `{}`, `{"batch": [{"req_id": 4, "modality": "text", "text_len": 5, "vision_tokens": 6}]}`},
		}},
		{"contextual-rerank", `{}`, []call{{"rerank", `{"keys": {"tensor": "x"}, "query": null}`, `{"top": {"tensor": "top"}}`}}},
		{"cross-modal-attn", `{"softmax_scale": 1}`, []call{{"forward", `{"text_q": {"tensor": "x"}, "vision_k": 1, "vision_v": 1}`, `{"out": {"tensor": "out"}}`}}},
		{"hierarchical-kv", `{}`, []call{
			{"put", `{"pos": 3, "key": {"tensor": "x"}, "value": {"tensor": "v"}}`, `{}`},
			{"get", `{"pos": 3}`, `{"kv": [{"tensor": "kv.0"}, {"tensor": "kv.1"}]}`},
			{"get", `{"pos": 4}`, `{"kv": null}`},
		}},
		{"stream-rag", `{"variant": "squish6"}`, []call{
			{"inject", `{"doc_id": "d", "token_ids": {"tensor": "x"}, "embedding": {"tensor": "v"}}`, `{}`},
			{"retrieve", `{"query_embedding": 1, "top_k": 0, "query_ids": null}`, `{"docs": [{"doc_id": "d", "token_ids": {"tensor": "docs.0.token_ids"}, "embedding": {"tensor": "docs.0.embedding"}, "relevance": 0.5}]}`},
			{"inject", `{"doc_id": "e", "embedding": {"tensor": "v"}}`, `{}`},
			{"n_docs", `{}`, `{"n_docs": 0}`},
		}},
		{"cross-doc-attn", `{}`, []call{{"forward", `{"query": 1, "doc_keys": [], "doc_values": [{"tensor": "x"}, {"tensor": "v"}]}`, `{"out": {"tensor": "out"}}`}}},
		{"embedding-gate", `{"variant": "squish6"}`, []call{
			{"gate", `{"embeddings": {"tensor": "x"}}`, `{"route": {"tensor": "route"}, "masked": {"tensor": "masked"}}`},
			{"update_threshold", `{"new_threshold": 0.25}`, `{}`},
		}},
		{"long-context-chunk", `{}`, []call{{"chunk", `{"token_embeddings": {"tensor": "x"}}`, `{"chunks": [[0, 3], [3, 5]]}`}}},
		{"modality-router", `{"policies": [{"modality": "text", "max_concurrent": 2}]}`, []call{
			{"route", `{"req_id": 1, "modality": "text"}`, `{"accepted": true}`},
			{"register", `{"policy": {"modality": "text", "target_latency_ms": 9, "max_concurrent": 1, "priority": 1}}`, `{}`},
			{"route", `{"req_id": 1, "modality": "text"}`, `{"accepted": false}`},
			{"complete", `{"req_id": 1, "modality": "text", "latency_ms": 4}`, `{}`},
			{"active_counts", `{}`, `{"active": {"text": 0}}`},
		}},
		{"ternary-quant", `{}`, []call{
			{"quantize", `{"weights": {"tensor": "x"}}`, `{"ternary": {"tensor": "ternary"}, "scale": 1.0}`},
			{"dequantize", `{"ternary": {"tensor": "x"}, "scale": 2}`, `{"weights": {"tensor": "weights"}}`},
			{"dequantize", `{"ternary_weights": {"tensor": "x"}, "scale": 2}`, `{"weights": {"tensor": "weights"}}`},
			{"stats", `{}`, `{"total_quantize_calls": 1, "total_weights_quantized": 4, "total_zeros": 0, "sparsity": 0.0}`},
		}},
		{"binary-attn", `{"variant": "squish6"}`, []call{{"forward", `{"q": {"tensor": "x"}, "k": 1, "v": 1}`, `{"out": {"tensor": "out"}}`}}},
		{"structured-prune", `{"N": 1, "M": 8, "group_rows": 3, "sparsity": 0.5}`, []call{
			{"prune", `{"weights": {"tensor": "x"}}`, `{"pruned": {"tensor": "pruned"}, "mask": {"tensor": "mask"}}`},
			{"sparsity_fraction", `{"weights": {"tensor": "x"}}`, `{"fraction": 0.125}`},
		}},
		{"layer-fusion", `{}`, []call{
			{"cosine_similarity", `{"a": 1, "b": 1}`, `{"similarity": 0.5}`},
			{"should_fuse", `{"weights_a": 1, "weights_b": 1}`, `{"fuse": true}`},
			{"fuse", `{"weights_a": {"tensor": "x"}, "weights_b": 1, "w": 0.5}`, `{"fused": {"tensor": "fused"}}`},
		}},
		{"weight-sharing", `{"hidden_dim": 2, "n_shared_layers": 1, "rank": 1}`, []call{
			{"get_effective_weight", `{"layer_idx": 0}`, `{"weight": {"tensor": "weight"}}`},
			{"memory_bytes", `{}`, `{"bytes": 1}`}, {"memory_ratio", `{}`, `{"ratio": 0.25}`},
		}},
		{"quant-calib", `{"variant": "squish6", "method": "minmax"}`, []call{
			{"calibrate", `{"activations": {"tensor": "x"}}`, `{"result": {"scales": {"tensor": "result.scales"}, "method": "minmax", "n_bits": 8}}`},
		}},
		{"sparse-weight", `{"format": "nm"}`, []call{
			{"compress", `{"dense_weights": {"tensor": "x"}}`, `{}`}, {"memory_bytes", `{}`, `{"bytes": 2}`},
			{"dense_memory_bytes", `{}`, `{"bytes": 3}`}, {"compression_ratio", `{}`, `{"ratio": 1.5}`},
		}},
		{"delta-compress", `{"rank": 2}`, []call{
			{"compress", `{"base": {"tensor": "x"}, "finetuned": {"tensor": "v"}}`, `{"u": {"tensor": "u"}, "s": {"tensor": "s"}, "vt": {"tensor": "vt"}}`},
			{"decompress", `{"u": {"tensor": "x"}, "s": 2, "vt": {"tensor": "v"}}`, `{"delta": {"tensor": "delta"}}`},
			{"compression_ratio", `{"rows": 3, "cols": 4, "k": 2}`, `{"ratio": 6.0}`},
		}},
		{"model-surgery", `{}`, []call{
			{"plan", `{"n_layers": 3, "n_heads": 4, "head_dim": 5, "n_kv_heads": 0}`, `{"plan": {"layers_to_remove": [], "heads_to_prune": {}, "n_layers": 3, "n_heads": 4, "head_dim": 5}}`},
			{"estimate_reduction", `{"plan": {"layers_to_remove": [], "heads_to_prune": {"2": [0, 1]}, "n_layers": 4, "n_heads": 4, "head_dim": 5}}`, `{"reduction": 1.0}`},
			{"apply", `{"plan": {"layers_to_remove": [1], "heads_to_prune": {}, "n_layers": 4, "n_heads": 4, "head_dim": 5, "n_kv_heads": 4}, "weight_dict": {"a.b": {"tensor": "x"}}, "renumber": false}`,
				`{"result": {"layers_removed": 1, "heads_pruned": 1, "estimated_param_reduction": 0.0}}`},
		}},
		{"zero-quant-v2", `{"lorc_rank": 0}`, []call{
			{"quantize", `{"weights": {"tensor": "x"}}`, `{"quantized": {"tensor": "quantized"}, "scales": {"tensor": "scales"}, "residual": {"tensor": "residual"}, "lorc_u": {"tensor": "lorc_u"}, "lorc_v": {"tensor": "lorc_v"}}`},
			{"dequantize", `{"quantized": {"tensor": "flat"}, "scales": 1, "residual": {"tensor": "x"}, "lorc_u": {"tensor": "none"}}`, `{"weights": {"tensor": "weights"}}`},
		}},
		{"gptq-layer", `{"variant": "squish6", "group_size": 0, "symmetric": true, "act_order": false}`, []call{
			{"calibrate", `{"weights": {"tensor": "x"}, "activations": 1}`, `{"weights": {"tensor": "weights"}, "codes": {"tensor": "codes"}, "scales": {"tensor": "scales"},
				"zero_points": {"tensor": "zero_points"}, "order": {"tensor": "order"}, "losses": {"tensor": "losses"}, "damp_percent": 0.0}`},
		}},
		{"sparse-moe", `{"capacity_factor": 0, "gate_weights": {"tensor": "x"}, "seed": 3}`, []call{
			{"route", `{"hidden_states": 1}`, `{"indices": {"tensor": "indices"}, "weights": {"tensor": "weights"}, "aux_loss": 0.125, "capacity": 0, "dropped": 0}`},
		}},
		{"awq-v2", `{"variant": "squish6"}`, []call{
			{"calibrate", `{"weights": {"tensor": "x"}, "activations": {"tensor": "v"}}`, `{"scales": {"tensor": "scales"}, "shifts": {"tensor": "shifts"}}`},
			{"quantize", `{"weights": {"tensor": "x"}, "scales": 1, "shifts": 1}`, `{"codes": {"tensor": "codes"}, "group_scales": {"tensor": "group_scales"}, "zero_points": {"tensor": "zero_points"}}`},
		}},
		{"iter-prune", `{"variant": "squish6", "regrow_fraction": 0.5, "target_sparsity": 0.75}`, []call{
			{"prune_step", `{"weights": {"tensor": "x"}, "step": 2}`, `{"pruned": {"tensor": "pruned"}, "sparsity": 0.5}`},
			{"current_sparsity", `{"step": 1}`, `{"sparsity": 0.75}`},
		}},
	} {
		h := p.open(c.module, c.config, x)
		for _, call := range c.calls {
			answer := p.call(h, call.op, call.args, x, v, floats("flat", 4), floats("none", 0, 0))
			p.has(answer, "ok", call.out)
			if t.Failed() {
				t.Fatalf("%s %s", c.module, call.op)
			}
		}
	}
}

// The package's exceptions are refusals of the kinds that they stand for; what it
// does not have is unsupported, unless it says nothing.
func TestSquishRefusals(t *testing.T) {
	p := start(t, standIn(t), squishAdapter(t)...)
	p.refused(p.ask(map[string]string{"cmd": "new", "module": "ternary-quant", "args": `{"zero_threshold": 0}`}), "rejected", "invalid", "zero_threshold is 0")
	p.refused(p.ask(map[string]string{"cmd": "new", "module": "multimodal-batch", "args": `{"max_wait_rounds": 1}`}), "unsupported", "", "max_wait_rounds")
	for _, format := range []string{"csr", ""} {
		p.refused(p.ask(map[string]string{"cmd": "new", "module": "sparse-weight", "args": `{"format": "` + format + `"}`}), "unsupported", "", "format")
	}
	for _, c := range []struct{ module, config, op, args, status, kind, message string }{
		{"vision-kv-fuse", `{"text_capacity": 0}`, "append", `{"modality": "text", "key": 1, "value": 1}`, "rejected", "capacity", "full"},
		{"vision-kv-fuse", `{}`, "reset", `{"modality": "audio"}`, "rejected", "invalid", "audio"},
		{"modality-router", `{"policies": []}`, "route", `{"req_id": 1, "modality": "smell"}`, "rejected", "unknown", "smell"},
		{"weight-sharing", `{"hidden_dim": 2}`, "get_effective_weight", `{"layer_idx": -1}`, "rejected", "range", "layer_idx"},
		{"sparse-weight", `{}`, "decompress", `{}`, "rejected", "state", "before compress"},
		{"video-frame-prune", `{"variant": "squish6", "motion_threshold": 0.1}`, "prune_temporal", `{"frame_embeddings": 1}`, "error", "", "not here"},
		{"video-frame-prune", `{}`, "prune_spatial", `{"patch_features": 1}`, "error", "", "a failure of the package"},
		{"video-frame-prune", `{}`, "prune_clip", `{"frames": 1}`, "unsupported", "", "prune_clip"},
		{"multimodal-batch", `{}`, "add_request", `{"req_id": 1, "modality": "text", "text_len": 1, "vision_tokens": 0, "priority": 3}`, "unsupported", "", "priority"},
		{"stream-rag", `{}`, "inject", `{"doc_id": "d", "token_ids": null, "embedding": null}`, "unsupported", "", "embedding"},
		{"cross-modal-attn", `{}`, "forward", `{"text_q": 1, "vision_k": 1}`, "unsupported", "", "vision_v"},
		{"layer-fusion", `{}`, "fuse", `{"weights_a": 1, "weights_b": 1, "w": 0.25}`, "unsupported", "", "w: "},
		{"zero-quant-v2", `{}`, "dequantize", `{"quantized": {"tensor": "x"}, "scales": 1, "residual": {"tensor": "y"}, "lorc_u": {"tensor": "z"}}`, "unsupported", "", "lorc_u"},
		{"model-surgery", `{}`, "plan", `{"n_layers": 1, "n_heads": 4, "head_dim": 1, "n_kv_heads": 2}`, "unsupported", "", "n_kv_heads"},
		{"model-surgery", `{}`, "apply", `{"plan": {"layers_to_remove": [], "heads_to_prune": {}, "n_layers": 1, "n_heads": 4, "head_dim": 1, "n_kv_heads": 2}, "weight_dict": {}}`, "unsupported", "", "n_kv_heads"},
		{"model-surgery", `{}`, "apply", `{"plan": {"layers_to_remove": [], "heads_to_prune": {}, "n_layers": 1, "n_heads": 4, "head_dim": 1}, "weight_dict": {}, "renumber": true}`, "unsupported", "", "renumber"},
	} {
		h := p.open(c.module, c.config)
		p.refused(p.call(h, c.op, c.args, floats("x", 2, 2), floats("y", 2, 2), floats("z", 1, 1)), c.status, c.kind, c.message)
	}
}

// What a module draws at random is replaced by what the config has.
func TestSquishWeights(t *testing.T) {
	p := start(t, standIn(t), squishAdapter(t, "weight-sharing", "sparse-moe")...)
	first := func(answer *wire.Frame, name string) float32 {
		t.Helper()
		p.has(answer, "ok", "")
		for _, tensor := range answer.Tensors {
			if tensor.Name == name {
				return math.Float32frombits(binary.LittleEndian.Uint32(tensor.Data))
			}
		}
		t.Fatalf("no tensor %s", name)
		return 0
	}
	given := p.open("weight-sharing", `{"hidden_dim": 2, "n_shared_layers": 1, "rank": 3, "base": {"tensor": "b"}, "u": [{"tensor": "u"}], "v": [{"tensor": "v"}]}`,
		floats("b", 2, 2), floats("u", 2, 3), floats("v", 3, 2))
	if got := first(p.call(given, "get_effective_weight", `{"layer_idx": 0}`), "weight"); got != 4 {
		t.Errorf("1 + 3·1·1: got %v", got)
	}
	none := p.open("weight-sharing", `{"hidden_dim": 2, "n_shared_layers": 1, "rank": 1}`)
	if got := first(p.call(none, "get_effective_weight", `{"layer_idx": 0}`), "weight"); got != 0 {
		t.Errorf("no weights are zeros: got %v", got)
	}
	half := floats("g", 4, 2)
	copy(half.Data, binary.LittleEndian.AppendUint32(nil, math.Float32bits(0.5)))
	gate := p.open("sparse-moe", `{"hidden_dim": 4, "n_experts": 2, "gate_weights": {"tensor": "g"}}`, half)
	if got := first(p.call(gate, "route", `{"hidden_states": 1}`), "weights"); got != 0.5 {
		t.Errorf("gate weights: got %v", got)
	}
}

// The stand-in's one real module passes the suite.
func TestSquishConforms(t *testing.T) {
	command := squishAdapter(t, "ternary-quant")
	source, err := filepath.Abs(command[1])
	if err != nil {
		t.Fatal(err)
	}
	command[1] = source
	run(t, t.TempDir(), standIn(t), append([]string{needConform(t), "check", "--checks", "5", "--"}, command...)...).succeeds(t)
}

// What only translates is no part of a call's time: it is done once, however often the
// package's own method is timed.
func TestSquishTimesThePackageAlone(t *testing.T) {
	environment := standIn(t)
	folder := strings.TrimPrefix(environment[0], "PYTHONPATH=")
	write(t, filepath.Join(folder, "squish", "model_surgery.py"), `
class Stats:
    plans = 0
    estimates = 0

class SurgeryPlan:
    def __init__(self, **plan):
        ModelSurgeon.stats.plans += 1

class ModelSurgeon:
    stats = Stats()
    def estimate_reduction(self, plan):
        self.stats.estimates += 1
        return 0.5
`)
	p := start(t, environment, squishAdapter(t, "model-surgery")...)
	h := p.open("model-surgery", `{}`)
	plan := `{"plan": {"n_heads": 2, "heads_to_prune": {}}}`
	answer := p.ask(map[string]string{"cmd": "time", "handle": h, "op": "estimate_reduction", "args": plan, "repeat": "7"})
	p.has(answer, "ok", "")
	var times struct{ NS []float64 }
	if err := json.Unmarshal([]byte(answer.Metadata["out"]), &times); err != nil || len(times.NS) != 7 {
		t.Errorf("got %v, %v, want seven times", answer.Metadata, err)
	}
	p.has(p.call(h, "stats", `{}`), "ok", `{"plans": 1, "estimates": 7}`)
}
