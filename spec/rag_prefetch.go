package spec

import "reflect"

// RAGPrefetch watches which documents are accessed and names those that are worth
// fetching ahead, by a score that joins frequency and recency: LRFU (Lee et al.
// 2001), in time counted by accesses.
//
// Page rows: rag-prefetch/record-access, rag-prefetch/get-candidates.
type RAGPrefetch interface {
	// RecordAccess notes an access to the document of these token ids and writes its
	// digest: SHA-256, in lower-case hexadecimal, of the ids as little-endian int64.
	//
	// All scores are multiplied by recency_decay; then this document's score and
	// count grow by 1; it is a hit if the document was tracked. With more than
	// max_docs tracked the last in the order of scores goes, which may be this one,
	// and nothing of it is remembered.
	//
	// With window w > 0 only the last w accesses count: what is older has left score
	// and count, and a document with none left is no longer tracked, which is no
	// eviction.
	//
	// The order is that of exact arithmetic, highest score first, and among equals
	// the latest accessed: scores neither underflow nor drift. Documents whose scores
	// differ by less than 10⁻⁹, relative, may change places. No ids are Invalid.
	RecordAccess(dst *string, docTokens []int64) error
	// GetWarmupCandidates writes the digests of the first top_k documents in that
	// order that have min_accesses accesses. It changes nothing.
	GetWarmupCandidates(dst *[]string) error
	// NTracked returns the number of documents tracked.
	NTracked() int
	Stats() RAGPrefetchStats
}

// RAGPrefetchConfig configures RAGPrefetch.
type RAGPrefetchConfig struct {
	MaxDocs int `wire:"max_docs"` // ≥ 1, default 1024
	TopK    int `wire:"top_k"`    // ≥ 1, default 16
	// RecencyDecay is what an access is worth after another one, in (0, 1], default
	// 0.95. At 1 the order is by frequency, up to ½ by recency alone.
	RecencyDecay float64 `wire:"recency_decay"`
	MinAccesses  int     `wire:"min_accesses"` // ≥ 1, default 2
	// Window is how many accesses count; 0, the default, for all.
	Window int `wire:"window"`
}

// DefaultRAGPrefetchConfig returns the defaults.
func DefaultRAGPrefetchConfig() RAGPrefetchConfig {
	return RAGPrefetchConfig{MaxDocs: 1024, TopK: 16, RecencyDecay: 0.95, MinAccesses: 2}
}

// Validate returns an Invalid error that names the field out of range.
func (c RAGPrefetchConfig) Validate() error {
	const m = "rag-prefetch"
	return firstError(
		atLeast(m, "max_docs", c.MaxDocs, 1),
		atLeast(m, "top_k", c.TopK, 1),
		inRange(m, "recency_decay", "a number in (0, 1]", c.RecencyDecay, c.RecencyDecay > 0 && c.RecencyDecay <= 1),
		atLeast(m, "min_accesses", c.MinAccesses, 1),
		atLeast(m, "window", c.Window, 0),
	)
}

// CheckTokens rejects an argument of RecordAccess.
func (RAGPrefetchConfig) CheckTokens(docTokens []int64) error {
	if len(docTokens) == 0 {
		return Reject(Invalid, "rag-prefetch", "doc_tokens", "at least 1 token id", 0)
	}
	return nil
}

// RAGPrefetchStats count what happened so far.
type RAGPrefetchStats struct {
	Accesses  int `wire:"total_accesses"`
	Evictions int `wire:"total_evictions"`
	Hits      int `wire:"cache_hits"`
}

const (
	prefetchTolerance = "exact; documents whose scores differ by less than 10⁻⁹, relative, may change places, and none are drawn"
	prefetchWhy       = "scores are sums of powers of the decay, compared by their logarithms in float64; sums of some dozens of powers that differ at all differ by more"
)

