package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// A header and a frame are at most this long, in bytes. Both bounds are checked
// before anything is allocated.
const (
	MaxHeader = 1 << 20
	MaxFrame  = 1 << 30
)

// ErrFormat is what is wrong with bytes that are no frame: errors.Is finds it.
// A frame that ends too early is io.ErrUnexpectedEOF instead.
var ErrFormat = errors.New("not a frame")

// A Frame is a safetensors blob.
type Frame struct {
	Metadata map[string]string
	Tensors  []Tensor
}

// A Tensor is a named array, row-major and little-endian.
type Tensor struct {
	Name  string
	DType DType
	Shape []int // [] is a scalar
	Data  []byte
}

// A DType is the type of a tensor's elements.
type DType string

const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
	I64  DType = "I64"
	I32  DType = "I32"
	I16  DType = "I16"
	I8   DType = "I8"
	U8   DType = "U8"
	Bool DType = "BOOL"
)

// Size returns the bytes of an element, 0 for a dtype that does not exist.
func (d DType) Size() int {
	switch d {
	case F64, I64:
		return 8
	case F32, I32:
		return 4
	case F16, BF16, I16:
		return 2
	case I8, U8, Bool:
		return 1
	}
	return 0
}

// byteLength returns the bytes that a shape takes, and whether they are at most
// so many. The axes of an empty tensor are bounded as if its empty ones were not
// there, so that no product of some of them overflows.
func byteLength(d DType, shape []int, most int) (int, bool) {
	span, empty := d.Size(), false
	for _, n := range shape {
		switch {
		case n < 0 || n > 0 && span > most/n:
			return 0, false
		case n == 0:
			empty = true
		default:
			span *= n
		}
	}
	if empty {
		return 0, true
	}
	return span, true
}

// Read reads one frame and not a byte more. It returns io.EOF where there is not
// a single byte, an error that is io.ErrUnexpectedEOF and says how much of what
// came where the frame ends too early, and one that is ErrFormat where it is no
// frame.
func Read(r io.Reader) (*Frame, error) {
	var prefix [8]byte
	if n, err := io.ReadFull(r, prefix[:]); err != nil {
		if err == io.EOF { // as ReadFull says where there is not a single byte
			return nil, err
		}
		return nil, truncated("header length", n, 8, err)
	}
	length := binary.LittleEndian.Uint64(prefix[:])
	if length == 0 || length > MaxHeader {
		return nil, format("header length: want 1 to %d, got %d", MaxHeader, length)
	}
	text := make([]byte, length)
	if n, err := io.ReadFull(r, text); err != nil {
		return nil, truncated("header", n, int(length), err)
	}
	h, err := parseHeader(text)
	if err != nil {
		return nil, err
	}
	size, err := h.size(MaxFrame, MaxFrame-len(prefix)-len(text))
	if err != nil {
		return nil, err
	}
	// The buffer grows with what comes: a header may promise more than there is.
	var data bytes.Buffer
	if n, err := io.CopyN(&data, r, int64(size)); err != nil {
		return nil, truncated("tensors", int(n), size, err)
	}
	return h.frame(data.Bytes()), nil
}

func format(text string, args ...any) error {
	return fmt.Errorf("%w: "+text, append([]any{ErrFormat}, args...)...)
}

func truncated(part string, got, want int, err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("frame: read %d of %d bytes of its %s: %w", got, want, part, err)
}

// size checks that each tensor takes at most so many bytes and that they follow
// each other from 0 without a gap or an overlap, and returns their end, at most
// limit.
func (h *header) size(most, limit int) (int, error) {
	order := make([]int, len(h.tensors))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool {
		x, y := h.tensors[order[a]], h.tensors[order[b]]
		return x.begin < y.begin || x.begin == y.begin && x.end < y.end
	})
	end := uint64(0)
	for _, i := range order {
		t := &h.tensors[i]
		want, ok := byteLength(t.dtype, t.shape, most)
		switch {
		case !ok:
			return 0, format("tensor %q: shape %v of %s takes more than %d bytes", t.name, t.shape, t.dtype, most)
		case t.end < t.begin || t.end-t.begin != uint64(want):
			return 0, format("tensor %q: data_offsets: want %d bytes for shape %v of %s, got [%d, %d]", t.name, want, t.shape, t.dtype, t.begin, t.end)
		case t.begin < end:
			return 0, format("tensor %q: data_offsets: [%d, %d] overlaps another tensor, which ends at %d", t.name, t.begin, t.end, end)
		case t.begin > end:
			return 0, format("tensor %q: data_offsets: want a start at %d, got a gap up to %d", t.name, end, t.begin)
		case t.end > uint64(limit):
			return 0, format("tensor %q: data_offsets: want an end at %d or before, got %d", t.name, limit, t.end)
		}
		end = t.end
	}
	return int(end), nil
}

// frame cuts the data into tensors, in the header's order.
func (h *header) frame(data []byte) *Frame {
	f := &Frame{Metadata: h.metadata}
	for _, t := range h.tensors {
		f.Tensors = append(f.Tensors, Tensor{t.name, t.dtype, t.shape, data[t.begin:t.end:t.end]})
	}
	return f
}

// Write writes a frame in one call of w.Write, always the same bytes for the same
// frame, whatever the order of its tensors. A frame that Read would refuse is refused.
func Write(w io.Writer, f *Frame) error {
	data, err := f.Bytes()
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// Bytes returns the frame as Write writes it. Its header is filled up with spaces
// to a multiple of 8 bytes, so that the tensors are aligned in a file.
func (f *Frame) Bytes() ([]byte, error) {
	type entry struct {
		DType   DType  `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	tensors := slices.SortedFunc(slices.Values(f.Tensors), func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) })
	head := map[string]any{} // encoding/json sorts the keys of a map
	if len(f.Metadata) > 0 {
		for key, value := range f.Metadata {
			if !utf8.ValidString(key) || !utf8.ValidString(value) {
				return nil, format("%s: %q: not UTF-8", metadataKey, key)
			}
		}
		head[metadataKey] = f.Metadata
	}
	offset := 0
	for _, t := range tensors {
		n, ok := byteLength(t.DType, t.Shape, MaxFrame)
		if !ok || t.DType.Size() == 0 || n != len(t.Data) {
			return nil, format("tensor %q: want the %d bytes of shape %v of %s, got %d", t.Name, n, t.Shape, t.DType, len(t.Data))
		}
		if !utf8.ValidString(t.Name) {
			return nil, format("tensor %q: the name is not UTF-8", t.Name)
		}
		if _, twice := head[t.Name]; twice || t.Name == metadataKey {
			return nil, format("tensor %q: the name stands twice", t.Name)
		}
		if offset > MaxFrame-n {
			return nil, format("want at most %d bytes of tensors, got more", MaxFrame)
		}
		head[t.Name] = entry{t.DType, append([]int{}, t.Shape...), [2]int{offset, offset + n}}
		offset += n
	}
	text, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	text = append(text, bytes.Repeat([]byte(" "), (8-len(text)%8)%8)...)
	if len(text) > MaxHeader {
		return nil, format("header: want at most %d bytes, got %d", MaxHeader, len(text))
	}
	if offset > MaxFrame-8-len(text) {
		return nil, format("want a frame of at most %d bytes, got more", MaxFrame)
	}
	out := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(text)+offset), uint64(len(text)))
	out = append(out, text...)
	for _, t := range tensors {
		out = append(out, t.Data...)
	}
	return out, nil
}
