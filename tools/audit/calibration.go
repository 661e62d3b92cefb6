package audit

import (
	"fmt"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// Activations are what went into the matrices of a model on the calibration text:
// for every layer and input, a row a token.
type Activations [][llama.Inputs]spec.Matrix

// samplesPerInput is how many rows an input of a matrix has at least: a Hessian of
// fewer fits the rows and not what they are drawn from.
const samplesPerInput = 4

// collect runs the calibration text through the model until every matrix has seen
// samplesPerInput rows for each of its columns. A text too short for that is
// refused.
func collect(s *Subject) (Activations, error) {
	m := s.Model
	need := 0
	for _, p := range m.Places() {
		need = max(need, samplesPerInput*p.Cols)
	}
	session, err := llama.NewSession[float32](m)
	if err != nil {
		return nil, err
	}
	rows := make(Activations, m.Config.Layers)
	session.Tap = func(layer int, at llama.Input, x []float32) {
		rows[layer][at].Data = append(rows[layer][at].Data, x...)
	}
	tokens := 0
	for _, paragraph := range s.Calibration {
		ids := s.Tokenizer.Encode(paragraph)
		ids = ids[:min(len(ids), llama.ProtocolTokens, m.Config.Context)]
		if err := session.Truncate(0); err != nil {
			return nil, err
		}
		if err := session.Extend(ids...); err != nil {
			return nil, err
		}
		if tokens += len(ids); tokens >= need {
			break
		}
	}
	if tokens < need {
		return nil, reject("calibration text", fmt.Sprintf("%d tokens, %d for each input of the widest matrix", need, samplesPerInput), tokens)
	}
	for layer := range rows {
		for at := range rows[layer] {
			x := &rows[layer][at]
			x.Rows, x.Cols = tokens, len(x.Data)/tokens
		}
	}
	return rows, nil
}
