package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// Three documents, of which the first has the query's term twice and the second
// once. Content alone keeps that order; with recency the last comes before the
// second.
func ExampleNewContextualRerank() {
	docs := [][]int64{{7, 7, 1}, {7, 2, 1}, {3, 2, 1}}
	for _, weight := range []float64{0, 0.6} {
		reranker, err := ref.NewContextualRerank(spec.ContextualRerankConfig{NHeads: 1, HeadDim: 1, RecencyWeight: weight, TopK: 3})
		if err != nil {
			fmt.Println(err)
			return
		}
		var top []int
		err = reranker.(spec.ContextualRerankDocs).RerankDocs(&top, []int64{7}, docs, nil, spec.Matrix{})
		fmt.Println(top, err)
	}
	// Output:
	// [0 1 2] <nil>
	// [2 1 0] <nil>
}
