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
	for _, rank := range deltaRanks {
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

var deltaRanks = []int{1, 2, 4, 8, 16, 32, 64}

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

// deltaEnergy rebuilds a fine-tune of a base and low-rank factors: of its own base,
// and of an unrelated one, on which that must fail.
func deltaEnergy(ctx context.Context, a *Audit, f *Finding) error {
	s := a.Subject
	if s.Tuned == nil {
		f.Verdict, f.Note = Unmeasured, "there is no fine-tune of the model: --tuned PATH takes one"
		return nil
	}
	other, err := unrelated(s.Model)
	if err != nil {
		return err
	}
	subjects := []*Subject{s, {Model: other, Tuned: s.Tuned}}
	var apart [2]float64 // the difference's energy, of the fine-tune's
	for i, s := range subjects {
		if apart[i], err = missedEnergy(s.Tuned, s.Model, nil); err != nil {
			return err
		}
	}
	switch {
	case apart[0] == 0:
		f.Verdict, f.Note = Unmeasured, "the fine-tune is the model"
		return nil
	case s.Model.Config.Layers < 2:
		f.Verdict, f.Note = Unmeasured, "the model has one layer, and no other to be an unrelated base"
		return nil
	}
	dense := 0
	for _, p := range s.Model.Places() {
		dense += 4 * p.Rows * p.Cols
	}
	f.Curve = &Curve{Columns: []string{"rank", "× against float32", "energy of the difference kept %", "nats", "from", "to", "unrelated: energy kept %", "unrelated: nats", "from", "to"}}
	var page [2]*Difference // what rank 16 costs
	var energy [2]float64   // and keeps
	for _, rank := range deltaRanks {
		row := []float64{float64(rank)}
		for i, s := range subjects {
			v, err := lowRankDelta(ctx, &job{Subject: s, impl: a.Implementation}, rank)
			if err != nil {
				return err
			}
			missed, err := missedEnergy(s.Tuned, v.Model, nil)
			if err != nil {
				return err
			}
			kept := 100 * (1 - missed/apart[i])
			q, err := judge(ctx, v, a.Subject.Tokenizer, a.Subject.TunedEvaluation, nil)
			if err != nil {
				return err
			}
			worse := a.worse(q, a.tuned)
			if i == 0 {
				row = append(row, float64(dense)/float64(v.Bytes))
			}
			row = append(row, kept, worse.By, worse.Interval.Low, worse.Interval.High)
			if rank == pageRank {
				page[i], energy[i] = worse, kept
			}
		}
		f.Curve.add(row...)
	}
	f.Figure, f.Unit, f.Interval = &page[0].By, fmt.Sprintf("nats a token that rank %d costs", pageRank), &page[0].Interval
	f.Verdict = rebuilt(page[0], page[1])
	f.Note = fmt.Sprintf("the difference has %.2f%% of the fine-tune's energy, and rank %d keeps %.1f%% of that. The negative control is the same fine-tune on a base of other layers, which differs by %.0f%% of its energy: there rank %d costs %+.3f nats (%s), though it keeps %.1f%% of that difference: what counts is how small the difference is. At full rank every pair comes back, in factors that are larger than the weights",
		100*apart[0], pageRank, energy[0], 100*apart[1], pageRank, page[1].By, page[1].Interval.Text("%+.3f"), energy[1])
	return nil
}

// rebuilt judges what a rank costs on a fine-tune's own base and on an unrelated one.
func rebuilt(own, unrelated *Difference) Verdict {
	switch {
	case unrelated.Interval.Low <= max(own.Interval.High, tolerable):
		return Refuted // it does as well without the base
	case own.Interval.High <= tolerable:
		return Supported
	default:
		return Conditional
	}
}

// pageRank is that of the page's difference.
const pageRank = 16
