package conformance

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"

	"github.com/squishspec/squishspec/spec"
)

var deltaCompress = spec.ModuleByName("delta-compress")

var deltaCompressModule = &module{
	spec: deltaCompress,
	laws: map[string]func(*trial){
		"shapes":         deltaShapes,
		"orthonormal":    deltaOrthonormal,
		"descending":     deltaDescending,
		"eckart-young":   deltaEckartYoung,
		"planted":        deltaPlanted,
		"repeated":       deltaRepeated,
		"low-rank-exact": deltaLowRankExact,
		"full-rank":      deltaFullRank,
		"identical":      deltaIdentical,
		"transpose":      deltaTranspose,
		"rank-monotone":  deltaRankMonotone,
		"decompress":     deltaDecompress,
		"ratio":          deltaRatio,
		"stats":          deltaStats,
	},
	program: deltaProgram,
	badConfigs: map[string]any{
		"rank 0":    spec.DeltaCompressConfig{Rank: 0},
		"rank −1":   spec.DeltaCompressConfig{Rank: -1},
		"rank −2⁶³": spec.DeltaCompressConfig{Rank: math.MinInt},
	},
	badSteps: deltaBadSteps,
	equal: map[string]comparison{
		"compress": func(t *trial, _ any, args []any, got, want any) {
			d := delta{args[0].(spec.Matrix), args[1].(spec.Matrix)}
			sameLowRank(t, d.difference(), *got.(*spec.LowRank), *want.(*spec.LowRank))
		},
		"decompress": func(t *trial, _ any, args []any, got, want any) {
			f := spec.LowRank{U: args[0].(spec.Matrix), S: args[1].([]float32), Vt: args[2].(spec.Matrix)}
			sameProduct(t, f, *got.(*spec.Matrix), dense(*want.(*spec.Matrix)))
		},
	},
	rows: []row{
		{"delta-compress/compress", deltaCompressRow, func(t *trial, got, want any) {
			g, w := got.(*compressedDelta), want.(*compressedDelta)
			sameApproximation(t, g.difference(), g.factors, w.factors)
		}},
		{"delta-compress/decompress", deltaDecompressRow, func(t *trial, got, want any) {
			g, w := got.(*decompressedDelta), want.(*decompressedDelta)
			sameProduct(t, g.factors, g.product, dense(w.product))
		}},
		{"delta-compress/compression-ratio", deltaRatioRow, func(t *trial, got, want any) {
			g, w := *got.(*float64), *want.(*float64)
			t.within("ratio", g, w, 0x1p-50*w)
		}},
	},
}

// A delta is the arguments of compress.
type delta struct{ base, finetuned spec.Matrix }

// difference is finetuned − base.
func (d delta) difference() *mat.Dense {
	var Δ mat.Dense
	Δ.Sub(dense(d.finetuned), dense(d.base))
	return &Δ
}

func (d delta) transposed() delta { return delta{transposed(d.base), transposed(d.finetuned)} }

// scaled is d times 2^exponent, rounded where that is subnormal.
func (d delta) scaled(exponent int) delta {
	return delta{scaled(d.base, exponent), scaled(d.finetuned, exponent)}
}

func scaled(m spec.Matrix, exponent int) spec.Matrix {
	m = cloneAs(m)
	for i, x := range m.Data {
		m.Data[i] = float32(math.Ldexp(float64(x), exponent))
	}
	return m
}

func dense(m spec.Matrix) *mat.Dense { return mat.NewDense(m.Rows, m.Cols, widened(m.Data)) }

func widened(values []float32) []float64 {
	wide := make([]float64, len(values))
	for i, x := range values {
		wide[i] = float64(x)
	}
	return wide
}

func transposed(m spec.Matrix) spec.Matrix {
	var out spec.Matrix
	out.Resize(m.Cols, m.Rows)
	for r := range m.Rows {
		for c, x := range m.Row(r) {
			out.Row(c)[r] = x
		}
	}
	return out
}

// spacing is that of numbers near 0, where rounding is no longer relative: 2⁻¹⁴⁹ for
// float32, and that of a format with its exponents and unit roundoff u.
func spacing(u float64) float64 { return u * 0x1p-125 }

// deltaExponents scale differences: mostly not at all, and now and then to where
// squares leave float32, or elements are subnormal.
var deltaExponents = []int{0, 0, 0, 0, -7, 5, -70, 70, 100, -130}

