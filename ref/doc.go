// Package ref is the reference: every module as slow, readable code.
//
// It reads like the formulas of the specification, sums in float64 in index
// order, and converts around every product that is added (float64(x*y) + z), so
// that no platform fuses the two. Speed is no concern here; package fast is the
// same, optimised, and package conformance proves them equivalent.
package ref

import "github.com/squishspec/squishspec/spec"

// Implementation returns the reference, which offers everything.
func Implementation() spec.Implementation {
	impl := spec.Implementation{
		Name: "ref", Version: spec.Version, Language: "Go",
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
