package fast

import (
	"testing"

	"github.com/squishspec/squishspec/spec"
)

func TestVisionKVFuseAllocatesAndCopiesNothing(t *testing.T) {
	f, err := NewVisionKVFuse(spec.VisionKVFuseConfig{TextCapacity: 4, VisionCapacity: 4, NHeads: 2, HeadDim: 3})
	if err != nil {
		t.Fatal(err)
	}
	key := spec.Matrix{Rows: 2, Cols: 3, Data: []float32{1, 2, 3, 4, 5, 6}}
	var view, again spec.KVView
	var fused spec.FusedKV
	if n := testing.AllocsPerRun(20, func() {
		f.Reset(spec.Both)
		if err := f.Append(spec.Text, key, key); err != nil {
			t.Fatal(err)
		}
		if err := f.(spec.VisionKVFused).AppendFused(key, key, key, key); err != nil {
			t.Fatal(err)
		}
		f.GetKv(&view, spec.Text)
		f.(spec.VisionKVFused).GetFused(&fused)
	}); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
	f.GetKv(&again, spec.Text)
	if &view.Keys.Data[0] != &again.Keys.Data[0] || &view.Values.Data[0] != &fused.Text.Values.Data[0] {
		t.Error("two views of a modality do not share memory: one was copied")
	}
}

// Heads that would lie whole pages apart lie further apart, and hold what they are
// given all the same, up to the last slot.
func TestVisionKVFuseHeadsLieNoWholePagesApart(t *testing.T) {
	c := spec.VisionKVFuseConfig{TextCapacity: 8, VisionCapacity: 16, NHeads: 3, HeadDim: 128}
	f, err := NewVisionKVFuse(c)
	if err != nil {
		t.Fatal(err)
	}
	number := func(token, h, i int) float32 { return float32((token*c.NHeads+h)*c.HeadDim + i) }
	for modality, capacity := range map[spec.Modality]int{spec.Text: c.TextCapacity, spec.Vision: c.VisionCapacity} {
		key, value := spec.Matrix{}, spec.Matrix{}
		key.Resize(c.NHeads, c.HeadDim)
		value.Resize(c.NHeads, c.HeadDim)
		for token := range capacity {
			for h := range c.NHeads {
				for i := range c.HeadDim {
					key.Row(h)[i], value.Row(h)[i] = number(token, h, i), -number(token, h, i)
				}
			}
			if err := f.Append(modality, key, value); err != nil {
				t.Fatal(err)
			}
		}
		var view spec.KVView
		if err := f.GetKv(&view, modality); err != nil {
			t.Fatal(err)
		}
		if view.Keys.Stride%page == 0 || view.Values.Stride%page == 0 {
			t.Errorf("%s: heads are %d and %d elements apart", modality, view.Keys.Stride, view.Values.Stride)
		}
		for h := range c.NHeads {
			for token := range capacity {
				for i := range c.HeadDim {
					if k, v := view.Keys.Head(h).Row(token)[i], view.Values.Head(h).Row(token)[i]; k != number(token, h, i) || v != -k {
						t.Fatalf("%s: head %d, token %d, element %d: got %v and %v, want ±%v", modality, h, token, i, k, v, number(token, h, i))
					}
				}
			}
		}
	}
}