// spectra are n singular values by their place, descending, the largest 1 or 0.
var spectra = []struct {
	name string
	at   func(i, n int) float64
}{
	{"geometric", func(i, _ int) float64 { return math.Ldexp(1, -i) }},
	{"linear", func(i, n int) float64 { return 1 - float64(i)/float64(n) }},
	{"equal", func(int, int) float64 { return 1 }},
	{"threes of equals", func(i, _ int) float64 { return power(0.7, i/3) }},
	{"nearly equal", func(i, _ int) float64 { return 1 - float64(i)*0x1p-19 }},
	{"steep", func(i, _ int) float64 { return power(1e-3, i) }},
	{"half of them 0", func(i, n int) float64 { return max(0, 1-2*float64(i)/float64(n)) }},
	{"zero", func(int, int) float64 { return 0 }},
}

// A plantedDelta has singular values σ, but that rounding its matrices to float32
// has moved the difference by a matrix of norm off.
type plantedDelta struct {
	delta
	σ   []float64
	off float64
}

func drawPlanted(t *trial) plantedDelta {
	rows, cols := size(t, 1, 12, "rows"), size(t, 1, 12, "cols")
	spectrum := rapid.SampledFrom(spectra).Draw(t.T, "spectrum")
	σ := make([]float64, min(rows, cols))
	for i := range σ {
		σ[i] = spectrum.at(i, len(σ))
	}
	return plantDelta(t, rows, cols, σ)
}

// Matrices that are drawn are computed here, product by product, each rounded
// before it is added: library kernels and elementary functions differ in their last
// bits between machines, and the inputs of vectors are the same on all.

// power is xⁿ.
func power(x float64, n int) float64 {
	p := 1.0
	for range n {
		p *= x
	}
	return p
}

// plantDelta builds left·diag(σ)·rightᵀ with orthonormal columns, on a base that is
// zero or of the same size.
func plantDelta(t *trial, rows, cols int, σ []float64) plantedDelta {
	r := source(t, "planted")
	octave, within := math.Modf(float64(10 * r.Float64()))
	magnitude := math.Ldexp(1+within, int(octave)-5)
	exponent := rapid.SampledFrom(deltaExponents).Draw(t.T, "exponent")
	left, right := orthonormal(r, rows, len(σ)), orthonormal(r, cols, len(σ))
	Δ := mat.NewDense(rows, cols, nil)
	for i := range rows {
		for j := range cols {
			sum := 0.0
			for l, s := range σ {
				sum += float64(left.At(i, l) * s * right.At(j, l))
			}
			Δ.Set(i, j, sum)
		}
	}
	d := delta{integerMatrix(r, rows, cols, 0), integerMatrix(r, rows, cols, 0)}
	based := rapid.Bool().Draw(t.T, "base")
	for i := range d.base.Data {
		if based {
			d.base.Data[i] = float32(magnitude * r.NormFloat64())
		}
		d.finetuned.Data[i] = float32(float64(d.base.Data[i]) + float64(magnitude*Δ.At(i/cols, i%cols)))
	}
	p := plantedDelta{delta: d.scaled(exponent), σ: make([]float64, len(σ))}
	scale := math.Ldexp(magnitude, exponent)
	floats.ScaleTo(p.σ, scale, σ)
	Δ.Scale(scale, Δ)
	p.off = frobeniusDistance(p.difference(), Δ)
	return p
}

// orthonormal returns k ≤ n orthonormal columns of length n: the first k unit
// vectors, reflected k times.
func orthonormal(r *rand.Rand, n, k int) *mat.Dense {
	q := mat.NewDense(n, k, nil)
	for i := range k {
		q.Set(i, i, 1)
	}
	for range k {
		normal, square := make([]float64, n), 0.0
		for i := range normal {
			normal[i] = r.NormFloat64()
			square += float64(normal[i] * normal[i])
		}
		for j := range k {
			along := 0.0
			for i, x := range normal {
				along += float64(x * q.At(i, j))
			}
			along *= 2 / square
			for i, x := range normal {
				q.Set(i, j, q.At(i, j)-float64(along*x))
			}
		}
	}
	return q
}

