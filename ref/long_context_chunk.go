package ref

import (
	"math"

	"github.com/squishspec/squishspec/spec"
)

// NewLongContextChunk returns the reference of spec.LongContextChunk, or an error
// of kind spec.Invalid for a config out of range.
func NewLongContextChunk(c spec.LongContextChunkConfig) (spec.LongContextChunk, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &longContextChunk{config: c}, nil
}

type longContextChunk struct {
	config spec.LongContextChunkConfig
	stats  spec.LongContextChunkStats
}

func (l *longContextChunk) Chunk(dst *[]spec.Chunk, x spec.Matrix) error {
	if err := l.config.CheckEmbeddings(x); err != nil {
		return err
	}
	var candidates []int
	if x.Rows > l.config.MaxChunkSize {
		candidates = l.candidates(x)
	}
	*dst = (*dst)[:0]
	for start := 0; start < x.Rows; {
		end := x.Rows
		if x.Rows-start > l.config.MaxChunkSize {
			end = start + l.config.MaxChunkSize
		}
		for _, c := range candidates {
			if c-start >= l.config.MinChunkSize && c < end {
				end = c
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

// candidates returns the places before windows that are unlike the one before.
func (l *longContextChunk) candidates(x spec.Matrix) []int {
	size := l.config.MinChunkSize
	var means [][]float64
	for from := 0; from+size <= x.Rows; from += size {
		mean := make([]float64, x.Cols)
		for t := from; t < from+size; t++ {
			for i, v := range x.Row(t) {
				mean[i] += float64(v)
			}
		}
		for i := range mean {
			mean[i] /= float64(size)
		}
		means = append(means, mean)
	}
	if len(means) < 2 {
		return nil
	}
	var distances []float64
	for i := 1; i < len(means); i++ {
		distances = append(distances, 1-smoothedCosine(means[i-1], means[i]))
	}
	mean, std := population(distances)
	if std < 1e-10 {
		return nil
	}
	var places []int
	for i, d := range distances {
		if (d-mean)/std > l.config.BoundarySensitivity {
			places = append(places, (i+1)*size)
		}
	}
	return places
}

// smoothedCosine is the cosine with 10⁻¹⁰ added to each norm, as recorded.
func smoothedCosine(a, b []float64) float64 {
	var dot, aa, bb float64
	for i := range a {
		dot += float64(a[i] * b[i])
		aa += float64(a[i] * a[i])
		bb += float64(b[i] * b[i])
	}
	return dot / float64((math.Sqrt(aa)+1e-10)*(math.Sqrt(bb)+1e-10))
}

// population returns mean and standard deviation of a whole population.
func population(values []float64) (mean, std float64) {
	for _, v := range values {
		mean += v
	}
	mean /= float64(len(values))
	squares := 0.0
	for _, v := range values {
		squares += float64((v - mean) * (v - mean))
	}
	return mean, math.Sqrt(squares / float64(len(values)))
}

func (l *longContextChunk) Stats() spec.LongContextChunkStats {
	s := l.stats
	if s.Chunks > 0 {
		s.AverageSize = float64(s.Tokens) / float64(s.Chunks)
	}
	return s
}
