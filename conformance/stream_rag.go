package conformance

import (
	"fmt"
	"math"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var streamRAG = spec.ModuleByName("stream-rag")

var streamRAGModule = &module{
	spec: streamRAG,
	laws: map[string]func(*trial){
		"buffer":         ragBuffer,
		"bm25":           ragBM25,
		"bm25-frequency": ragBM25Frequency,
		"bm25-bounded":   ragBM25Bounded,
		"bm25-length":    ragBM25Length,
		"bm25-additive":  ragBM25Additive,
		"cosine":         ragCosine,
		"scale":          ragScale,
		"mirror":         ragMirror,
		"hybrid":         ragHybrid,
		"prefix":         ragPrefix,
		"eviction":       ragEviction,
		"replace":        ragReplace,
		"stats":          ragStats,
		"cosine-squish6": ragCosineSquish6,
	},
	program: ragProgram,
	badConfigs: map[string]any{
		"an unknown variant": ragConfig("squish7", 2, 8, 3, 1),
		"max_docs 0":         ragConfig(spec.Documented, 0, 8, 3, 1),
		"max_docs −1":        ragConfig(spec.Documented, -1, 8, 3, 1),
		"max_doc_tokens 0":   ragConfig(spec.Documented, 2, 0, 3, 1),
		"max_doc_tokens −8":  ragConfig(spec.Squish6, 2, -8, 3, 1),
		"embed_dim 0":        ragConfig(spec.Documented, 2, 8, 0, 1),
		"embed_dim −3":       ragConfig(spec.Squish6, 2, 8, -3, 1),
		"top_k_retrieve 0":   ragConfig(spec.Documented, 2, 8, 3, 0),
		"top_k_retrieve −1":  ragConfig(spec.Squish6, 2, 8, 3, -1),
		"a buffer too large": ragConfig(spec.Documented, 1<<20, 1<<10, 1, 1),
		"one that overflows": ragConfig(spec.Documented, 2, math.MaxInt, math.MaxInt, 1),
	},
	badSteps: ragBadSteps,
	equal: map[string]comparison{
		"retrieve": func(t *trial, config any, args []any, got, want any) {
			c := config.(spec.StreamRAGConfig)
			sameRetrieved(t, c, len(args[1].([]int64)), *got.(*[]spec.RetrievedDoc), *want.(*[]spec.RetrievedDoc))
		},
		"stats": func(t *trial, config any, _ []any, got, want any) {
			t.sameRAGStats(config.(spec.StreamRAGConfig), *got.(*spec.StreamRAGStats), *want.(*spec.StreamRAGStats))
		},
	},
	rows: []row{
		{"stream-rag/inject", ragInjectRow, ragSameResult},
		{"stream-rag/retrieve", ragRetrieveRow, ragSameResult},
	},
}

func ragConfig(v spec.Variant, docs, tokens, dim, k int) spec.StreamRAGConfig {
	return spec.StreamRAGConfig{Variant: v, MaxDocs: docs, MaxDocTokens: tokens, EmbedDim: dim, TopKRetrieve: k}
}

// ragTerms is the most terms of a drawn query.
const ragTerms = 6

// ragBudget is how far off relevances may be in the comparisons that know neither
// buffer nor query.
func ragBudget(c spec.StreamRAGConfig, relevance float64, terms int, u float64) float64 {
	return 32 * u * float64(2*c.EmbedDim+2*terms+24) * max(1, math.Abs(relevance))
}

// sameRetrieved compares documents place by place: where two are too near to tell,
// their relevances are as near.
func sameRetrieved(t *trial, c spec.StreamRAGConfig, terms int, got, want []spec.RetrievedDoc) {
	t.Helper()
	t.equal("number of documents", len(got), len(want))
	seen := map[string]bool{}
	for i := range want {
		g, w := got[i], want[i]
		where := fmt.Sprintf("document %d ", i)
		t.within(where+"relevance", g.Relevance, w.Relevance, ragBudget(c, w.Relevance, terms, t.u))
		t.holds(!seen[g.DocID], "%s%q was retrieved before", where, g.DocID)
		seen[g.DocID] = true
		if g.DocID != w.DocID {
			// Another one as near, which is then further down, or left out.
			near := slices.IndexFunc(want, func(d spec.RetrievedDoc) bool { return d.DocID == g.DocID })
			t.holds(near < 0 || math.Abs(want[near].Relevance-w.Relevance) <= 2*ragBudget(c, w.Relevance, terms, t.u), "%sgot %q, want %q", where, g.DocID, w.DocID)
			t.holds(near >= 0 || math.Abs(want[len(want)-1].Relevance-w.Relevance) <= 2*ragBudget(c, w.Relevance, terms, t.u), "%sgot %q, want %q", where, g.DocID, w.DocID)
			continue
		}
		t.equal(where+"token_ids", g.TokenIDs, w.TokenIDs)
		t.sameBits(where+"embedding", g.Embedding, w.Embedding)
	}
}

func (t *trial) sameRAGStats(c spec.StreamRAGConfig, got, want spec.StreamRAGStats) {
	t.Helper()
	t.within("avg_relevance", got.AverageRelevance, want.AverageRelevance, ragBudget(c, want.AverageRelevance, ragTerms, t.u))
	got.AverageRelevance = want.AverageRelevance
	t.equal("stats", got, want)
}

// A ragDoc is arguments of Inject.
type ragDoc struct {
	id        string
	tokens    []int64
	embedding []float32
}

// A ragQuery is arguments of Retrieve.
type ragQuery struct {
	embedding []float32
	ids       []int64
}

func (d ragDoc) step() step { return call(streamRAG, "inject", d.id, d.tokens, d.embedding) }

func (q ragQuery) step(k int) step { return call(streamRAG, "retrieve", q.embedding, q.ids, k) }

// A ragModel scores all its documents anew for every change.
type ragModel struct {
	config spec.StreamRAGConfig
	u      float64
	docs   []ragDoc
	query  ragQuery
	scores ranking // of docs
	stats  spec.StreamRAGStats
}

func newRAGModel(c spec.StreamRAGConfig, u float64) *ragModel { return &ragModel{config: c, u: u} }

// ranking scores documents against a query.
func (m *ragModel) ranking(docs []ragDoc, q ragQuery) ranking {
	tokens, embeddings := make([][]int64, len(docs)), make([][]float32, len(docs))
	for i, d := range docs {
		tokens[i], embeddings[i] = d.tokens, d.embedding
	}
	byTerms, byEmbedding := len(q.ids) > 0, len(q.embedding) > 0
	switch {
	case len(docs) == 0:
		return ranking{}
	case byTerms && byEmbedding:
		return blended(0.5, bm25Ranking(tokens, q.ids, m.u).scaled(), cosineRanking(embeddings, q.embedding, 0, m.u).scaled(), m.u)
	case byTerms:
		return bm25Ranking(tokens, q.ids, m.u)
	case byEmbedding && m.config.Variant == spec.Squish6:
		return cosineRanking(embeddings, q.embedding, 1e-10, m.u)
	case byEmbedding:
		return cosineRanking(embeddings, q.embedding, 0, m.u)
	}
	return ranking{make([]float64, len(docs)), make([]float64, len(docs))}
}

// isClear reports whether relevances are as certain as comparisons ask for.
func (m *ragModel) isClear(r ranking, terms int) bool {
	for i, margin := range r.margins {
		if 2*margin > ragBudget(m.config, r.scores[i], terms, m.u) {
			return false
		}
	}
	return true
}

// victim returns the document that an inject would drop, −1 for none, and whether
// that is certain.
func (m *ragModel) victim(id string) (place int, certain bool) {
	if len(m.docs) < m.config.MaxDocs || slices.ContainsFunc(m.docs, func(d ragDoc) bool { return d.id == id }) {
		return -1, true
	}
	least := 0
	for i, s := range m.scores.scores {
		if s < m.scores.scores[least] {
			least = i
		}
	}
	for i := range m.docs {
		tie := m.scores.scores[i] == m.scores.scores[least] && m.scores.margins[i] == 0 && m.scores.margins[least] == 0
		if i != least && !tie && !(m.scores.scores[i]-m.scores.margins[i] > m.scores.scores[least]+m.scores.margins[least]) {
			return least, false
		}
	}
	return least, true
}

// inject changes the model, unless that is not certain, which it reports.
func (m *ragModel) inject(d ragDoc) bool {
	victim, certain := m.victim(d.id)
	docs, scores := slices.Clone(m.docs), ranking{slices.Clone(m.scores.scores), slices.Clone(m.scores.margins)}
	if victim >= 0 {
		docs = slices.Delete(docs, victim, victim+1)
		scores.scores = slices.Delete(scores.scores, victim, victim+1)
		scores.margins = slices.Delete(scores.margins, victim, victim+1)
	}
	if i := slices.IndexFunc(docs, func(other ragDoc) bool { return other.id == d.id }); i >= 0 {
		docs[i], scores.scores[i], scores.margins[i] = d, 0, 0
	} else {
		docs = append(docs, d)
		scores.scores, scores.margins = append(scores.scores, 0), append(scores.margins, 0)
	}
	if m.config.Variant == spec.Documented {
		scores = m.ranking(docs, m.query)
	}
	if !certain || !m.isClear(scores, len(m.query.ids)) {
		return false
	}
	m.docs, m.scores = docs, scores
	m.stats.Injections++
	if victim >= 0 {
		m.stats.Evictions++
	}
	return true
}

// retrieve changes the model, unless relevances are not certain, which it reports.
func (m *ragModel) retrieve(q ragQuery) bool {
	scores := m.ranking(m.docs, q)
	if !m.isClear(scores, len(q.ids)) {
		return false
	}
	m.scores, m.query = scores, q
	m.stats.Retrievals++
	return true
}

func (m *ragModel) averageRelevance() float64 {
	sum := 0.0
	for _, s := range m.scores.scores {
		sum += s
	}
	return sum / float64(max(len(m.docs), 1))
}

// answers asserts that what was retrieved is the best of the model's documents.
func (m *ragModel) answers(t *trial, got []spec.RetrievedDoc, k int) {
	t.Helper()
	t.equal("number of documents", len(got), min(k, len(m.docs)))
	var list []int
	for _, g := range got {
		i := slices.IndexFunc(m.docs, func(d ragDoc) bool { return d.id == g.DocID })
		t.holds(i >= 0, "retrieved %q, which is not in the buffer", g.DocID)
		list = append(list, i)
		t.within(fmt.Sprintf("relevance of %q", g.DocID), g.Relevance, m.scores.scores[i], m.scores.margins[i])
		t.equal("token_ids", g.TokenIDs, slices.Clone(m.docs[i].tokens))
		t.sameBits("embedding", g.Embedding, m.docs[i].embedding)
	}
	m.scores.isRanked(t, "docs", list)
}

func drawRAGConfig(t *trial, v spec.Variant) spec.StreamRAGConfig {
	return ragConfig(v, size(t, 1, 5, "max_docs"), size(t, 1, 8, "max_doc_tokens"), size(t, 1, 5, "embed_dim"), size(t, 1, 4, "top_k_retrieve"))
}

// drawIDs draws from few ids, so that some occur often.
func drawIDs(t *trial, from, to int, label string) []int64 {
	return rapid.SliceOfN(rapid.SampledFrom([]int64{1, 2, 3, 4, -7, math.MinInt64}), from, to).Draw(t.T, label)
}

func drawRAGEmbedding(t *trial, c spec.StreamRAGConfig, label string) []float32 {
	return numbers(t, c.EmbedDim, anyStyles, label)
}

// drawRAGDoc draws a document; as squish6 it has an embedding, without which the
// recorded program takes none.
func drawRAGDoc(t *trial, c spec.StreamRAGConfig) ragDoc {
	d := ragDoc{id: rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "", "g"}).Draw(t.T, "doc_id"), tokens: drawIDs(t, 0, c.MaxDocTokens, "token_ids")}
	if c.Variant == spec.Squish6 || rapid.IntRange(0, 5).Draw(t.T, "without an embedding") > 0 {
		d.embedding = drawRAGEmbedding(t, c, "embedding")
	}
	return d
}

