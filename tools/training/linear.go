package training

import (
	"github.com/squishspec/squishspec/internal/ordered"
	"github.com/squishspec/squishspec/spec"
)

// A linear is the backward pass of y = x·wᵀ, with memory for transposed factors.
type linear[F ordered.Float] struct{ left, right []F }

// through adds to a matrix's gradient, and computes or adds that of its input.
func (b *linear[F]) through(dx, dy, x []F, t tensor, transposed, gradient []F, count int, add bool) {
	ordered.Product(dx, dy, of(t, transposed), count, t.cols, t.rows, add)
	b.left, b.right = spec.Resize(b.left, count*t.rows), spec.Resize(b.right, count*t.cols)
	ordered.Transpose(b.left, dy, count, t.rows)
	ordered.Transpose(b.right, x, count, t.cols)
	ordered.Product(of(t, gradient), b.left, b.right, t.rows, t.cols, count, true)
}
