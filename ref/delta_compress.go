package ref

import (
	"fmt"
	"math"

	"github.com/squishspec/squishspec/spec"
	"gonum.org/v1/gonum/mat"
)

// NewDeltaCompress returns the reference of spec.DeltaCompress, or an error of kind
// spec.Invalid for a config out of range.
//
// The decomposition is gonum's (Householder bidiagonalisation and implicit QR,
// Golub & Kahan 1965), complete and in float64. Of each right vector the element of
// largest magnitude, the first one among equals, is positive.
func NewDeltaCompress(config spec.DeltaCompressConfig) (spec.DeltaCompress, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &deltaCompress{config: config}, nil
}

type deltaCompress struct {
	config spec.DeltaCompressConfig
	stats  spec.DeltaCompressStats
}

func (d *deltaCompress) Compress(dst *spec.LowRank, base, finetuned spec.Matrix) error {
	if err := d.config.CheckDelta(base, finetuned); err != nil {
		return err
	}
	rows, cols := base.Rows, base.Cols
	delta := mat.NewDense(rows, cols, nil)
	for r := range rows {
		for c := range cols {
			delta.Set(r, c, float64(finetuned.Row(r)[c])-float64(base.Row(r)[c]))
		}
	}
	var svd mat.SVD
	if !svd.Factorize(delta, mat.SVDThin) {
		return spec.Reject(spec.Invalid, "delta-compress", "finetuned",
			"a difference from base whose singular value decomposition converges", "one that does not")
	}
	var u, v mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	s := svd.Values(nil)
	if math.IsInf(float64(float32(s[0])), 0) {
		return spec.Reject(spec.Invalid, "delta-compress", "finetuned",
			fmt.Sprintf("a difference from base with singular values up to %v", math.MaxFloat32), s[0])
	}

	k := min(d.config.Rank, rows, cols)
	dst.U.Resize(rows, k)
	dst.S = spec.Resize(dst.S, k)
	dst.Vt.Resize(k, cols)
	for i := range k {
		sign := orientation(v.ColView(i))
		for r := range rows {
			dst.U.Row(r)[i] = float32(sign * u.At(r, i))
		}
		dst.S[i] = float32(s[i])
		for c := range cols {
			dst.Vt.Row(i)[c] = float32(sign * v.At(c, i))
		}
	}
	d.stats.Calls++
	d.stats.SingularValues += k
	return nil
}

// orientation returns the sign of the element of largest magnitude, the first one.
func orientation(v mat.Vector) float64 {
	largest := v.AtVec(0)
	for i := range v.Len() {
		if math.Abs(v.AtVec(i)) > math.Abs(largest) {
			largest = v.AtVec(i)
		}
	}
	return math.Copysign(1, largest)
}

func (d *deltaCompress) Decompress(dst *spec.Matrix, u spec.Matrix, s []float32, vt spec.Matrix) error {
	if err := d.config.CheckFactors(u, s, vt); err != nil {
		return err
	}
	dst.Resize(u.Rows, vt.Cols)
	for r := range u.Rows {
		for c := range vt.Cols {
			sum := 0.0
			for i := range s {
				product := float64(u.Row(r)[i]) * float64(s[i])
				sum += float64(product * float64(vt.Row(i)[c]))
			}
			dst.Row(r)[c] = float32(sum)
		}
	}
	return nil
}

func (d *deltaCompress) CompressionRatio(dst *float64, rows, cols, k int) error {
	for _, size := range []struct {
		name  string
		value int
	}{{"rows", rows}, {"cols", cols}, {"k", k}} {
		if size.value < 1 {
			return spec.Reject(spec.Invalid, "delta-compress", size.name, "at least 1", size.value)
		}
	}
	// In float64 throughout: as integers, products and sums might overflow.
	m, n := float64(rows), float64(cols)
	*dst = float64(m*n) / (float64(k) * (m + n + 1))
	return nil
}

func (d *deltaCompress) Stats() spec.DeltaCompressStats { return d.stats }
