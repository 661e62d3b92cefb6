package adapter

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/wire"
)

func newServer(impl spec.Implementation) *server {
	return &server{impl: impl, instances: map[string]*served{}}
}

// serving is a server of ref with one instance of ternary-quant, h1.
func serving(t testing.TB) *server {
	s := newServer(ref.Implementation())
	if a := s.answer(&wire.Frame{Metadata: map[string]string{"cmd": "new", "id": "1", "module": "ternary-quant"}}); a.Metadata["handle"] != "h1" {
		t.Fatalf("new: %v", a.Metadata)
	}
	return s
}

// frameOf makes a frame of "key=value" words, and a tensor w of two weights where
// the values refer to one.
func frameOf(words ...string) *wire.Frame {
	f := &wire.Frame{Metadata: map[string]string{}}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		f.Metadata[key] = value
		if strings.Contains(value, `"w"`) {
			f.Tensors = []wire.Tensor{{Name: "w", DType: wire.F32, Shape: []int{2}, Data: make([]byte, 8)}}
		}
	}
	return f
}

const weights = `args={"weights":{"tensor":"w"}}`

func TestServeAnswersAsTheProtocolSays(t *testing.T) {
	for _, test := range []struct {
		request *wire.Frame
		status  status
		says    string // in the kind, the message, the handle or out
	}{
		{frameOf("cmd=hello", "protocol=1", "spec=0.1"), ok, ""},
		{frameOf("cmd=hello", "protocol=2", "spec=0.1"), failed, "protocol: want 1, got 2"},
		{frameOf("cmd=hello", "protocol=1"), failed, "spec"},
		{frameOf("cmd=new", "id=2", "module=ternary-quant", `args={"zero_threshold":0.5}`), ok, "h2"},
		{frameOf("cmd=new", "id=2", "module=ternary-quant", `args={"zero_threshold":-1}`), rejected, "invalid"},
		{frameOf("cmd=new", "id=2", "module=ternary-quant", `args={"threshold":1}`), rejected, "threshold: want no such name"},
		{frameOf("cmd=new", "id=2", "module=ternary-quant", `args=[]`), failed, "args"},
		{frameOf("cmd=new", "id=2", "module=ternary-quant", `args={"zero_threshold":`), failed, "args"},
		{frameOf("cmd=new", "id=2", "module=nonsense"), unsupported, "nonsense"},
		{frameOf("cmd=new", "id=2"), failed, "module"},
		{frameOf("cmd=new", "module=ternary-quant"), failed, "id"},
		{frameOf("cmd=new", "id=", "module=ternary-quant"), failed, "id"},
		{frameOf("cmd=new", "id="+strings.Repeat("9", 65), "module=ternary-quant"), failed, "id"},
		{frameOf("cmd=new", "id=2", "module=ternary-quant", "colour=red"), failed, "colour"},
		{frameOf("cmd=call", "id=2", "handle=h1", "op=quantize", weights), ok, `"scale":0`},
		{frameOf("cmd=call", "id=2", "handle=h1", "op=quantize", `args={}`), rejected, "weights: want a value, got none"},
		{frameOf("cmd=call", "id=2", "handle=h1", "op=quantize"), rejected, "weights: want a value, got none"},
		{frameOf("cmd=call", "id=2", "handle=h1", "op=quantize", `args={"weights":[1,2]}`), rejected, "invalid"},
		{frameOf("cmd=call", "id=2", "handle=h1", "op=stats", "args={}"), ok, `"total_quantize_calls"`},
		{frameOf("cmd=call", "id=2", "handle=h1", "op=stats", weights), rejected, "weights: want no such name"},
		{frameOf("cmd=call", "id=2", "handle=h1", "op=stats", `x="w"`), failed, "x"},
		{frameOf("cmd=call", "id=2", "handle=h1", "op=put"), unsupported, "put"},
		{frameOf("cmd=call", "id=2", "handle=h9", "op=stats"), failed, "handle: want one that is open"},
		{frameOf("cmd=call", "id=2", "op=stats"), failed, "handle"},
		{frameOf("cmd=time", "id=2", "handle=h1", "op=quantize", weights, "repeat=3"), ok, `{"ns":[`},
		{frameOf("cmd=time", "id=2", "handle=h1", "op=stats", "repeat=10000"), ok, `{"ns":[`},
		{frameOf("cmd=time", "id=2", "handle=h1", "op=quantize", "args={}", "repeat=3"), rejected, "invalid"},
		{frameOf("cmd=time", "id=2", "handle=h1", "op=quantize", weights), failed, "repeat"},
		{frameOf("cmd=time", "id=2", "handle=h1", "op=quantize", weights, "repeat=0"), failed, "repeat"},
		{frameOf("cmd=time", "id=2", "handle=h1", "op=quantize", weights, "repeat=10001"), failed, "repeat"},
		{frameOf("cmd=close", "id=2", "handle=h1"), ok, ""},
		{frameOf("cmd=close", "id=2", "handle=h9"), failed, "handle"},
		{frameOf("cmd=nonsense", "id=2"), failed, `cmd: want one of the protocol's, got "nonsense"`},
		{frameOf("id=2"), failed, "cmd: want one of the protocol's, got none"},
		{frameOf("cmd=stop", "now=1"), failed, "now"},
		{&wire.Frame{}, failed, "cmd"},
	} {
		answer := serving(t).answer(test.request)
		m := answer.Metadata
		if m["status"] != string(test.status) || !strings.Contains(m["kind"]+m["message"]+m["handle"]+m["out"], test.says) {
			t.Errorf("%v: got %v, want status %s and %q", test.request.Metadata, m, test.status, test.says)
		}
		if id := test.request.Metadata["id"]; len(id) <= maxID && m["id"] != id {
			t.Errorf("%v: answered as id %q", test.request.Metadata, m["id"])
		}
		if err := ValidateAnswer(test.request.Metadata["cmd"], answer); err != nil {
			t.Errorf("%v: the answer %v: %v", test.request.Metadata, m, err)
		}
	}
}

