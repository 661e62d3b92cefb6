package ordered

import "math"

// Norm is RMSNorm of one row. It returns the row's scale, before the weights.
func Norm[F Float](dst, x, weights []F, epsilon float64) F {
	sum := 0.0
	for _, v := range x {
		sum += float64(float64(v) * float64(v))
	}
	scale := F(1 / math.Sqrt(sum/float64(len(weights))+epsilon))
	dst, x = dst[:len(weights)], x[:len(weights)]
	for i, w := range weights {
		dst[i] = F(x[i]*scale) * w
	}
	return scale
}

// Softmax replaces scores, one at least, by their shares.
func Softmax[F Float](x []F) {
	top := x[0]
	for _, v := range x {
		top = max(top, v)
	}
	var sum F
	for i, v := range x {
		x[i] = F(math.Exp(float64(v - top)))
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}
