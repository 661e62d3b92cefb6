package fast

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/fast/internal/absmean"
	"github.com/squishspec/squishspec/fast/internal/ternary"
	"github.com/squishspec/squishspec/spec"
)

// NewTernaryQuant returns an optimised spec.TernaryQuant, or an error of kind
// spec.Invalid for a config out of range. It also packs codes: spec.TernaryBase3
// and spec.Ternary2Bit.
//
// It keeps nothing but its counts: every operation writes into dst alone.
func NewTernaryQuant(config spec.TernaryQuantConfig) (spec.TernaryQuant, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &ternaryQuant{config: config}, nil
}

type ternaryQuant struct {
	config spec.TernaryQuantConfig
	stats  spec.TernaryQuantStats // but for the sparsity
}

func (q *ternaryQuant) Quantize(dst *spec.TernaryWeights, weights []float32) error {
	if len(weights) == 0 {
		return rejectTernary("weights", "at least 1 element", 0)
	}
	sum := absmean.Sum(weights)
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		return spec.CheckFinite("ternary-quant", "weights", weights)
	}
	scale := sum / float64(len(weights))
	dst.Scale = float32(scale)
	dst.Codes = spec.Resize(dst.Codes, len(weights))

	q.stats.Zeros += ternary.Quantize(dst.Codes, weights, ternary.Bound(q.config.ZeroThreshold*scale))
	q.stats.Calls++
	q.stats.Weights += len(weights)
	return nil
}

func (q *ternaryQuant) Dequantize(dst *[]float32, codes []int8, scale float32) error {
	if len(codes) == 0 {
		return rejectTernary("ternary", "at least 1 code", 0)
	}
	*dst = spec.Resize(*dst, len(codes))
	if i := ternary.Dequantize(*dst, codes, scale); i >= 0 {
		return rejectCode(codes, i)
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
