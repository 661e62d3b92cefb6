package ref

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/spec"
)

// NewLayerFusion returns the reference of spec.LayerFusion, or an error of kind
// spec.Invalid for a config out of range. It also plans whole stacks:
// spec.LayerFusionPlanner.
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
	if err := f.checkPair("a", a, "b", b); err != nil {
		return err
	}
	*dst = layerCosine(a, b)
	return nil
}

func (f *layerFusion) ShouldFuse(dst *bool, weightsA, weightsB []float32) error {
	if err := f.checkPair("weights_a", weightsA, "weights_b", weightsB); err != nil {
		return err
	}
	*dst = f.areAlike(weightsA, weightsB)
	f.stats.Checks++
	return nil
}

func (f *layerFusion) Fuse(dst *[]float32, weightsA, weightsB []float32, w float64) error {
	if err := f.checkPair("weights_a", weightsA, "weights_b", weightsB); err != nil {
		return err
	}
	if err := f.config.CheckWeight(w); err != nil {
		return err
	}
	*dst = spec.Resize(*dst, len(weightsA))
	for i := range weightsA {
		a, b := float64(weightsA[i]), float64(weightsB[i])
		(*dst)[i] = float32(float64(w*a) + float64((1-w)*b))
	}
	f.stats.Fusions++
	f.stats.LayersSaved++
	return nil
}

func (f *layerFusion) PlanFusions(dst *spec.FusionPlan, layers [][]float32) error {
	if err := f.config.CheckStack(layers); err != nil {
		return err
	}
	for i, layer := range layers {
		if err := spec.CheckFinite("layer-fusion", fmt.Sprintf("layers[%d]", i), layer); err != nil {
			return err
		}
	}
	dst.Pairs = dst.Pairs[:0]
	for i := 0; i+1 < len(layers); i++ {
		if f.areAlike(layers[i], layers[i+1]) {
			dst.Pairs = append(dst.Pairs, spec.LayerPair{First: i, Second: i + 1})
			i++ // a fused pair is not fused again
		}
	}
	layerBytes := 4 * int64(len(layers[0]))
	dst.BytesBefore = int64(len(layers)) * layerBytes
	dst.BytesAfter = dst.BytesBefore - int64(len(dst.Pairs))*layerBytes
	return nil
}

func (f *layerFusion) Stats() spec.LayerFusionStats { return f.stats }

func (f *layerFusion) areAlike(a, b []float32) bool {
	return layerCosine(a, b) >= f.config.SimilarityThreshold
}

// layerCosine is a·b/√(a·a × b·b): of equal layers √(s·s), which is s exactly, where a
// product of two rounded lengths would miss it. Sums of products of float32s neither
// overflow nor underflow, and nor do the products of two such sums.
func layerCosine(a, b []float32) float64 {
	squares := dotProduct(a, a) * dotProduct(b, b)
	if squares == 0 {
		return 0
	}
	return max(-1, min(1, dotProduct(a, b)/math.Sqrt(squares)))
}

func (f *layerFusion) checkPair(nameA string, a []float32, nameB string, b []float32) error {
	if err := f.config.CheckLayer(nameA, a, len(a)); err != nil {
		return err
	}
	if err := f.config.CheckLayer(nameB, b, len(a)); err != nil {
		return err
	}
	if err := spec.CheckFinite("layer-fusion", nameA, a); err != nil {
		return err
	}
	return spec.CheckFinite("layer-fusion", nameB, b)
}
