package conformance

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/big"
	"slices"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var ragPrefetch = spec.ModuleByName("rag-prefetch")

var ragPrefetchModule = &module{
	spec: ragPrefetch,
	laws: map[string]func(*trial){
		"scores":       prefetchScores,
		"digest":       prefetchDigest,
		"frequency":    prefetchFrequency,
		"recency":      prefetchRecency,
		"bystanders":   prefetchBystanders,
		"underflow":    prefetchUnderflow,
		"top-k":        prefetchTopK,
		"window":       prefetchWindow,
		"conservation": prefetchConservation,
		"pure":         prefetchPure,
		"stats":        prefetchStats,
	},
	program: prefetchProgram,
	badConfigs: map[string]any{
		"max_docs 0":         prefetchConfig(0, 2, 0.9, 1, 0),
		"max_docs −1":        prefetchConfig(-1, 2, 0.9, 1, 0),
		"top_k 0":            prefetchConfig(4, 0, 0.9, 1, 0),
		"top_k −1":           prefetchConfig(4, -1, 0.9, 1, 0),
		"recency_decay 0":    prefetchConfig(4, 2, 0, 1, 0),
		"recency_decay −½":   prefetchConfig(4, 2, -0.5, 1, 0),
		"recency_decay 1.5":  prefetchConfig(4, 2, 1.5, 1, 0),
		"recency_decay 1+ε":  prefetchConfig(4, 2, 1+0x1p-52, 1, 0),
		"recency_decay NaN":  prefetchConfig(4, 2, math.NaN(), 1, 0),
		"recency_decay +Inf": prefetchConfig(4, 2, math.Inf(1), 1, 0),
		"min_accesses 0":     prefetchConfig(4, 2, 0.9, 0, 0),
		"min_accesses −1":    prefetchConfig(4, 2, 0.9, -1, 0),
		"window −1":          prefetchConfig(4, 2, 0.9, 1, -1),
	},
	badSteps: prefetchBadSteps,
	rows: []row{
		{"rag-prefetch/record-access", prefetchRecordRow, prefetchSameResult},
		{"rag-prefetch/get-candidates", prefetchCandidatesRow, prefetchSameResult},
	},
}

func prefetchBadSteps(*trial, any) []badStep {
	return []badStep{
		{"no ids", call(ragPrefetch, "record_access", []int64(nil)), spec.Invalid},
		{"an empty list", call(ragPrefetch, "record_access", []int64{}), spec.Invalid},
	}
}

func prefetchConfig(maxDocs, topK int, decay float64, minAccesses, window int) spec.RAGPrefetchConfig {
	return spec.RAGPrefetchConfig{MaxDocs: maxDocs, TopK: topK, RecencyDecay: decay, MinAccesses: minAccesses, Window: window}
}

// prefetchDecays are decays of which short sums are equal or far apart.
var prefetchDecays = []float64{0.95, 0.9, 0.83, 0.7, 0.5, 0.3, 1}

func drawPrefetchConfig(t *trial) spec.RAGPrefetchConfig {
	return prefetchConfig(size(t, 1, 6, "max_docs"), size(t, 1, 6, "top_k"), rapid.SampledFrom(prefetchDecays).Draw(t.T, "recency_decay"),
		size(t, 1, 3, "min_accesses"), rapid.SampledFrom([]int{0, 0, 1, 2, 5, 8}).Draw(t.T, "window"))
}

// prefetchDoc makes document number n: ids of its own, some of them negative.
func prefetchDoc(n int) []int64 {
	return []int64{int64(n), math.MinInt64 + int64(n*n), -1, math.MaxInt64}[:1+n%4]
}

func drawPrefetchDoc(t *trial) int { return rapid.IntRange(0, 7).Draw(t.T, "document") }

func prefetchProgram(t *trial, _ spec.Variant) program {
	p := program{config: drawPrefetchConfig(t)}
	for range size(t, 1, 40, "calls") {
		if rapid.IntRange(0, 4).Draw(t.T, "call") == 0 {
			p.steps = append(p.steps, call(ragPrefetch, "get_warmup_candidates"))
		} else {
			p.steps = append(p.steps, call(ragPrefetch, "record_access", prefetchDoc(drawPrefetchDoc(t))))
		}
	}
	p.steps = append(p.steps, call(ragPrefetch, "get_warmup_candidates"))
	return p
}

