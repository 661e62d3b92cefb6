package spec

import "reflect"

// ContextualRerank ranks cached positions, or documents, by what they hold and by
// how recent they are.
//
// Page rows: contextual-rerank/rerank, contextual-rerank/rerank-query.
type ContextualRerank interface {
	// Rerank writes the best min(top_k, n) positions of keys (n_heads, n, head_dim),
	// best first, of equal ones the lowest. The score of position i is
	//
	//	(1 − recency_weight)·content + recency_weight·i/(n−1)
	//
	// with recency 0 for n = 1. Content is the mean over heads of the key's length,
	// or with a query (n_heads, head_dim) of key·query, scaled to [0, 1] over the
	// positions: a range up to 10⁻⁶ of the greatest magnitude counts as none, and
	// content then is 0.
	//
	// Wrong shapes, no positions and non-finite elements are Invalid.
	Rerank(dst *[]int, keys Heads, query Matrix) error
	Stats() ContextualRerankStats
}

// ContextualRerankDocs ranks documents.
type ContextualRerankDocs interface {
	// RerankDocs is Rerank of n documents, each of any number of token ids, the later
	// the more recent. Content is BM25 of the query's ids against the documents; with
	// embeddings, of the query and of every document (n, dim), it is the mean of BM25
	// and cosine, each scaled to [0, 1]. Without ids it is the cosine alone.
	//
	// No documents, neither ids nor embeddings, one kind of embedding without the
	// other, other shapes and non-finite elements are Invalid.
	RerankDocs(dst *[]int, queryIDs []int64, docs [][]int64, queryEmbedding []float32, docEmbeddings Matrix) error
}

// ContextualRerankConfig configures ContextualRerank.
type ContextualRerankConfig struct {
	NHeads  int `wire:"n_heads"`  // ≥ 1, default 8
	HeadDim int `wire:"head_dim"` // ≥ 1, default 64
	// RecencyWeight is what recency counts beside content, in [0, 1], default 0.5.
	RecencyWeight float64 `wire:"recency_weight"`
	TopK          int     `wire:"top_k"` // ≥ 1, default 64
}

// DefaultContextualRerankConfig returns the defaults.
func DefaultContextualRerankConfig() ContextualRerankConfig {
	return ContextualRerankConfig{NHeads: 8, HeadDim: 64, RecencyWeight: 0.5, TopK: 64}
}

// Validate returns an Invalid error that names the field out of range.
func (c ContextualRerankConfig) Validate() error {
	const m = "contextual-rerank"
	return firstError(
		atLeast(m, "n_heads", c.NHeads, 1),
		atLeast(m, "head_dim", c.HeadDim, 1),
		inRange(m, "recency_weight", "a number in [0, 1]", c.RecencyWeight, c.RecencyWeight >= 0 && c.RecencyWeight <= 1),
		atLeast(m, "top_k", c.TopK, 1),
		storesFit(m, c.NHeads, c.HeadDim),
	)
}

// CheckKeys rejects arguments of Rerank.
func (c ContextualRerankConfig) CheckKeys(keys Heads, query Matrix) error {
	const m = "contextual-rerank"
	if err := CheckHeads(m, "keys", keys, c.NHeads, -1, c.HeadDim); err != nil {
		return err
	}
	if keys.Tokens == 0 {
		return Reject(Invalid, m, "keys", "at least 1 position", 0)
	}
	if err := checkFiniteHeads(m, "keys", keys); err != nil || IsNone(query) {
		return err
	}
	return firstError(CheckMatrix(m, "query", query, c.NHeads, c.HeadDim), CheckFinite(m, "query", query.Data))
}

// CheckDocs rejects arguments of RerankDocs.
func (ContextualRerankConfig) CheckDocs(queryIDs []int64, docs [][]int64, queryEmbedding []float32, docEmbeddings Matrix) error {
	const m = "contextual-rerank"
	switch dim := len(queryEmbedding); {
	case len(docs) == 0:
		return Reject(Invalid, m, "docs", "at least 1 document", 0)
	case dim == 0 && !IsNone(docEmbeddings):
		return Reject(Invalid, m, "query_embedding", "an embedding, as the documents have some", "none")
	case dim > 0 && IsNone(docEmbeddings):
		return Reject(Invalid, m, "doc_embeddings", "an embedding a document, as the query has one", "none")
	case dim == 0 && len(queryIDs) == 0:
		return Reject(Invalid, m, "query_ids", "at least 1 token id, or embeddings", 0)
	case dim == 0:
		return nil
	default:
		return firstError(
			CheckMatrix(m, "doc_embeddings", docEmbeddings, len(docs), dim),
			CheckFinite(m, "query_embedding", queryEmbedding),
			CheckFinite(m, "doc_embeddings", docEmbeddings.Data),
		)
	}
}

// ContextualRerankStats count what was ranked, positions and documents alike.
type ContextualRerankStats struct {
	Calls     int `wire:"total_rerank_calls"`
	Positions int `wire:"total_positions_ranked"`
}