// drawLoRA draws a difference that is exactly of rank ≤ r: a product of small
// integer factors, on an integer base.
func drawLoRA(t *trial, r int) delta {
	rows, cols := size(t, 1, 12, "rows"), size(t, 1, 12, "cols")
	random := source(t, "factors")
	down, up, base := integerMatrix(random, rows, r, 4), integerMatrix(random, r, cols, 4), integerMatrix(random, rows, cols, 1000)
	finetuned := cloneAs(base)
	for i := range rows {
		for j := range cols {
			for l := range r {
				finetuned.Row(i)[j] += down.Row(i)[l] * up.Row(l)[j]
			}
		}
	}
	return delta{base, finetuned}.scaled(rapid.SampledFrom(deltaExponents).Draw(t.T, "exponent"))
}

// integerMatrix returns a matrix of integers of magnitude ≤ bound.
func integerMatrix(r *rand.Rand, rows, cols, bound int) spec.Matrix {
	var m spec.Matrix
	m.Resize(rows, cols)
	for i := range m.Data {
		m.Data[i] = float32(r.IntN(2*bound+1) - bound)
	}
	return m
}

// drawRepeated draws a difference whose singular values are equal in runs: dense,
// or a multiple of a signed permutation, exactly, on which every Krylov space has
// one dimension.
func drawRepeated(t *trial) plantedDelta {
	rows, cols := size(t, 1, 12, "rows"), size(t, 1, 12, "cols")
	σ := make([]float64, min(rows, cols))
	if rapid.Bool().Draw(t.T, "dense") {
		run := size(t, 2, 12, "run")
		for i := range σ {
			σ[i] = power(0.7, i/run)
		}
		return plantDelta(t, rows, cols, σ)
	}
	multiple := float32(size(t, 1, 9, "multiple"))
	r := source(t, "permutation")
	base := integerMatrix(r, rows, cols, 1000)
	finetuned := cloneAs(base)
	rowOf, colOf := r.Perm(rows), r.Perm(cols)
	for i := range σ {
		σ[i] = float64(multiple)
		finetuned.Row(rowOf[i])[colOf[i]] += multiple * float32(2*r.IntN(2)-1)
	}
	return plantedDelta{delta{base, finetuned}, σ, 0}
}

// drawDelta draws a difference of any kind.
func drawDelta(t *trial) delta {
	switch rapid.IntRange(0, 5).Draw(t.T, "difference") {
	case 0:
		return drawPlanted(t).delta
	case 1:
		return drawLoRA(t, size(t, 1, 4, "rank of the difference"))
	case 2:
		same := drawDelta(t).base
		return delta{same, cloneAs(same)}
	default:
		rows, cols := size(t, 1, 12, "rows"), size(t, 1, 12, "cols")
		d := delta{matrix(t, rows, cols, moderateStyles, "base"), matrix(t, rows, cols, moderateStyles, "finetuned")}
		return d.scaled(rapid.SampledFrom(deltaExponents).Draw(t.T, "exponent"))
	}
}

// drawRank draws a rank, now and then beyond what the matrices have.
func drawRank(t *trial) int { return size(t, 1, 14, "rank") }

// drawFactors draws arguments of decompress. They need not be orthonormal.
func drawFactors(t *trial) spec.LowRank {
	rows, k, cols := size(t, 1, 8, "rows"), size(t, 1, 8, "k"), size(t, 1, 8, "cols")
	return spec.LowRank{
		U:  matrix(t, rows, k, moderateStyles, "u"),
		S:  numbers(t, k, moderateStyles, "s"),
		Vt: matrix(t, k, cols, moderateStyles, "vt"),
	}
}

// drawSizes draws arguments of compression_ratio, now and then so large that their
// product is no int, but each a float64.
func drawSizes(t *trial) (rows, cols, k int) {
	unit := rapid.SampledFrom([]int{1, 1, 1 << 40}).Draw(t.T, "unit")
	return unit * size(t, 1, 300, "rows"), unit * size(t, 1, 300, "cols"), unit * size(t, 1, 300, "k")
}

func deltaProgram(t *trial, _ spec.Variant) program {
	p := program{config: spec.DeltaCompressConfig{Rank: drawRank(t)}}
	for range size(t, 1, 2, "rounds") {
		d, f := drawDelta(t), drawFactors(t)
		rows, cols, k := drawSizes(t)
		p.steps = append(p.steps,
			call(deltaCompress, "compress", d.base, d.finetuned),
			call(deltaCompress, "decompress", f.U, f.S, f.Vt),
			call(deltaCompress, "compression_ratio", rows, cols, k))
	}
	return p
}

