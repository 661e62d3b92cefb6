package fast

import (
	"cmp"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/squishspec/squishspec/fast/internal/dots"
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/parallel"
	"github.com/squishspec/squishspec/spec"
)

// NewLayerFusion returns an optimised spec.LayerFusion, or an error of kind
// spec.Invalid for a config out of range. It also plans whole stacks:
// spec.LayerFusionPlanner.
//
// Two layers are read once: their dot product, both lengths and whether they are
// finite come from one pass. A plan reads each layer at most twice. Large layers are
// cut for several goroutines; beyond its results an instance needs 24 bytes for 4096
// weights.
func NewLayerFusion(c spec.LayerFusionConfig) (spec.LayerFusion, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &layerFusion{config: c}, nil
}

type layerFusion struct {
	config spec.LayerFusionConfig
	stats  spec.LayerFusionStats

	// Scratch.
	pair  dots.Pair
	blend layerBlend
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

func (f *layerFusion) Fuse(dst *[]float32, weightsA, weightsB []float32, w float64) error {
	if err := f.checkSizes("weights_a", weightsA, "weights_b", weightsB); err != nil {
		return err
	}
	if err := f.config.CheckWeight(w); err != nil {
		return err
	}
	*dst = spec.Resize(*dst, len(weightsA))
	if !f.blend.write(*dst, weightsA, weightsB, w) {
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
	compared := -1 // the last layer that has been
	for i := 0; i < len(layers); i++ {
		if i+1 == len(layers) {
			if compared < i && !isFiniteSquare(dots.Square(layers[i])) {
				return rejectStack(layers, i)
			}
			break
		}
		dot, square, next := f.pair.WithSquares(layers[i], layers[i+1])
		if !isFiniteSquare(square) || !isFiniteSquare(next) {
			return cmp.Or(rejectStack(layers, i), rejectStack(layers, i+1))
		}
		compared = i + 1
		if layerCosine(dot, square, next) >= f.config.SimilarityThreshold {
			dst.Pairs = append(dst.Pairs, spec.LayerPair{First: i, Second: i + 1})
			i++
		}
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
	dot, squareA, squareB := f.pair.WithSquares(a, b)
	if !isFiniteSquare(squareA) || !isFiniteSquare(squareB) {
		return 0, rejectPair(nameA, a, nameB, b)
	}
	return layerCosine(dot, squareA, squareB), nil
}

// A layerBlend writes w·a + (1−w)·b.
//
// Halves, the usual weights, are had by one addition in float32, at the speed of the
// memory: only where a sum is beyond float32, and for other weights, is it float64.
// Both round once. What is not finite shows in what it fuses to: an average of
// finite numbers is finite, and neither ±Inf nor NaN, times 0 included, comes to a
// finite sum.
type layerBlend struct {
	dst, a, b   []float32
	w           float64
	isNotFinite atomic.Bool
}

// write returns whether all is finite.
func (l *layerBlend) write(dst, a, b []float32, w float64) bool {
	l.dst, l.a, l.b, l.w = dst, a, b[:len(a)], w
	l.isNotFinite.Store(false)
	const ns = 0.25 // a weight
	parallel.Run(l, len(a), ns)
	l.dst, l.a, l.b = nil, nil, nil
	return !l.isNotFinite.Load()
}

func (l *layerBlend) Part(_, lo, hi int) {
	const block = 1 << 14
	for ; lo < hi; lo += block {
		end := min(lo+block, hi)
		dst, a, b := l.dst[lo:end], l.a[lo:end], l.b[lo:end]
		if l.w == 0.5 && kern.Average(dst, a, b) {
			continue
		}
		if !kern.Blend(dst, a, b, l.w, 1-l.w) {
			l.isNotFinite.Store(true)
		}
	}
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
