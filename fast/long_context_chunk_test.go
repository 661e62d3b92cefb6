package fast

import (
	"math"
	"math/rand/v2"
	"slices"
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

// TestLongContextChunkHearsNoNoise: windows that point the same way, but for the
// rounding of their elements, have no boundary, although sums in float32 are further
// apart than 10⁻¹⁰.
func TestLongContextChunkHearsNoNoise(t *testing.T) {
	const dim, tokens = 33, 200
	l, err := NewLongContextChunk(spec.LongContextChunkConfig{MaxChunkSize: 60, MinChunkSize: 7, BoundarySensitivity: 0.5, EmbedDim: dim})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	x := spec.Matrix{Rows: tokens, Cols: dim, Data: make([]float32, tokens*dim)}
	for t := range tokens {
		length := 1 + r.Float32()
		for i := range dim {
			x.Row(t)[i] = length * float32(i+1) / dim
		}
	}
	var chunks []spec.Chunk
	if err := l.Chunk(&chunks, x); err != nil {
		t.Fatal(err)
	}
	if want := []spec.Chunk{{Start: 0, End: 60}, {Start: 60, End: 120}, {Start: 120, End: 180}, {Start: 180, End: 200}}; !slices.Equal(chunks, want) {
		t.Errorf("got %v, want %v", chunks, want)
	}
}

// TestLongContextChunkOfGreatNumbers: a window's sum may be beyond float32.
func TestLongContextChunkOfGreatNumbers(t *testing.T) {
	l, err := NewLongContextChunk(spec.LongContextChunkConfig{MaxChunkSize: 6, MinChunkSize: 2, BoundarySensitivity: 1, EmbedDim: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, scale := range []float32{1, 0x1p127} {
		x := spec.Matrix{Rows: 8, Cols: 2, Data: []float32{1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1, 0, 1}}
		for i := range x.Data {
			x.Data[i] *= scale
		}
		var chunks []spec.Chunk
		if err := l.Chunk(&chunks, x); err != nil {
			t.Fatal(err)
		}
		if want := []spec.Chunk{{Start: 0, End: 4}, {Start: 4, End: 8}}; !slices.Equal(chunks, want) {
			t.Errorf("scale %v: got %v, want %v", scale, chunks, want)
		}
	}
}
