package llama

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A Tokenizer turns text into tokens and back.
type Tokenizer interface {
	// Encode begins with the token that begins a text, where there is one.
	Encode(text string) []int
	// Begin returns that token: llama2.c and Llama 3 have one, Qwen2 has none.
	Begin() (token int, ok bool)
	Decode(tokens []int) (string, error)
	// Size is the model's vocabulary. It may have rows that are no token.
	Size() int
}

// Continue encodes a text that stands behind another: without the token that begins
// a text.
func Continue(t Tokenizer, text string) []int {
	tokens := t.Encode(text)
	if _, begins := t.Begin(); begins {
		tokens = tokens[1:]
	}
	return tokens
}

// ContinueWord encodes a text that stands behind another and a space.
func ContinueWord(t Tokenizer, text string) []int {
	if _, ok := t.(*Vocabulary); ok { // which puts a space before every text
		return Continue(t, text)
	}
	return Continue(t, " "+text)
}

// LoadTokenizer loads the tokenizer of a model with so many rows in its embedding:
// a tokenizer.json of Hugging Face where the name ends in .json, else a
// tokenizer.bin of llama2.c. The latter has a token for every row. An embedding of
// the former may be padded with rows that are no token.
func LoadTokenizer(path string, vocabulary int) (Tokenizer, error) {
	if strings.EqualFold(filepath.Ext(path), ".json") {
		return loadByteBPE(path, vocabulary)
	}
	v, err := LoadVocabulary(path)
	if err != nil {
		return nil, err
	}
	if v.Size() != vocabulary {
		return nil, reject(path, "tokens", fmt.Sprintf("the model's %d", vocabulary), v.Size())
	}
	return v, nil
}

// TokenizerBeside returns the path of the tokenizer in a model's folder, or beside
// a model's file: tokenizer.bin, or tokenizer.json where there is no tokenizer.bin.
func TokenizerBeside(model string) (string, error) {
	folder := model
	if info, err := os.Stat(model); err == nil && !info.IsDir() {
		folder = filepath.Dir(model)
	}
	for _, name := range []string{"tokenizer.bin", "tokenizer.json"} {
		path := filepath.Join(folder, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", reject(folder, "tokenizer", "a tokenizer.bin or a tokenizer.json beside the weights", "neither")
}
