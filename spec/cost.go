package spec

import (
	"math"
	"math/bits"
)

// A Cost is the least that a row's work takes: the operations of its formula,
// every value computed once, and the bytes of its arguments and results, and of
// the state that it changes, each read or written once, but for what has to be read
// again. Caches, allocation and the calls themselves cost nothing: what a measured
// time has above the price of its Cost is overhead. A table that saves logarithms is
// not counted on.
//
// That elements must be finite costs nothing where they are computed with: what
// is not finite shows in the result.
type Cost struct {
	// MulAdds are floating-point multiply-adds. An addition, a multiplication, a
	// division or a square root on its own counts as one.
	MulAdds int64
	// Exps are exponentials and logarithms.
	Exps int64
	// Logic are comparisons, counts, look-ups, and operations on integers or on
	// words of 64 bits.
	Logic int64
	// HashBlocks are blocks of 64 bytes through SHA-256. Processors have
	// instructions for it, so that its operations would say nothing.
	HashBlocks int64
	Bytes      int64
	// Reread are bytes of arguments that are read a second time, where what becomes of
	// an element depends on all of them: on a mean, or on a threshold that so many
	// reach.
	Reread int64
}

// Plus returns the cost of doing both.
func (c Cost) Plus(d Cost) Cost {
	return Cost{
		MulAdds: c.MulAdds + d.MulAdds, Exps: c.Exps + d.Exps, Logic: c.Logic + d.Logic,
		HashBlocks: c.HashBlocks + d.HashBlocks, Bytes: c.Bytes + d.Bytes, Reread: c.Reread + d.Reread,
	}
}

// Cost returns the cost of one of the row's workloads. A row whose figure is no
// time, and a workload that does not exist, cost nothing.
func (r Row) Cost(name WorkloadName) Cost { return r.CostOf(name, r.Workload(name)) }

// CostOf returns the cost of the row at other sizes: w is a copy of the named
// workload, changed with [Workload.With]. The name decides the variant.
func (r Row) CostOf(name WorkloadName, w Workload) Cost {
	f := formulas[r.ID]
	switch {
	case name == PageWorkload && f.page != nil:
		return f.page(w)
	case name == HarnessWorkload && f.harness != nil:
		return f.harness(w)
	}
	return Cost{}
}

// A formula computes a cost from a workload's parameters.
type formula func(Workload) Cost

// rowFormulas are those of a row's two workloads. They differ where the
// harness runs squish6 or another operation than the page says.
type rowFormulas struct{ page, harness formula }

func inBoth(f formula) rowFormulas { return rowFormulas{f, f} }

// noTime is a row that is no time: a ratio or a share.
var noTime = inBoth(func(Workload) Cost { return Cost{} })

