package spec

// ModuleNames are the names of the 28 modules of the page, in its order.
var ModuleNames = []string{
	"vision-kv-fuse", "image-token-prune", "rag-prefetch", "cot-compress", "multimodal-batch",
	"contextual-rerank", "cross-modal-attn", "hierarchical-kv", "stream-rag", "cross-doc-attn",
	"video-frame-prune", "embedding-gate", "long-context-chunk", "modality-router",
	"ternary-quant", "binary-attn", "structured-prune", "layer-fusion", "weight-sharing",
	"quant-calib", "sparse-weight", "delta-compress", "model-surgery", "zero-quant-v2",
	"gptq-layer", "sparse-moe", "awq-v2", "iter-prune",
}

// Modules returns the modules that this version specifies, in the page's order.
// They are shared: do not change them.
func Modules() []*Module { return modules }

var modules = []*Module{
	visionKVFuse,
	imageTokenPrune,
	ragPrefetch,
	cotCompress,
	multiModalBatch,
	contextualRerank,
	crossModalAttn,
	hierarchicalKV,
	streamRAG,
	crossDocAttn,
	videoFramePrune,
	embeddingGate,
	longContextChunk,
	modalityRouter,
	ternaryQuant,
	binaryAttn,
	structuredPrune,
	layerFusion,
	weightSharing,
	quantCalib,
	sparseWeight,
	deltaCompress,
	modelSurgery,
	zeroQuantV2,
	gptqLayer,
	sparseMoE,
	awqV2,
	iterPrune,
}

// ModuleByName returns the module of that name, or nil where this version does
// not specify it.
func ModuleByName(name string) *Module {
	for _, m := range modules {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// Requirements returns every requirement, module by module in the page's order.
func Requirements() []Requirement {
	var all []Requirement
	for _, m := range modules {
		all = append(all, m.Requirements...)
	}
	return all
}