func deltaBadSteps(t *trial, _ any) []badStep {
	rows, cols := size(t, 1, 4, "rows"), size(t, 1, 4, "cols")
	at := rapid.IntRange(0, rows*cols-1).Draw(t.T, "at")
	filled := func(rows, cols int, x float32) spec.Matrix {
		return spec.Matrix{Rows: rows, Cols: cols, Data: slices.Repeat([]float32{x}, rows*cols)}
	}
	good := filled(rows, cols, 1)
	spoiled := func(x float32) spec.Matrix {
		m := cloneAs(good)
		m.Data[at] = x
		return m
	}
	nan, inf, huge := float32(math.NaN()), float32(math.Inf(1)), float32(math.MaxFloat32)
	short := spec.Matrix{Rows: rows, Cols: cols, Data: good.Data[1:]}
	negative := spec.Matrix{Rows: -rows, Cols: -cols, Data: good.Data}
	overflowing := spec.Matrix{Rows: math.MaxInt, Cols: math.MaxInt, Data: good.Data}
	compress := func(what string, base, finetuned spec.Matrix) badStep {
		return badStep{what, call(deltaCompress, "compress", base, finetuned), spec.Invalid}
	}

	k := size(t, 1, 3, "k")
	u, s, vt := filled(rows, k, 1), slices.Repeat([]float32{1}, k), filled(k, cols, 1)
	spoil := func(m spec.Matrix, x float32) spec.Matrix {
		m = cloneAs(m)
		m.Data[len(m.Data)-1] = x
		return m
	}
	decompress := func(what string, u spec.Matrix, s []float32, vt spec.Matrix) badStep {
		return badStep{what, call(deltaCompress, "decompress", u, s, vt), spec.Invalid}
	}
	ratio := func(what string, rows, cols, k int) badStep {
		return badStep{what, call(deltaCompress, "compression_ratio", rows, cols, k), spec.Invalid}
	}
	return []badStep{
		compress("empty matrices", spec.Matrix{}, spec.Matrix{}),
		compress("matrices without columns", spec.Matrix{Rows: rows}, spec.Matrix{Rows: rows}),
		compress("matrices without rows", spec.Matrix{Cols: cols}, spec.Matrix{Cols: cols}),
		compress("an empty base", spec.Matrix{}, good),
		compress("nothing finetuned", good, spec.Matrix{}),
		compress("a row more in finetuned", good, filled(rows+1, cols, 1)),
		compress("a column more in finetuned", good, filled(rows, cols+1, 1)),
		compress("a column more in base", filled(rows, cols+1, 1), good),
		compress("finetuned transposed", filled(rows, rows+1, 1), filled(rows+1, rows, 1)),
		compress("a base with less data than its shape", short, good),
		compress("a finetuned with less data than its shape", good, short),
		compress("a negative shape", negative, negative),
		compress("a shape whose size overflows", overflowing, overflowing),
		compress("a NaN in base", spoiled(nan), good),
		compress("a +Inf in base", spoiled(inf), good),
		compress("a NaN in finetuned", good, spoiled(nan)),
		compress("a −Inf in finetuned", good, spoiled(-inf)),
		compress("+Inf in both", spoiled(inf), spoiled(inf)),
		compress("a difference beyond float32", spoiled(-huge), spoiled(huge)),
		compress("a singular value beyond float32", filled(2, 2, 0), filled(2, 2, huge)),

		decompress("nothing", spec.Matrix{}, nil, spec.Matrix{}),
		decompress("no singular values", spec.Matrix{Rows: rows}, nil, spec.Matrix{Cols: cols}),
		decompress("u without rows", spec.Matrix{Cols: k}, s, vt),
		decompress("vt without columns", u, s, spec.Matrix{Rows: k}),
		decompress("a column more in u", filled(rows, k+1, 1), s, vt),
		decompress("a row more in vt", u, s, filled(k+1, cols, 1)),
		decompress("a singular value more", u, append(s[:k:k], 1), vt),
		decompress("a singular value less", u, s[1:], vt),
		decompress("u with less data than its shape", spec.Matrix{Rows: rows, Cols: k, Data: u.Data[1:]}, s, vt),
		decompress("vt with less data than its shape", u, s, spec.Matrix{Rows: k, Cols: cols, Data: vt.Data[1:]}),
		decompress("a negative shape", spec.Matrix{Rows: -rows, Cols: -k, Data: u.Data}, s, vt),
		decompress("a NaN in u", spoil(u, nan), s, vt),
		decompress("a NaN in s", u, spoil(spec.Matrix{Data: s}, nan).Data, vt),
		decompress("a NaN in vt", u, s, spoil(vt, nan)),
		decompress("+Inf in u", spoil(u, inf), s, vt),
		decompress("+Inf in s", u, spoil(spec.Matrix{Data: s}, inf).Data, vt),
		decompress("−Inf in vt", u, s, spoil(vt, -inf)),

		ratio("rows 0", 0, cols, k),
		ratio("rows −1", -1, cols, k),
		ratio("cols 0", rows, 0, k),
		ratio("cols −2⁶³", rows, math.MinInt, k),
		ratio("k 0", rows, cols, 0),
		ratio("k −1", rows, cols, -1),
	}
}

