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
		AWQv2:           NewAWQv2,
		CotCompress:     NewCotCompress,
		CrossDocAttn:    NewCrossDocAttn,
		CrossModalAttn:  NewCrossModalAttn,
		DeltaCompress:   NewDeltaCompress,
		EmbeddingGate:   NewEmbeddingGate,
		HierarchicalKV:  NewHierarchicalKV,
		MultiModalBatch: NewMultiModalBatch,
		TernaryQuant:    NewTernaryQuant,
		ZeroQuantV2:     NewZeroQuantV2,
	}
	impl.Offers = spec.OffersEverything(impl)
	return impl
}
