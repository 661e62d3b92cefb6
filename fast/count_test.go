package fast

import (
	"testing"

	"github.com/squishspec/squishspec/spec"
)

// CI runs this with the tag counted. The multiply-adds are the formula's. So are the
// exponentials, but for one a query and block of 128 keys after the first, which the
// online softmax takes to weigh what came before.
func TestKernelsTakeTheFormulasOperations(t *testing.T) {
	const heads, dim = 3, 10
	c := spec.DefaultCrossModalAttnConfig(dim)
	c.NTextHeads, c.NVisionHeads = heads, heads
	for _, size := range []struct{ text, vision int }{{1, 1}, {7, 9}, {65, 128}, {64, 129}, {3, 300}} {
		attn, err := NewCrossModalAttn(c)
		if err != nil {
			t.Fatal(err)
		}
		var q, kv, out spec.Heads
		q.Resize(heads, size.text, dim)
		kv.Resize(heads, size.vision, dim)
		for i := range kv.Data {
			kv.Data[i] = float32(i%5) / 5
		}
		got, counted, err := CountOperations(func() error { return attn.Forward(&out, q, kv, kv) })
		if err != nil {
			t.Fatal(err)
		}
		if !counted {
			if got != (spec.AttentionOperations{}) {
				t.Errorf("a build that does not count counted %+v", got)
			}
			continue
		}
		var want spec.AttentionOperations
		if err := attn.(spec.CrossModalCosts).Flops(&want, size.text, size.vision); err != nil {
			t.Fatal(err)
		}
		want.Exps += int64(heads * size.text * ((size.vision - 1) / 128))
		if got != want {
			t.Errorf("%d × %d tokens: counted %+v, want %+v", size.text, size.vision, got, want)
		}
	}
}
