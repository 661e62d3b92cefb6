package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func FuzzRead(f *testing.F) {
	for _, data := range malformed {
		if len(data) < 4096 {
			f.Add(data)
		}
	}
	whole := mustBytes(f, &Frame{map[string]string{"cmd": "call", "é": "😀"},
		[]Tensor{{"a", F32, []int{2, 1}, make([]byte, 8)}, {"b", Bool, nil, []byte{1}}, {"c", I64, []int{0, 3}, nil}}})
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		frame, err := Read(r)
		if err != nil {
			if (err == io.EOF) != (len(data) == 0) {
				t.Fatalf("%v for %d bytes", err, len(data))
			}
			if len(data) > 0 && errors.Is(err, ErrFormat) == errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("neither or both of malformed and truncated: %v", err)
			}
			agree(t, data, nil, err)
			return
		}
		read := data[:len(data)-r.Len()]
		agree(t, read, frame, nil)
		again := mustBytes(t, frame)
		back, err := Read(bytes.NewReader(again))
		if err != nil || !bytes.Equal(mustBytes(t, back), again) {
			t.Fatalf("written again it is another frame: %v", err)
		}
	})
}

// FuzzDecodeArgs hands any JSON to every operation. What decodes is encoded and
// decoded again, and must be the same JSON.
func FuzzDecodeArgs(f *testing.F) {
	tensors := []Tensor{
		{"f", F32, []int{2}, make([]byte, 8)}, {"m", F32, []int{2, 1}, make([]byte, 8)}, {"h", BF16, []int{1, 1, 2}, make([]byte, 4)},
		{"i", I64, []int{2}, make([]byte, 16)}, {"b", U8, []int{2, 1}, []byte{1, 255}}, {"x", F64, []int{}, make([]byte, 8)},
		{"broken", F32, []int{3}, make([]byte, 8)},
	}
	for _, seed := range []string{
		`{}`, `null`, `{"token_ids":{"tensor":"i"},"query_ids":null}`, `{"weights":{"tensor":"f"}}`,
		`{"ternary_weights":{"tensor":"b"},"scale":{"tensor":"x"}}`, `{"pos":-1,"key":{"tensor":"m"},"value":{"tensor":"f"}}`,
		`{"query":{"tensor":"h"},"doc_keys":[],"doc_values":[{"tensor":"h"}]}`, `{"rows":1,"cols":9223372036854775807,"k":2}`,
		`{"req_id":1,"modality":"text","text_len":3,"vision_tokens":0,"priority":1e2}`, `{"weights":{"tensor":"broken"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, m := range spec.Modules() {
			d := Decoder{Module: m, Tensors: tensors}
			if _, err := d.DecodeConfig(raw); err != nil && !errors.Is(err, spec.Invalid) {
				t.Fatalf("%s: %v is not invalid", m.Name, err)
			}
			for i := range m.Operations {
				op := &m.Operations[i]
				args, _, err := d.DecodeArgs(op, raw)
				if err != nil {
					if !errors.Is(err, spec.Invalid) {
						t.Fatalf("%s/%s: %v is not invalid", m.Name, op.Name, err)
					}
					continue
				}
				once, tensors := encodeArgs(t, op, args)
				back, _, err := (&Decoder{Module: m, Tensors: tensors}).DecodeArgs(op, once)
				if err != nil {
					t.Fatalf("%s/%s: %s does not decode: %v", m.Name, op.Name, once, err)
				}
				if twice, _ := encodeArgs(t, op, back); !bytes.Equal(once, twice) {
					t.Fatalf("%s/%s: %s became %s", m.Name, op.Name, once, twice)
				}
			}
		}
	})
}

func encodeArgs(t *testing.T, op *spec.Operation, args []any) (json.RawMessage, []Tensor) {
	t.Helper()
	var e Encoder
	raw, err := e.EncodeArgs(op, args)
	if err != nil {
		t.Fatalf("%s: %v", op.Name, err)
	}
	return raw, e.Tensors
}
