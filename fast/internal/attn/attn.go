package attn

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/gemm"
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/parallel"
	"github.com/squishspec/squishspec/spec"
)

// An Attention attends queries to the keys and values of documents, on all cores
// where there is much to do. Rows of queries do no arithmetic with each other, so
// that a NaN in one reaches no other. A core's scratch is 256 bytes a dimension (8
// where signs count) and 33 KiB, whatever the number of tokens. The zero value is
// ready.
type Attention struct {
	numbers numbers
	signs   signs

	job
	tiles []tile // one a core
}

// A job is one call.
type job struct {
	product product
	dst     spec.Heads
	values  []spec.Heads
	scale   float64
}

// A product takes dot products of queries, some of a head at a time, and keys.
type product interface {
	// take makes ready queries from … to−1 of a head, in t.
	take(t *tile, head, from, to int)
	// dots writes to s, a row a key and a column a query, the dot products of those
	// queries with keys from … to−1 of a document. Columns beyond the queries are
	// junk.
	dots(t *tile, s kern.View, head, doc, from, to int)
	// work is how many multiplications a dot product is worth.
	work() int
}

// tileQueries is how many queries are attended at a time: the columns of the widest
// tile of a matrix product.
const tileQueries = 64

// blockKeys is how many keys make a block: the dot products of a tile, 32 KiB, stay in
// the caches. Half as many and twice as many take as long.
const blockKeys = 128

// A tile is the scratch of one core.
type tile struct {
	queries              []float32 // transposed, a row a dimension; or
	signs                []uint32  // a row a word
	weights              []float32 // dot products, then shares: a row a key
	largest, total, kept [tileQueries]float32
}

// Attend writes softmax(queries·keysᵀ·scale)·values over the joined documents, head
// by head. There is at least one query and one document, of at least one key each
// and as many values. dst has the shape of the queries.
func (a *Attention) Attend(dst, queries spec.Heads, keys, values []spec.Heads, scale float64) {
	a.numbers = numbers{queries, keys}
	a.run(job{&a.numbers, dst, values, scale})
	a.numbers = numbers{}
}

// AttendSigns does that with vectors of ±1 for queries and keys, given by the words of
// kern.Signs, token by token and head by head, and one document.
func (a *Attention) AttendSigns(dst spec.Heads, queries, keys []uint32, values []spec.Heads, scale float64) {
	a.signs = signs{queries, keys, dst.Tokens, values[0].Tokens, dst.Dim}
	a.run(job{&a.signs, dst, values, scale})
	a.signs = signs{}
}

func (a *Attention) run(j job) {
	a.job = j
	keys := 0
	for _, v := range j.values {
		keys += v.Tokens
	}
	items := j.dst.Heads * j.perHead()
	pairs := float64(j.dst.Heads) * float64(j.dst.Tokens) * float64(keys)
	const nsMulAdd, nsExp = 1. / 50, 1. / 3
	ns := pairs * (nsMulAdd*float64(j.product.work()+j.dst.Dim) + nsExp) / float64(items)
	if parts := parallel.Parts(items, ns); len(a.tiles) < parts {
		a.tiles = append(a.tiles, make([]tile, parts-len(a.tiles))...)
	}
	parallel.Run(a, items, ns)
	a.job = job{}
}

// perHead is how many tiles the queries of a head make.
func (j *job) perHead() int { return (j.dst.Tokens-1)/tileQueries + 1 }

// Part attends some tiles: it makes an Attention a parallel.Task.
func (a *Attention) Part(number, lo, hi int) {
	for item := lo; item < hi; item++ {
		head, from := item/a.perHead(), item%a.perHead()*tileQueries
		a.attend(&a.tiles[number], head, from, min(from+tileQueries, a.dst.Tokens))
	}
}

// attend attends queries from … to−1 of a head.
func (j *job) attend(t *tile, head, from, to int) {
	n := to - from
	for i := range n {
		t.largest[i], t.total[i] = -math.MaxFloat32, 0
	}
	j.product.take(t, head, from, to)
	out := gemm.Of(j.dst.Head(head)).Block(from, to, 0, j.dst.Dim)
	before := gemm.View{} // none
	for doc := range j.values {
		values := gemm.Of(j.values[doc].Head(head))
		for lo := 0; lo < values.Rows; lo += blockKeys {
			hi := min(lo+blockKeys, values.Rows)
			t.weights = spec.Resize(t.weights, (hi-lo)*columns(n))
			s := kern.Rows(t.weights, hi-lo, columns(n), columns(n))
			j.product.dots(t, s, head, doc, lo, hi)
			kern.Shares(s, j.scale, t.largest[:], t.total[:], t.kept[:])
			kern.Gemm(out, before, t.kept[:n], s.Block(0, s.Rows, 0, n).T(), values.Block(lo, hi, 0, values.Cols))
			before = out
		}
	}
	for i, total := range t.total[:n] {
		if total == 0 { // no key had any weight
			row := out.Block(i, i+1, 0, out.Cols).Data
			for c := range row {
				row[c] = float32(math.NaN())
			}
		}
	}
}

// columns is n, up to whole vectors: rows of parts of them are stored slowly, or are
// loaded again before their neighbours are, which takes twice as long.
func columns(n int) int { return (n + kern.Lanes() - 1) / kern.Lanes() * kern.Lanes() }

// numbers are queries and keys as they are.
type numbers struct {
	queries spec.Heads
	keys    []spec.Heads
}

func (x *numbers) work() int { return x.queries.Dim }

func (x *numbers) take(t *tile, head, from, to int) {
	q := gemm.Of(x.queries.Head(head)).Block(from, to, 0, x.queries.Dim)
	t.queries = spec.Resize(t.queries, q.Cols*columns(q.Rows))
	kern.Transpose(kern.Rows(t.queries, q.Cols, q.Rows, columns(q.Rows)), q)
}

func (x *numbers) dots(t *tile, s kern.View, head, doc, from, to int) {
	k := gemm.Of(x.keys[doc].Head(head)).Block(from, to, 0, x.queries.Dim)
	kern.Gemm(s, kern.View{}, nil, k, kern.Rows(t.queries, k.Cols, s.Cols, s.Cols))
}

// signs are those of queries and keys.
type signs struct {
	queries, keys               []uint32
	queryTokens, keyTokens, dim int
}

func (x *signs) work() int { return x.dim / 8 }

func (x *signs) take(t *tile, head, from, to int) {
	n, words := columns(to-from), kern.SignWords(x.dim)
	t.signs = spec.Resize(t.signs, words*n)
	q := x.queries[(head*x.queryTokens+from)*words:]
	for i := range to - from {
		for w := range words {
			t.signs[w*n+i] = q[i*words+w]
		}
	}
}

func (x *signs) dots(t *tile, s kern.View, head, _, from, to int) {
	words := kern.SignWords(x.dim)
	k := x.keys[(head*x.keyTokens+from)*words:][:(to-from)*words]
	kern.SignDots(s, t.signs, k, x.dim)
}
