package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/llama/tiny"
	"github.com/squishspec/squishspec/tools/audit"
)

// lines are a report's, by their type.
func lines(t *testing.T, file string) map[string][]map[string]any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	types := map[string][]map[string]any{}
	for _, text := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		types[line["type"].(string)] = append(types[line["type"].(string)], line)
	}
	return types
}

// A part of the embedded audit: about a second, for the model is judged as it is and
// once more.
func TestAuditJudgesWhatItIsAskedFor(t *testing.T) {
	dir := t.TempDir()
	var reports [2]string
	for i := range reports {
		file := filepath.Join(dir, fmt.Sprint(i))
		code, out, stderr := conform(t, "audit", "--questions", "20", "--method", "iter-prune/70%",
			"--claim", "iterative-sparsity", "--claim", "weight-sharing/memory-ratio", "--claim", "score/PIQA", "--json", file)
		if code != exitOK {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		if !strings.Contains(out, "TRUE ONLY FOR THIS CONFIGURATION") || !strings.Contains(out, "conform audit --questions 20 --claim iterative-sparsity") {
			t.Errorf("no verdict with its command in\n%s", out)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		reports[i] = string(data)
	}
	if reports[0] != reports[1] {
		t.Errorf("two runs of one seed differ:\n%s\n%s", reports[0], reports[1])
	}
	types := lines(t, filepath.Join(dir, "0"))
	if len(types["audit"]) != 1 || types["audit"][0]["complete"] != false || len(types["method"]) != 1 || len(types["finding"]) != 3 {
		t.Fatalf("%v", types)
	}
	for i, want := range []audit.Verdict{audit.Conditional, audit.Conditional, audit.Unmeasured} {
		if got := types["finding"][i]["verdict"]; got != string(want) {
			t.Errorf("finding %d is %q, want %q", i, got, want)
		}
	}
}

// dataFolder is a data folder made of the embedded model and its language.
func dataFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	embedded := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("..", "..", "llama", "tiny", name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	write("stories260K/stories260K.bin", embedded("model.bin"))
	write("stories260K/tok512.bin", embedded("tokenizer.bin"))
	write("stories260K_ft/stories260K-ft-gsm8k.bin", embedded("tuned.bin"))
	write("text/tinystories_val_794k.txt", []byte(tiny.Text(7, 700)))
	var solutions, items strings.Builder
	for _, p := range tiny.Variant.Paragraphs(8, 20) {
		question, answer, _ := strings.Cut(p, ". ")
		line, err := json.Marshal(map[string]string{"question": question + ".", "answer": answer})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&solutions, "%s\n", line)
	}
	write("cot/gsm8k_test.jsonl", []byte(solutions.String()))
	paragraphs := tiny.Base.Paragraphs(9, 120)
	for i, p := range paragraphs {
		sentences := strings.SplitAfter(p, ". ")
		other := strings.SplitAfter(paragraphs[(i+1)%len(paragraphs)], ". ")
		line, err := json.Marshal(map[string]any{"query": strings.TrimSpace(sentences[0] + sentences[1]),
			"choices": []string{strings.TrimSpace(sentences[2]), strings.TrimSpace(other[2])}, "gold": 0})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&items, "%s\n", line)
	}
	write("mc/arc_easy.jsonl", []byte(items.String()))
	return dir
}

// A score of a task whose answers the model knows is far from chance, and still no
// score of the page's model.
func TestAuditScoresATask(t *testing.T) {
	dir := dataFolder(t)
	file := filepath.Join(dir, "report")
	code, _, stderr := conform(t, "audit", "--data", dir, "--questions", "5", "--claim", "score/ARC-Easy", "--claim", "score/PIQA", "--json", file)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	types := lines(t, file)
	f := types["finding"][0]
	if f["verdict"] != string(audit.Unmeasured) || f["figure"].(float64) < 90 {
		t.Errorf("%v", f)
	}
	if f := types["finding"][1]; f["verdict"] != string(audit.Unmeasured) || !strings.Contains(f["note"].(string), "piqa.jsonl") {
		t.Errorf("%v", f)
	}
}