// drawRAGQuery draws a query of a kind that the variant has.
func drawRAGQuery(t *trial, c spec.StreamRAGConfig) (q ragQuery) {
	kind := 1
	if c.Variant == spec.Documented {
		kind = rapid.IntRange(0, 2).Draw(t.T, "kind of query")
	}
	if kind != 1 {
		q.ids = drawIDs(t, 1, ragTerms, "query_ids")
	}
	if kind != 0 {
		q.embedding = drawRAGEmbedding(t, c, "query_embedding")
	}
	return q
}

func ragProgram(t *trial, v spec.Variant) program {
	c := drawRAGConfig(t, v)
	p, m := program{config: c}, newRAGModel(c, t.u)
	for range size(t, 1, 16, "calls") {
		if rapid.IntRange(0, 2).Draw(t.T, "call") > 0 {
			if d := drawRAGDoc(t, c); m.inject(d) {
				p.steps = append(p.steps, d.step())
			}
		} else if q := drawRAGQuery(t, c); m.retrieve(q) {
			p.steps = append(p.steps, q.step(rapid.SampledFrom([]int{0, 1, 2, 9}).Draw(t.T, "top_k")))
		}
	}
	return p
}

func ragBadSteps(t *trial, config any) (list []badStep) {
	c := config.(spec.StreamRAGConfig)
	good := make([]float32, c.EmbedDim)
	good[0] = 1
	bad := func(what string, s step) { list = append(list, badStep{what, s, spec.Invalid}) }
	bad("too many tokens", ragDoc{"a", make([]int64, c.MaxDocTokens+1), good}.step())
	bad("no query", ragQuery{}.step(0))
	bad("an empty query", ragQuery{[]float32{}, []int64{}}.step(1))
	bad("top_k −1", ragQuery{embedding: good}.step(-1))
	bad("the least top_k", ragQuery{embedding: good}.step(math.MinInt))
	lengths := [][]float32{make([]float32, c.EmbedDim+1)}
	if c.EmbedDim > 1 {
		lengths = append(lengths, make([]float32, c.EmbedDim-1))
	}
	for _, x := range nonFinite {
		spoiled := slices.Clone(good)
		spoiled[rapid.IntRange(0, len(good)-1).Draw(t.T, "at")] = float32(x)
		lengths = append(lengths, spoiled)
	}
	for _, wrong := range lengths {
		what := fmt.Sprintf("an embedding %v", wrong)
		bad(what, ragDoc{"a", nil, wrong}.step())
		bad(what, ragQuery{embedding: wrong}.step(0))
		if c.Variant == spec.Documented {
			bad(what+" beside ids", ragQuery{wrong, []int64{1}}.step(0))
		}
	}
	if c.Variant == spec.Squish6 {
		bad("ids alone", ragQuery{ids: []int64{1}}.step(0))
		bad("ids beside an embedding", ragQuery{good, []int64{1}}.step(0))
	}
	return list
}