// factored compresses with a new instance.
func factored(t *trial, rank int, d delta) spec.LowRank {
	t.Helper()
	var f spec.LowRank
	t.must(open(t, t.impl.DeltaCompress, spec.DeltaCompressConfig{Rank: rank}).Compress(&f, d.base, d.finetuned))
	wellFormed(t, f, d.base.Rows, d.base.Cols, min(rank, d.base.Rows, d.base.Cols))
	return f
}

// wellFormed asserts that there are k finite triplets.
func wellFormed(t *trial, f spec.LowRank, rows, cols, k int) {
	t.Helper()
	t.holds(spec.CheckMatrix("", "", f.U, rows, k) == nil && len(f.S) == k && spec.CheckMatrix("", "", f.Vt, k, cols) == nil,
		"got u (%d, %d) with %d elements, s (%d) and vt (%d, %d) with %d elements, want (%d, %d), (%d) and (%d, %d)",
		f.U.Rows, f.U.Cols, len(f.U.Data), len(f.S), f.Vt.Rows, f.Vt.Cols, len(f.Vt.Data), rows, k, k, k, cols)
	for _, values := range [][]float32{f.U.Data, f.S, f.Vt.Data} {
		t.holds(spec.CheckFinite("", "", values) == nil, "got factors %v with a number that is not finite", f)
	}
}

// approximation is u·diag(s)·vt.
func approximation(f spec.LowRank) *mat.Dense {
	var p mat.Dense
	p.Product(dense(f.U), mat.NewDiagDense(len(f.S), widened(f.S)), dense(f.Vt))
	return &p
}

// frobeniusDistance is the Frobenius norm of a − b.
func frobeniusDistance(a, b mat.Matrix) float64 {
	var d mat.Dense
	d.Sub(a, b)
	return mat.Norm(&d, 2)
}

// approximationBudget is how far an approximation by k triplets may be off for its
// rounding, on a difference of that norm.
func approximationBudget(u, norm float64, k int) float64 {
	return 16*u*norm + float64(k)*spacing(u)
}

// orthonormalFactors asserts that u has orthonormal columns and vt orthonormal
// rows.
func orthonormalFactors(t *trial, f spec.LowRank) {
	t.Helper()
	u, vt := dense(f.U), dense(f.Vt)
	var uu, vv mat.Dense
	uu.Mul(u.T(), u)
	vv.Mul(vt, vt.T())
	k := len(f.S)
	budget := 16*t.u*math.Sqrt(float64(k)) + 4*t.u
	for i := range k {
		for j := range k {
			want := 0.0
			if i == j {
				want = 1
			}
			t.within(fmt.Sprintf("columns %d and %d of u", i, j), uu.At(i, j), want, budget)
			t.within(fmt.Sprintf("rows %d and %d of vt", i, j), vv.At(i, j), want, budget)
		}
	}
}

// sameValues asserts that singular values are what they should be, but for their
// rounding where they are subnormal.
func sameValues(t *trial, got []float32, want []float64, budget float64) {
	t.Helper()
	for i, s := range got {
		t.within(fmt.Sprintf("s[%d]", i), float64(s), want[i], budget+spacing(t.u))
	}
}

// isNearest asserts that f is as near to Δ as any matrix of its rank, given the
// singular values of Δ.
func isNearest(t *trial, f spec.LowRank, Δ *mat.Dense, σ []float64) {
	t.Helper()
	optimum := floats.Norm(σ[len(f.S):], 2)
	budget := 1e-4*optimum + approximationBudget(t.u, mat.Norm(Δ, 2), len(f.S))
	t.within("error of the approximation", max(frobeniusDistance(Δ, approximation(f)), optimum), optimum, budget)
}

