package conformance

import (
	"math"
	"math/rand/v2"

	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

// Random numbers come in styles. Real weights are not Gaussian: they have heavy
// tails, outliers, constant groups and zeros, and laws break first at subnormals,
// ties and one huge value. At most drawnElements numbers are drawn one by one,
// where rapid can shrink each; a larger tensor is a drawn style and seed, and
// shrinks by its shape.

const drawnElements = 32

// A style fills a slice with finite numbers.
type style struct {
	name string
	fill func(r *rand.Rand, out []float32)
}

func each(f func(r *rand.Rand) float64) func(*rand.Rand, []float32) {
	return func(r *rand.Rand, out []float32) {
		for i := range out {
			out[i] = float32(f(r))
		}
	}
}

// moderateStyles keep magnitudes where products and their sums stay far from
// overflow and underflow.
var moderateStyles = []style{
	{"gaussian", each(func(r *rand.Rand) float64 { return r.NormFloat64() })},
	{"small", each(func(r *rand.Rand) float64 { return 0.02 * r.NormFloat64() })},
	{"uniform", each(func(r *rand.Rand) float64 { return r.Float64() })},
	{"heavy tail", each(func(r *rand.Rand) float64 {
		return max(-1e4, min(1e4, r.NormFloat64()/(math.Abs(r.NormFloat64())+1e-3)))
	})},
	{"outliers", each(func(r *rand.Rand) float64 {
		if r.IntN(16) == 0 {
			return 50 * r.NormFloat64()
		}
		return 0.1 * r.NormFloat64()
	})},
	{"ties", each(func(r *rand.Rand) float64 { return float64(r.IntN(5) - 2) })},
	{"mostly zero", each(func(r *rand.Rand) float64 {
		if r.IntN(4) > 0 {
			return math.Copysign(0, r.NormFloat64())
		}
		return r.NormFloat64()
	})},
	{"constant", func(r *rand.Rand, out []float32) {
		c := float32(r.NormFloat64())
		for i := range out {
			out[i] = c
		}
	}},
}

// extremeStyles reach the ends of float32.
var extremeStyles = []style{
	{"zeros", func(r *rand.Rand, out []float32) {
		for i := range out {
			out[i] = float32(math.Copysign(0, r.NormFloat64()))
		}
	}},
	{"subnormal", each(func(r *rand.Rand) float64 { return float64(r.IntN(1<<12)-1<<11) * 0x1p-149 })},
	{"huge", each(func(r *rand.Rand) float64 { return (2*r.Float64() - 1) * math.MaxFloat32 })},
	{"one huge", func(r *rand.Rand, out []float32) {
		each(func(r *rand.Rand) float64 { return r.NormFloat64() })(r, out)
		if len(out) > 0 {
			out[r.IntN(len(out))] = 1e37
		}
	}},
}

var anyStyles = append(append([]style{}, moderateStyles...), extremeStyles...)

// numbers draws n numbers of one of the styles.
func numbers(t *trial, n int, styles []style, label string) []float32 {
	out := make([]float32, n)
	if n <= drawnElements && rapid.IntRange(0, 3).Draw(t.T, label+" one by one") == 0 {
		for i := range out {
			out[i] = rapid.Float32Range(-4, 4).Draw(t.T, label)
		}
		return out
	}
	s := rapid.SampledFrom(styles).Draw(t.T, label+" style")
	s.fill(source(t, label), out)
	return out
}

// source draws a seeded generator for what is not drawn element by element.
func source(t *trial, label string) *rand.Rand {
	return rand.New(rand.NewPCG(rapid.Uint64().Draw(t.T, label+" seed"), 0x5eed))
}

// matrix draws a rows × cols matrix.
func matrix(t *trial, rows, cols int, styles []style, label string) spec.Matrix {
	return spec.Matrix{Rows: rows, Cols: cols, Data: numbers(t, rows*cols, styles, label)}
}

// heads draws a (heads, tokens, dim) tensor, now and then with room between the
// heads.
func heads(t *trial, n, tokens, dim int, styles []style, label string) spec.Heads {
	stride := tokens * dim
	if rapid.IntRange(0, 3).Draw(t.T, label+" stride") == 0 {
		stride += 3
	}
	return spec.Heads{Heads: n, Tokens: tokens, Dim: dim, Stride: stride, Data: numbers(t, n*stride, styles, label)}
}

// size draws a small number, mostly very small: laws break at small sizes, and
// a shrunk input is for a person to read.
func size(t *trial, from, to int, label string) int {
	return rapid.IntRange(from, to).Draw(t.T, label)
}

// exponential is about 2ˣ: exact at integers, on a line between. Every machine does
// its arithmetic alike, which math.Exp does not promise, so that what is drawn is
// the same everywhere. Callers convert a product, lest it be fused.
func exponential(x float64) float64 {
	whole := math.Floor(x)
	return math.Ldexp(1+(x-whole), int(whole))
}
