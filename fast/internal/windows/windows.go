// Package windows compares neighbouring windows of a sequence of vectors.
//
// The idea: a cosine does not depend on its vectors' lengths, so that a window's
// sum serves for its mean, but for the smoothing of norms, which is scaled along.
// Each vector is read once; only two sums are kept, and what is not finite shows
// in a sum's square.
package windows

import "math"

// smoothing is added to the norm of a window's mean.
const smoothing = 1e-10

// A Buffer keeps the two sums between calls.
type Buffer struct{ before, sum []float64 }

// Distances appends to dst 1 − cos of each complete window of size vectors and
// the next, and reports whether all their elements are finite. data has vectors
// of dim elements.
func (b *Buffer) Distances(dst []float64, data []float32, dim, size int) (distances []float64, finite bool) {
	if cap(b.sum) < dim {
		b.before, b.sum = make([]float64, dim), make([]float64, dim)
	}
	before, sum := b.before[:dim], b.sum[:dim]
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
