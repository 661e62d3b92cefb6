package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/squishspec/squishspec/golden"
	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/wire"
)

// A vector is a program with the answers that it must get, in one frame. Its
// metadata says of which requirement, and holds config and steps.
type vector struct {
	requirement *spec.Requirement
	module      *spec.Module
	note        string
	source      string
	program     program
	outcomes    []outcome // one a step
	newErr      error     // the config must be refused
}

// A vectorStep is a step as it stands in the metadata. Kind is set where the call
// must be refused.
type vectorStep struct {
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args"`
	Out  json.RawMessage `json:"out,omitempty"`
	Kind spec.ErrorKind  `json:"kind,omitempty"`
}

// answered runs what was recorded of an instance on ref and freezes the answers.
func answered(r *spec.Requirement, rec *recording) *vector {
	v := &vector{requirement: r, module: rec.module, program: program{rec.config, rec.steps}, source: "answers of ref " + spec.Version}
	h, err := start(ref.Implementation(), rec.module, rec.config)
	if v.newErr = err; err != nil {
		v.program.steps = nil
		return v
	}
	for _, s := range v.program.steps {
		v.outcomes = append(v.outcomes, do(h, v.module, s))
	}
	return v
}

// frame encodes a vector.
func (v *vector) frame() (*wire.Frame, error) {
	var encoder wire.Encoder
	config, err := encoder.EncodeConfig(v.program.config)
	if err != nil {
		return nil, err
	}
	expect, kind := "value", spec.KindOf(v.newErr)
	if v.newErr != nil {
		expect = "rejected"
	}
	steps := []vectorStep{}
	for i, s := range v.program.steps {
		step := vectorStep{Op: s.op.Name}
		encoder.Prefix = fmt.Sprintf("%d.", i)
		if step.Args, err = encoder.EncodeArgs(s.op, s.args); err != nil {
			return nil, err
		}
		encoder.Prefix = fmt.Sprintf("%d.out.", i)
		if out := v.outcomes[i]; out.err != nil {
			expect, kind = "rejected", spec.KindOf(out.err)
			step.Kind = kind
		} else if out.dst != nil {
			if step.Out, err = encoder.EncodeResult(s.op, out.dst, nil); err != nil {
				return nil, err
			}
		}
		steps = append(steps, step)
	}
	text, err := json.Marshal(steps)
	if err != nil {
		return nil, err
	}
	metadata := map[string]string{
		"spec": spec.Version, "requirement": v.requirement.ID, "level": string(v.requirement.Level),
		"module": v.module.Name, "variant": string(variantOf(v.program.config)),
		"config": string(config), "steps": string(text), "expect": expect, "kind": string(kind),
		"tol": v.requirement.Tolerance, "note": v.note, "source": v.source,
	}
	return &wire.Frame{Metadata: metadata, Tensors: encoder.Tensors}, nil
}

// replayed is a vector's frame as a case to replay.
func replayed(frame *wire.Frame) (*replayCase, error) {
	m := spec.ModuleByName(frame.Metadata["module"])
	if m == nil {
		return nil, spec.Reject(spec.Invalid, "vector", "module", "a module that this version specifies", fmt.Sprintf("%q", frame.Metadata["module"]))
	}
	var steps []vectorStep
	if err := json.Unmarshal([]byte(frame.Metadata["steps"]), &steps); err != nil {
		return nil, spec.Reject(spec.Invalid, "vector", "steps", "a list of steps", err)
	}
	c := &replayCase{
		module: moduleOf(m), name: frame.Metadata["requirement"], config: json.RawMessage(frame.Metadata["config"]),
		decoder: wire.Decoder{Module: m, Tensors: frame.Tensors},
	}
	for _, s := range steps {
		c.steps = append(c.steps, replayStep{s.Op, s.Args, s.Out, s.Kind})
	}
	if len(steps) == 0 && frame.Metadata["expect"] == "rejected" {
		c.refused = spec.ErrorKind(frame.Metadata["kind"])
	}
	return c, nil
}

// checkVectors replays the frozen vectors of the module's offered variants and
// operations.
func (m *module) checkVectors(t *trial) {
	for _, entry := range golden.ReadIndex().Vectors {
		if entry.Module != m.spec.Name {
			continue
		}
		data, err := golden.Read(entry.Path)
		if err != nil {
			t.Fatalf("golden/%s: %v", entry.Path, err)
		}
		frame, err := wire.Read(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("golden/%s: %v", entry.Path, err)
		}
		c, err := replayed(frame)
		if err != nil {
			t.Fatalf("golden/%s: %v", entry.Path, err)
		}
		if c.offered(&t.impl) {
			t.recordings = nil // a failure shows its own vector
			c.replay(t, "golden/"+entry.Path)
		}
	}
}

// writeFailure writes the shrunk input of a failure as vectors, one an instance,
// with ref's answers, and returns their paths. What cannot be written is said in
// the result's message.
func (o *options) writeFailure(r *spec.Requirement, found *failure) (paths []string, problem error) {
	if o.failures == "" {
		return nil, nil
	}
	if err := os.MkdirAll(o.failures, 0o755); err != nil {
		return nil, err
	}
	for i, rec := range found.recordings {
		v := answered(r, rec)
		v.note = found.message
		data, err := v.encode()
		if err != nil {
			return paths, err
		}
		path := filepath.Join(o.failures, fmt.Sprintf("%s-%d.safetensors", strings.ReplaceAll(r.ID, "/", "-"), i+1))
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}