// isWhole asserts that f is Δ.
func isWhole(t *trial, f spec.LowRank, Δ *mat.Dense) {
	t.Helper()
	t.within("error of the approximation", frobeniusDistance(Δ, approximation(f)), 0, approximationBudget(t.u, mat.Norm(Δ, 2), len(f.S)))
}

// sameLowRank compares factors of Δ as far as Δ determines them.
func sameLowRank(t *trial, Δ *mat.Dense, got, want spec.LowRank) {
	t.Helper()
	rows, cols := Δ.Dims()
	wellFormed(t, got, rows, cols, len(want.S))
	σ := singularValues(Δ)
	sameValues(t, got.S, widened(want.S), 64*t.u*σ[0])
	orthonormalFactors(t, got)
	isNearest(t, got, Δ, σ)
	for _, g := range tripletGroups(σ, len(want.S)) {
		turned := frobeniusDistance(g.directions(got), g.directions(want))
		t.within(fmt.Sprintf("u·vt of triplets %d…%d", g.from, g.to-1), turned, 0,
			64*t.u*math.Sqrt(float64(g.to-g.from))*σ[0]/g.gap)
	}
}

// A tripletGroup is a run of singular values that lies off all others, and off 0,
// by a gap. Its vectors may have any signs, and be any basis where several values
// are equal: the sum of u·vt over the group is the same.
type tripletGroup struct {
	from, to int
	gap      float64
}

// tripletGroups returns the groups among the first k singular values with a gap of
// more than 2⁻¹⁰ of the largest.
func tripletGroups(σ []float64, k int) []tripletGroup {
	least := 0x1p-10 * σ[0]
	var list []tripletGroup
	from, above := 0, math.Inf(1)
	for i := range k {
		below := σ[i]
		if i+1 < len(σ) {
			below -= σ[i+1]
		}
		if below > least {
			list = append(list, tripletGroup{from, i + 1, min(above, below)})
			from, above = i+1, below
		}
	}
	return list
}

// directions is u·vt over the group.
func (g tripletGroup) directions(f spec.LowRank) *mat.Dense {
	var sum mat.Dense
	sum.Mul(dense(f.U).Slice(0, f.U.Rows, g.from, g.to), dense(f.Vt).Slice(g.from, g.to, 0, f.Vt.Cols))
	return &sum
}

// sameProduct asserts that got is u·diag(s)·vt, computed as want.
func sameProduct(t *trial, f spec.LowRank, got spec.Matrix, want *mat.Dense) {
	t.Helper()
	rows, cols, k := f.U.Rows, f.Vt.Cols, len(f.S)
	t.holds(spec.CheckMatrix("", "", got, rows, cols) == nil, "got (%d, %d) with %d elements, want (%d, %d)", got.Rows, got.Cols, len(got.Data), rows, cols)
	for r := range rows {
		for c := range cols {
			relative, floor := 0.0, 0.0
			for i, s := range f.S {
				u, s, v := math.Abs(float64(f.U.Row(r)[i])), math.Abs(float64(s)), math.Abs(float64(f.Vt.Row(i)[c]))
				relative += u * s * v
				floor += (1 + u + s + v) * spacing(t.u)
			}
			t.within(fmt.Sprintf("delta[%d, %d]", r, c), float64(got.Row(r)[c]), want.At(r, c), float64(k+2)*t.u*relative+floor)
		}
	}
}

func deltaShapes(t *trial) { factored(t, drawRank(t), drawDelta(t)) }

func deltaOrthonormal(t *trial) { orthonormalFactors(t, factored(t, drawRank(t), drawDelta(t))) }

func deltaDescending(t *trial) {
	s := factored(t, drawRank(t), drawDelta(t)).S
	above := float32(math.Inf(1))
	for i, x := range s {
		t.holds(0 <= x && x <= above, "s[%d]: got %v below %v, want 0 or more and no more than that", i, x, above)
		above = x
	}
}

func deltaEckartYoung(t *trial) {
	d, rank := drawDelta(t), drawRank(t)
	if rapid.IntRange(0, 24).Draw(t.T, "large") == 24 {
		d = delta{matrix(t, 64, 48, moderateStyles, "large base"), matrix(t, 64, 48, moderateStyles, "large finetuned")}
	}
	Δ := d.difference()
	isNearest(t, factored(t, rank, d), Δ, singularValues(Δ))
}

