package audit

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/squishspec/squishspec/spec"
)

// hashedDims is the length of an embedding of hashed words.
const hashedDims = 256

// streamRetrieval asks a buffer that holds all documents for all of them, by word: the
// module's BM25. The cosine of hashed words, and both, are asked of the same buffer.
func streamRetrieval(ctx context.Context, a *Audit, f *Finding) error {
	return judgeRetrieval(ctx, a, f, func(c *corpus) ([]ranker, error) {
		config := spec.StreamRAGConfig{MaxDocs: len(c.docs), MaxDocTokens: longest(c.docs), EmbedDim: hashedDims, TopKRetrieve: len(c.docs)}
		buffer, err := a.Implementation.StreamRAG(config)
		if err != nil {
			return nil, err
		}
		// Before any query an inject has nothing to score.
		for i, doc := range c.docs {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := buffer.Inject(strconv.Itoa(i), doc, hashed(doc)); err != nil {
				return nil, err
			}
		}
		var retrieved []spec.RetrievedDoc
		retrieve := func(byWord, byEmbedding bool) func(int) ([]int, []float64, error) {
			return func(q int) (order []int, relevances []float64, _ error) {
				var ids []int64
				var embedding []float32
				if byWord {
					ids = c.queries[q]
				}
				if byEmbedding {
					embedding = hashed(c.queries[q])
				}
				if err := buffer.Retrieve(&retrieved, embedding, ids, 0); err != nil {
					return nil, nil, err
				}
				for _, d := range retrieved {
					i, err := strconv.Atoi(d.DocID)
					if err != nil {
						return nil, nil, fmt.Errorf("document %q was never injected: the audit cannot be trusted", d.DocID)
					}
					order, relevances = append(order, i), append(relevances, d.Relevance)
				}
				return order, relevances, nil
			}
		}
		return []ranker{
			{"BM25", retrieve(true, false)},
			{fmt.Sprintf("cosine of %d hashed dims", hashedDims), retrieve(false, true)},
			{"BM25 and cosine", retrieve(true, true)},
		}, nil
	})
}

func longest(docs [][]int64) int {
	most := 1
	for _, doc := range docs {
		most = max(most, len(doc))
	}
	return most
}

// hashed counts words in as many elements as an embedding has, with a sign each, and
// takes the root of a count.
func hashed(words []int64) []float32 {
	embedding := make([]float32, hashedDims)
	for _, w := range words {
		h := uint64(w+1) * 0x9e3779b97f4a7c15
		sign := float32(1)
		if h>>63 == 1 {
			sign = -1
		}
		embedding[h>>40%hashedDims] += sign
	}
	for i, v := range embedding {
		embedding[i] = float32(math.Copysign(math.Sqrt(math.Abs(float64(v))), float64(v)))
	}
	return embedding
}
