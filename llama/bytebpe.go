package llama

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/dlclark/regexp2/v2"
	"golang.org/x/text/unicode/norm"

	"github.com/squishspec/squishspec/spec"
)

// A byteBPE is the tokenizer of Llama 3 and Qwen2, as Hugging Face's tokenizer.json
// describes it: byte pair encoding, by a list of merges, of the bytes of words.
type byteBPE struct {
	added  *regexp.Regexp // the added tokens, the longest of those that begin alike; nil without any
	nfc    bool           // the text between them is brought to Unicode's form C
	words  *regexp2.Regexp
	ids    map[string]int // of a piece's bytes
	bytes  [256]int       // the piece that is this byte
	merges map[[2]int]merged
	// whole says that a word that is a piece is that piece, merges or no merges.
	whole  bool
	tokens map[int]string // the bytes of a token
	named  map[string]int // added tokens
	begin  int            // or noToken
	size   int
}

// A merged pair: its place in the list of merges, and the piece that it becomes.
type merged struct{ rank, id int }

const noToken = -1

// wordPatterns are the regular expressions that cut a text into words, Llama 3's and
// Qwen2's, which differ in how long a number may be. A file with another is refused,
// since the dialect that Hugging Face reads is not the one that is read here: of
// these two, it is known that they mean the same. Every character is in a word.
var wordPatterns = []string{
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
}

// compileWords compiles one of them. Without limits of time and stack, matching
// cannot fail, and a word may be of any length.
func compileWords(pattern string) *regexp2.Regexp {
	return regexp2.MustCompile(pattern, regexp2.OptionMaxBacktrackingStackSize(-1))
}

// A tokenizerJSON is what is read of a tokenizer.json.
type tokenizerJSON struct {
	AddedTokens []struct {
		ID         int    `json:"id"`
		Content    string `json:"content"`
		SingleWord bool   `json:"single_word"`
		LStrip     bool   `json:"lstrip"`
		RStrip     bool   `json:"rstrip"`
		Normalized bool   `json:"normalized"`
	} `json:"added_tokens"`
	Normalizer    *component `json:"normalizer"`
	PreTokenizer  *component `json:"pre_tokenizer"`
	PostProcessor *component `json:"post_processor"`
	Model         struct {
		Type         string         `json:"type"`
		Dropout      *float64       `json:"dropout"`
		Prefix       string         `json:"continuing_subword_prefix"`
		Suffix       string         `json:"end_of_word_suffix"`
		ByteFallback bool           `json:"byte_fallback"`
		IgnoreMerges bool           `json:"ignore_merges"`
		Vocabulary   map[string]int `json:"vocab"`
		Merges       []mergeJSON    `json:"merges"`
	} `json:"model"`
}

// A component is a step of a tokenizer: fields of all the kinds that are read.
type component struct {
	Type          string      `json:"type"`
	Normalizers   []component `json:"normalizers"`   // these three of a Sequence
	PreTokenizers []component `json:"pretokenizers"` //
	Processors    []component `json:"processors"`    //

	Pattern struct {
		Regex string
	} `json:"pattern"` // of a Split
	Behavior string `json:"behavior"`
	Invert   bool   `json:"invert"`

	AddPrefixSpace *bool `json:"add_prefix_space"` // of ByteLevel
	UseRegex       *bool `json:"use_regex"`

	Single        []templatePiece         `json:"single"` // of TemplateProcessing
	SpecialTokens map[string]specialToken `json:"special_tokens"`
}

// A templatePiece is a token, or the text.
type templatePiece struct {
	SpecialToken *struct {
		ID string `json:"id"`
	}
	Sequence *struct{}
}

type specialToken struct {
	IDs []int `json:"ids"`
}

// A mergeJSON is two pieces: "a b", or, in newer files, ["a", "b"].
type mergeJSON [2]string

func (m *mergeJSON) UnmarshalJSON(text []byte) error {
	var pieces []string
	if text[0] == '"' {
		var line string
		if err := json.Unmarshal(text, &line); err != nil {
			return err
		}
		pieces = strings.Split(line, " ")
	} else if err := json.Unmarshal(text, &pieces); err != nil {
		return err
	}
	if len(pieces) != 2 {
		return fmt.Errorf("merges: want two pieces each, got %d", len(pieces))
	}
	*m = mergeJSON(pieces)
	return nil
}

// loadByteBPE loads a tokenizer.json for a model with so many rows in its embedding.
func loadByteBPE(path string, vocabulary int) (*byteBPE, error) {
	text, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	return parseByteBPE(path, text, vocabulary)
}

