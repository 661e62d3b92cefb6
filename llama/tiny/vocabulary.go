package tiny

import (
	"cmp"
	_ "embed"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/squishspec/squishspec/llama"
)

//go:embed tokenizer.bin
var tokenizerBin []byte

// Vocabulary returns the tokenizer of both models.
func Vocabulary() (*llama.Vocabulary, error) {
	return llama.ParseVocabulary("tiny/tokenizer.bin", tokenizerBin)
}

// Of the tokenizer: its size, and what it is made from.
const (
	vocabularySize       = 512
	vocabularySeed       = 1 << 40
	vocabularyParagraphs = 4000
	nameWeight           = 4 // so much more a name counts, so that each is one token
)

// VocabularyBytes makes the tokenizer: llama2.c's 259 first tokens, the characters of
// both grammars, then pieces of words by byte pair encoding of text drawn from Base.
// A piece is scored by minus its rank, so that encoding merges in the order in which
// the merges were found.
func VocabularyBytes() []byte {
	pieces := []string{"<unk>", "\n<s>\n", "\n</s>\n"}
	for b := range 256 {
		pieces = append(pieces, fmt.Sprintf("<0x%02X>", b))
	}
	text := Base.Text(vocabularySeed, vocabularyParagraphs)
	characters := map[rune]bool{}
	for _, c := range text + Variant.Text(vocabularySeed, vocabularyParagraphs) {
		characters[c] = true
	}
	for _, c := range slices.Sorted(maps.Keys(characters)) {
		pieces = append(pieces, string(c))
	}
	pieces = append(pieces, merges(text, vocabularySize-len(pieces))...)

	longest := 0
	for _, p := range pieces {
		longest = max(longest, len(p))
	}
	out := binary.LittleEndian.AppendUint32(nil, uint32(longest))
	for rank, p := range pieces {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(-rank)))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(p)))
		out = append(out, p...)
	}
	return out
}

// merges returns n pieces, each the joined pair that is most frequent after the
// merges before it, the first in the alphabet of equals. A word is letters with the
// space before them; nothing is joined across words.
func merges(text string, n int) []string {
	counts := map[string]int{}
	for word := range strings.FieldsSeq(text) {
		counts[" "+strings.TrimFunc(word, unicode.IsPunct)]++
	}
	for _, name := range Base.names.texts {
		counts[" "+name] *= nameWeight
	}
	words := map[string][]string{} // in pieces
	for word := range counts {
		words[word] = strings.Split(word, "")
	}
	var made []string
	for range n {
		pairs := map[[2]string]int{}
		for word, parts := range words {
			for i := range len(parts) - 1 {
				pairs[[2]string{parts[i], parts[i+1]}] += counts[word]
			}
		}
		best := slices.MaxFunc(slices.Collect(maps.Keys(pairs)), func(a, b [2]string) int {
			return cmp.Or(cmp.Compare(pairs[a], pairs[b]), cmp.Compare(b[0]+" "+b[1], a[0]+" "+a[1]))
		})
		joined := best[0] + best[1]
		made = append(made, joined)
		for word, parts := range words {
			var merged []string
			for i := 0; i < len(parts); i++ {
				if i+1 < len(parts) && parts[i] == best[0] && parts[i+1] == best[1] {
					merged, i = append(merged, joined), i+1
				} else {
					merged = append(merged, parts[i])
				}
			}
			words[word] = merged
		}
	}
	return made
}
