package fast

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestIterPruneAllocatesNothingInTheSteadyState(t *testing.T) {
	config := spec.DefaultIterPruneConfig(4)
	config.RegrowFraction = 0.5
	p, err := NewIterPrune(config)
	if err != nil {
		t.Fatal(err)
	}
	weights := make([]float32, 1000)
	for i := range weights {
		weights[i] = float32(math.Sin(float64(i * i)))
	}
	saliencies := weights
	var out spec.IterPruned
	run := func(weights []float32) {
		for step := range config.NSteps {
			if err := p.PruneStep(&out, weights, step); err != nil {
				t.Fatal(err)
			}
			if err := p.(spec.IterPruneRegrow).PruneRegrow(&out, weights, step, saliencies[:len(weights)]); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(weights)
	if n := testing.AllocsPerRun(20, func() {
		run(weights)
		run(weights[:500])
	}); n != 0 {
		t.Errorf("%v allocations a round of steps", n)
	}
}

// TestIterPruneSplitsTiesOfTheCut: the cut falls among equal magnitudes, and the
// first of them stay, also those of −0.
func TestIterPruneSplitsTiesOfTheCut(t *testing.T) {
	config := spec.DefaultIterPruneConfig(1)
	config.TargetSparsity = 0.5
	p, err := NewIterPrune(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		weights, want []float32
		sparsity      float64
	}{
		{[]float32{1, -1, 1, -1}, []float32{1, -1, 0, 0}, 0.5},
		{[]float32{2, 1, -2, 2, 3, 1}, []float32{2, 0, -2, 0, 3, 0}, 0.5},
		{[]float32{0, 5, 0, 0}, []float32{0, 5, 0, 0}, 0.75},
		{[]float32{3, 2, 1}, []float32{3, 0, 0}, 2. / 3},
	} {
		var out spec.IterPruned
		if err := p.PruneStep(&out, c.weights, 0); err != nil {
			t.Fatal(err)
		}
		for i, w := range c.want {
			if out.Pruned[i] != w {
				t.Errorf("%v: got %v, want %v", c.weights, out.Pruned, c.want)
				break
			}
		}
		if out.Sparsity != c.sparsity {
			t.Errorf("%v: sparsity %v, want %v", c.weights, out.Sparsity, c.sparsity)
		}
	}
}

// TestIterPruneOfManyWeights: where a sample brackets the cut and several goroutines
// write, exactly the smallest go, of ties the last, and regrowing changes how many
// not at all.
func TestIterPruneOfManyWeights(t *testing.T) {
	config := spec.DefaultIterPruneConfig(10)
	config.RegrowFraction = 0.3
	p, err := NewIterPrune(config)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{5000, 100_001, 2_100_000} {
		for _, levels := range []float64{0, 40} { // any magnitude, or so many a unit
			if n > 1e6 && levels == 0 {
				continue
			}
			weights, saliencies := make([]float32, n), make([]float32, n)
			for i := range weights {
				w := r.NormFloat64()
				if levels > 0 {
					w = math.Round(w*levels) / levels
				}
				weights[i], saliencies[i] = float32(w), float32(math.Round(100*r.NormFloat64()))
			}
			var out, regrown spec.IterPruned
			if err := p.PruneStep(&out, weights, 5); err != nil {
				t.Fatal(err)
			}
			k := config.PruneCount(5, n)
			gone, most, least, lastStay := 0, float32(0), float32(math.Inf(1)), -1
			for i, w := range weights {
				m := max(w, -w)
				switch {
				case out.Pruned[i] == w && w != 0:
					least = min(least, m)
				case out.Pruned[i] == 0:
					gone++
					most = max(most, m)
				default:
					t.Fatalf("weight %d is %v and becomes %v", i, w, out.Pruned[i])
				}
			}
			for i, w := range weights {
				if m := max(w, -w); m == most && out.Pruned[i] != 0 {
					lastStay = i
				}
			}
			for i, w := range weights[:lastStay+1] {
				if m := max(w, -w); m == most && out.Pruned[i] == 0 {
					t.Fatalf("weight %d goes before weight %d, both %v", i, lastStay, most)
				}
			}
			if gone != k || most > least {
				t.Errorf("%d weights: %d go, up to %v, and what stays is at least %v; want %d", n, gone, most, least, k)
			}

			if err := p.(spec.IterPruneRegrow).PruneRegrow(&regrown, weights, 5, saliencies); err != nil {
				t.Fatal(err)
			}
			// What came back has at least the saliency of what went and has not.
			gone = 0
			lowest, highest := float32(math.Inf(1)), float32(math.Inf(-1))
			for i, w := range regrown.Pruned {
				if w == 0 {
					gone++
				}
				if weights[i] != 0 && out.Pruned[i] == 0 {
					if w != 0 {
						lowest = min(lowest, saliencies[i])
					} else {
						highest = max(highest, saliencies[i])
					}
				}
			}
			if gone != k || regrown.Sparsity != out.Sparsity || lowest < highest {
				t.Errorf("%d weights: %d go after regrowing, want %d; one of saliency %v came back and one of %v did not", n, gone, k, lowest, highest)
			}
		}
	}
}
