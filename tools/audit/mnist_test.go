package audit

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/fast"
	"github.com/squishspec/squishspec/vision"
	tinyshapes "github.com/squishspec/squishspec/vision/shapes"
)

// packed is a header of big-endian numbers and bytes, as MNIST's files are.
func packed(t *testing.T, data []byte, header ...uint32) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if err := errors.Join(binary.Write(w, binary.BigEndian, header), func() error { _, err := w.Write(data); return err }(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// digitsIn writes drawn shapes as if they were digits.
func digitsIn(t *testing.T, dir string, n int) []vision.Labelled {
	t.Helper()
	var pixels, labels []byte
	drawn := tinyshapes.Draw(5, n)
	for _, d := range drawn {
		pixels, labels = append(pixels, d.Picture.Pix...), append(labels, byte(d.Class))
	}
	spoil(t, dir, dataDigits, packed(t, pixels, 0x803, uint32(n), 28, 28))
	spoil(t, dir, dataDigitLabels, packed(t, labels, 0x801, uint32(n)))
	return drawn
}

func TestReadDigits(t *testing.T) {
	dir := t.TempDir()
	if _, err := readDigits(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	drawn := digitsIn(t, dir, 12)
	got, err := readDigits(dir)
	if err != nil || len(got) != 12 {
		t.Fatal(len(got), err)
	}
	for i, d := range drawn {
		if got[i].Class != d.Class || !slices.Equal(got[i].Picture.Pix, d.Picture.Pix) || got[i].Picture.Rect != d.Picture.Rect || got[i].Picture.Stride != 28 {
			t.Errorf("digit %d is another", i)
		}
	}
}

func TestDigitsAreChecked(t *testing.T) {
	pixels, labels := make([]byte, 12*784), make([]byte, 12)
	for i := range pixels {
		pixels[i] = byte(i * i >> 3) // what does not pack well
	}
	whole := packed(t, pixels, 0x803, 12, 28, 28)
	for _, c := range []struct{ file, data, want string }{
		{dataDigits, "", "a gzip file"},
		{dataDigits, "no gzip file", "a gzip file"},
		{dataDigits, whole[:len(whole)/2], "behind the header"},
		{dataDigits, whole[:len(whole)-4], "behind the header"}, // its sum is cut
		{dataDigits, packed(t, nil, 0x803, 12), "a header of 16 bytes"},
		{dataDigits, packed(t, pixels, 0x801, 12, 28, 28), "magic number 0x00000803"},
		{dataDigits, packed(t, pixels, 0x803, 12, 28, 27), "28×28"},
		{dataDigits, packed(t, pixels, 0x803, 12, 1<<31, 1<<31), "28×28"},
		{dataDigits, packed(t, pixels, 0x803, 1<<32-1, 28, 28), "to 100000 digits"},
		{dataDigits, packed(t, pixels[:784], 0x803, 1, 28, 28), "10 to"},
		{dataDigits, packed(t, pixels[1:], 0x803, 12, 28, 28), "9408 bytes behind the header, got 9407"},
		{dataDigits, packed(t, make([]byte, 1<<20), 0x803, 12, 28, 28), "9408 bytes behind the header, got more"},
		{dataDigitLabels, packed(t, labels, 0x803, 12), "magic number 0x00000801"},
		{dataDigitLabels, packed(t, labels[1:], 0x801, 11), "12 labels"},
		{dataDigitLabels, packed(t, append(labels[1:], 10), 0x801, 12), "label 12: want a digit, got 10"},
	} {
		dir := t.TempDir()
		spoil(t, dir, dataDigits, whole)
		spoil(t, dir, dataDigitLabels, packed(t, labels, 0x801, 12))
		spoil(t, dir, c.file, c.data)
		a := &Audit{Options: Options{Data: dir}}
		f := &Finding{}
		err := imageTokens(context.Background(), a, f)
		refused(t, f, err, c.want)
		if err != nil && !strings.Contains(err.Error(), c.file) {
			t.Errorf("%v, want %s", err, c.file)
		}
	}
}

// A photograph that is none is refused before anything is learnt.
func TestABadPhotographGivesNoVerdict(t *testing.T) {
	a := &Audit{Options: Options{Data: t.TempDir(), Implementation: fast.Implementation()}}
	digitsIn(t, a.Data, 12)
	spoil(t, a.Data, dataImages[2], "no image")
	f := &Finding{}
	refused(t, f, imageTokens(context.Background(), a, f), dataImages[2])
}

// What says it is small is not unpacked any further.
func TestAnEnormousFileIsNotUnpacked(t *testing.T) {
	dir := t.TempDir()
	spoil(t, dir, dataDigits, packed(t, make([]byte, 1<<24), 0x803, 12, 28, 28))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readDigits(dir)
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; err == nil || got > 1<<20 {
		t.Errorf("%v, and %d bytes were allocated", err, got)
	}
}

// The same digits and seed give the same model, and an interrupted one none.
func TestLearningDigitsIsRepeatable(t *testing.T) {
	digits := tinyshapes.Draw(6, 10)
	learn := func(seed uint64) []byte {
		m, err := learnDigits(context.Background(), digits, seed)
		if err != nil {
			t.Fatal(err)
		}
		return m.Bytes()
	}
	if one := learn(1); !bytes.Equal(one, learn(1)) || bytes.Equal(one, learn(2)) {
		t.Error("the seed does not decide what is learnt")
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if _, err := learnDigits(stopped, digits, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Few digits say nothing, nor does a model that knows none.
func TestFewDigitsAndAnUnconvergedModelAreNoJudges(t *testing.T) {
	a := &Audit{Options: Options{Data: t.TempDir(), Seed: 1}}
	a.Implementation = fast.Implementation()
	digitsIn(t, a.Data, 12)
	f := &Finding{}
	if err := imageTokens(context.Background(), a, f); err != nil || f.Verdict != Unmeasured || f.Curve != nil || !strings.Contains(f.Note, "3 digits to judge by; 100 at least") {
		t.Errorf("%v: %+v", err, f)
	}
	model, err := vision.New(digitShape, make([]float32, digitShape.Parameters()))
	if err != nil {
		t.Fatal(err)
	}
	digits, err := readDigits(a.Data)
	if err != nil {
		t.Fatal(err)
	}
	f = &Finding{}
	if err := a.pruneImages(context.Background(), f, model, digits, "digits", photographs{}); err != nil || f.Verdict != Unmeasured || f.Curve != nil || !strings.Contains(f.Note, "hides what pruning costs") {
		t.Errorf("%v: %+v", err, f)
	}
}
