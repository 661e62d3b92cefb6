package fast

import (
	"errors"
	"math"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestStructuredPruneAllocatesNothingInTheSteadyState(t *testing.T) {
	for _, m := range []int{4, 10, 40} {
		p, err := NewStructuredPrune(spec.StructuredPruneConfig{N: 1, M: m, GroupRows: 3, Sparsity: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		x := spec.Matrix{Rows: 10, Cols: 40, Data: make([]float32, 400)}
		for i := range x.Data {
			x.Data[i] = float32(i%17) - 8
		}
		var out spec.PrunedWeights
		var share float64
		if n := testing.AllocsPerRun(20, func() {
			err = errors.Join(err, p.Prune(&out, x), p.(spec.StructuredPruneGroups).PruneGroups(&out, x), p.SparsityFraction(&share, x.Data))
		}); n != 0 || err != nil {
			t.Errorf("M = %d: %v allocations a call, %v", m, n, err)
		}
	}
}

// TestPruneGroupsRefusesALateNaN: groups before it are already summed when it is
// found, and nothing may be counted.
func TestPruneGroupsRefusesALateNaN(t *testing.T) {
	p, err := NewStructuredPrune(spec.DefaultStructuredPruneConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		var out spec.PrunedWeights
		err = p.(spec.StructuredPruneGroups).PruneGroups(&out, spec.Matrix{Rows: 3, Cols: 2, Data: []float32{1, -1, 2, 0, 0, float32(bad)}})
		if !errors.Is(err, spec.Invalid) || p.Stats() != (spec.StructuredPruneStats{}) {
			t.Errorf("%v: got %v, and stats %v", bad, err, p.Stats())
		}
	}
}
