package ref

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/spec"
)

// NewTernaryQuant returns the reference of spec.TernaryQuant, or an error of kind
// spec.Invalid for a config out of range. It also packs codes: spec.TernaryBase3
// and spec.Ternary2Bit.
func NewTernaryQuant(c spec.TernaryQuantConfig) (spec.TernaryQuant, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &ternaryQuant{config: c}, nil
}

type ternaryQuant struct {
	config spec.TernaryQuantConfig
	stats  spec.TernaryQuantStats
}

func (q *ternaryQuant) Quantize(dst *spec.TernaryWeights, weights []float32) error {
	if len(weights) == 0 {
		return spec.Reject(spec.Invalid, "ternary-quant", "weights", "at least 1 element", 0)
	}
	if err := spec.CheckFinite("ternary-quant", "weights", weights); err != nil {
		return err
	}
	sum := 0.0
	for _, w := range weights {
		sum += math.Abs(float64(w))
	}
	scale := sum / float64(len(weights))
	threshold := q.config.ZeroThreshold * scale

	dst.Scale = float32(scale)
	dst.Codes = spec.Resize(dst.Codes, len(weights))
	for i, w := range weights {
		switch {
		case float64(w) > threshold:
			dst.Codes[i] = 1
		case float64(w) < -threshold:
			dst.Codes[i] = -1
		default:
			dst.Codes[i] = 0
			q.stats.Zeros++
		}
	}
	q.stats.Calls++
	q.stats.Weights += len(weights)
	return nil
}

func (q *ternaryQuant) Dequantize(dst *[]float32, codes []int8, scale float32) error {
	if err := checkTernary(codes); err != nil {
		return err
	}
	if math.IsNaN(float64(scale)) || math.IsInf(float64(scale), 0) {
		return spec.Reject(spec.Invalid, "ternary-quant", "scale", "a finite number", scale)
	}
	*dst = spec.Resize(*dst, len(codes))
	for i, code := range codes {
		switch code {
		case 1:
			(*dst)[i] = scale
		case -1:
			(*dst)[i] = -scale
		default:
			(*dst)[i] = 0
		}
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
	return packTernary(dst, codes, 3, 5)
}

func (q *ternaryQuant) UnpackBase3(dst *[]int8, packed []uint8, n int) error {
	return unpackTernary(dst, packed, n, 3, 5)
}

func (q *ternaryQuant) Pack2bit(dst *[]uint8, codes []int8) error {
	return packTernary(dst, codes, 4, 4)
}

func (q *ternaryQuant) Unpack2bit(dst *[]int8, packed []uint8, n int) error {
	return unpackTernary(dst, packed, n, 4, 4)
}

// packTernary writes perByte codes to a byte, as the digits code+1 of a number in
// base, the first code least significant. Missing codes are 0.
func packTernary(dst *[]uint8, codes []int8, base, perByte int) error {
	if err := checkTernary(codes); err != nil {
		return err
	}
	*dst = spec.Resize(*dst, (len(codes)-1)/perByte+1)
	for b := range *dst {
		number := 0
		for i := perByte - 1; i >= 0; i-- {
			digit := 1
			if at := b*perByte + i; at < len(codes) {
				digit = int(codes[at]) + 1
			}
			number = number*base + digit
		}
		(*dst)[b] = uint8(number)
	}
	return nil
}

// unpackTernary reads n codes back and refuses what packTernary cannot have
// written.
func unpackTernary(dst *[]int8, packed []uint8, n, base, perByte int) error {
	if n < 1 {
		return spec.Reject(spec.Invalid, "ternary-quant", "n", "at least 1", n)
	}
	if want := (n-1)/perByte + 1; len(packed) != want {
		return spec.Reject(spec.Invalid, "ternary-quant", "packed", fmt.Sprintf("%d bytes, for %d codes", want, n), len(packed))
	}
	codes := make([]int8, len(packed)*perByte)
	for b, number := range packed {
		rest, foreign := int(number), false
		for at := b * perByte; at < (b+1)*perByte; at++ {
			codes[at] = int8(rest%base) - 1
			rest /= base
			filling := at >= n
			foreign = foreign || codes[at] > 1 || filling && codes[at] != 0
		}
		if foreign || rest > 0 {
			return spec.Reject(spec.Invalid, "ternary-quant", fmt.Sprintf("packed[%d]", b), "a byte that packing writes", number)
		}
	}
	*dst = append((*dst)[:0], codes[:n]...)
	return nil
}

func checkTernary(codes []int8) error {
	if len(codes) == 0 {
		return spec.Reject(spec.Invalid, "ternary-quant", "ternary", "at least 1 code", 0)
	}
	for i, code := range codes {
		if code < -1 || code > 1 {
			return spec.Reject(spec.Invalid, "ternary-quant", fmt.Sprintf("ternary[%d]", i), "−1, 0 or +1", code)
		}
	}
	return nil
}
