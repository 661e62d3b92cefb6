package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// The first document was accessed twice, the third once and last, the second once.
// One access ago is worth half an access now, so that recency decides.
func ExampleNewRAGPrefetch() {
	prefetcher, err := ref.NewRAGPrefetch(spec.RAGPrefetchConfig{MaxDocs: 8, TopK: 2, RecencyDecay: 0.5, MinAccesses: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	var digest string
	for _, id := range []int64{1, 1, 2, 3} {
		if err := prefetcher.RecordAccess(&digest, []int64{id}); err != nil {
			fmt.Println(err)
			return
		}
	}
	var candidates []string
	err = prefetcher.GetWarmupCandidates(&candidates)
	fmt.Println(len(candidates), candidates[0] == digest, digest[:16], err)
	fmt.Println(prefetcher.NTracked(), prefetcher.Stats().Hits)
	// Output:
	// 2 true 35be322d094f9d15 <nil>
	// 3 1
}