var formulas = map[string]rowFormulas{
	"vision-kv-fuse/append":               {kvAppend(2), kvAppend(1)},
	"vision-kv-fuse/get-kv":               {kvView(2), kvView(1)},
	"image-token-prune/prune":             {pruneByReceived, pruneByEntropy},
	"image-token-prune/prune-best":        {pruneByReceived, pruneByEntropy},
	"rag-prefetch/record-access":          inBoth(recordAccess),
	"rag-prefetch/get-candidates":         inBoth(warmupCandidates),
	"cot-compress/compress-256":           {compressTrace(Documented), compressTrace(Squish6)},
	"cot-compress/compress-64":            {compressTrace(Documented), compressTrace(Squish6)},
	"multimodal-batch/add-request":        inBoth(addRequest),
	"multimodal-batch/next-batch":         inBoth(nextBatch),
	"contextual-rerank/rerank":            {rerankDocs, rerankByNorm},
	"contextual-rerank/rerank-query":      {rerankDocs, rerankByQuery},
	"cross-modal-attn/forward":            inBoth(crossModalAttention),
	"cross-modal-attn/forward-best":       inBoth(crossModalAttention),
	"hierarchical-kv/put":                 inBoth(tierPut),
	"hierarchical-kv/get-hit":             inBoth(tierHit),
	"hierarchical-kv/get-miss":            inBoth(tierMiss),
	"stream-rag/inject":                   inBoth(injectPassages),
	"stream-rag/retrieve":                 {retrieveByTerms, retrieveByCosine},
	"cross-doc-attn/forward":              inBoth(crossDocAttention),
	"cross-doc-attn/forward-best":         inBoth(crossDocAttention),
	"video-frame-prune/prune-temporal":    {framesByMotion, framesByCosine},
	"video-frame-prune/prune-spatial":     {patchesByEntropy, patchesByNorm},
	"embedding-gate/gate":                 {gateByCosine, gateByDot},
	"embedding-gate/gate-best":            {gateByCosine, gateByDot},
	"long-context-chunk/chunk-2048":       inBoth(chunkTokens),
	"long-context-chunk/chunk-256":        inBoth(chunkTokens),
	"modality-router/route-complete":      inBoth(routeComplete),
	"modality-router/route-best":          inBoth(routeRequest),
	"ternary-quant/quantize":              inBoth(ternaryQuantize),
	"ternary-quant/dequantize":            inBoth(ternaryDequantize),
	"binary-attn/forward":                 inBoth(binaryAttention),
	"binary-attn/forward-best":            inBoth(binaryAttention),
	"structured-prune/prune":              {pruneRowGroups, pruneNM},
	"structured-prune/prune-best":         {pruneRowGroups, pruneNM},
	"layer-fusion/cosine-similarity":      inBoth(layerCosine),
	"layer-fusion/fuse":                   inBoth(layerFuse),
	"weight-sharing/get-effective-weight": inBoth(effectiveWeight),
	"weight-sharing/memory-ratio":         noTime,
	"quant-calib/calibrate-minmax":        inBoth(calibrateMinMax),
	"sparse-weight/compress":              {csrCompress, nmCompress},
	"sparse-weight/decompress":            {csrDecompress, nmDecompress},
	"sparse-weight/compression-ratio":     noTime,
	"delta-compress/compress":             inBoth(deltaFit),
	"delta-compress/decompress":           inBoth(deltaRebuild),
	"delta-compress/compression-ratio":    noTime,
	"model-surgery/plan":                  inBoth(surgeryPlan),
	"model-surgery/estimate-reduction":    inBoth(surgeryEstimate),
	"zero-quant-v2/quantize":              inBoth(zeroQuantize),
	"zero-quant-v2/dequantize":            inBoth(zeroDequantize),
	"zero-quant-v2/outlier-rate":          noTime,
	"gptq-layer/calibrate":                {gptqCalibrate, gptqDiagonal},
	"sparse-moe/route":                    inBoth(moeRoute),
	"awq-v2/calibrate":                    {awqSearch, awqStepSearch},
	"awq-v2/quantize":                     {awqQuantize, awqStepQuantize},
	"iter-prune/prune-step-5":             inBoth(pruneStep),
	"iter-prune/prune-step-10":            inBoth(pruneStep),
	"iter-prune/sparsity-at-step-10":      noTime,
}

// Bytes of what the modules take and give.
const (
	bytesFloat  = 4     // float32
	bytesWord   = 8     // an int64 or float64: a token id, a position, an index, a count, a scalar
	bytesCode   = 1     // int8 or uint8: a code, a mask, a yes or no
	bytesDigest = 64    // SHA-256 in hex
	bytesView   = 7 * 8 // a Heads: four sizes and a slice, the data left where it is
)

// size is the workload's whole number of that name.
func (w Workload) size(name string, missing int) int64 { return int64(w.Int(name, missing)) }

func ceilDiv(a, b int64) int64 {
	b = max(b, 1)
	return (a + b - 1) / b
}

// selection is the logic of taking the k best of n in their order: every one is looked
// at, and the k are sorted.
func selection(n, k int64) int64 { return n + k*log2(k) }

// log2 is ⌈log₂ n⌉, 0 for n < 1.
func log2(n int64) int64 { return int64(bits.Len64(uint64(max(n, 1) - 1))) }

// attention is softmax(q·kᵀ)·v: two products of 2·heads·q·k·d flops, and an
// exponential a weight. Sums and divisions of the softmax are of lower order in d
// and left out, so that "seq × modality_len" is exact.
func attention(heads, q, k, d int64) Cost {
	return Cost{
		MulAdds: 2 * heads * q * k * d,
		Exps:    heads * q * k,
		Logic:   heads * q * k, // the maximum
		Bytes:   bytesFloat * heads * (2*q*d + 2*k*d),
	}
}

