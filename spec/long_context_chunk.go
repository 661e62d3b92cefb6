package spec

import (
	"math"
	"reflect"
)

// LongContextChunk cuts a long sequence of token embeddings into chunks, where the
// topic changes.
//
// Page rows: long-context-chunk/chunk-2048, long-context-chunk/chunk-256.
type LongContextChunk interface {
	// Chunk writes chunks that cover the tokens 0 … n−1 of embeddings (n, embed_dim)
	// in order: one chunk for up to max_chunk_size tokens, none for no tokens.
	//
	// Of more tokens the means of the ⌊n/min⌋ complete windows of min_chunk_size
	// tokens are compared, each with the next: d = 1 − cos, with 10⁻¹⁰ added to
	// each norm. A candidate for a cut stands before a window where (d − mean)/std
	// of all d is above boundary_sensitivity, std being that of the population;
	// there is none with fewer than two windows or a std below 10⁻¹⁰. A chunk that
	// begins at s ends at the first candidate from s + min to s + max, and without
	// one at s + max, or at n where that is nearer.
	//
	// Another width and non-finite elements are Invalid.
	Chunk(dst *[]Chunk, tokenEmbeddings Matrix) error
	Stats() LongContextChunkStats
}

// A Chunk is the tokens from Start up to, not with, End.
type Chunk struct {
	Start int `wire:"0"`
	End   int `wire:"1"`
}

// LongContextChunkConfig configures LongContextChunk. Sizes are in tokens.
type LongContextChunkConfig struct {
	MaxChunkSize int `wire:"max_chunk_size"` // > MinChunkSize, default 512
	MinChunkSize int `wire:"min_chunk_size"` // ≥ 1, default 64
	// BoundarySensitivity is how many standard deviations above the mean a distance
	// must lie to mark a change of topic; finite and > 0, default 2.
	BoundarySensitivity float64 `wire:"boundary_sensitivity"`
	EmbedDim            int     `wire:"embed_dim"` // ≥ 1, default 128
}

// DefaultLongContextChunkConfig returns the defaults.
func DefaultLongContextChunkConfig() LongContextChunkConfig {
	return LongContextChunkConfig{MaxChunkSize: 512, MinChunkSize: 64, BoundarySensitivity: 2, EmbedDim: 128}
}

// Validate returns an Invalid error that names the field out of range.
func (c LongContextChunkConfig) Validate() error {
	const m = "long-context-chunk"
	s := c.BoundarySensitivity
	return firstError(
		atLeast(m, "min_chunk_size", c.MinChunkSize, 1),
		above(m, "max_chunk_size", c.MaxChunkSize, "min_chunk_size", c.MinChunkSize),
		inRange(m, "boundary_sensitivity", "a finite number above 0", s, s > 0 && !math.IsInf(s, 1)),
		atLeast(m, "embed_dim", c.EmbedDim, 1),
		storesFit(m, c.EmbedDim),
	)
}

// CheckEmbeddings rejects an argument of Chunk.
func (c LongContextChunkConfig) CheckEmbeddings(x Matrix) error {
	const m = "long-context-chunk"
	return firstError(
		CheckMatrix(m, "token_embeddings", x, -1, c.EmbedDim),
		CheckFinite(m, "token_embeddings", x.Data),
	)
}

// LongContextChunkStats count what Chunk did.
type LongContextChunkStats struct {
	Calls  int `wire:"total_chunk_calls"`
	Tokens int `wire:"total_tokens_chunked"`
	Chunks int `wire:"total_chunks_produced"`
	// AverageSize is Tokens/Chunks, 0 before any chunk.
	AverageSize float64 `wire:"avg_chunk_size"`
}

const (
	chunkTolerance = "exact; a candidate within 2⁻²⁰·s + 4·e·(1 + s)/std of the sensitivity s, e = 4·u·(dim + min + 16)·κ, may be one or none, and every one where std ± 2·e straddles 10⁻¹⁰; κ is the greatest ratio of a window's mean magnitudes to its mean"
	chunkWhy       = "means, dot products and norms of min and dim terms put e on a distance, a window whose tokens cancel κ times that; mean and deviation pass it on"
)

