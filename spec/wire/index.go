package wire

import (
	"encoding/binary"
	"io"
	"math"
)

// An Index says where the tensors of a safetensors file are. It serves files that
// are too long for a Frame, as a model's weights are.
type Index struct {
	Metadata map[string]string
	Tensors  []Entry
}

// An Entry is a tensor whose bytes are still in the file.
type Entry struct {
	Name   string
	DType  DType
	Shape  []int
	Offset int64 // from the beginning of the file
	Length int64 // in bytes
}

// ReadIndex reads the header of a file of so many bytes. It checks all that Read
// checks, and that the last tensor ends where the file does, so that whoever
// allocates an entry's length allocates no more than the file has. Shapes are
// bounded as Read bounds them, axis by axis; the tensors by the file alone.
func ReadIndex(r io.ReaderAt, size int64) (*Index, error) {
	var prefix [8]byte
	if n, err := r.ReadAt(prefix[:], 0); n < len(prefix) {
		return nil, truncated("header length", n, len(prefix), err)
	}
	length := binary.LittleEndian.Uint64(prefix[:])
	if length == 0 || length > MaxHeader {
		return nil, format("header length: want 1 to %d, got %d", MaxHeader, length)
	}
	text := make([]byte, length)
	if n, err := r.ReadAt(text, int64(len(prefix))); n < len(text) {
		return nil, truncated("header", n, len(text), err)
	}
	h, err := parseHeader(text)
	if err != nil {
		return nil, err
	}
	end, err := h.size(math.MaxInt, math.MaxInt)
	if err != nil {
		return nil, err
	}
	first := int64(len(prefix) + len(text))
	switch present := size - first; {
	case int64(end) > present:
		return nil, truncated("tensors", int(present), end, io.EOF)
	case int64(end) < present:
		return nil, format("want the end of the file behind %d bytes of tensors, got %d bytes", end, present)
	}
	x := &Index{Metadata: h.metadata}
	for _, t := range h.tensors {
		x.Tensors = append(x.Tensors, Entry{t.name, t.dtype, t.shape, first + int64(t.begin), int64(t.end - t.begin)})
	}
	return x, nil
}
