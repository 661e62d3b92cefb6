package fast

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/windows"
	"github.com/squishspec/squishspec/spec"
)

// NewLongContextChunk returns the optimised spec.LongContextChunk, or an error of
// kind spec.Invalid for a config out of range.
//
// Embeddings are read once, window by window: a window's sum is compared with the
// one before as soon as it is complete. Cuts are found while walking the
// distances, each looked at once.
func NewLongContextChunk(c spec.LongContextChunkConfig) (spec.LongContextChunk, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &longContextChunk{config: c}, nil
}

type longContextChunk struct {
	config    spec.LongContextChunkConfig
	windows   windows.Buffer
	distances []float64
	stats     spec.LongContextChunkStats
}

func (l *longContextChunk) Chunk(dst *[]spec.Chunk, x spec.Matrix) error {
	const m = "long-context-chunk"
	if err := spec.CheckMatrix(m, "token_embeddings", x, -1, l.config.EmbedDim); err != nil {
		return err
	}
	longest, shortest := l.config.MaxChunkSize, l.config.MinChunkSize
	threshold := math.Inf(1)
	l.distances = l.distances[:0]
	if x.Rows > longest && x.Rows/shortest >= 2 {
		var finite bool
		l.distances, finite = l.windows.Distances(l.distances, x.Data, x.Cols, shortest)
		if !finite {
			return spec.CheckFinite(m, "token_embeddings", x.Data)
		}
		if err := spec.CheckFinite(m, "token_embeddings", x.Data[len(x.Data)-x.Rows%shortest*x.Cols:]); err != nil {
			return spec.CheckFinite(m, "token_embeddings", x.Data) // names the place in the whole
		}
		threshold = cutAbove(l.distances, l.config.BoundarySensitivity)
	} else if err := spec.CheckFinite(m, "token_embeddings", x.Data); err != nil {
		return err
	}

	*dst = (*dst)[:0]
	for start := 0; start < x.Rows; {
		end := x.Rows
		if x.Rows-start > longest {
			end = start + longest
		}
		// Distance i stands before token (i+1)·shortest, which must be that far from start.
		for i := (start + shortest - 1) / shortest; i < len(l.distances) && (i+1)*shortest < end; i++ {
			if l.distances[i] > threshold {
				end = (i + 1) * shortest
				break
			}
		}
		*dst = append(*dst, spec.Chunk{Start: start, End: end})
		start = end
	}
	l.stats.Calls++
	l.stats.Tokens += x.Rows
	l.stats.Chunks += len(*dst)
	return nil
}

// cutAbove returns the distance above which there is a cut: none where all are
// about equal.
func cutAbove(distances []float64, sensitivity float64) float64 {
	mean, squares := 0.0, 0.0
	for _, d := range distances {
		mean += d
	}
	mean /= float64(len(distances))
	for _, d := range distances {
		squares += (d - mean) * (d - mean)
	}
	std := math.Sqrt(squares / float64(len(distances)))
	if std < 1e-10 {
		return math.Inf(1)
	}
	return mean + sensitivity*std
}

func (l *longContextChunk) Stats() spec.LongContextChunkStats {
	s := l.stats
	if s.Chunks > 0 {
		s.AverageSize = float64(s.Tokens) / float64(s.Chunks)
	}
	return s
}