func inject(t *trial, s spec.StreamRAG, d ragDoc) {
	t.Helper()
	t.must(s.Inject(d.id, d.tokens, d.embedding))
}

func retrieve(t *trial, s spec.StreamRAG, q ragQuery, k int) (docs []spec.RetrievedDoc) {
	t.Helper()
	t.must(s.Retrieve(&docs, q.embedding, q.ids, k))
	return docs
}

// relevances are those of documents injected in order, whose ids are different.
func relevances(t *trial, c spec.StreamRAGConfig, docs []ragDoc, q ragQuery) []float64 {
	t.Helper()
	s := open(t, t.impl.StreamRAG, c)
	for _, d := range docs {
		inject(t, s, d)
	}
	out := make([]float64, len(docs))
	got := retrieve(t, s, q, len(docs))
	t.equal("number of documents", len(got), len(docs))
	for _, g := range got {
		i := slices.IndexFunc(docs, func(d ragDoc) bool { return d.id == g.DocID })
		t.holds(i >= 0, "retrieved %q, which is not in the buffer", g.DocID)
		out[i] = g.Relevance
	}
	return out
}

// drawCorpus draws documents of different ids that a config has room for.
func drawCorpus(t *trial) (spec.StreamRAGConfig, []ragDoc) {
	c := drawRAGConfig(t, spec.Documented)
	var docs []ragDoc
	for i := range size(t, 1, c.MaxDocs, "documents") {
		d := drawRAGDoc(t, c)
		d.id = string(rune('a' + i))
		docs = append(docs, d)
	}
	return c, docs
}

