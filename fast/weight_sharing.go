package fast

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/fast/internal/gemm"
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/spec"
)

// NewWeightSharing returns the optimised spec.WeightSharing, or an error of kind
// spec.Invalid for a config out of range. It also fits weights to layers:
// spec.WeightSharingFit, by the decomposition of delta-compress.
//
// All weights lie in one buffer: the base, and layer by layer U and V, each at an
// offset that the sizes give. A weight is one matrix product in float32, but where the
// factors are so large that a sum on the way might overflow. Fit takes the memory of
// delta-compress's Compress.
func NewWeightSharing(c spec.WeightSharingConfig) (spec.WeightSharing, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	w := &weightSharing{config: c, hasDeltas: c.Rank > 0 && len(c.U) > 0}
	w.config.Base, w.config.U, w.config.V = spec.Matrix{}, nil, nil // the caller's
	size := c.HiddenDim * c.HiddenDim
	if w.hasDeltas {
		size = w.at(c.NSharedLayers)
	}
	w.weights = make([]float32, size)
	copy(w.weights, c.Base.Data)
	if !w.hasDeltas {
		return w, nil
	}
	base := magnitude(w.weights[:c.HiddenDim*c.HiddenDim])
	for i := range c.U {
		u, v := w.factors(i)
		copy(u, c.U[i].Data)
		copy(v, c.V[i].Data)
		w.overflows = append(w.overflows, base+float64(c.Rank)*magnitude(u)*magnitude(v) > math.MaxFloat32)
	}
	return w, nil
}

type weightSharing struct {
	config    spec.WeightSharingConfig // its sizes
	hasDeltas bool
	weights   []float32
	calls     int

	overflows []bool // by layer: float32 might, on the way to a weight that it holds
	gemm      gemm.Multiplier
	wide      wideProduct
	sums      []float64 // a row of the mean, times the layers
	svd       deltaCompress
	factored  spec.LowRank
}

// at returns the offset of a layer's factors.
func (w *weightSharing) at(layer int) int {
	d := w.config.HiddenDim
	return d*d + layer*2*d*w.config.Rank
}

// factors returns U and V of a layer, row by row.
func (w *weightSharing) factors(layer int) (u, v []float32) {
	if !w.hasDeltas {
		return nil, nil
	}
	both := w.weights[w.at(layer):w.at(layer+1)]
	return both[:len(both)/2], both[len(both)/2:]
}

func (w *weightSharing) GetEffectiveWeight(dst *spec.Matrix, layerIdx int) error {
	if err := w.config.CheckLayer(layerIdx); err != nil {
		return err
	}
	d := w.config.HiddenDim
	dst.Resize(d, d)
	w.calls++
	if !w.hasDeltas {
		copy(dst.Data, w.weights)
		return nil
	}
	u, v := w.factors(layerIdx)
	base := w.weights[:d*d]
	if w.overflows[layerIdx] {
		w.wide.write(*dst, base, u, nil, v)
		return nil
	}
	k := w.config.Rank
	w.gemm.Multiply(gemm.Of(*dst), kern.Rows(base, d, d, d), kern.Rows(u, d, k, k), kern.Rows(v, k, d, d))
	return nil
}

func (w *weightSharing) Fit(dst *spec.SharedWeights, layers []spec.Matrix, rank int) error {
	if err := w.config.CheckFit(layers, rank); err != nil {
		return err
	}
	d := w.config.HiddenDim
	w.mean(&dst.Base, layers)
	dst.U, dst.V = spec.Resize(dst.U, len(layers)), spec.Resize(dst.V, len(layers))
	w.svd.config.Rank = rank
	for i, layer := range layers {
		u, v := &dst.U[i], &dst.V[i]
		u.Resize(d, rank)
		v.Resize(rank, d)
		if rank == 0 {
			continue
		}
		if err := w.svd.Compress(&w.factored, dst.Base, layer); err != nil {
			return spec.Reject(spec.Invalid, "weight-sharing", fmt.Sprintf("layers[%d]", i),
				fmt.Sprintf("a difference from the mean with singular values up to %v", math.MaxFloat32), "one beyond")
		}
		for j, x := range w.factored.U.Data {
			u.Data[j] = float32(float64(x) * float64(w.factored.S[j%rank]))
		}
		copy(v.Data, w.factored.Vt.Data)
	}
	return nil
}

// mean writes the mean of the layers, row by row.
func (w *weightSharing) mean(dst *spec.Matrix, layers []spec.Matrix) {
	d := w.config.HiddenDim
	dst.Resize(d, d)
	w.sums = spec.Resize(w.sums, d)
	for r := range d {
		clear(w.sums)
		for _, layer := range layers {
			for c, x := range layer.Row(r) {
				w.sums[c] += float64(x)
			}
		}
		row := dst.Row(r)
		for c, sum := range w.sums {
			row[c] = float32(sum / float64(len(layers)))
		}
	}
}

func (w *weightSharing) MemoryBytes() int { return w.config.MemoryBytes() }

func (w *weightSharing) DenseMemoryBytes() int { return w.config.DenseMemoryBytes() }

func (w *weightSharing) MemoryRatio() float64 {
	return float64(w.MemoryBytes()) / float64(w.DenseMemoryBytes())
}

func (w *weightSharing) Stats() spec.WeightSharingStats {
	return spec.WeightSharingStats{
		Calls: w.calls, HiddenDim: w.config.HiddenDim, NSharedLayers: w.config.NSharedLayers, Rank: w.config.Rank,
		MemoryRatio: w.MemoryRatio(),
	}
}