func TestServeEndsAtStopAndAtTheEnd(t *testing.T) {
	stop, hello := frameOf("cmd=stop"), frameOf("cmd=hello", "protocol=1", "spec=0.1")
	for name, test := range map[string]struct {
		in      []byte
		answers int
		err     error
	}{
		"nothing":              {nil, 0, nil},
		"stop":                 {bytesOf(t, stop, hello), 0, nil},
		"hello and the end":    {bytesOf(t, hello, hello), 2, nil},
		"half a frame":         {bytesOf(t, hello, hello)[:len(bytesOf(t, hello))+9], 2, io.ErrUnexpectedEOF},
		"no frame":             {[]byte("GET / HTTP/1.1\r\n"), 1, wire.ErrFormat},
		"a header of 2⁶³":      {binary.LittleEndian.AppendUint64(nil, 1<<63), 1, wire.ErrFormat},
		"a stop that is wrong": {bytesOf(t, frameOf("cmd=stop", "id=1")), 1, nil},
	} {
		var out bytes.Buffer
		err := Serve(bytes.NewReader(test.in), &out, ref.Implementation())
		if test.err == nil && err != nil || !errors.Is(err, test.err) {
			t.Errorf("%s: got %v, want %v", name, err, test.err)
		}
		for n := 0; ; n++ {
			answer, err := wire.Read(&out)
			if err == io.EOF && n == test.answers {
				break
			}
			if err != nil {
				t.Errorf("%s: answer %d of %d: %v", name, n, test.answers, err)
				break
			}
			if want := n == test.answers-1 && name != "hello and the end"; (answer.Metadata["status"] == string(failed)) != want {
				t.Errorf("%s: answer %d is %v", name, n, answer.Metadata)
			}
		}
	}
}