func ragBuffer(t *trial) {
	c := drawRAGConfig(t, spec.Documented)
	s, m := open(t, t.impl.StreamRAG, c), newRAGModel(c, t.u)
	t.Repeat(map[string]func(*rapid.T){
		"inject": func(*rapid.T) {
			if d := drawRAGDoc(t, c); m.inject(d) {
				inject(t, s, d)
			}
		},
		"retrieve": func(*rapid.T) {
			q, k := drawRAGQuery(t, c), rapid.SampledFrom([]int{0, 1, 9}).Draw(t.T, "top_k")
			if !m.retrieve(q) {
				return
			}
			got := retrieve(t, s, q, k)
			if k == 0 {
				k = c.TopKRetrieve
			}
			m.answers(t, got, k)
		},
		"": func(*rapid.T) {
			t.equal("n_docs", s.NDocs(), len(m.docs))
			want := m.stats
			want.AverageRelevance = m.averageRelevance()
			t.sameRAGStats(c, s.Stats(), want)
		},
	})
}

// tokensOf are the documents' token ids.
func tokensOf(docs []ragDoc) (tokens [][]int64) {
	for _, d := range docs {
		tokens = append(tokens, d.tokens)
	}
	return tokens
}

func ragBM25(t *trial) {
	c, docs := drawCorpus(t)
	q := ragQuery{ids: drawIDs(t, 1, ragTerms, "query_ids")}
	got, want := relevances(t, c, docs, q), bm25Ranking(tokensOf(docs), q.ids, t.u)
	for i := range docs {
		t.within(fmt.Sprintf("relevance of document %d", i), got[i], want.scores[i], want.margins[i])
	}
}

