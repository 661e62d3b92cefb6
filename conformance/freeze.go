package conformance

import (
	"bytes"
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

// The tree in the module stays small, so that 28 modules fit: one try of a check
// is frozen, several of an equivalence, whose programs call everything, and no
// vector is larger than frozenBytes.
const (
	frozenPrograms = 4
	frozenBytes    = 8 << 10
)

// Freeze runs the checks of every requirement on ref and returns what they called
// as vectors, with ref's answers. The same seed gives the same vectors, inputs on
// every machine, answers on every run of one architecture. A program that several
// requirements call is frozen once, for the first; calls made at once are no
// program.
func Freeze(seed uint64) ([]Frozen, error) {
	var frozen []Frozen
	seen := map[string]bool{}
	o := options{seed: seed}
	for _, m := range modules() {
		for i := range m.spec.Requirements {
			r := &m.spec.Requirements[i]
			if r.Kind == spec.Vector {
				continue // made of vectors
			}
			n := 0
			for _, rec := range o.recordings(m, r) {
				v := answered(r, rec)
				if rec.unordered || len(v.program.steps) == 0 && v.newErr == nil {
					continue
				}
				data, err := v.encode()
				if spec.KindOf(err) == spec.Invalid {
					continue // a matrix that contradicts itself exists in Go only
				}
				if err != nil {
					return nil, fmt.Errorf("%s: %w", r.ID, err)
				}
				content := describe([]*recording{rec})
				if seen[content] || len(data) > frozenBytes {
					continue
				}
				seen[content] = true
				n++
				slug := strings.TrimPrefix(r.ID, m.spec.Name+"/")
				frozen = append(frozen, Frozen{fmt.Sprintf("%s/%s/%d.safetensors", m.spec.Name, slug, n), m.spec.Name, r.ID, data})
			}
		}
	}
	return frozen, nil
}

// recordings are what a check calls on ref.
func (o *options) recordings(m *module, r *spec.Requirement) (all []*recording) {
	tries := 1
	if r.Kind == spec.Equivalence {
		tries = frozenPrograms
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