func bytesOf(t testing.TB, frames ...*wire.Frame) (all []byte) {
	for _, f := range frames {
		data, err := f.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	return all
}

// panicking is an implementation whose calls panic, with what no frame can hold.
type panicking struct{}

func (panicking) Quantize(*spec.TernaryWeights, []float32) error         { panic("no \xff") }
func (panicking) Dequantize(*[]float32, []int8, float32) error           { return errors.New("no kind \xff") }
func (panicking) Stats() spec.TernaryQuantStats                          { panic(strings.Repeat("long", maxMessage)) }
func (panicking) Close() error                                           { panic(fmt.Errorf("closing")) }
func (panicking) new(spec.TernaryQuantConfig) (spec.TernaryQuant, error) { return panicking{}, nil }

func TestServeOutlivesItsImplementation(t *testing.T) {
	s := newServer(spec.Implementation{Name: "panics", TernaryQuant: panicking{}.new})
	s.answer(frameOf("cmd=new", "id=1", "module=ternary-quant"))
	for _, test := range []struct {
		request *wire.Frame
		status  status
		says    string
	}{
		{frameOf("cmd=call", "id=2", "handle=h1", "op=quantize", weights), failed, "panicked: no \ufffd"},
		{frameOf("cmd=call", "id=2", "handle=h1", "op=stats"), failed, "panicked: longlong"},
		{frameOf("cmd=call", "id=2", "handle=h1", "op=dequantize", `args={"ternary":{"tensor":"w"},"scale":1}`), rejected, "invalid"},
		{frameOf("cmd=call", "id=2", "handle=h1", "op=pack_base3"), unsupported, "pack_base3"},
		{frameOf("cmd=close", "id=3", "handle=h1"), failed, "panicked: closing"},
		{frameOf("cmd=close", "id=3", "handle=h1"), failed, "handle"},
	} {
		answer := s.answer(test.request)
		m := answer.Metadata
		if m["status"] != string(test.status) || !strings.Contains(m["kind"]+m["message"], test.says) {
			t.Errorf("%v: got %v, want status %s and %q", test.request.Metadata, m, test.status, test.says)
		}
		bytesOf(t, answer)
	}
}

// TestSchemaDescribesEveryFrame: the file stands on its own, for other languages.
func TestSchemaDescribesEveryFrame(t *testing.T) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(FrameSchema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertContent()
	if err := compiler.AddResource("frame.json", document); err != nil {
		t.Fatal(err)
	}
	whole := compiler.MustCompile("frame.json")
	accepts := func(metadata string) bool {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(metadata))
		if err != nil {
			t.Fatal(err)
		}
		return whole.Validate(value) == nil
	}
	for _, good := range []string{
		`{"cmd":"hello","protocol":"1","spec":"0.1"}`,
		`{"status":"ok","protocol":"1","name":"mylib","offers":"[\"ternary-quant\",\"binary-attn:squish6\",\"ternary-quant/pack_2bit\"]"}`,
		`{"status":"ok","protocol":"1","name":"mylib","version":"1","language":"C","offers":"[\"ternary-quant\"]","unit_roundoff":"4.8828125e-4"}`,
		`{"cmd":"new","id":"7","module":"ternary-quant","args":"{\"zero_threshold\":0.5}"}`,
		`{"id":"7","status":"ok","handle":"h1"}`,
		`{"cmd":"call","id":"8","handle":"h1","op":"pack_2bit","args":"{\"ternary\":{\"tensor\":\"w\"}}"}`,
		`{"id":"8","status":"ok","out":"{\"scale\":0.79}"}`,
		`{"cmd":"time","id":"9","handle":"h1","op":"stats","args":"{}","repeat":"200"}`,
		`{"id":"9","status":"ok","out":"{\"ns\":[120,98.5]}"}`,
		`{"cmd":"close","id":"10","handle":"h1"}`, `{"id":"10","status":"ok"}`, `{"cmd":"stop"}`,
		`{"id":"8","status":"rejected","kind":"invalid","message":"no"}`, `{"id":"8","status":"rejected"}`,
		`{"id":"8","status":"unsupported"}`, `{"id":"8","status":"error","message":"no"}`, `{"status":"error","protocol":"2"}`,
	} {
		if !accepts(good) {
			t.Errorf("refuses %s", good)
		}
	}
	for _, bad := range []string{
		`{}`, `[]`, `{"cmd":"hello"}`, `{"cmd":"hello","protocol":1,"spec":"0.1"}`, `{"cmd":"new","id":7,"module":"x"}`,
		`{"cmd":"new","id":"7","module":"x","args":"[]"}`, `{"cmd":"new","id":"7","module":"x","args":"{"}`, `{"cmd":"new","id":"7","module":"x","args":{}}`,
		`{"cmd":"call","id":"8","handle":"h1"}`, `{"cmd":"time","id":"9","handle":"h1","op":"stats","repeat":"0"}`, `{"cmd":"time","id":"9","handle":"h1","op":"stats","repeat":"1e2"}`,
		`{"status":"ok","protocol":"1","name":"mylib","offers":"[]"}`, `{"status":"ok","protocol":"1","name":"mylib","offers":"ternary-quant"}`, `{"status":"ok","protocol":"2","name":"mylib","offers":"[\"a\"]"}`,
		`{"status":"ok"}`, `{"id":"8"}`, `{"id":"8","status":"fine"}`, `{"id":"8","status":"ok","out":"3"}`, `{"id":"8","status":"ok","more":""}`, `{"id":"8","status":"rejected","kind":"bad"}`,
		`{"cmd":"stop","id":"8"}`, `{"cmd":"pause","id":"8"}`,
	} {
		if accepts(bad) {
			t.Errorf("accepts %s", bad)
		}
	}
}

