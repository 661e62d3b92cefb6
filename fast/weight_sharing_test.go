package fast

import (
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func sharingSquare(d int, from float32) spec.Matrix {
	m := spec.Matrix{Rows: d, Cols: d, Data: make([]float32, d*d)}
	for i := range m.Data {
		m.Data[i] = from + float32(i%7)
	}
	return m
}

func TestWeightSharingAllocatesNothingInTheSteadyState(t *testing.T) {
	const d = 3
	factor := func(rows, cols int) spec.Matrix {
		return spec.Matrix{Rows: rows, Cols: cols, Data: []float32{1, 2, 3}}
	}
	w, err := NewWeightSharing(spec.WeightSharingConfig{
		HiddenDim: d, NSharedLayers: 2, Rank: 1, Base: sharingSquare(d, 1),
		U: []spec.Matrix{factor(d, 1), factor(d, 1)}, V: []spec.Matrix{factor(1, d), factor(1, d)},
	})
	if err != nil {
		t.Fatal(err)
	}
	var weight spec.Matrix
	if n := testing.AllocsPerRun(20, func() {
		if err := w.GetEffectiveWeight(&weight, 1); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

// A weight wider than a panel, by a width that is no multiple of anything, comes
// together from its panels. Small integers have exact sums.
func TestEffectiveWeightsComeTogetherFromPanels(t *testing.T) {
	const d, rank = 141, 7
	c := spec.WeightSharingConfig{HiddenDim: d, NSharedLayers: 2, Rank: rank, Base: sharingSquare(d, -3)}
	for layer := range 2 {
		u, v := sharingSquare(d, float32(layer)), sharingSquare(d, -float32(layer))
		c.U = append(c.U, spec.Matrix{Rows: d, Cols: rank, Data: u.Data[:d*rank]})
		c.V = append(c.V, spec.Matrix{Rows: rank, Cols: d, Data: v.Data[:d*rank]})
	}
	w, err := NewWeightSharing(c)
	if err != nil {
		t.Fatal(err)
	}
	var got spec.Matrix
	if err := w.GetEffectiveWeight(&got, 1); err != nil {
		t.Fatal(err)
	}
	for r := range d {
		for col, x := range got.Row(r) {
			want := c.Base.Row(r)[col]
			for i := range rank {
				want += c.U[1].Row(r)[i] * c.V[1].Row(i)[col]
			}
			if x != want {
				t.Fatalf("(%d, %d): got %v, want %v", r, col, x, want)
			}
		}
	}
}

// What float32 does not hold on the way is none of the caller's concern.
func TestEffectiveWeightsMayBeLarge(t *testing.T) {
	const d = 3
	c := spec.WeightSharingConfig{HiddenDim: d, NSharedLayers: 2, Rank: 2, Base: sharingSquare(d, 0)}
	c.Base.Data[4] = -3e38
	for _, size := range []float32{1, 3e38} {
		u, v := spec.Matrix{Rows: d, Cols: 2, Data: make([]float32, 2*d)}, spec.Matrix{Rows: 2, Cols: d, Data: make([]float32, 2*d)}
		u.Row(1)[0], u.Row(1)[1], v.Row(0)[1], v.Row(1)[1] = size, size, 1, 1
		c.U, c.V = append(c.U, u), append(c.V, v)
	}
	w, err := NewWeightSharing(c)
	if err != nil {
		t.Fatal(err)
	}
	var got spec.Matrix
	for layer := range 2 {
		want := []float32{-3e38, 3e38}[layer]
		if err := w.GetEffectiveWeight(&got, layer); err != nil || got.Row(1)[1] != want || got.Row(2)[1] != c.Base.Row(2)[1] {
			t.Errorf("layer %d: %v, error %v, want %v in the middle", layer, got.Data, err, want)
		}
	}
}
