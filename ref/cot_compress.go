package ref

import (
	"cmp"
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// NewCotCompress returns the reference of spec.CotCompress, or an error of kind
// spec.Invalid for a config out of range.
func NewCotCompress(config spec.CotCompressConfig) (spec.CotCompress, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &cotCompress{config: config, separators: idSet(config.Separators)}, nil
}

type cotCompress struct {
	config     spec.CotCompressConfig
	separators map[int64]bool
	stats      spec.CotCompressStats
}

func (c *cotCompress) Compress(dst *[]int64, tokens, query []int64) error {
	if len(tokens) == 0 {
		return spec.Reject(spec.Invalid, "cot-compress", "token_ids", "at least one token", "none")
	}
	saliency := c.saliency(tokens, query)

	positions := make([]int, len(tokens))
	for i := range positions {
		positions[i] = i
	}
	slices.SortStableFunc(positions, func(i, j int) int { return cmp.Compare(saliency[j], saliency[i]) })
	kept := positions[:c.config.Kept(len(tokens))]
	slices.Sort(kept)

	*dst = (*dst)[:0]
	for _, i := range kept {
		*dst = append(*dst, tokens[i])
	}
	c.stats.Calls++
	c.stats.TokensIn += len(tokens)
	c.stats.TokensOut += len(kept)
	return nil
}

func (c *cotCompress) Stats() spec.CotCompressStats {
	stats := c.stats
	if stats.TokensIn > 0 {
		stats.Ratio = 1 - float64(stats.TokensOut)/float64(stats.TokensIn)
	}
	return stats
}

// saliency returns the saliency of every position of a trace.
func (c *cotCompress) saliency(trace, query []int64) []float64 {
	if c.config.Variant == spec.Squish6 {
		return raritySaliency(trace)
	}
	relevance := unitScaled(stepRelevance(c.steps(trace), idSet(query)))
	information := unitScaled(selfInformation(trace))
	alpha := c.config.Alpha
	saliency := make([]float64, len(trace))
	for i := range trace {
		saliency[i] = float64(alpha*relevance[i]) + float64((1-alpha)*information[i])
	}
	return saliency
}

// steps cuts a trace after each separator, or with none configured every
// StepTokens. No step is empty, and together they are the trace.
func (c *cotCompress) steps(trace []int64) [][]int64 {
	if len(c.separators) == 0 {
		return slices.Collect(slices.Chunk(trace, c.config.StepTokens))
	}
	var steps [][]int64
	start := 0
	for i, token := range trace {
		if c.separators[token] || i == len(trace)-1 {
			steps = append(steps, trace[start:i+1])
			start = i + 1
		}
	}
	return steps
}

// stepRelevance returns the BM25 weight of every token in its step, the steps
// being the documents, doubled where the query asks for the token.
func stepRelevance(steps [][]int64, query map[int64]bool) []float64 {
	corpus := newBM25(steps)
	var relevance []float64
	for s, step := range steps {
		for _, token := range step {
			weight := corpus.weight(token, s)
			if query[token] {
				weight *= 2
			}
			relevance = append(relevance, weight)
		}
	}
	return relevance
}

// selfInformation returns −log₂ of every token's frequency in the trace
// (Selective Context: Li et al., "Compressing Context to Enhance Inference
// Efficiency of Large Language Models", EMNLP 2023; its model's probabilities are
// the trace's own frequencies here).
func selfInformation(trace []int64) []float64 {
	count := tokenCounts(trace)
	information := make([]float64, len(trace))
	for i, token := range trace {
		information[i] = -math.Log2(float64(count[token]) / float64(len(trace)))
	}
	return information
}

// raritySaliency orders positions as n/(count + Smoothing) does, which falls with
// the count whatever Smoothing is: the count alone decides, and no rounding of a
// quotient can tie two counts.
func raritySaliency(trace []int64) []float64 {
	count := tokenCounts(trace)
	saliency := make([]float64, len(trace))
	for i, token := range trace {
		saliency[i] = -float64(count[token])
	}
	return saliency
}

func tokenCounts(trace []int64) map[int64]int {
	count := map[int64]int{}
	for _, token := range trace {
		count[token]++
	}
	return count
}

func idSet(ids []int64) map[int64]bool {
	set := map[int64]bool{}
	for _, id := range ids {
		set[id] = true
	}
	return set
}
