package audit

import (
	"context"
	"fmt"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// deltaMethods store a fine-tune as the base and low-rank factors of the difference
// in float32, as the module gives them. They are judged on what the model was tuned
// on, against the fine-tune itself.
func deltaMethods() (list []Method) {
	for _, rank := range []int{1, 2, 4, 8, 16, 32, 64} {
		list = append(list, Method{ID: fmt.Sprintf("delta-compress/rank-%d", rank), Module: "delta-compress",
			apply: func(ctx context.Context, j *job) (*Variation, error) {
				if j.Tuned == nil {
					return nil, errNotHere{"no fine-tune of the model"}
				}
				return lowRankDelta(ctx, j, rank)
			}})
	}
	return list
}

// lowRankDelta is the fine-tune with the seven matrices of each layer rebuilt from
// the base's and the factors.
func lowRankDelta(ctx context.Context, j *job, rank int) (*Variation, error) {
	d, err := j.impl.DeltaCompress(spec.DeltaCompressConfig{Rank: rank})
	if err != nil {
		return nil, err
	}
	base, err := matrices(j.Model)
	if err != nil {
		return nil, err
	}
	v, i, places := &Variation{Tuned: true}, 0, j.Model.Places()
	v.Model, err = j.Tuned.Map(func(_ string, tuned spec.Matrix) (spec.Matrix, error) {
		if err := ctx.Err(); err != nil {
			return tuned, err
		}
		p, w := places[i], base[i]
		i++
		var f spec.LowRank
		if err := d.Compress(&f, w, tuned); err != nil {
			return tuned, err
		}
		r := &Record{}
		r.addFull("u", f.U.Data)
		r.addFull("s", f.S)
		r.addFull("vt", f.Vt.Data)
		r, err := r.reread()
		if err != nil {
			return tuned, err
		}
		k := len(f.S)
		v.Weights += p.Rows * p.Cols
		v.Bytes += r.Bytes()
		v.Formula += 4 * min(rank, p.Rows, p.Cols) * (p.Rows + p.Cols + 1)
		var delta spec.Matrix
		err = d.Decompress(&delta, spec.Matrix{Rows: p.Rows, Cols: k, Data: r.full("u")}, r.full("s"), spec.Matrix{Rows: k, Cols: p.Cols, Data: r.full("vt")})
		for i := range delta.Data {
			delta.Data[i] = float32(float64(w.Data[i]) + float64(delta.Data[i]))
		}
		return delta, err
	})
	v.Note = "the size is that of the difference alone, without the base"
	return v, err
}

// matrices are those of [llama.Model.Places], in their order.
func matrices(m *llama.Model) (list []spec.Matrix, err error) {
	_, err = m.Map(func(_ string, w spec.Matrix) (spec.Matrix, error) {
		list = append(list, w)
		return w, nil
	})
	return list, err
}

// errNotHere is why a method cannot be judged with the inputs at hand.
type errNotHere struct{ why string }

func (e errNotHere) Error() string { return e.why }
