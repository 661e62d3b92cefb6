package fast

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/squishspec/squishspec/spec"
	"gonum.org/v1/gonum/mat"
)

func newDeltaCompress(t testing.TB, rank int) spec.DeltaCompress {
	t.Helper()
	d, err := NewDeltaCompress(spec.DeltaCompressConfig{Rank: rank})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func zeroDelta(rows, cols int) spec.Matrix {
	return spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
}

func filledDelta(rows, cols int, f func(r, c int) float64) spec.Matrix {
	m := zeroDelta(rows, cols)
	for i := range m.Data {
		m.Data[i] = float32(f(i/cols, i%cols))
	}
	return m
}

func gaussianDelta(rows, cols int, seed uint64) spec.Matrix {
	random := rand.New(rand.NewPCG(seed, 1))
	return filledDelta(rows, cols, func(int, int) float64 { return random.NormFloat64() })
}

// lowRankDelta returns a product of Gaussian factors.
func lowRankDelta(rows, cols, rank int) spec.Matrix {
	left, right := gaussianDelta(rows, rank, 1), gaussianDelta(rank, cols, 2)
	return filledDelta(rows, cols, func(r, c int) (sum float64) {
		for i := range rank {
			sum += float64(left.Row(r)[i]) * float64(right.Row(i)[c])
		}
		return sum
	})
}

// reflectionDelta returns a multiple of a Householder reflection.
func reflectionDelta(n int) spec.Matrix {
	h := gaussianDelta(1, n, 3).Data
	square := 0.0
	for _, x := range h {
		square += float64(x) * float64(x)
	}
	return filledDelta(n, n, func(r, c int) float64 {
		x := -2 * float64(h[r]) * float64(h[c]) / square
		if r == c {
			x++
		}
		return 0.7 * x
	})
}

var deltas = map[string]spec.Matrix{
	"gaussian":        gaussianDelta(96, 96, 1),
	"gaussian, tall":  gaussianDelta(130, 70, 2),
	"gaussian, wide":  gaussianDelta(70, 130, 3),
	"gaussian, large": gaussianDelta(140, 150, 3), // products in float32
	"tall":            gaussianDelta(200, 3, 4),
	"wide":            gaussianDelta(3, 200, 5),
	"one row":         gaussianDelta(1, 50, 6),
	"one column":      gaussianDelta(50, 1, 7),
	"one element":     gaussianDelta(1, 1, 8),
	"zero":            zeroDelta(80, 90),
	"low rank":        lowRankDelta(90, 80, 5),
	"identity":        filledDelta(72, 72, func(r, c int) float64 { return map[bool]float64{true: 3}[r == c] }),
	"reflection":      reflectionDelta(70),
	"constant":        filledDelta(20, 90, func(int, int) float64 { return 0.1 }),
	"one by one":      filledDelta(70, 80, func(r, c int) float64 { return map[bool]float64{true: float64(1 + r/9)}[r == c] }),
	"geometric":       filledDelta(70, 70, func(r, c int) float64 { return map[bool]float64{true: math.Pow(10, -float64(r)/6)}[r == c] }),
}

// scaledDelta returns m multiplied by a power of two.
func scaledDelta(m spec.Matrix, exponent int) spec.Matrix {
	return filledDelta(m.Rows, m.Cols, func(r, c int) float64 { return math.Ldexp(float64(m.Row(r)[c]), exponent) })
}

// checkDelta compresses and compares with gonum's decomposition of the difference.
func checkDelta(t *testing.T, d spec.DeltaCompress, base, finetuned spec.Matrix, rank int) {
	t.Helper()
	const u = 0x1p-24
	rows, cols, k := base.Rows, base.Cols, min(rank, base.Rows, base.Cols)
	difference := mat.NewDense(rows, cols, nil)
	for i := range base.Data {
		difference.Set(i/cols, i%cols, float64(finetuned.Data[i])-float64(base.Data[i]))
	}
	var exact mat.SVD
	if !exact.Factorize(difference, mat.SVDThin) {
		t.Fatal("gonum did not converge")
	}
	var left, right mat.Dense
	exact.UTo(&left)
	exact.VTo(&right)
	σ := exact.Values(nil)

	got := spec.LowRank{U: gaussianDelta(3, 5, 9), S: []float32{-1, -2}, Vt: gaussianDelta(99, 99, 9)}
	if err := d.Compress(&got, base, finetuned); err != nil {
		t.Fatal(err)
	}
	if got.U.Rows != rows || got.U.Cols != k || len(got.S) != k || got.Vt.Rows != k || got.Vt.Cols != cols {
		t.Fatalf("shapes %d × %d, %d, %d × %d", got.U.Rows, got.U.Cols, len(got.S), got.Vt.Rows, got.Vt.Cols)
	}
	column := func(i int) (x []float64) {
		for r := range rows {
			x = append(x, float64(got.U.Row(r)[i]))
		}
		return x
	}
	row := func(i int) (x []float64) {
		for _, v := range got.Vt.Row(i) {
			x = append(x, float64(v))
		}
		return x
	}
	gap := func(i int) float64 {
		g := math.Inf(1)
		if i > 0 {
			g = σ[i-1] - σ[i]
		}
		if i+1 < len(σ) {
			g = min(g, σ[i]-σ[i+1])
		} else if rows != cols {
			g = min(g, σ[i]) // the longer side has singular values of 0 besides
		}
		return g
	}
	tail, norm := 0.0, 0.0
	for i, s := range σ {
		norm += s * s
		if i >= k {
			tail += s * s
			continue
		}
		if off := math.Abs(float64(got.S[i]) - s); !(off <= 4*u*σ[0]) {
			t.Errorf("s[%d] = %v, want %v", i, got.S[i], s)
		}
		if i > 0 && got.S[i] > got.S[i-1] || !(got.S[i] >= 0) {
			t.Errorf("s[%d] = %v after %v", i, got.S[i], got.S[i-1])
		}
		for j := range i + 1 {
			want := 0.0
			if i == j {
				want = 1
			}
			if off := math.Abs(deltaDot(column(i), column(j)) - want); !(off <= 4*u) {
				t.Errorf("uᵀu (%d, %d) is off by %v", i, j, off)
			}
			if off := math.Abs(deltaDot(row(i), row(j)) - want); !(off <= 4*u) {
				t.Errorf("vt·vtᵀ (%d, %d) is off by %v", i, j, off)
			}
		}
		if gap(i) < 0x1p-10*σ[0] || σ[0] == 0 {
			continue
		}
		bound := 4 * u * (1 + σ[0]/gap(i))
		if off := deltaDistance(column(i), mat.Col(nil, i, &left)); !(off <= bound) {
			t.Errorf("u[%d] is off by %v, bound %v", i, off, bound)
		}
		if off := deltaDistance(row(i), mat.Col(nil, i, &right)); !(off <= bound) {
			t.Errorf("vt[%d] is off by %v, bound %v", i, off, bound)
		}
	}

	var approximation spec.Matrix
	if err := d.Decompress(&approximation, got.U, got.S, got.Vt); err != nil {
		t.Fatal(err)
	}
	square := 0.0
	for i, x := range approximation.Data {
		e := float64(x) - difference.At(i/cols, i%cols)
		square += e * e
	}
	if !(math.Sqrt(square) <= (1+1e-4)*math.Sqrt(tail)+16*u*math.Sqrt(norm)) {
		t.Errorf("error %v, optimum %v of %v", math.Sqrt(square), math.Sqrt(tail), math.Sqrt(norm))
	}
}

func deltaDot(x, y []float64) (sum float64) {
	for i := range x {
		sum += x[i] * y[i]
	}
	return sum
}

// deltaDistance returns the norm of x − y or of x + y, whichever is less.
func deltaDistance(x, y []float64) float64 {
	sign, square := math.Copysign(1, deltaDot(x, y)), 0.0
	for i := range x {
		e := x[i] - sign*y[i]
		square += e * e
	}
	return math.Sqrt(square)
}

func TestDeltaCompressIsTruncatedSVD(t *testing.T) {
	for name, delta := range deltas {
		for _, rank := range []int{1, 5, 16, 500} {
			t.Run(fmt.Sprintf("%s, rank %d", name, rank), func(t *testing.T) {
				checkDelta(t, newDeltaCompress(t, rank), zeroDelta(delta.Rows, delta.Cols), delta, rank)
			})
		}
	}
}

func TestDeltaCompressOfDifference(t *testing.T) {
	base := gaussianDelta(80, 75, 10)
	finetuned := lowRankDelta(80, 75, 4)
	for i := range finetuned.Data {
		finetuned.Data[i] = base.Data[i] + 1e-3*finetuned.Data[i]
	}
	checkDelta(t, newDeltaCompress(t, 8), base, finetuned, 8)
}

// The squares of the Gram matrix must not over- or underflow, and as long as the
// elements have all their digits a power of two must change only s.
func TestDeltaCompressScales(t *testing.T) {
	var want, got spec.LowRank
	d := newDeltaCompress(t, 6)
	for _, rows := range []int{70, 150} { // with products in float64, and in float32
		cols := rows + 10
		delta := gaussianDelta(rows, cols, 11)
		if err := d.Compress(&want, zeroDelta(rows, cols), delta); err != nil {
			t.Fatal(err)
		}
		for _, exponent := range []int{-100, 100, 120} {
			if err := d.Compress(&got, zeroDelta(rows, cols), scaledDelta(delta, exponent)); err != nil {
				t.Fatal(err)
			}
			for i := range want.S {
				if got.S[i] != float32(math.Ldexp(float64(want.S[i]), exponent)) {
					t.Errorf("2^%d: s[%d] = %v, want %v·2^%d", exponent, i, got.S[i], want.S[i], exponent)
				}
			}
			if !slices.Equal(got.U.Data, want.U.Data) || !slices.Equal(got.Vt.Data, want.Vt.Data) {
				t.Errorf("2^%d: singular vectors differ", exponent)
			}
		}
	}

	tiny := float32(math.SmallestNonzeroFloat32)
	subnormal := spec.Matrix{Rows: 2, Cols: 2, Data: []float32{0, 3 * tiny, 7 * tiny, 0}}
	if err := d.Compress(&got, zeroDelta(2, 2), subnormal); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float32{7 * tiny, 3 * tiny}, got.S); diff != "" {
		t.Errorf("subnormal s (-want +got):\n%s", diff)
	}
	for i, want := range []float64{1, 0, 0, 1} {
		if off := math.Abs(float64(got.Vt.Data[i]) - want); off > 1e-7 {
			t.Errorf("subnormal vt: %v, want 1 0 0 1", got.Vt.Data)
		}
	}

	half := spec.Matrix{Rows: 1, Cols: 1, Data: []float32{math.MaxFloat32 / 2}}
	if err := d.Compress(&got, spec.Matrix{Rows: 1, Cols: 1, Data: []float32{-math.MaxFloat32 / 2}}, half); err != nil || got.S[0] != math.MaxFloat32 {
		t.Errorf("s %v, error %v, want the largest float32", got.S, err)
	}
}

