package llama

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A tokenizerFile is a tokenizer.json that a test writes.
type tokenizerFile map[string]any

// object returns an object in the file, as "model" or "pre_tokenizer.pretokenizers.0".
func (f tokenizerFile) object(path string) map[string]any {
	var at any = map[string]any(f)
	for step := range strings.SplitSeq(path, ".") {
		if list, ok := at.([]any); ok {
			at = list[int(step[0]-'0')]
		} else {
			at = at.(map[string]any)[step]
		}
	}
	return at.(map[string]any)
}

func (f tokenizerFile) bytes(t testing.TB) []byte {
	t.Helper()
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// letterOf is the alphabet as a table of its authors' rule: what is no printable
// character of Latin-1 comes behind U+0100, in order.
func letterOf(b byte) string {
	printable := func(b int) bool { return b >= 33 && b <= 126 || b >= 161 && b <= 172 || b >= 174 }
	if printable(int(b)) {
		return string(rune(b))
	}
	shift := 0
	for i := range int(b) {
		if !printable(i) {
			shift++
		}
	}
	return string(rune(256 + shift))
}

// handMerges are what a tokenizer of English might have learned.
var handMerges = [][2]string{
	{"Ġ", "t"}, {"h", "e"}, {"Ġt", "he"}, {"l", "l"}, {"he", "ll"}, {"hell", "o"}, {"Ġ", "w"}, {"o", "r"}, {"Ġw", "or"}, {"l", "d"},
	{"Ġwor", "ld"}, {"'", "s"}, {"1", "2"}, {"12", "3"}, {"Ċ", "Ċ"}, {"Ġ", "Ġ"}, {"ĠĠ", "ĠĠ"}, {"Ã", "©"}, {"ä", "¸"}, {"ä¸", "ĸ"},
	{"a", "a"}, {"aa", "a"}, {"aa", "aa"}, {"a", "b"}, {"b", "a"}, {"ab", "a"}, {"a", "ba"}, {"b", "b"}, {"Ġ", "a"}, {"Ġa", "b"},
}

// smallTokenizer has the structure of the real files: merges as lines and no BOS
// (Qwen2), or as pairs, every way to make a piece among them, and BOS (Llama 3). Its
// pieces are the bytes in an order of their own, those of the merges, and one that
// no merge makes; then three added tokens.
func smallTokenizer(llama3 bool) tokenizerFile {
	vocabulary := map[string]any{}
	for _, b := range rand.New(rand.NewPCG(1, 2)).Perm(256) {
		vocabulary[letterOf(byte(b))] = len(vocabulary)
	}
	var merges []any
	for _, m := range handMerges {
		if whole := m[0] + m[1]; vocabulary[whole] == nil {
			vocabulary[whole] = len(vocabulary)
		}
		if llama3 {
			merges = append(merges, []any{m[0], m[1]})
		} else {
			merges = append(merges, m[0]+" "+m[1])
		}
	}
	vocabulary["xyz"] = len(vocabulary)
	n := len(vocabulary)
	added := func(id int, content string) map[string]any {
		return map[string]any{"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}
	}
	words, begin := wordPatterns[1], "<|endoftext|>"
	level := func() map[string]any {
		return map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}
	}
	if llama3 {
		words, begin = wordPatterns[0], "<|begin_of_text|>"
	}
	f := tokenizerFile{
		"version": "1.0", "truncation": nil, "padding": nil,
		"added_tokens": []any{added(n, begin), added(n+1, "<|im"), added(n+2, "<|im_start|>")},
		"normalizer":   map[string]any{"type": "NFC"},
		"pre_tokenizer": map[string]any{"type": "Sequence", "pretokenizers": []any{
			map[string]any{"type": "Split", "pattern": map[string]any{"Regex": words}, "behavior": "Isolated", "invert": false}, level(),
		}},
		"post_processor": level(),
		"decoder":        map[string]any{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
		"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": "", "end_of_word_suffix": "",
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": llama3, "vocab": vocabulary, "merges": merges},
	}
	if llama3 {
		f["normalizer"] = nil
		f["post_processor"] = map[string]any{"type": "Sequence", "processors": []any{level(), map[string]any{
			"type":   "TemplateProcessing",
			"single": []any{map[string]any{"SpecialToken": map[string]any{"id": begin, "type_id": 0}}, map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}}},
			"pair":   []any{map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}}, map[string]any{"Sequence": map[string]any{"id": "B", "type_id": 1}}},
			"special_tokens": map[string]any{
				begin: map[string]any{"id": begin, "ids": []any{n}, "tokens": []any{begin}},
			},
		}}}
	}
	return f
}

