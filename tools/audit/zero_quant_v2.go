package audit

import (
	"encoding/binary"
	"fmt"

	"github.com/squishspec/squishspec/llama"
	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/wire"
)

// zeroQuantMethods are 8 and 4 bits with groups of 32, with and without low-rank
// compensation of rank 4, in the module's stored form: codes, float32 scales, an
// index and a float16 an outlier.
func zeroQuantMethods() (list []Method) {
	for _, bits := range []int{8, 4} {
		for _, rank := range []int{0, 4} {
			config := spec.ZeroQuantV2Config{NBits: bits, GroupSize: 32, OutlierThreshold: 0.95, LorcRank: rank}
			id := fmt.Sprintf("zero-quant-v2/%d-bit-group-%d", bits, config.GroupSize)
			if rank > 0 {
				id += fmt.Sprintf("-lorc-%d", rank)
			}
			list = append(list, Method{ID: id, Module: "zero-quant-v2", apply: each(func(j *job) (codec, error) {
				q, err := j.impl.ZeroQuantV2(config)
				if err != nil {
					return codec{}, err
				}
				storage, ok := q.(spec.ZeroQuantStorage)
				if !ok {
					return codec{}, fmt.Errorf("store: %w", spec.Unsupported)
				}
				return zeroQuantCodec(q, storage, config), nil
			})})
		}
	}
	return list
}

// zeroQuantCodec pads rows to whole groups with zeros, which are stored.
func zeroQuantCodec(q spec.ZeroQuantV2, storage spec.ZeroQuantStorage, config spec.ZeroQuantV2Config) codec {
	outliers := 0 // of the last matrix
	wide := func(cols int) int { return (cols + config.GroupSize - 1) / config.GroupSize * config.GroupSize }
	return codec{
		bytes: func(rows, cols int) int {
			var bytes int
			if err := storage.StoredBytes(&bytes, rows, wide(cols), outliers); err != nil {
				return -1
			}
			return bytes
		},
		compress: func(m matrix) (*Record, error) {
			var w spec.ZeroQuantWeights
			var stored spec.ZeroQuantStored
			if err := q.Quantize(&w, padded(m.weights, config.GroupSize)); err != nil {
				return nil, err
			}
			if err := storage.Store(&stored, w.Codes, w.Residual); err != nil {
				return nil, err
			}
			outliers = len(stored.Indices)
			r := &Record{}
			r.addBytes("codes", stored.Codes)
			r.addFull("scales", w.Scales.Data)
			var indices, values []byte
			for i, at := range stored.Indices {
				indices = binary.LittleEndian.AppendUint32(indices, uint32(at))
				values = binary.LittleEndian.AppendUint16(values, uint16(stored.Values[i]))
			}
			r.add("indices", wire.I32, outliers, indices)
			r.add("values", wire.F16, outliers, values)
			r.addFull("lorc_u", w.LorcU.Data)
			r.addFull("lorc_v", w.LorcV.Data)
			return r, nil
		},
		expand: func(r *Record, p llama.Place) (spec.Matrix, error) {
			cols := wide(p.Cols)
			var indices []int32
			var values []spec.Float16
			for data := r.data("indices"); len(data) > 0; data = data[4:] {
				indices = append(indices, int32(binary.LittleEndian.Uint32(data)))
			}
			for data := r.data("values"); len(data) > 0; data = data[2:] {
				values = append(values, spec.Float16(binary.LittleEndian.Uint16(data)))
			}
			var restored spec.ZeroQuantRestored
			var out spec.Matrix
			if err := storage.Restore(&restored, r.data("codes"), indices, values, p.Rows, cols); err != nil {
				return out, err
			}
			u, v := r.full("lorc_u"), r.full("lorc_v")
			rank := len(u) / p.Rows
			err := q.Dequantize(&out, restored.Codes, spec.Matrix{Rows: p.Rows, Cols: cols / config.GroupSize, Data: r.full("scales")},
				restored.Residual, factor(p.Rows, rank, u), factor(rank, cols, v))
			return cropped(out, p.Cols), err
		},
	}
}

// factor is a matrix of a low-rank product, 0 × 0 where the rank is 0.
func factor(rows, cols int, data []float32) spec.Matrix {
	if len(data) == 0 {
		return spec.Matrix{}
	}
	return spec.Matrix{Rows: rows, Cols: cols, Data: data}
}