func TestDeltaCompressIdenticalIsZero(t *testing.T) {
	m := gaussianDelta(70, 66, 12)
	var low spec.LowRank
	var approximation spec.Matrix
	d := newDeltaCompress(t, 16)
	if err := d.Compress(&low, m, m); err != nil {
		t.Fatal(err)
	}
	if err := d.Decompress(&approximation, low.U, low.S, low.Vt); err != nil {
		t.Fatal(err)
	}
	isZero := func(x float32) bool { return x == 0 }
	if slices.ContainsFunc(low.S, func(x float32) bool { return !isZero(x) }) ||
		slices.ContainsFunc(approximation.Data, func(x float32) bool { return !isZero(x) }) {
		t.Errorf("s %v, approximation %v…", low.S, approximation.Data[:5])
	}
}

func TestDecompressIsProduct(t *testing.T) {
	const unit = 0x1p-24
	d := newDeltaCompress(t, 1)
	product := gaussianDelta(2, 2, 1)
	for _, shape := range [][3]int{{1, 1, 1}, {7, 3, 5}, {5, 17, 300}, {130, 6, 128}, {2, 40, 129}} {
		rows, k, cols := shape[0], shape[1], shape[2]
		u, s, vt := gaussianDelta(rows, k, 1), gaussianDelta(1, k, 2).Data, gaussianDelta(k, cols, 3)
		if err := d.Decompress(&product, u, s, vt); err != nil {
			t.Fatal(err)
		}
		if product.Rows != rows || product.Cols != cols || len(product.Data) != rows*cols {
			t.Fatalf("shape %d × %d, want %d × %d", product.Rows, product.Cols, rows, cols)
		}
		for r := range rows {
			for c := range cols {
				sum, magnitude := 0.0, 0.0
				for i := range k {
					x := float64(u.Row(r)[i]) * float64(s[i]) * float64(vt.Row(i)[c])
					sum += x
					magnitude += math.Abs(x)
				}
				if off := math.Abs(float64(product.Row(r)[c]) - sum); !(off <= float64(k+2)*unit*magnitude) {
					t.Fatalf("%v: (%d, %d) is off by %v", shape, r, c, off)
				}
			}
		}
	}
	// Intermediate products beyond float32 are none of the caller's concern.
	one := func(x float32) spec.Matrix { return spec.Matrix{Rows: 1, Cols: 1, Data: []float32{x}} }
	for _, f := range [][3]float32{{1e30, 1e30, 1e-30}, {1e-30, 1e30, 1e30}, {1e30, 1e-30, 1e30}} {
		if err := d.Decompress(&product, one(f[0]), []float32{f[1]}, one(f[2])); err != nil || product.Data[0] < 0.99e30 || product.Data[0] > 1.01e30 {
			t.Errorf("product of %v = %v, error %v", f, product.Data[0], err)
		}
	}
	// Nor are sums.
	u := spec.Matrix{Rows: 1, Cols: 3, Data: []float32{3e38, 3e38, -3e38}}
	if err := d.Decompress(&product, u, []float32{1, 1, 1}, spec.Matrix{Rows: 3, Cols: 1, Data: []float32{1, 1, 1}}); err != nil || product.Data[0] != 3e38 {
		t.Errorf("3e38 + 3e38 − 3e38 = %v, error %v", product.Data[0], err)
	}
}