const smallSize = 320 // more than there are tokens, as Qwen2's embedding is

func eachSmall(t *testing.T, check func(t *testing.T, f tokenizerFile, b *byteBPE)) {
	for name, llama3 := range map[string]bool{"Qwen2": false, "Llama 3": true} {
		t.Run(name, func(t *testing.T) {
			f := smallTokenizer(llama3)
			b, err := parseByteBPE("tokenizer.json", f.bytes(t), smallSize)
			if err != nil {
				t.Fatal(err)
			}
			check(t, f, b)
		})
	}
}

// texts returns what the tokens stand for, one by one.
func (b *byteBPE) texts(ids []int) (texts []string) {
	for _, id := range ids {
		texts = append(texts, b.tokens[id])
	}
	return texts
}

func TestByteBPEByHand(t *testing.T) {
	eachSmall(t, func(t *testing.T, f tokenizerFile, b *byteBPE) {
		_, llama3 := b.Begin()
		for _, c := range []struct {
			text          string
			qwen2, llama3 []string // nil: as Qwen2
		}{
			{"", nil, nil},
			{"hello world", []string{"hello", " world"}, nil},
			{"the the", []string{"t", "he", " the"}, nil},
			{"hello's", []string{"hello", "'s"}, nil},
			{"hello'S", []string{"hello", "'", "S"}, nil},
			{"1234", []string{"1", "2", "3", "4"}, []string{"123", "4"}},
			{"a\n\n\nb", []string{"a", "\n\n", "\n", "b"}, nil},
			{"a     b", []string{"a", "    ", " ", "b"}, nil},
			{"a   ab", []string{"a", "  ", " ", "ab"}, []string{"a", "  ", " ab"}}, // ab is before " a" in the list, and " ab" a piece
			{"aaaaa", []string{"aa", "aaa"}, nil},                                  // aa twice, from the left; then aaa is before aaaa
			{"世é", []string{"世", "é"}, nil},
			{"丗", []string{"\xe4\xb8", "\x97"}, nil},
			{"e\u0301", []string{"é"}, []string{"e", "\xcc", "\x81"}},
			{"xyz", []string{"x", "y", "z"}, []string{"xyz"}},
			{"xyzx", []string{"x", "y", "z", "x"}, nil},
			{"hello<|im_start|>hello", []string{"hello", "<|im_start|>", "hello"}, nil},
			{"hell<|imo", []string{"hell", "<|im", "o"}, nil},
		} {
			want := c.qwen2
			if llama3 {
				if c.llama3 != nil {
					want = c.llama3
				}
				want = append([]string{"<|begin_of_text|>"}, want...)
			}
			if got := b.texts(b.Encode(c.text)); !slices.Equal(got, want) {
				t.Errorf("%q: got %q, want %q", c.text, got, want)
			}
		}
		if b.Size() != smallSize {
			t.Errorf("size %d, want %d", b.Size(), smallSize)
		}
		if got := b.texts(Continue(b, "hello")); !slices.Equal(got, []string{"hello"}) {
			t.Errorf("behind another text, hello is %q", got)
		}
		if token, ok := b.Begin(); ok && b.tokens[token] != "<|begin_of_text|>" {
			t.Errorf("a text begins with %q", b.tokens[token])
		}
		for _, token := range []int{-1, smallSize - 1, smallSize} {
			if text, err := b.Decode([]int{0, token}); err == nil {
				t.Errorf("token %d is %q", token, text)
			}
		}
	})
}