// bm25 scores docs against a query of so many terms, term counts given: an idf a
// term, and idf·tf·(k1+1)/(tf + k1·(1−b+b·dl/avgdl)) a term and document.
func bm25(terms, docs int64) Cost {
	return Cost{
		MulAdds: 3*terms + 4*terms*docs + 2*min(terms, 1)*docs, // idf; the weight; a document's length against the mean
		Exps:    terms,
		Logic:   terms * docs,
	}
}

// kvAppend copies a key and a value of each token into the store.
func kvAppend(tokens int64) formula {
	return func(w Workload) Cost {
		moved := bytesFloat * 2 * w.size("n_heads", 8) * w.size("head_dim", 64)
		return Cost{Logic: tokens, Bytes: 2 * tokens * moved}
	}
}

// kvView hands out keys and values of each modality: nothing is copied, however
// many tokens there are.
func kvView(modalities int64) formula {
	return func(Workload) Cost {
		return Cost{Logic: modalities, Bytes: modalities * 2 * bytesView}
	}
}

// pruneByReceived adds every attention weight to its column's score and to its
// row's sum, which must be 1.
func pruneByReceived(w Workload) Cost {
	c := attentionMap(w)
	c.MulAdds = 2 * w.attentionWeights()
	return c
}

// pruneByEntropy adds p·ln(p + ε) of every attention weight, and p to its row's
// sum.
func pruneByEntropy(w Workload) Cost {
	c := attentionMap(w)
	c.MulAdds = 3 * w.attentionWeights()
	c.Exps = w.attentionWeights()
	return c
}

func (w Workload) attentionWeights() int64 {
	n := w.size("n_tokens", 196)
	return w.size("n_heads", 8) * n * n
}

// attentionMap reads the map, whose entries must not be negative, selects tokens,
// and writes every token's index as kept or as pruned.
func attentionMap(w Workload) Cost {
	n := w.size("n_tokens", 196)
	return Cost{
		Logic: w.attentionWeights() + n,
		Bytes: bytesFloat*w.attentionWeights() + bytesWord*n,
	}
}

// recordAccess hashes the document's ids (with SHA-256's 9 bytes of padding at
// least), writes score, time and count, and finds the document's place among
// those tracked. The score is decayed by one power of the decay.
func recordAccess(w Workload) Cost {
	ids := bytesWord * w.size("doc_tokens", 1)
	tracked := w.size("tracked", w.Int("window", 1024))
	return Cost{
		MulAdds: 1, Exps: 1,
		Logic:      1 + log2(tracked),
		HashBlocks: ceilDiv(ids+9, 64),
		Bytes:      ids + bytesDigest + 2*3*bytesWord,
	}
}

// warmupCandidates looks at score and count of every document tracked and writes
// the digests of the best.
func warmupCandidates(w Workload) Cost {
	tracked := w.size("tracked", 1024)
	k := min(w.size("top_k", 16), tracked)
	return Cost{
		Logic: tracked + selection(tracked, k),
		Bytes: 2*bytesWord*tracked + bytesDigest*k,
	}
}

// compressTrace scores and selects tokens. Documented, of ids that are all
// distinct, as the rows' are: counts in step and trace, two logarithms, BM25, self-
// information, two scalings, a blend. Squish6: a count and n/(count + smoothing).
func compressTrace(v Variant) formula {
	return func(w Workload) Cost {
		config := DefaultCotCompressConfig()
		config.Variant = v
		config.CompressRatio = w.Float("compress_ratio", config.CompressRatio)
		config.MinTokens = w.Int("min_tokens", config.MinTokens)
		n := w.size("tokens", 1)
		c := Cost{
			MulAdds: 2 * n,
			Logic:   n + selection(n, 0),
			Bytes:   bytesWord * (n + int64(config.Kept(int(n)))),
		}
		if v == Documented {
			steps := ceilDiv(n, int64(config.StepTokens))
			c.MulAdds = 12*n + 2*steps // idf 3, BM25 4, share 1, scalings 2, blend 2; a step's length against the mean
			c.Exps = 2 * n
			c.Logic = 2*n + 4*n + selection(n, 0) // counts; minima and maxima
		}
		return c
	}
}

// requestBytes are id, modality, two lengths and a priority, a word each.
const requestBytes = 5 * bytesWord

// addRequest checks all but the id and stores the request.
func addRequest(Workload) Cost { return Cost{Logic: 4, Bytes: 2 * requestBytes} }

