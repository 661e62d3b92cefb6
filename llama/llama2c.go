package llama

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/squishspec/squishspec/spec/wire"
)

// llama2CNames are the tensors' names in llama2.c.
var llama2CNames = [roles]string{
	embedding: "token_embedding_table", attentionNorm: "rms_att_weight[%d]", queries: "wq[%d]", keys: "wk[%d]", values: "wv[%d]",
	output: "wo[%d]", feedForwardNorm: "rms_ffn_weight[%d]", gate: "w1[%d]", down: "w2[%d]", up: "w3[%d]",
	finalNorm: "rms_final_weight", head: "wcls", queryBias: "bq[%d]", keyBias: "bk[%d]", valueBias: "bv[%d]",
}

// What llama2.c does not write down.
const (
	llama2CBase    = 10000
	llama2CEpsilon = 1e-5
	llama2CMagic   = 0x616b3432 // begins its later formats
)

func loadLlama2C(path string) (*Model, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("llama: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("llama: %w", err)
	}
	return ReadLlama2C(path, file, info.Size())
}

// ReadLlama2C reads a file of llama2.c: seven int32 (dim, hidden, layers, heads, KV
// heads, vocabulary, context), then tensors of float32, all layers of a kind
// together. A vocabulary below 0 says that the head is not the embedding; it stands
// behind two tables for RoPE, which are computed here. Sizes are compared before
// anything is allocated. The name begins its errors.
func ReadLlama2C(name string, r io.ReaderAt, size int64) (*Model, error) {
	var header [28]byte
	if n, err := r.ReadAt(header[:], 0); n < len(header) {
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("llama: %s: header: %w", name, err)
		}
		return nil, reject(name, "header", "28 bytes", n)
	}
	field := func(i int) int { return int(int32(binary.LittleEndian.Uint32(header[4*i:]))) }
	if uint32(field(0)) == llama2CMagic {
		return nil, reject(name, "format", "llama2.c's first one, without a version", fmt.Sprintf("version %d", field(1)))
	}
	vocab := field(5)
	c := Config{
		Dim: field(0), Hidden: field(1), Layers: field(2), Heads: field(3), KVHeads: field(4), Vocab: max(vocab, -vocab), Context: field(6),
		Tied: vocab > 0, RoPE: Interleaved, RoPEBase: llama2CBase, Epsilon: llama2CEpsilon,
	}
	if c.Heads > 0 {
		c.HeadDim = c.Dim / c.Heads
		if c.Dim%c.Heads != 0 {
			return nil, reject(name, "heads", fmt.Sprintf("a divisor of dim %d", c.Dim), c.Heads)
		}
	}
	if err := c.validate(name); err != nil {
		return nil, err
	}
	s := &llama2CFile{name: name, r: r}
	// Each axis is at most 2³⁰: the sum is exact enough in float64 to refuse what
	// would overflow, and exact in int64 where it is not refused.
	offset, estimate := int64(len(header)), float64(len(header))
	for role := range roles {
		if !c.has(role) {
			continue
		}
		if role == head {
			offset += 4 * int64(c.Context) * int64(c.HeadDim)
			estimate += 4 * float64(c.Context) * float64(c.HeadDim)
		}
		s.offsets[role] = offset
		rows, cols := c.shape(role)
		count := 1
		if role.perLayer() {
			count = c.Layers
		}
		offset += 4 * int64(count) * int64(rows) * int64(cols)
		estimate += 4 * float64(count) * float64(rows) * float64(cols)
	}
	if c.Tied {
		offset += 4 * int64(c.Context) * int64(c.HeadDim)
		estimate += 4 * float64(c.Context) * float64(c.HeadDim)
	}
	if estimate > math.MaxInt/2 || offset != size {
		return nil, reject(name, "size", fmt.Sprintf("the %.0f bytes that its header asks for", estimate), size)
	}
	return assemble(c, s)
}

type llama2CFile struct {
	name    string
	r       io.ReaderAt
	offsets [roles]int64 // of a role's first tensor
}

func (f *llama2CFile) tensor(r role, layer, rows, cols int) (Matrix, error) {
	m, err := readMatrix(f.r, f.offsets[r]+4*int64(layer)*int64(rows)*int64(cols), wire.F32, rows, cols)
	if err != nil {
		return Matrix{}, fmt.Errorf("llama: %s: %s: %w", f.name, nameOf(llama2CNames, r, layer), err)
	}
	return m, nil
}
