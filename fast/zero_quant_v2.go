package fast

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/squishspec/squishspec/fast/internal/half"
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/outlier"
	"github.com/squishspec/squishspec/fast/internal/parallel"
	"github.com/squishspec/squishspec/fast/internal/svd"
	"github.com/squishspec/squishspec/fast/internal/ternary"
	"github.com/squishspec/squishspec/spec"
)

// NewZeroQuantV2 returns an optimised spec.ZeroQuantV2, or an error of kind
// spec.Invalid for a config out of range. It also stores: spec.ZeroQuantStorage.
//
// A group is read three times while it is in the first-level cache: for its largest
// weight, for the largest of the rest, and for the codes. Large weights are shared by
// the cores; memory is 12 bytes a group. Of the error, only the wanted singular
// triplets are found (see fast/internal/svd).
func NewZeroQuantV2(config spec.ZeroQuantV2Config) (spec.ZeroQuantV2, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &zeroQuantV2{config: config}, nil
}

type zeroQuantV2 struct {
	config spec.ZeroQuantV2Config
	stats  spec.ZeroQuantV2Stats // but for the rate

	quantizing   zeroQuantizing
	dequantizing zeroDequantizing

	svd   svd.Decomposer
	lost  []float64 // the error of the codes, as svd wants it
	right []float64 // lorc_v
	left  []float64 // a row of lorc_u
	sums  []float64 // a row of lorc_u·lorc_v
}

func (q *zeroQuantV2) Quantize(dst *spec.ZeroQuantWeights, weights spec.Matrix) error {
	if err := q.config.CheckWeights(weights); err != nil {
		return err
	}
	dst.Codes = spec.Resize(dst.Codes, len(weights.Data))
	dst.Scales.Resize(weights.Rows, weights.Cols/q.config.GroupSize)
	dst.Residual.Resize(weights.Rows, weights.Cols)
	if !q.quantizing.run(&q.config, dst, weights.Data) {
		return spec.CheckFinite("zero-quant-v2", "weights", weights.Data)
	}
	q.compensate(dst, weights)
	q.stats.Calls++
	q.stats.Outliers += int(q.quantizing.outliers.Load())
	q.stats.Elements += len(weights.Data)
	return nil
}

// zeroBlock is how many weights are read three times before the next ones are: few
// enough for the first-level cache, with what is written of them.
const zeroBlock = 2048

// zeroBlocks is the number of blocks of so many groups, perBlock groups each but for
// the last.
func zeroBlocks(groups, size int) (blocks, perBlock int) {
	perBlock = max(1, zeroBlock/size)
	return (groups-1)/perBlock + 1, perBlock
}

// zeroQuantizing is the work on blocks of groups.
type zeroQuantizing struct {
	config  *spec.ZeroQuantV2Config
	dst     *spec.ZeroQuantWeights
	weights []float32

	maxima           []uint32  // of each group, in the end of what is no outlier
	bounds, inverses []float32 // of each group
	perBlock         int
	outliers         atomic.Int64
	infinite         atomic.Bool
}

// run reports false where not all weights are finite.
func (z *zeroQuantizing) run(config *spec.ZeroQuantV2Config, dst *spec.ZeroQuantWeights, weights []float32) bool {
	groups := len(dst.Scales.Data)
	z.config, z.dst, z.weights = config, dst, weights
	z.maxima, z.bounds, z.inverses = spec.Resize(z.maxima, groups), spec.Resize(z.bounds, groups), spec.Resize(z.inverses, groups)
	z.outliers.Store(0)
	z.infinite.Store(false)
	blocks, perBlock := zeroBlocks(groups, config.GroupSize)
	z.perBlock = perBlock
	parallel.Run(z, blocks, 0.2*float64(perBlock*config.GroupSize))
	return !z.infinite.Load()
}

func (z *zeroQuantizing) Part(_, lo, hi int) {
	outliers := 0
	for b := lo; b < hi; b++ {
		from := b * z.perBlock
		n, legal := z.block(from, min(from+z.perBlock, len(z.maxima)))
		if !legal {
			z.infinite.Store(true)
			return
		}
		outliers += n
	}
	z.outliers.Add(int64(outliers))
}