// oracleWords cuts a text by the rules in words, not by a regular expression.
func oracleWords(text string, digits int) (words []string) {
	r := []rune(text)
	letter := func(i int) bool { return i < len(r) && unicode.IsLetter(r[i]) }
	number := func(i int) bool { return i < len(r) && unicode.IsNumber(r[i]) }
	space := func(i int) bool { return i < len(r) && unicode.IsSpace(r[i]) }
	newline := func(i int) bool { return i < len(r) && (r[i] == '\r' || r[i] == '\n') }
	other := func(i int) bool { return i < len(r) && !letter(i) && !number(i) && !space(i) }
	run := func(i int, is func(int) bool) int {
		for is(i) {
			i++
		}
		return i
	}
	contraction := func(i int) int {
		for _, c := range []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"} {
			if n := len(c); i+n <= len(r) && strings.EqualFold(string(r[i:i+n]), c) {
				return i + n
			}
		}
		return i
	}
	for i := 0; i < len(r); {
		end := contraction(i)
		if end == i {
			switch blanks := run(i, space); {
			case letter(i):
				end = run(i, letter)
			case !number(i) && !newline(i) && letter(i+1):
				end = run(i+1, letter)
			case number(i):
				end = min(run(i, number), i+digits)
			case other(i):
				end = run(run(i, other), newline)
			case r[i] == ' ' && other(i+1):
				end = run(run(i+1, other), newline)
			default: // white space up to the last newline; or but for the last one before a word
				end = blanks
				for end > i && !newline(end-1) {
					end--
				}
				if end == i {
					end = blanks
					if blanks < len(r) && blanks-i > 1 {
						end--
					}
				}
			}
		}
		words = append(words, string(r[i:end]))
		i = end
	}
	return words
}

// oracleEncode takes the file by its word: added tokens by looking at every place,
// merges by looking at the whole list for every one.
func oracleEncode(f tokenizerFile, text string) (tokens []int) {
	_, llama3 := f["post_processor"].(map[string]any)["processors"]
	model := f.object("model")
	vocabulary := model["vocab"].(map[string]any)
	digits := 1
	if llama3 {
		digits = 3
		tokens = append(tokens, f["added_tokens"].([]any)[0].(map[string]any)["id"].(int))
	}
	plain := func(text string) {
		if !llama3 {
			text = norm.NFC.String(text)
		}
		for _, word := range oracleWords(text, digits) {
			var parts []string
			whole := ""
			for _, b := range []byte(word) {
				parts = append(parts, letterOf(b))
				whole += letterOf(b)
			}
			if id, ok := vocabulary[whole]; ok && llama3 {
				tokens = append(tokens, id.(int))
				continue
			}
			for again := true; again; {
				again = false
				for _, m := range handMerges {
					for i := range len(parts) - 1 {
						if parts[i] == m[0] && parts[i+1] == m[1] {
							parts = slices.Replace(parts, i, i+2, m[0]+m[1])
							again = true
							break
						}
					}
					if again {
						break
					}
				}
			}
			for _, p := range parts {
				tokens = append(tokens, vocabulary[p].(int))
			}
		}
	}
	from := 0
	for i := 0; i < len(text); {
		id, longest := 0, ""
		for _, a := range f["added_tokens"].([]any) {
			token := a.(map[string]any)
			if c := token["content"].(string); strings.HasPrefix(text[i:], c) && len(c) > len(longest) {
				id, longest = token["id"].(int), c
			}
		}
		if longest == "" {
			i++
			continue
		}
		plain(text[from:i])
		tokens = append(tokens, id)
		i += len(longest)
		from = i
	}
	plain(text[from:])
	return tokens
}

