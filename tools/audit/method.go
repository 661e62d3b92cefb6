package audit

import (
	"context"
	"fmt"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// A Method is one way to make a model smaller or faster, with its parameters.
type Method struct {
	// ID names it on the command line and in tables: the module and what tells its
	// methods apart, as "gptq-layer/4-bit-group-32".
	ID      string
	Module  string
	Variant spec.Variant
	// apply makes the model that is judged.
	apply func(ctx context.Context, j *job) (*Variation, error)
}

// A job is what a method works on.
type job struct {
	*Subject
	impl        spec.Implementation
	activations Activations
}

// A Variation is a model as a method leaves it, and what it takes to store what the
// method changed.
type Variation struct {
	Model *llama.Model
	// Hooks change what a session computes; nil where only weights change.
	Hooks func() llama.Hooks[float32]
	// Weights is how many weights of the model the records stand for, Bytes what the
	// records take, and Formula what they should take: the two must agree.
	Weights        int
	Bytes, Formula int
	// Changed are the matrices that were changed; nil is all.
	Changed []llama.Place
	// Tuned says that it stands for the fine-tune, and not for the model.
	Tuned bool
	// NoNearest is a size that round-to-nearest cannot have: not of weights.
	NoNearest bool
	// Note says what the size leaves out, or what the method cannot do here.
	Note string
}

// BitsPerWeight is the size of the records for each weight that they stand for.
func (v *Variation) BitsPerWeight() float64 { return 8 * float64(v.Bytes) / float64(v.Weights) }

// RatioToFP16 is how many times smaller they are than 16 bits a weight.
func (v *Variation) RatioToFP16() float64 { return 16 / v.BitsPerWeight() }

// A matrix is one that a codec compresses.
type matrix struct {
	llama.Place
	weights     spec.Matrix // (out, in)
	activations spec.Matrix // (samples, in): what it multiplies on the calibration text
}

// A codec compresses a matrix on its own.
type codec struct {
	compress func(m matrix) (*Record, error)
	// expand returns what stands in the matrix's place. Of m it has the shape alone.
	expand func(r *Record, m llama.Place) (spec.Matrix, error)
	// bytes is the size of the record by the format's formula.
	bytes func(rows, cols int) int
}

// each returns a method's apply that treats every matrix of every layer on its own.
// open makes the codec, with instances of the implementation under audit.
func each(open func(j *job) (codec, error)) func(context.Context, *job) (*Variation, error) {
	return func(ctx context.Context, j *job) (*Variation, error) {
		c, err := open(j)
		if err != nil {
			return nil, err
		}
		v, i, places := &Variation{}, 0, j.Model.Places()
		v.Model, err = j.Model.Map(func(_ string, w spec.Matrix) (spec.Matrix, error) {
			if err := ctx.Err(); err != nil {
				return w, err
			}
			p := places[i]
			i++
			return v.through(c, matrix{p, w, j.activations[p.Layer][p.Input]})
		})
		return v, err
	}
}

// through compresses a matrix, writes and reads the record, and returns what it
// expands to. The variation counts the bytes.
func (v *Variation) through(c codec, m matrix) (spec.Matrix, error) {
	record, err := c.compress(m)
	if err != nil {
		return spec.Matrix{}, err
	}
	if record, err = record.reread(); err != nil {
		return spec.Matrix{}, err
	}
	v.Weights += m.Rows * m.Cols
	v.Bytes += record.Bytes()
	v.Formula += c.bytes(m.Rows, m.Cols)
	return c.expand(record, m.Place)
}

// run applies a method and checks that its size is what the formula says.
func (m *Method) run(ctx context.Context, j *job) (*Variation, error) {
	v, err := m.apply(ctx, j)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.ID, err)
	}
	if v.Bytes != v.Formula {
		return nil, fmt.Errorf("%s: %d bytes were written, the formula says %d: the audit cannot be trusted", m.ID, v.Bytes, v.Formula)
	}
	return v, nil
}
