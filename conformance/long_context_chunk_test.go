package conformance

import (
	"math"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var longContextChunkMutants = []mutant{
	{"long-context-chunk/tiling", "drops the last chunk of several", onChunks(func(_ spec.Matrix, chunks []spec.Chunk) []spec.Chunk {
		if len(chunks) > 1 {
			chunks = chunks[:len(chunks)-1]
		}
		return chunks
	}), ""},
	{"long-context-chunk/tiling", "repeats a token in the next chunk", onChunks(func(_ spec.Matrix, chunks []spec.Chunk) []spec.Chunk {
		for i := 1; i < len(chunks); i++ {
			chunks[i].Start--
		}
		return chunks
	}), ""},
	{"long-context-chunk/tiling", "answers an empty chunk to no tokens, as recorded", emptyChunk, ""},
	{"long-context-chunk/lengths", "joins a last chunk to the one before", onChunks(func(_ spec.Matrix, chunks []spec.Chunk) []spec.Chunk {
		if n := len(chunks); n > 1 {
			chunks[n-2].End = chunks[n-1].End
			chunks = chunks[:n-1]
		}
		return chunks
	}), ""},
	{"long-context-chunk/lengths", "cuts a first chunk off that is shorter than min", onChunkConfig(func(c *spec.LongContextChunkConfig) {
		c.MinChunkSize = max(1, c.MinChunkSize/2)
	}), ""},
	{"long-context-chunk/short", "cuts where few tokens have a boundary too", onChunkConfig(func(c *spec.LongContextChunkConfig) {
		c.MaxChunkSize = max(c.MinChunkSize+1, c.MaxChunkSize-1)
	}), ""},
	{"long-context-chunk/short", "answers an empty chunk to no tokens, as recorded", emptyChunk, ""},
	{"long-context-chunk/boundaries", "never cuts but after max tokens", onChunkConfig(func(c *spec.LongContextChunkConfig) {
		c.BoundarySensitivity = math.MaxFloat64
	}), ""},
	{"long-context-chunk/boundaries", "takes the sample's deviation for the population's", otherDeviation, ""},
	{"long-context-chunk/topic", "never cuts but after max tokens", onChunkConfig(func(c *spec.LongContextChunkConfig) {
		c.BoundarySensitivity = math.MaxFloat64
	}), ""},
	{"long-context-chunk/topic", "is a hundredth more sensitive", onChunkConfig(func(c *spec.LongContextChunkConfig) {
		c.BoundarySensitivity *= 0.99
	}), ""},
	{"long-context-chunk/insensitive", "is half as sensitive as asked", onChunkConfig(func(c *spec.LongContextChunkConfig) {
		c.BoundarySensitivity /= 2
	}), ""},
	{"long-context-chunk/constant", "cuts after max − 1 tokens", onChunkConfig(func(c *spec.LongContextChunkConfig) {
		c.MaxChunkSize = max(c.MinChunkSize+1, c.MaxChunkSize-1)
	}), ""},
	{"long-context-chunk/mirror", "sees no negative elements", before("chunk", func(c *proxy.Call) {
		for i, v := range c.Args[0].(spec.Matrix).Data {
			c.Args[0].(spec.Matrix).Data[i] = max(v, 0)
		}
	}), ""},
	{"long-context-chunk/mirror", "sees the first dimension only", before("chunk", func(c *proxy.Call) {
		x := c.Args[0].(spec.Matrix)
		for i, v := range x.Data {
			if x.Cols > 0 && i%x.Cols > 0 && areFinite(v) {
				x.Data[i] = 0
			}
		}
	}), ""},
	{"long-context-chunk/tail", "ends the last chunk but one by the sign of the last token", onChunks(func(x spec.Matrix, chunks []spec.Chunk) []spec.Chunk {
		if n := len(chunks); n > 1 && chunks[n-1].End-chunks[n-1].Start > 1 && x.Data[len(x.Data)-1] < 0 {
			chunks[n-2].End++
			chunks[n-1].Start++
		}
		return chunks
	}), ""},
	{"long-context-chunk/stats", "counts the chunks of a call twice", after("stats", func(c *proxy.Call) {
		c.Dst.(*spec.LongContextChunkStats).Chunks *= 2
	}), ""},
	{"long-context-chunk/stats", "answers 1 for the mean size before any call", after("stats", func(c *proxy.Call) {
		s := c.Dst.(*spec.LongContextChunkStats)
		s.AverageSize = max(s.AverageSize, 1)
	}), ""},
}

// onChunks spoils chunks with what they were made of.
func onChunks(spoil func(x spec.Matrix, chunks []spec.Chunk) []spec.Chunk) proxy.Layer {
	return after("chunk", func(c *proxy.Call) {
		chunks := c.Dst.(*[]spec.Chunk)
		*chunks = spoil(c.Args[0].(spec.Matrix), *chunks)
	})
}

// onChunkConfig changes a config that is otherwise accepted.
func onChunkConfig(change func(*spec.LongContextChunkConfig)) proxy.Layer {
	return before("new", func(c *proxy.Call) {
		config := c.Args[0].(spec.LongContextChunkConfig)
		if config.Validate() == nil {
			change(&config)
		}
		c.Args[0] = config
	})
}

var emptyChunk = onChunks(func(_ spec.Matrix, chunks []spec.Chunk) []spec.Chunk {
	if len(chunks) == 0 {
		chunks = []spec.Chunk{{}}
	}
	return chunks
})

// otherDeviation scales the sensitivity as the sample's deviation would, for the
// number of distances of each call.
var otherDeviation proxy.Layer = func(next proxy.Handler) proxy.Handler {
	var config spec.LongContextChunkConfig
	return func(c *proxy.Call) error {
		if c.Op == proxy.New {
			config = c.Args[0].(spec.LongContextChunkConfig)
		}
		if c.Op.Name != "chunk" || config.Validate() != nil {
			return next(c)
		}
		own := config
		if m := c.Args[0].(spec.Matrix).Rows/config.MinChunkSize - 1; m > 1 {
			own.BoundarySensitivity *= math.Sqrt(float64(m) / float64(m-1))
		}
		if err := next(&proxy.Call{Module: c.Module, Op: proxy.New, Args: []any{own}}); err != nil {
			return err
		}
		return next(c)
	}
}
