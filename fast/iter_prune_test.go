package fast

import (
	"math"
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