func TestDeltaCompressRefusalChangesNothing(t *testing.T) {
	d := newDeltaCompress(t, 2)
	var got, again spec.LowRank
	if err := d.Compress(&got, zeroDelta(9, 8), gaussianDelta(9, 8, 1)); err != nil {
		t.Fatal(err)
	}
	stats := d.Stats()
	if want := (spec.DeltaCompressStats{Calls: 1, SingularValues: 2}); stats != want {
		t.Errorf("stats %+v, want %+v", stats, want)
	}
	good, huge, bad := zeroDelta(2, 3), zeroDelta(2, 3), zeroDelta(2, 3)
	for i := range huge.Data {
		huge.Data[i] = math.MaxFloat32
	}
	bad.Data[4] = float32(math.Inf(1))
	var low spec.LowRank
	var product spec.Matrix
	var ratio float64
	for name, err := range map[string]error{
		"shape":         d.Compress(&low, good, zeroDelta(3, 2)),
		"empty":         d.Compress(&low, zeroDelta(0, 3), zeroDelta(0, 3)),
		"infinite":      d.Compress(&low, bad, good),
		"beyond":        d.Compress(&low, good, huge),
		"data":          d.Compress(&low, good, spec.Matrix{Rows: 2, Cols: 3}),
		"factors":       d.Decompress(&product, zeroDelta(2, 2), []float32{1}, zeroDelta(2, 3)),
		"no factors":    d.Decompress(&product, zeroDelta(2, 0), nil, zeroDelta(0, 3)),
		"infinite s":    d.Decompress(&product, zeroDelta(2, 1), []float32{float32(math.Inf(-1))}, zeroDelta(1, 3)),
		"ratio of rows": d.CompressionRatio(&ratio, 0, 1, 1),
		"ratio of cols": d.CompressionRatio(&ratio, 1, math.MinInt, 1),
		"ratio of k":    d.CompressionRatio(&ratio, 1, 1, 0),
	} {
		if !errors.Is(err, spec.Invalid) {
			t.Errorf("%s: error %v, want invalid", name, err)
		}
	}
	if d.Stats() != stats {
		t.Errorf("stats %+v after refusals, %+v before", d.Stats(), stats)
	}
	if err := d.Compress(&again, zeroDelta(9, 8), gaussianDelta(9, 8, 1)); err != nil || !cmp.Equal(got, again) {
		t.Errorf("another result after refusals, error %v", err)
	}
	if _, err := NewDeltaCompress(spec.DeltaCompressConfig{Rank: -1}); !errors.Is(err, spec.Invalid) {
		t.Errorf("rank -1: error %v, want invalid", err)
	}
}

