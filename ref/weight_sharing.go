package ref

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/spec"
)

// NewWeightSharing returns the reference of spec.WeightSharing, or an error of kind
// spec.Invalid for a config out of range. It also fits weights to layers:
// spec.WeightSharingFit, by the decomposition of delta-compress.
func NewWeightSharing(c spec.WeightSharingConfig) (spec.WeightSharing, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	w := &weightSharing{config: c, base: sharingCopy(c.Base, c.HiddenDim, c.HiddenDim)}
	w.config.Base, w.config.U, w.config.V = spec.Matrix{}, nil, nil // the caller's
	for i := range c.U {
		w.u = append(w.u, sharingCopy(c.U[i], c.HiddenDim, c.Rank))
		w.v = append(w.v, sharingCopy(c.V[i], c.Rank, c.HiddenDim))
	}
	return w, nil
}

// sharingCopy returns a copy of m, and zeros where m was not given.
func sharingCopy(m spec.Matrix, rows, cols int) spec.Matrix {
	out := spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	copy(out.Data, m.Data)
	return out
}

type weightSharing struct {
	config spec.WeightSharingConfig // its sizes
	base   spec.Matrix
	u, v   []spec.Matrix // by layer; none where deltas are 0
	calls  int
}

func (w *weightSharing) GetEffectiveWeight(dst *spec.Matrix, layerIdx int) error {
	if err := w.config.CheckLayer(layerIdx); err != nil {
		return err
	}
	dst.Resize(w.config.HiddenDim, w.config.HiddenDim)
	for r := range dst.Rows {
		for c := range dst.Cols {
			dst.Row(r)[c] = float32(w.element(layerIdx, r, c))
		}
	}
	w.calls++
	return nil
}

// element is one of base + U·V.
func (w *weightSharing) element(layer, r, c int) float64 {
	sum := float64(w.base.Row(r)[c])
	if len(w.u) > 0 {
		for i, u := range w.u[layer].Row(r) {
			sum += float64(float64(u) * float64(w.v[layer].Row(i)[c]))
		}
	}
	return sum
}

func (w *weightSharing) Fit(dst *spec.SharedWeights, layers []spec.Matrix, rank int) error {
	if err := w.config.CheckFit(layers, rank); err != nil {
		return err
	}
	d := w.config.HiddenDim
	base := sharingMean(layers)
	var u, v []spec.Matrix
	for i, layer := range layers {
		factors := spec.LowRank{U: spec.Matrix{Rows: d}, Vt: spec.Matrix{Cols: d}}
		if rank > 0 {
			svd := deltaCompress{config: spec.DeltaCompressConfig{Rank: rank}}
			if err := svd.Compress(&factors, base, layer); err != nil {
				return spec.Reject(spec.Invalid, "weight-sharing", fmt.Sprintf("layers[%d]", i),
					fmt.Sprintf("a difference from the mean with singular values up to %v", math.MaxFloat32), "one beyond")
			}
		}
		for r := range d {
			for i, s := range factors.S {
				factors.U.Row(r)[i] = float32(float64(factors.U.Row(r)[i]) * float64(s))
			}
		}
		u, v = append(u, factors.U), append(v, factors.Vt)
	}
	*dst = spec.SharedWeights{Base: base, U: u, V: v}
	return nil
}

// sharingMean returns the mean of matrices of one shape.
func sharingMean(layers []spec.Matrix) spec.Matrix {
	var mean spec.Matrix
	mean.Resize(layers[0].Rows, layers[0].Cols)
	for i := range mean.Data {
		sum := 0.0
		for _, layer := range layers {
			sum += float64(layer.Data[i])
		}
		mean.Data[i] = float32(sum / float64(len(layers)))
	}
	return mean
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
