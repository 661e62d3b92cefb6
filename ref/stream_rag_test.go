package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// Room for two passages. The query asks for term 7, which the first has not: it is
// the one that the third passage takes the room of.
func ExampleNewStreamRAG() {
	rag, err := ref.NewStreamRAG(spec.StreamRAGConfig{MaxDocs: 2, MaxDocTokens: 8, EmbedDim: 1, TopKRetrieve: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	var docs []spec.RetrievedDoc
	rag.Inject("first", []int64{1, 2, 3}, nil)
	rag.Inject("second", []int64{7, 2, 3}, nil)
	rag.Retrieve(&docs, nil, []int64{7}, 0)
	rag.Inject("third", []int64{7, 7, 3}, nil)
	err = rag.Retrieve(&docs, nil, []int64{7}, 0)
	for _, d := range docs {
		fmt.Printf("%s %.4f\n", d.DocID, d.Relevance)
	}
	fmt.Println(rag.Stats().Evictions, err)
	// Output:
	// third 0.2507
	// second 0.1823
	// 1 <nil>
}
