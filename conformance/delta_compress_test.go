package conformance

import (
	"math"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/spec"
	"github.com/squishspec/squishspec/spec/proxy"
)

var deltaCompressMutants = []mutant{
	{"delta-compress/shapes", "leaves out the triplets whose singular value is 0", onFactors(func(f *spec.LowRank) {
		k := 0
		for k < len(f.S) && f.S[k] > 0 {
			k++
		}
		*f = withTriplets(*f, k)
	}), ""},
	{"delta-compress/shapes", "keeps as many triplets as the rank says, also of smaller matrices", knowingRank(func(rank int, c *proxy.Call) {
		if f, ok := c.Dst.(*spec.LowRank); ok {
			*f = withTriplets(*f, min(rank, 100))
		}
	}), ""},
	{"delta-compress/orthonormal", "leaves zeros for the vectors whose singular value is 0", onFactors(func(f *spec.LowRank) {
		for i, s := range f.S {
			if s <= 1e-6*f.S[0] {
				scaleTriplet(f, i, 0)
			}
		}
	}), ""},
	{"delta-compress/orthonormal", "gives vectors that are 2⁻¹⁶ too long", onFactors(func(f *spec.LowRank) {
		for i := range f.S {
			scaleTriplet(f, i, 1+0x1p-16)
		}
	}), ""},
	{"delta-compress/descending", "gives the least singular value first", onFactors(func(f *spec.LowRank) { slices.Reverse(f.S) }), ""},
	{"delta-compress/descending", "gives the last singular value a sign", onFactors(func(f *spec.LowRank) { f.S[len(f.S)-1] *= -1 }), ""},
	{"delta-compress/eckart-young", "decomposes the finetuned matrix", before("compress", func(c *proxy.Call) {
		clear(c.Args[0].(spec.Matrix).Data)
	}), ""},
	{"delta-compress/eckart-young", "keeps factors in bfloat16", onFactors(bfloat16Factors), ""},
	{"delta-compress/eckart-young", "leaves out the last triplet", onFactors(forgetLast), ""},
	{"delta-compress/planted", "gives the eigenvalues of the Gram matrix", onFactors(func(f *spec.LowRank) {
		for i, s := range f.S {
			f.S[i] = s * s
		}
	}), ""},
	{"delta-compress/planted", "gives values that are off by 2⁻¹⁶ of the largest", onFactors(func(f *spec.LowRank) {
		for i := range f.S {
			f.S[i] += 0x1p-16 * f.S[0]
		}
	}), ""},
	{"delta-compress/repeated", "finds a repeated singular value once, as a Krylov space of one vector does", onFactors(func(f *spec.LowRank) {
		distinct := slices.CompactFunc(slices.Clone(f.S), func(a, b float32) bool { return a-b <= 1e-5*f.S[0] })
		clear(f.S[copy(f.S, distinct):])
	}), ""},
	{"delta-compress/low-rank-exact", "keeps factors in bfloat16", onFactors(bfloat16Factors), ""},
	{"delta-compress/low-rank-exact", "leaves out the last triplet", onFactors(forgetLast), ""},
	{"delta-compress/full-rank", "never keeps more than four triplets", onFactors(func(f *spec.LowRank) { clear(f.S[min(4, len(f.S)):]) }), ""},
	{"delta-compress/full-rank", "scales s up and u down by 1%", onFactors(func(f *spec.LowRank) {
		for i := range f.S {
			f.S[i] *= 1.01
		}
		for i := range f.U.Data {
			f.U.Data[i] /= 1.01
		}
	}), ""},
	{"delta-compress/identical", "adds 1e-12 to every singular value", onFactors(func(f *spec.LowRank) {
		for i := range f.S {
			f.S[i] += 1e-12
		}
	}), ""},
	{"delta-compress/identical", "adds 1e-12 to every element", after("decompress", func(c *proxy.Call) {
		for i := range c.Dst.(*spec.Matrix).Data {
			c.Dst.(*spec.Matrix).Data[i] += 1e-12
		}
	}), ""},
	{"delta-compress/transpose", "gives a wide matrix singular values that are 2⁻¹⁶ too large", onFactors(func(f *spec.LowRank) {
		for i := range f.S {
			if f.U.Rows < f.Vt.Cols {
				f.S[i] *= 1 + 0x1p-16
			}
		}
	}), ""},
	{"delta-compress/rank-monotone", "leaves out the last triplet", onFactors(forgetLast), ""},
	{"delta-compress/rank-monotone", "turns the first u round when it keeps more than three triplets", onFactors(func(f *spec.LowRank) {
		for r := range f.U.Rows {
			if len(f.S) > 3 {
				f.U.Row(r)[0] *= -1
			}
		}
	}), ""},
	{"delta-compress/decompress", "leaves out the last triplet", before("decompress", func(c *proxy.Call) {
		if s := c.Args[1].([]float32); len(s) > 0 {
			s[len(s)-1] = 0
		}
	}), ""},
	{"delta-compress/decompress", "takes singular values without their sign", before("decompress", func(c *proxy.Call) {
		for i, s := range c.Args[1].([]float32) {
			c.Args[1].([]float32)[i] = float32(math.Abs(float64(s)))
		}
	}), ""},
	{"delta-compress/decompress", "answers in bfloat16", after("decompress", func(c *proxy.Call) { toBfloat16(c.Dst.(*spec.Matrix).Data) }), ""},
	{"delta-compress/ratio", "does not count the singular values", onRatio(func(rows, cols, k int) float64 {
		return float64(rows) * float64(cols) / (float64(k) * float64(rows+cols))
	}), ""},
	{"delta-compress/ratio", "is never below 1", onRatio(func(rows, cols, k int) float64 {
		return max(1, float64(rows)*float64(cols)/(float64(k)*float64(rows+cols+1)))
	}), ""},
	{"delta-compress/ratio", "counts elements in an int", onRatio(func(rows, cols, k int) float64 {
		return float64(rows*cols) / (float64(k) * float64(rows+cols+1))
	}), ""},
	{"delta-compress/stats", "counts the rank, also of smaller matrices", knowingRank(func(rank int, c *proxy.Call) {
		if s, ok := c.Dst.(*spec.DeltaCompressStats); ok {
			s.SingularValues = rank * s.Calls
		}
	}), ""},
	{"delta-compress/stats", "counts decompressions as calls", countDecompressions, ""},
	{"delta-compress/equivalence", "stops at pairs of vectors that are 1% from the singular ones", onFactors(func(f *spec.LowRank) {
		if len(f.S) > 1 {
			turnPairs(f, 0.01)
		}
	}), ""},
	{"delta-compress/equivalence", "chooses the signs of u and vt apart", onFactors(func(f *spec.LowRank) {
		for i := range f.U.Data {
			f.U.Data[i] = -f.U.Data[i]
		}
	}), ""},
}

