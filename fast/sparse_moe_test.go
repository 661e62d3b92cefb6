package fast

import (
	"math"
	"slices"
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestSparseMoEAllocatesNothingInTheSteadyState(t *testing.T) {
	config := spec.SparseMoEConfig{NExperts: 9, TopK: 3, HiddenDim: 5, CapacityFactor: 1}
	m, err := NewSparseMoE(config)
	if err != nil {
		t.Fatal(err)
	}
	x := spec.Matrix{Rows: 4, Cols: 5, Data: make([]float32, 20)}
	for i := range x.Data {
		x.Data[i] = float32(i%7 - 3)
	}
	var routing spec.MoERouting
	var groups spec.MoEDispatch
	var back spec.Matrix
	if n := testing.AllocsPerRun(20, func() {
		d := m.(spec.SparseMoEDispatch)
		err = m.Route(&routing, x)
		if err == nil {
			err = d.Dispatch(&groups, x, routing.Indices)
		}
		if err == nil {
			err = d.Combine(&back, groups.Inputs, routing.Indices, routing.Weights)
		}
		if err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

// Tokens before it are already routed when it is found, and none of them may count.
func TestSparseMoERefusesALateNaN(t *testing.T) {
	m, err := NewSparseMoE(spec.SparseMoEConfig{NExperts: 2, TopK: 1, HiddenDim: 1})
	if err != nil {
		t.Fatal(err)
	}
	var out spec.MoERouting
	err = m.Route(&out, spec.Matrix{Rows: 3, Cols: 1, Data: []float32{1, -1, float32(math.NaN())}})
	if s := m.Stats(); spec.KindOf(err) != spec.Invalid || s.Calls != 0 || s.Tokens != 0 || !slices.Equal(s.ExpertLoad, []int64{0, 0}) {
		t.Errorf("got %v, and stats %v", err, s)
	}
}
