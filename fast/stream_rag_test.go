package fast

import (
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestStreamRAGAllocatesNothingInTheSteadyState(t *testing.T) {
	s, err := NewStreamRAG(spec.StreamRAGConfig{MaxDocs: 2, MaxDocTokens: 4, EmbedDim: 2, TopKRetrieve: 2})
	if err != nil {
		t.Fatal(err)
	}
	var docs []spec.RetrievedDoc
	round := func() {
		for _, id := range []string{"a", "b", "c"} {
			if err := s.Inject(id, []int64{1, 2, 2}, []float32{1, 2}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Retrieve(&docs, []float32{1, 1}, []int64{2, 3}, 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		round()
	}
	if n := testing.AllocsPerRun(20, round); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
}
