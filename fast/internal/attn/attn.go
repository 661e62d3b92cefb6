package attn

import (
	"math"

	"github.com/squishspec/squishspec/spec"
)

// A Head attends the queries of one head to keys and values that come in parts.
// Rows do no arithmetic with each other, so that a NaN in one reaches no other.
// Its zero value is ready for Begin.
type Head struct {
	queries spec.Matrix
	scale   float64 // of dot products, to logits of base 2
	rows    []row
	outputs spec.Matrix // attention over the keys so far
	shares  []float32   // scratch: of one row, one for each key of a block
}

// Begin starts with no keys. queries are kept until End; scale is above 0.
func (h *Head) Begin(queries spec.Matrix, scale float64) {
	h.queries = queries
	// A clamped scale times 0 is 0, and times any other difference of dot products
	// still far beyond where weights vanish.
	h.scale = min(scale*math.Log2E, math.MaxFloat64)
	h.rows = spec.Resize(h.rows, queries.Rows)
	for i := range h.rows {
		h.rows[i] = noKeys
	}
	h.outputs.Resize(queries.Rows, queries.Cols)
}

// Attend adds keys and values, of as many rows. The order of the parts does not
// matter but for rounding.
func (h *Head) Attend(keys, values spec.Matrix) {
	dim := h.queries.Cols
	block := blockKeys(dim)
	h.shares = spec.Resize(h.shares, min(block, keys.Rows))
	for from := 0; from < keys.Rows; from += block {
		to := min(from+block, keys.Rows)
		k, v := keys.Data[from*dim:to*dim], values.Data[from*dim:to*dim]
		for i := range h.rows {
			h.rows[i].attend(h.outputs.Row(i), h.queries.Row(i), k, v, h.shares[:to-from], h.scale)
		}
	}
}

// End writes the outputs, of the shape of the queries, and lets go of them. There
// was at least one key.
func (h *Head) End(out spec.Matrix) {
	copy(out.Data, h.outputs.Data)
	h.queries = spec.Matrix{}
}

// blockKeys returns how many keys make a block: 16 KiB of keys and values, half of
// a small L1 cache, and groups of the kernels.
func blockKeys(dim int) int {
	const elements = 16 << 10 / 4
	return max(elements/(2*dim)/group*group, group)
}

// A row is what is known of a query row so far, beside its output.
type row struct {
	largest float32 // dot product, and so, scale being above 0, logit
	total   float64 // weight, that of the largest being 1
}

// noKeys is below any key. Its largest is finite, so that the weight of a dot
// product of −Inf is 0, and not that of a NaN, until a row of nothing else divides
// 0 by 0.
var noKeys = row{largest: -math.MaxFloat32}

// attend adds a block of keys and values to what out is the attention over. Before
// any key has weight, out may hold anything. shares is scratch, one a key.
func (r *row) attend(out, query, keys, values, shares []float32, scale float64) {
	dots(shares, query, keys)
	hadWeight := r.total != 0
	if kept := r.share(shares, scale); hadWeight {
		multiply(out, kept)
	} else {
		clear(out)
	}
	addWeighted(out, shares, values)
}

// share turns dot products into shares of the total weight, which they are added
// to, and returns the share of what was there before.
func (r *row) share(dots []float32, scale float64) (kept float32) {
	before := *r
	r.largest = largest(r.largest, dots)
	old := before.total * exp2((float64(before.largest)-float64(r.largest))*scale)
	r.total = old + weigh(dots, r.largest, scale)
	multiply(dots, float32(1/r.total))
	return float32(old / r.total)
}