func deltaPlanted(t *trial) {
	p := drawPlanted(t)
	sameValues(t, factored(t, drawRank(t), p.delta).S, p.σ, 64*t.u*p.σ[0]+p.off)
}

func deltaRepeated(t *trial) {
	p := drawRepeated(t)
	f, Δ := factored(t, drawRank(t), p.delta), p.difference()
	sameValues(t, f.S, p.σ, 64*t.u*p.σ[0]+p.off)
	isNearest(t, f, Δ, singularValues(Δ))
}

func deltaLowRankExact(t *trial) {
	r := size(t, 1, 4, "rank of the difference")
	d := drawLoRA(t, r)
	isWhole(t, factored(t, r+size(t, 0, 3, "more"), d), d.difference())
}

func deltaFullRank(t *trial) {
	d := drawDelta(t)
	f, Δ := factored(t, max(d.base.Rows, d.base.Cols), d), d.difference()
	isWhole(t, f, Δ)
	norm := mat.Norm(Δ, 2)
	t.within("norm of s", floats.Norm(widened(f.S), 2), norm, 64*t.u*norm+float64(len(f.S))*spacing(t.u))
}

func deltaIdentical(t *trial) {
	base := matrix(t, size(t, 1, 12, "rows"), size(t, 1, 12, "cols"), anyStyles, "base")
	finetuned := cloneAs(base)
	for i, x := range base.Data {
		if x == 0 {
			finetuned.Data[i] = -x
		}
	}
	f := factored(t, drawRank(t), delta{base, finetuned})
	for i, s := range f.S {
		t.holds(s == 0, "s[%d]: got %v, want 0", i, s)
	}
	var back spec.Matrix
	t.must(open(t, t.impl.DeltaCompress, spec.DefaultDeltaCompressConfig()).Decompress(&back, f.U, f.S, f.Vt))
	for i, x := range back.Data {
		t.holds(x == 0, "delta[%d]: got %v, want 0", i, x)
	}
}

func deltaTranspose(t *trial) {
	d, rank := drawDelta(t), drawRank(t)
	f := factored(t, rank, d)
	sameValues(t, factored(t, rank, d.transposed()).S, widened(f.S), 128*t.u*singularValues(d.difference())[0])
}

func deltaRankMonotone(t *trial) {
	d, rank := drawDelta(t), drawRank(t)
	low, high := factored(t, rank, d), factored(t, rank+size(t, 1, 4, "more"), d)
	Δ := d.difference()
	sameValues(t, low.S, widened(high.S), 128*t.u*singularValues(Δ)[0])
	far, near := frobeniusDistance(Δ, approximation(low)), frobeniusDistance(Δ, approximation(high))
	t.within("error of the higher rank", max(near, far), far, 1e-4*far+approximationBudget(t.u, mat.Norm(Δ, 2), len(high.S)))
}

func deltaDecompress(t *trial) {
	f := drawFactors(t)
	want := mat.NewDense(f.U.Rows, f.Vt.Cols, nil)
	want.Apply(func(r, c int, _ float64) float64 { return exactElement(f, r, c) }, want)
	var got spec.Matrix
	t.must(open(t, t.impl.DeltaCompress, spec.DefaultDeltaCompressConfig()).Decompress(&got, f.U, f.S, f.Vt))
	sameProduct(t, f, got, want)
}

// exactElement is Σ u·s·vt in 400-bit floats: the second route.
func exactElement(f spec.LowRank, r, c int) float64 {
	exact := func(x float32) *big.Float { return new(big.Float).SetPrec(400).SetFloat64(float64(x)) }
	sum := exact(0)
	for i, s := range f.S {
		term := exact(f.U.Row(r)[i])
		term.Mul(term, exact(s))
		sum.Add(sum, term.Mul(term, exact(f.Vt.Row(i)[c])))
	}
	element, _ := sum.Float64()
	return element
}

func deltaRatio(t *trial) {
	rows, cols, k := drawSizes(t)
	rational := func(n int) *big.Rat { return new(big.Rat).SetInt64(int64(n)) }
	factors := rational(rows + cols + 1)
	factors.Mul(factors, rational(k))
	exact := rational(rows)
	exact.Mul(exact, rational(cols)).Quo(exact, factors)
	want, _ := exact.Float64()
	var got float64
	t.must(open(t, t.impl.DeltaCompress, spec.DefaultDeltaCompressConfig()).CompressionRatio(&got, rows, cols, k))
	t.within("ratio", got, want, 0x1p-50*want)
}

