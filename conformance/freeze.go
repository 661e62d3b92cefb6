package conformance

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/wire"
)

// A Frozen is a vector as it is written to a file.
type Frozen struct {
	Path        string // <module>/<requirement>/<case>.safetensors
	Module      string
	Requirement string
	Data        []byte
}

// A Budget bounds how much is frozen.
type Budget struct {
	// Tries are the tries of a check, and Programs those of an equivalence, whose
	// programs call everything.
	Tries, Programs int
	// Bytes is the size of the largest vector.
	Bytes int
}

var (
	// GoldenBudget keeps the tree in the module small, so that 28 modules fit.
	GoldenBudget = Budget{Tries: 1, Programs: 4, Bytes: 8 << 10}
	// ExportBudget is for other languages, where vectors are all that a library's own
	// tests need.
	ExportBudget = Budget{Tries: 20, Programs: 50, Bytes: 1 << 20}
)

// Freeze runs the checks of every requirement on ref and hands sink what they
// called as vectors, with ref's answers. modules restricts it to those names, where
// there are any. The same seed gives the same vectors, inputs on every machine,
// answers on every run of one architecture. A program that several requirements
// call is frozen once, for the first; calls made at once are no program.
func Freeze(seed uint64, budget Budget, moduleNames []string, sink func(Frozen) error) error {
	seen := map[[sha256.Size]byte]bool{}
	o := newOptions([]Option{Seed(seed), Checks(budget.Tries), Modules(moduleNames...)})
	if err := o.validate(); err != nil {
		return err
	}
	for _, m := range modules() {
		for i := range m.spec.Requirements {
			r := &m.spec.Requirements[i]
			if r.Kind == spec.Vector || !o.selects(m.spec, r) {
				continue // made of vectors
			}
			n := 0
			for _, rec := range o.recordings(m, r, budget) {
				v := answered(r, rec)
				if rec.unfrozen || len(v.program.steps) == 0 && v.newErr == nil {
					continue
				}
				frame, err := v.frame()
				if spec.KindOf(err) == spec.Invalid {
					continue // a matrix that contradicts itself exists in Go only
				}
				if err != nil {
					return fmt.Errorf("%s: %w", r.ID, err)
				}
				data, err := frame.Bytes()
				if err != nil {
					return fmt.Errorf("%s: %w", r.ID, err)
				}
				content, err := programHash(frame)
				if err != nil {
					return fmt.Errorf("%s: %w", r.ID, err)
				}
				if seen[content] || len(data) > budget.Bytes {
					continue
				}
				seen[content] = true
				n++
				slug := strings.TrimPrefix(r.ID, m.spec.Name+"/")
				if err := sink(Frozen{fmt.Sprintf("%s/%s/%d.safetensors", m.spec.Name, slug, n), m.spec.Name, r.ID, data}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// programHash is the hash of a vector's program: its frame without what says which
// requirement it is for.
func programHash(frame *wire.Frame) ([sha256.Size]byte, error) {
	program := wire.Frame{Metadata: map[string]string{}, Tensors: frame.Tensors}
	for _, key := range []string{"module", "config", "steps"} {
		program.Metadata[key] = frame.Metadata[key]
	}
	data, err := program.Bytes()
	return sha256.Sum256(data), err
}

// recordings are what a check calls on ref.
func (o *options) recordings(m *module, r *spec.Requirement, budget Budget) (all []*recording) {
	tries := budget.Tries
	if r.Kind == spec.Equivalence {
		tries = budget.Programs
	}
	restore := setRapid(tries, o.seedOf(r), "0s")
	defer restore()
	property(r.ID, func(rt *rapid.T) {
		t := newTrial(rt, ref.Implementation(), r)
		m.check(r)(t)
		all = append(all, t.recordings...)
	})
	return all
}

func (v *vector) encode() ([]byte, error) {
	frame, err := v.frame()
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	err = wire.Write(&data, frame)
	return data.Bytes(), err
}