func digestOf(docTokens []int64) string {
	data := make([]byte, 0, 8*len(docTokens))
	for _, id := range docTokens {
		data = binary.LittleEndian.AppendUint64(data, uint64(id))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// access and candidates are a prefetcher's calls, which must be accepted.
func access(t *trial, p spec.RAGPrefetch, doc int) (digest string) {
	t.Helper()
	t.must(p.RecordAccess(&digest, prefetchDoc(doc)))
	return digest
}

func candidates(t *trial, p spec.RAGPrefetch) (list []string) {
	t.Helper()
	t.must(p.GetWarmupCandidates(&list))
	return list
}

func digestsOf(docs []int) []string {
	var list []string
	for _, doc := range docs {
		list = append(list, digestOf(prefetchDoc(doc)))
	}
	return list
}

// A prefetchModel multiplies every score on every access, in big floats: their
// exponents do not underflow, and 512 bits lose nothing that is compared.
type prefetchModel struct {
	config spec.RAGPrefetchConfig
	decay  *big.Float
	docs   []*prefetchModelDoc
	stats  spec.RAGPrefetchStats
}

type prefetchModelDoc struct {
	doc   int
	score *big.Float
	times []int
}

const prefetchPrecision = 512

func newPrefetchModel(c spec.RAGPrefetchConfig) *prefetchModel {
	return &prefetchModel{config: c, decay: new(big.Float).SetPrec(prefetchPrecision).SetFloat64(c.RecencyDecay)}
}

func (m *prefetchModel) access(doc int) {
	m.stats.Accesses++
	now := m.stats.Accesses
	for _, d := range m.docs {
		d.score.Mul(d.score, m.decay)
	}
	i := slices.IndexFunc(m.docs, func(d *prefetchModelDoc) bool { return d.doc == doc })
	if i >= 0 {
		m.stats.Hits++
	} else {
		i = len(m.docs)
		m.docs = append(m.docs, &prefetchModelDoc{doc: doc, score: new(big.Float).SetPrec(prefetchPrecision)})
	}
	d := m.docs[i]
	d.score.Add(d.score, big.NewFloat(1))
	d.times = append(d.times, now)
	if m.config.Window > 0 {
		m.forget(now)
	}
	if len(m.docs) > m.config.MaxDocs {
		m.rank()
		m.docs = m.docs[:len(m.docs)-1]
		m.stats.Evictions++
	}
}

// forget sums anew what is in the window.
func (m *prefetchModel) forget(now int) {
	for _, d := range m.docs {
		d.times = slices.DeleteFunc(d.times, func(t int) bool { return t <= now-m.config.Window })
		d.score = new(big.Float).SetPrec(prefetchPrecision)
		for t := now - m.config.Window + 1; t <= now; t++ {
			d.score.Mul(d.score, m.decay)
			if slices.Contains(d.times, t) {
				d.score.Add(d.score, big.NewFloat(1))
			}
		}
	}
	m.docs = slices.DeleteFunc(m.docs, func(d *prefetchModelDoc) bool { return len(d.times) == 0 })
}

func (m *prefetchModel) rank() {
	slices.SortFunc(m.docs, func(a, b *prefetchModelDoc) int {
		return cmp.Or(b.score.Cmp(a.score), cmp.Compare(b.times[len(b.times)-1], a.times[len(a.times)-1]))
	})
}

func (m *prefetchModel) candidates() []string {
	m.rank()
	var docs []int
	for _, d := range m.docs {
		if len(d.times) >= m.config.MinAccesses && len(docs) < m.config.TopK {
			docs = append(docs, d.doc)
		}
	}
	return digestsOf(docs)
}

func prefetchScores(t *trial) {
	c := drawPrefetchConfig(t)
	p, m := open(t, t.impl.RAGPrefetch, c), newPrefetchModel(c)
	t.Repeat(map[string]func(*rapid.T){
		"record_access": func(*rapid.T) {
			doc := drawPrefetchDoc(t)
			access(t, p, doc)
			m.access(doc)
		},
		"": func(*rapid.T) {
			t.equal("candidates", candidates(t, p), m.candidates())
			t.equal("n_tracked", p.NTracked(), len(m.docs))
			t.equal("stats", p.Stats(), m.stats)
		},
	})
}

func prefetchDigest(t *trial) {
	p := open(t, t.impl.RAGPrefetch, drawPrefetchConfig(t))
	ids := rapid.SliceOfN(rapid.Int64(), 1, 20).Draw(t.T, "doc_tokens")
	if rapid.IntRange(0, 9).Draw(t.T, "long") == 0 {
		ids = slices.Repeat(ids, 1+1100/len(ids))
	}
	var digest string
	t.must(p.RecordAccess(&digest, ids))
	t.equal("digest", digest, digestOf(ids))
}

// trace makes a prefetcher that tracks all documents, and some accesses to them.
func trace(t *trial, decay float64) (p spec.RAGPrefetch, accesses []int) {
	t.Helper()
	p = open(t, t.impl.RAGPrefetch, prefetchConfig(8, 8, decay, 1, 0))
	for range size(t, 1, 40, "accesses") {
		doc := drawPrefetchDoc(t)
		access(t, p, doc)
		accesses = append(accesses, doc)
	}
	return p, accesses
}

// byLast orders the documents of a trace by their latest access, latest first.
func byLast(accesses []int) (docs []int) {
	for _, doc := range slices.Backward(accesses) {
		if !slices.Contains(docs, doc) {
			docs = append(docs, doc)
		}
	}
	return docs
}

func prefetchFrequency(t *trial) {
	p, accesses := trace(t, 1)
	counts := map[int]int{}
	for _, doc := range accesses {
		counts[doc]++
	}
	docs := byLast(accesses)
	slices.SortStableFunc(docs, func(a, b int) int { return cmp.Compare(counts[b], counts[a]) })
	t.equal("candidates", candidates(t, p), digestsOf(docs))
}

func prefetchRecency(t *trial) {
	p, accesses := trace(t, rapid.SampledFrom([]float64{0.5, 0.25, 0.1, 1e-9, 0x1p-1074}).Draw(t.T, "recency_decay"))
	if rapid.Bool().Draw(t.T, "a run") {
		// So many in a row that the sum rounds to its bound.
		doc := drawPrefetchDoc(t)
		for range 60 {
			access(t, p, doc)
			accesses = append(accesses, doc)
		}
		doc = drawPrefetchDoc(t)
		access(t, p, doc)
		accesses = append(accesses, doc)
	}
	t.equal("candidates", candidates(t, p), digestsOf(byLast(accesses)))
}

func prefetchBystanders(t *trial) {
	p, _ := trace(t, rapid.SampledFrom(prefetchDecays).Draw(t.T, "recency_decay"))
	before := candidates(t, p)
	digest := access(t, p, drawPrefetchDoc(t))
	others := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(d string) bool { return d == digest })
	}
	t.equal("candidates beside the one accessed", others(candidates(t, p)), others(before))
}