func TestDeltaCompressRatioCountsElements(t *testing.T) {
	d := newDeltaCompress(t, 16)
	for _, c := range []struct {
		rows, cols, k int
		want          float64
	}{{2, 24, 2, 48.0 / 54}, {23, 18, 4, 414.0 / 168}, {1, 1, 1, 1.0 / 3}, {math.MaxInt, math.MaxInt, math.MaxInt, 0.5}} {
		var got float64
		if err := d.CompressionRatio(&got, c.rows, c.cols, c.k); err != nil || math.Abs(got/c.want-1) > 0x1p-50 {
			t.Errorf("%d × %d, k %d: %v, error %v, want %v", c.rows, c.cols, c.k, got, err, c.want)
		}
	}
}

func TestDeltaCompressAllocatesNothingInSteadyState(t *testing.T) {
	for name, delta := range deltas {
		d, base := newDeltaCompress(t, 16), zeroDelta(delta.Rows, delta.Cols)
		var low spec.LowRank
		var product spec.Matrix
		var ratio float64
		calls := func() {
			if d.Compress(&low, base, delta) != nil || d.Decompress(&product, low.U, low.S, low.Vt) != nil ||
				d.CompressionRatio(&ratio, 3, 4, 5) != nil {
				t.Error("refused")
			}
		}
		calls()
		if n := testing.AllocsPerRun(2, calls); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkDeltaCompress(b *testing.B) {
	d, base, delta := newDeltaCompress(b, 16), zeroDelta(256, 256), gaussianDelta(256, 256, 1)
	var low spec.LowRank
	var product spec.Matrix
	b.Run("compress 256x256 rank 16", func(b *testing.B) {
		for b.Loop() {
			if err := d.Compress(&low, base, delta); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decompress 256x256 rank 16", func(b *testing.B) {
		for b.Loop() {
			if err := d.Decompress(&product, low.U, low.S, low.Vt); err != nil {
				b.Fatal(err)
			}
		}
	})
}
