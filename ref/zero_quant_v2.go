package ref

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/spec"
	"gonum.org/v1/gonum/mat"
)

// NewZeroQuantV2 returns the reference of spec.ZeroQuantV2, or an error of kind
// spec.Invalid for a config out of range. It also stores: spec.ZeroQuantStorage.
//
// The decomposition of the error is gonum's, complete and in float64; the element
// of largest magnitude of each right vector is positive.
func NewZeroQuantV2(config spec.ZeroQuantV2Config) (spec.ZeroQuantV2, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &zeroQuantV2{config: config}, nil
}

type zeroQuantV2 struct {
	config spec.ZeroQuantV2Config
	stats  spec.ZeroQuantV2Stats
}

func (q *zeroQuantV2) Quantize(dst *spec.ZeroQuantWeights, weights spec.Matrix) error {
	if err := q.config.CheckWeights(weights); err != nil {
		return err
	}
	if err := spec.CheckFinite("zero-quant-v2", "weights", weights.Data); err != nil {
		return err
	}
	groups := len(weights.Data) / q.config.GroupSize
	dst.Codes = spec.Resize(dst.Codes, len(weights.Data))
	dst.Scales.Resize(weights.Rows, groups/weights.Rows)
	dst.Residual.Resize(weights.Rows, weights.Cols)
	outliers := 0
	for g := range groups {
		from, to := g*q.config.GroupSize, (g+1)*q.config.GroupSize
		dst.Scales.Data[g] = q.quantizeGroup(dst.Codes[from:to], dst.Residual.Data[from:to], weights.Data[from:to])
		for _, r := range dst.Residual.Data[from:to] {
			if r != 0 {
				outliers++
			}
		}
	}
	if err := q.compensate(dst, weights); err != nil {
		return err
	}
	q.stats.Calls++
	q.stats.Outliers += outliers
	q.stats.Elements += len(weights.Data)
	return nil
}

func (q *zeroQuantV2) quantizeGroup(codes []int8, residual, weights []float32) (scale float32) {
	largest := 0.0
	for _, w := range weights {
		largest = max(largest, math.Abs(float64(w)))
	}
	threshold := q.config.OutlierThreshold * largest

	m := 0.0
	for i, w := range weights {
		residual[i] = 0
		if magnitude := math.Abs(float64(w)); magnitude > threshold {
			residual[i] = w
		} else {
			m = max(m, magnitude)
		}
	}
	clear(codes)
	qMax := float64(q.config.QMax())
	if scale = float32(m / qMax); scale == 0 {
		return float32(1 / qMax)
	}
	for i, w := range weights {
		if residual[i] == 0 {
			codes[i] = int8(math.RoundToEven(float64(w) * qMax / m))
		}
	}
	return scale
}

// compensate writes the low-rank factors of the error.
func (q *zeroQuantV2) compensate(dst *spec.ZeroQuantWeights, weights spec.Matrix) error {
	rows, cols := weights.Rows, weights.Cols
	k := min(q.config.LorcRank, rows, cols)
	if k == 0 {
		dst.LorcU.Resize(0, 0)
		dst.LorcV.Resize(0, 0)
		return nil
	}
	lost := mat.NewDense(rows, cols, nil)
	for i, w := range weights.Data {
		lost.Set(i/cols, i%cols, float64(w)-q.uncompensated(dst.Codes, dst.Scales, dst.Residual, i))
	}
	var svd mat.SVD
	if !svd.Factorize(lost, mat.SVDThin) {
		return spec.Reject(spec.Invalid, "zero-quant-v2", "weights",
			"weights whose error has a singular value decomposition that converges", "others")
	}
	var u, v mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	dst.LorcU.Resize(rows, k)
	dst.LorcV.Resize(k, cols)
	for i, σ := range svd.Values(nil)[:k] {
		root, sign := math.Sqrt(σ), orientation(v.ColView(i))
		for r := range rows {
			dst.LorcU.Row(r)[i] = float32(sign * root * u.At(r, i))
		}
		for c := range cols {
			dst.LorcV.Row(i)[c] = float32(sign * root * v.At(c, i))
		}
	}
	return nil
}

// uncompensated is element i without its low-rank part: code × scale + residual.
func (q *zeroQuantV2) uncompensated(codes []int8, scales, residual spec.Matrix, i int) float64 {
	scale := scales.Data[i/q.config.GroupSize]
	return float64(float64(codes[i])*float64(scale)) + float64(residual.Data[i])
}

