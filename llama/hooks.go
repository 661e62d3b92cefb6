package llama

import "fmt"

// Hooks look into a session, or change what it computes. They are set before the
// first token.
type Hooks[F Float] struct {
	// Tap gets what goes into the matrices of a layer, in rows of as many elements as
	// those have columns, a row a token. It may change it. Nil sees nothing.
	Tap func(layer int, at Input, x []F)
	// Attend computes the causal attention of one token, the last of those whose keys
	// and values are given, in place of the model's own. dst and q are head by head;
	// keys and values are token by token, and in each KV head by KV head, rotated. On
	// an error the session is as before. Nil is the model's own.
	Attend func(layer int, dst, q, keys, values []F) error
}

func (h *Hooks[F]) tap(layer int, at Input, x []F) {
	if h.Tap != nil {
		h.Tap(layer, at, x)
	}
}

// An Input is a place in a layer whose state goes into matrices.
type Input int

const (
	AttentionInput   Input = iota // into wq, wk and wv
	HeadsOutput                   // into wo
	FeedForwardInput              // into w1 and w3
	HiddenOutput                  // into w2
	Inputs                        // how many there are
)

// A Place is one of the matrices that [Model.Map] goes through.
type Place struct {
	Name       string // llama2.c's, as "wq[3]"
	Layer      int
	Input      Input // what it multiplies
	Rows, Cols int   // out, in
}

// Places returns the seven matrices of each layer, in the order of [Model.Map].
func (m *Model) Places() []Place {
	var places []Place
	for layer := range m.Layers {
		for _, r := range mapped {
			t := m.at(r, layer)
			places = append(places, Place{nameOf(llama2CNames, r, layer), layer, inputOf(r), t.Rows, t.Cols})
		}
	}
	return places
}

// mapped are the matrices of a layer that methods change.
var mapped = []role{queries, keys, values, output, gate, down, up}

func inputOf(r role) Input {
	switch r {
	case queries, keys, values:
		return AttentionInput
	case output:
		return HeadsOutput
	case gate, up:
		return FeedForwardInput
	case down:
		return HiddenOutput
	}
	panic(fmt.Sprintf("llama: role %d is no matrix of a layer", r))
}