func TestByteBPEIsTheFileTakenByItsWord(t *testing.T) {
	alphabet := []string{"a", "a", "a", "b", "b", " ", " ", "  ", "\n", "\r\n", "\t", "'", "'s", "'LL", "'\u017f", "the", "hello", " world", "xyz", "1", "2", "3", "½", "٣",
		"é", "e", "\u0301", "世", "丗", "🙂", "\u00a0", "\u2028", "\u3000", "\u0085", ".", ",", "!?", "_", "<|im", "_start|>", "<|", "|>", "<|endoftext|>", "<|begin_of_text|>", "K", "ſ", "\x00", "\ufeff", "\u200b"}
	eachSmall(t, func(t *testing.T, f tokenizerFile, b *byteBPE) {
		r := rand.New(rand.NewPCG(11, 12))
		for range 4000 {
			var text string
			for range r.IntN(16) {
				text += alphabet[r.IntN(len(alphabet))]
			}
			tokens := b.Encode(text)
			if want := oracleEncode(f, text); !slices.Equal(tokens, want) {
				t.Fatalf("%q: got %q, want %q", text, b.texts(tokens), b.texts(want))
			}
			back, err := b.Decode(tokens)
			if same := back == text || b.nfc && norm.NFC.String(back) == norm.NFC.String(text); err != nil || !same {
				t.Fatalf("%q: decoded %q, %v", text, back, err)
			}
		}
		if b.nfc {
			return
		}
		for range 1000 { // not UTF-8
			text := make([]byte, r.IntN(12))
			for i := range text {
				text[i] = byte(r.Uint32())
			}
			if back, err := b.Decode(b.Encode(string(text))); err != nil || back != string(text) {
				t.Fatalf("%q: decoded %q, %v", text, back, err)
			}
		}
	})
}

// TestWordsOfEveryCharacter puts every character between letters, digits and spaces.
func TestWordsOfEveryCharacter(t *testing.T) {
	for i, digits := range []int{3, 1} {
		pattern := compileWords(wordPatterns[i])
		var text strings.Builder
		compare := func() {
			all := text.String()
			text.Reset()
			got, err := pattern.FindAllStringIndex(all, -1)
			if err != nil {
				t.Fatal(err)
			}
			words := oracleWords(all, digits)
			for i, at := range got {
				if i >= len(words) || all[at[0]:at[1]] != words[i] {
					t.Fatalf("word %d: got %q, want %q of %q", i, all[at[0]:at[1]], words[min(i, len(words)-1)], all[max(0, at[0]-20):min(len(all), at[1]+20)])
				}
			}
			if len(got) != len(words) {
				t.Fatalf("%d words, want %d", len(got), len(words))
			}
		}
		for c := range rune(unicode.MaxRune + 1) {
			if c >= 0xd800 && c < 0xe000 || c >= 0x20000 && c%4096 != 0 {
				continue // surrogates, and planes of one kind
			}
			fmt.Fprintf(&text, "a%c1%c %c", c, c, c)
			if text.Len() > 1<<14 {
				compare()
			}
		}
		compare()
	}
}

// TestLongWords would not end where a word took steps that grow with its square.
func TestLongWords(t *testing.T) {
	eachSmall(t, func(t *testing.T, _ tokenizerFile, b *byteBPE) {
		for _, c := range []string{"a", " ", "!", "é"} {
			text := strings.Repeat(c, 200_000/len(c))
			if back, err := b.Decode(b.Encode(text)); err != nil || back != text {
				t.Errorf("%d of %q: %v", len(text), c, err)
			}
		}
	})
}

