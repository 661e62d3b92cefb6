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