func TestTimesAreRead(t *testing.T) {
	for out, want := range map[string]string{
		`{"ns":[1,2.5]}`: "", `{"ns":[1]}`: "a list of 2 times", `{"ns":[1,-2]}`: "-2 ns", `{"ns":[1,"2"]}`: "list", `{"ns":null}`: "list", ``: "list",
		`{"ns":[1,1e999]}`: "list",
	} {
		_, err := times(&wire.Frame{Metadata: map[string]string{"out": out}}, 2)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", out, err, want)
		}
	}
}

func TestAnswersOfTheWrongFormAreRefused(t *testing.T) {
	matrix := func(name string, shape ...int) wire.Tensor {
		n := 4
		for _, d := range shape {
			n *= d
		}
		return wire.Tensor{Name: name, DType: wire.F32, Shape: shape, Data: make([]byte, n)}
	}
	m := spec.ModuleByName("delta-compress")
	op := m.Operation("compress")
	good := []wire.Tensor{matrix("u", 3, 1), matrix("s", 1), matrix("v", 1, 2)}
	var e wire.Encoder
	raw, err := e.EncodeResult(op, op.NewResult(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names map[string]json.RawMessage
	if err := json.Unmarshal(raw, &names); err != nil || len(names) != 3 {
		t.Fatalf("the result is %s", raw)
	}
	out := string(raw)
	for i := range e.Tensors {
		good[i].Name = e.Tensors[i].Name
	}
	for what, change := range map[string]func(tensors []wire.Tensor){
		"":             func([]wire.Tensor) {},
		"3 axes for 2": func(x []wire.Tensor) { x[0].Shape = []int{3, 1, 1} },
		"1 axis for 2": func(x []wire.Tensor) { x[0].Shape = []int{3} },
		"2 axes for 1": func(x []wire.Tensor) { x[1].Shape = []int{1, 1} },
		"integers":     func(x []wire.Tensor) { x[0].DType = wire.I32 },
		"booleans": func(x []wire.Tensor) {
			x[1] = wire.Tensor{Name: x[1].Name, DType: wire.Bool, Shape: []int{1}, Data: []byte{1}}
		},
		"another name":   func(x []wire.Tensor) { x[2].Name = "w" },
		"a missing byte": func(x []wire.Tensor) { x[2].Data = x[2].Data[1:] },
	} {
		tensors := append([]wire.Tensor(nil), good...)
		change(tensors)
		_, err := decode(m, op, &wire.Frame{Metadata: map[string]string{"out": out}, Tensors: tensors}, true)
		if (err == nil) != (what == "") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// TestDocumentShowsFramesOfTheProtocol: every frame that PROTOCOL.md shows is of
// the schema, and answers the one before it.
func TestDocumentShowsFramesOfTheProtocol(t *testing.T) {
	document, err := os.ReadFile(filepath.Join("..", "..", "PROTOCOL.md"))
	if err != nil {
		t.Fatal(err)
	}
	var request *wire.Frame
	shown := map[string]bool{}
	for _, line := range strings.Split(string(document), "\n") {
		arrow, text, _ := strings.Cut(line, " ")
		if arrow != "→" && arrow != "←" {
			continue
		}
		frame := &wire.Frame{}
		if err := json.Unmarshal([]byte(text), &frame.Metadata); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if arrow == "→" {
			request, err = frame, ValidateRequest(frame)
			shown[frame.Metadata["cmd"]] = true
		} else {
			err = ValidateAnswer(request.Metadata["cmd"], frame)
			if frame.Metadata["id"] != request.Metadata["id"] {
				t.Errorf("%s: the id is another one", line)
			}
		}
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if len(shown) != len(commands) {
		t.Errorf("it shows %d commands of %d", len(shown), len(commands))
	}
}