func TestTripletGroupsLieApart(t *testing.T) {
	σ := []float64{1, 1 - 0x1p-12, 0.5, 0.25, 0x1p-11}
	want := []tripletGroup{{0, 2, 0.5 - 0x1p-12}, {2, 3, 0.25}, {3, 4, 0.25 - 0x1p-11}}
	for k, n := range []int{0, 0, 1, 2, 3, 3} {
		if got := tripletGroups(σ, k); !slices.Equal(got, want[:n]) {
			t.Errorf("the first %d of %v: got groups %v, want %v", k, σ, got, want[:n])
		}
	}
	if got := tripletGroups([]float64{0, 0}, 2); got != nil {
		t.Errorf("no singular values: got groups %v, want none", got)
	}
}

// onFactors spoils what compress came to.
func onFactors(spoil func(f *spec.LowRank)) proxy.Layer {
	return after("compress", func(c *proxy.Call) { spoil(c.Dst.(*spec.LowRank)) })
}

// onRatio has another formula for compression_ratio.
func onRatio(formula func(rows, cols, k int) float64) proxy.Layer {
	return after("compression_ratio", func(c *proxy.Call) {
		*c.Dst.(*float64) = formula(c.Args[0].(int), c.Args[1].(int), c.Args[2].(int))
	})
}

// knowingRank spoils accepted calls by a rule that depends on the config.
func knowingRank(spoil func(rank int, c *proxy.Call)) proxy.Layer {
	return func(next proxy.Handler) proxy.Handler {
		rank := 0
		return func(c *proxy.Call) error {
			err := next(c)
			if c.Op == proxy.New {
				rank = c.Args[0].(spec.DeltaCompressConfig).Rank
			}
			if err == nil {
				spoil(rank, c)
			}
			return err
		}
	}
}

func countDecompressions(next proxy.Handler) proxy.Handler {
	extra := 0
	return func(c *proxy.Call) error {
		err := next(c)
		switch c.Op.Name {
		case "decompress":
			extra++
		case "stats":
			c.Dst.(*spec.DeltaCompressStats).Calls += extra
		}
		return err
	}
}

// withTriplets returns the first k triplets, with zeros where there are fewer.
func withTriplets(f spec.LowRank, k int) spec.LowRank {
	var out spec.LowRank
	out.U.Resize(f.U.Rows, k)
	out.S = spec.Resize(out.S, k)
	out.Vt.Resize(k, f.Vt.Cols)
	for r := range f.U.Rows {
		copy(out.U.Row(r), f.U.Row(r))
	}
	copy(out.S, f.S)
	copy(out.Vt.Data, f.Vt.Data)
	return out
}

func scaleTriplet(f *spec.LowRank, i int, factor float32) {
	for r := range f.U.Rows {
		f.U.Row(r)[i] *= factor
	}
	for c := range f.Vt.Row(i) {
		f.Vt.Row(i)[c] *= factor
	}
}

func forgetLast(f *spec.LowRank) { f.S[len(f.S)-1] = 0 }

func bfloat16Factors(f *spec.LowRank) {
	toBfloat16(f.U.Data)
	toBfloat16(f.Vt.Data)
}

func toBfloat16(values []float32) {
	for i, x := range values {
		values[i] = math.Float32frombits(math.Float32bits(x) &^ 0xffff)
	}
}

// turnPairs turns the first two u, and the first two vt, in their plane.
func turnPairs(f *spec.LowRank, angle float64) {
	sin, cos := math.Sincos(angle)
	turn := func(a, b *float32) {
		x, y := float64(*a), float64(*b)
		*a, *b = float32(cos*x-sin*y), float32(sin*x+cos*y)
	}
	for r := range f.U.Rows {
		turn(&f.U.Row(r)[0], &f.U.Row(r)[1])
	}
	for c := range f.Vt.Cols {
		turn(&f.Vt.Row(0)[c], &f.Vt.Row(1)[c])
	}
}
