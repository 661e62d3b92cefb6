package fast

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/fast/internal/dots"
	"github.com/squishspec/squishspec/spec"
)

// NewEmbeddingGate returns the optimised spec.EmbeddingGate, or an error of kind
// spec.Invalid for a config out of range. Its weights can be set:
// spec.EmbeddingGateWeights.
//
// A row's dot product with the weights, its length and whether it is finite come from
// one pass over some rows, in float32, and of a row that it cannot decide in float64.
// Rows are copied while they are in the L1 cache.
func NewEmbeddingGate(c spec.EmbeddingGateConfig) (spec.EmbeddingGate, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	const cached = 4096 // elements, half of a cache of 32 KiB
	g := &embeddingGate{config: c, weights: make([]float32, c.EmbedDim), together: max(4, cached/c.EmbedDim&^3)}
	for i := range g.weights {
		g.weights[i] = float32(1 / float64(c.EmbedDim))
	}
	g.measure()
	return g, nil
}

type embeddingGate struct {
	config  spec.EmbeddingGateConfig // its threshold is the one in force
	weights []float32
	length  float64 // of the weights
	stats   spec.EmbeddingGateStats

	together int // rows
	rows     dots.Rows
}

func (g *embeddingGate) measure() {
	g.length = math.Sqrt(dots.Exact(g.weights, g.weights))
}

func (g *embeddingGate) Gate(dst *spec.GatedEmbeddings, embeddings spec.Matrix) error {
	const m = "embedding-gate"
	if err := spec.CheckMatrix(m, "embeddings", embeddings, -1, g.config.EmbedDim); err != nil {
		return err
	}
	if embeddings.Rows == 0 {
		return spec.Reject(spec.Invalid, m, "embeddings", "at least 1 row", fmt.Sprintf("(0, %d)", embeddings.Cols))
	}
	dst.Route = spec.Resize(dst.Route, embeddings.Rows)
	dst.Masked.Resize(embeddings.Rows, embeddings.Cols)
	vision := 0
	defer g.rows.Forget()
	for from := 0; from < embeddings.Rows; from += g.together {
		n := min(g.together, embeddings.Rows-from)
		block := spec.Matrix{Rows: n, Cols: embeddings.Cols, Data: embeddings.Data[from*embeddings.Cols:][:n*embeddings.Cols]}
		g.rows.Set(block, g.weights)
		for i := range n {
			x, masked := block.Row(i), dst.Masked.Row(from+i)
			dot, square := g.rows.At(i)
			if math.IsInf(square, 0) || math.IsNaN(square) { // float32 squares do not overflow float64
				return spec.CheckFinite(m, "embeddings", embeddings.Data)
			}
			if g.isNear(math.Abs(dot), square) {
				dot, square = dots.Exact(x, g.weights), dots.Exact(x, x)
			}
			dst.Route[from+i] = 0
			if g.passes(math.Abs(dot), square) {
				dst.Route[from+i] = 1
				copy(masked, x)
				vision++
			} else {
				clear(masked)
			}
		}
	}
	g.stats.Calls++
	g.stats.Vision += vision
	g.stats.Text += embeddings.Rows - vision
	return nil
}

// isNear reports whether a row of that dot product and squared length, which are
// rounded to float32, may be on either side of the threshold.
func (g *embeddingGate) isNear(dot, square float64) bool {
	lengths := math.Sqrt(square) * g.length
	limit := g.config.Threshold
	if g.config.Variant != spec.Squish6 {
		limit *= lengths
	}
	return math.Abs(dot-limit) <= roundoff*float64(g.config.EmbedDim+16)*lengths
}

// passes reports whether a row of that dot product and squared length goes to
// vision.
func (g *embeddingGate) passes(dot, square float64) bool {
	if g.config.Variant == spec.Squish6 {
		return dot >= g.config.Threshold
	}
	lengths := math.Sqrt(square) * g.length
	return lengths > 0 && dot/lengths >= g.config.Threshold
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
	copy(g.weights, weights)
	g.measure()
	return nil
}

func (g *embeddingGate) Stats() spec.EmbeddingGateStats {
	s := g.stats
	if rows := s.Text + s.Vision; rows > 0 {
		s.VisionFraction = float64(s.Vision) / float64(rows)
	}
	return s
}