// ragTerm is a term that drawn documents lack.
const ragTerm = 99

// withTerm is a document of so many tokens, the first n of them the term.
func withTerm(id string, n, tokens int) ragDoc {
	d := ragDoc{id: id, tokens: make([]int64, tokens)}
	for i := range n {
		d.tokens[i] = ragTerm
	}
	return d
}

// withTwo puts two documents into a corpus that has room for them.
func withTwo(t *trial, a, b ragDoc) (spec.StreamRAGConfig, []ragDoc) {
	c, docs := drawCorpus(t)
	c.MaxDocs += 2
	c.MaxDocTokens = max(c.MaxDocTokens, len(a.tokens), len(b.tokens))
	return c, append(docs, a, b)
}

func ragBM25Frequency(t *trial) {
	tokens := size(t, 2, 8, "tokens")
	n := size(t, 1, tokens-1, "occurrences")
	c, docs := withTwo(t, withTerm("less", n, tokens), withTerm("more", n+1, tokens))
	got := relevances(t, c, docs, ragQuery{ids: []int64{ragTerm}})
	less, more := got[len(got)-2], got[len(got)-1]
	t.outweighs(more, less, fmt.Sprintf("%d of %d tokens", n, tokens), "one more")
}

// outweighs asserts that a is above b, by half a percent or more but for rounding.
// Both are scores against one term.
func (t *trial) outweighs(a, b float64, whatB, whatA string) {
	t.Helper()
	slack := 2 * bm25Budget(b, 1, t.u)
	t.holds(b > 0 && (a > b || 0.005*b <= slack && a >= b-slack), "relevance with %s: %v, with %s: %v", whatB, b, whatA, a)
}

