package wire

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/nlpodyssey/safetensors"
	"pgregory.net/rapid"
)

// stricter are the malformed frames that the library accepts, and why we do not.
var stricter = map[string]string{
	"spaces before the object":  "the format says that '{' comes first",
	"a newline as filling":      "the format fills up with spaces",
	"no UTF-8":                  "encoding/json puts U+FFFD, and two names may become one",
	"lone high surrogate":       "encoding/json puts U+FFFD, and two names may become one",
	"lone low surrogate":        "encoding/json puts U+FFFD",
	"surrogates in wrong order": "encoding/json puts U+FFFD",
	"same name":                 "encoding/json takes the last, other readers the first",
	"same name unescaped":       "encoding/json takes the last, other readers the first",
	"same key in an entry":      "encoding/json takes the last, other readers the first",
	"metadata twice":            "encoding/json takes the last, other readers the first",
	"metadata twice unescaped":  "encoding/json takes the last, other readers the first",
	"same key in metadata":      "encoding/json takes the last, other readers the first",
	"metadata null":             "metadata are an object",
}

func TestTheLibraryRefusesWhatWeRefuse(t *testing.T) {
	for name, data := range malformed {
		if name == "frame above 1 GiB" || name == "tensor above 1 GiB" {
			continue // for their size, which the library does not bound
		}
		_, err := safetensors.Deserialize(data)
		if reason := stricter[name]; (err == nil) != (reason != "") {
			t.Errorf("%s: the library says %v; listed reason to be stricter: %q", name, err, reason)
		}
	}
	for name := range stricter {
		if malformed[name] == nil {
			t.Errorf("%s: listed, and no malformed frame", name)
		}
	}
}

func TestTheLibraryReadsWhatWeWrite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFrame(t)
		theirs, err := safetensors.Deserialize(mustBytes(t, f))
		if err != nil {
			t.Fatal(err)
		}
		if theirs.Len() != len(f.Tensors) {
			t.Fatalf("it read %d tensors of %d", theirs.Len(), len(f.Tensors))
		}
		for _, want := range f.Tensors {
			got, ok := theirs.Tensor(want.Name)
			if !ok || got.DType().String() != string(want.DType) || !sameShape(want.Shape, got.Shape()) || !bytes.Equal(got.Data(), want.Data) {
				t.Fatalf("tensor %q: it read %v, want %v", want.Name, got, want)
			}
		}
	})
}

func sameShape(ours []int, theirs []uint64) bool {
	if len(ours) != len(theirs) {
		return false
	}
	for i := range ours {
		if uint64(ours[i]) != theirs[i] {
			return false
		}
	}
	return true
}

func TestWeReadWhatTheLibraryWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFrame(t)
		// It reads scalars, and refuses to make one.
		f.Tensors = slices.DeleteFunc(f.Tensors, func(x Tensor) bool { return len(x.Shape) == 0 })
		views := map[string]safetensors.TensorView{}
		for _, own := range f.Tensors {
			dtype, err := safetensors.ParseDType(string(own.DType))
			if err != nil {
				t.Fatal(err)
			}
			shape := make([]uint64, len(own.Shape))
			for i, n := range own.Shape {
				shape[i] = uint64(n)
			}
			if views[own.Name], err = safetensors.NewTensorView(dtype, shape, own.Data); err != nil {
				t.Fatal(err)
			}
		}
		data, err := safetensors.Serialize(views, f.Metadata)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Read(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(mustBytes(t, got), mustBytes(t, f)) {
			t.Fatal("another frame came back")
		}
	})
}

// agree holds a verdict of ours to the library's: what we accept it accepts, and a
// frame that is whole to us is whole to it.
func agree(t *testing.T, data []byte, frame *Frame, err error) {
	t.Helper()
	theirs, theirErr := safetensors.Deserialize(data)
	switch {
	case err == nil && theirErr != nil:
		t.Fatalf("the library refuses what we read: %v", theirErr)
	case err == nil && theirs.Len() != len(frame.Tensors):
		t.Fatalf("the library read %d tensors, we %d", theirs.Len(), len(frame.Tensors))
	case theirErr == nil && (err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF)):
		t.Fatalf("the library reads what is truncated to us: %v", err)
	}
}
