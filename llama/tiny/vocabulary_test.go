package tiny

import (
	"bytes"
	"testing"

	"github.com/squishspec/squishspec/llama"
)

func vocabulary(t *testing.T) *llama.Vocabulary {
	t.Helper()
	v, err := Vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTheTokenizerIsWhatTheGrammarMakes(t *testing.T) {
	if !bytes.Equal(tokenizerBin, VocabularyBytes()) {
		t.Error("tokenizer.bin is another: go run ./tools/tinylm writes it, and trains a model for it")
	}
}

// TestNoByteStandsForACharacter: the first 259 tokens are unknown, begin, end, and
// the bytes.
func TestNoByteStandsForACharacter(t *testing.T) {
	v := vocabulary(t)
	if v.Size() != 512 {
		t.Errorf("%d tokens", v.Size())
	}
	for name, g := range grammars {
		text := g.Text(7, 300)
		tokens := v.Encode(text)
		for i, token := range tokens[1:] {
			if token < 259 {
				t.Fatalf("%s: token %d is %d", name, i, token)
			}
		}
		if back, err := v.Decode(tokens); err != nil || back != text {
			t.Errorf("%s: decoded to another text, %v", name, err)
		}
	}
}