func ragBM25Length(t *trial) {
	n := size(t, 1, 3, "occurrences")
	tokens := size(t, n, 8, "tokens")
	longer := tokens + size(t, 1, 8, "tokens more")
	c, docs := withTwo(t, withTerm("long", n, longer), withTerm("short", n, tokens))
	got := relevances(t, c, docs, ragQuery{ids: []int64{ragTerm}})
	long, short := got[len(got)-2], got[len(got)-1]
	t.outweighs(short, long, fmt.Sprintf("%d of %d tokens", n, longer), fmt.Sprintf("%d of %d", n, tokens))
}

func ragBM25Bounded(t *trial) {
	c, docs := drawCorpus(t)
	term := drawIDs(t, 1, 1, "query_ids")[0]
	df := 0
	for _, d := range docs {
		if slices.Contains(d.tokens, term) {
			df++
		}
	}
	bound := 2.2 * termCount{df: df, docs: len(docs)}.idf()
	for i, got := range relevances(t, c, docs, ragQuery{ids: []int64{term}}) {
		if slices.Contains(docs[i].tokens, term) {
			t.holds(got > 0 && got < bound+bm25Budget(bound, 1, t.u), "relevance of document %d, which has the term: %v, want it in (0, %v)", i, got, bound)
		} else {
			t.equal(fmt.Sprintf("relevance of document %d, which lacks the term", i), got, 0.0)
		}
	}
}

func ragBM25Additive(t *trial) {
	c, docs := drawCorpus(t)
	a, b := drawIDs(t, 1, 3, "query_ids"), drawIDs(t, 1, 3, "more query_ids")
	whole := relevances(t, c, docs, ragQuery{ids: append(slices.Clone(a), b...)})
	first, second := relevances(t, c, docs, ragQuery{ids: a}), relevances(t, c, docs, ragQuery{ids: b})
	for i := range docs {
		t.within(fmt.Sprintf("relevance of document %d", i), whole[i], first[i]+second[i], 2*bm25Budget(whole[i], len(a)+len(b), t.u))
	}
}

func ragCosine(t *trial) {
	c, docs := drawCorpus(t)
	q := drawRAGEmbedding(t, c, "query_embedding")
	var embeddings [][]float32
	for i := range docs {
		if len(docs[i].embedding) > 0 && rapid.IntRange(0, 4).Draw(t.T, "along the query") == 0 {
			docs[i].embedding = slices.Clone(q)
		}
		embeddings = append(embeddings, docs[i].embedding)
	}
	want := cosineRanking(embeddings, q, 0, t.u)
	for i, got := range relevances(t, c, docs, ragQuery{embedding: q}) {
		t.within(fmt.Sprintf("relevance of document %d", i), got, want.scores[i], want.margins[i])
		t.holds(got >= -1 && got <= 1, "relevance of document %d is %v, no cosine", i, got)
	}
}

func ragScale(t *trial) {
	c, docs := drawCorpus(t)
	for i := range docs {
		if docs[i].embedding != nil {
			docs[i].embedding = numbers(t, c.EmbedDim, moderateStyles, "embedding")
		}
	}
	q := numbers(t, c.EmbedDim, moderateStyles, "query_embedding")
	scaled := slices.Clone(q)
	k := rapid.IntRange(-20, 20).Draw(t.T, "k")
	for i := range scaled {
		scaled[i] = float32(math.Ldexp(float64(q[i]), k))
	}
	t.equal("relevances", relevances(t, c, docs, ragQuery{embedding: scaled}), relevances(t, c, docs, ragQuery{embedding: q}))
}

func ragMirror(t *trial) {
	c, docs := drawCorpus(t)
	q := drawRAGEmbedding(t, c, "query_embedding")
	mirrored := slices.Clone(q)
	for i := range mirrored {
		mirrored[i] = -q[i]
	}
	got := relevances(t, c, docs, ragQuery{embedding: mirrored})
	for i := range got {
		got[i] = -got[i]
	}
	t.equal("opposite relevances", got, relevances(t, c, docs, ragQuery{embedding: q}))
}