// What is bad is one line that names it, and no verdict.
func TestAuditRefusesBadInput(t *testing.T) {
	good := dataFolder(t)
	spoiled := func(name string, change func([]byte) []byte) string {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, change(data), 0o666); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	replace := func(text string) func([]byte) []byte { return func([]byte) []byte { return []byte(text) } }
	half := func(data []byte) []byte { return data[:len(data)/2] }
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--data", filepath.Join(good, "nowhere")}, "--data: want a folder"},
		{[]string{"--model", "x.bin"}, "--data: want a folder"},
		{[]string{"--questions", "0"}, "--questions: want a number from 1"},
		{[]string{"--method", "gptq"}, `method: want one that conform audit --list names, got "gptq"`},
		{[]string{"--claim", "all"}, `claim: want one that conform audit --list names, got "all"`},
		{[]string{"--data", spoiled("stories260K/stories260K.bin", half)}, "stories260K.bin"},
		{[]string{"--data", spoiled("stories260K/tok512.bin", half)}, "tok512.bin"},
		{[]string{"--data", spoiled("text/tinystories_val_794k.txt", replace("One paragraph."))}, "tinystories_val_794k.txt: want 600 paragraphs, got 1"},
		{[]string{"--data", spoiled("cot/gsm8k_test.jsonl", replace(`{"q": "a"}`))}, "gsm8k_test.jsonl, line 1: audit: solution: want the fields question and answer"},
		{[]string{"--data", spoiled("mc/arc_easy.jsonl", replace(`{"query": "a", "choices": ["b", "c"]}`)), "--claim", "score/ARC-Easy"}, "arc_easy.jsonl, line 1"},
		{[]string{"--data", spoiled("traces/mooncake_conversation_trace.jsonl", replace(`{"timestamp": 0}`)), "--claim", "kv-memory-hierarchical"}, "mooncake_conversation_trace.jsonl, line 1"},
		{[]string{"--data", spoiled("traces/AzureLLMInferenceTrace_conv.csv", replace("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6,374,44\n2023-11-16 18:15:45.6,12,4\n")),
			"--claim", "multimodal-batch/waiting"}, "AzureLLMInferenceTrace_conv.csv, line 3"},
		{[]string{"--data", spoiled("traces/AzureLLMInferenceTrace_conv.csv", replace("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6,-1,44\n")),
			"--claim", "multimodal-batch/waiting"}, "AzureLLMInferenceTrace_conv.csv, line 2"},
		{[]string{"--data", spoiled("video/clip_32x16.raw", replace("no whole frame")), "--claim", "video-token-reduction"}, "video/clip_32x16.raw: want"},
		{[]string{"--data", spoiled("images/skimage-coffee.png", replace("\x89PNG\r\n\x1a\n")), "--claim", "embedding-gate/routing"}, "images/skimage-coffee.png: want"},
	} {
		code, out, stderr := conform(t, append([]string{"audit", "--questions", "5"}, c.args...)...)
		if code != exitMisuse || out != "" || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit code %d, %q, %q; want %d, nothing, and a line with %q", c.args, code, out, stderr, exitMisuse, c.want)
		}
	}
}

func TestAuditListsWhatItJudges(t *testing.T) {
	_, out, _ := conform(t, "audit", "--list")
	for _, want := range []string{"method ternary-quant/threshold-0.5\n", "claim  weight-size-ternary\n", "claim  score/HellaSwag\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// Four bits cost something, and the size is said; a method that is not there, or a
// text with nothing to calibrate on, is misuse.
func TestPerplexityAfterAMethod(t *testing.T) {
	dir := dataFolder(t)
	arguments := func(more ...string) []string {
		return append([]string{"perplexity", "--model", filepath.Join(dir, "stories260K", "stories260K.bin"), "--tokenizer", filepath.Join(dir, "stories260K", "tok512.bin"),
			"--text", filepath.Join(dir, "text", "tinystories_val_794k.txt"), "--paragraphs", "20"}, more...)
	}
	last := func(out string) (nll float64) {
		text := strings.Split(strings.TrimSpace(out), "\n")
		var tokens int
		if _, err := fmt.Sscanf(text[len(text)-1], "tokens=%d nll=%f", &tokens, &nll); err != nil {
			t.Errorf("%v in %q", err, out)
		}
		return nll
	}
	_, plain, _ := conform(t, arguments()...)
	code, out, stderr := conform(t, arguments("--method", "gptq-layer/2-bit-row")...)
	if code != exitOK || !strings.Contains(out, "after gptq-layer/2-bit-row: 2.222 bits a weight\n") || last(out) < last(plain)+0.5 {
		t.Errorf("exit code %d, %s, %s; as it is %s", code, out, stderr, plain)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{arguments("--method", "magic"), `method: want one that conform audit --list names, got "magic"`},
		{arguments("--method", "awq-v2/4-bit-group-32", "--float64"), "--float64"},
		{arguments("--method", "awq-v2/4-bit-group-32", "--paragraphs", "0"), "calibration text"},
		{arguments("--method", "delta-compress/rank-1"), "no fine-tune"},
	} {
		if code, out, stderr := conform(t, c.args...); code != exitMisuse || out != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit code %d, %q, %q; want %q", c.args, code, out, stderr, c.want)
		}
	}
}
