package ref_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/squishspec/squishspec/ref"
	"github.com/squishspec/squishspec/spec"
)

// Of every four weights the two of largest magnitude stay; the second group has a
// tie of three, of which the first two stay. By rows, the second has the lesser
// norm.
func ExampleNewStructuredPrune() {
	p, err := ref.NewStructuredPrune(spec.DefaultStructuredPruneConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	w := spec.Matrix{Rows: 2, Cols: 4, Data: []float32{
		0.5, -3, 2, 1,
		0, 1, -1, 1,
	}}
	var out spec.PrunedWeights
	if err := p.Prune(&out, w); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(out.Pruned.Data)

	var zeros float64
	if err := p.SparsityFraction(&zeros, out.Pruned.Data); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(zeros)

	if err := p.(spec.StructuredPruneGroups).PruneGroups(&out, w); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(out.Pruned.Data)
	fmt.Printf("%+v\n", p.Stats())
	// Output:
	// [0 -3 2 0 0 1 -1 0]
	// 0.5
	// [0.5 -3 2 1 0 0 0 0]
	// {Calls:2 Weights:16 Zeroed:8 Sparsity:0.5}
}

func TestSparsityFractionCountsBelowTheFloor(t *testing.T) {
	minusZero := float32(math.Copysign(0, -1))
	const least, most = math.SmallestNonzeroFloat32, math.MaxFloat32
	for _, c := range []struct {
		weights []float32
		want    float64
	}{
		{[]float32{0, minusZero}, 1},
		{[]float32{1, -1}, 0},
		{[]float32{4, 0, 1e-11, -3e-12}, 0.5},
		{[]float32{most, 1e26, 1e27, least}, 0.5},
		{[]float32{least, 0}, 0.5},
	} {
		var got float64
		if err := newStructuredPrune(t, spec.DefaultStructuredPruneConfig()).SparsityFraction(&got, c.weights); err != nil || got != c.want {
			t.Errorf("%v: got %v (%v), want %v", c.weights, got, err, c.want)
		}
	}
}

// The squares of the largest and of the least float32 stay apart in float64.
func TestPruneGroupsAtTheEndsOfTheRange(t *testing.T) {
	const least, most = math.SmallestNonzeroFloat32, math.MaxFloat32
	w := spec.Matrix{Rows: 4, Cols: 2, Data: []float32{least, 0, most, most, 0, 0, most, 0}}
	for _, c := range []struct {
		rows     int
		sparsity float64
		want     []float32
	}{
		{1, 0.25, []float32{least, 0, most, most, 0, 0, most, 0}},
		{1, 0.5, []float32{0, 0, most, most, 0, 0, most, 0}},
		{1, 0.75, []float32{0, 0, most, most, 0, 0, 0, 0}},
		{1, 0.999, []float32{0, 0, most, most, 0, 0, 0, 0}},
		{2, 0.5, []float32{least, 0, most, most, 0, 0, 0, 0}},
		{3, 0.5, []float32{least, 0, most, most, 0, 0, 0, 0}}, // the last row is a group
		{math.MaxInt, 0.9, w.Data},
	} {
		p := newStructuredPrune(t, spec.StructuredPruneConfig{N: 1, M: 2, GroupRows: c.rows, Sparsity: c.sparsity})
		var got spec.PrunedWeights
		if err := p.(spec.StructuredPruneGroups).PruneGroups(&got, w); err != nil || !slices.Equal(got.Pruned.Data, c.want) {
			t.Errorf("groups of %d rows, sparsity %v: got %v (%v), want %v", c.rows, c.sparsity, got.Pruned.Data, err, c.want)
		}
	}
}

func TestStructuredPruneNamesWhatItRefuses(t *testing.T) {
	p := newStructuredPrune(t, spec.DefaultStructuredPruneConfig())
	rows := p.(spec.StructuredPruneGroups)
	nan := float32(math.NaN())
	var out spec.PrunedWeights
	var share float64
	for _, c := range []struct {
		name string
		err  error
	}{
		{"weights", p.Prune(&out, spec.Matrix{})},
		{"weights", p.Prune(&out, spec.Matrix{Rows: 1, Cols: 6, Data: make([]float32, 6)})},
		{"weights", p.Prune(&out, spec.Matrix{Rows: 1, Cols: 4, Data: make([]float32, 8)})},
		{"weights[2]", p.Prune(&out, spec.Matrix{Rows: 1, Cols: 4, Data: []float32{1, 2, nan, 3}})},
		{"weights", rows.PruneGroups(&out, spec.Matrix{Rows: 3})},
		{"weights[0]", rows.PruneGroups(&out, spec.Matrix{Rows: 1, Cols: 1, Data: []float32{nan}})},
		{"weights", p.SparsityFraction(&share, nil)},
		{"weights[1]", p.SparsityFraction(&share, []float32{0, nan})},
	} {
		if !errors.Is(c.err, spec.Invalid) || !strings.HasPrefix(c.err.Error(), "structured-prune: "+c.name+": ") {
			t.Errorf("want %s refused, got %v", c.name, c.err)
		}
	}
	if got := p.Stats(); got != (spec.StructuredPruneStats{}) {
		t.Errorf("refusals have changed the stats: %+v", got)
	}
}

func newStructuredPrune(t *testing.T, c spec.StructuredPruneConfig) spec.StructuredPrune {
	t.Helper()
	p, err := ref.NewStructuredPrune(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
