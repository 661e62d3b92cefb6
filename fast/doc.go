// Package fast is the optimised implementation: the same answers as package ref,
// near the limit of the machine.
//
// # Where things are
//
// A module is a file here, of the name that it has in spec, ref and conformance (AWQ's
// search, the longest, has two more). It checks arguments, keeps state and stats, and
// composes what lies in fast/internal, where each package is one idea that its comment
// names: selection by bits, an LRU stack cut in tiers, attention in tiles. Loops over
// numbers are in one of these packages, kern. Two packages are for others too: matrix
// multiplies, elementary has exponential and logarithm. Package machine measures what
// the kernels could do at most.
//
// # Kernels
//
// A kernel of kern is a Go function over slices with up to four bodies: assembly for
// AVX-512 and for AVX2, NEON for the few that carry the flops, and plain Go. The plain
// one is the path of every other processor and of the build tag purego, and what tests
// hold the others to, bit by bit where it is elementwise, at every length up to 1024,
// between pages that may not be touched. The assembly is written by a generator, one
// description for both widths; it refuses what AVX2 does not have.
//
// The best tier is chosen when the program starts. The environment variable
// SQUISHSPEC_SIMD names another: SIMD says which one is in force, CI runs all of them.
// Nothing but kern knows of tiers.
//
// # Rules that make it fast
//
//   - An operation reads its input as often as it must, and no more: that all numbers
//     are finite is seen in a pass that reads them anyway, or in its result (a sum of
//     magnitudes is finite where they are, and may else be asked who was not).
//   - Arithmetic is float32 where the requirement's bound allows it. Where a decision
//     hangs on the last bits (a threshold, a tie, a flat spectrum, a magnitude near
//     the ends of the range) what is near is decided again in float64, as ref does.
//   - Nothing branches on a number that no predictor can guess.
//   - In the steady state no operation allocates: an instance keeps its scratch, and
//     results reuse their destination. A test runs every row of the page for that.
//   - What is large is cut over the cores by package parallel, from the size on where
//     a piece outlasts the start of a goroutine many times. Results do not depend on
//     the cut, and no goroutine outlives a call. A constructor or an operation that
//     takes more memory than its input says how many times.
//
// # How it is held to ref
//
// conform check --impl fast runs every requirement, in every tier in CI; tests here
// cover what drawn inputs seldom reach: sizes beyond a block, several cores, the ends of
// the float range. conform bench times a row only if its output agreed with ref's, and
// prints its share of the machine's limit; CONFORMANCE.md has the figures, and a reason
// for every one that misses its target.
//
// Instances are not safe for concurrent use, except where a module's interface says so.
package fast

import "github.com/squishspec/squishspec/spec"

// Implementation returns the optimised implementation, which offers everything.
func Implementation() spec.Implementation {
	impl := spec.Implementation{
		Name: "fast", Version: spec.Version + "+" + SIMD(), Language: "Go",
		AWQv2:            NewAWQv2,
		BinaryAttn:       NewBinaryAttn,
		ContextualRerank: NewContextualRerank,
		CotCompress:      NewCotCompress,
		CrossDocAttn:     NewCrossDocAttn,
		CrossModalAttn:   NewCrossModalAttn,
		DeltaCompress:    NewDeltaCompress,
		EmbeddingGate:    NewEmbeddingGate,
		GPTQLayer:        NewGPTQLayer,
		HierarchicalKV:   NewHierarchicalKV,
		ImageTokenPrune:  NewImageTokenPrune,
		IterPrune:        NewIterPrune,
		LayerFusion:      NewLayerFusion,
		LongContextChunk: NewLongContextChunk,
		ModalityRouter:   NewModalityRouter,
		ModelSurgery:     NewModelSurgery,
		MultiModalBatch:  NewMultiModalBatch,
		QuantCalib:       NewQuantCalib,
		RAGPrefetch:      NewRAGPrefetch,
		SparseMoE:        NewSparseMoE,
		SparseWeight:     NewSparseWeight,
		StreamRAG:        NewStreamRAG,
		StructuredPrune:  NewStructuredPrune,
		TernaryQuant:     NewTernaryQuant,
		VideoFramePrune:  NewVideoFramePrune,
		VisionKVFuse:     NewVisionKVFuse,
		WeightSharing:    NewWeightSharing,
		ZeroQuantV2:      NewZeroQuantV2,
	}
	impl.Offers = spec.OffersEverything(impl)
	return impl
}
