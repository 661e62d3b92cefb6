package llama

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/squishspec/squishspec/spec"
)

// A Vocabulary is llama2.c's tokenizer: byte pair encoding by scores.
type Vocabulary struct {
	pieces []string
	scores []float32
	ids    map[string]int // the first of equal pieces
}

// llama2.c's first tokens: unknown, begin, end, then the 256 bytes.
const (
	bos       = 1
	firstByte = 3
)

// LoadVocabulary loads a tokenizer.bin: an int32, the length of the longest piece,
// then of each token a float32 score, an int32 length, and its bytes.
func LoadVocabulary(path string) (*Vocabulary, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("llama: %w", err)
	}
	return ParseVocabulary(path, data)
}

// ParseVocabulary reads the bytes of a tokenizer.bin. The name begins its errors.
func ParseVocabulary(name string, data []byte) (*Vocabulary, error) {
	if len(data) < 4 {
		return nil, reject(name, "header", "4 bytes", len(data))
	}
	longest := binary.LittleEndian.Uint32(data)
	v := &Vocabulary{ids: map[string]int{}}
	for data = data[4:]; len(data) > 0; {
		token := fmt.Sprintf("token %d", len(v.pieces))
		if len(data) < 8 {
			return nil, reject(name, token, "8 bytes of score and length", len(data))
		}
		score, length := math.Float32frombits(binary.LittleEndian.Uint32(data)), binary.LittleEndian.Uint32(data[4:])
		data = data[8:]
		switch {
		case math.IsNaN(float64(score)) || math.IsInf(float64(score), 0):
			return nil, reject(name, token, "a finite score", score)
		case length > longest:
			return nil, reject(name, token, fmt.Sprintf("at most %d bytes, which the header calls the longest", longest), length)
		case uint64(length) > uint64(len(data)):
			return nil, reject(name, token, fmt.Sprintf("%d bytes", length), len(data))
		}
		piece := string(data[:length])
		data = data[length:]
		if _, twice := v.ids[piece]; !twice {
			v.ids[piece] = len(v.pieces)
		}
		v.pieces, v.scores = append(v.pieces, piece), append(v.scores, score)
	}
	if least := firstByte + 256; len(v.pieces) < least {
		return nil, reject(name, "tokens", fmt.Sprintf("at least %d, the bytes among them", least), len(v.pieces))
	}
	return v, nil
}

// Size returns the number of tokens.
func (v *Vocabulary) Size() int { return len(v.pieces) }

// Begin returns BOS.
func (v *Vocabulary) Begin() (token int, ok bool) { return bos, true }

// Encode begins with BOS and a space, then the characters, one that is no piece as
// its bytes. Of all neighbours whose joined piece is one, those with the best score
// are merged, the leftmost of equals, until there are none.
func (v *Vocabulary) Encode(text string) []int {
	tokens := []int{bos}
	if text == "" {
		return tokens
	}
	var symbols []int
	appendCharacter := func(c string) {
		if id, ok := v.ids[c]; ok {
			symbols = append(symbols, id)
			return
		}
		for i := range len(c) {
			symbols = append(symbols, int(c[i])+firstByte)
		}
	}
	appendCharacter(" ")
	// A character is a byte and up to three continuation bytes, in valid UTF-8 and else.
	for len(text) > 0 {
		n := 1
		for n < len(text) && n < 4 && text[n]&0xc0 == 0x80 {
			n++
		}
		appendCharacter(text[:n])
		text = text[n:]
	}

	var joined []byte
	return append(tokens, merge(symbols, func(a, b int) (id int, score float64, ok bool) {
		joined = append(append(joined[:0], v.pieces[a]...), v.pieces[b]...)
		if id, ok = v.ids[string(joined)]; ok {
			score = float64(v.scores[id])
		}
		return id, score, ok
	})...)
}

// Decode returns the text of tokens: <0x0A> is that byte, and a space behind BOS,
// which Encode puts there, is left out.
func (v *Vocabulary) Decode(tokens []int) (string, error) {
	var text strings.Builder
	for i, t := range tokens {
		if t < 0 || t >= len(v.pieces) {
			return "", spec.Reject(spec.Range, "llama", fmt.Sprintf("tokens[%d]", i), fmt.Sprintf("0 to %d", len(v.pieces)-1), t)
		}
		switch piece := v.pieces[t]; {
		case t == bos:
		case t >= firstByte && t < firstByte+256:
			text.WriteByte(byte(t - firstByte))
		case i > 0 && tokens[i-1] == bos:
			text.WriteString(strings.TrimPrefix(piece, " "))
		default:
			text.WriteString(piece)
		}
	}
	return text.String(), nil
}
