package llama

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// vocabularyBytes writes a tokenizer.bin.
func vocabularyBytes(pieces []string, scores []float32) []byte {
	longest := 0
	for _, p := range pieces {
		longest = max(longest, len(p))
	}
	out := binary.LittleEndian.AppendUint32(nil, uint32(longest))
	for i, p := range pieces {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(scores[i]))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(p)))
		out = append(out, p...)
	}
	return out
}

// tinyVocabulary has so many tokens: the fixed ones, then characters and pieces of
// a small alphabet, with many equal scores.
func tinyVocabulary(t testing.TB, size int) *Vocabulary {
	t.Helper()
	pieces, scores := []string{"<unk>", "\n<s>\n", "\n</s>\n"}, []float32{0, 0, 0}
	for b := range 256 {
		pieces, scores = append(pieces, fmt.Sprintf("<0x%02X>", b)), append(scores, 0)
	}
	pieces, scores = append(pieces, " ", "a"), append(scores, -100, -100)
	r := rand.New(rand.NewPCG(3, 3))
	for _, p := range []string{"b", "é", "世", " a", "ab", "ba", "aa", "bb", " ab", "aba", "abab", "aab", "éa", "世é", "aaaa", " b", "é世é", "baab", "bbb"} {
		pieces, scores = append(pieces, p), append(scores, float32(-r.IntN(5)))
	}
	v, err := ParseVocabulary("t.bin", vocabularyBytes(pieces[:size], scores[:size]))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// scan is the definition: look for the best pair among all, merge it, look again.
func scan(v *Vocabulary, text string) []int {
	find := func(s string) int { return slices.Index(v.pieces, s) }
	if text == "" {
		return []int{1}
	}
	tokens := []int{find(" ")}
	for bytes := []byte(text); len(bytes) > 0; {
		n := 1
		for ; n < min(4, len(bytes)) && bytes[n] >= 0x80 && bytes[n] < 0xc0; n++ {
		}
		if id := find(string(bytes[:n])); id >= 0 {
			tokens = append(tokens, id)
		} else {
			for _, b := range bytes[:n] {
				tokens = append(tokens, int(b)+3)
			}
		}
		bytes = bytes[n:]
	}
	for {
		best, at, score := -1, -1, float32(-1e10)
		for i := range len(tokens) - 1 {
			if id := find(v.pieces[tokens[i]] + v.pieces[tokens[i+1]]); id >= 0 && v.scores[id] > score {
				best, at, score = id, i, v.scores[id]
			}
		}
		if at < 0 {
			return append([]int{1}, tokens...)
		}
		tokens = slices.Replace(tokens, at, at+2, best)
	}
}

func TestEncodeIsTheScan(t *testing.T) {
	v := tinyVocabulary(t, 280)
	r := rand.New(rand.NewPCG(5, 5))
	alphabet := []string{"a", "a", "a", "b", "b", " ", "é", "世", "x", "\n", "\xa9", "\xff", "🙂", "<0x0A>"}
	for range 2000 {
		var text string
		for range r.IntN(14) {
			text += alphabet[r.IntN(len(alphabet))]
		}
		tokens := v.Encode(text)
		if want := scan(v, text); !slices.Equal(tokens, want) {
			t.Fatalf("%q: got %v, want %v", text, tokens, want)
		}
		back, err := v.Decode(tokens)
		if err != nil || back != text {
			t.Fatalf("%q: decoded %q, %v", text, back, err)
		}
	}
}

func TestDecodeOutside(t *testing.T) {
	v := tinyVocabulary(t, 270)
	for _, token := range []int{-1, 270} {
		if text, err := v.Decode([]int{1, token}); err == nil {
			t.Errorf("%d: %q", token, text)
		}
	}
}

func TestDamagedVocabularies(t *testing.T) {
	v := tinyVocabulary(t, 280)
	data := vocabularyBytes(v.pieces, v.scores)
	ends := map[int]bool{} // where a shorter vocabulary ends
	for i := range v.pieces {
		ends[len(vocabularyBytes(v.pieces[:i], v.scores[:i]))] = i < 259
	}
	for n := range data {
		_, err := ParseVocabulary("t.bin", data[:n])
		if few, end := ends[n]; end && !few {
			if err != nil {
				t.Errorf("%d bytes: %v", n, err)
			}
			continue
		}
		oneLine(t, err, "t.bin: ", "want ")
	}
	set := func(at int, value uint32) []byte {
		changed := slices.Clone(data)
		binary.LittleEndian.PutUint32(changed[at:], value)
		return changed
	}
	_, err := ParseVocabulary("t.bin", set(4, math.Float32bits(float32(math.NaN()))))
	oneLine(t, err, "t.bin: token 0: want a finite score")
	for _, length := range []uint32{9, math.MaxInt32, math.MaxUint32} {
		_, err = ParseVocabulary("t.bin", set(8, length))
		oneLine(t, err, "t.bin: token 0: want at most 7 bytes")
	}
	_, err = LoadVocabulary(filepath.Join(t.TempDir(), "gone.bin"))
	oneLine(t, err, "gone.bin")
}

func FuzzVocabulary(f *testing.F) {
	v := tinyVocabulary(f, 280)
	f.Add(vocabularyBytes(v.pieces, v.scores), "abab é世")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		v, err := ParseVocabulary("t.bin", data)
		if err != nil {
			oneLine(t, err, "t.bin")
			return
		}
		tokens := v.Encode(text)
		if len(text) < 50 && len(data) < 10000 && !slices.ContainsFunc(v.scores, func(s float32) bool { return s <= -1e10 }) && slices.Contains(v.pieces, " ") {
			if want := scan(v, text); !slices.Equal(tokens, want) {
				t.Errorf("%q: got %v, want %v", text, tokens, want)
			}
		}
		if _, err := v.Decode(tokens); err != nil {
			t.Error(err)
		}
	})
}

func TestEncodeOfTheRealVocabularyIsTheScan(t *testing.T) {
	v, err := LoadVocabulary(realData(t, "stories260K", "tok512.bin"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(realData(t, "text", "moby-dick.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range Paragraphs(string(text))[100:130] {
		p = p[:min(len(p), 300)]
		tokens := v.Encode(p)
		if want := scan(v, p); !slices.Equal(tokens, want) {
			t.Errorf("paragraph %d: got %v, want %v", i, tokens, want)
		}
		if back, err := v.Decode(tokens); err != nil || back != p {
			t.Errorf("paragraph %d: decoded %q, %v", i, back, err)
		}
	}
	if v.Size() != 512 || strings.Contains(v.pieces[0], "\x00") {
		t.Errorf("%d tokens", v.Size())
	}
}

// A word behind another text is told from it by one space, whoever puts it there.
func TestAWordIsContinuedBehindASpace(t *testing.T) {
	if got, want := ContinueWord(letters{300}, "ab"), (letters{300}).Encode(" ab")[1:]; !slices.Equal(got, want) {
		t.Errorf("letters: %v, want %v", got, want)
	}
	v := &Vocabulary{pieces: make([]string, 300), scores: make([]float32, 300), ids: map[string]int{" ": 270, "a": 271, "b": 272}}
	if got, want := ContinueWord(v, "ab"), []int{270, 271, 272}; !slices.Equal(got, want) {
		t.Errorf("a vocabulary: %v, want %v", got, want)
	}
}
