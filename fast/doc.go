// Package fast is the optimised implementation: the same answers as package ref,
// by better algorithms and tighter loops.
//
// Kernels sit in fast/internal, one idea a file, behind plain Go signatures: a
// vector version can take a kernel's place without its callers noticing. In the
// steady state no operation allocates: an instance keeps its scratch memory.
// Instances are not safe for concurrent use, except where a module's interface
// says so.
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
