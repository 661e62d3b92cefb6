package fast

import (
	"math"
	"slices"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/windows"
	"github.com/squishspec/squishspec/spec"
)

// NewLongContextChunk returns the optimised spec.LongContextChunk, or an error of
// kind spec.Invalid for a config out of range.
//
// Embeddings are read once, window by window: a window's sum is compared with the
// one before as soon as it is complete. Sums are in float32, and are taken again in
// float64 where a cut hangs on the difference. Cuts are found while walking the
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
	threshold, complete := math.Inf(1), 0 // tokens in windows
	l.distances = l.distances[:0]
	if x.Rows > longest && x.Rows/shortest >= 2 {
		var finite bool
		if threshold, finite = l.compare(x); !finite {
			return spec.CheckFinite(m, "token_embeddings", x.Data)
		}
		complete = x.Rows - x.Rows%shortest
	}
	if !kern.AllFinite(x.Data[complete*x.Cols:]) {
		return spec.CheckFinite(m, "token_embeddings", x.Data)
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

// compare computes the distances of windows and the one above which there is a cut,
// and reports whether all windows are finite. Distances from sums in float32 do,
// unless one is so near to the cut that it may be on the other side, which one is
// where all are about equal: then sums in float64 decide.
func (l *longContextChunk) compare(x spec.Matrix) (threshold float64, finite bool) {
	size, sensitivity := l.config.MinChunkSize, l.config.BoundarySensitivity
	l.distances, finite = l.windows.Distances(l.distances, x.Data, x.Cols, size)
	if finite {
		mean, std := moments(l.distances)
		threshold = mean + sensitivity*std
		off := roundoff * float64(x.Cols+size+16) * (1 + sensitivity)
		if !slices.ContainsFunc(l.distances, func(d float64) bool { return math.Abs(d-threshold) <= off }) {
			return threshold, true
		}
	}
	if l.distances, finite = l.windows.ExactDistances(l.distances[:0], x.Data, x.Cols, size); !finite {
		return 0, false
	}
	mean, std := moments(l.distances)
	if std < 1e-10 {
		return math.Inf(1), true
	}
	return mean + sensitivity*std, true
}

// moments returns the mean and the population's standard deviation.
func moments(distances []float64) (mean, std float64) {
	squares := 0.0
	for _, d := range distances {
		mean += d
	}
	mean /= float64(len(distances))
	for _, d := range distances {
		squares += (d - mean) * (d - mean)
	}
	return mean, math.Sqrt(squares / float64(len(distances)))
}

func (l *longContextChunk) Stats() spec.LongContextChunkStats {
	s := l.stats
	if s.Chunks > 0 {
		s.AverageSize = float64(s.Tokens) / float64(s.Chunks)
	}
	return s
}
