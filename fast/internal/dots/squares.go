package dots

import (
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/parallel"
)

// A Pair computes the products of two long rows. It keeps scratch memory for large
// ones, 24 bytes a block.
type Pair struct {
	a, b []float32
	sums [][3]float64 // of the blocks, where several goroutines find them
}

// block is the length of the sums in float32: their terms lie side by side in 16 and
// more lanes, so that none of them has more than some hundred.
const block = 4096

// pairNS is the time of two numbers in nanoseconds.
const pairNS = 0.18

// WithSquares returns a·b, a·a and b·b, of slices of one length: a cosine whose both
// lengths are unknown, in one pass over both. Of rows that are the same the three
// are.
//
// Products are added in float32, a block at a time, since converting them would cost
// more than reading them, and again in float64 only where one might have over- or
// underflowed. What underflows is below 2⁻¹⁴⁹ a number, nothing against squares of
// 2⁻⁶⁰ and more. Rows that are not finite have squares that are not.
func (p *Pair) WithSquares(a, b []float32) (dot, squareA, squareB float64) {
	b = b[:len(a)]
	blocks := (len(a) + block - 1) / block
	var sums [3]float64
	if ns := pairNS * block; parallel.Parts(blocks, ns) == 1 {
		for i := range blocks {
			addTo(&sums, ofBlock(a, b, i))
		}
	} else {
		if len(p.sums) < blocks {
			p.sums = make([][3]float64, blocks)
		}
		p.a, p.b = a, b
		parallel.Run(p, blocks, ns)
		p.a, p.b = nil, nil
		for _, s := range p.sums[:blocks] {
			addTo(&sums, s)
		}
	}
	dot, squareA, squareB = sums[0], sums[1], sums[2]
	if isSafe(squareA) && isSafe(squareB) {
		return dot, squareA, squareB
	}
	return withSquares(a, b)
}

func (p *Pair) Part(_, lo, hi int) {
	for i := lo; i < hi; i++ {
		p.sums[i] = ofBlock(p.a, p.b, i)
	}
}

func ofBlock(a, b []float32, i int) [3]float64 {
	from, to := i*block, min((i+1)*block, len(a))
	dot, squareA, squareB := kern.DotSquares(a[from:to], b[from:to])
	return [3]float64{float64(dot), float64(squareA), float64(squareB)}
}

func addTo(sums *[3]float64, more [3]float64) {
	for i, s := range more {
		sums[i] += s
	}
}

// isSafe reports whether a sum of squares in float32 is sure to be right: no square
// was beyond float32, and what was below it does not count.
func isSafe(square float64) bool { return square >= 0x1p-60 && square <= 0x1p120 }

// withSquares is WithSquares in float64. Two sums of each keep six chains of
// additions going.
func withSquares(a, b []float32) (dot, squareA, squareB float64) {
	var d0, d1, a0, a1, b0, b1 float64
	i := 0
	for ; i+2 <= len(a); i += 2 {
		x0, y0 := float64(a[i]), float64(b[i])
		x1, y1 := float64(a[i+1]), float64(b[i+1])
		d0 += x0 * y0
		a0 += x0 * x0
		b0 += y0 * y0
		d1 += x1 * y1
		a1 += x1 * x1
		b1 += y1 * y1
	}
	if i < len(a) {
		x, y := float64(a[i]), float64(b[i])
		d0 += x * y
		a0 += x * x
		b0 += y * y
	}
	return d0 + d1, a0 + a1, b0 + b1
}

// Square returns x·x, in float32 where that is safe, as a Pair does.
func Square(x []float32) float64 {
	sum := 0.0
	for rest := x; len(rest) > 0; {
		n := min(block, len(rest))
		sum += float64(kern.Dot(rest[:n], rest[:n]))
		rest = rest[n:]
	}
	if isSafe(sum) {
		return sum
	}
	return square(x)
}

// square is Square in float64. Four sums keep four chains of additions going.
func square(x []float32) float64 {
	var s0, s1, s2, s3 float64
	for ; len(x) >= 4; x = x[4:] {
		a, b, c, d := float64(x[0]), float64(x[1]), float64(x[2]), float64(x[3])
		s0 += a * a
		s1 += b * b
		s2 += c * c
		s3 += d * d
	}
	for _, v := range x {
		s0 += float64(v) * float64(v)
	}
	return (s0 + s1) + (s2 + s3)
}
