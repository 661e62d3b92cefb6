package adapter

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/wire"
)

// tensors are there for whatever fuzzed JSON refers to them.
var tensors = []wire.Tensor{
	{Name: "f", DType: wire.F32, Shape: []int{2}, Data: make([]byte, 8)},
	{Name: "m", DType: wire.F64, Shape: []int{1, 2}, Data: make([]byte, 16)},
	{Name: "h", DType: wire.BF16, Shape: []int{1, 1, 2}, Data: make([]byte, 4)},
	{Name: "i", DType: wire.I8, Shape: []int{2}, Data: []byte{255, 1}},
	{Name: "b", DType: wire.Bool, Shape: []int{2}, Data: []byte{0, 1}},
	{Name: "x", DType: wire.F32, Shape: []int{}, Data: []byte{0, 0, 0x80, 0x7f}},
}

// FuzzAnswer hands what an adapter may write, as bytes and as the text of each of
// its values, to all that reads answers. What is accepted is encoded and decoded
// again, and must be the same.
func FuzzAnswer(f *testing.F) {
	for _, cmd := range [][]string{
		{"cmd=hello", "protocol=1", "spec=0.1"}, {"cmd=call", "id=2", "handle=h1", "op=quantize", weights}, {"cmd=call", "id=2", "handle=h1", "op=stats"},
		{"cmd=time", "id=2", "handle=h1", "op=stats", "repeat=1"}, {"cmd=close", "id=2", "handle=h1"}, {"cmd=nonsense"},
	} {
		answer := serving(f).answer(frameOf(cmd...))
		f.Add(bytesOf(f, answer), answer.Metadata["out"])
	}
	f.Add(bytesOf(f, frameOf("id=2", "status=rejected", "kind=nonsense")), `{"ternary":{"tensor":"i"},"scale":{"tensor":"x"}}`)
	f.Add([]byte("a banner"), `["ternary-quant"]`)
	f.Add([]byte{}, `{"kv":[{"tensor":"m"},{"tensor":"f"}]}`)
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		if answer, err := wire.Read(bytes.NewReader(data)); err == nil {
			readAnswer(t, answer)
		}
		if utf8.ValidString(text) {
			readAnswer(t, &wire.Frame{Metadata: map[string]string{
				"status": "ok", "protocol": "1", "name": text, "offers": text, "unit_roundoff": text, "kind": text, "out": text,
			}, Tensors: tensors})
			readAnswer(t, &wire.Frame{Metadata: map[string]string{"status": text, "protocol": text, "message": text}})
		}
	})
}

func readAnswer(t *testing.T, answer *wire.Frame) {
	for _, cmd := range commands {
		ValidateAnswer(cmd, answer)
	}
	if h, err := parseHello(answer); err == nil {
		m, err := h.metadata()
		again, err2 := parseHello(&wire.Frame{Metadata: m})
		if err != nil || err2 != nil || again.String() != h.String() {
			t.Fatalf("hello %v became %v (%v, %v)", h, again, err, err2)
		}
	}
	times(answer, 1)
	rejection(answer.Metadata)
	for _, m := range spec.Modules() {
		for i := range m.Operations {
			op := &m.Operations[i]
			result, err := decode(m, op, answer, false)
			if err != nil || op.ResultType() == nil {
				continue
			}
			var once, twice wire.Encoder
			out, err := once.EncodeResult(op, result, nil)
			if err != nil {
				t.Fatalf("%s/%s: what decodes does not encode: %v", m.Name, op.Name, err)
			}
			again, err := decode(m, op, &wire.Frame{Metadata: map[string]string{"out": string(out)}, Tensors: once.Tensors}, true)
			if err != nil {
				t.Fatalf("%s/%s: %s: %v", m.Name, op.Name, out, err)
			}
			if back, err := twice.EncodeResult(op, again, nil); err != nil || !bytes.Equal(back, out) {
				t.Fatalf("%s/%s: %s became %s (%v)", m.Name, op.Name, out, back, err)
			}
		}
	}
}

// FuzzServe hands what a driver may write to the server. Every answer is of the
// protocol, and a request that is not gets the status error.
func FuzzServe(f *testing.F) {
	for _, request := range [][]string{
		{"cmd=hello", "protocol=1", "spec=0.1"}, {"cmd=new", "id=1", "module=hierarchical-kv", `args={"hot_capacity":1}`},
		{"cmd=call", "id=2", "handle=h1", "op=quantize", weights}, {"cmd=call", "id=2", "handle=h1", "op=stats"},
		{"cmd=time", "id=2", "handle=h1", "op=stats", "repeat=2"}, {"cmd=close", "id=2", "handle=h1"}, {"cmd=nonsense"}, {"cmd=stop"},
	} {
		f.Add(bytesOf(f, frameOf(request...)), "{}")
	}
	f.Add([]byte("GET / HTTP/1.1\r\n"), `{"weights":{"tensor":"f"}}`)
	f.Fuzz(func(t *testing.T, data []byte, args string) {
		if m := spec.ModuleByName("ternary-quant"); utf8.ValidString(args) {
			for i := range m.Operations {
				answer := serving(t).answer(&wire.Frame{Metadata: map[string]string{
					"cmd": "call", "id": "1", "handle": "h1", "op": m.Operations[i].Name, "args": args,
				}, Tensors: slices.DeleteFunc(slices.Clone(tensors), func(x wire.Tensor) bool { return !strings.Contains(args, `"`+x.Name+`"`) })})
				if err := ValidateAnswer("call", answer); err != nil {
					t.Fatalf("%s: the answer %v: %v", args, answer.Metadata, err)
				}
			}
		}
		request, err := wire.Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		answer := serving(t).answer(request)
		if err := ValidateAnswer(request.Metadata["cmd"], answer); err != nil {
			t.Fatalf("%v: the answer %v: %v", request.Metadata, answer.Metadata, err)
		}
		if ValidateRequest(request) != nil && answer.Metadata["status"] != string(failed) {
			t.Fatalf("%v is not of the protocol, and is answered %v", request.Metadata, answer.Metadata)
		}
		bytesOf(t, answer)
		var out bytes.Buffer
		if err := Serve(bytes.NewReader(data), &out, ref.Implementation()); err != nil && out.Len() == 0 {
			t.Fatalf("ended without an answer: %v", err)
		}
	})
}
