package spec

import (
	"fmt"
	"reflect"
)

// StreamRAG keeps a buffer of passages while text streams, and retrieves those that
// are most relevant to the latest query.
//
// Page rows: stream-rag/inject, stream-rag/retrieve.
type StreamRAG interface {
	// Inject copies a document into the buffer: up to max_doc_tokens token ids and an
	// embedding of embed_dim elements, either of which may be missing. A full buffer
	// first drops the document of least relevance, of equal ones the oldest. A
	// document whose id is in the buffer is replaced, in its place; nothing is
	// dropped.
	//
	// Documented, all documents are then scored anew against the latest query, as
	// Retrieve does; before any query relevances are 0. As squish6 the new document
	// has relevance 0 until it is retrieved, the others what they had.
	//
	// Too many tokens, an embedding of another length and non-finite elements are
	// Invalid.
	Inject(docID string, tokenIDs []int64, embedding []float32) error
	// Retrieve scores every document of the buffer against a query, an embedding,
	// token ids or both, and copies the best out, up to topK, or top_k_retrieve where
	// that is 0: by relevance, descending, of equal ones the oldest first. An empty
	// buffer answers nothing; the retrieval counts.
	//
	//	token ids   BM25 over the buffered documents
	//	embedding   the cosine, 0 where a vector is zero, in [−1, 1]
	//	both        the mean of the two, each scaled to [0, 1] over the buffer
	//	squish6     x·y/((‖x‖ + 10⁻¹⁰)·(‖y‖ + 10⁻¹⁰)), of embeddings alone
	//
	// A document without tokens or embedding scores 0 there. No query, an embedding
	// of another length, non-finite elements, a negative topK, and as squish6 a query
	// without an embedding or with token ids are Invalid.
	Retrieve(dst *[]RetrievedDoc, queryEmbedding []float32, queryIDs []int64, topK int) error
	NDocs() int
	Stats() StreamRAGStats
}

// A RetrievedDoc is a document of the buffer, copied, and its relevance.
type RetrievedDoc struct {
	DocID     string    `wire:"doc_id"`
	TokenIDs  []int64   `wire:"token_ids"`
	Embedding []float32 `wire:"embedding"` // empty where the document has none
	Relevance float64   `wire:"relevance"`
}

// StreamRAGConfig configures StreamRAG. All numbers are ≥ 1.
type StreamRAGConfig struct {
	Variant      Variant `wire:"variant"`        // Documented or Squish6
	MaxDocs      int     `wire:"max_docs"`       // default 8
	MaxDocTokens int     `wire:"max_doc_tokens"` // default 512
	EmbedDim     int     `wire:"embed_dim"`      // default 256
	TopKRetrieve int     `wire:"top_k_retrieve"` // default 3
}

// DefaultStreamRAGConfig returns the defaults.
func DefaultStreamRAGConfig() StreamRAGConfig {
	return StreamRAGConfig{MaxDocs: 8, MaxDocTokens: 512, EmbedDim: 256, TopKRetrieve: 3}
}

// Validate returns an Invalid error that names the field out of range.
func (c StreamRAGConfig) Validate() error {
	const m = "stream-rag"
	return firstError(
		checkVariant(m, c.Variant, Squish6),
		atLeast(m, "max_docs", c.MaxDocs, 1),
		atLeast(m, "max_doc_tokens", c.MaxDocTokens, 1),
		atLeast(m, "embed_dim", c.EmbedDim, 1),
		atLeast(m, "top_k_retrieve", c.TopKRetrieve, 1),
		storesFit(m, c.MaxDocs, c.MaxDocTokens),
		storesFit(m, c.MaxDocs, c.EmbedDim),
		storesFit(m, c.MaxDocs, c.MaxDocTokens+c.EmbedDim),
	)
}

// CheckDoc rejects arguments of Inject.
func (c StreamRAGConfig) CheckDoc(tokenIDs []int64, embedding []float32) error {
	if err := c.CheckDocShape(tokenIDs, embedding); err != nil {
		return err
	}
	return CheckFinite("stream-rag", "embedding", embedding)
}

// CheckDocShape is CheckDoc but for the embedding's elements.
func (c StreamRAGConfig) CheckDocShape(tokenIDs []int64, embedding []float32) error {
	if len(tokenIDs) > c.MaxDocTokens {
		return Reject(Invalid, "stream-rag", "token_ids", fmt.Sprintf("at most %d token ids", c.MaxDocTokens), len(tokenIDs))
	}
	return c.checkEmbedding("embedding", embedding)
}