// nextBatch compares the queues and moves a batch.
func nextBatch(w Workload) Cost {
	slots := w.size("max_batch_size", 8)
	return Cost{Logic: 1 + slots, Bytes: 2 * requestBytes * slots}
}

// rerankDocs counts the query's terms in every document, scores them by BM25, by
// cosine where there are embeddings, blends with recency, and ranks.
func rerankDocs(w Workload) Cost {
	docs, tokens, terms := w.size("docs", 1), w.size("doc_tokens", 0), w.size("query_tokens", 0)
	dim := w.size("embed_dim", 0)
	k := min(w.size("top_k", 64), docs)
	c := bm25(terms, docs).Plus(cosines(docs, dim)).Plus(blend(docs, k))
	c.Logic += docs * tokens
	c.Bytes += bytesWord*(docs*tokens+terms) + bytesFloat*(docs+1)*dim
	return c
}

// cosines compares docs with one vector: a product and a norm each, the vector's
// norm once.
func cosines(docs, dim int64) Cost { return Cost{MulAdds: (2*docs + 1) * dim} }

// blend scales n contents to [0, 1], blends them with recency, ranks them, and
// writes the k best indices.
func blend(n, k int64) Cost {
	return Cost{MulAdds: 3 * n, Logic: 2*n + selection(n, k), Bytes: bytesWord * k}
}

// rerankByNorm ranks key positions by the mean norm over heads.
func rerankByNorm(w Workload) Cost {
	heads, n, dim := w.size("n_heads", 8), w.size("seq", 1), w.size("head_dim", 64)
	c := blend(n, min(w.size("top_k", 64), n))
	c.MulAdds += heads*n*dim + 2*heads*n // squares; a root and an addition a head
	c.Bytes += bytesFloat * heads * n * dim
	return c
}

// rerankByQuery ranks key positions by their product with the query, whose mean
// over heads is one product of heads·dim elements.
func rerankByQuery(w Workload) Cost {
	heads, n, dim := w.size("n_heads", 8), w.size("seq", 1), w.size("head_dim", 64)
	c := blend(n, min(w.size("top_k", 64), n))
	c.MulAdds += heads * n * dim
	c.Bytes += bytesFloat * heads * (n + 1) * dim
	return c
}

func crossModalAttention(w Workload) Cost {
	return attention(w.size("n_heads", 8), w.size("seq_text", 1), w.size("seq_vision", 1), w.size("head_dim", 64))
}

// crossDocAttention is attention over all documents joined.
func crossDocAttention(w Workload) Cost {
	keys := w.size("docs", 1) * w.size("seq_k", 1)
	return attention(w.size("n_heads", 8), w.size("seq_q", 1), keys, w.size("head_dim", 64))
}

// tierPut copies a key and a value of each token; the tiers move no data.
func tierPut(w Workload) Cost {
	tokens := w.size("tokens", 1)
	return Cost{Logic: tokens, Bytes: tokens * (bytesWord + 2*w.tierEntry())}
}

// tierHit copies a key and a value out.
func tierHit(w Workload) Cost { return tierMiss(w).Plus(Cost{Bytes: 2 * w.tierEntry()}) }

// tierMiss looks a position up and says no.
func tierMiss(Workload) Cost { return Cost{Logic: 1, Bytes: bytesWord + bytesCode} }

func (w Workload) tierEntry() int64 {
	return bytesFloat * 2 * w.size("n_heads", 4) * w.size("head_dim", 64)
}

// passage is a document's id, token ids, embedding and relevance.
func (w Workload) passage() int64 {
	return 2*bytesWord + bytesWord*w.size("tokens", 0) + bytesFloat*w.size("embed_dim", 256)
}

// injectPassages copies passages into the buffer, each after a look at the
// documents there for its id and for the least relevant. No query has been made,
// so that no passage is scored.
func injectPassages(w Workload) Cost {
	passages := w.size("passages", 1)
	return Cost{Logic: passages * w.size("max_docs", 8), Bytes: 2 * passages * w.passage()}
}

// retrieveByTerms scores the buffered passages by BM25, from term counts kept
// since they were injected, and copies the best out. The query has no embedding.
func retrieveByTerms(w Workload) Cost {
	n, terms := w.size("passages", 1), w.size("query_tokens", 1)
	c := bm25(terms, n).Plus(retrieved(w))
	c.Bytes += bytesWord * (terms + terms*n)
	return c
}

