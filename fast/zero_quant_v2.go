package fast

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/fast/internal/half"
	"github.com/squishspec/squishspec/fast/internal/outlier"
	"github.com/squishspec/squishspec/fast/internal/svd"
	"github.com/squishspec/squishspec/fast/internal/ternary"
	"github.com/squishspec/squishspec/spec"
)

// NewZeroQuantV2 returns an optimised spec.ZeroQuantV2, or an error of kind
// spec.Invalid for a config out of range. It also stores: spec.ZeroQuantStorage.
//
// A group is read three times while it is in the first-level cache: for its largest
// weight, for the largest of the rest, and for the codes. Of the error, only the
// wanted singular triplets are found (see fast/internal/svd).
func NewZeroQuantV2(config spec.ZeroQuantV2Config) (spec.ZeroQuantV2, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &zeroQuantV2{config: config}, nil
}

type zeroQuantV2 struct {
	config spec.ZeroQuantV2Config
	stats  spec.ZeroQuantV2Stats // but for the rate
	svd    svd.Decomposer
	lost   []float64 // the error of the codes, as svd wants it
	right  []float64 // lorc_v
	left   []float64 // a row of lorc_u
	sums   []float64 // a row of lorc_u·lorc_v
}

func (q *zeroQuantV2) Quantize(dst *spec.ZeroQuantWeights, weights spec.Matrix) error {
	if err := q.config.CheckWeights(weights); err != nil {
		return err
	}
	size, qMax := q.config.GroupSize, q.config.QMax()
	dst.Codes = spec.Resize(dst.Codes, len(weights.Data))
	dst.Scales.Resize(weights.Rows, weights.Cols/size)
	dst.Residual.Resize(weights.Rows, weights.Cols)
	outliers := 0
	for g := range dst.Scales.Data {
		group := weights.Data[g*size : (g+1)*size]
		codes, residual := dst.Codes[g*size:][:size], dst.Residual.Data[g*size:][:size]
		largest := outlier.Largest(group)
		if largest >= outlier.Infinite {
			return spec.CheckFinite("zero-quant-v2", "weights", weights.Data)
		}
		bound := ternary.Bound(q.config.OutlierThreshold * float64(math.Float32frombits(largest)))
		m, beyond := outlier.LargestWithin(group, bound)
		outliers += beyond
		scale := float32(float64(m) / float64(qMax))
		if scale == 0 {
			clear(codes)
			outlier.SetAside(residual, group, bound)
			scale = float32(1 / float64(qMax))
		} else {
			outlier.Quantize(codes, residual, group, bound, m, qMax)
		}
		dst.Scales.Data[g] = scale
	}
	q.compensate(dst, weights)
	q.stats.Calls++
	q.stats.Outliers += outliers
	q.stats.Elements += len(weights.Data)
	return nil
}

// compensate writes the low-rank factors of the error.
func (q *zeroQuantV2) compensate(dst *spec.ZeroQuantWeights, weights spec.Matrix) {
	rows, cols := weights.Rows, weights.Cols
	k := min(q.config.LorcRank, rows, cols)
	if k == 0 {
		dst.LorcU.Resize(0, 0)
		dst.LorcV.Resize(0, 0)
		return
	}
	exponent := q.loss(dst, weights)
	q.svd.Decompose(q.lost, max(rows, cols), min(rows, cols), k)
	left, right := q.svd.U, q.svd.V
	if rows < cols {
		left, right = right, left
	}
	dst.LorcU.Resize(rows, k)
	dst.LorcV.Resize(k, cols)
	for i, s := range q.svd.S {
		u, v := left[i*rows:(i+1)*rows], right[i*cols:(i+1)*cols]
		root := math.Sqrt(math.Ldexp(s, exponent)) * orientation(v)
		for r, x := range u {
			dst.LorcU.Data[r*k+i] = float32(root * x)
		}
		row := dst.LorcV.Row(i)
		for c, x := range v {
			row[c] = float32(root * x)
		}
	}
}

// loss sets lost to the error of the codes, on its side if it is wider than high,
// and scaled by 2^−exponent, so that its largest element is of magnitude ½ to 1.
func (q *zeroQuantV2) loss(dst *spec.ZeroQuantWeights, weights spec.Matrix) (exponent int) {
	rows, cols, size := weights.Rows, weights.Cols, q.config.GroupSize
	q.lost = spec.Resize(q.lost, rows*cols)
	across, down := 1, cols // steps in lost to the next column and the next row
	if rows < cols {
		across, down = rows, 1
	}
	largest := 0.0
	for r := range rows {
		at := r * down
		for c, w := range weights.Row(r) {
			i := r*cols + c
			e := 0.0
			if dst.Residual.Data[i] == 0 {
				e = float64(w) - float64(dst.Codes[i])*float64(dst.Scales.Data[i/size])
			}
			largest = max(largest, math.Abs(e))
			q.lost[at] = e
			at += across
		}
	}
	_, exponent = math.Frexp(largest)
	scale := math.Ldexp(1, -exponent)
	for i := range q.lost {
		q.lost[i] *= scale
	}
	return exponent
}

func (q *zeroQuantV2) Dequantize(dst *spec.Matrix, quantized []int8, scales, residual, lorcU, lorcV spec.Matrix) error {
	if err := q.config.CheckQuantized(quantized, scales, residual, lorcU, lorcV); err != nil {
		return err
	}
	dst.Resize(residual.Rows, residual.Cols)
	size, qMax := q.config.GroupSize, q.config.QMax()
	var largest uint32
	for g, scale := range scales.Data {
		codes := quantized[g*size : (g+1)*size]
		m, legal := outlier.Dequantize(dst.Data[g*size:][:size], codes, residual.Data[g*size:][:size], scale, qMax)
		if !legal {
			i := g*size + outlier.FirstIllegal(codes, qMax)
			return q.config.CheckCode(i, quantized[i])
		}
		largest = max(largest, m)
	}
	if lorcU.Cols == 0 && largest < outlier.Infinite {
		return nil
	}
	return q.dequantizeWide(dst, quantized, scales, residual, lorcU, lorcV)
}