const (
	rerankTolerance = "exact but for positions too near to tell: scores within twice (1−w)·4·e/range + 4·u, e = u·(dim + heads + 16) of the mean magnitude added up, for documents as stream-rag; any order where the range may or may not count as none"
	rerankWhy       = "lengths and products of dim elements over some heads are off by e, scaling subtracts the least of them and divides by the range"
)

var contextualRerank = &Module{
	Name: "contextual-rerank", Wave: 23,
	Summary:   "cached positions, or documents, ranked by content and recency",
	Interface: reflect.TypeFor[ContextualRerank](),
	Config:    DefaultContextualRerankConfig(),
	Defaults:  defaults(func(ContextualRerankConfig) ContextualRerankConfig { return DefaultContextualRerankConfig() }),
	Operations: []Operation{
		op[ContextualRerank]("rerank", named("top"), named("keys"), Param{Name: "query", Optional: true}),
		op[ContextualRerank]("stats", Param{}),
		optional[ContextualRerankDocs]("rerank_docs", named("top"), Param{Name: "query_ids", Optional: true}, named("docs"),
			Param{Name: "query_embedding", Optional: true}, Param{Name: "doc_embeddings", Optional: true}),
	},
	Requirements: append([]Requirement{{
		ID: "contextual-rerank/positions", Level: Must, Kind: Law,
		Text:      "The answer is min(top_k, n) different positions.",
		Tolerance: exact, Why: exactWhy, Source: "a ranking",
	}, {
		ID: "contextual-rerank/order", Level: Must, Kind: Law,
		Text:      "Positions come by score, descending, and none left out scores above one that is not.",
		Tolerance: rerankTolerance, Why: rerankWhy, Source: "page row contextual-rerank/rerank-query: query-conditioned rerank; scores are computed anew, in compensated sums",
	}, {
		ID: "contextual-rerank/recency", Level: Must, Kind: Law,
		Text:      "With a recency_weight of 1 the latest come first, whatever they hold.",
		Tolerance: exact, Why: "content is multiplied by 0", Source: "the config's name",
	}, {
		ID: "contextual-rerank/constant", Level: Must, Kind: Law,
		Text:      "Positions of equal keys come by recency, and without a weight for that by index.",
		Tolerance: exact, Why: "equal keys go through equal arithmetic", Source: "rules for all modules: no range counts as 0; ties go to the lowest index",
	}, {
		ID: "contextual-rerank/scale", Level: Must, Kind: Law,
		Text:      "Keys times 2ᵏ have the same ranking.",
		Tolerance: exact, Why: "a multiplication by a power of two is exact while nothing under- or overflows", Source: "content is scaled to [0, 1]",
	}, {
		ID: "contextual-rerank/shift", Level: Must, Kind: Law,
		Text:      "With a query, one vector added to every key of a head leaves the ranking.",
		Tolerance: exact, Why: "keys, query and vector are small integers, of which sums and products are exact", Source: "every content grows alike, and is scaled by its range",
	}, {
		ID: "contextual-rerank/heads", Level: Must, Kind: Law,
		Text:      "Reordering the heads, of keys and query alike, leaves the ranking.",
		Tolerance: rerankTolerance, Why: rerankWhy, Source: "content is a mean over heads",
	}, {
		ID: "contextual-rerank/prefix", Level: Must, Kind: Law,
		Text:      "The ranking of a smaller top_k begins that of a larger one.",
		Tolerance: exact, Why: "top_k is part of no score", Source: "a ranking",
	}, {
		ID: "contextual-rerank/docs", Level: Must, Kind: Law, Needs: []string{"rerank_docs"},
		Text:      "Documents come by BM25, by cosine, or by the mean of the two each scaled, blended with recency.",
		Tolerance: rerankTolerance, Why: rerankWhy, Source: "page row contextual-rerank/rerank: BM25 relevance re-scoring; " + okapi + ", counted by brute force, cosines in big floats",
	}, {
		ID: "contextual-rerank/docs-match", Level: Must, Kind: Law, Needs: []string{"rerank_docs"},
		Text:      "Without a weight for recency, documents that have a term of the query come before those that have none, and the latter by index.",
		Tolerance: exact, Why: "their content is above 0, and 0", Source: okapi + ": no weight is negative",
	}, {
		ID: "contextual-rerank/docs-constant", Level: Must, Kind: Law, Needs: []string{"rerank_docs"},
		Text:      "Documents that have no term of the query come by recency, and without a weight for that by index.",
		Tolerance: exact, Why: "their content is 0", Source: "rules for all modules: no range counts as 0",
	}, {
		ID: "contextual-rerank/stats", Level: Must, Kind: Law,
		Text:      "Stats count calls and the positions or documents ranked.",
		Tolerance: exact, Why: exactWhy, Source: "the recording's stats",
	}}, common("contextual-rerank", nil, rerankTolerance, rerankWhy, "scores computed anew: compensated sums, brute-force counts, big floats")...),
}
