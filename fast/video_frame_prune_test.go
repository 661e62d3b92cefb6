package fast

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestVideoFramePruneAllocatesNothingInTheSteadyState(t *testing.T) {
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		c := spec.DefaultVideoFramePruneConfig()
		c.Variant, c.EmbedDim = variant, 2
		p, err := NewVideoFramePrune(c)
		if err != nil {
			t.Fatal(err)
		}
		x := spec.Matrix{Rows: 4, Cols: 2, Data: []float32{1, 2, 3, 4, 5, 6, -7, 8}}
		clip := spec.Heads{Heads: 2, Tokens: 2, Dim: 2, Stride: 4, Data: x.Data}
		var kept []int
		var out spec.PrunedClip
		if n := testing.AllocsPerRun(20, func() {
			for _, err := range []error{p.PruneTemporal(&kept, x), p.PruneSpatial(&kept, x), p.(spec.VideoClipPrune).PruneClip(&out, clip)} {
				if err != nil {
					t.Fatal(err)
				}
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations a round", variant, n)
		}
	}
}

// TestVideoFramePruneTellsFramesAtTheThreshold: frames that are within a few
// roundings of float32 of it are kept as float64 tells.
func TestVideoFramePruneTellsFramesAtTheThreshold(t *testing.T) {
	const dim = 301
	r := rand.New(rand.NewPCG(1, 2))
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		c := spec.DefaultVideoFramePruneConfig()
		c.Variant, c.EmbedDim = variant, dim
		x := spec.Matrix{Rows: 2, Cols: dim, Data: make([]float32, 2*dim)}
		kept := 0
		for range 200 {
			distance, size, dot, squareA, squareB := 0.0, 0.0, 0.0, 0.0, 0.0
			for i := range dim {
				b := float32(r.NormFloat64())
				a := b * (1 + 2*r.Float32())
				x.Row(0)[i], x.Row(1)[i] = b, a
				distance += math.Abs(float64(a) - float64(b))
				size += math.Abs(float64(b))
				dot += float64(a) * float64(b)
				squareA += float64(a) * float64(a)
				squareB += float64(b) * float64(b)
			}
			cosine := dot / ((math.Sqrt(squareA) + 1e-10) * (math.Sqrt(squareB) + 1e-10))
			off := 1e-8 * r.NormFloat64()
			c.MotionThreshold = distance / size * (1 + off)
			c.SimilarityThreshold = cosine * (1 + off)
			p, err := NewVideoFramePrune(c)
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			if err := p.PruneTemporal(&got, x); err != nil {
				t.Fatal(err)
			}
			// The motion is below a threshold that is off upwards, and the cosine too.
			want := 1
			if off < 0 == (variant == spec.Documented) {
				want = 2
			}
			if len(got) != want {
				t.Fatalf("%q, off by %v: kept %d", variant, off, got)
			}
			kept += want
		}
		if kept == 200 || kept == 400 {
			t.Errorf("kept %d", kept)
		}
	}
}

// TestVideoFramePruneFindsWhatIsNotFinite: anywhere, and counts nothing.
func TestVideoFramePruneFindsWhatIsNotFinite(t *testing.T) {
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		c := spec.DefaultVideoFramePruneConfig()
		c.Variant, c.EmbedDim = variant, 3
		p, err := NewVideoFramePrune(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			for at := range 12 {
				x := spec.Matrix{Rows: 4, Cols: 3, Data: []float32{1, 2, 3, -1, 2, 0, 7, 0, 0, 2, 2, 2}}
				x.Data[at] = float32(bad)
				var kept []int
				var clip spec.PrunedClip
				for _, err := range []error{
					p.PruneTemporal(&kept, x), p.PruneSpatial(&kept, x),
					p.(spec.VideoClipPrune).PruneClip(&clip, spec.Heads{Heads: 2, Tokens: 2, Dim: 3, Stride: 6, Data: x.Data}),
				} {
					if spec.KindOf(err) != spec.Invalid {
						t.Errorf("%q: %v at %d: got %v", variant, bad, at, err)
					}
				}
			}
		}
		if p.Stats() != (spec.VideoFramePruneStats{}) {
			t.Errorf("refused calls were counted: %+v", p.Stats())
		}
	}
}

// TestVideoFramePruneWhereFloat32Ends: numbers whose sums or squares overflow or
// underflow are as good as others.
func TestVideoFramePruneWhereFloat32Ends(t *testing.T) {
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		for _, scale := range []float32{1, 0x1p120, 0x1p-130} {
			c := spec.DefaultVideoFramePruneConfig()
			c.Variant, c.EmbedDim, c.SpatialPruneRatio = variant, 4, 0.5
			x := spec.Matrix{Rows: 4, Cols: 4, Data: []float32{0, 0, 64, 0, 0, 0, 64, 2, 0, 16, 32, 64, 0, 8, 0, 96}}
			for i := range x.Data {
				x.Data[i] *= scale
			}
			p, err := NewVideoFramePrune(c)
			if err != nil {
				t.Fatal(err)
			}
			var frames, patches []int
			if err := cmp.Or(p.PruneTemporal(&frames, x), p.PruneSpatial(&patches, x)); err != nil {
				t.Fatal(err)
			}
			want := []int{0, 2, 3}
			if variant == spec.Squish6 && scale < 1 { // against 10⁻¹⁰, all cosines are 0
				want = []int{0, 1, 2, 3}
			}
			if !slices.Equal(frames, want) {
				t.Errorf("%q, scale %v: frames %d, want %d", variant, scale, frames, want)
			}
			if want := []int{2, 3}; !slices.Equal(patches, want) {
				t.Errorf("%q, scale %v: patches %d, want %d", variant, scale, patches, want)
			}
		}
	}
}