func ragHybrid(t *trial) {
	c, docs := drawCorpus(t)
	q := ragQuery{drawRAGEmbedding(t, c, "query_embedding"), drawIDs(t, 1, ragTerms, "query_ids")}
	m := newRAGModel(c, t.u)
	want := m.ranking(docs, q)
	if !m.isClear(want, len(q.ids)) {
		t.Skip("a range too small to scale by")
	}
	for i, got := range relevances(t, c, docs, q) {
		t.within(fmt.Sprintf("relevance of document %d", i), got, want.scores[i], want.margins[i])
	}
}

func ragPrefix(t *trial) {
	c, docs := drawCorpus(t)
	s := open(t, t.impl.StreamRAG, c)
	for _, d := range docs {
		inject(t, s, d)
	}
	q := drawRAGQuery(t, c)
	k := size(t, 1, 6, "top_k")
	few, many := retrieve(t, s, q, k), retrieve(t, s, q, k+1)
	t.equal("number of documents", len(few), min(k, len(docs)))
	t.equal("number of documents with one more", len(many), min(k+1, len(docs)))
	t.equal("docs", few, many[:len(few)])
	t.equal("number of documents by default", len(retrieve(t, s, q, 0)), min(c.TopKRetrieve, len(docs)))
}

// ragEviction asks for all documents, injects another, and looks who is missing.
func ragEviction(t *trial) {
	c, docs := drawCorpus(t)
	c.MaxDocs = len(docs)
	q := drawRAGQuery(t, c)
	m := newRAGModel(c, t.u)
	s := open(t, t.impl.StreamRAG, c)
	for _, d := range docs {
		m.inject(d)
		inject(t, s, d)
	}
	if !m.retrieve(q) {
		t.Skip("relevances are not certain")
	}
	victim, certain := m.victim("new")
	if !certain {
		t.Skip("two documents are too near to tell")
	}
	retrieve(t, s, q, 1)
	inject(t, s, ragDoc{id: "new"})
	var left []string
	for _, d := range retrieve(t, s, q, len(docs)+1) {
		left = append(left, d.DocID)
	}
	want := []string{"new"}
	for i, d := range docs {
		if i != victim {
			want = append(want, d.id)
		}
	}
	slices.Sort(left)
	slices.Sort(want)
	t.equal("documents left", left, want)
	t.equal("evictions", s.Stats().Evictions, 1)
}

func ragReplace(t *trial) {
	c, docs := drawCorpus(t)
	c.MaxDocs = len(docs)
	s := open(t, t.impl.StreamRAG, c)
	for _, d := range docs {
		inject(t, s, d)
	}
	i := rapid.IntRange(0, len(docs)-1).Draw(t.T, "replaced")
	replaced := docs[i]
	docs = slices.Clone(docs)
	docs[i] = drawRAGDoc(t, c)
	docs[i].id = replaced.id
	inject(t, s, docs[i])
	t.equal("n_docs", s.NDocs(), len(docs))
	stats := s.Stats()
	t.equal("evictions", stats.Evictions, 0)
	t.equal("injections", stats.Injections, len(docs)+1)
	q := drawRAGQuery(t, c)
	fresh := open(t, t.impl.StreamRAG, c)
	for _, d := range docs {
		inject(t, fresh, d)
	}
	t.equal("docs", retrieve(t, s, q, len(docs)+1), retrieve(t, fresh, q, len(docs)+1))
}

func ragStats(t *trial) {
	c := drawRAGConfig(t, spec.Documented)
	s, m := open(t, t.impl.StreamRAG, c), newRAGModel(c, t.u)
	t.equal("stats of a new buffer", s.Stats(), spec.StreamRAGStats{})
	for range size(t, 1, 10, "calls") {
		if rapid.Bool().Draw(t.T, "inject") {
			if d := drawRAGDoc(t, c); m.inject(d) {
				inject(t, s, d)
			}
		} else if q := drawRAGQuery(t, c); m.retrieve(q) {
			retrieve(t, s, q, 0)
		}
	}
	want := m.stats
	want.AverageRelevance = m.averageRelevance()
	t.sameRAGStats(c, s.Stats(), want)
}

