package training

import (
	"github.com/squishspec/squishspec/internal/ordered"
	"github.com/squishspec/squishspec/spec"
)

// A normState is the input of an RMSNorm, each row's scale, and the output.
type normState[F ordered.Float] struct{ in, scale, out []F }

// forward takes the norm of rows of x, and keeps what backward needs.
func (s *normState[F]) forward(x, weights []F, epsilon float64) {
	dim := len(weights)
	s.in = append(s.in[:0], x...)
	s.scale, s.out = spec.Resize(s.scale, len(x)/dim), spec.Resize(s.out, len(x))
	for r := range s.scale {
		s.scale[r] = ordered.Norm(s.out[r*dim:][:dim], x[r*dim:][:dim], weights, epsilon)
	}
}

// backward adds to dx, given the gradient of the output, and to that of the weights.
func (s *normState[F]) backward(dx, dout, weights, dweights []F) {
	dim := len(weights)
	for r, scale := range s.scale {
		in, dout, dx := s.in[r*dim:][:dim], dout[r*dim:][:dim], dx[r*dim:][:dim]
		var along F
		for i, d := range dout {
			dweights[i] += F(F(d*in[i]) * scale)
			along += F(F(d*weights[i]) * in[i])
		}
		along *= scale * scale * scale / F(dim)
		for i, d := range dout {
			dx[i] += F(F(d*weights[i])*scale) - F(along*in[i])
		}
	}
}
