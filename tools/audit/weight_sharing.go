package audit

import (
	"context"
	"fmt"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// sharingMethods fit one base and low-rank differences to the matrices of one kind
// of all layers. The module takes square ones: in a Llama, those of queries and
// outputs. The others stay, and are not counted.
func sharingMethods() (list []Method) {
	for _, rank := range sharedRanks {
		list = append(list, Method{ID: fmt.Sprintf("weight-sharing/rank-%d", rank), Module: "weight-sharing",
			apply: func(ctx context.Context, j *job) (*Variation, error) { return sharedWeights(ctx, j, rank) }})
	}
	return list
}

var sharedRanks = []int{0, 4, 16}

func sharedWeights(ctx context.Context, j *job, rank int) (*Variation, error) {
	weights, err := matrices(j.Model)
	if err != nil {
		return nil, err
	}
	places := j.Model.Places()
	const kinds = 7 // matrices of a layer
	v := &Variation{}
	for kind := range kinds {
		dim := places[kind].Rows
		if dim != places[kind].Cols || rank >= dim {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var layers []spec.Matrix
		for i := kind; i < len(places); i += kinds {
			layers = append(layers, weights[i])
		}
		config := spec.WeightSharingConfig{HiddenDim: dim, NSharedLayers: len(layers), Rank: rank}
		s, err := j.impl.WeightSharing(config)
		if err != nil {
			return nil, err
		}
		fit, ok := s.(spec.WeightSharingFit)
		if !ok {
			return nil, fmt.Errorf("fit: %w", spec.Unsupported)
		}
		var shared spec.SharedWeights
		if err := fit.Fit(&shared, layers, rank); err != nil {
			return nil, err
		}
		r := &Record{}
		r.addFull("base", shared.Base.Data)
		for i := range layers {
			r.addFull(fmt.Sprintf("u%d", i), shared.U[i].Data)
			r.addFull(fmt.Sprintf("v%d", i), shared.V[i].Data)
		}
		if r, err = r.reread(); err != nil {
			return nil, err
		}
		config.Base = spec.Matrix{Rows: dim, Cols: dim, Data: r.full("base")}
		if rank > 0 {
			for i := range layers {
				config.U = append(config.U, spec.Matrix{Rows: dim, Cols: rank, Data: r.full(fmt.Sprintf("u%d", i))})
				config.V = append(config.V, spec.Matrix{Rows: rank, Cols: dim, Data: r.full(fmt.Sprintf("v%d", i))})
			}
		}
		if s, err = j.impl.WeightSharing(config); err != nil {
			return nil, err
		}
		for i := range layers {
			var w spec.Matrix
			if err := s.GetEffectiveWeight(&w, i); err != nil {
				return nil, err
			}
			weights[kind+i*kinds] = w
			v.Changed = append(v.Changed, places[kind+i*kinds])
		}
		v.Weights += len(layers) * dim * dim
		v.Bytes += r.Bytes()
		v.Formula += s.MemoryBytes()
	}
	if v.Weights == 0 {
		return nil, errNotHere{fmt.Sprintf("no kind of matrices is square and wider than rank %d", rank)}
	}
	i := 0
	v.Model, err = replaced(j.Model, func(llama.Place) spec.Matrix {
		i++
		return weights[i-1]
	})
	v.Note = "square matrices alone, in float32"
	return v, err
}

// sharingEnergy fits a base and low-rank differences to a model's layers, and to as
// many layers of noise.
func sharingEnergy(ctx context.Context, a *Audit, f *Finding) error {
	if a.Subject.Model.Config.Layers < 2 {
		f.Verdict, f.Note = Unmeasured, "the model has one layer"
		return nil
	}
	drawn, err := noise(a.Subject.Model, a.Seed)
	if err != nil {
		return err
	}
	f.Curve = &Curve{Columns: []string{"rank", "of the dense size", "energy kept %", "of noise: energy kept %"}}
	var base [2]float64 // that rank 0 keeps
	for _, rank := range sharedRanks {
		row := []float64{float64(rank)}
		for i, m := range []*llama.Model{a.Subject.Model, drawn} {
			v, err := sharedWeights(ctx, &job{Subject: &Subject{Model: m}, impl: a.Implementation}, rank)
			if err != nil {
				return err
			}
			missed, err := missedEnergy(m, v.Model, v.Changed)
			if err != nil {
				return err
			}
			if i == 0 {
				row = append(row, float64(v.Bytes)/float64(4*v.Weights))
			}
			row = append(row, 100*(1-missed))
			if rank == 0 {
				base[i] = 1 - missed
			}
		}
		f.Curve.add(row...)
	}
	f.counted(100*base[0], "% of the layers' energy in one copy")
	f.Verdict = Refuted
	switch {
	case base[0] >= mostEnergy:
		f.Verdict = Supported
	case base[0] >= 2*base[1]:
		f.Verdict = Conditional
	}
	f.Note = fmt.Sprintf("square matrices of %d layers, one copy of a kind: it keeps %.1f%% of their energy, and %.1f%% of as many layers of noise, of which 1/%d is to be expected. Bytes are those of float32; what rank r adds it adds whatever the layers have in common",
		a.Subject.Model.Config.Layers, 100*base[0], 100*base[1], a.Subject.Model.Config.Layers)
	return nil
}

// mostEnergy is what one copy must keep to stand for the layers.
const mostEnergy = 0.9