func TestDamagedTokenizerFiles(t *testing.T) {
	set := func(path, key string, value any) func(tokenizerFile) {
		return func(f tokenizerFile) { f.object(path)[key] = value }
	}
	put := func(key string, value any) func(tokenizerFile) { return func(f tokenizerFile) { f[key] = value } }
	const split, level, template = "pre_tokenizer.pretokenizers.0", "pre_tokenizer.pretokenizers.1", "post_processor.processors.1"
	for _, d := range []struct {
		what   string
		damage func(tokenizerFile)
		want   string
	}{
		{"another model", set("model", "type", "Unigram"), "model.type: want BPE, got Unigram"},
		{"Llama 2's", set("model", "byte_fallback", true), "model.byte_fallback: want false: of a tokenizer.json, bytes encoded as Llama 3 and Qwen2 do are read; of Llama 2, a tokenizer.bin"},
		{"dropout", set("model", "dropout", 0.1), "model.dropout: want none, got 0.1"},
		{"suffix", set("model", "end_of_word_suffix", "</w>"), "end_of_word_suffix: want none, got </w>"},
		{"normaliser", put("normalizer", map[string]any{"type": "Prepend"}), "normalizer: want NFC or none, got Prepend"},
		{"normalisers", put("normalizer", map[string]any{"type": "Sequence", "normalizers": []any{map[string]any{"type": "NFKC"}}}), "normalizer: want NFC or none, got NFKC"},
		{"no words", put("pre_tokenizer", nil), `pre_tokenizer: want Split, then ByteLevel, got ""`},
		{"GPT-2's words", put("pre_tokenizer", map[string]any{"type": "ByteLevel", "add_prefix_space": false}), "pre_tokenizer: want Split, then ByteLevel, got ByteLevel"},
		{"another pattern", set(split, "pattern", map[string]any{"Regex": `(x+x+)+y`}), "pre_tokenizer.pattern: want the regular expression of Llama 3 or of Qwen2, got (x+x+)+y"},
		{"a pattern that is a string", set(split, "pattern", map[string]any{"String": " "}), "pre_tokenizer.pattern: want"},
		{"matches removed", set(split, "behavior", "Removed"), "pre_tokenizer.behavior: want Isolated, not inverted, got Removed"},
		{"inverted", set(split, "invert", true), "pre_tokenizer.behavior: want Isolated, not inverted"},
		{"a space before", set(level, "add_prefix_space", true), "pre_tokenizer: want ByteLevel with neither add_prefix_space nor use_regex"},
		{"GPT-2's words after", set(level, "use_regex", true), "pre_tokenizer: want ByteLevel with neither"},
		{"an unknown step at the end", set(template, "type", "RobertaProcessing"), "post_processor: want ByteLevel or TemplateProcessing, got RobertaProcessing"},
		{"EOS", func(f tokenizerFile) {
			single := f.object(template)["single"].([]any)
			f.object(template)["single"] = append(single, single[0])
		}, "post_processor.single: want at most a token, then the text, got 3 pieces"},
		{"no text", func(f tokenizerFile) { f.object(template)["single"] = []any{} }, "post_processor.single: want at most a token, then the text, got 0 pieces"},
		{"BOS that is not there", set(template, "special_tokens", map[string]any{}), "post_processor.special_tokens: want one token that begins a text, got 0"},
		{"BOS of no token", set(template, "special_tokens", map[string]any{"<|begin_of_text|>": map[string]any{"ids": []any{319}}}), "post_processor.special_tokens: want a token, got 319"},
		{"empty added token", set("added_tokens.1", "content", ""), "added_tokens[1]: want some text"},
		{"stripping", set("added_tokens.1", "rstrip", true), "added_tokens[1]: want none of single_word"},
		{"normalised", set("added_tokens.1", "normalized", true), "added_tokens[1]: want none of single_word"},
		{"an id twice", set("added_tokens.1", "id", 286), `want one token of id 286, got "<|begin_of_text|>" and "<|im"`},
		{"an id of a piece", set("added_tokens.1", "id", 7), "want one token of id 7, got"},
		{"an id that is no row", set("added_tokens.2", "id", smallSize), "added_tokens[2]: want an id of the model's vocabulary, 0 to 319, got 320"},
		{"a negative id", set("added_tokens.2", "id", -1), "added_tokens[2]: want an id"},
		{"a huge id", set("model.vocab", "xyz", 1<<40), `vocab "xyz": want an id of the model's vocabulary`},
		{"a piece of no bytes", set("model.vocab", "x\nz", 300), `vocab "x\nz": want characters that stand for bytes`},
		{"no byte", func(f tokenizerFile) { delete(f.object("model.vocab"), "Ġ") }, `vocab: want a piece for each byte, "Ġ" for 0x20, got none`},
		{"a merge of no piece", set("model", "merges", []any{"a a", "a q\u2581"}), `merges[1]: want pieces of the vocabulary, got "q▁"`},
		{"a merge that makes none", set("model", "merges", []any{"a a", []any{"q", "q"}}), `merges[1]: want two pieces that make one of the vocabulary, got ["q" "q"]`},
		{"a merge of three", set("model", "merges", []any{"a a a"}), "merges: want two pieces each, got 3"},
		{"a merge of a number", set("model", "merges", []any{5}), "cannot unmarshal number"},
		{"vocabulary of a wrong type", set("model", "vocab", []any{}), "model.vocab"},
		{"nothing", func(f tokenizerFile) { clear(f) }, `model.type: want BPE, got ""`},
	} {
		t.Run(d.what, func(t *testing.T) {
			f := smallTokenizer(true)
			d.damage(f)
			path := filepath.Join(t.TempDir(), "tokenizer.json")
			if err := os.WriteFile(path, f.bytes(t), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := LoadTokenizer(path, smallSize)
			oneLine(t, err, path+": ", d.want)
		})
	}
	whole := smallTokenizer(false).bytes(t)
	for n := 0; n < len(whole); n += 97 {
		_, err := parseByteBPE("tokenizer.json", whole[:n], smallSize)
		oneLine(t, err, "tokenizer.json: ")
	}
	_, err := parseByteBPE("tokenizer.json", whole, 288) // the added tokens are not in the model
	oneLine(t, err, "tokenizer.json: added_tokens[2]: want an id of the model's vocabulary, 0 to 287, got 288")
}

func TestTokenizerBesideTheWeights(t *testing.T) {
	dir := t.TempDir()
	weights := filepath.Join(dir, "m.bin")
	for _, step := range []struct{ file, want string }{
		{"m.bin", ""}, {"tokenizer.json", "tokenizer.json"}, {"tokenizer.bin", "tokenizer.bin"},
	} {
		if err := os.WriteFile(filepath.Join(dir, step.file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, model := range []string{dir, weights} {
			path, err := TokenizerBeside(model)
			if step.want == "" {
				oneLine(t, err, dir+": tokenizer: want a tokenizer.bin or a tokenizer.json beside the weights")
			} else if err != nil || path != filepath.Join(dir, step.want) {
				t.Errorf("%s: got %s, %v, want %s", model, path, err, step.want)
			}
		}
	}
	v := tinyVocabulary(t, 270)
	path := filepath.Join(dir, "tokenizer.bin")
	if err := os.WriteFile(path, vocabularyBytes(v.pieces, v.scores), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadTokenizer(path, 270); err != nil || got.Size() != 270 {
		t.Errorf("%v, %v", got, err)
	}
	for _, other := range []int{269, 271} {
		_, err := LoadTokenizer(path, other)
		oneLine(t, err, path, fmt.Sprintf("tokens: want the model's %d, got 270", other))
	}
	if begin, ok := v.Begin(); !ok || begin != v.Encode("")[0] {
		t.Errorf("a text begins with %d, %t", begin, ok)
	}
}

// FuzzTokenizerJSON: whatever the file, an error of one line, or a tokenizer whose
// tokens are the text.
func FuzzTokenizerJSON(f *testing.F) {
	for _, llama3 := range []bool{false, true} {
		file := smallTokenizer(llama3)
		file["normalizer"] = nil
		f.Add(file.bytes(f), "hello<|im_start|> world's 世é \xff")
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		b, err := parseByteBPE("tokenizer.json", data, smallSize)
		if err != nil {
			oneLine(t, err, "tokenizer.json: ")
			return
		}
		tokens := b.Encode(text)
		for _, id := range tokens {
			if id < 0 || id >= smallSize {
				t.Fatalf("token %d", id)
			}
		}
		back, err := b.Decode(tokens)
		if err != nil || !b.nfc && back != text {
			t.Fatalf("%q: decoded %q, %v", text, back, err)
		}
	})
}
