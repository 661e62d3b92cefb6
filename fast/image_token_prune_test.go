package fast

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestImageTokenPruneAllocatesNothingInTheSteadyState(t *testing.T) {
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		p, err := NewImageTokenPrune(spec.ImageTokenPruneConfig{Variant: variant, NTokens: 2, PruneRatio: 0.5, NHeads: 2, Eps: 1e-9})
		if err != nil {
			t.Fatal(err)
		}
		x := spec.Heads{Heads: 2, Tokens: 2, Dim: 2, Stride: 4, Data: []float32{0, 1, 0.25, 0.75, 1, 0, 0.5, 0.5}}
		var out spec.PrunedTokens
		if n := testing.AllocsPerRun(20, func() {
			if err := p.Prune(&out, x); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations a call", variant, n)
		}
	}
}

// TestImageTokenPruneRefusesWhatIsNoAttention: in every place, although the sum of
// the row would be 1.
func TestImageTokenPruneRefusesWhatIsNoAttention(t *testing.T) {
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		p, err := NewImageTokenPrune(spec.ImageTokenPruneConfig{Variant: variant, NTokens: 3, PruneRatio: 0.5, NHeads: 1, Eps: 1e-9})
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -0.5, -0x1p-149, 0.6} {
			for at := range 9 {
				x := spec.Heads{Heads: 1, Tokens: 3, Dim: 3, Stride: 9, Data: []float32{1, 0, 0, 0, 1, 0, 0, 0, 1}}
				row := x.Head(0).Row(at / 3)
				row[(at+1)%3], row[(at+2)%3] = 0.5, 0.5
				row[at%3] = float32(bad)
				var out spec.PrunedTokens
				if err := p.Prune(&out, x); spec.KindOf(err) != spec.Invalid || p.Stats() != (spec.ImageTokenPruneStats{}) {
					t.Errorf("%q: %v at %d: got %v, stats %v", variant, bad, at, err, p.Stats())
				}
			}
		}
	}
}

// TestImageTokenPruneTellsSumsAtTheLimit: of rows whose sums are within a few
// roundings of float32 of 1.001 and 0.999, as float64 tells.
func TestImageTokenPruneTellsSumsAtTheLimit(t *testing.T) {
	const n = 301
	r := rand.New(rand.NewPCG(1, 2))
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		p, err := NewImageTokenPrune(spec.ImageTokenPruneConfig{Variant: variant, NTokens: n, PruneRatio: 0.5, NHeads: 1, Eps: 1e-9})
		if err != nil {
			t.Fatal(err)
		}
		var x spec.Heads
		x.Resize(1, n, n)
		refused := 0
		for i := range 200 {
			clear(x.Data)
			for q := range n {
				x.Data[q*n] = 1
			}
			row, sum := x.Head(0).Row(r.IntN(n)), 0.0
			for k := range row[1:] {
				row[k] = r.Float32() / n
				sum += float64(row[k])
			}
			goal := 0.999 + 0.002*float64(i%2)
			row[n-1] = float32(goal - sum + 1e-8*r.NormFloat64())
			sum += float64(row[n-1])
			var out spec.PrunedTokens
			err := p.Prune(&out, x)
			if want := math.Abs(sum-1) > 1e-3; want != (err != nil) || !want && len(out.Kept)+len(out.Pruned) != n {
				t.Errorf("%q: a sum of %v: got %v", variant, sum, err)
			}
			if err != nil {
				refused++
			}
		}
		if refused == 0 || refused == 200 {
			t.Errorf("%d of 200 refused", refused)
		}
	}
}

// TestImageTokenPruneOnOneCoreAndTwo: heads on several cores give what they give on
// one.
func TestImageTokenPruneOnOneCoreAndTwo(t *testing.T) {
	const n, heads = 900, 3 // some 100 µs a head
	r := rand.New(rand.NewPCG(1, 2))
	var x spec.Heads
	x.Resize(heads, n, n)
	for h := range heads {
		for q := range n {
			row, sum := x.Head(h).Row(q), float32(0)
			for k := range row {
				row[k] = r.Float32()
				sum += row[k]
			}
			for k := range row {
				row[k] /= sum
			}
		}
	}
	for _, variant := range []spec.Variant{spec.Documented, spec.Squish6} {
		var out [2]spec.PrunedTokens
		for i := range out {
			before := runtime.GOMAXPROCS(1 + i)
			p, err := NewImageTokenPrune(spec.ImageTokenPruneConfig{Variant: variant, NTokens: n, PruneRatio: 0.5, NHeads: heads, Eps: 1e-9})
			if err == nil {
				err = p.Prune(&out[i], x)
			}
			runtime.GOMAXPROCS(before)
			if err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(out[0].Kept, out[1].Kept) {
			t.Errorf("%q: cores decide what is kept", variant)
		}
	}
}
