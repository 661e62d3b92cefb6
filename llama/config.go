package llama

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/squishspec/squishspec/spec"
)

// A Config describes a model.
type Config struct {
	Dim      int // of the residual stream
	Hidden   int // of the feed-forward layer
	Layers   int
	Heads    int // of the queries
	KVHeads  int // of keys and values; each serves Heads/KVHeads heads of queries
	HeadDim  int // even
	Vocab    int
	Context  int // the most tokens of a session
	RoPE     RoPE
	RoPEBase float64
	Epsilon  float64 // under RMSNorm's root
	Tied     bool    // the head is the embedding
	Bias     bool    // queries, keys and values have a bias
}

// A RoPE says which two elements of a head turn together.
type RoPE int

const (
	Interleaved RoPE = iota // 2i and 2i+1, as in llama2.c
	HalfSplit               // i and i + HeadDim/2, as in Hugging Face's files
)

// maxAxis bounds each number of a config, so that no product of two overflows.
const maxAxis = 1 << 30

// validate rejects a config that describes no model. The name, of a file, begins
// the error.
func (c Config) validate(name string) error {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"dim", c.Dim}, {"hidden dim", c.Hidden}, {"layers", c.Layers}, {"heads", c.Heads}, {"KV heads", c.KVHeads},
		{"head dim", c.HeadDim}, {"vocabulary", c.Vocab}, {"context", c.Context},
	} {
		if f.value < 1 || f.value > maxAxis {
			return reject(name, f.name, fmt.Sprintf("1 to %d", maxAxis), f.value)
		}
	}
	switch {
	case c.HeadDim > maxAxis/c.Heads:
		return reject(name, "head dim", fmt.Sprintf("at most %d in all %d heads", maxAxis, c.Heads), c.HeadDim)
	case c.Heads%c.KVHeads != 0:
		return reject(name, "KV heads", fmt.Sprintf("a divisor of the %d heads", c.Heads), c.KVHeads)
	case c.HeadDim%2 != 0:
		return reject(name, "head dim", "an even number, whose halves RoPE turns", c.HeadDim)
	case c.RoPE != Interleaved && c.RoPE != HalfSplit:
		return reject(name, "RoPE", "interleaved or half-split", int(c.RoPE))
	case !(c.RoPEBase > 0) || math.IsInf(c.RoPEBase, 1):
		return reject(name, "RoPE base", "a finite number above 0", c.RoPEBase)
	case !(c.Epsilon >= 0) || math.IsInf(c.Epsilon, 1):
		return reject(name, "epsilon", "a finite number from 0", c.Epsilon)
	}
	return nil
}

// reject rejects a part of a file in one line: part and got may be the file's words.
func reject(name, part, want string, got any) error {
	return spec.Reject(spec.Invalid, "llama", name+": "+quoted(part), want, quoted(fmt.Sprint(got)))
}

// quoted returns a text as it is where it is short and can be printed.
func quoted(text string) string {
	const most = 200
	if len(text) > most || strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return fmt.Sprintf("%.*q", most, text)
	}
	return text
}

// A role is what a tensor does in a model. The order is that of llama2.c's files.
type role int

const (
	embedding role = iota
	attentionNorm
	queries
	keys
	values
	output
	feedForwardNorm
	gate
	down
	up
	finalNorm
	head
	queryBias
	keyBias
	valueBias
	roles
)

// perLayer reports whether each layer has a tensor of this role.
func (r role) perLayer() bool { return r != embedding && r != finalNorm && r != head }

// vector reports whether a tensor of this role has one axis.
func (r role) vector() bool {
	switch r {
	case attentionNorm, feedForwardNorm, finalNorm, queryBias, keyBias, valueBias:
		return true
	}
	return false
}

// has reports whether a model has tensors of this role of its own.
func (c Config) has(r role) bool {
	switch r {
	case head:
		return !c.Tied
	case queryBias, keyBias, valueBias:
		return c.Bias
	}
	return true
}

// shape returns the shape of a tensor; a vector is one row.
func (c Config) shape(r role) (rows, cols int) {
	switch r {
	case embedding, head:
		return c.Vocab, c.Dim
	case queries:
		return c.Heads * c.HeadDim, c.Dim
	case keys, values:
		return c.KVHeads * c.HeadDim, c.Dim
	case output:
		return c.Dim, c.Heads * c.HeadDim
	case gate, up:
		return c.Hidden, c.Dim
	case down:
		return c.Dim, c.Hidden
	case queryBias:
		return 1, c.Heads * c.HeadDim
	case keyBias, valueBias:
		return 1, c.KVHeads * c.HeadDim
	}
	return 1, c.Dim // the norms
}