var ragPrefetch = &Module{
	Name: "rag-prefetch", Wave: 23,
	Summary:   "documents to fetch ahead, by frequency and recency of their accesses",
	Interface: reflect.TypeFor[RAGPrefetch](),
	Config:    DefaultRAGPrefetchConfig(),
	Defaults:  defaults(func(RAGPrefetchConfig) RAGPrefetchConfig { return DefaultRAGPrefetchConfig() }),
	Operations: []Operation{
		op[RAGPrefetch]("record_access", named("digest"), named("doc_tokens")),
		op[RAGPrefetch]("get_warmup_candidates", named("candidates")),
		op[RAGPrefetch]("n_tracked", named("n_tracked")),
		op[RAGPrefetch]("stats", Param{}),
	},
	Requirements: append([]Requirement{{
		ID: "rag-prefetch/scores", Level: Must, Kind: Model,
		Text:      "Candidates, the documents tracked and stats are those of scores that are all multiplied by the decay on every access, in arithmetic that does not round.",
		Tolerance: prefetchTolerance, Why: prefetchWhy, Second: "a model that multiplies every score on every access, in big floats, and sums a window anew",
		Source: "page rows rag-prefetch/record-access and rag-prefetch/get-candidates: recency-weighted ranking; LRFU (Lee et al. 2001)",
	}, {
		ID: "rag-prefetch/digest", Level: Must, Kind: Law,
		Text:      "The digest is SHA-256 of the ids as little-endian int64, in lower-case hexadecimal.",
		Tolerance: exact, Why: exactWhy, Source: "the recording; computed by Go's crypto/sha256",
	}, {
		ID: "rag-prefetch/frequency", Level: Must, Kind: Law,
		Text:      "With a decay of 1 candidates come by number of accesses, of equal ones the latest accessed first.",
		Tolerance: exact, Why: "counts have no rounding", Source: "LRFU is LFU where nothing decays",
	}, {
		ID: "rag-prefetch/recency", Level: Must, Kind: Law,
		Text:      "With a decay of at most ½ candidates come by their latest access.",
		Tolerance: exact, Why: "one access outweighs all earlier ones together: a sum that rounds to its bound ties, and the latest accessed is first among equals", Source: "LRFU is LRU where the rest of a geometric series is no more than its next term",
	}, {
		ID: "rag-prefetch/bystanders", Level: Must, Kind: Law,
		Text:      "An access leaves the order of all other documents as it was.",
		Tolerance: exact, Why: "their scores are multiplied alike", Source: "a common factor changes no order",
	}, {
		ID: "rag-prefetch/underflow", Level: Must, Kind: Law,
		Text:      "Documents keep their order through so many accesses to another that their scores are below every float64.",
		Tolerance: exact, Why: "the scores that are compared differ by 2% or more", Source: "scores multiplied away underflow and tie",
	}, {
		ID: "rag-prefetch/top-k", Level: Must, Kind: Law,
		Text:      "Candidates of a smaller top_k are the first of a larger one's, and those of a higher min_accesses are among a lower one's in the same order.",
		Tolerance: exact, Why: "neither is part of a score", Source: "candidates are a prefix of one order",
	}, {
		ID: "rag-prefetch/window", Level: Must, Kind: Law,
		Text:      "With a window of w accesses candidates and documents tracked are those of a new instance that has seen the last w only.",
		Tolerance: prefetchTolerance, Why: prefetchWhy, Source: "page row rag-prefetch/record-access: an 8-doc window, rolling",
	}, {
		ID: "rag-prefetch/conservation", Level: Must, Kind: Law,
		Text:      "No more than max_docs documents are tracked, and without a window they are as many as accesses less hits less evictions.",
		Tolerance: exact, Why: exactWhy, Source: "a document is new, tracked or evicted",
	}, {
		ID: "rag-prefetch/pure", Level: Must, Kind: Law,
		Text:      "Asking for candidates changes no later answer.",
		Tolerance: exact, Why: "the implementation is compared with itself", Source: "it advises, and fetches nothing",
	}, {
		ID: "rag-prefetch/stats", Level: Must, Kind: Law,
		Text:      "Stats count accesses, hits, which are accesses to documents tracked, and evictions.",
		Tolerance: exact, Why: exactWhy, Source: "the recording's stats",
	}}, common("rag-prefetch", nil, prefetchTolerance, prefetchWhy, "the model of rag-prefetch/scores")...),
}
