package ref_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

func newDeltaCompress(t *testing.T, rank int) spec.DeltaCompress {
	t.Helper()
	d, err := ref.NewDeltaCompress(spec.DeltaCompressConfig{Rank: rank})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// plantedDelta returns a matrix H·diag(σ)·G with reflections H and G, so that σ
// are its singular values but for the rounding to float32.
func plantedDelta(rows, cols int, σ []float64) spec.Matrix {
	random := rand.New(rand.NewPCG(uint64(rows), uint64(cols)))
	reflection := func(n int) func(i, j int) float64 {
		h, square := make([]float64, n), 0.0
		for i := range h {
			h[i] = random.NormFloat64()
			square += h[i] * h[i]
		}
		return func(i, j int) float64 {
			x := -2 * h[i] * h[j] / square
			if i == j {
				x++
			}
			return x
		}
	}
	left, right := reflection(rows), reflection(cols)
	m := spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	for r := range rows {
		for c := range cols {
			sum := 0.0
			for i, s := range σ {
				sum += left(r, i) * s * right(i, c)
			}
			m.Row(r)[c] = float32(sum)
		}
	}
	return m
}

func zeroDelta(rows, cols int) spec.Matrix {
	return spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
}

func TestDeltaCompressIsTruncatedSVD(t *testing.T) {
	const u = 0x1p-24
	for name, c := range map[string]struct {
		rows, cols, rank int
		σ                []float64
	}{
		"square":        {6, 6, 4, []float64{5, 4, 3, 2, 1, 0.5}},
		"tall":          {40, 3, 16, []float64{3, 2, 1}},
		"wide":          {3, 40, 2, []float64{3, 2, 1}},
		"one row":       {1, 9, 16, []float64{7}},
		"one column":    {9, 1, 16, []float64{7}},
		"one element":   {1, 1, 1, []float64{7}},
		"repeated":      {8, 8, 5, []float64{2, 2, 2, 2, 1, 1, 1, 1}},
		"orthogonal":    {7, 7, 7, []float64{3, 3, 3, 3, 3, 3, 3}},
		"low rank":      {12, 10, 6, []float64{2, 1}},
		"zero":          {5, 4, 3, nil},
		"clustered":     {6, 5, 3, []float64{1, 1 - 1e-7, 0.5, 1e-3, 1e-6}},
		"beyond square": {5, 5, 2, []float64{1e25, 1e24, 1e23, 1e22, 1e21}},
	} {
		t.Run(name, func(t *testing.T) {
			delta := plantedDelta(c.rows, c.cols, c.σ)
			σ := append(slices.Clone(c.σ), make([]float64, min(c.rows, c.cols)-len(c.σ))...)
			k := min(c.rank, c.rows, c.cols)
			d := newDeltaCompress(t, c.rank)
			got := spec.LowRank{U: zeroDelta(30, 30), S: make([]float32, 99), Vt: zeroDelta(1, 1)} // of another shape
			if err := d.Compress(&got, zeroDelta(c.rows, c.cols), delta); err != nil {
				t.Fatal(err)
			}
			if got.U.Rows != c.rows || got.U.Cols != k || len(got.S) != k || got.Vt.Rows != k || got.Vt.Cols != c.cols {
				t.Fatalf("shapes %d × %d, %d, %d × %d", got.U.Rows, got.U.Cols, len(got.S), got.Vt.Rows, got.Vt.Cols)
			}
			tail, norm := 0.0, 0.0
			for i, s := range σ {
				norm += s * s
				if i >= k {
					tail += s * s
				} else if math.Abs(float64(got.S[i])-s) > 64*u*σ[0] {
					t.Errorf("s[%d] = %v, want %v", i, got.S[i], s)
				}
			}
			for i := range k {
				for j := range k {
					left, right := 0.0, 0.0
					for r := range c.rows {
						left += float64(got.U.Row(r)[i]) * float64(got.U.Row(r)[j])
					}
					for x := range c.cols {
						right += float64(got.Vt.Row(i)[x]) * float64(got.Vt.Row(j)[x])
					}
					want := 0.0
					if i == j {
						want = 1
					}
					if math.Abs(left-want) > 4*u || math.Abs(right-want) > 4*u {
						t.Errorf("(%d, %d): uᵀu %v, vt·vtᵀ %v", i, j, left, right)
					}
				}
				largest := float32(0)
				for _, x := range got.Vt.Row(i) {
					if math.Abs(float64(x)) > math.Abs(float64(largest)) {
						largest = x
					}
				}
				if largest <= 0 {
					t.Errorf("the largest element of right vector %d is %v", i, largest)
				}
			}
			var approximation spec.Matrix
			if err := d.Decompress(&approximation, got.U, got.S, got.Vt); err != nil {
				t.Fatal(err)
			}
			off := 0.0
			for i, x := range approximation.Data {
				e := float64(x) - float64(delta.Data[i])
				off += e * e
			}
			if math.Sqrt(off) > (1+1e-4)*math.Sqrt(tail)+16*u*math.Sqrt(norm) {
				t.Errorf("error %v, optimum %v of %v", math.Sqrt(off), math.Sqrt(tail), math.Sqrt(norm))
			}
			if want := (spec.DeltaCompressStats{Calls: 1, SingularValues: k}); d.Stats() != want {
				t.Errorf("stats %+v, want %+v", d.Stats(), want)
			}
		})
	}
}

func TestDeltaCompressSubtractsExactly(t *testing.T) {
	// The difference 1 + 2⁻²⁴ is no float32.
	base, finetuned := zeroDelta(1, 15), zeroDelta(1, 15)
	for i := range base.Data {
		base.Data[i], finetuned.Data[i] = -0x1p-24, 1
	}
	got, d := spec.LowRank{}, newDeltaCompress(t, 1)
	if err := d.Compress(&got, base, finetuned); err != nil {
		t.Fatal(err)
	}
	if want := float32(math.Sqrt(15) * (1 + 0x1p-24)); got.S[0] != want {
		t.Errorf("s %v, want %v", got.S[0], want)
	}
	half := float32(math.MaxFloat32 / 2)
	if err := d.Compress(&got, spec.Matrix{Rows: 1, Cols: 1, Data: []float32{-half}}, spec.Matrix{Rows: 1, Cols: 1, Data: []float32{half}}); err != nil || got.S[0] != math.MaxFloat32 {
		t.Errorf("s %v, error %v, want the largest float32", got.S[0], err)
	}
	tiny := float32(math.SmallestNonzeroFloat32)
	if err := d.Compress(&got, spec.Matrix{Rows: 1, Cols: 2, Data: []float32{0, -3 * tiny}}, spec.Matrix{Rows: 1, Cols: 2, Data: []float32{4 * tiny, 0}}); err != nil || got.S[0] != 5*tiny {
		t.Errorf("s %v, error %v, want 5 times the smallest float32", got.S[0], err)
	}
}

func TestDeltaCompressRefusalChangesNothing(t *testing.T) {
	d := newDeltaCompress(t, 2)
	good, huge := zeroDelta(2, 3), zeroDelta(2, 3)
	for i := range huge.Data {
		huge.Data[i] = math.MaxFloat32
	}
	bad := zeroDelta(2, 3)
	bad.Data[4] = float32(math.NaN())
	var got spec.LowRank
	var product spec.Matrix
	var ratio float64
	for name, err := range map[string]error{
		"shape":         d.Compress(&got, good, zeroDelta(3, 2)),
		"empty":         d.Compress(&got, zeroDelta(0, 3), zeroDelta(0, 3)),
		"NaN":           d.Compress(&got, good, bad),
		"beyond":        d.Compress(&got, good, huge),
		"data":          d.Compress(&got, spec.Matrix{Rows: 2, Cols: 3}, good),
		"factors":       d.Decompress(&product, zeroDelta(2, 2), []float32{1}, zeroDelta(2, 3)),
		"no factors":    d.Decompress(&product, zeroDelta(2, 0), nil, zeroDelta(0, 3)),
		"NaN factor":    d.Decompress(&product, zeroDelta(2, 2), []float32{1, 1}, bad),
		"ratio of rows": d.CompressionRatio(&ratio, 0, 1, 1),
		"ratio of cols": d.CompressionRatio(&ratio, 1, -1, 1),
		"ratio of k":    d.CompressionRatio(&ratio, 1, 1, 0),
	} {
		if !errors.Is(err, spec.Invalid) {
			t.Errorf("%s: error %v, want invalid", name, err)
		}
	}
	if diff := cmp.Diff(spec.DeltaCompressStats{}, d.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
	if _, err := ref.NewDeltaCompress(spec.DeltaCompressConfig{}); !errors.Is(err, spec.Invalid) {
		t.Errorf("rank 0: error %v, want invalid", err)
	}
}

func TestDeltaCompressRatioCountsElements(t *testing.T) {
	d := newDeltaCompress(t, 16)
	for _, c := range []struct {
		rows, cols, k int
		want          float64
	}{{2, 24, 2, 48.0 / 54}, {23, 18, 4, 414.0 / 168}, {256, 256, 16, 65536.0 / 8208}, {1, 1, 1, 1.0 / 3},
		{math.MaxInt, math.MaxInt, math.MaxInt, 0.5}} {
		var got float64
		if err := d.CompressionRatio(&got, c.rows, c.cols, c.k); err != nil || math.Abs(got/c.want-1) > 0x1p-50 {
			t.Errorf("%d × %d, k %d: %v, error %v, want %v", c.rows, c.cols, c.k, got, err, c.want)
		}
	}
}

func ExampleNewDeltaCompress() {
	d, err := ref.NewDeltaCompress(spec.DeltaCompressConfig{Rank: 1})
	if err != nil {
		panic(err)
	}
	base := spec.Matrix{Rows: 2, Cols: 3, Data: []float32{1, 1, 1, 1, 1, 1}}
	finetuned := spec.Matrix{Rows: 2, Cols: 3, Data: []float32{3, 5, 5, 2, 3, 3}} // base + (2, 1)ᵀ·(1, 2, 2)

	var low spec.LowRank
	if err := d.Compress(&low, base, finetuned); err != nil {
		panic(err)
	}
	var delta spec.Matrix
	if err := d.Decompress(&delta, low.U, low.S, low.Vt); err != nil {
		panic(err)
	}
	var ratio float64
	if err := d.CompressionRatio(&ratio, 2, 3, 1); err != nil {
		panic(err)
	}
	fmt.Printf("s %.4f\n", low.S)
	fmt.Printf("delta %.4f\n", delta.Data)
	fmt.Println("ratio", ratio)
	// Output:
	// s [6.7082]
	// delta [2.0000 4.0000 4.0000 1.0000 2.0000 2.0000]
	// ratio 1
}
