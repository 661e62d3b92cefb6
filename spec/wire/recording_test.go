package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

// Every recorded call decodes, but for those that were refused for a tensor's rank.
func TestRecordedValuesDecode(t *testing.T) {
	const dir = "../../../shared/vectors/"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no recording beside the repository")
	}
	for _, m := range spec.Modules() {
		var file struct {
			Cases []struct {
				Name          string
				Config, Stats json.RawMessage
				Error         spec.ErrorKind
				Steps         []struct {
					Call          string
					Args, Returns json.RawMessage
					Error         spec.ErrorKind
				}
			}
		}
		text, err := os.ReadFile(dir + m.Name + ".json")
		if err == nil {
			err = json.Unmarshal(text, &file)
		}
		data, dataErr := os.ReadFile(dir + m.Name + ".safetensors")
		if err := errors.Join(err, dataErr); err != nil {
			t.Fatal(err)
		}
		frame, err := Read(bytes.NewReader(data))
		if err != nil || len(file.Cases) == 0 {
			t.Fatalf("%s: %d cases, %v", m.Name, len(file.Cases), err)
		}
		d := Decoder{Module: m, Tensors: frame.Tensors}
		for _, c := range file.Cases {
			if _, err := d.DecodeConfig(c.Config); err != nil {
				t.Errorf("%s: config of %s: %v", m.Name, c.Name, err)
			}
			if stats := m.Operation("stats"); len(c.Stats) > 0 {
				if err := d.DecodeResult(stats, c.Stats, stats.NewResult()); err != nil {
					t.Errorf("%s: stats of %s: %v", m.Name, c.Name, err)
				}
			}
			for i, s := range c.Steps {
				op := m.Operation(s.Call)
				if op == nil {
					t.Errorf("%s: %s, step %d: no operation %q", m.Name, c.Name, i, s.Call)
					continue
				}
				_, _, err := d.DecodeArgs(op, s.Args)
				if err != nil && s.Error != spec.Invalid {
					t.Errorf("%s: %s, step %d: %v", m.Name, c.Name, i, err)
				}
				if len(s.Returns) == 0 || err != nil {
					continue
				}
				if err := d.DecodeResult(op, s.Returns, op.NewResult()); err != nil {
					t.Errorf("%s: %s, step %d returns: %v", m.Name, c.Name, i, err)
				}
			}
		}
	}
}
