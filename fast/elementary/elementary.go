// Package elementary has the exponential and the logarithm of float32 vectors, as
// the modules of package fast compute them: within 2 ULP of the correctly rounded
// value, for every float32 there is.
//
// Command tools/ulps measures the error over all of them.
package elementary

import (
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/spec"
)

// Exp writes eˣ of every element of x to dst, which it resizes and which may be
// x itself: +Inf above the largest float32, subnormal results as they are, NaN for
// NaN.
func Exp(dst *[]float32, x []float32) {
	*dst = spec.Resize(*dst, len(x))
	kern.Exp(*dst, x)
}

// Log writes the natural logarithm of every element of x to dst, which it resizes
// and which may be x itself: −Inf for 0, NaN for what is below and for NaN.
func Log(dst *[]float32, x []float32) {
	*dst = spec.Resize(*dst, len(x))
	kern.Log(*dst, x)
}
