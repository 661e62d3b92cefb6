package ref_test

import (
	"fmt"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// Twelve tokens, at most eight a chunk. The topic changes behind the sixth, and
// so the chunks end there and not behind the eighth.
func ExampleNewLongContextChunk() {
	chunker, err := ref.NewLongContextChunk(spec.LongContextChunkConfig{
		MaxChunkSize: 8, MinChunkSize: 2, BoundarySensitivity: 1.5, EmbedDim: 2,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens := spec.Matrix{Rows: 12, Cols: 2, Data: make([]float32, 24)}
	for t := range tokens.Rows {
		tokens.Row(t)[t/6] = 1
	}
	var chunks []spec.Chunk
	err = chunker.Chunk(&chunks, tokens)
	fmt.Println(chunks, err)
	// Output: [{0 6} {6 12}] <nil>
}