// parseByteBPE reads the text of a tokenizer.json. The name begins its errors.
func parseByteBPE(name string, text []byte, vocabulary int) (*byteBPE, error) {
	var f tokenizerJSON
	if err := parseJSON(name, text, &f); err != nil {
		return nil, err
	}
	b := &byteBPE{
		ids: make(map[string]int, len(f.Model.Vocabulary)), tokens: make(map[int]string, len(f.Model.Vocabulary)),
		merges: make(map[[2]int]merged, len(f.Model.Merges)), whole: f.Model.IgnoreMerges,
		named: map[string]int{}, begin: noToken, size: vocabulary,
	}
	for _, read := range []func(string, *tokenizerJSON) error{b.readSteps, b.readAdded, b.readModel, b.readBegin} {
		if err := read(name, &f); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// readSteps reads what becomes of a text before merges.
func (b *byteBPE) readSteps(path string, f *tokenizerJSON) error {
	m := &f.Model
	switch {
	case m.Type != "BPE":
		return reject(path, "model.type", "BPE", m.Type)
	case m.ByteFallback:
		return reject(path, "model.byte_fallback", "false: of a tokenizer.json, bytes encoded as Llama 3 and Qwen2 do are read; of Llama 2, a tokenizer.bin", true)
	case m.Dropout != nil && *m.Dropout != 0:
		return reject(path, "model.dropout", "none", *m.Dropout)
	case m.Prefix != "" || m.Suffix != "":
		return reject(path, "model.continuing_subword_prefix and end_of_word_suffix", "none", m.Prefix+m.Suffix)
	}
	for _, n := range flat(f.Normalizer, func(c *component) []component { return c.Normalizers }) {
		if n.Type != "NFC" {
			return reject(path, "normalizer", "NFC or none", n.Type)
		}
		b.nfc = true
	}
	steps := flat(f.PreTokenizer, func(c *component) []component { return c.PreTokenizers })
	if len(steps) != 2 || steps[0].Type != "Split" || steps[1].Type != "ByteLevel" {
		var types []string
		for _, s := range steps {
			types = append(types, s.Type)
		}
		return reject(path, "pre_tokenizer", "Split, then ByteLevel", strings.Join(types, ", "))
	}
	split, level := steps[0], steps[1]
	switch {
	case !slices.Contains(wordPatterns, split.Pattern.Regex):
		return reject(path, "pre_tokenizer.pattern", "the regular expression of Llama 3 or of Qwen2", split.Pattern.Regex)
	case split.Behavior != "Isolated" || split.Invert:
		return reject(path, "pre_tokenizer.behavior", "Isolated, not inverted", split.Behavior)
	case or(level.AddPrefixSpace, true) || or(level.UseRegex, true):
		return reject(path, "pre_tokenizer", "ByteLevel with neither add_prefix_space nor use_regex", "one of them")
	}
	b.words = compileWords(split.Pattern.Regex)
	return nil
}

// flat returns a component, or those of a sequence.
func flat(c *component, of func(*component) []component) []component {
	switch {
	case c == nil:
		return nil
	case c.Type == "Sequence":
		return of(c)
	}
	return []component{*c}
}

// readAdded reads the tokens that are found in a text before it is cut into words.
func (b *byteBPE) readAdded(path string, f *tokenizerJSON) error {
	var patterns []string
	for i, t := range f.AddedTokens {
		name := fmt.Sprintf("added_tokens[%d]", i)
		switch {
		case t.Content == "":
			return reject(path, name, "some text", t.Content)
		case t.SingleWord || t.LStrip || t.RStrip || t.Normalized:
			return reject(path, name, "none of single_word, lstrip, rstrip and normalized", t.Content)
		}
		if err := b.add(path, name, t.ID, t.Content); err != nil {
			return err
		}
		b.named[t.Content] = t.ID
		patterns = append(patterns, regexp.QuoteMeta(t.Content))
	}
	if len(patterns) == 0 {
		return nil
	}
	added, err := regexp.Compile(strings.Join(patterns, "|"))
	if err != nil {
		return reject(path, "added_tokens", "fewer of them", err)
	}
	b.added = added
	b.added.Longest()
	return nil
}

// add gives a token its bytes.
func (b *byteBPE) add(path, name string, id int, bytes string) error {
	if id < 0 || id >= b.size {
		return reject(path, name, fmt.Sprintf("an id of the model's vocabulary, 0 to %d", b.size-1), id)
	}
	if other, twice := b.tokens[id]; twice {
		return reject(path, name, fmt.Sprintf("one token of id %d", id), fmt.Sprintf("%q and %q", other, bytes))
	}
	b.tokens[id] = bytes
	return nil
}

// readModel reads pieces and merges. A piece that is an added token too is its text.
func (b *byteBPE) readModel(path string, f *tokenizerJSON) error {
	for _, piece := range slices.Sorted(maps.Keys(f.Model.Vocabulary)) {
		id := f.Model.Vocabulary[piece]
		if same, ok := b.named[piece]; ok && same == id {
			continue
		}
		name := fmt.Sprintf("vocab %.60q", piece)
		bytes, ok := fromAlphabet(piece)
		if !ok {
			return reject(path, name, "characters that stand for bytes", "others")
		}
		if err := b.add(path, name, id, bytes); err != nil {
			return err
		}
		b.ids[bytes] = id
	}
	for i := range b.bytes {
		id, ok := b.ids[string([]byte{byte(i)})]
		if !ok {
			return reject(path, "vocab", fmt.Sprintf("a piece for each byte, %q for 0x%02X", string(byteAlphabet[i]), i), "none")
		}
		b.bytes[i] = id
	}
	for rank, m := range f.Model.Merges {
		var parts [2]int
		whole := ""
		for k, piece := range m {
			bytes, _ := fromAlphabet(piece)
			id, ok := b.ids[bytes]
			if !ok {
				return reject(path, fmt.Sprintf("merges[%d]", rank), "pieces of the vocabulary", fmt.Sprintf("%q", piece))
			}
			parts[k] = id
			whole += bytes
		}
		id, ok := b.ids[whole]
		if !ok {
			return reject(path, fmt.Sprintf("merges[%d]", rank), "two pieces that make one of the vocabulary", fmt.Sprintf("%q", m))
		}
		b.merges[parts] = merged{rank, id}
	}
	return nil
}

// readBegin reads what is put before a text.
func (b *byteBPE) readBegin(path string, f *tokenizerJSON) error {
	for _, p := range flat(f.PostProcessor, func(c *component) []component { return c.Processors }) {
		switch p.Type {
		case "ByteLevel": // moves offsets alone
		case "TemplateProcessing":
			pieces := p.Single
			if len(pieces) == 2 && pieces[0].SpecialToken != nil {
				ids := p.SpecialTokens[pieces[0].SpecialToken.ID].IDs
				if len(ids) != 1 {
					return reject(path, "post_processor.special_tokens", "one token that begins a text", fmt.Sprint(len(ids)))
				}
				if _, ok := b.tokens[ids[0]]; !ok {
					return reject(path, "post_processor.special_tokens", "a token", ids[0])
				}
				b.begin = ids[0]
				pieces = pieces[1:]
			}
			if len(pieces) != 1 || pieces[0].Sequence == nil {
				return reject(path, "post_processor.single", "at most a token, then the text", fmt.Sprintf("%d pieces", len(p.Single)))
			}
		default:
			return reject(path, "post_processor", "ByteLevel or TemplateProcessing", p.Type)
		}
	}
	return nil
}

// Size returns the model's vocabulary.
func (b *byteBPE) Size() int { return b.size }

// Begin returns the token that begins a text.
func (b *byteBPE) Begin() (token int, ok bool) { return b.begin, b.begin != noToken }

// Encode finds the added tokens, the leftmost first and of those the longest. What
// is between them is cut into words, and the bytes of a word are merged: the pair
// that is first in the list of merges, the leftmost of equals, until there is none.
func (b *byteBPE) Encode(text string) []int {
	var tokens []int
	if b.begin != noToken {
		tokens = append(tokens, b.begin)
	}
	if b.added != nil {
		done := 0
		for _, at := range b.added.FindAllStringIndex(text, -1) {
			tokens = append(b.encodeWords(tokens, text[done:at[0]]), b.named[text[at[0]:at[1]]])
			done = at[1]
		}
		text = text[done:]
	}
	return b.encodeWords(tokens, text)
}

// encodeWords appends the tokens of a text without added tokens.
func (b *byteBPE) encodeWords(tokens []int, text string) []int {
	if b.nfc {
		text = norm.NFC.String(text)
	}
	words, err := b.words.FindAllStringIndex(text, -1)
	if err != nil { // there is none: see compileWords
		panic(err)
	}
	for _, at := range words {
		word := text[at[0]:at[1]]
		if id, ok := b.ids[word]; ok && b.whole {
			tokens = append(tokens, id)
			continue
		}
		symbols := make([]int, len(word))
		for i := range symbols {
			symbols[i] = b.bytes[word[i]]
		}
		tokens = append(tokens, merge(symbols, func(left, right int) (id int, score float64, ok bool) {
			m, ok := b.merges[[2]int{left, right}]
			return m.id, -float64(m.rank), ok
		})...)
	}
	return tokens
}

// Decode returns the text of tokens, without the one that begins it.
func (b *byteBPE) Decode(tokens []int) (string, error) {
	var text strings.Builder
	for i, t := range tokens {
		bytes, ok := b.tokens[t]
		if !ok {
			return "", spec.Reject(spec.Range, "llama", fmt.Sprintf("tokens[%d]", i), "a token", t)
		}
		if i > 0 || t != b.begin {
			text.WriteString(bytes)
		}
	}
	return text.String(), nil
}

// byteAlphabet writes bytes as characters that can be seen: those of Latin-1 that
// can stand for themselves, and the rest, in order, for the characters from U+0100.
var byteAlphabet = func() (alphabet [256]rune) {
	next := rune(0x100)
	for b := range rune(256) {
		if b >= '!' && b <= '~' || b >= '¡' && b <= '¬' || b >= '®' {
			alphabet[b] = b
		} else {
			alphabet[b] = next
			next++
		}
	}
	return alphabet
}()

var byteOfCharacter = func() map[rune]byte {
	bytes := map[rune]byte{}
	for b, character := range byteAlphabet {
		bytes[character] = byte(b)
	}
	return bytes
}()

// fromAlphabet returns the bytes of a piece.
func fromAlphabet(piece string) (bytes string, ok bool) {
	text := make([]byte, 0, len(piece))
	for _, character := range piece {
		b, ok := byteOfCharacter[character]
		if !ok {
			return "", false
		}
		text = append(text, b)
	}
	return string(text), true
}