// retrieveByCosine scores the buffered passages by cosine, from norms kept since
// they were injected, and copies the best out.
func retrieveByCosine(w Workload) Cost {
	n, dim := w.size("passages", 1), w.size("embed_dim", 256)
	c := retrieved(w)
	c.MulAdds += (n+1)*dim + 2*n // products and the query's norm; a product and a division by norms
	c.Bytes += bytesFloat * (n + 1) * dim
	return c
}

// retrieved ranks the passages and copies the best out.
func retrieved(w Workload) Cost {
	n := w.size("passages", 1)
	k := min(w.size("top_k", 3), n)
	return Cost{Logic: selection(n, k), Bytes: 2 * k * w.passage()}
}

// framesByMotion takes mean |a−b| and mean |b| of every frame with the last one
// kept. All frames are kept, as frames of noise are.
func framesByMotion(w Workload) Cost {
	c := frameSelection(w)
	c.MulAdds = 3 * (w.size("frames", 32) - 1) * w.size("embed_dim", 256)
	return c
}

// framesByCosine takes the cosine of every frame with the last one kept.
func framesByCosine(w Workload) Cost {
	n := w.size("frames", 32)
	c := frameSelection(w)
	c.MulAdds = (2*n-1)*w.size("embed_dim", 256) + 2*(n-1)
	return c
}

func frameSelection(w Workload) Cost {
	n := w.size("frames", 32)
	return Cost{Logic: n - 1, Bytes: bytesFloat*n*w.size("embed_dim", 256) + bytesWord*n}
}

// entropyBins is the number of bins of a patch's histogram.
const entropyBins = 16

// patchesByEntropy takes the entropy of each patch's histogram over the range of
// the call: a bin a feature, a logarithm a bin.
func patchesByEntropy(w Workload) Cost {
	patches := w.size("frames", 1) * w.size("patches", 196)
	features := patches * w.size("embed_dim", 256)
	ratio := w.Float("spatial_prune_ratio", 0.3)
	perFrame := w.Int("patches", 196)
	kept := w.size("frames", 1) * int64(perFrame-DropCount(ratio, perFrame))
	return Cost{
		MulAdds: features + 2*entropyBins*patches,
		Exps:    entropyBins * patches,
		Logic:   3*features + patches, // minimum, maximum, count; selection
		Bytes:   bytesFloat*features + bytesWord*kept,
	}
}

// patchesByNorm takes the norm of each patch, and keeps ⌈patches·(1−ratio)⌉.
func patchesByNorm(w Workload) Cost {
	patches := w.size("frames", 1) * w.size("patches", 196)
	features := patches * w.size("embed_dim", 256)
	perFrame := w.Float("patches", 196)
	kept := max(1, int64(math.Ceil(perFrame*(1-w.Float("spatial_prune_ratio", 0.3)))))
	return Cost{
		MulAdds: features + patches,
		Logic:   patches,
		Bytes:   bytesFloat*features + bytesWord*w.size("frames", 1)*kept,
	}
}

// gateByCosine takes |x·w| / (‖x‖·‖w‖) a row.
func gateByCosine(w Workload) Cost {
	n, dim := w.size("tokens", 1), w.size("embed_dim", 512)
	c := gatedRows(w)
	c.MulAdds = (2*n+1)*dim + 3*n
	return c
}

// gateByDot takes |x·w| a row.
func gateByDot(w Workload) Cost {
	c := gatedRows(w)
	c.MulAdds = w.size("tokens", 1) * w.size("embed_dim", 512)
	return c
}

// gatedRows reads rows and weights, and writes a route of four bytes a row and the
// rows, or zeros.
func gatedRows(w Workload) Cost {
	n, dim := w.size("tokens", 1), w.size("embed_dim", 512)
	return Cost{Logic: n, Bytes: bytesFloat * (2*n*dim + dim + n)}
}

