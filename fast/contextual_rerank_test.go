package fast

import (
	"math"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestContextualRerankAllocatesNothingInTheSteadyState(t *testing.T) {
	r, err := NewContextualRerank(spec.ContextualRerankConfig{NHeads: 1, HeadDim: 2, RecencyWeight: 0.5, TopK: 2})
	if err != nil {
		t.Fatal(err)
	}
	keys := spec.Heads{Heads: 1, Tokens: 3, Dim: 2, Stride: 6, Data: []float32{1, 2, 3, 4, 5, 6}}
	query := spec.Matrix{Rows: 1, Cols: 2, Data: []float32{1, -1}}
	embeddings := spec.Matrix{Rows: 3, Cols: 2, Data: keys.Data}
	docs := [][]int64{{1, 2}, {2}, {3, 3}}
	ids := []int64{2, 3, 3}
	var top []int
	if n := testing.AllocsPerRun(20, func() {
		for _, err := range []error{
			r.Rerank(&top, keys, spec.Matrix{}),
			r.Rerank(&top, keys, query),
			r.(spec.ContextualRerankDocs).RerankDocs(&top, ids, docs, query.Data, embeddings),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
}

// TestContextualRerankFindsWhatIsNotFinite: in a key, with a query and without,
// and in a query whose keys are 0.
func TestContextualRerankFindsWhatIsNotFinite(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		r, err := NewContextualRerank(spec.ContextualRerankConfig{NHeads: 2, HeadDim: 2, RecencyWeight: 0.5, TopK: 2})
		if err != nil {
			t.Fatal(err)
		}
		for at := range 8 {
			keys := spec.Heads{Heads: 2, Tokens: 2, Dim: 2, Stride: 4, Data: make([]float32, 8)}
			query := spec.Matrix{Rows: 2, Cols: 2, Data: make([]float32, 4)}
			var top []int
			keys.Data[at] = float32(bad)
			if err := r.Rerank(&top, keys, query); spec.KindOf(err) != spec.Invalid {
				t.Errorf("%v in key %d beside a query: %v", bad, at, err)
			}
			if err := r.Rerank(&top, keys, spec.Matrix{}); spec.KindOf(err) != spec.Invalid {
				t.Errorf("%v in key %d: %v", bad, at, err)
			}
			keys.Data[at] = 0
			query.Data[at/2] = float32(bad)
			if err := r.Rerank(&top, keys, query); spec.KindOf(err) != spec.Invalid {
				t.Errorf("%v in the query: %v", bad, err)
			}
		}
		if r.Stats() != (spec.ContextualRerankStats{}) {
			t.Errorf("refused calls were counted: %+v", r.Stats())
		}
	}
}

// TestContextualRerankWhereFloat32Ends: keys whose squares or products over- or
// underflow are ranked as others are.
func TestContextualRerankWhereFloat32Ends(t *testing.T) {
	r, err := NewContextualRerank(spec.ContextualRerankConfig{NHeads: 2, HeadDim: 2, RecencyWeight: 0, TopK: 4})
	if err != nil {
		t.Fatal(err)
	}
	for _, scale := range []float32{1, 0x1p62, 0x1p100, 0x1p-100} {
		keys := spec.Heads{Heads: 2, Tokens: 4, Dim: 2, Stride: 8, Data: []float32{1, 2, 3, 4, 0, 1, 2, 2, 1, 1, 2, 3, 1, 0, 0, 1}}
		query := spec.Matrix{Rows: 2, Cols: 2, Data: []float32{1, 1, 1, 1}}
		for _, x := range [][]float32{keys.Data, query.Data} {
			for i := range x {
				x[i] *= scale
			}
		}
		for _, ask := range []struct {
			query spec.Matrix
			want  []int
		}{{spec.Matrix{}, []int{1, 3, 0, 2}}, {query, []int{1, 0, 3, 2}}} {
			var top []int
			if err := r.Rerank(&top, keys, ask.query); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(top, ask.want) {
				t.Errorf("scale %v: got %d, want %d", scale, top, ask.want)
			}
		}
	}
}