// checkEmbedding accepts embed_dim elements, or none.
func (c StreamRAGConfig) checkEmbedding(name string, embedding []float32) error {
	if len(embedding) != 0 && len(embedding) != c.EmbedDim {
		return Reject(Invalid, "stream-rag", name, fmt.Sprintf("%d elements, or none", c.EmbedDim), len(embedding))
	}
	return nil
}

// CheckQuery rejects arguments of Retrieve.
func (c StreamRAGConfig) CheckQuery(queryEmbedding []float32, queryIDs []int64, topK int) error {
	if err := c.CheckQueryShape(queryEmbedding, queryIDs, topK); err != nil {
		return err
	}
	return CheckFinite("stream-rag", "query_embedding", queryEmbedding)
}

// CheckQueryShape is CheckQuery but for the embedding's elements.
func (c StreamRAGConfig) CheckQueryShape(queryEmbedding []float32, queryIDs []int64, topK int) error {
	const m = "stream-rag"
	switch {
	case c.Variant == Squish6 && len(queryEmbedding) == 0:
		return Reject(Invalid, m, "query_embedding", fmt.Sprintf("%d elements", c.EmbedDim), "none")
	case c.Variant == Squish6 && len(queryIDs) > 0:
		return Reject(Invalid, m, "query_ids", "none as squish6, which compares embeddings alone", fmt.Sprintf("%d ids", len(queryIDs)))
	case len(queryEmbedding) == 0 && len(queryIDs) == 0:
		return Reject(Invalid, m, "query", "an embedding, token ids or both", "neither")
	}
	if err := c.checkEmbedding("query_embedding", queryEmbedding); err != nil {
		return err
	}
	return atLeast(m, "top_k", topK, 0)
}

// StreamRAGStats count what happened so far.
type StreamRAGStats struct {
	Injections int `wire:"total_injections"`
	Retrievals int `wire:"total_retrievals"`
	Evictions  int `wire:"total_evictions"`
	// AverageRelevance is the mean over the buffer, 0 of an empty one.
	AverageRelevance float64 `wire:"avg_relevance"`
}

const (
	relevanceTolerance = "relevances within 32·u·(2·dim + 2·terms + 24)·max(1, |relevance|), documents that near may change places; steps where a hybrid's scaling makes more of it, or a drop depends on it, are not drawn"
	relevanceWhy       = "a cosine is off by some 2·dim roundings, a BM25 score by as many of itself as the query has terms and its formula steps; scaling divides that by the range"
	bm25Tolerance      = "u·(terms + 24), relative"
	bm25Why            = "each term's weight passes through a logarithm and a dozen roundings, and so many are added, none negative"
	okapi              = "Robertson and Zaragoza 2009, with Lucene's idf"
)

