package training

import (
	"math"

	"github.com/squishspec/squishspec/internal/ordered"
)

// softmax replaces scores by their shares and returns one of them.
func softmax[F ordered.Float](x []F, index int) F {
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
	return x[index]
}