// block quantises groups from…to−1, and reports how many outliers they have, and
// whether all is finite.
func (z *zeroQuantizing) block(from, to int) (outliers int, finite bool) {
	size, qMax, threshold := z.config.GroupSize, z.config.QMax(), z.config.OutlierThreshold
	weights := z.weights[from*size : to*size]
	codes, residual := z.dst.Codes[from*size:to*size], z.dst.Residual.Data[from*size:to*size]
	maxima, bounds, inverses, scales := z.maxima[from:to], z.bounds[from:to], z.inverses[from:to], z.dst.Scales.Data[from:to]

	kern.GroupMaxima(maxima, weights, size)
	for g, bits := range maxima {
		if bits >= kern.Infinite {
			return 0, false
		}
		bounds[g] = ternary.Bound(threshold * float64(math.Float32frombits(bits)))
	}
	outliers = kern.GroupMaximaWithin(maxima, weights, bounds, size)
	tiny := false // an inverse is beyond float32
	for g, bits := range maxima {
		m := float64(math.Float32frombits(bits))
		scales[g], inverses[g] = float32(m/float64(qMax)), float32(float64(qMax)/m)
		if scales[g] == 0 {
			scales[g], inverses[g] = float32(1/float64(qMax)), 0
		}
		tiny = tiny || inverses[g] > math.MaxFloat32
	}
	if !tiny {
		kern.GroupCodes(codes, residual, weights, bounds, inverses, size)
		return outliers, true
	}
	for g := range inverses {
		at := g * size
		group, own := weights[at:at+size], codes[at:at+size]
		beyond := inverses[g] > math.MaxFloat32
		if beyond {
			inverses[g] = 0
		}
		kern.GroupCodes(own, residual[at:at+size], group, bounds[g:g+1], inverses[g:g+1], size)
		if beyond {
			outlier.Quantize(own, group, bounds[g], math.Float32frombits(maxima[g]), qMax)
		}
	}
	return outliers, true
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
	z := &q.dequantizing
	z.run(q.config.GroupSize, dst.Data, quantized, residual.Data, scales.Data)
	if int(z.code.Load()) > q.config.QMax() {
		i := outlier.FirstIllegal(quantized, q.config.QMax())
		return q.config.CheckCode(i, quantized[i])
	}
	if lorcU.Cols == 0 && z.largest.Load() < kern.Infinite {
		return nil
	}
	return q.dequantizeWide(dst, quantized, scales, residual, lorcU, lorcV)
}

// zeroDequantizing is the way back, without low-rank factors, block by block.
type zeroDequantizing struct {
	size, perBlock   int
	weights          []float32
	codes            []int8
	residual, scales []float32
	largest, code    atomic.Uint32 // magnitudes, of weights as bits
}

func (z *zeroDequantizing) run(size int, weights []float32, codes []int8, residual, scales []float32) {
	z.size, z.weights, z.codes, z.residual, z.scales = size, weights, codes, residual, scales
	z.largest.Store(0)
	z.code.Store(0)
	blocks, perBlock := zeroBlocks(len(scales), size)
	z.perBlock = perBlock
	parallel.Run(z, blocks, 0.1*float64(perBlock*size))
}

func (z *zeroDequantizing) Part(_, lo, hi int) {
	var largest, code uint32
	for b := lo; b < hi; b++ {
		from := b * z.perBlock
		to := min(from+z.perBlock, len(z.scales))
		at, end := from*z.size, to*z.size
		l, c := kern.GroupProducts(z.weights[at:end], z.codes[at:end], z.residual[at:end], z.scales[from:to], z.size)
		largest, code = max(largest, l), max(code, c)
	}
	raise(&z.largest, largest)
	raise(&z.code, code)
}

// raise sets a to at least v.
func raise(a *atomic.Uint32, v uint32) {
	for old := a.Load(); old < v && !a.CompareAndSwap(old, v); old = a.Load() {
	}
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
		kern.PackNibbles(dst.Codes, quantized) // of a negative code the upper half is not 0
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
		if last := codes[len(codes)-1]; n%2 == 1 && last > 15 {
			return spec.Reject(spec.Invalid, "zero-quant-v2", fmt.Sprintf("codes[%d]", n/2), "a last byte filled up with 0", last)
		}
		kern.UnpackNibbles(dst.Codes, codes)
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