func (q *zeroQuantV2) Dequantize(dst *spec.Matrix, quantized []int8, scales, residual, lorcU, lorcV spec.Matrix) error {
	if err := q.config.CheckQuantized(quantized, scales, residual, lorcU, lorcV); err != nil {
		return err
	}
	for i, code := range quantized {
		if err := q.config.CheckCode(i, code); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		name   string
		values []float32
	}{{"scales", scales.Data}, {"residual", residual.Data}, {"lorc_u", lorcU.Data}, {"lorc_v", lorcV.Data}} {
		if err := spec.CheckFinite("zero-quant-v2", part.name, part.values); err != nil {
			return err
		}
	}
	dst.Resize(residual.Rows, residual.Cols)
	for i := range dst.Data {
		r, c := i/residual.Cols, i%residual.Cols
		sum := q.uncompensated(quantized, scales, residual, i)
		for j := range lorcU.Cols {
			sum += float64(float64(lorcU.Row(r)[j]) * float64(lorcV.Row(j)[c]))
		}
		dst.Data[i] = saturated(sum)
	}
	return nil
}

// saturated rounds to float32; what is beyond becomes the largest number of its
// sign.
func saturated(x float64) float32 {
	return float32(max(-math.MaxFloat32, min(math.MaxFloat32, x)))
}

func (q *zeroQuantV2) Stats() spec.ZeroQuantV2Stats {
	s := q.stats
	if s.Elements > 0 {
		s.OutlierRate = float64(s.Outliers) / float64(s.Elements)
	}
	return s
}

func (q *zeroQuantV2) Store(dst *spec.ZeroQuantStored, quantized []int8, residual spec.Matrix) error {
	if err := q.config.CheckStore(quantized, residual); err != nil {
		return err
	}
	if err := spec.CheckFinite("zero-quant-v2", "residual", residual.Data); err != nil {
		return err
	}
	perByte := 8 / q.config.NBits
	mask := uint8(1<<q.config.NBits - 1)
	dst.Codes = spec.Resize(dst.Codes, q.config.CodeBytes(len(quantized)))
	clear(dst.Codes)
	for i, code := range quantized {
		if err := q.config.CheckCode(i, code); err != nil {
			return err
		}
		dst.Codes[i/perByte] |= (uint8(code) & mask) << (i % perByte * q.config.NBits)
	}
	dst.Indices, dst.Values = dst.Indices[:0], dst.Values[:0]
	for i, r := range residual.Data {
		if value := float16(r); fromFloat16(value) != 0 {
			dst.Indices = append(dst.Indices, int32(i))
			dst.Values = append(dst.Values, value)
		}
	}
	return nil
}

func (q *zeroQuantV2) Restore(dst *spec.ZeroQuantRestored, codes []uint8, indices []int32, values []spec.Float16, rows, cols int) error {
	if err := q.config.CheckRestore(codes, indices, values, rows, cols); err != nil {
		return err
	}
	perByte := 8 / q.config.NBits
	dst.Codes = spec.Resize(dst.Codes, rows*cols)
	for i := range len(codes) * perByte {
		atTop := codes[i/perByte] << (8 - q.config.NBits - i%perByte*q.config.NBits)
		code := int8(atTop) >> (8 - q.config.NBits)
		if i >= len(dst.Codes) {
			if code != 0 {
				return spec.Reject(spec.Invalid, "zero-quant-v2", fmt.Sprintf("codes[%d]", i/perByte), "a last byte filled up with 0", codes[i/perByte])
			}
			continue
		}
		if err := q.config.CheckCode(i, code); err != nil {
			return err
		}
		dst.Codes[i] = code
	}
	dst.Residual.Resize(rows, cols)
	clear(dst.Residual.Data)
	next := 0
	for i, index := range indices {
		if int(index) < next || int(index) >= rows*cols {
			return spec.Reject(spec.Invalid, "zero-quant-v2", fmt.Sprintf("indices[%d]", i), fmt.Sprintf("an index in [%d, %d)", next, rows*cols), index)
		}
		value := fromFloat16(values[i])
		if value == 0 || math.Abs(float64(value)) > spec.MaxFloat16 || value != value {
			return spec.Reject(spec.Invalid, "zero-quant-v2", fmt.Sprintf("values[%d]", i), "a finite number other than 0", value)
		}
		dst.Residual.Data[index] = value
		next = int(index) + 1
	}
	return nil
}

func (q *zeroQuantV2) StoredBytes(dst *int, rows, cols, outliers int) error {
	if err := q.config.CheckStoredBytes(rows, cols, outliers); err != nil {
		return err
	}
	k := min(q.config.LorcRank, rows, cols)
	*dst = q.config.CodeBytes(rows*cols) + 4*rows*(cols/q.config.GroupSize) + (4+2)*outliers + 4*k*(rows+cols)
	return nil
}
