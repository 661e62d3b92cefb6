package fast

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/fast/internal/dots"
	"github.com/squishspec/squishspec/spec"
)

// NewLayerFusion returns an optimised spec.LayerFusion, or an error of kind
// spec.Invalid for a config out of range. It also plans whole stacks:
// spec.LayerFusionPlanner.
//
// Two layers are read once: their dot product, both lengths and whether they are
// finite come from one pass. A plan reads each layer at most twice.
func NewLayerFusion(c spec.LayerFusionConfig) (spec.LayerFusion, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &layerFusion{config: c}, nil
}

type layerFusion struct {
	config spec.LayerFusionConfig
	stats  spec.LayerFusionStats
}

func (f *layerFusion) CosineSimilarity(dst *float64, a, b []float32) error {
	similarity, err := f.similarity("a", a, "b", b)
	*dst = similarity
	return err
}

func (f *layerFusion) ShouldFuse(dst *bool, weightsA, weightsB []float32) error {
	similarity, err := f.similarity("weights_a", weightsA, "weights_b", weightsB)
	if err != nil {
		return err
	}
	*dst = similarity >= f.config.SimilarityThreshold
	f.stats.Checks++
	return nil
}

// Fuse recognises weights that are not finite by what they fuse to: an average of
// finite numbers is finite, and neither ±Inf nor NaN, times 0 included, comes to a
// finite sum.
func (f *layerFusion) Fuse(dst *[]float32, weightsA, weightsB []float32, w float64) error {
	if err := f.checkSizes("weights_a", weightsA, "weights_b", weightsB); err != nil {
		return err
	}
	if err := f.config.CheckWeight(w); err != nil {
		return err
	}
	fused := spec.Resize(*dst, len(weightsA))
	*dst = fused
	weightsB = weightsB[:len(weightsA)]
	v := 1 - w
	const exponent = 0x7f800000 // all ones of NaN and ±Inf only
	isFinite := true
	for i, a := range weightsA {
		x := float32(w*float64(a) + v*float64(weightsB[i]))
		isFinite = isFinite && math.Float32bits(x)&exponent != exponent
		fused[i] = x
	}
	if !isFinite {
		return rejectPair("weights_a", weightsA, "weights_b", weightsB)
	}
	f.stats.Fusions++
	f.stats.LayersSaved++
	return nil
}

func (f *layerFusion) PlanFusions(dst *spec.FusionPlan, layers [][]float32) error {
	if err := f.config.CheckStack(layers); err != nil {
		return err
	}
	dst.Pairs = dst.Pairs[:0]
	square := math.NaN() // of layer i, where a comparison with the layer before has found it
	for i := 0; i < len(layers); i++ {
		if math.IsNaN(square) {
			_, square = dots.WithSquare(layers[i], layers[i])
			if !isFiniteSquare(square) {
				return rejectStack(layers, i)
			}
		}
		if i+1 == len(layers) {
			break
		}
		dot, next := dots.WithSquare(layers[i+1], layers[i])
		if !isFiniteSquare(next) {
			return rejectStack(layers, i+1)
		}
		if layerCosine(dot, square, next) >= f.config.SimilarityThreshold {
			dst.Pairs = append(dst.Pairs, spec.LayerPair{First: i, Second: i + 1})
			i++
			next = math.NaN()
		}
		square = next
	}
	layerBytes := 4 * int64(len(layers[0]))
	dst.BytesBefore = int64(len(layers)) * layerBytes
	dst.BytesAfter = int64(len(layers)-len(dst.Pairs)) * layerBytes
	return nil
}

func (f *layerFusion) Stats() spec.LayerFusionStats { return f.stats }

func (f *layerFusion) similarity(nameA string, a []float32, nameB string, b []float32) (float64, error) {
	if err := f.checkSizes(nameA, a, nameB, b); err != nil {
		return 0, err
	}
	dot, squareA, squareB := dots.WithSquares(a, b)
	if !isFiniteSquare(squareA) || !isFiniteSquare(squareB) {
		return 0, rejectPair(nameA, a, nameB, b)
	}
	return layerCosine(dot, squareA, squareB), nil
}

// layerCosine takes one root of both squared lengths: of equal layers it is exactly their
// product's root.
func layerCosine(dot, squareA, squareB float64) float64 {
	squares := squareA * squareB
	if squares == 0 {
		return 0
	}
	return max(-1, min(1, dot/math.Sqrt(squares)))
}

// isFiniteSquare reports whether a sum of squares of float32s is finite: that of finite
// ones cannot overflow a float64.
func isFiniteSquare(square float64) bool { return square <= math.MaxFloat64 }

func (f *layerFusion) checkSizes(nameA string, a []float32, nameB string, b []float32) error {
	if err := f.config.CheckLayer(nameA, a, len(a)); err != nil {
		return err
	}
	return f.config.CheckLayer(nameB, b, len(a))
}

// rejectPair is the error of the first weight that is not finite.
func rejectPair(nameA string, a []float32, nameB string, b []float32) error {
	if err := spec.CheckFinite("layer-fusion", nameA, a); err != nil {
		return err
	}
	return spec.CheckFinite("layer-fusion", nameB, b)
}

func rejectStack(layers [][]float32, i int) error {
	return spec.CheckFinite("layer-fusion", fmt.Sprintf("layers[%d]", i), layers[i])
}