func deltaStats(t *trial) {
	c := open(t, t.impl.DeltaCompress, spec.DeltaCompressConfig{Rank: drawRank(t)})
	var want spec.DeltaCompressStats
	for range size(t, 0, 4, "calls") {
		d, f := drawDelta(t), drawFactors(t)
		var out spec.LowRank
		t.must(c.Compress(&out, d.base, d.finetuned))
		want.Calls++
		want.SingularValues += len(out.S)
		if rapid.Bool().Draw(t.T, "others") {
			var back spec.Matrix
			var ratio float64
			t.must(c.Decompress(&back, f.U, f.S, f.Vt))
			t.must(c.CompressionRatio(&ratio, 3, 2, 1))
		}
	}
	t.equal("stats", c.Stats(), want)
}

// compressedDelta is what the row compress comes to.
type compressedDelta struct {
	delta
	factors spec.LowRank
}

// deltaCompressRow compresses white noise on a Gaussian base: no rank is low there.
func deltaCompressRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	c, err := impl.DeltaCompress(spec.DeltaCompressConfig{Rank: w.Int("rank", 16)})
	rows, cols := w.Int("rows", 256), w.Int("cols", 256)
	base, finetuned := gaussian(rows*cols, 24), gaussian(rows*cols, 25)
	for i, x := range base {
		finetuned[i] = x + 0.01*finetuned[i]
	}
	out := compressedDelta{delta: delta{spec.Matrix{Rows: rows, Cols: cols, Data: base}, spec.Matrix{Rows: rows, Cols: cols, Data: finetuned}}}
	return timing{
		calls:  1,
		call:   func(int) error { return c.Compress(&out.factors, out.base, out.finetuned) },
		result: func() (any, error) { return &out, nil },
		note: func() string {
			kept, all := floats.Norm(widened(out.factors.S), 2), mat.Norm(out.difference(), 2)
			return fmt.Sprintf("rank %d keeps %.1f%% of the energy", len(out.factors.S), 100*kept*kept/(all*all))
		},
	}, err
}

// sameApproximation holds factors of a large Δ against the reference's, without
// all singular values of Δ.
func sameApproximation(t *trial, Δ *mat.Dense, got, want spec.LowRank) {
	t.Helper()
	rows, cols := Δ.Dims()
	wellFormed(t, got, rows, cols, len(want.S))
	sameValues(t, got.S, widened(want.S), 64*t.u*float64(want.S[0]))
	orthonormalFactors(t, got)
	near, reached := frobeniusDistance(Δ, approximation(want)), frobeniusDistance(Δ, approximation(got))
	t.within("error of the approximation", max(reached, near), near, 1e-4*near+approximationBudget(t.u, mat.Norm(Δ, 2), len(got.S)))
}

// decompressedDelta is what the row decompress comes to.
type decompressedDelta struct {
	factors spec.LowRank
	product spec.Matrix
}

func deltaDecompressRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	c, err := impl.DeltaCompress(spec.DefaultDeltaCompressConfig())
	rows, cols, k := w.Int("rows", 256), w.Int("cols", 256), w.Int("rank", 16)
	out := decompressedDelta{factors: spec.LowRank{
		U:  spec.Matrix{Rows: rows, Cols: k, Data: gaussian(rows*k, 24)},
		S:  gaussian(k, 25),
		Vt: spec.Matrix{Rows: k, Cols: cols, Data: gaussian(k*cols, 26)},
	}}
	f := out.factors
	return timing{
		calls:  1,
		call:   func(int) error { return c.Decompress(&out.product, f.U, f.S, f.Vt) },
		result: func() (any, error) { return &out, nil },
	}, err
}

func deltaRatioRow(impl spec.Implementation, _ spec.WorkloadName, w spec.Workload) (timing, error) {
	c, err := impl.DeltaCompress(spec.DefaultDeltaCompressConfig())
	rows, cols, k := w.Int("rows", 256), w.Int("cols", 256), w.Int("rank", 16)
	var ratio float64
	return timing{
		calls:  1,
		call:   func(int) error { return c.CompressionRatio(&ratio, rows, cols, k) },
		result: func() (any, error) { return &ratio, nil },
	}, err
}
