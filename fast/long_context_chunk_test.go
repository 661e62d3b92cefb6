package fast

import (
	"math"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestLongContextChunkAllocatesNothingInTheSteadyState(t *testing.T) {
	l, err := NewLongContextChunk(spec.LongContextChunkConfig{MaxChunkSize: 8, MinChunkSize: 2, BoundarySensitivity: 1, EmbedDim: 3})
	if err != nil {
		t.Fatal(err)
	}
	x := spec.Matrix{Rows: 40, Cols: 3, Data: make([]float32, 120)}
	for i := range x.Data {
		x.Data[i] = float32(i * i % 17)
	}
	var chunks []spec.Chunk
	if n := testing.AllocsPerRun(20, func() {
		if err := l.Chunk(&chunks, x); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

// TestLongContextChunkFindsANaNAnywhere: in a window, and behind the last
// complete one, which no distance sees.
func TestLongContextChunkFindsANaNAnywhere(t *testing.T) {
	l, err := NewLongContextChunk(spec.LongContextChunkConfig{MaxChunkSize: 4, MinChunkSize: 3, BoundarySensitivity: 1, EmbedDim: 1})
	if err != nil {
		t.Fatal(err)
	}
	var chunks []spec.Chunk
	for at := range 8 {
		x := spec.Matrix{Rows: 8, Cols: 1, Data: []float32{1, 2, 3, 4, 5, 6, 7, 8}}
		x.Data[at] = float32(math.NaN())
		if err := l.Chunk(&chunks, x); spec.KindOf(err) != spec.Invalid {
			t.Errorf("a NaN at %d: got %v", at, err)
		}
	}
}
