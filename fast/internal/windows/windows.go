// Package windows compares neighbouring windows of a sequence of vectors.
//
// The idea: a cosine does not depend on its vectors' lengths, so that a window's
// sum serves for its mean, but for the smoothing of norms, which is scaled along.
// Each vector is read once; only two sums are kept, and what is not finite shows
// in a sum's square.
package windows

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/dots"
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/spec"
)

// smoothing is added to the norm of a window's mean.
const smoothing = 1e-10

// A Buffer keeps the two sums between calls.
type Buffer struct {
	before, sum           []float32
	exactBefore, exactSum []float64
}

// Distances appends to dst 1 − cos of each complete window of size vectors and
// the next, from sums in float32, and reports whether those are finite: if not, an
// element is not, or a sum has overflowed. data has vectors of dim elements.
func (b *Buffer) Distances(dst []float64, data []float32, dim, size int) (distances []float64, finite bool) {
	b.before, b.sum = spec.Resize(b.before, dim), spec.Resize(b.sum, dim)
	before, sum := b.before, b.sum
	normBefore := 0.0
	for w := 0; (w+1)*size*dim <= len(data); w++ {
		clear(sum)
		kern.AddRows(sum, data[w*size*dim:(w+1)*size*dim], size, dim)
		if w == 0 {
			copy(before, sum) // any finite numbers
		}
		dot, square := dots.WithSquare(sum, before)
		if math.IsNaN(square) || math.IsInf(square, 0) {
			return dst, false
		}
		norm := math.Sqrt(square) + smoothing*float64(size)
		if w > 0 {
			dst = append(dst, 1-dot/(norm*normBefore))
		}
		before, sum, normBefore = sum, before, norm
	}
	return dst, true
}

// ExactDistances is Distances with sums in float64, which do not overflow.
func (b *Buffer) ExactDistances(dst []float64, data []float32, dim, size int) (distances []float64, finite bool) {
	b.exactBefore, b.exactSum = spec.Resize(b.exactBefore, dim), spec.Resize(b.exactSum, dim)
	before, sum := b.exactBefore, b.exactSum
	normBefore := 0.0
	for w := 0; (w+1)*size*dim <= len(data); w++ {
		clear(sum)
		for window := data[w*size*dim : (w+1)*size*dim]; len(window) > 0; window = window[dim:] {
			for i, v := range window[:dim] {
				sum[i] += float64(v)
			}
		}
		dot, square := 0.0, 0.0
		for i, s := range sum {
			dot += s * before[i]
			square += s * s
		}
		if math.IsNaN(square) || math.IsInf(square, 0) { // sums of float32 do not overflow when squared
			return dst, false
		}
		norm := math.Sqrt(square) + smoothing*float64(size)
		if w > 0 {
			dst = append(dst, 1-dot/(norm*normBefore))
		}
		before, sum, normBefore = sum, before, norm
	}
	return dst, true
}
