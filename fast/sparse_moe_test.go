package fast

import (
	"cmp"
	"math"
	"math/rand/v2"
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

// TestSparseMoEBeyondFloat32: a logit that float32 does not hold is as good as others,
// and so is a sum of outputs that it does not hold before its end.
func TestSparseMoEBeyondFloat32(t *testing.T) {
	m, err := NewSparseMoE(spec.SparseMoEConfig{NExperts: 3, TopK: 3, HiddenDim: 2,
		GateWeights: spec.Matrix{Rows: 2, Cols: 3, Data: []float32{2, 4, 8, 2, 4, -8}}})
	if err != nil {
		t.Fatal(err)
	}
	var out spec.MoERouting
	if err := m.Route(&out, spec.Matrix{Rows: 1, Cols: 2, Data: []float32{0x1p127, 0x1p127}}); err != nil {
		t.Fatal(err)
	}
	if want := []int32{1, 0, 2}; !slices.Equal(out.Indices, want) || !slices.Equal(out.Weights.Data, []float32{1, 0, 0}) {
		t.Errorf("got %d and %v, want %d and weights 1, 0, 0", out.Indices, out.Weights.Data, want)
	}
	var sum spec.Matrix
	outputs := spec.Matrix{Rows: 3, Cols: 2, Data: []float32{0x1p127, 1, 0x1p127, 1, 0x1p127, 1}}
	weights := spec.Matrix{Rows: 1, Cols: 3, Data: []float32{1, 1, -1}}
	if err := m.(spec.SparseMoEDispatch).Combine(&sum, outputs, []int32{0, 1, 2}, weights); err != nil {
		t.Fatal(err)
	}
	if want := []float32{0x1p127, 1}; !slices.Equal(sum.Data, want) {
		t.Errorf("got %v, want %v", sum.Data, want)
	}
}

// TestSparseMoEChoosesFewAndMany: as sorting all would, equal logits among them, more
// tokens than are multiplied at once.
func TestSparseMoEChoosesFewAndMany(t *testing.T) {
	const experts, tokens = 40, moeTogether + 3
	r := rand.New(rand.NewPCG(1, 2))
	gate := spec.Matrix{Rows: 2, Cols: experts, Data: make([]float32, 2*experts)}
	x := spec.Matrix{Rows: tokens, Cols: 2, Data: make([]float32, 2*tokens)}
	for _, data := range [][]float32{gate.Data, x.Data} {
		for i := range data {
			data[i] = float32(r.IntN(5) - 2)
		}
	}
	for _, k := range []int{1, 2, 3, 16, 17, experts} {
		m, err := NewSparseMoE(spec.SparseMoEConfig{NExperts: experts, TopK: k, HiddenDim: 2, GateWeights: gate})
		if err != nil {
			t.Fatal(err)
		}
		var out spec.MoERouting
		if err := m.Route(&out, x); err != nil {
			t.Fatal(err)
		}
		for n := range tokens {
			order := make([]int32, experts)
			logits := make([]float32, experts)
			for e := range experts {
				order[e] = int32(e)
				logits[e] = x.Row(n)[0]*gate.Row(0)[e] + x.Row(n)[1]*gate.Row(1)[e]
			}
			slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(logits[b], logits[a]) })
			if got := out.Indices[n*k : (n+1)*k]; !slices.Equal(got, order[:k]) {
				t.Fatalf("%d of %d, token %d: got %d, want %d", k, experts, n, got, order[:k])
			}
		}
	}
}

// TestSparseMoETakesTheFirstOfZeros: a product that underflows is −0, which no expert
// comes behind for.
func TestSparseMoETakesTheFirstOfZeros(t *testing.T) {
	for k := 1; k <= 3; k++ {
		m, err := NewSparseMoE(spec.SparseMoEConfig{NExperts: 3, TopK: k, HiddenDim: 1,
			GateWeights: spec.Matrix{Rows: 1, Cols: 3, Data: []float32{-0x1p-100, 0x1p-100, 0}}})
		if err != nil {
			t.Fatal(err)
		}
		var out spec.MoERouting
		if err := m.Route(&out, spec.Matrix{Rows: 1, Cols: 1, Data: []float32{0x1p-100}}); err != nil {
			t.Fatal(err)
		}
		if want := []int32{0, 1, 2}[:k]; !slices.Equal(out.Indices, want) {
			t.Errorf("got %d, want %d", out.Indices, want)
		}
	}
}
