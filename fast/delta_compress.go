package fast

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/fast/internal/gemm"
	"github.com/squishspec/squishspec/fast/internal/kern"
	"github.com/squishspec/squishspec/fast/internal/svd"
	"github.com/squishspec/squishspec/spec"
)

// NewDeltaCompress returns an optimised spec.DeltaCompress, or an error of kind
// spec.Invalid for a config out of range.
//
// Compress finds the wanted singular triplets only (see fast/internal/svd). Of each
// right vector the element of largest magnitude is positive, as in the reference.
// Memory is three times a matrix, for the difference in float64 and in float32, and as
// many vectors of its shorter side as there are iterations: 107 for a Gaussian
// difference of 256 × 256, and at most as many as that side is long. Decompress
// multiplies in float32, but for factors whose products might overflow on the way.
func NewDeltaCompress(c spec.DeltaCompressConfig) (spec.DeltaCompress, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &deltaCompress{config: c}, nil
}

type deltaCompress struct {
	config spec.DeltaCompressConfig
	stats  spec.DeltaCompressStats
	svd    svd.Decomposer
	delta  []float64 // the difference, as svd wants it
	rows   []float64 // some rows of it, before they are turned
	scaled []float32 // diag(s)·vt
	gemm   gemm.Multiplier
	wide   wideProduct
}

func (d *deltaCompress) Compress(dst *spec.LowRank, base, finetuned spec.Matrix) error {
	if err := d.config.CheckDeltaShapes(base, finetuned); err != nil {
		return err
	}
	if !d.subtract(base, finetuned) {
		return d.config.CheckDelta(base, finetuned) // which element?
	}
	rows, cols := base.Rows, base.Cols
	k := min(d.config.Rank, rows, cols)
	d.svd.Decompose(d.delta, max(rows, cols), min(rows, cols), k)
	if largest := d.svd.S[0]; math.IsInf(float64(float32(largest)), 0) {
		return spec.Reject(spec.Invalid, "delta-compress", "finetuned",
			fmt.Sprintf("a difference from base with singular values up to %v", math.MaxFloat32), largest)
	}

	left, right := d.svd.U, d.svd.V
	if rows < cols {
		left, right = right, left
	}
	dst.U.Resize(rows, k)
	dst.S = spec.Resize(dst.S, k)
	dst.Vt.Resize(k, cols)
	for i := range k {
		u, v := left[i*rows:(i+1)*rows], right[i*cols:(i+1)*cols]
		sign := orientation(v)
		for r, x := range u {
			dst.U.Data[r*k+i] = float32(sign * x)
		}
		dst.S[i] = float32(d.svd.S[i])
		row := dst.Vt.Row(i)
		for c, x := range v {
			row[c] = float32(sign * x)
		}
	}
	d.stats.Calls++
	d.stats.SingularValues += k
	return nil
}

// subtract sets delta to finetuned − base, on its side if it is wider than high, and
// reports whether all elements of both are finite.
func (d *deltaCompress) subtract(base, finetuned spec.Matrix) (finite bool) {
	rows, cols := base.Rows, base.Cols
	d.delta = spec.Resize(d.delta, rows*cols)
	if rows >= cols {
		return kern.Subtract(d.delta, finetuned.Data, base.Data)
	}
	const some = 8 // rows: their elements side by side are a cache line
	d.rows = spec.Resize(d.rows, some*cols)
	finite = true
	for r := 0; r < rows; r += some {
		from, to := r*cols, min(r+some, rows)*cols
		finite = kern.Subtract(d.rows, finetuned.Data[from:to], base.Data[from:to]) && finite
		for c := range cols {
			turned := d.delta[c*rows+r:][:(to-from)/cols]
			for i := range turned {
				turned[i] = d.rows[i*cols+c]
			}
		}
	}
	return finite
}

// magnitude returns the largest magnitude in x, which is not empty, and NaN where x is
// not finite.
func magnitude(x []float32) float64 {
	low, high, finite := kern.Extremes(x)
	if !finite {
		return math.NaN()
	}
	return float64(max(high, -low))
}

// orientation returns the sign of the element of largest magnitude, the first one.
func orientation(v []float64) float64 {
	largest := v[0]
	for _, x := range v {
		if math.Abs(x) > math.Abs(largest) {
			largest = x
		}
	}
	return math.Copysign(1, largest)
}

func (d *deltaCompress) Decompress(dst *spec.Matrix, u spec.Matrix, s []float32, vt spec.Matrix) error {
	if err := d.config.CheckFactorShapes(u, s, vt); err != nil {
		return err
	}
	uMost, sMost, vMost := magnitude(u.Data), magnitude(s), magnitude(vt.Data)
	if !(uMost+sMost+vMost <= math.MaxFloat64) {
		return d.config.CheckFactors(u, s, vt) // which element?
	}
	rows, cols, k := u.Rows, vt.Cols, len(s)
	dst.Resize(rows, cols)
	if sMost*vMost*max(1, uMost*float64(k)) > math.MaxFloat32 {
		d.wide.write(*dst, nil, u.Data, s, vt.Data)
		return nil
	}
	d.scaled = spec.Resize(d.scaled, k*cols)
	scaled := kern.Rows(d.scaled, k, cols, cols)
	kern.Gemm(scaled, gemm.Of(vt), s, gemm.View{Rows: k}, gemm.View{Cols: cols}) // diag(s)·vt and no product
	d.gemm.Multiply(gemm.Of(*dst), gemm.View{}, gemm.Of(u), scaled)
	return nil
}

func (d *deltaCompress) CompressionRatio(dst *float64, rows, cols, k int) error {
	for _, size := range [...]struct {
		name  string
		value int
	}{{"rows", rows}, {"cols", cols}, {"k", k}} {
		if size.value < 1 {
			return spec.Reject(spec.Invalid, "delta-compress", size.name, "at least 1", size.value)
		}
	}
	*dst = float64(rows) * float64(cols) / (float64(k) * float64(uint64(rows)+uint64(cols)+1))
	return nil
}

func (d *deltaCompress) Stats() spec.DeltaCompressStats { return d.stats }
