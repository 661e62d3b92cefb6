package conformance

import (
	"math"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var contextualRerank = spec.ModuleByName("contextual-rerank")

var contextualRerankModule = &module{
	spec: contextualRerank,
	laws: map[string]func(*trial){
		"positions":     rerankPositions,
		"order":         rerankOrder,
		"recency":       rerankRecency,
		"constant":      rerankConstant,
		"scale":         rerankScale,
		"shift":         rerankShift,
		"heads":         rerankHeads,
		"prefix":        rerankPrefix,
		"docs":          rerankDocs,
		"docs-match":    rerankDocsMatch,
		"docs-constant": rerankDocsConstant,
		"stats":         rerankStats,
	},
	program: rerankProgram,
	badConfigs: map[string]any{
		"n_heads 0":           rerankConfig(0, 2, 0.5, 1),
		"n_heads −1":          rerankConfig(-1, 2, 0.5, 1),
		"head_dim 0":          rerankConfig(1, 0, 0.5, 1),
		"head_dim −2":         rerankConfig(1, -2, 0.5, 1),
		"recency_weight 1.1":  rerankConfig(1, 2, 1.1, 1),
		"recency_weight −0.1": rerankConfig(1, 2, -0.1, 1),
		"recency_weight NaN":  rerankConfig(1, 2, math.NaN(), 1),
		"recency_weight +Inf": rerankConfig(1, 2, math.Inf(1), 1),
		"top_k 0":             rerankConfig(1, 2, 0.5, 0),
		"top_k −1":            rerankConfig(1, 2, 0.5, -1),
		"heads beyond 2³⁰":    rerankConfig(1<<20, 1<<11, 0.5, 1),
	},
	badSteps: rerankBadSteps,
	equal: map[string]comparison{
		"rerank": func(t *trial, config any, args []any, got, want any) {
			x := reranked{config.(spec.ContextualRerankConfig), args[0].(spec.Heads), args[1].(spec.Matrix)}
			x.ranking(t.u).sameRanking(t, "top", *got.(*[]int), *want.(*[]int))
		},
		"rerank_docs": func(t *trial, config any, args []any, got, want any) {
			x := rerankedDocs{config.(spec.ContextualRerankConfig), args[0].([]int64), args[1].([][]int64), args[2].([]float32), args[3].(spec.Matrix)}
			x.ranking(t.u).sameRanking(t, "top", *got.(*[]int), *want.(*[]int))
		},
	},
	rows: []row{
		{"contextual-rerank/rerank", rerankRow(false), rerankSameResult},
		{"contextual-rerank/rerank-query", rerankRow(true), rerankSameResult},
	},
}

func rerankConfig(heads, dim int, weight float64, k int) spec.ContextualRerankConfig {
	return spec.ContextualRerankConfig{NHeads: heads, HeadDim: dim, RecencyWeight: weight, TopK: k}
}

// A reranked is a config and the arguments of one Rerank.
type reranked struct {
	config spec.ContextualRerankConfig
	keys   spec.Heads
	query  spec.Matrix
}

func (x reranked) step() step { return call(contextualRerank, "rerank", x.keys, x.query) }

// top returns what a new instance answers.
func (x reranked) top(t *trial) (top []int) {
	t.Helper()
	t.must(open(t, t.impl.ContextualRerank, x.config).Rerank(&top, x.keys, x.query))
	return top
}

// ranking scores the positions anew.
func (x reranked) ranking(u float64) ranking {
	n := x.keys.Tokens
	content := ranking{make([]float64, n), make([]float64, n)}
	for i := range n {
		var sum, magnitude neumaier
		for h := range x.keys.Heads {
			key := x.keys.Head(h).Row(i)
			var dot, square, products neumaier
			for e, k := range key {
				square.add(float64(k) * float64(k))
				if !spec.IsNone(x.query) {
					product := float64(k) * float64(x.query.Row(h)[e])
					dot.add(product)
					products.add(math.Abs(product))
				}
			}
			if spec.IsNone(x.query) {
				sum.add(math.Sqrt(square.total()))
				magnitude.add(math.Sqrt(square.total()))
			} else {
				sum.add(dot.total())
				magnitude.add(products.total())
			}
		}
		content.scores[i] = sum.total() / float64(x.keys.Heads)
		content.margins[i] = u * float64(x.config.HeadDim+x.config.NHeads+16) * magnitude.total() / float64(x.keys.Heads)
	}
	return withRecency(x.config, content.scaled(), u)
}

// withRecency blends scaled content with recency.
func withRecency(c spec.ContextualRerankConfig, content ranking, u float64) ranking {
	n := len(content.scores)
	recency := ranking{make([]float64, n), make([]float64, n)}
	for i := range n {
		if n > 1 {
			recency.scores[i] = float64(i) / float64(n-1)
		}
	}
	return blended(c.RecencyWeight, recency, content, u)
}

// A rerankedDocs is a config and the arguments of one RerankDocs.
type rerankedDocs struct {
	config     spec.ContextualRerankConfig
	ids        []int64
	docs       [][]int64
	query      []float32
	embeddings spec.Matrix
}

func (x rerankedDocs) step() step {
	return call(contextualRerank, "rerank_docs", x.ids, x.docs, x.query, x.embeddings)
}

func (x rerankedDocs) top(t *trial) (top []int) {
	t.Helper()
	r := open(t, t.impl.ContextualRerank, x.config).(spec.ContextualRerankDocs)
	t.must(r.RerankDocs(&top, x.ids, x.docs, x.query, x.embeddings))
	return top
}

func (x rerankedDocs) ranking(u float64) ranking {
	var content ranking
	if len(x.ids) > 0 {
		content = bm25Ranking(x.docs, x.ids, u).scaled()
	}
	if len(x.query) > 0 {
		var vectors [][]float32
		for i := range x.docs {
			vectors = append(vectors, x.embeddings.Row(i))
		}
		cosines := cosineRanking(vectors, x.query, 0, u).scaled()
		if len(x.ids) > 0 {
			cosines = blended(0.5, content, cosines, u)
		}
		content = cosines
	}
	return withRecency(x.config, content, u)
}

func drawRerankConfig(t *trial) spec.ContextualRerankConfig {
	return rerankConfig(size(t, 1, 3, "n_heads"), size(t, 1, 5, "head_dim"),
		rapid.SampledFrom([]float64{0.5, 0, 0.25, 0.9, 1}).Draw(t.T, "recency_weight"), size(t, 1, 8, "top_k"))
}

func drawReranked(t *trial) reranked { return drawRerankedOf(t, drawRerankConfig(t), anyStyles) }

func drawRerankedOf(t *trial, c spec.ContextualRerankConfig, styles []style) reranked {
	x := reranked{config: c, keys: heads(t, c.NHeads, size(t, 1, 10, "positions"), c.HeadDim, styles, "keys")}
	if rapid.Bool().Draw(t.T, "with a query") {
		x.query = matrix(t, c.NHeads, c.HeadDim, moderateStyles, "query")
	}
	return x
}

func drawRerankedDocs(t *trial, c spec.ContextualRerankConfig) rerankedDocs {
	x := rerankedDocs{config: c}
	for range size(t, 1, 8, "documents") {
		x.docs = append(x.docs, drawIDs(t, 0, 8, "document"))
	}
	kind := rapid.IntRange(0, 2).Draw(t.T, "kind of query")
	if kind != 1 {
		x.ids = drawIDs(t, 1, ragTerms, "query_ids")
	}
	if kind != 0 {
		dim := size(t, 1, 5, "dim")
		x.query = numbers(t, dim, anyStyles, "query_embedding")
		x.embeddings = matrix(t, len(x.docs), dim, anyStyles, "doc_embeddings")
	}
	return x
}

func rerankProgram(t *trial, _ spec.Variant) program {
	c := drawRerankConfig(t)
	p := program{config: c}
	for range size(t, 1, 3, "calls") {
		if rapid.Bool().Draw(t.T, "documents") {
			p.steps = append(p.steps, drawRerankedDocs(t, c).step())
		} else {
			p.steps = append(p.steps, drawRerankedOf(t, c, anyStyles).step())
		}
	}
	return p
}

func rerankBadSteps(t *trial, config any) (list []badStep) {
	c := config.(spec.ContextualRerankConfig)
	h, d, n := c.NHeads, c.HeadDim, size(t, 1, 4, "positions")
	shaped := func(heads, tokens, dim int) (x spec.Heads) {
		x.Resize(heads, tokens, dim)
		clear(x.Data)
		return x
	}
	plane := func(rows, cols int) spec.Matrix {
		return spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	}
	bad := func(what string, s step) { list = append(list, badStep{what, s, spec.Invalid}) }
	good := plane(h, d)
	spoiled := shaped(h, n, d)
	spoiled.Data[rapid.IntRange(0, len(spoiled.Data)-1).Draw(t.T, "at")] = float32(rapid.SampledFrom(nonFinite).Draw(t.T, "spoiler"))
	for _, wrong := range []struct {
		what string
		keys spec.Heads
	}{
		{"nothing", spec.Heads{}},
		{"no positions", shaped(h, 0, d)},
		{"one head more", shaped(h+1, n, d)},
		{"one head less", shaped(h-1, n, d)},
		{"one element more", shaped(h, n, d+1)},
		{"one element less", shaped(h, n, d-1)},
		{"no data", spec.Heads{Heads: h, Tokens: n, Dim: d, Stride: n * d}},
		{"heads that overlap", spec.Heads{Heads: h, Tokens: n, Dim: d, Stride: n*d - 1, Data: make([]float32, h*n*d)}},
		{"a negative shape", spec.Heads{Heads: h, Tokens: -n, Dim: -d, Stride: n * d, Data: make([]float32, h*n*d)}},
		{"a key that is not finite", spoiled},
	} {
		bad(wrong.what, reranked{c, wrong.keys, spec.Matrix{}}.step())
		bad(wrong.what+" beside a query", reranked{c, wrong.keys, good}.step())
	}
	spoiledQuery := plane(h, d)
	spoiledQuery.Data[rapid.IntRange(0, h*d-1).Draw(t.T, "at")] = float32(rapid.SampledFrom(nonFinite).Draw(t.T, "spoiler"))
	for _, wrong := range []struct {
		what  string
		query spec.Matrix
	}{
		{"a query of one head more", plane(h+1, d)},
		{"a query of one head less", plane(h-1, d)},
		{"a query of one element more", plane(h, d+1)},
		{"a query with less data than its shape", spec.Matrix{Rows: h, Cols: d, Data: make([]float32, h*d-1)}},
		{"a query that is not finite", spoiledQuery},
	} {
		if !spec.IsNone(wrong.query) {
			bad(wrong.what, reranked{c, shaped(h, n, d), wrong.query}.step())
		}
	}

	docs := slices.Repeat([][]int64{{1, 2}}, n)
	ids := []int64{1}
	infinite := plane(n, 2)
	infinite.Data[2*n-1] = float32(math.NaN())
	for _, wrong := range []struct {
		what string
		x    rerankedDocs
	}{
		{"no documents", rerankedDocs{ids: ids}},
		{"neither ids nor embeddings", rerankedDocs{docs: docs}},
		{"a query embedding alone", rerankedDocs{ids: ids, docs: docs, query: []float32{1, 2}}},
		{"document embeddings alone", rerankedDocs{ids: ids, docs: docs, embeddings: plane(n, 2)}},
		{"an embedding too many", rerankedDocs{ids: ids, docs: docs, query: []float32{1, 2}, embeddings: plane(n+1, 2)}},
		{"embeddings of another length", rerankedDocs{ids: ids, docs: docs, query: []float32{1, 2}, embeddings: plane(n, 3)}},
		{"embeddings with less data than their shape", rerankedDocs{docs: docs, query: []float32{1, 2}, embeddings: spec.Matrix{Rows: n, Cols: 2, Data: make([]float32, 1)}}},
		{"a query embedding that is not finite", rerankedDocs{docs: docs, query: []float32{1, float32(math.Inf(1))}, embeddings: plane(n, 2)}},
		{"an embedding that is not finite", rerankedDocs{docs: docs, query: []float32{1, 2}, embeddings: infinite}},
	} {
		bad(wrong.what, wrong.x.step())
	}
	return list
}

func rerankPositions(t *trial) {
	x := drawReranked(t)
	top := x.top(t)
	t.equal("number of positions", len(top), min(x.config.TopK, x.keys.Tokens))
	sorted := slices.Sorted(slices.Values(top))
	for i, p := range sorted {
		t.holds(p >= 0 && p < x.keys.Tokens && (i == 0 || p > sorted[i-1]), "positions %d of %d, want each once", top, x.keys.Tokens)
	}
}

func rerankOrder(t *trial) {
	x := drawReranked(t)
	x.ranking(t.u).isRanked(t, "top", x.top(t))
}

func rerankRecency(t *trial) {
	x := drawReranked(t)
	x.config.RecencyWeight = 1
	want := upTo(x.keys.Tokens)
	slices.Reverse(want)
	t.equal("top", x.top(t), want[:min(x.config.TopK, len(want))])
}

// byRecency is the ranking where content is 0.
func byRecency(c spec.ContextualRerankConfig, n int) []int {
	order := upTo(n)
	if c.RecencyWeight > 0 {
		slices.Reverse(order)
	}
	return order[:min(c.TopK, n)]
}

func rerankConstant(t *trial) {
	x := drawReranked(t)
	for h := range x.keys.Heads {
		for i := 1; i < x.keys.Tokens; i++ {
			copy(x.keys.Head(h).Row(i), x.keys.Head(h).Row(0))
		}
	}
	t.equal("top", x.top(t), byRecency(x.config, x.keys.Tokens))
}

func rerankScale(t *trial) {
	x := drawRerankedOf(t, drawRerankConfig(t), moderateStyles)
	y := reranked{x.config, cloneAs(x.keys), x.query}
	k := rapid.IntRange(-30, 30).Draw(t.T, "k")
	for i, v := range x.keys.Data {
		y.keys.Data[i] = float32(math.Ldexp(float64(v), k))
	}
	t.equal("top", y.top(t), x.top(t))
}

func rerankShift(t *trial) {
	c := drawRerankConfig(t)
	c.NHeads = min(c.NHeads, 2) // so that the mean over heads is exact
	r := source(t, "integers")
	integers := func(out []float32) {
		for i := range out {
			out[i] = float32(r.IntN(33) - 16)
		}
	}
	x := drawRerankedOf(t, c, moderateStyles)
	integers(x.keys.Data)
	x.query = spec.Matrix{Rows: c.NHeads, Cols: c.HeadDim, Data: make([]float32, c.NHeads*c.HeadDim)}
	integers(x.query.Data)
	y := reranked{c, cloneAs(x.keys), x.query}
	shift := make([]float32, c.HeadDim)
	for h := range c.NHeads {
		integers(shift)
		for i := range x.keys.Tokens {
			for e, s := range shift {
				y.keys.Head(h).Row(i)[e] += s
			}
		}
	}
	t.equal("top", y.top(t), x.top(t))
}

func rerankHeads(t *trial) {
	x := drawReranked(t)
	y := reranked{x.config, cloneAs(x.keys), cloneAs(x.query)}
	for to, from := range source(t, "order").Perm(x.config.NHeads) {
		copy(y.keys.Head(to).Data, x.keys.Head(from).Data)
		if !spec.IsNone(x.query) {
			copy(y.query.Row(to), x.query.Row(from))
		}
	}
	x.ranking(t.u).sameRanking(t, "top", y.top(t), x.top(t))
}

func rerankPrefix(t *trial) {
	few := drawReranked(t)
	many := few
	many.config.TopK += size(t, 1, 4, "more")
	whole := many.top(t)
	t.equal("top", few.top(t), whole[:min(few.config.TopK, len(whole))])
}

func rerankDocs(t *trial) {
	x := drawRerankedDocs(t, drawRerankConfig(t))
	x.ranking(t.u).isRanked(t, "top", x.top(t))
	t.equal("number of documents", len(x.top(t)), min(x.config.TopK, len(x.docs)))
}

func rerankDocsMatch(t *trial) {
	c := drawRerankConfig(t)
	c.RecencyWeight, c.TopK = 0, 8
	x := drawRerankedDocs(t, c)
	x.query, x.embeddings = nil, spec.Matrix{}
	x.ids = drawIDs(t, 1, 2, "query_ids")
	var without []int
	for i, d := range x.docs {
		if !slices.ContainsFunc(x.ids, func(id int64) bool { return slices.Contains(d, id) }) {
			without = append(without, i)
		}
	}
	if len(without) == 0 {
		t.Skip("every document has a term of the query")
	}
	top := x.top(t)
	t.equal("documents without a term of the query, which come last", top[len(top)-len(without):], without)
}

func rerankDocsConstant(t *trial) {
	x := drawRerankedDocs(t, drawRerankConfig(t))
	x.query, x.embeddings = nil, spec.Matrix{}
	x.ids = []int64{ragTerm, ragTerm + 1}
	t.equal("top", x.top(t), byRecency(x.config, len(x.docs)))
}

func rerankStats(t *trial) {
	c := drawRerankConfig(t)
	r := open(t, t.impl.ContextualRerank, c)
	var want spec.ContextualRerankStats
	docs := t.impl.OffersOperation(contextualRerank, "rerank_docs")
	for range size(t, 0, 4, "calls") {
		var top []int
		if docs && rapid.Bool().Draw(t.T, "documents") {
			x := drawRerankedDocs(t, c)
			t.must(r.(spec.ContextualRerankDocs).RerankDocs(&top, x.ids, x.docs, x.query, x.embeddings))
			want.Positions += len(x.docs)
		} else {
			x := drawRerankedOf(t, c, anyStyles)
			t.must(r.Rerank(&top, x.keys, x.query))
			want.Positions += x.keys.Tokens
		}
		want.Calls++
	}
	t.equal("stats", r.Stats(), want)
}

// rerankAnswer is what the rows come to, and the ranking that it must be of.
type rerankAnswer struct {
	top     []int
	ranking func(u float64) ranking
}

// rerankRow ranks documents for the page, by their terms or with embeddings; for
// the harness positions, with a query or without.
func rerankRow(withQuery bool) func(spec.Implementation, spec.WorkloadName, spec.Workload) (timing, error) {
	return func(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
		c := spec.DefaultContextualRerankConfig()
		c.NHeads, c.HeadDim, c.TopK = w.Int("n_heads", c.NHeads), w.Int("head_dim", c.HeadDim), w.Int("top_k", c.TopK)
		r, err := impl.ContextualRerank(c)
		if err != nil {
			return timing{}, err
		}
		var answer rerankAnswer
		t := timing{calls: 1, result: func() (any, error) { return &answer, nil }}
		if name == spec.HarnessWorkload {
			x := reranked{config: c, keys: gaussianHeads(c.NHeads, w.Int("seq", 1), c.HeadDim, 23)}
			if withQuery {
				x.query = spec.Matrix{Rows: c.NHeads, Cols: c.HeadDim, Data: gaussian(c.NHeads*c.HeadDim, 24)}
			}
			answer.ranking = x.ranking
			t.call = func(int) error { return r.Rerank(&answer.top, x.keys, x.query) }
			return t, nil
		}
		docs, ok := r.(spec.ContextualRerankDocs)
		if !ok {
			return t, spec.Reject(spec.Unsupported, "contextual-rerank", "rerank_docs", "an instance that has it", "one without")
		}
		x := rerankedDocs{config: c, docs: make([][]int64, w.Int("docs", 1))}
		for i := range x.docs {
			for j := range w.Int("doc_tokens", 0) {
				x.docs[i] = append(x.docs[i], int64(j*j*(i+3)%997))
			}
		}
		for j := range w.Int("query_tokens", 0) {
			x.ids = append(x.ids, int64(j*61%997))
		}
		if dim := w.Int("embed_dim", 0); dim > 0 {
			x.query = gaussian(dim, 24)
			x.embeddings = spec.Matrix{Rows: len(x.docs), Cols: dim, Data: gaussian(len(x.docs)*dim, 23)}
		}
		answer.ranking = x.ranking
		t.call = func(int) error { return docs.RerankDocs(&answer.top, x.ids, x.docs, x.query, x.embeddings) }
		return t, nil
	}
}

func rerankSameResult(t *trial, got, want any) {
	w := want.(*rerankAnswer)
	w.ranking(t.u).sameRanking(t, "top", got.(*rerankAnswer).top, w.top)
}