// chunkTokens takes the means of the complete windows, cosines of neighbours and their
// deviation. What is in no window is only looked at: it must be finite.
func chunkTokens(w Workload) Cost {
	n, dim, longest := w.size("seq", 1), w.size("embed_dim", 128), w.size("max_chunk", 512)
	c := Cost{Bytes: bytesFloat*n*dim + 2*bytesWord*ceilDiv(n, longest)}
	shortest := max(w.size("min_chunk", 64), 1)
	windows := n / shortest
	if n <= longest || windows < 2 {
		c.Logic = n * dim
		return c
	}
	c.MulAdds = windows*shortest*dim + (2*windows-1)*dim + 5*(windows-1) // means; norms and products; distance, mean, deviation
	c.Logic = windows - 1 + (n-windows*shortest)*dim
	return c
}

// routeRequest finds the policy, compares the active requests with their limit, and
// counts.
func routeRequest(Workload) Cost {
	return Cost{Logic: 2, Bytes: 6 * bytesWord} // id, modality, limit; active and routed, written back; the answer
}

// routeComplete compares a latency with its target besides, and counts.
func routeComplete(w Workload) Cost {
	complete := Cost{Logic: 4, Bytes: 10 * bytesWord} // id, modality, latency, target; active, completed, violations, read and written
	return routeRequest(w).Plus(complete)
}

// elements is a matrix's rows·cols.
func (w Workload) elements() int64 { return w.size("rows", 1) * w.size("cols", 1) }

// ternaryQuantize adds magnitudes and compares each weight with ±t·scale.
func ternaryQuantize(w Workload) Cost {
	n := w.elements()
	return Cost{MulAdds: n + 1, Logic: 2 * n, Bytes: bytesFloat*n + bytesCode*n + bytesFloat, Reread: bytesFloat * n}
}

func ternaryDequantize(w Workload) Cost {
	n := w.elements()
	return Cost{MulAdds: n, Bytes: bytesCode*n + bytesFloat + bytesFloat*n}
}

// binaryAttention packs the signs of queries and keys, takes d − 2·popcount(q xor
// k) word by word, and multiplies weights with values.
func binaryAttention(w Workload) Cost {
	heads, n, d := w.size("n_heads", 8), w.size("seq", 1), w.size("head_dim", 64)
	pairs := heads * n * n
	return Cost{
		MulAdds: pairs * d,
		Exps:    pairs,
		Logic:   2*heads*n*d + 2*pairs*ceilDiv(d, 64) + pairs, // signs; xor and count; the maximum
		Bytes:   bytesFloat * heads * 4 * n * d,
	}
}

// pruneRowGroups takes the norm of every group of rows and zeroes the least.
func pruneRowGroups(w Workload) Cost {
	n, groups := w.elements(), ceilDiv(w.size("rows", 1), w.size("group_rows", 1))
	return Cost{MulAdds: n, Logic: groups, Bytes: prunedBytes(n), Reread: bytesFloat * n}
}

// pruneNM compares every pair of a group of M.
func pruneNM(w Workload) Cost {
	n := w.elements()
	return Cost{Logic: groupPairs(n, w.size("M", 4)), Bytes: prunedBytes(n)}
}

// groupPairs is the number of pairs within n elements' groups of m.
func groupPairs(n, m int64) int64 { return n * (m - 1) / 2 }

// prunedBytes are the weights, the pruned ones and the mask.
func prunedBytes(n int64) int64 { return (2*bytesFloat + bytesCode) * n }

// layerCosine takes a·b, a·a and b·b.
func layerCosine(w Workload) Cost {
	n := w.elements()
	return Cost{MulAdds: 3*n + 3, Bytes: 2*bytesFloat*n + bytesWord}
}

// layerFuse is w·a + (1−w)·b.
func layerFuse(w Workload) Cost {
	n := w.elements()
	return Cost{MulAdds: 2 * n, Bytes: 3 * bytesFloat * n}
}

// effectiveWeight is base + U·V.
func effectiveWeight(w Workload) Cost {
	d, rank := w.size("hidden_dim", 512), w.size("rank", 8)
	return Cost{MulAdds: d * d * rank, Bytes: bytesFloat * (2*d*d + 2*d*rank)}
}

// calibrateMinMax takes the largest magnitude of every channel.
func calibrateMinMax(w Workload) Cost {
	channels := w.size("channels", 1)
	n := w.size("samples", 1) * channels
	return Cost{MulAdds: channels, Logic: n, Bytes: bytesFloat * (n + channels)}
}

// csrBytes are a matrix's non-zeros with their columns, of two bytes where those
// suffice, and the row pointers of four.
func csrBytes(w Workload) int64 {
	n, column := w.elements(), int64(2)
	if w.size("cols", 1) > 1<<16 {
		column = 4
	}
	return csrNonZeros(w, n)*(bytesFloat+column) + 4*(w.size("rows", 1)+1)
}

