package fast

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/parallel"
	"github.com/squishspec/squishspec/fast/internal/ternary"
	"github.com/squishspec/squishspec/spec"
)

// NewTernaryQuant returns an optimised spec.TernaryQuant, or an error of kind
// spec.Invalid for a config out of range. It also packs codes: spec.TernaryBase3
// and spec.Ternary2Bit.
//
// Weights are read twice: for the sum of their magnitudes, which shows besides
// whether all are finite, and for the codes. Large ones are cut into blocks, which
// the cores share; memory is 16 bytes a block of 65,536 weights.
func NewTernaryQuant(config spec.TernaryQuantConfig) (spec.TernaryQuant, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &ternaryQuant{config: config}, nil
}

type ternaryQuant struct {
	config spec.TernaryQuantConfig
	stats  spec.TernaryQuantStats // but for the sparsity

	summing  ternarySumming
	coding   ternaryCoding
	products ternaryProducts
}

// ternaryBlock is how many weights are summed at a time, in whatever number of parts,
// so that the sum does not depend on it.
const ternaryBlock = 1 << 16

// ternaryBlockTime is about what a block costs, in nanoseconds.
const ternaryBlockTime = 3000

// ternaryBlocks is the number of blocks of n weights, the last one as short as need be.
func ternaryBlocks(n int) int { return (n-1)/ternaryBlock + 1 }

// ternaryRange is where blocks lo…hi−1 of n weights are.
func ternaryRange(lo, hi, n int) (from, to int) {
	return lo * ternaryBlock, min(hi*ternaryBlock, n)
}

// ternarySumming sums the magnitudes of each block.
type ternarySumming struct {
	weights []float32
	sums    []float64
}

func (s *ternarySumming) Part(_, lo, hi int) {
	for b := lo; b < hi; b++ {
		from, to := ternaryRange(b, b+1, len(s.weights))
		s.sums[b] = kern.SumMagnitudes(s.weights[from:to])
	}
}

// ternaryCoding writes the codes of each block, and counts those that are not 0.
type ternaryCoding struct {
	weights []float32
	codes   []int8
	bound   float32
	nonZero []int
}

func (c *ternaryCoding) Part(_, lo, hi int) {
	for b := lo; b < hi; b++ {
		from, to := ternaryRange(b, b+1, len(c.weights))
		c.nonZero[b] = kern.TernaryCodes(c.codes[from:to], c.weights[from:to], c.bound)
	}
}

// ternaryProducts writes the products of each block.
type ternaryProducts struct {
	weights []float32
	codes   []int8
	scale   float32
	illegal atomic.Bool
}

func (p *ternaryProducts) Part(_, lo, hi int) {
	for b := lo; b < hi; b++ {
		from, to := ternaryRange(b, b+1, len(p.codes))
		if !kern.TernaryProducts(p.weights[from:to], p.codes[from:to], p.scale) {
			p.illegal.Store(true)
		}
	}
}

func (q *ternaryQuant) Quantize(dst *spec.TernaryWeights, weights []float32) error {
	if len(weights) == 0 {
		return rejectTernary("weights", "at least 1 element", 0)
	}
	blocks := ternaryBlocks(len(weights))
	q.summing.weights, q.summing.sums = weights, spec.Resize(q.summing.sums, blocks)
	parallel.Run(&q.summing, blocks, ternaryBlockTime)
	sum := 0.0
	for _, s := range q.summing.sums {
		sum += s
	}
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		return spec.CheckFinite("ternary-quant", "weights", weights)
	}
	scale := sum / float64(len(weights))
	dst.Scale = float32(scale)
	dst.Codes = spec.Resize(dst.Codes, len(weights))

	c := &q.coding
	c.weights, c.codes, c.nonZero = weights, dst.Codes, spec.Resize(c.nonZero, blocks)
	c.bound = ternary.Bound(q.config.ZeroThreshold * scale)
	parallel.Run(c, blocks, ternaryBlockTime)
	q.stats.Zeros += len(weights)
	for _, n := range c.nonZero {
		q.stats.Zeros -= n
	}
	q.stats.Calls++
	q.stats.Weights += len(weights)
	return nil
}

func (q *ternaryQuant) Dequantize(dst *[]float32, codes []int8, scale float32) error {
	if len(codes) == 0 {
		return rejectTernary("ternary", "at least 1 code", 0)
	}
	*dst = spec.Resize(*dst, len(codes))
	p := &q.products
	p.weights, p.codes, p.scale = *dst, codes, scale
	p.illegal.Store(false)
	parallel.Run(p, ternaryBlocks(len(codes)), ternaryBlockTime)
	if p.illegal.Load() {
		return rejectCode(codes, ternary.FirstIllegal(codes))
	}
	if math.IsNaN(float64(scale)) || math.IsInf(float64(scale), 0) {
		return rejectTernary("scale", "a finite number", scale)
	}
	return nil
}

func (q *ternaryQuant) Stats() spec.TernaryQuantStats {
	s := q.stats
	if s.Weights > 0 {
		s.Sparsity = float64(s.Zeros) / float64(s.Weights)
	}
	return s
}

func (q *ternaryQuant) PackBase3(dst *[]uint8, codes []int8) error {
	return packTernary(dst, codes, 5, ternary.PackBase3)
}

func (q *ternaryQuant) UnpackBase3(dst *[]int8, packed []uint8, n int) error {
	return unpackTernary(dst, packed, n, 5, ternary.UnpackBase3)
}

func (q *ternaryQuant) Pack2bit(dst *[]uint8, codes []int8) error {
	return packTernary(dst, codes, 4, ternary.Pack2Bit)
}

func (q *ternaryQuant) Unpack2bit(dst *[]int8, packed []uint8, n int) error {
	return unpackTernary(dst, packed, n, 4, ternary.Unpack2Bit)
}

// packTernary packs with a kernel that returns the index of the first illegal code, or −1.
func packTernary(dst *[]uint8, codes []int8, perByte int, kernel func([]uint8, []int8) int) error {
	if len(codes) == 0 {
		return rejectTernary("ternary", "at least 1 code", 0)
	}
	*dst = spec.Resize(*dst, (len(codes)-1)/perByte+1)
	if i := kernel(*dst, codes); i >= 0 {
		return rejectCode(codes, i)
	}
	return nil
}

// unpackTernary unpacks with a kernel that returns the index of the first byte that
// packing does not write, or −1.
func unpackTernary(dst *[]int8, packed []uint8, n, perByte int, kernel func([]int8, []uint8) int) error {
	if n < 1 {
		return rejectTernary("n", "at least 1", n)
	}
	if want := (n-1)/perByte + 1; len(packed) != want {
		return rejectTernary("packed", fmt.Sprintf("%d bytes, for %d codes", want, n), len(packed))
	}
	*dst = spec.Resize(*dst, n)
	if b := kernel(*dst, packed); b >= 0 {
		return rejectTernary(fmt.Sprintf("packed[%d]", b), "a byte that packing writes", packed[b])
	}
	return nil
}

func rejectCode(codes []int8, i int) error {
	return rejectTernary(fmt.Sprintf("ternary[%d]", i), "−1, 0 or +1", codes[i])
}

func rejectTernary(name, want string, got any) error {
	return spec.Reject(spec.Invalid, "ternary-quant", name, want, got)
}
