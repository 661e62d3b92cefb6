package fast

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
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

// TestPruneOfManyWeights: where several goroutines prune, each group is as it is alone,
// and what one of them finds is refused.
func TestPruneOfManyWeights(t *testing.T) {
	const rows, cols = 2048, 1024
	r := rand.New(rand.NewPCG(1, 2))
	x := spec.Matrix{Rows: rows, Cols: cols, Data: make([]float32, rows*cols)}
	for i := range x.Data {
		x.Data[i] = float32(r.NormFloat64())
	}
	for _, m := range []int{4, 8} {
		c := spec.DefaultStructuredPruneConfig()
		c.N, c.M = m/2, m
		p, err := NewStructuredPrune(c)
		if err != nil {
			t.Fatal(err)
		}
		var all, one spec.PrunedWeights
		for name, prune := range map[string]func(*spec.PrunedWeights, spec.Matrix) error{"prune": p.Prune, "groups": p.(spec.StructuredPruneGroups).PruneGroups} {
			x.Data[rows*cols-1] = float32(math.NaN())
			if err := prune(&all, x); spec.KindOf(err) != spec.Invalid {
				t.Errorf("%s: a NaN at the end: %v", name, err)
			}
			x.Data[rows*cols-1] = 1
			if err := prune(&all, x); err != nil {
				t.Fatal(err)
			}
			kept := 0
			for i, k := range all.Mask {
				want := float32(0)
				if k {
					kept++
					want = x.Data[i]
				}
				if all.Pruned.Data[i] != want {
					t.Fatalf("%s: weight %d is %v, kept %v, pruned %v", name, i, x.Data[i], k, all.Pruned.Data[i])
				}
			}
			if kept != rows*cols/2 {
				t.Errorf("%s: %d weights are kept", name, kept)
			}
		}
		if err := p.Prune(&all, x); err != nil {
			t.Fatal(err)
		}
		for row := 0; row < rows; row += 100 {
			if err := p.Prune(&one, spec.Matrix{Rows: 1, Cols: cols, Data: x.Row(row)}); err != nil || !slices.Equal(one.Pruned.Data, all.Pruned.Row(row)) {
				t.Errorf("row %d of groups of %d is not what it is alone, error %v", row, m, err)
			}
		}
	}
}
