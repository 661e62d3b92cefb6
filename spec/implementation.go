package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// An Implementation is what the suite is run on: one constructor a module, nil
// for a module that is not offered.
type Implementation struct {
	// Name, Version and Language stand in every report.
	Name, Version, Language string

	// UnitRoundoff is the rounding unit of the implementation's arithmetic. Forward
	// error bounds and selection margins scale with it; zero stands for 2⁻²⁴,
	// that of float32. A half-precision implementation says 2⁻¹¹ (binary16) or
	// 2⁻⁸ (bfloat16).
	UnitRoundoff float64

	// Offers says what is offered, before the run: entries "module" (its
	// documented variant and core operations), "module:variant" and
	// "module/operation" (an optional operation). Nil stands for the documented
	// variants and core operations of the constructors given. What is not offered
	// is never called.
	Offers []string

	AWQv2            func(AWQv2Config) (AWQv2, error)
	BinaryAttn       func(BinaryAttnConfig) (BinaryAttn, error)
	ContextualRerank func(ContextualRerankConfig) (ContextualRerank, error)
	CotCompress      func(CotCompressConfig) (CotCompress, error)
	CrossDocAttn     func(CrossDocAttnConfig) (CrossDocAttn, error)
	CrossModalAttn   func(CrossModalAttnConfig) (CrossModalAttn, error)
	DeltaCompress    func(DeltaCompressConfig) (DeltaCompress, error)
	EmbeddingGate    func(EmbeddingGateConfig) (EmbeddingGate, error)
	GPTQLayer        func(GPTQLayerConfig) (GPTQLayer, error)
	HierarchicalKV   func(HierarchicalKVConfig) (HierarchicalKV, error)
	ImageTokenPrune  func(ImageTokenPruneConfig) (ImageTokenPrune, error)
	IterPrune        func(IterPruneConfig) (IterPrune, error)
	LayerFusion      func(LayerFusionConfig) (LayerFusion, error)
	LongContextChunk func(LongContextChunkConfig) (LongContextChunk, error)
	ModalityRouter   func(ModalityRouterConfig) (ModalityRouter, error)
	ModelSurgery     func(ModelSurgeryConfig) (ModelSurgery, error)
	MultiModalBatch  func(MultiModalBatchConfig) (MultiModalBatch, error)
	QuantCalib       func(QuantCalibConfig) (QuantCalib, error)
	RAGPrefetch      func(RAGPrefetchConfig) (RAGPrefetch, error)
	SparseMoE        func(SparseMoEConfig) (SparseMoE, error)
	SparseWeight     func(SparseWeightConfig) (SparseWeight, error)
	StreamRAG        func(StreamRAGConfig) (StreamRAG, error)
	StructuredPrune  func(StructuredPruneConfig) (StructuredPrune, error)
	TernaryQuant     func(TernaryQuantConfig) (TernaryQuant, error)
	VideoFramePrune  func(VideoFramePruneConfig) (VideoFramePrune, error)
	VisionKVFuse     func(VisionKVFuseConfig) (VisionKVFuse, error)
	WeightSharing    func(WeightSharingConfig) (WeightSharing, error)
	ZeroQuantV2      func(ZeroQuantV2Config) (ZeroQuantV2, error)
}

// float32Roundoff is the unit roundoff of float32, rounding to nearest.
const float32Roundoff = 0x1p-24

// Roundoff returns the implementation's unit roundoff, 2⁻²⁴ where it names none.
func (impl *Implementation) Roundoff() float64 {
	if impl.UnitRoundoff > 0 {
		return impl.UnitRoundoff
	}
	return float32Roundoff
}

// Has reports whether the implementation has a constructor for m.
func (impl *Implementation) Has(m *Module) bool {
	return !reflect.ValueOf(impl).Elem().FieldByName(m.GoName()).IsNil()
}

// OffersVariant reports whether a variant of m is offered.
func (impl *Implementation) OffersVariant(m *Module, v Variant) bool {
	if !impl.Has(m) {
		return false
	}
	if impl.Offers == nil {
		return v == Documented
	}
	entry := m.Name
	if v != Documented {
		entry += ":" + string(v)
	}
	return impl.offers(entry)
}

// OffersOperation reports whether an operation of m is offered: a core one with
// any variant of its module, an optional one where it is named besides.
func (impl *Implementation) OffersOperation(m *Module, name string) bool {
	o := m.Operation(name)
	if o == nil || !impl.offersModule(m) {
		return false
	}
	return !o.Optional || impl.offers(m.Name+"/"+name)
}

// offersModule reports whether any variant of m is offered.
func (impl *Implementation) offersModule(m *Module) bool {
	return impl.OffersVariant(m, Documented) ||
		slices.ContainsFunc(m.Variants, func(v Variant) bool { return impl.OffersVariant(m, v) })
}

func (impl *Implementation) offers(entry string) bool { return slices.Contains(impl.Offers, entry) }

// OffersEverything returns the entries for all variants and operations of the
// modules that impl has a constructor for.
func OffersEverything(impl Implementation) []string {
	var all []string
	for _, m := range Modules() {
		if !impl.Has(m) {
			continue
		}
		all = append(all, m.Name)
		for _, v := range m.Variants {
			all = append(all, m.Name+":"+string(v))
		}
		for _, o := range m.Operations {
			if o.Optional {
				all = append(all, m.Name+"/"+o.Name)
			}
		}
	}
	return all
}

// Validate rejects an implementation that offers what does not exist, what it has
// no constructor for, or an operation but no variant to call it on.
func (impl *Implementation) Validate() error {
	if impl.Name == "" {
		return Reject(Invalid, "implementation", "Name", "a name for the report", "")
	}
	if u := impl.UnitRoundoff; !(u >= 0 && u < 1) {
		return Reject(Invalid, "implementation", "UnitRoundoff", "a number in [0, 1)", u)
	}
	for _, entry := range impl.Offers {
		if err := impl.validateOffer(entry); err != nil {
			return err
		}
	}
	return nil
}

func (impl *Implementation) validateOffer(entry string) error {
	name, operation, hasOperation := strings.Cut(entry, "/")
	name, variant, hasVariant := strings.Cut(name, ":")
	reject := func(want string) error {
		return Reject(Invalid, "implementation", "Offers", want, fmt.Sprintf("%q", entry))
	}
	m := ModuleByName(name)
	switch {
	case m == nil:
		return reject("module, module:variant or module/operation")
	case !impl.Has(m):
		return reject("modules whose constructor is given")
	case hasVariant && (variant == "" || !m.HasVariant(Variant(variant))):
		return reject("a variant of " + name)
	case !hasOperation:
		return nil
	case hasVariant || m.Operation(operation) == nil || !m.Operation(operation).Optional:
		return reject("an optional operation of " + name)
	case !impl.offersModule(m):
		return reject(name + " or a variant of it, beside its operations")
	}
	return nil
}
