package svd

import (
	"math"

	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/parallel"
)

// An operator multiplies with AᵀA, in float64, or in float32 for half the time. Large
// matrices are cut into chunks of rows of nearly the same number, which the cores share.
// The chunks depend on the shape alone, and so does the order of the sums.
type operator struct {
	a      []float64
	narrow []float32 // A times a power of two, elements of the order of 1
	rough  bool      // in float32: narrow is there
	rows   int       // of a chunk
	cols   int

	x      []float64
	x32    []float32
	sums   []float64 // one row a chunk
	sums32 []float32
}

// chunk is how many elements one has at most, a row or six apart.
const chunk = 1 << 18

func (o *operator) begin(a []float64, rows, cols int) {
	o.a, o.cols, o.rough = a, cols, false
	chunks := (len(a)-1)/chunk + 1
	o.rows = (rows + 6*chunks - 1) / (6 * chunks) * 6 // whole blocks of the kernel's
	o.sums = resize(o.sums, o.chunks()*cols)
}

func (o *operator) chunks() int { return (len(o.a)/o.cols + o.rows - 1) / o.rows }

// roughen makes the operator work in float32, unless A is 0.
func (o *operator) roughen() {
	square := 0.0
	for at := 0; at < len(o.a); at += chunk {
		part := o.a[at:min(at+chunk, len(o.a))]
		square += kern.DotDouble(part, part)
	}
	if square == 0 {
		return
	}
	_, exponent := math.Frexp(math.Sqrt(square / float64(len(o.a))))
	// Whole blocks of rows, so that nothing is left over.
	o.narrow = resize(o.narrow, (len(o.a)/o.cols+5)/6*6*o.cols)
	clear(o.narrow[len(o.a):])
	for at := 0; at < len(o.a); at += chunk {
		end := min(at+chunk, len(o.a))
		kern.Narrow(o.narrow[at:end], o.a[at:end], math.Ldexp(1, -exponent))
	}
	o.x32, o.sums32 = resize(o.x32, o.cols), resize(o.sums32, len(o.sums))
	o.rough = true
}

// multiply writes AᵀA·x to y, times a power of 4 if the operator is rough.
func (o *operator) multiply(y, x []float64) {
	o.x = x
	if o.rough {
		kern.Narrow(o.x32, x, 1)
	}
	const multiplications = 20 // take about a nanosecond
	parallel.Run(o, o.chunks(), float64(2*o.rows*o.cols)/multiplications)
	if o.rough {
		kern.Widen(o.sums, o.sums32)
	}
	copy(y, o.sums)
	for at := o.cols; at < len(o.sums); at += o.cols {
		kern.AddDouble(y, 1, o.sums[at:at+o.cols])
	}
}

// Part multiplies with some chunks: it makes an operator a parallel.Task.
func (o *operator) Part(_, lo, hi int) {
	for c := lo; c < hi; c++ {
		from, to := c*o.rows*o.cols, (c+1)*o.rows*o.cols
		if o.rough {
			sum := o.sums32[c*o.cols : (c+1)*o.cols]
			clear(sum)
			kern.Gram(sum, 1, o.narrow[from:min(to, len(o.narrow))], o.x32)
			continue
		}
		sum := o.sums[c*o.cols : (c+1)*o.cols]
		clear(sum)
		kern.GramDouble(sum, 1, o.a[from:min(to, len(o.a))], o.x)
	}
}