// prefetchUnderflow accesses one document three times, then another once, which
// is worth less although it is later, and then a third until both scores are below
// 2⁻¹⁰⁷⁴.
func prefetchUnderflow(t *trial) {
	decay := rapid.SampledFrom([]float64{0.55, 0.6}).Draw(t.T, "recency_decay") // δ + δ² + δ³ > 1
	p := open(t, t.impl.RAGPrefetch, prefetchConfig(3, 3, decay, 1, 0))
	for _, doc := range []int{0, 0, 0, 1} {
		access(t, p, doc)
	}
	for range int(math.Ceil(-1074 / math.Log2(decay))) {
		access(t, p, 2)
	}
	t.equal("candidates", candidates(t, p), digestsOf([]int{2, 0, 1}))
}

func prefetchTopK(t *trial) {
	c := drawPrefetchConfig(t)
	c.MaxDocs = 8
	few, all := c, c
	all.TopK, all.MinAccesses = 8, 1
	some, every := open(t, t.impl.RAGPrefetch, few), open(t, t.impl.RAGPrefetch, all)
	var accesses []int
	for range size(t, 1, 40, "accesses") {
		doc := drawPrefetchDoc(t)
		access(t, some, doc)
		access(t, every, doc)
		accesses = append(accesses, doc)
	}
	if c.Window > 0 {
		accesses = accesses[max(0, len(accesses)-c.Window):]
	}
	counts := map[string]int{}
	for _, digest := range digestsOf(accesses) {
		counts[digest]++
	}
	want := slices.DeleteFunc(candidates(t, every), func(d string) bool { return counts[d] < c.MinAccesses })
	t.equal("candidates", candidates(t, some), want[:min(len(want), c.TopK)])
}

func prefetchWindow(t *trial) {
	c := drawPrefetchConfig(t)
	c.MaxDocs, c.Window = 8, size(t, 1, 12, "window")
	var accesses []int
	whole := open(t, t.impl.RAGPrefetch, c)
	for range size(t, 1, 40, "accesses") {
		doc := drawPrefetchDoc(t)
		access(t, whole, doc)
		accesses = append(accesses, doc)
	}
	unbounded := c
	unbounded.Window = 0
	last := open(t, t.impl.RAGPrefetch, unbounded)
	for _, doc := range accesses[max(0, len(accesses)-c.Window):] {
		access(t, last, doc)
	}
	t.equal("candidates", candidates(t, whole), candidates(t, last))
	t.equal("n_tracked", whole.NTracked(), last.NTracked())
	t.equal("evictions", whole.Stats().Evictions, 0)
}

