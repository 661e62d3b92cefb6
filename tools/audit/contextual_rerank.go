package audit

import (
	"context"
	"fmt"

	"github.com/squishspec/squishspec/spec"
)

// rerankRetrieval has all documents ranked for each topic, by word and without recency.
// What recency does to the ranking has a column.
func rerankRetrieval(ctx context.Context, a *Audit, f *Finding) error {
	return judgeRetrieval(ctx, a, f, func(c *corpus) ([]ranker, error) {
		config := spec.DefaultContextualRerankConfig()
		config.TopK = len(c.docs)
		by := func(recency float64) (r ranker, _ error) {
			config.RecencyWeight = recency
			rerank, err := a.Implementation.ContextualRerank(config)
			if err != nil {
				return r, err
			}
			docs, offered := rerank.(spec.ContextualRerankDocs)
			if !offered {
				return r, fmt.Errorf("rerank_docs: %w", spec.Unsupported)
			}
			return ranker{fmt.Sprintf("recency %v", recency), func(q int) (order []int, _ []float64, err error) {
				err = docs.RerankDocs(&order, c.queries[q], c.docs, nil, spec.Matrix{})
				return order, nil, err
			}}, nil
		}
		content, err := by(0)
		if err != nil {
			return nil, err
		}
		recent, err := by(spec.DefaultContextualRerankConfig().RecencyWeight)
		return []ranker{content, recent}, err
	})
}