var longContextChunk = &Module{
	Name: "long-context-chunk", Wave: 23,
	Summary:   "long sequences cut into chunks where the topic changes",
	Interface: reflect.TypeFor[LongContextChunk](),
	Config:    DefaultLongContextChunkConfig(),
	Defaults:  defaults(func(LongContextChunkConfig) LongContextChunkConfig { return DefaultLongContextChunkConfig() }),
	Operations: []Operation{
		op[LongContextChunk]("chunk", named("chunks"), named("token_embeddings")),
		op[LongContextChunk]("stats", Param{}),
	},
	Requirements: append([]Requirement{{
		ID: "long-context-chunk/tiling", Level: Must, Kind: Law,
		Text:      "Chunks are not empty, follow one another, begin at 0 and end at n.",
		Tolerance: exact, Why: exactWhy, Source: "every token goes into one chunk",
	}, {
		ID: "long-context-chunk/lengths", Level: Must, Kind: Law,
		Text:      "No chunk is longer than max_chunk_size, and none but the last is shorter than min_chunk_size.",
		Tolerance: exact, Why: exactWhy, Source: "the config's names",
	}, {
		ID: "long-context-chunk/short", Level: Must, Kind: Law,
		Text:      "Up to max_chunk_size tokens are one chunk, whatever they hold, and no tokens are none.",
		Tolerance: exact, Why: exactWhy, Source: "page row long-context-chunk/chunk-256; the recording answers (0, 0) to no tokens, which is no chunk",
	}, {
		ID: "long-context-chunk/boundaries", Level: Must, Kind: Law,
		Text:      "A chunk ends at the first candidate from its start + min to its start + max, and without one after max tokens or at the end.",
		Tolerance: chunkTolerance, Why: chunkWhy, Source: "page row long-context-chunk/chunk-2048; candidates are computed anew, from compensated sums",
	}, {
		ID: "long-context-chunk/topic", Level: Must, Kind: Law,
		Text:      "Where one half of the windows points along one axis and the rest along another, the cut between them is a candidate exactly for a sensitivity below √(m−1), of m distances.",
		Tolerance: "exact; sensitivities within 2⁻¹⁰ of √(m−1), relative, are not asked for", Why: "one distance is 1 and the others 0, but for rounding far below the gap", Source: "the greatest z-score of m numbers, one of which differs",
	}, {
		ID: "long-context-chunk/insensitive", Level: Must, Kind: Law,
		Text:      "With a sensitivity above √(m−1), of m distances, chunks are of max_chunk_size.",
		Tolerance: "exact; a sensitivity 2⁻¹⁰ above, relative", Why: "no number lies more than √(m−1) population deviations above the mean of m", Source: "Samuelson's inequality",
	}, {
		ID: "long-context-chunk/constant", Level: Must, Kind: Law,
		Text:      "Of tokens that are all the same the chunks are of max_chunk_size, however sensitive.",
		Tolerance: exact, Why: "equal windows go through equal arithmetic, and their distances differ by nothing", Source: "a std below 10⁻¹⁰ marks no boundary",
	}, {
		ID: "long-context-chunk/mirror", Level: Must, Kind: Law,
		Text:      "Negating every embedding, or reordering the embedding's dimensions, changes no chunk.",
		Tolerance: chunkTolerance, Why: chunkWhy, Source: "a cosine knows no axes",
	}, {
		ID: "long-context-chunk/tail", Level: Must, Kind: Law,
		Text:      "Tokens behind the last complete window move no boundary, whatever they hold.",
		Tolerance: exact, Why: "they enter no arithmetic", Source: "windows are complete",
	}, {
		ID: "long-context-chunk/stats", Level: Must, Kind: Law,
		Text:      "Stats count calls, tokens and chunks; the mean size is tokens/chunks, 0 before any chunk.",
		Tolerance: "counts exact; mean 2⁻⁵⁰", Why: "one division in float64", Source: "the recording's stats",
	}}, common("long-context-chunk", nil, chunkTolerance, chunkWhy, "candidates from compensated sums, and cuts from their definition")...),
}
