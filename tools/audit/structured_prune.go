package audit

import (
	"fmt"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
)

// structuredMethods are 2:4, and half the rows by their norms. What stays is stored
// in float16; a row that went takes a bit.
func structuredMethods() []Method {
	return []Method{
		{ID: "structured-prune/2:4", Module: "structured-prune", apply: each(func(j *job) (codec, error) {
			p, err := j.impl.StructuredPrune(spec.DefaultStructuredPruneConfig())
			return twoOfFour(p), err
		})},
		{ID: "structured-prune/rows-50%", Module: "structured-prune", apply: each(func(j *job) (codec, error) {
			p, err := j.impl.StructuredPrune(spec.DefaultStructuredPruneConfig())
			if err != nil {
				return codec{}, err
			}
			groups, ok := p.(spec.StructuredPruneGroups)
			if !ok {
				return codec{}, fmt.Errorf("prune_groups: %w", spec.Unsupported)
			}
			return halfOfRows(groups), nil
		})},
	}
}

// twoOfFour stores the two values of each four in float16, and their places in two
// bits each. The columns that are no whole four are padded with zeros, which are
// stored.
func twoOfFour(prune spec.StructuredPrune) codec {
	kept := func(rows, cols int) int { return rows * ((cols + 3) / 4) * 2 }
	return codec{
		bytes: func(rows, cols int) int { return 2*kept(rows, cols) + packedBytes(kept(rows, cols), 2) },
		compress: func(m matrix) (*Record, error) {
			var pruned spec.PrunedWeights
			if err := prune.Prune(&pruned, padded(m.weights, 4)); err != nil {
				return nil, err
			}
			var values []float32
			var places []uint8
			for i, stays := range pruned.Mask {
				if stays {
					values, places = append(values, pruned.Pruned.Data[i]), append(places, uint8(i%4))
				}
			}
			r := &Record{}
			r.addHalf("values", values)
			r.addCodes("places", places, 2)
			return r, nil
		},
		expand: func(r *Record, p llama.Place) (spec.Matrix, error) {
			values := r.half("values")
			places := r.codes("places", len(values), 2)
			cols := (p.Cols + 3) / 4 * 4
			wide := spec.Matrix{Rows: p.Rows, Cols: cols, Data: make([]float32, p.Rows*cols)}
			for i, v := range values {
				wide.Data[i/2*4+int(places[i])] = v
			}
			return cropped(wide, p.Cols), nil
		},
	}
}

// halfOfRows stores a bit a row, and those that stay in float16.
func halfOfRows(prune spec.StructuredPruneGroups) codec {
	drop := func(rows int) int { return spec.DropCount(spec.DefaultStructuredPruneConfig().Sparsity, rows) }
	return codec{
		bytes: func(rows, cols int) int { return packedBytes(rows, 1) + 2*(rows-drop(rows))*cols },
		compress: func(m matrix) (*Record, error) {
			var pruned spec.PrunedWeights
			if err := prune.PruneGroups(&pruned, m.weights); err != nil {
				return nil, err
			}
			var values []float32
			stays := make([]uint8, m.Rows)
			for row := range stays {
				if pruned.Mask[row*m.Cols] {
					stays[row] = 1
					values = append(values, pruned.Pruned.Row(row)...)
				}
			}
			r := &Record{}
			r.addCodes("rows", stays, 1)
			r.addHalf("values", values)
			return r, nil
		},
		expand: func(r *Record, p llama.Place) (spec.Matrix, error) {
			out := spec.Matrix{Rows: p.Rows, Cols: p.Cols, Data: make([]float32, p.Rows*p.Cols)}
			values := r.half("values")
			for row, stays := range r.codes("rows", p.Rows, 1) {
				if stays == 1 {
					values = values[copy(out.Row(row), values):]
				}
			}
			return out, nil
		},
	}
}

// padded returns a matrix with columns of zeros to a whole multiple.
func padded(w spec.Matrix, multiple int) spec.Matrix {
	cols := (w.Cols + multiple - 1) / multiple * multiple
	if cols == w.Cols {
		return w
	}
	wide := spec.Matrix{Rows: w.Rows, Cols: cols, Data: make([]float32, w.Rows*cols)}
	for r := range w.Rows {
		copy(wide.Row(r), w.Row(r))
	}
	return wide
}

// cropped returns the first columns of a matrix.
func cropped(w spec.Matrix, cols int) spec.Matrix {
	if cols == w.Cols {
		return w
	}
	narrow := spec.Matrix{Rows: w.Rows, Cols: cols, Data: make([]float32, 0, w.Rows*cols)}
	for r := range w.Rows {
		narrow.Data = append(narrow.Data, w.Row(r)[:cols]...)
	}
	return narrow
}
