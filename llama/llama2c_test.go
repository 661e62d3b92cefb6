package llama

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func read2C(data []byte) (*Model, error) {
	return ReadLlama2C("m.bin", bytes.NewReader(data), int64(len(data)))
}

// llama2CTiny are the names of the configs that llama2.c's files can hold.
var llama2CTiny = []string{"llama2.c", "llama2.c, one KV head, head of its own"}

func TestLlama2CFileGivesTheSameModel(t *testing.T) {
	for _, name := range llama2CTiny {
		m := tiny(t, tinyConfigs[name])
		path := filepath.Join(t.TempDir(), "m.bin")
		if err := os.WriteFile(path, llama2CBytes(m), 0o644); err != nil {
			t.Fatal(err)
		}
		read, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if read.Config != m.Config {
			t.Errorf("%s: got %+v, want %+v", name, read.Config, m.Config)
		}
		tokens := someTokens(m.Config, 20)
		if d := distance(allLogits[float32](t, read, tokens), allLogits[float32](t, m, tokens)); d != 0 {
			t.Errorf("%s: logits differ by %g", name, d)
		}
	}
}

// oneLine checks that an error is one line of this package with these words in it.
func oneLine(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("accepted, want an error of %q", words)
		return
	}
	text := err.Error()
	if !strings.HasPrefix(text, "llama: ") || strings.Contains(text, "\n") {
		t.Errorf("want a line of package llama, got %q", text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("want %q in %q", w, text)
		}
	}
}

func TestDamagedLlama2CFiles(t *testing.T) {
	data := llama2CBytes(tiny(t, tinyConfigs["llama2.c"]))
	for n := range len(data) {
		if n > 40 && n%997 != 0 {
			continue
		}
		_, err := read2C(data[:n])
		if n < 28 {
			oneLine(t, err, "m.bin: header: want 28 bytes")
		} else {
			oneLine(t, err, "m.bin: size: want the ", " bytes that its header asks for, got ")
		}
	}
	_, err := read2C(append(slices.Clone(data), 0))
	oneLine(t, err, "m.bin: size")

	set := func(at int, value uint32) []byte {
		changed := slices.Clone(data)
		binary.LittleEndian.PutUint32(changed[at:], value)
		return changed
	}
	for i := range 7 {
		for _, value := range []int32{0, -1, 1, 7, 1 << 20, math.MaxInt32, math.MinInt32} {
			_, err := read2C(set(4*i, uint32(value)))
			oneLine(t, err, "m.bin: ", "want ", "got ")
		}
	}
	_, err = read2C(set(0, llama2CMagic))
	oneLine(t, err, "m.bin: format: want llama2.c's first one")

	for _, damage := range []struct {
		at   int // in float32s behind the header
		name string
	}{
		{0, "token_embedding_table: element 0"}, {300*12 + 12, "rms_att_weight[1]: element 0"},
		{300*12 + 2*12 + 144, "wq[1]: element 0"}, {300*12 + 2*12 + 2*144 + 2*72 + 1, "wv[0]: element 1"},
	} {
		for _, value := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			_, err := read2C(set(28+4*damage.at, math.Float32bits(float32(value))))
			oneLine(t, err, "m.bin: "+damage.name+": want a finite number")
		}
	}

	_, err = Load(filepath.Join(t.TempDir(), "missing.bin"))
	oneLine(t, err, "missing.bin")
	broken := errors.New("the disk is broken")
	_, err = ReadLlama2C("m.bin", failing{bytes.NewReader(data), 5000, broken}, int64(len(data)))
	if oneLine(t, err, "m.bin: "); !errors.Is(err, broken) {
		t.Errorf("got %v, want the reader's error in it", err)
	}
	_, err = ReadLlama2C("m.bin", failing{bytes.NewReader(data), 0, broken}, int64(len(data)))
	if oneLine(t, err, "m.bin: header"); !errors.Is(err, broken) {
		t.Errorf("got %v, want the reader's error in it", err)
	}
	_, err = ReadLlama2C("m.bin", bytes.NewReader(data[:9000]), int64(len(data))) // cut since its size was asked for
	if oneLine(t, err, "m.bin: ", "bytes"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want io.ErrUnexpectedEOF in it", err)
	}
}

// A failing reader fails from an offset on.
type failing struct {
	io.ReaderAt
	from int64
	err  error
}

func (f failing) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > f.from {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(p, at)
}

// FuzzLlama2C: whatever the bytes, an error or a model that runs.
func FuzzLlama2C(f *testing.F) {
	for _, name := range llama2CTiny {
		f.Add(llama2CBytes(tiny(f, tinyConfigs[name])))
	}
	f.Add([]byte("24ka"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := read2C(data)
		if err != nil {
			oneLine(t, err, "m.bin")
			return
		}
		runs(t, m)
	})
}

// runs feeds a loaded model two tokens; not finite scores are an error, no panic.
func runs(t *testing.T, m *Model) {
	s, err := NewSession[float32](m)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Extend(0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Score([]int{m.Config.Vocab - 1}); err != nil && m.Config.Context > 1 && spec.KindOf(err) != spec.Invalid {
		t.Fatal(err)
	}
}