func ragCosineSquish6(t *trial) {
	c := drawRAGConfig(t, spec.Squish6)
	s, m := open(t, t.impl.StreamRAG, c), newRAGModel(c, t.u)
	for range size(t, 1, 10, "calls") {
		if rapid.Bool().Draw(t.T, "inject") {
			if d := drawRAGDoc(t, c); m.inject(d) {
				inject(t, s, d)
			}
		} else if q := drawRAGQuery(t, c); m.retrieve(q) {
			m.answers(t, retrieve(t, s, q, c.MaxDocs), c.MaxDocs)
		}
		want := m.stats
		want.AverageRelevance = m.averageRelevance()
		t.sameRAGStats(c, s.Stats(), want)
	}
}

// ragRow makes a buffer and passages for it. The page's query is token ids; as
// squish6 it is an embedding.
func ragRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload, passages int) (s spec.StreamRAG, docs []ragDoc, q ragQuery, err error) {
	c := spec.DefaultStreamRAGConfig()
	c.Variant = rowVariant(streamRAG, name)
	c.MaxDocs, c.EmbedDim, c.TopKRetrieve = w.Int("max_docs", c.MaxDocs), w.Int("embed_dim", c.EmbedDim), w.Int("top_k", c.TopKRetrieve)
	for i := range passages {
		d := ragDoc{id: fmt.Sprint("passage ", i), embedding: gaussian(c.EmbedDim, uint64(i))}
		for j := range w.Int("tokens", 128) {
			d.tokens = append(d.tokens, int64(j*j*(i+3)%997))
		}
		docs = append(docs, d)
	}
	if c.Variant == spec.Squish6 {
		q.embedding = gaussian(c.EmbedDim, 23)
	} else {
		for j := range w.Int("query_tokens", 16) {
			q.ids = append(q.ids, int64(j*61%997))
		}
	}
	s, err = impl.StreamRAG(c)
	return s, docs, q, err
}

// ragInjectRow injects a row's number of passages a call. The page's four replace
// each other; of the harness's each takes the room of another.
func ragInjectRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	passages := w.Int("passages", 1)
	n := passages
	if name == spec.HarnessWorkload {
		n = 4 * w.Int("max_docs", 8)
	}
	s, docs, q, err := ragRow(impl, name, w, n)
	next := 0
	return timing{
		calls: 64,
		call: func(int) error {
			for range passages {
				d := docs[next%n]
				if err := s.Inject(d.id, d.tokens, d.embedding); err != nil {
					return err
				}
				next++
			}
			return nil
		},
		// The last in are in, however many went before.
		result: func() (any, error) {
			for _, d := range docs {
				if err := s.Inject(d.id, d.tokens, d.embedding); err != nil {
					return nil, err
				}
			}
			return ragRowAnswer(s, q)
		},
	}, err
}

func ragRowAnswer(s spec.StreamRAG, q ragQuery) (*[]spec.RetrievedDoc, error) {
	var out []spec.RetrievedDoc
	return &out, s.Retrieve(&out, q.embedding, q.ids, s.NDocs())
}

func ragRetrieveRow(impl spec.Implementation, name spec.WorkloadName, w spec.Workload) (timing, error) {
	s, docs, q, err := ragRow(impl, name, w, w.Int("passages", 1))
	if err != nil {
		return timing{}, err
	}
	for _, d := range docs {
		if err := s.Inject(d.id, d.tokens, d.embedding); err != nil {
			return timing{}, err
		}
	}
	var out []spec.RetrievedDoc
	return timing{
		calls:  16,
		call:   func(int) error { return s.Retrieve(&out, q.embedding, q.ids, 0) },
		result: func() (any, error) { return &out, nil },
	}, nil
}

func ragSameResult(t *trial, got, want any) {
	g, w := *got.(*[]spec.RetrievedDoc), *want.(*[]spec.RetrievedDoc)
	sameRetrieved(t, spec.DefaultStreamRAGConfig(), 16, g, w)
}
