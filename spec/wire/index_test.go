package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"
)

func TestIndexFindsWhatReadReads(t *testing.T) {
	frame := &Frame{Metadata: map[string]string{"format": "pt"}, Tensors: []Tensor{
		{"b", F32, []int{2}, []byte("12345678")}, {"a", BF16, []int{1, 3}, []byte("abcdef")}, {"c", U8, []int{0}, nil},
	}}
	data, err := frame.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	index, err := ReadIndex(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	read, err := Read(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if len(index.Tensors) != len(read.Tensors) || index.Metadata["format"] != "pt" {
		t.Fatalf("got %v, want %v", index, read)
	}
	for i, want := range read.Tensors {
		e := index.Tensors[i]
		if e.Name != want.Name || e.DType != want.DType || fmt.Sprint(e.Shape) != fmt.Sprint(want.Shape) ||
			!bytes.Equal(data[e.Offset:e.Offset+e.Length], want.Data) {
			t.Errorf("got %v, want %v", e, want)
		}
	}
	for n := range data {
		if _, err := ReadIndex(bytes.NewReader(data[:n]), int64(n)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut to %d bytes: %v, want io.ErrUnexpectedEOF", n, err)
		}
	}
	longer := append(data, 0)
	if _, err := ReadIndex(bytes.NewReader(longer), int64(len(longer))); !errors.Is(err, ErrFormat) {
		t.Errorf("a byte too many: %v, want ErrFormat", err)
	}
}

func TestIndexRefusesWhatReadRefuses(t *testing.T) {
	for name, data := range malformed {
		_, want := Read(bytes.NewReader(data))
		if want == nil {
			t.Fatalf("%s is well formed", name)
		}
		if _, err := ReadIndex(bytes.NewReader(data), int64(len(data))); err == nil {
			t.Errorf("%s: accepted, Read says %v", name, want)
		}
	}
}

// TestIndexIsNotBoundAsAFrame promises more than a frame holds: the file is what
// is missing, not the right to be so long.
func TestIndexIsNotBoundAsAFrame(t *testing.T) {
	data := blob(fmt.Sprintf(`{"a":{"dtype":"F32","shape":[4096,%d],"data_offsets":[0,%d]}}`, 1<<20, 1<<34))
	size := int64(len(data)) + 1<<34
	index, err := ReadIndex(bytes.NewReader(data), size)
	if err != nil || index.Tensors[0].Length != 1<<34 {
		t.Errorf("got %v, %v", index, err)
	}
	if _, err := ReadIndex(readerAt{iotest.ErrReader(io.ErrNoProgress)}, size); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v, want the reader's own error", err)
	}
}

type readerAt struct{ io.Reader }

func (r readerAt) ReadAt(p []byte, _ int64) (int, error) { return r.Read(p) }
