package fast

import (
	"math/rand/v2"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestCrossModalAttnAllocatesNothingInTheSteadyState(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	a, err := NewCrossModalAttn(spec.CrossModalAttnConfig{NTextHeads: 2, NVisionHeads: 2, HeadDim: 5, SoftmaxScale: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	query, vision := drawHeads(r, 2, 7, 5), drawHeads(r, 2, 40, 5)
	var out spec.Heads
	var cost spec.AttentionOperations
	if n := testing.AllocsPerRun(20, func() {
		if err := a.Forward(&out, query, vision, vision); err != nil {
			t.Fatal(err)
		}
		if err := a.(spec.CrossModalCosts).Flops(&cost, 7, 40); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}