func prefetchConservation(t *trial) {
	c := drawPrefetchConfig(t)
	p := open(t, t.impl.RAGPrefetch, c)
	for range size(t, 1, 40, "accesses") {
		access(t, p, drawPrefetchDoc(t))
		n, s := p.NTracked(), p.Stats()
		t.holds(n <= c.MaxDocs, "%d documents are tracked, want at most %d", n, c.MaxDocs)
		t.holds(c.Window > 0 || n == s.Accesses-s.Hits-s.Evictions, "%d documents are tracked after %d accesses with %d hits and %d evictions", n, s.Accesses, s.Hits, s.Evictions)
	}
}

func prefetchPure(t *trial) {
	c := drawPrefetchConfig(t)
	asked, unasked := open(t, t.impl.RAGPrefetch, c), open(t, t.impl.RAGPrefetch, c)
	for range size(t, 1, 30, "accesses") {
		doc := drawPrefetchDoc(t)
		access(t, asked, doc)
		access(t, unasked, doc)
		t.equal("candidates asked for twice", candidates(t, asked), candidates(t, asked))
	}
	t.equal("candidates", candidates(t, asked), candidates(t, unasked))
	t.equal("n_tracked", asked.NTracked(), unasked.NTracked())
	t.equal("stats", asked.Stats(), unasked.Stats())
}

// prefetchStats tells a hit by what is tracked: room for all, and no window.
func prefetchStats(t *trial) {
	p, accesses := trace(t, rapid.SampledFrom(prefetchDecays).Draw(t.T, "recency_decay"))
	distinct := len(byLast(accesses))
	t.equal("stats", p.Stats(), spec.RAGPrefetchStats{Accesses: len(accesses), Hits: len(accesses) - distinct})
	one := open(t, t.impl.RAGPrefetch, prefetchConfig(1, 1, 0.5, 1, 0))
	hits := 0
	for i, doc := range accesses {
		access(t, one, doc)
		if i > 0 && doc == accesses[i-1] {
			hits++
		}
	}
	t.equal("stats with room for one", one.Stats(), spec.RAGPrefetchStats{Accesses: len(accesses), Hits: hits, Evictions: len(accesses) - hits - 1})
}

// prefetchRowDocs makes documents of a row's number of tokens.
func prefetchRowDocs(n, tokens int) [][]int64 {
	docs := make([][]int64, n)
	for i := range docs {
		for j := range tokens {
			docs[i] = append(docs[i], int64(i*tokens+j))
		}
	}
	return docs
}

// prefetchRow makes a prefetcher that tracks a row's number of documents, each
// accessed twice.
func prefetchRow(impl spec.Implementation, w spec.Workload) (spec.RAGPrefetch, [][]int64, error) {
	d := spec.DefaultRAGPrefetchConfig()
	c := prefetchConfig(w.Int("max_docs", d.MaxDocs), w.Int("top_k", d.TopK), d.RecencyDecay, w.Int("min_accesses", d.MinAccesses), w.Int("window", 0))
	docs := prefetchRowDocs(w.Int("tracked", w.Int("window", 1)), w.Int("doc_tokens", 32))
	p, err := impl.RAGPrefetch(c)
	if err != nil {
		return nil, nil, err
	}
	var digest string
	for range 2 {
		for _, doc := range docs {
			if err := p.RecordAccess(&digest, doc); err != nil {
				return nil, nil, err
			}
		}
	}
	return p, docs, nil
}

func prefetchRecordRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	p, docs, err := prefetchRow(impl, w)
	var digest string
	return timing{
		calls:  len(docs),
		call:   func(i int) error { return p.RecordAccess(&digest, docs[i]) },
		result: func() (any, error) { return prefetchCandidates(p) },
	}, err
}

func prefetchCandidatesRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	p, _, err := prefetchRow(impl, w)
	var list []string
	return timing{
		calls:  64,
		call:   func(int) error { return p.GetWarmupCandidates(&list) },
		result: func() (any, error) { return list, nil },
	}, err
}

func prefetchCandidates(p spec.RAGPrefetch) (any, error) {
	var list []string
	err := p.GetWarmupCandidates(&list)
	return list, err
}

func prefetchSameResult(t *trial, got, want any) { t.sameResult(got, want) }