func csrNonZeros(w Workload, n int64) int64 {
	return n - int64(DropCount(w.Float("sparsity", 0), int(n)))
}

// csrCompress compares every element with zero.
func csrCompress(w Workload) Cost {
	n := w.elements()
	return Cost{Logic: n, Bytes: bytesFloat*n + csrBytes(w)}
}

// csrDecompress places every non-zero.
func csrDecompress(w Workload) Cost {
	n := w.elements()
	return Cost{Logic: csrNonZeros(w, n), Bytes: csrBytes(w) + bytesFloat*n}
}

// nmBytes are N of every M values with columns of two bytes.
func nmBytes(w Workload) int64 { return nmKept(w) * (bytesFloat + 2) }

func nmKept(w Workload) int64 { return w.elements() * w.size("N", 2) / max(w.size("M", 4), 1) }

// nmCompress compares every pair of a group of M.
func nmCompress(w Workload) Cost {
	n := w.elements()
	return Cost{Logic: groupPairs(n, w.size("M", 4)), Bytes: bytesFloat*n + nmBytes(w)}
}

// nmDecompress places every value kept.
func nmDecompress(w Workload) Cost {
	return Cost{Logic: nmKept(w), Bytes: nmBytes(w) + bytesFloat*w.elements()}
}

// deltaFit subtracts, and takes one product with the difference and one with its
// transpose a singular triplet: what merely checking Δv = σu and Δᵀu = σv costs.
// It is a lower bound far from tight: a Krylov method takes some six times as
// many products on a delta of noise, whose singular values lie close.
func deltaFit(w Workload) Cost {
	m, n, k := lowRank(w)
	return Cost{MulAdds: m*n + 2*k*m*n, Bytes: bytesFloat * (2*m*n + k*(m+n+1))}
}

// deltaRebuild scales the smaller factor and multiplies.
func deltaRebuild(w Workload) Cost {
	m, n, k := lowRank(w)
	return Cost{MulAdds: k * (m*n + min(m, n)), Bytes: bytesFloat * (k*(m+n+1) + m*n)}
}

func lowRank(w Workload) (m, n, k int64) {
	m, n = w.size("rows", 1), w.size("cols", 1)
	return m, n, min(w.size("rank", 16), m, n)
}

// surgeryPlan writes an empty plan: layers, heads, their dimension and the KV
// heads, whatever their number.
func surgeryPlan(Workload) Cost { return Cost{Logic: 4, Bytes: 2 * 4 * bytesWord} }

// surgeryEstimate is ½·removed/layers + ½·pruned/(layers·heads) of an empty plan.
func surgeryEstimate(Workload) Cost {
	return Cost{MulAdds: 5, Bytes: 4*bytesWord + bytesWord}
}

// zeroQuantize takes every group's largest magnitude, compares each weight with
// its share of it, and scales.
func zeroQuantize(w Workload) Cost {
	n := w.elements()
	return Cost{MulAdds: n, Logic: 2 * n, Bytes: bytesFloat*n + separatedBytes(w)}
}

// zeroDequantize is code·scale + residual.
func zeroDequantize(w Workload) Cost {
	n := w.elements()
	return Cost{MulAdds: n, Bytes: separatedBytes(w) + bytesFloat*n}
}

// separatedBytes are codes, scales and the dense residual of outliers.
func separatedBytes(w Workload) int64 {
	return bytesCode*w.elements() + bytesFloat*w.groups() + bytesFloat*w.elements()
}

// groups is the number of groups along a matrix's rows, a short last one counted.
func (w Workload) groups() int64 {
	return w.size("rows", 1) * ceilDiv(w.size("cols", 1), w.size("group_size", 128))
}

// gptqCalibrate takes H = 2xᵀx/samples, which is symmetric, the upper Cholesky factor of
// its inverse (n³/6 to factor, n³/6 to invert a triangle), and for every weight a
// quantisation and the update of the later columns: n²/2 a row.
func gptqCalibrate(w Workload) Cost {
	rows, n, samples := w.size("rows", 1), w.size("cols", 1), w.size("samples", 1)
	group := w.size("group_size", 0)
	if group == 0 {
		group = n
	}
	weights := rows * n
	return Cost{
		MulAdds: samples*n*(n+1)/2 + n*n*n/3 + 4*weights + rows*n*(n-1)/2,
		Logic:   weights, // the largest magnitudes
		Bytes:   bytesFloat*(weights+samples*n) + bytesCode*weights + bytesFloat*rows*ceilDiv(n, group) + bytesFloat*weights,
	}
}

