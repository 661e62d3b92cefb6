package ref

import (
	"math"
	"slices"

	"github.com/squishspec/squishspec/spec"
)

// NewEmbeddingGate returns the reference of spec.EmbeddingGate, or an error of
// kind spec.Invalid for a config out of range. Its weights can be set:
// spec.EmbeddingGateWeights.
func NewEmbeddingGate(c spec.EmbeddingGateConfig) (spec.EmbeddingGate, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	weights := make([]float32, c.EmbedDim)
	for i := range weights {
		weights[i] = float32(1 / float64(c.EmbedDim))
	}
	return &embeddingGate{config: c, weights: weights}, nil
}

type embeddingGate struct {
	config  spec.EmbeddingGateConfig // its threshold is the one in force
	weights []float32
	stats   spec.EmbeddingGateStats
}

func (g *embeddingGate) Gate(dst *spec.GatedEmbeddings, embeddings spec.Matrix) error {
	if err := g.config.CheckEmbeddings(embeddings); err != nil {
		return err
	}
	dst.Route = spec.Resize(dst.Route, embeddings.Rows)
	dst.Masked.Resize(embeddings.Rows, embeddings.Cols)
	for r := range embeddings.Rows {
		x, masked := embeddings.Row(r), dst.Masked.Row(r)
		if g.score(x) >= g.config.Threshold {
			dst.Route[r] = 1
			copy(masked, x)
			g.stats.Vision++
		} else {
			dst.Route[r] = 0
			clear(masked)
			g.stats.Text++
		}
	}
	g.stats.Calls++
	return nil
}

func (g *embeddingGate) score(x []float32) float64 {
	dot := math.Abs(dotProduct(x, g.weights))
	if g.config.Variant == spec.Squish6 {
		return dot
	}
	lengths := math.Sqrt(dotProduct(x, x)) * math.Sqrt(dotProduct(g.weights, g.weights))
	if lengths == 0 {
		return 0
	}
	return dot / lengths
}

func dotProduct(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(float64(a[i]) * float64(b[i]))
	}
	return sum
}

func (g *embeddingGate) UpdateThreshold(threshold float64) error {
	if err := g.config.CheckThreshold("new_threshold", threshold); err != nil {
		return err
	}
	g.config.Threshold = threshold
	return nil
}

func (g *embeddingGate) SetWeights(weights []float32) error {
	if err := g.config.CheckWeights(weights); err != nil {
		return err
	}
	g.weights = slices.Clone(weights)
	return nil
}

func (g *embeddingGate) Stats() spec.EmbeddingGateStats {
	s := g.stats
	if rows := s.Text + s.Vision; rows > 0 {
		s.VisionFraction = float64(s.Vision) / float64(rows)
	}
	return s
}
