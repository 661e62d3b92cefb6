package audit

import (
	"math"
	"math/rand/v2"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// Energy is a sum of squares.

// missedEnergy is the energy of what a model's matrices lack of another's, as a share
// of the other's energy: of those at some places, or of all where there are none.
func missedEnergy(of, model *llama.Model, places []llama.Place) (float64, error) {
	want, err := matrices(of)
	if err != nil {
		return 0, err
	}
	got, err := matrices(model)
	if err != nil {
		return 0, err
	}
	chosen := map[string]bool{}
	for _, p := range places {
		chosen[p.Name] = true
	}
	missed, all := 0.0, 0.0
	for i, p := range of.Places() {
		if places != nil && !chosen[p.Name] {
			continue
		}
		for k, w := range want[i].Data {
			d := float64(w) - float64(got[i].Data[k])
			missed += float64(d * d)
			all += float64(float64(w) * float64(w))
		}
	}
	return missed / all, nil
}

// unrelated is a model whose layers are those of another, each in the place of the one
// before it: trained weights of the same shapes, which have nothing to do with what
// they are compared with.
func unrelated(m *llama.Model) (*llama.Model, error) {
	weights, err := matrices(m)
	if err != nil {
		return nil, err
	}
	places := m.Places()
	kinds, i := len(places)/m.Config.Layers, 0
	return m.Map(func(string, spec.Matrix) (spec.Matrix, error) {
		w := weights[(i+kinds)%len(weights)]
		i++
		return w, nil
	})
}

// noise is a model whose square matrices, which layers may share, are Gaussian weights
// of another's energies. It has the other's own where they are not square.
func noise(m *llama.Model, seed uint64) (*llama.Model, error) {
	r := rand.New(rand.NewPCG(seed, 0x401e))
	return m.Map(func(_ string, w spec.Matrix) (spec.Matrix, error) {
		if w.Rows != w.Cols {
			return w, nil
		}
		scale := math.Sqrt(squares(w.Data) / float64(len(w.Data)))
		drawn := spec.Matrix{Rows: w.Rows, Cols: w.Cols, Data: make([]float32, len(w.Data))}
		for i := range drawn.Data {
			drawn.Data[i] = float32(scale * r.NormFloat64())
		}
		return drawn, nil
	})
}

// missed is the energy of what other lacks of x, as a share of x's.
func missed(x, other []float32) float64 {
	sum := 0.0
	for i, v := range x {
		d := float64(v) - float64(other[i])
		sum += float64(d * d)
	}
	return sum / squares(x)
}

// squares is the energy of x.
func squares(x []float32) (sum float64) {
	for _, v := range x {
		sum += float64(float64(v) * float64(v))
	}
	return sum
}