// dequantizeWide sums in float64: with low-rank factors, or where float32 overflows.
func (q *zeroQuantV2) dequantizeWide(dst *spec.Matrix, quantized []int8, scales, residual, lorcU, lorcV spec.Matrix) error {
	rows, cols, k := residual.Rows, residual.Cols, lorcU.Cols
	q.right = spec.Resize(q.right, k*cols)
	for i, v := range lorcV.Data {
		q.right[i] = float64(v)
	}
	q.left, q.sums = spec.Resize(q.left, k), spec.Resize(q.sums, cols)
	finite := true
	for r := range rows {
		for i := range k {
			q.left[i] = float64(lorcU.Data[r*k+i])
		}
		svd.Combine(q.sums, q.right, q.left)
		out := dst.Row(r)
		for c, sum := range q.sums {
			i := r*cols + c
			sum += float64(quantized[i])*float64(scales.Data[i/q.config.GroupSize]) + float64(residual.Data[i])
			finite = finite && sum-sum == 0
			out[c] = float32(max(-math.MaxFloat32, min(math.MaxFloat32, sum)))
		}
	}
	if finite {
		return nil
	}
	// Sums and products of float32s do not overflow float64, so an argument is not
	// finite.
	const m = "zero-quant-v2"
	for _, part := range [...]struct {
		name   string
		values []float32
	}{{"scales", scales.Data}, {"residual", residual.Data}, {"lorc_u", lorcU.Data}, {"lorc_v", lorcV.Data}} {
		if err := spec.CheckFinite(m, part.name, part.values); err != nil {
			return err
		}
	}
	return nil
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
	if i := outlier.FirstIllegal(quantized, q.config.QMax()); i >= 0 {
		return q.config.CheckCode(i, quantized[i])
	}
	dst.Codes = spec.Resize(dst.Codes, q.config.CodeBytes(len(quantized)))
	if q.config.NBits == 8 {
		for i, code := range quantized {
			dst.Codes[i] = uint8(code)
		}
	} else {
		pairs := quantized[:len(quantized)&^1]
		for i := 0; i < len(pairs); i += 2 {
			dst.Codes[i/2] = uint8(pairs[i])&15 | uint8(pairs[i+1])<<4
		}
		if last := len(pairs); last < len(quantized) {
			dst.Codes[last/2] = uint8(quantized[last]) & 15
		}
	}
	dst.Indices, dst.Values = dst.Indices[:0], dst.Values[:0]
	for i, r := range residual.Data {
		if r == 0 {
			continue
		}
		if r-r != 0 {
			return spec.CheckFinite("zero-quant-v2", "residual", residual.Data)
		}
		if value := half.FromFloat32(r); value&0x7fff != 0 {
			dst.Indices = append(dst.Indices, int32(i))
			dst.Values = append(dst.Values, spec.Float16(value))
		}
	}
	return nil
}

func (q *zeroQuantV2) Restore(dst *spec.ZeroQuantRestored, codes []uint8, indices []int32, values []spec.Float16, rows, cols int) error {
	if err := q.config.CheckRestore(codes, indices, values, rows, cols); err != nil {
		return err
	}
	n := rows * cols
	dst.Codes = spec.Resize(dst.Codes, n)
	if q.config.NBits == 8 {
		for i, b := range codes {
			dst.Codes[i] = int8(b)
		}
	} else {
		for i := range n / 2 {
			b := codes[i]
			dst.Codes[2*i], dst.Codes[2*i+1] = int8(b<<4)>>4, int8(b)>>4
		}
		if n%2 == 1 {
			b := codes[n/2]
			if b > 15 {
				return spec.Reject(spec.Invalid, "zero-quant-v2", fmt.Sprintf("codes[%d]", n/2), "a last byte filled up with 0", b)
			}
			dst.Codes[n-1] = int8(b<<4) >> 4
		}
	}
	if i := outlier.FirstIllegal(dst.Codes, q.config.QMax()); i >= 0 {
		return q.config.CheckCode(i, dst.Codes[i])
	}
	dst.Residual.Resize(rows, cols)
	clear(dst.Residual.Data)
	next := 0
	for i, index := range indices {
		if int(index) < next || int(index) >= n {
			return spec.Reject(spec.Invalid, "zero-quant-v2", fmt.Sprintf("indices[%d]", i), fmt.Sprintf("an index in [%d, %d)", next, n), index)
		}
		h := uint16(values[i])
		if magnitude := h & 0x7fff; magnitude == 0 || magnitude >= 0x7c00 {
			return spec.Reject(spec.Invalid, "zero-quant-v2", fmt.Sprintf("values[%d]", i), "a finite number other than 0", half.ToFloat32(h))
		}
		dst.Residual.Data[index] = half.ToFloat32(h)
		next = int(index) + 1
	}
	return nil
}

func (q *zeroQuantV2) StoredBytes(dst *int, rows, cols, outliers int) error {
	if err := q.config.CheckStoredBytes(rows, cols, outliers); err != nil {
		return err
	}
	n := rows * cols
	const scaleBytes, outlierBytes, factorBytes = 4, 4 + 2, 4
	*dst = q.config.CodeBytes(n) + scaleBytes*(n/q.config.GroupSize) + outlierBytes*outliers +
		factorBytes*min(q.config.LorcRank, rows, cols)*(rows+cols)
	return nil
}