var streamRAG = &Module{
	Name: "stream-rag", Wave: 23,
	Summary:   "a buffer of passages, the most relevant retrieved while text streams",
	Interface: reflect.TypeFor[StreamRAG](),
	Config:    DefaultStreamRAGConfig(),
	Defaults:  defaults(func(StreamRAGConfig) StreamRAGConfig { return DefaultStreamRAGConfig() }),
	Variants:  []Variant{Squish6},
	Operations: []Operation{
		op[StreamRAG]("inject", Param{}, named("doc_id"), Param{Name: "token_ids", Optional: true}, Param{Name: "embedding", Optional: true}),
		op[StreamRAG]("retrieve", named("docs"), Param{Name: "query_embedding", Optional: true},
			Param{Name: "query_ids", Optional: true}, Param{Name: "top_k", Optional: true}),
		op[StreamRAG]("n_docs", named("n_docs")),
		op[StreamRAG]("stats", Param{}),
	},
	Requirements: append([]Requirement{{
		ID: "stream-rag/buffer", Level: Must, Kind: Model,
		Text:      "The buffer holds the documents, retrieval answers the relevances, and stats count the events, of a list in which every inject and retrieve scores all documents anew.",
		Tolerance: relevanceTolerance, Why: relevanceWhy, Second: "a model that counts every term of every document anew, with cosines in big floats",
		Source: "page rows stream-rag/inject and stream-rag/retrieve",
	}, {
		ID: "stream-rag/bm25", Level: Must, Kind: Law,
		Text:      "Against token ids a document's relevance is its BM25 score over the buffer, k1 1.2 and b 0.75.",
		Tolerance: bm25Tolerance, Why: bm25Why, Source: "page row stream-rag/retrieve: BM25 similarity retrieval; " + okapi + ", counted by brute force",
	}, {
		ID: "stream-rag/bm25-frequency", Level: Must, Kind: Law,
		Text:      "One more occurrence of the term, in a document of the same length, makes it more relevant.",
		Tolerance: "strict where ½% is above 2·u·(terms + 24)", Why: bm25Why + "; drawn relevances differ by ½% or more", Source: okapi,
	}, {
		ID: "stream-rag/bm25-bounded", Level: Must, Kind: Law,
		Text:      "Against one term a document that has it scores above 0 and below idf·(k1 + 1), and one that lacks it 0.",
		Tolerance: bm25Tolerance + "; 0 exact", Why: bm25Why, Source: okapi,
	}, {
		ID: "stream-rag/bm25-length", Level: Must, Kind: Law,
		Text:      "Of two documents with as many occurrences of the term the longer one is less relevant.",
		Tolerance: "strict where ½% is above 2·u·(terms + 24)", Why: bm25Why + "; drawn relevances differ by ½% or more", Source: okapi,
	}, {
		ID: "stream-rag/bm25-additive", Level: Must, Kind: Law,
		Text:      "A query's relevances are the sums of its parts', a repeated id counting each time.",
		Tolerance: "2·u·(terms + 24), relative", Why: bm25Why, Source: okapi + "; rules for all modules: a repeated query id counts each time",
	}, {
		ID: "stream-rag/cosine", Level: Must, Kind: Law,
		Text:      "Against an embedding a document's relevance is the cosine, in [−1, 1], and 0 where a vector is zero or missing.",
		Tolerance: "u·(2·dim + 16), bounds exact", Why: "a dot product of dim elements is off by dim·u of the product of the norms, and so is that", Source: "cosine retrieval, in big floats",
	}, {
		ID: "stream-rag/scale", Level: Must, Kind: Law,
		Text:      "Relevances do not depend on the length of the query's embedding.",
		Tolerance: exact, Why: "a multiplication by a power of two is exact while nothing under- or overflows", Source: "a cosine knows no length",
	}, {
		ID: "stream-rag/mirror", Level: Must, Kind: Law,
		Text:      "The opposite embedding has the opposite relevances, and so the opposite order.",
		Tolerance: exact, Why: "signs go through no rounding", Source: "a cosine is odd",
	}, {
		ID: "stream-rag/hybrid", Level: Must, Kind: Law,
		Text:      "Against both, relevance is the mean of BM25 and cosine, each scaled to [0, 1] over the buffer, a constant one counting as 0.",
		Tolerance: relevanceTolerance, Why: relevanceWhy, Source: "the module's contract: hybrid retrieval",
	}, {
		ID: "stream-rag/prefix", Level: Must, Kind: Law,
		Text:      "What is retrieved for a smaller top_k begins what is retrieved for a larger one, and is min(top_k, n) documents.",
		Tolerance: exact, Why: "top_k is part of no score", Source: "a ranking",
	}, {
		ID: "stream-rag/eviction", Level: Must, Kind: Law,
		Text:      "What an inject drops was the least relevant to the latest query, of equal ones the oldest.",
		Tolerance: relevanceTolerance, Why: relevanceWhy, Source: "relevances are of one query and one corpus",
	}, {
		ID: "stream-rag/replace", Level: Must, Kind: Law,
		Text:      "A document whose id is in the buffer takes that one's place: nothing is dropped, and only the new content is found.",
		Tolerance: exact, Why: exactWhy, Source: "ids name documents; Squish 6.0.0 keeps both",
	}, {
		ID: "stream-rag/stats", Level: Must, Kind: Law,
		Text:      "Stats count injections, retrievals, also from an empty buffer, and evictions; the mean relevance is that of the buffer, 0 of an empty one and before any query.",
		Tolerance: "counts exact; mean " + relevanceTolerance, Why: relevanceWhy, Source: "the recording's stats",
	}, {
		ID: "stream-rag/cosine-squish6", Level: Must, Kind: Law, Variant: Squish6,
		Text:      "As variant squish6, relevance is the cosine with 10⁻¹⁰ added to both norms, and a new document's is 0 until a retrieval.",
		Tolerance: "u·(2·dim + 16)", Why: "as for the cosine", Source: "the recording",
	}}, common("stream-rag", []Variant{Squish6}, relevanceTolerance, relevanceWhy, "a model that counts every term of every document anew, with cosines in big floats")...),
}
