package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var dtypes = []DType{F64, F32, F16, BF16, I64, I32, I16, I8, U8, Bool}

// blob is a header with its length before it and data behind it.
func blob(header string, data ...byte) []byte {
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
}

func entryText(dtype, shape, offsets string) string {
	return fmt.Sprintf(`{"dtype":%s,"shape":%s,"data_offsets":%s}`, dtype, shape, offsets)
}

var malformed = map[string][]byte{
	"zero-length header":        blob(""),
	"header above 1 MiB":        binary.LittleEndian.AppendUint64(nil, MaxHeader+1),
	"header length 2^63":        binary.LittleEndian.AppendUint64(nil, 1<<63),
	"header length 2^64-1":      binary.LittleEndian.AppendUint64(nil, math.MaxUint64),
	"not JSON":                  blob("hello"),
	"a list":                    blob("[]"),
	"spaces before the object":  blob(" {}"),
	"a newline as filling":      blob("{}\n"),
	"two objects":               blob("{}{}"),
	"trailing garbage":          blob("{}x"),
	"object not closed":         blob(`{"a":` + entryText(`"U8"`, "[1]", "[0,1]")),
	"trailing comma":            blob(`{"a":`+entryText(`"U8"`, "[1]", "[0,1]")+`,}`, 1),
	"no UTF-8":                  blob("{\"\xff\":" + entryText(`"U8"`, "[0]", "[0,0]") + "}"),
	"lone high surrogate":       blob(`{"\ud83d":` + entryText(`"U8"`, "[0]", "[0,0]") + "}"),
	"lone low surrogate":        blob(`{"__metadata__":{"a":"\ude00"}}`),
	"surrogates in wrong order": blob(`{"__metadata__":{"a":"\ude00\ud83d"}}`),
	"nested 500000 deep":        blob(`{"a":` + strings.Repeat("[", 500000) + strings.Repeat("]", 500000) + "}"),
	"nested in shape":           blob(`{"a":`+entryText(`"U8"`, "[[1]]", "[0,1]")+"}", 1),
	"nested in metadata":        blob(`{"__metadata__":{"a":{}}}`),
	"tensor is a number":        blob(`{"a":1}`),
	"tensor is null":            blob(`{"a":null}`),
	"same name":                 blob(`{"a":` + entryText(`"U8"`, "[0]", "[0,0]") + `,"a":` + entryText(`"U8"`, "[0]", "[0,0]") + "}"),
	"same name unescaped":       blob(`{"a":` + entryText(`"U8"`, "[0]", "[0,0]") + `,"\u0061":` + entryText(`"U8"`, "[0]", "[0,0]") + "}"),
	"same key in an entry":      blob(`{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}`),
	"metadata twice":            blob(`{"__metadata__":{},"__metadata__":{}}`),
	"metadata twice unescaped":  blob(`{"__metadata__":{},"\u005f_metadata__":{}}`),
	"same key in metadata":      blob(`{"__metadata__":{"a":"","a":""}}`),
	"metadata of numbers":       blob(`{"__metadata__":{"a":1}}`),
	"metadata of null":          blob(`{"__metadata__":{"a":null}}`),
	"metadata null":             blob(`{"__metadata__":null}`),
	"unknown key":               blob(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}}`),
	"no dtype":                  blob(`{"a":{"shape":[0],"data_offsets":[0,0]}}`),
	"no shape":                  blob(`{"a":{"dtype":"U8","data_offsets":[0,0]}}`),
	"no data_offsets":           blob(`{"a":{"dtype":"U8","shape":[0]}}`),
	"unknown dtype":             blob(`{"a":` + entryText(`"F8"`, "[0]", "[0,0]") + "}"),
	"dtype in lower case":       blob(`{"a":` + entryText(`"u8"`, "[0]", "[0,0]") + "}"),
	"dtype is a number":         blob(`{"a":` + entryText(`8`, "[0]", "[0,0]") + "}"),
	"shape is null":             blob(`{"a":` + entryText(`"U8"`, "null", "[0,0]") + "}"),
	"negative axis":             blob(`{"a":` + entryText(`"U8"`, "[-1]", "[0,0]") + "}"),
	"axis -0":                   blob(`{"a":` + entryText(`"U8"`, "[-0]", "[0,0]") + "}"),
	"fractional axis":           blob(`{"a":`+entryText(`"U8"`, "[1.0]", "[0,1]")+"}", 1),
	"axis with exponent":        blob(`{"a":`+entryText(`"U8"`, "[1e0]", "[0,1]")+"}", 1),
	"axis with leading zero":    blob(`{"a":`+entryText(`"U8"`, "[01]", "[0,1]")+"}", 1),
	"axis is a string":          blob(`{"a":`+entryText(`"U8"`, `["1"]`, "[0,1]")+"}", 1),
	"axis of 2^64":              blob(`{"a":` + entryText(`"U8"`, "[18446744073709551616]", "[0,0]") + "}"),
	"product overflows":         blob(`{"a":` + entryText(`"U8"`, "[4294967296,4294967296]", "[0,0]") + "}"),
	"size overflows":            blob(`{"a":` + entryText(`"F64"`, "[2305843009213693952]", "[0,0]") + "}"),
	"product overflows round 0": blob(`{"a":` + entryText(`"U8"`, "[1073741824,1073741824,1073741824,0]", "[0,0]") + "}"),
	"one offset":                blob(`{"a":` + entryText(`"U8"`, "[0]", "[0]") + "}"),
	"three offsets":             blob(`{"a":` + entryText(`"U8"`, "[0]", "[0,0,0]") + "}"),
	"negative offset":           blob(`{"a":` + entryText(`"U8"`, "[1]", "[-1,0]") + "}"),
	"inverted offsets":          blob(`{"a":`+entryText(`"U8"`, "[1]", "[1,0]")+"}", 1),
	"offset of 2^64-1":          blob(`{"a":` + entryText(`"U8"`, "[1]", "[18446744073709551615,0]") + "}"),
	"offsets wider than shape":  blob(`{"a":`+entryText(`"F32"`, "[1]", "[0,5]")+"}", 1, 2, 3, 4, 5),
	"offsets narrower":          blob(`{"a":`+entryText(`"F32"`, "[1]", "[0,3]")+"}", 1, 2, 3),
	"scalar without data":       blob(`{"a":` + entryText(`"F32"`, "[]", "[0,0]") + "}"),
	"hole at the beginning":     blob(`{"a":`+entryText(`"U8"`, "[1]", "[1,2]")+"}", 1, 2),
	"hole":                      blob(`{"a":`+entryText(`"U8"`, "[1]", "[0,1]")+`,"b":`+entryText(`"U8"`, "[1]", "[2,3]")+"}", 1, 2, 3),
	"overlap":                   blob(`{"a":`+entryText(`"U8"`, "[2]", "[0,2]")+`,"b":`+entryText(`"U8"`, "[2]", "[1,3]")+"}", 1, 2, 3),
	"same data twice":           blob(`{"a":`+entryText(`"U8"`, "[1]", "[0,1]")+`,"b":`+entryText(`"U8"`, "[1]", "[0,1]")+"}", 1),
	"empty tensor inside":       blob(`{"a":`+entryText(`"U8"`, "[2]", "[0,2]")+`,"b":`+entryText(`"U8"`, "[0]", "[1,1]")+"}", 1, 2),
	"frame above 1 GiB":         blob(`{"a":` + entryText(`"U8"`, "[1073741824]", "[0,1073741824]") + "}"),
	"tensor above 1 GiB":        blob(`{"a":` + entryText(`"U8"`, "[1073741825]", "[0,1073741825]") + "}"),
}

func TestMalformedFramesAreRefused(t *testing.T) {
	for name, data := range malformed {
		frame, err := Read(bytes.NewReader(data))
		if frame != nil || !errors.Is(err, ErrFormat) || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %v and error %v, want ErrFormat", name, frame, err)
		}
	}
}

func TestHeadersInAnyWriting(t *testing.T) {
	for text, want := range map[string]*Frame{
		`{}`:                           {},
		`{}      `:                     {},
		`{"__metadata__":{}}`:          {},
		`{ "__metadata__" : {"":""} }`: {Metadata: map[string]string{"": ""}},
		`{"__metadata__":{"a":"\ud83d\ude00\n\u00e9\/"}}`:   {Metadata: map[string]string{"a": "😀\né/"}},
		`{"__metadata__":{"a":"\\ud83d"}}`:                  {Metadata: map[string]string{"a": `\ud83d`}},
		`{"":` + entryText(`"F32"`, "[0,3]", "[0,0]") + "}": {Tensors: []Tensor{{"", F32, []int{0, 3}, nil}}},
	} {
		got, err := Read(bytes.NewReader(blob(text)))
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%s: %v %s", text, err, diff)
		}
	}
}

// drawFrame draws a frame of tensors of any dtype and bits, in any order.
func drawFrame(t *rapid.T) *Frame {
	name := rapid.StringN(0, 6, -1).Filter(func(s string) bool { return s != metadataKey })
	f := &Frame{Metadata: rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "metadata")}
	for _, n := range rapid.SliceOfNDistinct(name, 0, 6, rapid.ID).Draw(t, "names") {
		d := rapid.SampledFrom(dtypes).Draw(t, "dtype")
		shape := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 3).Draw(t, "shape")
		size := d.Size()
		for _, axis := range shape {
			size *= axis
		}
		f.Tensors = append(f.Tensors, Tensor{n, d, shape, rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "data")})
	}
	return f
}

var sameFrame = cmp.Options{cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b Tensor) bool { return a.Name < b.Name })}

func mustBytes(t interface{ Fatal(...any) }, f *Frame) []byte {
	data, err := f.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestFramesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFrame(t)
		data := mustBytes(t, f)
		if (len(data)-sizeOfData(f))%8 != 0 {
			t.Fatalf("the tensors begin at byte %d, want a multiple of 8", len(data)-sizeOfData(f))
		}
		got, err := Read(iotest.OneByteReader(bytes.NewReader(data)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f, got, sameFrame); diff != "" {
			t.Fatal(diff)
		}
		shuffled := &Frame{f.Metadata, rapid.Permutation(f.Tensors).Draw(t, "order")}
		if !bytes.Equal(mustBytes(t, shuffled), data) {
			t.Fatal("the order of the tensors changes the bytes")
		}
	})
}

func sizeOfData(f *Frame) (n int) {
	for _, t := range f.Tensors {
		n += len(t.Data)
	}
	return n
}

func TestFramesFollowEachOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawFrame(t), drawFrame(t)
		r := bytes.NewReader(append(mustBytes(t, a), mustBytes(t, b)...))
		for i, want := range []*Frame{a, b} {
			got, err := Read(r)
			if err != nil {
				t.Fatalf("frame %d: %v", i, err)
			}
			if diff := cmp.Diff(want, got, sameFrame); diff != "" {
				t.Fatalf("frame %d: %s", i, diff)
			}
		}
		if _, err := Read(r); err != io.EOF {
			t.Fatalf("behind the last frame: %v, want io.EOF itself", err)
		}
	})
}

func TestTruncationSaysHowMuchCame(t *testing.T) {
	data := mustBytes(t, &Frame{map[string]string{"cmd": "call"}, []Tensor{{"w", F32, []int{2}, make([]byte, 8)}}})
	header := len(data) - 8 - 8
	timeout := errors.New("i/o timeout")
	for n := range data {
		want := fmt.Sprintf("read %d of 8 bytes of its header length", n)
		switch {
		case n >= 8+header:
			want = fmt.Sprintf("read %d of 8 bytes of its tensors", n-8-header)
		case n >= 8:
			want = fmt.Sprintf("read %d of %d bytes of its header", n-8, header)
		}
		_, err := Read(bytes.NewReader(data[:n]))
		if n == 0 && err != io.EOF {
			t.Errorf("no byte: %v, want io.EOF itself", err)
		}
		if n > 0 && (!errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d bytes: %v, want io.ErrUnexpectedEOF and %q", n, err, want)
		}
		_, err = Read(io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(timeout)))
		if !errors.Is(err, timeout) || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes, then a time-out: %v, want %q", n, err, want)
		}
	}
}

func TestAClaimedGigabyteIsNotAllocated(t *testing.T) {
	const size = 1<<30 - 200
	data := append(blob(fmt.Sprintf(`{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%[1]d]}}`, size)), make([]byte, 100)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Read(bytes.NewReader(data))
	runtime.ReadMemStats(&after)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want io.ErrUnexpectedEOF", err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got >= 8<<20 {
		t.Errorf("allocated %d bytes for a stream of %d", got, len(data))
	}
}

func TestWhatReadRefusesIsNotWritten(t *testing.T) {
	for name, f := range map[string]*Frame{
		"name twice":         {Tensors: []Tensor{{"a", U8, []int{0}, nil}, {"a", U8, []int{0}, nil}}},
		"name of metadata":   {Tensors: []Tensor{{metadataKey, U8, []int{0}, nil}}},
		"name not UTF-8":     {Tensors: []Tensor{{"\xff", U8, []int{0}, nil}}},
		"metadata not UTF-8": {Metadata: map[string]string{"a": "\xff"}},
		"key not UTF-8":      {Metadata: map[string]string{"\xff": ""}},
		"unknown dtype":      {Tensors: []Tensor{{"a", "F8", []int{0}, nil}}},
		"too few bytes":      {Tensors: []Tensor{{"a", F32, []int{1}, make([]byte, 3)}}},
		"too many bytes":     {Tensors: []Tensor{{"a", F32, nil, make([]byte, 5)}}},
		"negative axes":      {Tensors: []Tensor{{"a", U8, []int{-1, -1}, []byte{1}}}},
		"product overflows":  {Tensors: []Tensor{{"a", U8, []int{1 << 32, 1 << 32}, nil}}},
		"header too long":    {Metadata: map[string]string{"a": strings.Repeat("a", MaxHeader)}},
	} {
		var out bytes.Buffer
		if err := Write(&out, f); !errors.Is(err, ErrFormat) || out.Len() > 0 {
			t.Errorf("%s: wrote %d bytes, error %v, want none and ErrFormat", name, out.Len(), err)
		}
	}
}

func TestRecordedFilesAreFrames(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/vectors/*.safetensors")
	if len(files) == 0 {
		t.Skip("no recording beside the repository")
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		r := bytes.NewReader(data)
		if _, err := Read(r); err != nil || r.Len() > 0 {
			t.Errorf("%s: %v, %d bytes left", filepath.Base(path), err, r.Len())
		}
	}
}