// gptqDiagonal takes the diagonal of xᵀx/samples over the rows' inputs, and for
// every weight a quantisation and the update of the later columns of its block.
func gptqDiagonal(w Workload) Cost {
	rows, cols, samples := w.size("rows", 1), w.size("cols", 1), w.size("samples", 1)
	block := min(max(w.size("block_size", 128), 1), cols)
	last := cols % max(block, 1)
	later := (cols-last)*(block-1)/2 + last*(last-1)/2
	weights := rows * cols
	return Cost{
		MulAdds: samples*rows + 5*weights + rows*later,
		Logic:   weights,
		Bytes:   bytesFloat * (weights + samples*rows + weights),
	}
}

// moeRoute multiplies with the gate, takes a softmax and its mean an expert, and
// renormalises the k best.
func moeRoute(w Workload) Cost {
	tokens, experts, k, dim := w.size("tokens", 1), w.size("n_experts", 8), w.size("top_k", 2), w.size("hidden_dim", 256)
	return Cost{
		MulAdds: tokens*dim*experts + 2*tokens*experts + 2*tokens*k + experts,
		Exps:    tokens * experts,
		Logic:   tokens * selection(experts, k),
		Bytes:   bytesFloat*(tokens*dim+dim*experts) + (bytesWord+bytesFloat)*tokens*k + bytesFloat,
	}
}

// awqSamples is the number of activations that calibrate sees where the workload
// names none, as the page's row does: as many as the rows of gptq-layer have.
const awqSamples = 128

// awqSearch tries every α: powers of the channels' mean activations, weights
// scaled, quantised group by group and scaled back, and the error on the
// activations, or on their Gram matrix where that is smaller.
func awqSearch(w Workload) Cost {
	rows, n, steps := w.size("rows", 1), w.size("cols", 1), w.size("n_search_steps", 20)
	samples := w.size("samples", awqSamples)
	weights := rows * n
	c := Cost{
		MulAdds: samples*n + steps*(n+4*weights+weights*min(samples, n)+rows*min(samples, n)),
		Exps:    n + steps*n, // a logarithm a channel, and a power each step
		Logic:   steps * (3*n + 4*weights),
		Bytes:   bytesFloat*(weights+samples*n) + bytesFloat*n + (bytesFloat+bytesCode)*w.groups() + bytesCode*weights,
	}
	if n < samples {
		c.MulAdds += samples * n * (n + 1) / 2
	}
	return c
}

// awqStepSearch tries steps for every channel: quantise, back, and the squared
// error of the weights.
func awqStepSearch(w Workload) Cost {
	n, steps := w.size("cols", 1), w.size("n_search_steps", 20)
	weights := w.elements()
	return Cost{
		MulAdds: 4 * steps * weights,
		Logic:   weights + 2*steps*weights, // a channel's minimum; the clip
		Bytes:   bytesFloat * (weights + n + 2*n),
	}
}

// awqQuantize scales by channel and by group.
func awqQuantize(w Workload) Cost {
	weights := w.elements()
	return Cost{
		MulAdds: 2 * weights,
		Logic:   2 * weights,
		Bytes:   bytesFloat*(weights+w.size("cols", 1)) + (bytesFloat+bytesCode)*w.groups() + bytesCode*weights,
	}
}

// awqStepQuantize is clip(round(w/s + z)) with a channel's s and z.
func awqStepQuantize(w Workload) Cost {
	weights := w.elements()
	return Cost{
		MulAdds: weights,
		Logic:   2 * weights,
		Bytes:   bytesFloat*(weights+2*w.size("cols", 1)) + bytesCode*weights,
	}
}

// pruneStep evaluates the schedule, selects by magnitude, and writes what stays.
func pruneStep(w Workload) Cost {
	n := w.elements()
	return Cost{MulAdds: 5, Logic: 2 * n, Bytes: 2*bytesFloat*n + bytesWord, Reread: bytesFloat * n}
}
